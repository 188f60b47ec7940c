//! The messages that wait for one subscriber.

use super::Message;
use futures::task::AtomicWaker;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

/// Which messages are lost when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Full {
    /// The oldest in the queue: a slow subscriber goes on with what is new.
    #[default]
    DropOldest,
    /// Those that come: a slow subscriber has the first ones without a gap.
    DropNewest,
}

impl Full {
    /// Its name, as in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
        }
    }
}

/// The most bytes of messages that wait for a subscriber, whatever their number.
/// One message waits whatever its size.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Messages for which an empty queue keeps the room.
const IDLE: usize = 64;

/// A bounded queue with one reader.
pub(super) struct Queue {
    most: usize,
    full: Full,
    waiting: Mutex<Waiting>,
    dropped: Arc<AtomicU64>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(most: usize, full: Full) -> Self {
        let (waiting, dropped) = (Mutex::default(), Arc::default());
        Self { most, full, waiting, dropped, waker: AtomicWaker::new() }
    }

    /// Adds a message; gives back how many were lost by it.
    pub(super) fn push(&self, message: Message) -> u64 {
        let mut waiting = self.lock();
        if waiting.closed {
            return 0;
        }
        let (bytes, mut lost) = (message.data().len(), 0);
        while !waiting.messages.is_empty()
            && (waiting.messages.len() >= self.most || waiting.bytes + bytes > MAX_QUEUED_BYTES)
        {
            lost += 1;
            if self.full == Full::DropNewest {
                self.dropped.fetch_add(lost, Ordering::Relaxed);
                return lost;
            }
            let oldest = waiting.messages.pop_front();
            waiting.bytes -= oldest.map_or(0, |oldest| oldest.data().len());
        }
        waiting.bytes += bytes;
        waiting.messages.push_back(message);
        drop(waiting);
        self.dropped.fetch_add(lost, Ordering::Relaxed);
        self.waker.wake();
        lost
    }

    /// The next message; `None` when the queue is closed and empty.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        // Before looking, so that what comes meanwhile wakes.
        self.waker.register(cx.waker());
        let mut waiting = self.lock();
        if let Some(message) = waiting.messages.pop_front() {
            waiting.bytes -= message.data().len();
            if waiting.messages.is_empty() {
                waiting.messages.shrink_to(IDLE);
            }
            return Poll::Ready(Some(message));
        }
        if waiting.closed { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Takes no more messages. Those that wait are still there.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.waker.wake();
    }

    /// How many messages were lost.
    pub(super) fn dropped(&self) -> &Arc<AtomicU64> {
        &self.dropped
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.lock().messages.len()
    }

    /// What the lock guards is whole at every moment at which a panic could
    /// strike.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::signed::SignedMessage;
    use futures::task::noop_waker;
    use libp2p::identity::Keypair;

    fn message(seq: u64, len: usize) -> Message {
        let source = Keypair::generate_ed25519().public().to_peer_id().to_bytes();
        let number = seq.to_be_bytes();
        Message(SignedMessage::new(&source, &vec![7; len], &number, "t", b"s", None).unwrap())
    }

    fn next(queue: &Queue) -> Poll<Option<u64>> {
        let waker = noop_waker();
        let polled = queue.poll(&mut Context::from_waker(&waker));
        polled.map(|message| message.map(|message| message.seq()))
    }

    #[test]
    fn a_full_queue_loses_the_oldest_or_the_newest_and_counts_them() {
        for (full, kept) in [(Full::DropOldest, [3, 4]), (Full::DropNewest, [0, 1])] {
            let queue = Queue::new(2, full);
            let lost: u64 = (0..5).map(|seq| queue.push(message(seq, 1))).sum();
            assert_eq!((lost, queue.dropped().load(Ordering::Relaxed), queue.len()), (3, 3, 2));
            queue.close();
            assert_eq!(queue.push(message(9, 1)), 0);
            let rest = [next(&queue), next(&queue), next(&queue)];
            let [one, other] = kept.map(|seq| Poll::Ready(Some(seq)));
            assert_eq!(rest, [one, other, Poll::Ready(None)]);
        }
    }

    #[test]
    fn bytes_are_bounded_too() {
        let queue = Queue::new(1_000_000, Full::DropOldest);
        let large = 1 << 19;
        let lost: u64 = (0..134).map(|seq| queue.push(message(seq, large))).sum();
        assert_eq!((lost, queue.len()), (6, 128));
        assert_eq!(next(&queue), Poll::Ready(Some(6)));
        while queue.len() > 0 {
            let _ = next(&queue);
        }
        assert_eq!((next(&queue), queue.lock().bytes), (Poll::Pending, 0));
    }
}
