//! What streams, to pull.

use crate::{
    call::block,
    errors::Result,
    items::{Change, Event, Item, Message, PeerFound, Record},
};
use casm_bindings::{Changes, Events, Messages, Peers, Records, Source, Stream};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A stream of the facade, and what was taken from it and not yet asked for.
pub(crate) struct Pull<S: Source> {
    pub(crate) items: Stream<S>,
    pub(crate) buffer: Mutex<VecDeque<S::Item>>,
}

impl<S: Source> Pull<S> {
    pub(crate) fn next<I: Item<S::Item>>(&self, timeout: Option<f64>) -> Result<Option<I>> {
        loop {
            while let Some(item) = self.take() {
                if let Some(item) = I::of(item) {
                    return Ok(Some(item));
                }
            }
            let items = block("next", self.items.next_batch(), timeout)?;
            if items.is_empty() {
                return Ok(None);
            }
            self.buffer().extend(items);
        }
    }

    pub(crate) fn cancel(&self) {
        self.items.cancel();
        self.buffer().clear();
    }

    fn take(&self) -> Option<S::Item> {
        self.buffer().pop_front()
    }

    fn buffer(&self) -> MutexGuard<'_, VecDeque<S::Item>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Objects that are exported cannot be generic.
macro_rules! streams {
    ($($(#[doc = $doc:literal])+ $name:ident: $source:ident => $item:ident,)+) => {$(
        $(#[doc = $doc])+
        ///
        /// What nobody takes in time is dropped, the oldest first if nothing else was asked, and counted.
        #[derive(uniffi::Object)]
        pub struct $name(Pull<$source>);

        impl From<Stream<$source>> for $name {
            fn from(items: Stream<$source>) -> Self {
                Self(items.into())
            }
        }

        #[uniffi::export]
        impl $name {
            /// Waits for the next item; null when the stream is over, because
            /// it was cancelled or its node closed. One call at a time.
            #[uniffi::method(default(timeout))]
            pub fn next(&self, timeout: Option<f64>) -> Result<Option<$item>> {
                self.0.next(timeout)
            }

            /// Ends the stream, also for a call that is waiting.
            pub fn cancel(&self) {
                self.0.cancel();
            }

            /// How many items were lost because nobody took them in time.
            pub fn dropped(&self) -> u64 {
                self.0.items.dropped()
            }
        }
    )+};
}

streams! {
    /// What happens to a node.
    EventStream: Events => Event,
    /// What a query finds, and every change to that.
    ChangeStream: Changes => Change,
    /// The peers that a search finds.
    PeerStream: Peers => PeerFound,
    /// The records that a query finds in another node's view.
    RecordStream: Records => Record,
    /// The messages of a topic.
    MessageStream: Messages => Message,
}
