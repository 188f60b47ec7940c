//! A source that is pushed to a callback.

use crate::{
    Dispatcher, Kept, Result, Source, call::CancelOnDrop, ours::Ours, runtime, source::Pulled,
};
use futures::future::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Who is told.
pub trait Listener<T>: Send + Sync + 'static {
    /// Takes items, on the dispatcher's thread. No lock is held, so that it may
    /// call anything, and close the node.
    fn deliver(&self, batch: &mut Batch<T>);
}

/// Items to deliver. It ends early when the subscription is cancelled.
pub struct Batch<T> {
    items: std::vec::IntoIter<T>,
    state: Arc<State>,
}

impl<T> Batch<T> {
    /// For one who delivers the items later, on the dispatcher's thread.
    pub fn monitor(&self) -> Monitor {
        Monitor(self.state.clone())
    }
}

/// What a delivery has to know of its subscription, and to tell it.
#[derive(Clone)]
pub struct Monitor(Arc<State>);

impl Monitor {
    /// Whether nothing more is to be delivered.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    /// Counts a callback that failed.
    pub fn count_failure(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Iterator for Batch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.state.cancel.is_cancelled() { None } else { self.items.next() }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.items.len()))
    }
}

struct State {
    cancel: CancellationToken,
    dropped: AtomicU64,
    lost: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
    failed: AtomicU64,
}

/// A callback's subscription. Dropping it cancels it, unless it is
/// [kept](Self::keep).
pub struct Subscription(Ours<Held>);

struct Held {
    state: Arc<State>,
    guard: Option<CancelOnDrop>,
}

impl Subscription {
    /// Delivers nothing more. A callback that is running ends in its own time.
    pub fn cancel(&self) {
        if let Some(state) = self.state() {
            state.cancel.cancel();
        }
    }

    /// Whether nothing more is delivered.
    pub fn is_cancelled(&self) -> bool {
        self.state().is_none_or(|state| state.cancel.is_cancelled())
    }

    /// Counts a call of the callback, by one who calls it without a batch, that failed.
    pub fn count_failure(&self) {
        if let Some(state) = self.state() {
            state.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many items were lost because the callback was too slow: the oldest
    /// are dropped, if nothing else is said.
    pub fn dropped(&self) -> u64 {
        let Some(state) = self.state() else { return 0 };
        let lost = state.lost.as_ref().map_or(0, |lost| lost());
        state.dropped.load(Ordering::Relaxed) + lost
    }

    /// How many calls of the callback failed.
    pub fn failed(&self) -> u64 {
        self.state().map_or(0, |state| state.failed.load(Ordering::Relaxed))
    }

    /// Lets it go on when this handle is dropped, until the source is over.
    pub fn keep(mut self) -> Self {
        if let Some(held) = self.0.mine_mut() {
            held.guard.take().map(CancelOnDrop::disarm);
        }
        self
    }

    /// None in a forked child.
    fn state(&self) -> Option<&State> {
        self.0.mine().map(|held| &*held.state)
    }
}

/// Delivers a source to a listener, in batches, on the dispatcher's thread.
/// While the listener is busy, what comes waits in the source's own bounded
/// queue.
///
/// # Errors
/// `Io` if the runtime cannot be started.
pub fn subscribe<S: Source>(
    dispatcher: &Dispatcher,
    source: S,
    cancel: CancellationToken,
    listener: impl Listener<S::Item>,
) -> Result<Subscription> {
    let (dropped, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let state = Arc::new(State { cancel, dropped, lost: source.lost(), failed });
    let listener = dispatcher.keep(Arc::new(listener));
    let pump = pump(dispatcher.clone(), source, state.clone(), listener);
    let pump: BoxFuture<'static, ()> = Box::pin(pump);
    runtime::handle()?.spawn(pump);
    let guard = Some(state.cancel.clone().drop_guard());
    Ok(Subscription(Ours::new(Held { state, guard })))
}

async fn pump<S: Source>(
    dispatcher: Dispatcher,
    source: S,
    state: Arc<State>,
    listener: Kept<Arc<impl Listener<S::Item>>>,
) {
    const BATCH: usize = 256;
    let mut source = Pulled::new(source);
    loop {
        let items = tokio::select! {
            biased;
            () = state.cancel.cancelled() => return,
            items = source.next_batch(BATCH) => items,
        };
        let items = match items {
            Ok(items) if items.is_empty() => return,
            Ok(items) => items,
            Err(error) => {
                tracing::warn!(%error, "nothing more is delivered to a callback");
                return;
            }
        };
        state.dropped.fetch_add(items.iter().map(S::dropped).sum(), Ordering::Relaxed);
        let mut batch = Batch { items: items.into_iter(), state: state.clone() };
        let listener = Arc::clone(&listener);
        let (done, delivered) = oneshot::channel();
        dispatcher.submit(Box::new(move || {
            listener.deliver(&mut batch);
            let _ = done.send(());
        }));
        // A listener that panicked is told the next items all the same; that
        // the dispatcher was stopped shows in the next round.
        if delivered.await.is_err() {
            state.failed.fetch_add(1, Ordering::Relaxed);
            if dispatcher.is_stopped() {
                return;
            }
        }
    }
}
