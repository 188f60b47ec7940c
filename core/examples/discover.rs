//! Finds the peers of a namespace, and prints them as they come. Run it twice,
//! or more often:
//!
//! `cargo run -p casm-p2p --example discover`
//!
//! By default it looks and listens on this machine alone. For a local network:
//!
//! `… --example discover -- --boot auto --listen /ip4/0.0.0.0/tcp/0`

use casm::{Node, boot::FindOptions};
use clap::Parser;
use futures::StreamExt;
use std::time::Duration;

#[derive(Parser)]
struct Args {
    /// Whose peers to find.
    #[arg(default_value = "discover")]
    namespace: String,
    /// Where to look, and to answer those who look.
    #[arg(long, default_value = "/ip4/127.0.0.1/udp/8822/ports/32")]
    boot: String,
    /// Where others can connect.
    #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0")]
    listen: String,
    /// End after this many peers.
    #[arg(long, default_value_t = usize::MAX)]
    limit: usize,
    /// End after this time.
    #[arg(long = "for", default_value = "10s", value_parser = humantime::parse_duration)]
    time: Duration,
}

#[tokio::main]
async fn main() -> casm::Result<()> {
    let args = Args::parse();
    // A node is found by others from its start on.
    let node = Node::builder()
        .namespace(args.namespace)
        .boot([args.boot])
        .listen(args.listen)
        .start()
        .await?;
    println!("I am {}", node.id());

    // A search is a stream, which can be bounded by a number and by a time.
    // Dropping it ends it too.
    let options = FindOptions::default().limit(args.limit).timeout(args.time);
    let mut search = node.find_peers(options);
    while let Some(found) = search.next().await {
        match found {
            Ok(found) => {
                let addrs: Vec<_> = found.peer.addrs.iter().map(ToString::to_string).collect();
                println!("found {} at {} ({})", found.peer.id, addrs.join(" "), found.source);
            }
            // Of one place to look; the others go on.
            Err(error) => eprintln!("{error}"),
        }
    }
    node.close().await
}
