//! Program `casm-owner`: a node that owns a channel, for peers that use it through
//! the interface of CASM's successor. Writes where it listens, as the program `casm`
//! does; the end of the input is its end.

use casm::{ChannelOptions, Node};
use clap::Parser;
use tokio::io::AsyncReadExt;

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
    channel: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let node =
        Node::builder().namespace(args.ns).listen(args.listen).boot(["none"]).start().await?;
    let options = ChannelOptions::new().close_by_others(true);
    let _channel = node.channel(&args.channel, options)?;
    let addrs: Vec<_> = node.addrs().iter().map(ToString::to_string).collect();
    let peer = node.id().to_base58();
    println!("{}", serde_json::json!({"event": "listening", "peer": peer, "addrs": addrs}));
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(node.close().await?)
}
