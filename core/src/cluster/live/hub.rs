//! Where the service leaves its view, and readers and live queries find it.

use super::{Change, Live};
use crate::{
    Error, Result,
    cluster::{query::Query, snapshot::View, table::Difference},
    metrics::{ByLabel, Metrics},
};
use futures::{Stream, StreamExt, task::AtomicWaker};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a cluster service tells of goodbyes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Said {
    /// The turn of the last one in the view.
    pub(in crate::cluster) last: u64,
    /// Whether the node itself has left.
    pub(in crate::cluster) left: bool,
}

/// The latest view, and the live queries on it. One writer, many readers.
#[derive(Debug)]
pub struct Hub {
    view: watch::Sender<View>,
    said: watch::Sender<Said>,
    live: Mutex<Vec<Weak<Subscriber>>>,
    closed: CancellationToken,
    dropped: ByLabel,
}

#[derive(Debug)]
struct Subscriber {
    live: Mutex<Live>,
    waker: AtomicWaker,
}

impl Hub {
    /// One with a view, that counts what is lost in the metrics of its node.
    pub fn new(view: View, metrics: &Metrics) -> Self {
        Self {
            view: watch::Sender::new(view),
            said: watch::Sender::default(),
            live: Mutex::default(),
            closed: CancellationToken::new(),
            dropped: metrics.dropped.clone(),
        }
    }

    /// The latest view.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Puts a new view in place, and tells the live queries what led to it.
    pub fn publish(&self, view: View, differences: &[Difference]) {
        // The lock makes one step of both for whoever subscribes meanwhile.
        let mut live = lock(&self.live);
        self.view.send_replace(view.clone());
        let last = view.goodbyes().last();
        self.said.send_if_modified(|said| std::mem::replace(&mut said.last, last) != last);
        if differences.is_empty() {
            return;
        }
        live.retain(|subscriber| {
            let Some(subscriber) = subscriber.upgrade() else { return false };
            let lost = lock(&subscriber.live).apply(&view, differences);
            if lost > 0 {
                self.dropped.get_or_create(&[("queue", "live")]).inc_by(lost);
            }
            subscriber.waker.wake();
            true
        });
    }

    /// How many changes wait to be taken from all live queries.
    pub(in crate::cluster) fn waiting(&self) -> usize {
        let live = lock(&self.live);
        live.iter().filter_map(Weak::upgrade).map(|one| lock(&one.live).waiting()).sum()
    }

    /// Tells of goodbyes in the view, as they come.
    pub(in crate::cluster) fn said(&self) -> watch::Receiver<Said> {
        self.said.subscribe()
    }

    /// The node has left, or is back.
    pub(in crate::cluster) fn has_left(&self, left: bool) {
        self.said.send_modify(|said| said.left = left);
    }

    /// Ends all that waits: the node has left.
    pub(in crate::cluster) fn close(&self) {
        self.has_left(true);
        self.closed.cancel();
        lock(&self.live).iter().filter_map(Weak::upgrade).for_each(|one| one.waker.wake());
    }

    /// Does that at the latest when what is given back is dropped, as when the task that
    /// writes the view is.
    pub(in crate::cluster) fn close_on_drop(self: &Arc<Self>) -> Closing {
        Closing(self.clone())
    }

    /// Waits until the query finds so many records in the view.
    pub(in crate::cluster) async fn wait_for(&self, query: Query, n: usize) -> Result<View> {
        let mut views = self.view.subscribe();
        tokio::select! {
            biased;
            view = views.wait_for(|view| view.count(&query) >= n) => match view {
                Ok(view) => Ok(view.clone()),
                Err(_) => Err(Error::closed("node")),
            },
            () = self.closed.cancelled() => Err(Error::closed("node")),
        }
    }

    /// Begins a query that goes on.
    pub fn subscribe(self: &Arc<Self>, query: Query) -> LiveQuery {
        let mut live = lock(&self.live);
        let view = self.view();
        let subscriber = Arc::new(Subscriber {
            live: Mutex::new(Live::new(query, Live::CAPACITY, &view)),
            waker: AtomicWaker::new(),
        });
        // Also here, since a view that never changes is never published.
        live.retain(|subscriber| subscriber.strong_count() > 0);
        live.push(Arc::downgrade(&subscriber));
        LiveQuery { hub: self.clone(), subscriber }
    }
}

/// Closes a hub when it is dropped.
pub(in crate::cluster) struct Closing(Arc<Hub>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A query that goes on: first what it finds, then what changes, with nothing
/// missed and nothing told twice between the two. A
/// [`Stream`] that is over after the last change of a closed
/// node. Dropping it ends it.
#[derive(Debug)]
pub struct LiveQuery {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
}

impl Stream for LiveQuery {
    type Item = Change;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        // Before looking, so that what comes meanwhile wakes.
        self.subscriber.waker.register(cx.waker());
        // Before the queue is looked at: what is closed gets no more.
        let closed = self.hub.closed.is_cancelled();
        let change = lock(&self.subscriber.live).pop();
        if let Some(Change::Dropped { .. }) = change {
            self.get_mut().resync();
        }
        match change {
            Some(change) => Poll::Ready(Some(change)),
            None if closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl LiveQuery {
    /// The next change, as of the stream. After [`Change::Dropped`] the whole picture
    /// comes again, as after [`resync`](Self::resync).
    pub async fn next(&mut self) -> Option<Change> {
        StreamExt::next(self).await
    }

    /// Begins again with what the query finds now: forgets the changes that
    /// have not been taken, and goes on with [`Change::Current`] for every
    /// record.
    pub fn resync(&mut self) {
        let _no_view_is_published_meanwhile = lock(&self.hub.live);
        lock(&self.subscriber.live).resync(&self.hub.view());
    }
}

/// What these locks guard is whole at every moment at which a panic could
/// strike.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
