//! What streams: to pull, or to be called with.

use crate::{
    call::{Pending, spawn},
    errors::Result,
    items::{Builder, Item},
    port::{Shared, Work, hand_over},
};
use casm_bindings::{Batch, Ended, Listener, Source};
use napi_derive::napi;
use std::{future::Future, pin::Pin, sync::Arc};

type Items = Pin<Box<dyn Future<Output = casm_bindings::Result<Builder>> + Send>>;

/// A stream of the facade, whatever it is of.
trait Pull: Send + Sync {
    fn pull(self: Arc<Self>) -> Items;
    fn cancel(&self);
    fn dropped(&self) -> u64;
}

impl<S: Source<Item: Item>> Pull for casm_bindings::Stream<S> {
    fn pull(self: Arc<Self>) -> Items {
        Box::pin(async move { Ok(Builder::of(self.next_batch().await?)) })
    }

    fn cancel(&self) {
        casm_bindings::Stream::cancel(self);
    }

    fn dropped(&self) -> u64 {
        casm_bindings::Stream::dropped(self)
    }
}

/// Events, changes, found peers or records, to pull.
#[napi]
pub struct Stream {
    items: Arc<dyn Pull>,
    port: Arc<Shared>,
    ended: Ended,
}

impl Stream {
    pub(crate) fn new<S: Source<Item: Item>>(
        items: casm_bindings::Stream<S>,
        port: Arc<Shared>,
    ) -> Self {
        Self::that_ends(items, port, Ended::default())
    }

    /// The same, which says why it ended.
    pub(crate) fn that_ends<S: Source<Item: Item>>(
        items: casm_bindings::Stream<S>,
        port: Arc<Shared>,
        ended: Ended,
    ) -> Self {
        Self { items: Arc::new(items), port, ended }
    }
}

#[napi]
impl Stream {
    /// Hands over the next items under `id`: none when the stream is over.
    #[napi]
    pub fn next_batch(&self, id: u32) -> Result<Pending> {
        spawn("waiting for the next item", &self.port, id, self.items.clone().pull(), |batch| {
            Work { items: Some(batch.build()), ..Work::default() }
        })
    }

    #[napi]
    pub fn cancel(&self) {
        self.items.cancel();
    }

    #[napi(getter)]
    pub fn dropped(&self) -> f64 {
        self.items.dropped() as f64
    }

    /// Why a call to all is over, when it is.
    #[napi(getter)]
    pub fn ended(&self) -> Option<&'static str> {
        self.ended.get()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.items.cancel();
    }
}

/// A callback's subscription. It goes on until it is cancelled, or the node is
/// closed.
#[napi]
pub struct Subscription(casm_bindings::Subscription);

impl From<casm_bindings::Subscription> for Subscription {
    fn from(subscription: casm_bindings::Subscription) -> Self {
        Self(subscription.keep())
    }
}

#[napi]
impl Subscription {
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }

    #[napi(getter)]
    pub fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    #[napi(getter)]
    pub fn dropped(&self) -> f64 {
        self.0.dropped() as f64
    }

    #[napi(getter)]
    pub fn failed(&self) -> f64 {
        self.0.failed() as f64
    }

    /// Counts a call of the callback that threw.
    #[napi]
    pub fn count_failure(&self) {
        self.0.count_failure();
    }
}

/// Hands every batch over under this number.
pub(crate) struct Forward(pub(crate) u32);

impl<T: Item> Listener<T> for Forward {
    fn deliver(&self, batch: &mut Batch<T>) {
        let items = Builder::of(batch).build();
        hand_over(Work { id: self.0, items: Some(items), ..Work::default() });
    }
}
