//! Topics: what one says reaches all who have joined, with any number of
//! publishers.
//!
//! A message is signed by its source, and comes at most once; there is no order
//! between sources, and what is too much for a receiver is lost and counted. On
//! the wire it is gossipsub, with strict signing.
//!
//! - `name`: what topics are called
//! - `topic`: the handles; `queue`: the messages that wait for a subscriber
//! - `task`: takes what comes; `judge`: what becomes of it, `window`: what was
//!   delivered last, `rates`: how much may come
//! - `numbers`: those of this node's own messages

mod judge;
mod name;
mod numbers;
mod queue;
mod rates;
mod task;
#[cfg(test)]
mod tests;
mod topic;
mod window;

pub use crate::pubsub::Verdict;
pub use name::{MAX_EXACT, MAX_NAME};
pub(crate) use numbers::Numbers;
pub use queue::{Full, MAX_QUEUED_BYTES};
pub use topic::{Messages, SubscribeOptions, Topic};

use crate::{
    Error, Keypair, Namespace, Result,
    cluster::Query,
    host::Host,
    metrics::{ByLabel, Metrics},
    pubsub::signed::SignedMessage,
    scope::Scope,
};
use libp2p::PeerId;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use task::{Closing, Look, Subscribers, Task};
use tokio_util::sync::CancellationToken;
use topic::Shared;

/// A message of a topic. A clone shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(SignedMessage);

impl Message {
    /// Who published it: the signature is this peer's.
    pub fn source(&self) -> PeerId {
        self.0.source()
    }

    /// Its number: no other message of this source has it. They have gaps, and
    /// those of some libraries are random.
    pub fn seq(&self) -> u64 {
        self.0.seq()
    }

    /// What was published.
    pub fn data(&self) -> &[u8] {
        self.0.data()
    }

    /// What gossip calls the topic.
    pub fn topic(&self) -> &str {
        self.0.topic()
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("source", &self.source())
            .field("seq", &self.seq())
            .field("bytes", &self.data().len())
            .finish()
    }
}

/// Says of each message whether a program takes it.
#[derive(Clone)]
struct Validator(Arc<dyn Fn(&Message) -> Verdict + Send + Sync>);

/// What a topic is to take. [`TopicOptions::default`] is right for most.
#[derive(Clone, Default)]
pub struct TopicOptions {
    exact: bool,
    max_data: Option<usize>,
    accept: Option<Query>,
    validator: Option<Validator>,
}

impl TopicOptions {
    /// The most bytes of data if nothing else is said: 60 KiB, which nodes of
    /// other programs take.
    pub const MAX_DATA: usize = 60 << 10;
    /// The most bytes of data that can be set: 1,000 KiB.
    pub const MOST_DATA: usize = 1000 << 10;

    /// Whether the name is taken as it is, 1 to 256 bytes, for a topic of other
    /// libp2p programs. Default false: the topic is of this node's cluster.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// The most bytes of data, in what is published and in what comes: 1 to
    /// [`MOST_DATA`](Self::MOST_DATA). Default [`MAX_DATA`](Self::MAX_DATA). Give
    /// all members the same: what is larger than here is not relayed.
    pub fn max_data(mut self, bytes: usize) -> Self {
        self.max_data = Some(bytes);
        self
    }

    /// Takes the messages of those alone whose record in the view the query finds
    /// (its limit left aside). What comes from others, or from whom no record is
    /// here, is neither delivered nor relayed; nothing is held against them. Give
    /// all members the same query. Meta is what a source says of itself; a role
    /// ([`Query::role`]) is proven of it.
    pub fn accept(mut self, query: Query) -> Self {
        self.accept = Some(query);
        self
    }

    /// Asks a function what to do with each message, after all other checks. It is
    /// called on a thread of the runtime and must not block. If it panics, the
    /// message is ignored.
    pub fn validator(
        mut self,
        valid: impl Fn(&Message) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.validator = Some(Validator(Arc::new(valid)));
        self
    }

    fn max(&self) -> usize {
        self.max_data.unwrap_or(Self::MAX_DATA)
    }

    fn check(&self) -> Result<()> {
        if !(1..=Self::MOST_DATA).contains(&self.max()) {
            let accepted = format!("write 1 to {} bytes", Self::MOST_DATA);
            return Err(Error::config("max_data", self.max(), accepted));
        }
        self.accept.as_ref().map_or(Ok(()), Query::check)
    }

    /// What of this is set, and not so in a topic that is open.
    fn differs(&self, open: &Self) -> Option<&'static str> {
        let validator = self.validator.as_ref().is_some_and(|valid| {
            open.validator.as_ref().is_none_or(|open| !Arc::ptr_eq(&valid.0, &open.0))
        });
        [
            ("max_data", self.max_data.is_some_and(|max| max != open.max())),
            ("accept", self.accept.is_some() && self.accept != open.accept),
            ("validator", validator),
        ]
        .into_iter()
        .find_map(|(name, differs)| differs.then_some(name))
    }
}

impl fmt::Debug for TopicOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicOptions")
            .field("exact", &self.exact)
            .field("max_data", &self.max())
            .field("accept", &self.accept)
            .field("validator", &self.validator.is_some())
            .finish()
    }
}

/// The topics of a node. Clones share them.
#[derive(Clone)]
pub(crate) struct Topics(Arc<Inner>);

struct Inner {
    host: Host,
    key: Keypair,
    namespace: Namespace,
    look: Look,
    numbers: Arc<Numbers>,
    metrics: Metrics,
    messages: ByLabel,
    scope: Scope,
    open: Mutex<HashMap<Arc<str>, Weak<Shared>>>,
}

impl Topics {
    pub(crate) fn new(
        host: Host,
        key: Keypair,
        namespace: Namespace,
        look: Look,
        numbers: Arc<Numbers>,
        metrics: Metrics,
        scope: Scope,
    ) -> Self {
        let messages = ByLabel::default();
        let help = "Messages received on topics of the program, by verdict";
        metrics.register("topic_messages", help, messages.clone());
        let open = Mutex::default();
        let inner = Inner { host, key, namespace, look, numbers, metrics, messages, scope, open };
        let inner = Arc::new(inner);
        let watched = Arc::downgrade(&inner);
        let waiting = move || {
            let inner = watched.upgrade()?;
            let open: Vec<_> = inner.open().values().filter_map(Weak::upgrade).collect();
            Some(open.iter().map(|shared| shared.subscribers.waiting()).sum())
        };
        inner.metrics.watch_queue("messages", waiting);
        Self(inner)
    }

    /// A handle of a topic, which is joined if it was not.
    pub(crate) fn open(&self, name: &str, options: TopicOptions) -> Result<Topic> {
        options.check()?;
        let inner = &self.0;
        let full = match options.exact {
            true => name::exact(&inner.namespace, name)?,
            false => name::in_namespace(&inner.namespace, name)?,
        };
        if inner.scope.is_cancelled() {
            return Err(Error::closed("node"));
        }
        let mut open = inner.open();
        if let Some(shared) = open.get(&full).and_then(Weak::upgrade) {
            if let Some(field) = options.differs(&shared.options) {
                let message = format!(
                    "topic {name:?}: it is open in this node with another `{field}`: give all \
                     handles of a topic the same, or close those"
                );
                return Err(Error::new(crate::ErrorKind::Config, message));
            }
            return Ok(Topic(shared));
        }
        let (publisher, join) = inner.host.joining(&full);
        let (subscribers, over) = (Arc::<Subscribers>::default(), CancellationToken::new());
        let task = Task {
            own: inner.host.id(),
            max_data: options.max(),
            accept: options.accept.clone(),
            validator: options.validator.clone(),
            look: inner.look.clone(),
            subscribers: Closing(subscribers.clone()),
            over: over.clone(),
            messages: inner.messages.clone(),
            metrics: inner.metrics.clone(),
        };
        let shared = Arc::new(Shared {
            name: name.into(),
            full: full.clone(),
            options,
            key: inner.key.clone(),
            numbers: inner.numbers.clone(),
            publisher,
            subscribers,
            metrics: inner.metrics.clone(),
            _over: over.drop_guard(),
        });
        open.retain(|_, shared| shared.strong_count() > 0);
        open.insert(full, Arc::downgrade(&shared));
        drop(open);
        inner.scope.spawn(task.run(join));
        Ok(Topic(shared))
    }
}

impl Inner {
    /// What the lock guards is whole at every moment at which a panic could
    /// strike.
    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
