//! Topics.

use crate::{
    call::{count, guard, limit, waits},
    errors::Result,
    listener::{MessageListener, Subscription, Told},
    query::Query,
    stream::MessageStream,
};
use casm_bindings::{SubscribeSpec, TopicSpec};
use std::{convert::identity, sync::Arc};

/// What a topic is to take.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct TopicOptions {
    /// Whether the name is taken as it is, for a topic of other libp2p programs.
    #[uniffi(default)]
    pub exact: bool,
    /// The most bytes of data, 1 to 1,024,000; 61,440 if nothing is said.
    #[uniffi(default)]
    pub max_data: Option<u32>,
    /// Takes the messages of those alone whose record this finds. Give all members
    /// the same.
    #[uniffi(default)]
    pub accept: Option<Query>,
}

impl TopicOptions {
    pub(crate) fn build(self) -> casm_bindings::Result<TopicSpec> {
        Ok(TopicSpec {
            exact: self.exact,
            max_data: self.max_data.map(|bytes| bytes as usize),
            accept: self.accept.map(Query::build).transpose()?,
        })
    }
}

/// How a subscriber takes messages.
#[derive(Clone, Debug, Default, PartialEq, uniffi::Record)]
pub struct SubscribeOptions {
    /// Messages that may wait, 1 to 1,048,576; 1024 if nothing is said.
    #[uniffi(default)]
    pub queue: Option<u32>,
    /// Which are lost when more come: `drop_oldest`, if nothing is said, or
    /// `drop_newest`.
    #[uniffi(default)]
    pub full: Option<String>,
    /// Whether the node's own messages come too.
    #[uniffi(default)]
    pub echo: bool,
}

impl From<SubscribeOptions> for SubscribeSpec {
    fn from(options: SubscribeOptions) -> Self {
        let SubscribeOptions { queue, full, echo } = options;
        Self { queue: queue.map(|queue| queue as usize), full, echo }
    }
}

/// A handle of a topic. All handles of a topic in one node share it; it is left
/// with the last of them and of their subscriptions, or with the node.
#[derive(uniffi::Object)]
pub struct Topic(casm_bindings::Topic);

impl From<casm_bindings::Topic> for Topic {
    fn from(topic: casm_bindings::Topic) -> Self {
        Self(topic)
    }
}

#[uniffi::export]
impl Topic {
    /// The topic's name, as it was given.
    pub fn name(&self) -> String {
        self.0.name().to_owned()
    }

    /// What gossip calls it: `/casm/1.0.0/<namespace>/topic/<name>`, or its exact
    /// name.
    pub fn full_name(&self) -> String {
        self.0.full_name().to_owned()
    }

    /// What comes from now on, to pull.
    #[uniffi::method(default(options))]
    pub fn subscribe(&self, options: SubscribeOptions) -> Result<MessageStream> {
        guard("subscribe", || self.0.subscribe(&options.into())).map(MessageStream::from)
    }

    /// Tells a listener what comes from now on.
    #[uniffi::method(default(options))]
    pub fn on_message(
        &self,
        listener: Arc<dyn MessageListener>,
        options: SubscribeOptions,
    ) -> Result<Subscription> {
        guard("on_message", || self.0.on_message(&options.into(), Told(listener)))
            .map(Subscription::from)
    }

    /// The ids of the connected peers that have joined the topic.
    pub fn peers(&self) -> Result<Vec<String>> {
        guard("peers", || self.0.peers())
    }

    /// Lets the handle go; others, and subscriptions, go on.
    pub fn close(&self) {
        self.0.close();
    }
}

waits! {
    impl Topic {
        /// Publishes, and says to how many peers the message was sent; they hand it on.
        /// 0 is no error. Waits while the node's own queues are full, for `timeout`
        /// seconds or 10 at most.
        #[uniffi::method(default(timeout))]
        fn publish / start_publish(&self, data: Vec<u8>, timeout: Option<f64>) -> u32 {
            (self.0.publish(data, limit(timeout)?), None, count)
        }

        /// Waits until so many connected peers have joined the topic, and gives their
        /// ids.
        #[uniffi::method(default(timeout))]
        fn wait_for_peers / start_wait_for_peers(
            &self,
            n: u32,
            timeout: Option<f64>,
        ) -> Vec<String> {
            (self.0.wait_for_peers(n as usize), timeout, identity)
        }
    }
}
