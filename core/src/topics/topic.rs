//! Handles of topics, and what comes on them.

use super::{
    Message, TopicOptions,
    numbers::Numbers,
    queue::{Full, Queue},
    task::Subscribers,
};
use crate::{
    DEFAULT_TIMEOUT, Error, ErrorKind, Keypair, PeerId, Result,
    metrics::Metrics,
    pubsub::{Publisher, signed::SignedMessage},
    record::unix_nanos,
};
use futures::{Stream, StreamExt};
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};
use tokio_util::sync::DropGuard;

/// What all handles and subscriptions of a topic share.
pub(super) struct Shared {
    pub(super) name: Box<str>,
    pub(super) full: Arc<str>,
    pub(super) options: TopicOptions,
    pub(super) key: Keypair,
    pub(super) numbers: Arc<Numbers>,
    pub(super) publisher: Publisher,
    pub(super) subscribers: Arc<Subscribers>,
    pub(super) metrics: Metrics,
    /// Ends the topic.
    pub(super) _over: DropGuard,
}

/// A topic that this node has joined. Clones, and all handles of a topic in one
/// node, share it: it is left with the last of them and of their subscriptions,
/// or when the node closes. A handle keeps no node open.
///
/// # Examples
/// ```no_run
/// # async fn example(node: casm::Node) -> casm::Result<()> {
/// let news = node.topic("news")?;
/// let mut messages = news.subscribe();
/// news.wait_for_peers(1).await?;
/// let peers = news.publish(b"hello").await?;
/// while let Some(message) = messages.next().await {
///     println!("{}: {} bytes", message.source(), message.data().len());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Topic(pub(super) Arc<Shared>);

/// How a subscriber takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Messages that may wait, 1 to 1,048,576; and no more than
    /// [`MAX_QUEUED_BYTES`](super::MAX_QUEUED_BYTES). Default 1024.
    pub queue: usize,
    /// What is lost when so many wait.
    pub full: Full,
    /// Whether this node's own messages come too. Default false.
    pub echo: bool,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { queue: 1024, full: Full::default(), echo: false }
    }
}

impl SubscribeOptions {
    /// The most messages that may wait.
    pub const MAX_QUEUE: usize = 1 << 20;

    /// Messages that may wait.
    pub fn queue(mut self, messages: usize) -> Self {
        self.queue = messages;
        self
    }

    /// What is lost when so many wait.
    pub fn full(mut self, full: Full) -> Self {
        self.full = full;
        self
    }

    /// Whether this node's own messages come too.
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }
}

impl Topic {
    /// The topic's name, as it was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What gossip calls it: `/casm/1.0.0/<namespace>/topic/<name>`, or its exact
    /// name.
    pub fn full_name(&self) -> &str {
        &self.0.full
    }

    /// Publishes, and says to how many peers the message was sent: they hand it
    /// on. 0 is no error: then nobody is there. Waits while this node's own queues
    /// are full, 10 s at most ([`DEFAULT_TIMEOUT`]).
    ///
    /// # Errors
    /// `TooLarge` above the topic's `max_data`; `Timeout`, and the message was not
    /// sent; `Paused`; `Closed`.
    pub async fn publish(&self, data: impl AsRef<[u8]>) -> Result<usize> {
        self.publish_within(data, DEFAULT_TIMEOUT).await
    }

    /// The same with another limit on how long it waits.
    ///
    /// # Errors
    /// As of [`publish`](Self::publish).
    pub async fn publish_within(&self, data: impl AsRef<[u8]>, timeout: Duration) -> Result<usize> {
        let (shared, data) = (&self.0, data.as_ref());
        let most = shared.options.max();
        if data.len() > most {
            let message = format!(
                "topic {:?}: a message of {} bytes is too large: it takes {most}; raise `max_data` \
                 at all members, or send less",
                self.name(),
                data.len(),
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let seq = shared.numbers.next(unix_nanos());
        let message = SignedMessage::sign(&shared.key, &shared.full, seq, data)?;
        let publish = self.unless_closed(shared.publisher.publish(message.clone()));
        let published = tokio::time::timeout(timeout, publish).await.unwrap_or_else(|_| {
            let message = format!(
                "topic {:?}: the message was not sent within {timeout:?}, as too much waits to be \
                 sent: publish less, or wait longer",
                self.name(),
            );
            Err(Error::new(ErrorKind::Timeout, message))
        })?;
        let lost = shared.subscribers.deliver(&Message(message), true);
        if lost > 0 {
            shared.metrics.dropped.get_or_create(&[("queue", "messages")]).inc_by(lost);
        }
        Ok(published)
    }

    /// What comes from now on, with [`SubscribeOptions::default`].
    pub fn subscribe(&self) -> Messages {
        self.listen(SubscribeOptions::default())
    }

    /// What comes from now on.
    ///
    /// # Errors
    /// `Config` if the queue is out of range.
    pub fn subscribe_with(&self, options: SubscribeOptions) -> Result<Messages> {
        let SubscribeOptions { queue, .. } = options;
        if !(1..=SubscribeOptions::MAX_QUEUE).contains(&queue) {
            let accepted = format!("write 1 to {} messages", SubscribeOptions::MAX_QUEUE);
            return Err(Error::config("queue", queue, accepted));
        }
        Ok(self.listen(options))
    }

    fn listen(&self, options: SubscribeOptions) -> Messages {
        let SubscribeOptions { queue, full, echo } = options;
        let queue = Arc::new(Queue::new(queue, full));
        self.0.subscribers.add(&queue, echo);
        Messages { queue, _topic: self.clone() }
    }

    /// The connected peers that have joined the topic, in the order of their ids.
    pub fn peers(&self) -> Vec<PeerId> {
        self.0.publisher.peers().borrow().iter().copied().collect()
    }

    /// Waits until so many connected peers have joined the topic. Wrap it in a
    /// timeout if it must end.
    ///
    /// # Errors
    /// `Closed` if the node closes first.
    pub async fn wait_for_peers(&self, n: usize) -> Result<Vec<PeerId>> {
        let mut peers = self.0.publisher.peers();
        let there = async {
            let there = peers.wait_for(|peers| peers.len() >= n).await;
            there.map(|there| there.iter().copied().collect()).map_err(|_| Error::closed("node"))
        };
        self.unless_closed(there).await
    }

    /// Waits for what the host gives, no longer than there is a topic: what a host that
    /// closes was asked may stay where it is, and nothing tells of that.
    async fn unless_closed<T>(&self, wait: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            given = wait => given,
            () = self.0.subscribers.closed() => Err(Error::closed("node")),
        }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.full_name()).finish()
    }
}

/// The messages of a topic, from the moment of subscribing: a [`Stream`] that is
/// over after the last message of a closed node. Dropping it ends it.
pub struct Messages {
    queue: Arc<Queue>,
    /// As long as somebody listens, the topic is there.
    _topic: Topic,
}

impl Messages {
    /// The next message, as of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        StreamExt::next(self).await
    }

    #[cfg(test)]
    pub(super) fn topic(&self) -> &Topic {
        &self._topic
    }

    /// How many messages were lost because nobody took them in time.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped().load(Ordering::Relaxed)
    }

    /// Tells that also while another has the stream.
    pub fn watch_dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static + use<> {
        let dropped = self.queue.dropped().clone();
        move || dropped.load(Ordering::Relaxed)
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.queue.poll(cx)
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("waiting", &self.queue.len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
