//! Topics of a node.

use super::Node;
use crate::{
    Result,
    topics::{Topic, TopicOptions},
};

/// Topics: what is published on one, all hear who have joined it.
impl Node {
    /// A handle of a topic of this node's cluster, which it joins if it has not:
    /// with [`TopicOptions::default`], or as it was opened. The name is 1 to 48 of
    /// `A-Z a-z 0-9 . _ -`. To be called on the node's runtime.
    ///
    /// # Errors
    /// `Config` if the name is not acceptable; `Closed`.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.topic_with(name, TopicOptions::default())
    }

    /// The same with options, which are those of all handles of the topic in this
    /// node.
    ///
    /// # Errors
    /// `Config` if the name or an option is not acceptable, or the topic is open
    /// with another; `Invalid` if the query's ends are of different fields;
    /// `Closed`.
    pub fn topic_with(&self, name: &str, options: TopicOptions) -> Result<Topic> {
        self.0.topics.open(name, options)
    }
}
