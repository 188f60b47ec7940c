//! Program `casm-owner`: a node that owns a channel, for peers that use it through
//! the interface of CASM's successor, or serves a great many names. Writes where it
//! listens, as the program `casm` does; the end of the input is its end.

use casm::{
    ChannelOptions, ErrorKind, Node,
    service::{Request, ServeOptions},
};
use clap::Parser;
use std::{convert::Infallible, path::PathBuf, time::Duration};
use tokio::io::AsyncReadExt;

/// So long that nothing expires during a check.
const TTL: Duration = Duration::from_secs(600);

#[derive(Parser)]
struct Args {
    /// The namespace.
    #[arg(long)]
    ns: String,
    /// Where to listen.
    #[arg(long)]
    listen: String,
    /// The channel's name.
    #[arg(long)]
    channel: Option<String>,
    /// How many services, `s0`, `s1` and so on, that give back what they are sent.
    #[arg(long, default_value_t = 0)]
    services: usize,
    /// The file of its identity.
    #[arg(long)]
    key: Option<PathBuf>,
}

async fn echo(request: Request) -> Result<Vec<u8>, Infallible> {
    Ok(request.data().to_vec())
}

/// Serves so many, and says of as many as the record has room for that it does;
/// gives how many those are.
fn serve(node: &Node, services: usize) -> casm::Result<usize> {
    let (mut listed, mut options) = (0, ServeOptions::default());
    for n in 0..services {
        let name = format!("s{n}");
        match node.serve_with(&name, &options, echo) {
            Err(error) if error.kind() == ErrorKind::TooLarge && options.listed => {
                options = options.listed(false);
                node.serve_with(&name, &options, echo)?;
            }
            served => {
                served?;
                listed += usize::from(options.listed);
            }
        }
    }
    Ok(listed)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut builder = Node::builder().namespace(args.ns).listen(args.listen).boot(["none"]);
    builder = builder.ttl(TTL);
    if let Some(key) = args.key {
        builder = builder.key_file(key);
    }
    let node = builder.start().await?;
    let options = ChannelOptions::new().close_by_others(true);
    let _channel = args.channel.map(|name| node.channel(&name, options)).transpose()?;
    let listed = serve(&node, args.services)?;
    let addrs: Vec<_> = node.addrs().iter().map(ToString::to_string).collect();
    let peer = node.id().to_base58();
    println!(
        "{}",
        serde_json::json!({"event": "listening", "peer": peer, "addrs": addrs, "listed": listed})
    );
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(node.close().await?)
}
