//! What is given to the commands of services.

use super::{NodeArgs, OutputArgs, parse};
use casm::{Query, Target, cluster::Select};
use clap::Args;
use std::{str::FromStr, time::Duration};

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Where(pub Query);

impl FromStr for Where {
    type Err = casm::Error;

    fn from_str(text: &str) -> casm::Result<Self> {
        let select = Select::matching(text, false)?;
        Ok(Self(Query { select, ..Query::all() }))
    }
}

/// `casm call`.
#[derive(Args, Debug)]
pub struct CallArgs {
    /// The service
    pub name: String,
    /// What to ask; `-`: what stdin has
    #[arg(value_name = "DATA", default_value = "")]
    pub request: String,
    /// Ask this peer, and nobody else: its id, or an address
    #[arg(
        long, value_name = "ID|MADDR", value_parser = parse::target,
        conflicts_with_all = ["all", "where"]
    )]
    pub peer: Option<Target>,
    /// Ask all who serve it, and print each answer
    #[arg(long, conflicts_with = "parts")]
    pub all: bool,
    /// Ask only those with this value
    #[arg(long = "where", value_name = "FIELD:VALUE", id = "where")]
    pub matching: Option<Where>,
    /// Ask for an answer in parts, and print them as they come
    #[arg(long)]
    pub parts: bool,
    /// Send a header along (repeatable)
    #[arg(long = "header", value_name = "K=V", value_parser = parse::meta)]
    pub headers: Vec<(String, String)>,
    /// With --all: at most so many replies
    #[arg(long, value_name = "N", value_parser = parse::count, requires = "all")]
    pub limit: Option<usize>,
    /// How long to look for who serves it; with --all, all of it
    #[arg(long, value_name = "D", default_value = "5s", value_parser = parse::duration)]
    pub wait: Duration,
    /// How long to wait for answers [default: 10s; with --parts, no limit]
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    pub timeout: Option<Duration>,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The service
    pub name: String,
    /// What to run for each request: its stdin is the request, its stdout the
    /// answer. The variables CASM_REQUEST_PEER, CASM_REQUEST_SERVICE and
    /// CASM_REQUEST_HEADERS (an object of JSON) say who asks, what, and what came along
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Answer in parts, as they are written
    #[arg(long)]
    pub parts: bool,
    /// What the node's record says of the service, beside its name
    #[arg(long, value_name = "VERSION", default_value = "1")]
    pub service_version: String,
    /// Requests that are worked on at once; more are sent on to others
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = parse::count)]
    pub max_inflight: usize,
    /// Only for callers with this role in their certificate (repeatable: any of them
    /// suffices). Where there are no certificates, nobody has one
    #[arg(long = "allow-role", value_name = "ROLE")]
    pub allow_role: Vec<String>,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm services`.
#[derive(Args, Debug)]
pub struct ServicesArgs {
    /// How long to look for peers
    #[arg(long, value_name = "D", default_value = "5s", value_parser = parse::duration)]
    pub wait: Duration,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}
