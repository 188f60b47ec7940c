//! The command line: what can be given, and what is refused with a word on what
//! to write instead.

mod admit;
mod nat;
mod node;
mod parse;
mod pipe;
mod query;
mod service;
mod topic;

pub use admit::{AdmitCommand, RevokeArgs, SignArgs};
pub use node::NodeArgs;
pub use pipe::{AcceptArgs, OpenArgs, PipeCommand};
pub use query::QueryArgs;
pub use service::{CallArgs, ServeArgs, ServicesArgs};
pub use topic::{PubArgs, SubArgs};

use casm::Multiaddr;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Cluster assembly: programs find each other, stay connected, and share a
/// live picture of who is there, with no server.
#[derive(Debug, Parser)]
#[command(name = "casm", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to tell.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a small cluster on this machine; watch it form, and its nodes call each other
    Demo(DemoArgs),
    /// Run one node until interrupted, and print what happens
    Run(RunArgs),
    /// Print who is there, once
    Ls(LsArgs),
    /// Watch who is there, full-screen
    Watch(WatchArgs),
    /// Publish on a topic
    Pub(PubArgs),
    /// Print what is published on topics, until interrupted
    Sub(SubArgs),
    /// Find peers; show or send discovery's packets
    #[command(subcommand)]
    Discover(DiscoverCommand),
    /// Ask a service, and print what it answers
    Call(CallArgs),
    /// Serve a service: a command for each request
    Serve(ServeArgs),
    /// Print which services there are, and who serves them
    Services(ServicesArgs),
    /// Connect standard input and output with a peer's, over a stream
    #[command(subcommand)]
    Pipe(PipeCommand),
    /// Make and show identity files, and the secrets of private clusters
    #[command(subcommand)]
    Key(KeyCommand),
    /// Say who may join, by certificates: make an authority, sign, take back, show
    #[command(subcommand)]
    Admit(AdmitCommand),
    /// Check what would stop discovery on this machine
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What goes to stderr.
#[derive(Args, Debug)]
#[command(next_help_heading = "Logs (on stderr)")]
pub struct LogArgs {
    /// Log more: once, what CASM does; twice and thrice, also what it builds on
    #[arg(short, long, global = true, env = "CASM_VERBOSE", action = ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, env = "CASM_QUIET", conflicts_with = "verbose")]
    pub quiet: bool,
    /// The form of the logs
    #[arg(
        long,
        global = true,
        env = "CASM_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

impl LogArgs {
    /// The same as options, for a process that this one starts.
    pub fn to_options(&self) -> Vec<&'static str> {
        let mut options = match self.log_format {
            LogFormat::Text => vec![],
            LogFormat::Json => vec!["--log-format", "json"],
        };
        options.extend(std::iter::repeat_n("-v", self.verbose.into()));
        options.extend(self.quiet.then_some("-q"));
        options
    }
}

/// The form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where results go.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// `casm demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How many nodes, each a process of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub nodes: u16,
    /// How long it lasts
    #[arg(long = "for", value_name = "D", default_value = "15s", value_parser = parse::duration)]
    pub duration: Duration,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Print the view too, at this pace
    #[arg(long, value_name = "D", value_parser = parse::pace)]
    pub view: Option<Duration>,
    /// Leave when stdin ends: a node that another program starts so doesn't
    /// outlive it
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
    /// Greet who asks, and ask another node of the demo
    #[arg(long, hide = true)]
    pub greet: bool,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm ls`.
#[derive(Args, Debug)]
pub struct LsArgs {
    /// Ask this member for its view, and no other
    #[arg(long, value_name = "MADDR", value_parser = parse::peer)]
    pub peer: Option<Multiaddr>,
    /// How long to look for peers before the view is printed, or to wait for
    /// the one that is asked
    #[arg(long, value_name = "D", default_value = "5s", value_parser = parse::duration)]
    pub wait: Duration,
    /// What to print of the view.
    #[command(flatten)]
    pub query: QueryArgs,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// What to show of the view.
    #[command(flatten)]
    pub query: QueryArgs,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// `casm key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an identity file that only you may read
    New {
        /// The file; it must not exist
        file: PathBuf,
        /// The type of the key
        #[arg(long = "type", value_name = "TYPE", default_value = "ed25519")]
        kind: KeyKind,
        /// Where results go.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make the secret of a private cluster: a swarm.key that only you may read,
    /// for every node of it
    Secret {
        /// The file; it must not exist
        file: PathBuf,
        /// Where results go.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show the peer id of an identity file
    Show {
        /// The file
        file: PathBuf,
        /// Where results go.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// Small and fast: what a node makes for itself.
    Ed25519,
    /// The curve of Bitcoin.
    Secp256k1,
    /// NIST P-256.
    Ecdsa,
}

/// `casm doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Have part as an observer for so long, and have peers try whether they reach this
    /// machine [default: nothing is sent off it]
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    pub wait: Option<Duration>,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm discover`.
#[derive(Debug, Subcommand)]
pub enum DiscoverCommand {
    /// Find peers at the boot addresses
    Find(FindArgs),
    /// Show every boot packet that comes to the boot addresses, decoded
    Listen(ListenArgs),
    /// Send a boot packet to the boot addresses
    Emit(EmitArgs),
}

/// `casm discover find`.
#[derive(Args, Debug)]
pub struct FindArgs {
    /// Stop after so many peers
    #[arg(long, value_name = "N", value_parser = parse::count)]
    pub limit: Option<usize>,
    /// Stop after this time
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    pub timeout: Duration,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm discover listen`.
#[derive(Args, Debug)]
pub struct ListenArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm discover emit`.
#[derive(Args, Debug)]
pub struct EmitArgs {
    /// What to send: requests go to hosts, the others to multicast groups; a
    /// response tells the addresses given to --listen
    pub kind: PacketKind,
    /// How far a survey reaches: how many bits of distance are ignored
    #[arg(long, value_name = "N", default_value_t = 255)]
    pub distance: u8,
    /// Send it so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeat: u16,
    /// How long to show what comes back
    #[arg(long, value_name = "D", default_value = "1s", value_parser = parse::duration)]
    pub wait: Duration,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A kind of boot packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PacketKind {
    /// Asks whoever is at an address.
    Request,
    /// Asks a multicast group.
    Survey,
    /// Answers.
    Response,
}

impl PacketKind {
    /// The kind's name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Survey => "survey",
            Self::Response => "response",
        }
    }
}

impl Cli {
    /// Whether results are asked for as JSON.
    pub fn json(&self) -> bool {
        match &self.command {
            Command::Demo(DemoArgs { output, .. })
            | Command::Run(RunArgs { output, .. })
            | Command::Ls(LsArgs { output, .. })
            | Command::Pub(PubArgs { output, .. })
            | Command::Sub(SubArgs { output, .. })
            | Command::Call(CallArgs { output, .. })
            | Command::Serve(ServeArgs { output, .. })
            | Command::Services(ServicesArgs { output, .. })
            | Command::Doctor(DoctorArgs { output, .. })
            | Command::Key(
                KeyCommand::New { output, .. }
                | KeyCommand::Secret { output, .. }
                | KeyCommand::Show { output, .. },
            )
            | Command::Discover(DiscoverCommand::Find(FindArgs { output, .. }))
            | Command::Discover(DiscoverCommand::Listen(ListenArgs { output, .. }))
            | Command::Discover(DiscoverCommand::Emit(EmitArgs { output, .. })) => output.json,
            Command::Admit(command) => command.output().json,
            Command::Watch(_) | Command::Pipe(_) | Command::Completions { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
