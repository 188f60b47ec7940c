//! The options of the commands of topics.

use super::{NodeArgs, OutputArgs, parse};
use casm::{
    TopicOptions,
    cluster::{Index, Query},
    topics::Full,
};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// `casm pub`.
#[derive(Args, Debug)]
pub struct PubArgs {
    /// The topic
    pub topic: String,
    /// What to publish; `-`, or nothing, for what comes on stdin
    #[arg(value_name = "DATA")]
    pub message: Option<String>,
    /// Publish each line of stdin as a message of its own, as it comes
    #[arg(long, conflicts_with = "message")]
    pub lines: bool,
    /// Wait for so many peers on the topic
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub peers: usize,
    /// How long to wait for them at most
    #[arg(long, value_name = "D", default_value = "5s", value_parser = parse::duration)]
    pub wait: Duration,
    /// The topic.
    #[command(flatten)]
    pub options: TopicArgs,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `casm sub`.
#[derive(Args, Debug)]
pub struct SubArgs {
    /// The topics
    #[arg(required = true)]
    pub topics: Vec<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = parse::count)]
    pub limit: Option<usize>,
    /// How many messages of each topic may wait to be printed
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub queue: usize,
    /// Which are lost when more come
    #[arg(long, value_name = "WHICH", default_value = "drop-oldest")]
    pub full: WhenFull,
    /// The topics.
    #[command(flatten)]
    pub options: TopicArgs,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where results go.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What a topic is to take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Topic")]
pub struct TopicArgs {
    /// Take the name as it is, for a topic of other libp2p programs
    #[arg(long)]
    pub exact: bool,
    /// The most bytes of a message, up to 1024000; the same for all members
    #[arg(long, value_name = "N", default_value_t = TopicOptions::MAX_DATA)]
    pub max_data: usize,
    /// Take messages of those alone whose record has this value; the same for all
    /// members
    #[arg(long, value_name = "FIELD:VALUE")]
    pub accept: Option<Index>,
}

impl TopicArgs {
    /// The options of a topic.
    pub fn options(&self) -> TopicOptions {
        let options = TopicOptions::default().exact(self.exact).max_data(self.max_data);
        match &self.accept {
            Some(accept) => options.accept(Query::matching(accept.clone())),
            None => options,
        }
    }
}

/// Which messages are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// Those that have waited longest.
    DropOldest,
    /// Those that come.
    DropNewest,
}

impl From<WhenFull> for Full {
    fn from(full: WhenFull) -> Self {
        match full {
            WhenFull::DropOldest => Self::DropOldest,
            WhenFull::DropNewest => Self::DropNewest,
        }
    }
}
