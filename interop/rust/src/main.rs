//! A CASM peer on rust-libp2p's own gossipsub, for interoperability tests. It
//! writes one JSON object per line to stdout, and takes commands, one JSON object
//! per line, from stdin; the end of the input is a clean leave.

mod heartbeat;
mod node;
mod schema;
mod swarm;

use anyhow::Result;
use clap::Parser;
use heartbeat::Heartbeat;
use libp2p::Multiaddr;
use node::{Node, Options};
use std::time::Duration;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "casm")]
    ns: String,
    #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0")]
    listen: Vec<Multiaddr>,
    #[arg(long, default_value = "")]
    host: String,
    /// `key=value` of the heartbeat.
    #[arg(long)]
    meta: Vec<String>,
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Send no heartbeat.
    #[arg(long)]
    observer: bool,
    /// Be in nobody's mesh.
    #[arg(long)]
    lazy: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { ns, listen, host, meta, ttl, observer, lazy } = Args::parse();
    let heartbeat = Heartbeat { ttl, server: rand::random(), host, meta };
    Node::start(Options { namespace: ns, listen, heartbeat, lazy, observer })?.run().await
}
