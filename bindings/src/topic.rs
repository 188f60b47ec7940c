//! Topics, as the bindings see them.

use crate::{
    Error, ErrorKind, Listener, Message, Node, Query, Result, Source, Stream, Subscription,
    ours::Ours, runtime, subscription::subscribe,
};
use casm::{
    DEFAULT_TIMEOUT, TopicOptions,
    topics::{Full, SubscribeOptions},
};
use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What a topic is to take, from plain values. What is left out has core's
/// default.
#[derive(Clone, Debug, Default)]
pub struct TopicSpec {
    /// Whether the name is taken as it is.
    pub exact: bool,
    /// The most bytes of data.
    pub max_data: Option<usize>,
    /// By which records of whom messages are taken.
    pub accept: Option<Query>,
}

/// How a subscriber takes messages, from plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeSpec {
    /// Messages that may wait.
    pub queue: Option<usize>,
    /// What is lost when so many wait: `drop_oldest` or `drop_newest`.
    pub full: Option<String>,
    /// Whether this node's own messages come too.
    pub echo: bool,
}

impl SubscribeSpec {
    fn build(&self) -> Result<SubscribeOptions> {
        let mut options = SubscribeOptions::default().echo(self.echo);
        if let Some(queue) = self.queue {
            options = options.queue(queue);
        }
        if let Some(full) = &self.full {
            let known = [Full::DropOldest, Full::DropNewest];
            let found = known.into_iter().find(|known| known.name() == full);
            let bad = || {
                let shown: String = full.chars().take(64).collect();
                Error::config("full", shown, "write `drop_oldest` or `drop_newest`")
            };
            options = options.full(found.ok_or_else(bad)?);
        }
        Ok(options)
    }
}

/// A handle of a topic. The topic ends with the last of them and of its
/// subscriptions, or with its node.
pub struct Topic {
    node: Node,
    name: String,
    full_name: String,
    topic: Ours<Mutex<Option<casm::Topic>>>,
}

impl Topic {
    /// The topic's name, as it was given. Also of a closed handle.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What gossip calls it. Also of a closed handle.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Publishes, and says to how many peers the message was sent. Waits while the
    /// node's own queues are full: no longer than `timeout`, or 10 s.
    pub fn publish<D: AsRef<[u8]> + Send + Sync + 'static>(
        &self,
        data: D,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<usize>> + Send + use<D> {
        let topic = self.open();
        self.node.run(move |_| async move {
            topic?.publish_within(data, timeout.unwrap_or(DEFAULT_TIMEOUT)).await
        })
    }

    /// The ids of the connected peers that have joined the topic, in their order.
    ///
    /// # Errors
    /// `Closed`.
    pub fn peers(&self) -> Result<Vec<String>> {
        self.node.view()?;
        Ok(ids(&self.open()?.peers()))
    }

    /// Waits until so many connected peers have joined the topic.
    pub fn wait_for_peers(
        &self,
        n: usize,
    ) -> impl Future<Output = Result<Vec<String>>> + Send + use<> {
        let topic = self.open();
        self.node.run(move |_| async move { Ok(ids(&topic?.wait_for_peers(n).await?)) })
    }

    /// What comes from now on, to pull.
    ///
    /// # Errors
    /// `Closed`; `Config` if an option is not acceptable.
    pub fn subscribe(&self, spec: &SubscribeSpec) -> Result<Stream<Messages>> {
        self.node.view()?;
        let messages = self.open()?.subscribe_with(spec.build()?)?;
        Ok(Stream::new(Messages(messages), CancellationToken::new()))
    }

    /// Calls a listener with what comes from now on.
    ///
    /// # Errors
    /// As of [`Topic::subscribe`].
    pub fn on_message(
        &self,
        spec: &SubscribeSpec,
        listener: impl Listener<Message>,
    ) -> Result<Subscription> {
        self.node.view()?;
        let messages = Messages(self.open()?.subscribe_with(spec.build()?)?);
        let dispatcher = self.node.dispatcher().ok_or_else(|| Error::closed("node"))?;
        subscribe(&dispatcher, messages, CancellationToken::new(), listener)
    }

    /// Lets the handle go; others, and subscriptions, go on. A second call does
    /// nothing.
    pub fn close(&self) {
        if let Some(topic) = self.topic.mine() {
            drop(topic.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    fn open(&self) -> Result<casm::Topic> {
        let topic = self.topic.get()?.lock().unwrap_or_else(PoisonError::into_inner).clone();
        topic.ok_or_else(|| {
            let message = format!("this handle of the topic {:?} is closed", self.name);
            Error::new(ErrorKind::Closed, message)
        })
    }
}

impl Node {
    /// A handle of a topic, which is joined if it was not.
    ///
    /// # Errors
    /// `Closed`; `Config` if the name or an option is not acceptable, or the topic
    /// is open with another.
    pub fn topic(&self, name: &str, spec: TopicSpec) -> Result<Topic> {
        let TopicSpec { exact, max_data, accept } = spec;
        let mut options = TopicOptions::default().exact(exact);
        if let Some(max_data) = max_data {
            options = options.max_data(max_data);
        }
        if let Some(accept) = accept {
            options = options.accept(accept);
        }
        let node = self.core()?;
        let _runtime = runtime::handle()?.enter();
        let topic = node.topic_with(name, options)?;
        Ok(Topic {
            node: self.clone(),
            name: name.to_owned(),
            full_name: topic.full_name().to_owned(),
            topic: Ours::new(Mutex::new(Some(topic))),
        })
    }
}

fn ids(peers: &[crate::PeerId]) -> Vec<String> {
    peers.iter().map(|peer| peer.to_base58()).collect()
}

/// The messages of a topic. Those that were lost are not told by an item.
pub struct Messages(casm::Messages);

impl Source for Messages {
    type Item = Message;

    async fn next(&mut self) -> Option<Result<Message>> {
        self.0.next().await.map(Ok)
    }

    fn lost(&self) -> Option<Box<dyn Fn() -> u64 + Send + Sync>> {
        Some(Box::new(self.0.watch_dropped()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_reaches_the_options() {
        let spec = SubscribeSpec { queue: Some(7), full: Some("drop_newest".into()), echo: true };
        let options = SubscribeOptions::default().queue(7).full(Full::DropNewest).echo(true);
        assert_eq!(spec.build().unwrap(), options);
        assert_eq!(SubscribeSpec::default().build().unwrap(), SubscribeOptions::default());
        let spec = SubscribeSpec { full: Some("block".into()), ..SubscribeSpec::default() };
        let error = spec.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("block") && error.message().contains("drop_oldest"));
    }
}
