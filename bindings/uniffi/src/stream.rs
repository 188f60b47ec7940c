//! What streams, to pull.

use crate::{
    call,
    errors::Result,
    items::{Change, Event, Item, Message, PeerFound, Record},
    pending::{Gives, Pending},
};
use casm_bindings::{Changes, Events, Messages, Peers, Records, Source, Stream};
use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const WHAT: &str = "next";

/// A stream of the facade, and what was taken from it and not yet asked for.
pub(crate) struct Pull<S: Source, I> {
    pub(crate) items: Stream<S>,
    buffer: Mutex<VecDeque<I>>,
}

impl<S: Source, I: Item<S::Item> + Send + 'static> Pull<S, I> {
    pub(crate) fn new(items: Stream<S>) -> Arc<Self> {
        Arc::new(Self { items, buffer: Mutex::default() })
    }

    pub(crate) fn next(self: &Arc<Self>, timeout: Option<f64>) -> Result<Option<I>> {
        match self.pop() {
            Some(item) => Ok(Some(item)),
            None => call::wait(WHAT, || Ok((self.asked(), timeout, Unread::read))),
        }
    }

    pub(crate) fn start_next(
        self: &Arc<Self>,
        timeout: Option<f64>,
    ) -> Arc<<Option<I> as Gives>::Pending>
    where
        Option<I>: Gives,
    {
        match self.pop() {
            Some(item) => {
                let unread = Unread { pull: self.clone(), item: Some(item) };
                Gives::exported(Pending::over(WHAT, Ok(Box::new(move || unread.read()))))
            }
            None => call::start(WHAT, || Ok((self.asked(), timeout, Unread::read))),
        }
    }

    pub(crate) fn cancel(&self) {
        self.items.cancel();
        self.buffer().clear();
    }

    fn asked(
        self: &Arc<Self>,
    ) -> impl Future<Output = casm_bindings::Result<Unread<S, I>>> + Send + use<S, I> {
        let pull = self.clone();
        async move {
            loop {
                if let Some(item) = pull.pop() {
                    return Ok(Unread { pull, item: Some(item) });
                }
                let items = pull.items.next_batch().await?;
                if items.is_empty() {
                    return Ok(Unread { pull, item: None });
                }
                pull.buffer().extend(items.into_iter().filter_map(I::of));
            }
        }
    }

    fn pop(&self) -> Option<I> {
        self.buffer().pop_front()
    }
}

impl<S: Source, I> Pull<S, I> {
    fn buffer(&self) -> MutexGuard<'_, VecDeque<I>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came, if it is not the end. If nobody reads it, the next call gets it.
struct Unread<S: Source, I> {
    pull: Arc<Pull<S, I>>,
    item: Option<I>,
}

impl<S: Source, I> Unread<S, I> {
    fn read(mut self) -> Option<I> {
        self.item.take()
    }
}

impl<S: Source, I> Drop for Unread<S, I> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            let mut buffer = self.pull.buffer();
            // A cancel clears it afterwards.
            if !self.pull.items.is_cancelled() {
                buffer.push_front(item);
            }
        }
    }
}

/// Objects that are exported cannot be generic.
macro_rules! streams {
    ($($(#[doc = $doc:literal])+ $name:ident: $source:ident => $item:ident,)+) => {$(
        $(#[doc = $doc])+
        ///
        /// What nobody takes in time is dropped, the oldest first if nothing else was asked, and counted.
        #[derive(uniffi::Object)]
        pub struct $name(Arc<Pull<$source, $item>>);

        impl From<Stream<$source>> for $name {
            fn from(items: Stream<$source>) -> Self {
                Self(Pull::new(items))
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

            /// The same in the background: it begins, and this doesn't wait. What comes
            /// and is not taken is given to the next call.
            #[uniffi::method(default(timeout))]
            pub fn start_next(
                &self,
                timeout: Option<f64>,
            ) -> Arc<<Option<$item> as Gives>::Pending> {
                self.0.start_next(timeout)
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
