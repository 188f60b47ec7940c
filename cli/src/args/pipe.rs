//! `casm pipe`.

use super::{NodeArgs, parse};
use casm::Target;
use clap::{Args, Subcommand};
use std::time::Duration;

/// `casm pipe`.
#[derive(Debug, Subcommand)]
pub enum PipeCommand {
    /// Open a stream to a peer
    Open(OpenArgs),
    /// Wait for a peer that opens one
    Accept(AcceptArgs),
}

/// `casm pipe open`.
#[derive(Args, Debug)]
pub struct OpenArgs {
    /// The protocol, such as /files/1
    #[arg(value_name = "PROTOCOL")]
    pub protocol: String,
    /// Open it to this peer, by id or address [default: to the first member that
    /// takes it]
    #[arg(long, value_name = "ID|MADDR", value_parser = parse::target)]
    pub peer: Option<Target>,
    /// How long to try
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    pub wait: Duration,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// `casm pipe accept`.
#[derive(Args, Debug)]
pub struct AcceptArgs {
    /// The protocol, such as /files/1
    #[arg(value_name = "PROTOCOL")]
    pub protocol: String,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
}
