//! Carries what happens to any number of listeners, each with a bounded queue.

use futures::{Stream, task::AtomicWaker};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

/// Hands each item to every listener. A listener that lags behind loses the
/// oldest. Its queue takes the memory of what waits in it, and a bus without
/// listeners takes none: every node has several. Clones share the listeners.
#[derive(Debug)]
pub(crate) struct Bus<T>(Arc<Listeners<T>>);

#[derive(Debug)]
struct Listeners<T> {
    /// Items that a listener may lag behind.
    capacity: usize,
    /// None when it is closed.
    queues: Mutex<Option<Queues<T>>>,
}

type Queues<T> = Vec<Weak<Queue<T>>>;

/// What one listener has not taken yet.
#[derive(Debug)]
struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<Arc<T>>,
    lost: u64,
    closed: bool,
}

impl<T> Bus<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(Listeners { capacity, queues: Mutex::new(Some(Vec::new())) }))
    }

    pub(crate) fn send(&self, item: T) {
        let item = Arc::new(item);
        let mut queues = lock(&self.0.queues);
        let Some(queues) = &mut *queues else { return };
        queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut waiting = lock(&queue.waiting);
            if waiting.items.len() >= self.0.capacity {
                waiting.items.pop_front();
                waiting.lost += 1;
            }
            waiting.items.push_back(item.clone());
            drop(waiting);
            queue.waker.wake();
            true
        });
    }

    /// Ends it for all who listen, though somebody holds it: nothing more is sent.
    pub(crate) fn close(&self) {
        let queues = lock(&self.0.queues).take();
        close(queues);
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        lock(&self.0.queues).iter().flatten().any(|queue| queue.strong_count() > 0)
    }

    /// Tells how many items wait for the slowest listener, as long as there is a
    /// bus.
    pub(crate) fn depth(&self) -> impl Fn() -> Option<usize> + use<T> {
        let listeners = Arc::downgrade(&self.0);
        move || {
            let listeners = listeners.upgrade()?;
            let queues = lock(&listeners.queues);
            let waiting = queues.iter().flatten().filter_map(Weak::upgrade);
            Some(waiting.map(|queue| lock(&queue.waiting).items.len()).max().unwrap_or(0))
        }
    }

    pub(crate) fn listen(&self) -> Listener<T> {
        let mut queues = lock(&self.0.queues);
        let waiting = Waiting { items: VecDeque::new(), lost: 0, closed: queues.is_none() };
        let queue = Arc::new(Queue { waiting: Mutex::new(waiting), waker: AtomicWaker::new() });
        if let Some(queues) = &mut *queues {
            // Also here, since on a quiet bus nothing is sent.
            queues.retain(|queue| queue.strong_count() > 0);
            queues.push(Arc::downgrade(&queue));
        }
        Listener(queue)
    }
}

impl<T> Clone for Bus<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Drop for Listeners<T> {
    fn drop(&mut self) {
        close(lock(&self.queues).take());
    }
}

fn close<T>(queues: Option<Queues<T>>) {
    for queue in queues.iter().flatten().filter_map(Weak::upgrade) {
        lock(&queue.waiting).closed = true;
        queue.waker.wake();
    }
}

/// Takes what the bus carries, from the moment of listening: items, and how many
/// were lost before one. Over after the last one of a bus that is gone.
#[derive(Debug)]
pub(crate) struct Listener<T>(Arc<Queue<T>>);

impl<T: Clone> Stream for Listener<T> {
    type Item = Result<T, u64>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Before looking, so that what comes meanwhile wakes.
        self.0.waker.register(cx.waker());
        let mut waiting = lock(&self.0.waiting);
        if waiting.lost > 0 {
            return Poll::Ready(Some(Err(std::mem::take(&mut waiting.lost))));
        }
        if let Some(item) = waiting.items.pop_front() {
            if waiting.items.is_empty() {
                waiting.items.shrink_to(IDLE);
            }
            drop(waiting);
            return Poll::Ready(Some(Ok(Arc::unwrap_or_clone(item))));
        }
        if waiting.closed { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// Items for which an empty queue keeps the room.
const IDLE: usize = 64;

/// What these locks guard is whole at every moment at which a panic could
/// strike.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, StreamExt as _};

    #[tokio::test]
    async fn each_listener_gets_every_item_in_order_and_then_the_end() {
        let bus = Bus::new(10);
        let (mut one, mut other) = (bus.listen(), bus.listen());
        (0..10).for_each(|n| bus.send(n));
        let mut late = bus.listen();
        drop(bus);
        for listener in [&mut one, &mut other] {
            for n in 0..10 {
                assert_eq!(listener.next().await, Some(Ok(n)));
            }
        }
        for listener in [&mut one, &mut other, &mut late] {
            assert_eq!(listener.next().await, None);
        }
    }

    #[tokio::test]
    async fn a_bus_that_is_closed_ends_though_it_is_held() {
        let bus = Bus::new(10);
        let mut listener = bus.listen();
        bus.send(1);
        bus.close();
        bus.close();
        bus.send(2);
        assert_eq!(listener.next().await, Some(Ok(1)));
        assert_eq!(listener.next().await, None);
        assert_eq!(bus.listen().next().await, None);
        assert!(!bus.is_heard());
    }

    #[tokio::test]
    async fn a_slow_listener_loses_the_oldest_and_is_told_how_many() {
        let bus = Bus::new(100);
        let mut slow = bus.listen();
        (0..107).for_each(|n| bus.send(n));
        assert_eq!(slow.next().await, Some(Err(7)));
        for n in 7..107 {
            assert_eq!(slow.next().await, Some(Ok(n)));
        }
        assert!(slow.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_listener_that_waits_is_woken_and_one_that_is_gone_costs_nothing() {
        let bus = Bus::new(10);
        assert!(!bus.is_heard());
        let mut listener = bus.listen();
        assert!(bus.is_heard());
        let waiting = tokio::spawn(async move { listener.next().await });
        tokio::task::yield_now().await;
        bus.send(1);
        assert_eq!(waiting.await.unwrap(), Some(Ok(1)));
        assert!(!bus.is_heard());
        bus.send(1);
        assert!(lock(&bus.0.queues).as_ref().is_some_and(Vec::is_empty));
    }
}
