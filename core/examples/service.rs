//! A service: it greets whoever asks. And it asks each member that serves one, in
//! whatever language that is written. Run it twice, or beside those of Python and
//! Node.js:
//!
//! `cargo run -p casm-p2p --example service Ann`
//!
//! By default it looks and listens on this machine alone. For a local network:
//!
//! `… --example service Ann --boot auto --listen /ip4/0.0.0.0/tcp/0`

use casm::{
    Change, Node, Query, Result,
    service::{CallOptions, Request},
};
use clap::Parser;
use std::convert::Infallible;

#[derive(Parser)]
struct Args {
    /// Who is to be greeted.
    name: String,
    /// Where to look, and to answer those who look.
    #[arg(long, default_value = "/ip4/127.0.0.1/udp/8822/ports/32")]
    boot: String,
    /// Where others can connect.
    #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0")]
    listen: String,
    /// End after this many greetings.
    #[arg(long, default_value_t = usize::MAX)]
    limit: usize,
}

async fn greet(request: Request) -> Result<String, Infallible> {
    let name = String::from_utf8_lossy(request.data());
    Ok(format!("hello {name}, this is Rust"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let builder = Node::builder().namespace("services").boot([args.boot]).listen(args.listen);
    let node = builder.start().await?;
    node.serve("greet", greet)?;
    println!("{} is {}", args.name, node.id());

    let (mut greeters, mut greeted) = (node.subscribe(Query::service("greet")), 0);
    while greeted < args.limit
        && let Some(change) = greeters.next().await
    {
        let (Change::Current(record) | Change::Joined(record)) = change else { continue };
        if record.peer() == node.id() {
            continue;
        }
        // Those who look for no peer in particular leave out whom to ask.
        let to = CallOptions::new().peer(record);
        match node.call_with("greet", args.name.clone(), to).await {
            Ok(reply) => {
                println!("{}", reply.text()?);
                greeted += 1;
            }
            // It may have gone already.
            Err(error) => println!("no answer: {error}"),
        }
    }
    node.close().await
}
