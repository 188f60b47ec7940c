//! Listeners of Swift and Kotlin, and their subscriptions.

use crate::{
    byte_stream::ByteStream,
    items::{Change, Event, Item, Message},
};
use casm_bindings::{Batch, Listener};
use std::{fmt, sync::Arc};

/// What a listener may throw. Whatever else it throws becomes this too.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Error)]
pub enum ListenerError {
    /// The listener failed.
    Failed {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed { reason } = self;
        f.write_str(reason)
    }
}

impl std::error::Error for ListenerError {}

impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

/// Is told what happens to a node. Calls come one after the other, on a thread
/// of the node's, and may call anything of it. A call that throws is logged and
/// counted, and the next event comes all the same.
#[uniffi::export(with_foreign)]
pub trait EventListener: Send + Sync {
    /// Something happened.
    fn on_event(&self, event: Event) -> Result<(), ListenerError>;
}

/// Is told what a query finds, and every change to that, as an
/// [`EventListener`] is.
#[uniffi::export(with_foreign)]
pub trait ChangeListener: Send + Sync {
    /// What the query finds changed.
    fn on_change(&self, change: Change) -> Result<(), ListenerError>;
}

/// Is given the streams of a protocol that peers open. Calls come one after the
/// other, on the node's one thread for callbacks: what takes longer is for another
/// thread, on which the stream may be used as well. A stream whose call throws is
/// reset.
#[uniffi::export(with_foreign)]
pub trait StreamListener: Send + Sync {
    /// A peer has opened a stream.
    fn on_stream(&self, stream: Arc<ByteStream>, peer: String) -> Result<(), ListenerError>;
}

/// Is told what comes on a topic, as an [`EventListener`] is what happens.
#[uniffi::export(with_foreign)]
pub trait MessageListener: Send + Sync {
    /// A message came.
    fn on_message(&self, message: Message) -> Result<(), ListenerError>;
}

/// The facade's view of a listener.
pub(crate) struct Told<L: ?Sized>(pub(crate) Arc<L>);

impl Listener<casm_bindings::Event> for Told<dyn EventListener> {
    fn deliver(&self, batch: &mut Batch<casm_bindings::Event>) {
        tell(batch, |event| self.0.on_event(event));
    }
}

impl Listener<casm_bindings::Change> for Told<dyn ChangeListener> {
    fn deliver(&self, batch: &mut Batch<casm_bindings::Change>) {
        tell(batch, |change| self.0.on_change(change));
    }
}

impl Listener<casm_bindings::ByteStream> for Told<dyn StreamListener> {
    fn deliver(&self, batch: &mut Batch<casm_bindings::ByteStream>) {
        let monitor = batch.monitor();
        for stream in batch {
            let (peer, given) = (stream.peer().to_owned(), Arc::new(stream.clone().into()));
            if let Err(error) = self.0.on_stream(given, peer) {
                monitor.count_failure();
                stream.reset();
                tracing::warn!(
                    target: "casm::bindings", %error, "a listener failed; its stream is reset"
                );
            }
        }
    }
}

impl Listener<casm_bindings::Message> for Told<dyn MessageListener> {
    fn deliver(&self, batch: &mut Batch<casm_bindings::Message>) {
        tell(batch, |message| self.0.on_message(message));
    }
}

fn tell<T, I: Item<T>>(batch: &mut Batch<T>, call: impl Fn(I) -> Result<(), ListenerError>) {
    let monitor = batch.monitor();
    for item in batch.filter_map(I::of) {
        if let Err(error) = call(item) {
            monitor.count_failure();
            tracing::warn!(target: "casm::bindings", %error, "a listener failed; it is called again");
        }
    }
}

/// A listener's subscription. It lasts until it is cancelled, or the node is
/// closed, also when nobody holds it.
#[derive(uniffi::Object)]
pub struct Subscription(casm_bindings::Subscription);

impl From<casm_bindings::Subscription> for Subscription {
    fn from(subscription: casm_bindings::Subscription) -> Self {
        // Kotlin drops what nobody holds at some later time: a listener must
        // not fall silent then.
        Self(subscription.keep())
    }
}

#[uniffi::export]
impl Subscription {
    /// Calls the listener no more. A call that is running ends in its own time.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// How many items were lost because the listener was too slow: the oldest
    /// are dropped.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// How many calls of the listener threw.
    pub fn failed(&self) -> u64 {
        self.0.failed()
    }
}
