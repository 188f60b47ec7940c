//! What streams, to pull.

use crate::{
    call,
    errors::Result,
    items::{Change, Event, Item, Message, PeerFound, Record},
    pending::{Gives, Pending},
};
use casm_bindings::{Changes, Error, Events, Messages, Peers, Records, Source, Stream};
use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const WHAT: &str = "next";

/// A stream of the facade, and what was taken from it and not yet asked for.
pub(crate) struct Pull<S: Source, I> {
    pub(crate) items: Stream<S>,
    came: Mutex<Came<I>>,
}

struct Came<I> {
    items: VecDeque<I>,
    /// Behind the items. Some sources tell it only once.
    failed: Option<Error>,
}

impl<I> Came<I> {
    fn next(&mut self) -> Option<casm_bindings::Result<I>> {
        self.items.pop_front().map(Ok).or_else(|| self.failed.take().map(Err))
    }
}

impl<S: Source, I: Item<S::Item> + Send + 'static> Pull<S, I> {
    pub(crate) fn new(items: Stream<S>) -> Arc<Self> {
        let came = Came { items: VecDeque::new(), failed: None };
        Arc::new(Self { items, came: Mutex::new(came) })
    }

    pub(crate) fn next(self: &Arc<Self>, timeout: Option<f64>) -> Result<Option<I>> {
        match self.pop() {
            Some(item) => Ok(Some(item?)),
            None => call::wait(WHAT, || Ok((self.asked(), timeout, Unread::read)))?,
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
            None => call::start_giving(WHAT, || Ok((self.asked(), timeout, Unread::read))),
        }
    }

    pub(crate) fn cancel(&self) {
        self.items.cancel();
        let mut came = self.came();
        came.items.clear();
        came.failed = None;
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
                match pull.items.pulled().await? {
                    Ok(items) if items.is_empty() => return Ok(Unread { pull, item: None }),
                    Ok(items) => {
                        let mut came = pull.came();
                        // A cancel clears it afterwards.
                        if !pull.items.is_cancelled() {
                            came.items.extend(items.into_iter().filter_map(I::of));
                        }
                    }
                    Err(error) => return Ok(Unread { pull, item: Some(Err(error)) }),
                }
            }
        }
    }

    fn pop(&self) -> Option<casm_bindings::Result<I>> {
        self.came().next()
    }
}

impl<S: Source, I> Pull<S, I> {
    fn came(&self) -> MutexGuard<'_, Came<I>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came, an item or the stream's error, if it is not the end. If nobody reads it,
/// the next call gets it.
struct Unread<S: Source, I> {
    pull: Arc<Pull<S, I>>,
    item: Option<casm_bindings::Result<I>>,
}

impl<S: Source, I> Unread<S, I> {
    fn read(mut self) -> Result<Option<I>> {
        Ok(self.item.take().transpose()?)
    }
}

impl<S: Source, I> Drop for Unread<S, I> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            let mut came = self.pull.came();
            // A cancel clears it afterwards.
            if !self.pull.items.is_cancelled() {
                match item {
                    Ok(item) => came.items.push_front(item),
                    Err(error) => came.failed = Some(error),
                }
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
