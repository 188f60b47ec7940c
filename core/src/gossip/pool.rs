//! The threads that check signatures: one pool for all nodes of a process, so
//! that the swarms' tasks don't wait, and all cores are used and no more.

use super::engine::CheckId;
use crate::{
    process::PerProcess,
    pubsub::{keys::Keys, signed::SignedMessage},
};
use futures::task::AtomicWaker;
use std::{
    collections::VecDeque,
    mem,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    thread,
};

/// Messages of one node that are checked before those of another get their turn:
/// a millisecond's work.
const TURN: usize = 16;

/// The checks of one node. Its engine bounds how many run.
pub(crate) struct Checks {
    node: Arc<Queue>,
    pool: &'static Pool,
}

/// What of a node waits for the pool, and what is done.
#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<(CheckId, SignedMessage)>>,
    /// Whether it stands in the pool's line.
    in_line: AtomicBool,
    done: Mutex<Vec<(CheckId, bool)>>,
    waker: AtomicWaker,
}

impl Checks {
    pub(super) fn new() -> Self {
        Self { node: Arc::default(), pool: pool() }
    }

    /// Has messages checked.
    pub(super) fn submit(&self, messages: impl IntoIterator<Item = (CheckId, SignedMessage)>) {
        lock(&self.node.waiting).extend(messages);
        self.pool.enqueue(&self.node);
    }

    /// What has been found out since: whether each message is good.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Vec<(CheckId, bool)>> {
        let take = || {
            let done = mem::take(&mut *lock(&self.node.done));
            if done.is_empty() { Poll::Pending } else { Poll::Ready(done) }
        };
        let done = take();
        if done.is_ready() {
            return done;
        }
        self.node.waker.register(cx.waker());
        take()
    }
}

/// The pool of one process.
#[derive(Default)]
struct Pool {
    line: Mutex<Line>,
    more: Condvar,
}

#[derive(Default)]
struct Line {
    /// The nodes of which something waits, each once. Who is gone is passed over.
    nodes: VecDeque<Weak<Queue>>,
    /// Threads that wait for one.
    idle: usize,
    /// How many there are; none before the first message.
    threads: Option<usize>,
}

fn pool() -> &'static Pool {
    static POOLS: PerProcess<Pool> = PerProcess::new();
    POOLS.get()
}

impl Pool {
    /// Has a node stand in the line, unless it does already.
    fn enqueue(&'static self, node: &Arc<Queue>) {
        if node.in_line.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut line = lock(&self.line);
        line.nodes.push_back(Arc::downgrade(node));
        let threads = *line.threads.get_or_insert_with(|| self.start());
        let idle = line.idle > 0;
        drop(line);
        if idle {
            self.more.notify_one();
        }
        // The system gives no more threads.
        while threads == 0
            && let Some(node) = self.next()
        {
            self.check(&node);
        }
    }

    /// Starts the threads; says how many.
    fn start(&'static self) -> usize {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let start = |n| {
            let thread = thread::Builder::new().name(format!("casm-verify-{n}"));
            thread.spawn(move || self.work()).is_ok()
        };
        (0..cores).take_while(|n| start(*n)).count()
    }

    fn work(&self) -> ! {
        loop {
            if let Some(node) = self.next() {
                self.check(&node);
                continue;
            }
            let mut line = lock(&self.line);
            line.idle += 1;
            let waited = self.more.wait_while(line, |line| line.nodes.is_empty());
            waited.unwrap_or_else(PoisonError::into_inner).idle -= 1;
        }
    }

    /// Whose turn it is.
    fn next(&self) -> Option<Arc<Queue>> {
        let mut line = lock(&self.line);
        while let Some(node) = line.nodes.pop_front() {
            if let Some(node) = node.upgrade() {
                return Some(node);
            }
        }
        None
    }

    /// Checks some of a node's messages.
    fn check(&self, node: &Arc<Queue>) {
        let (messages, rest): (Vec<_>, bool) = {
            let mut waiting = lock(&node.waiting);
            // What comes from now on brings the node into the line again.
            node.in_line.store(false, Ordering::SeqCst);
            let turn = waiting.len().min(TURN);
            (waiting.drain(..turn).collect(), !waiting.is_empty())
        };
        if rest && !node.in_line.swap(true, Ordering::SeqCst) {
            let mut line = lock(&self.line);
            line.nodes.push_back(Arc::downgrade(node));
            // Another thread can take the rest meanwhile.
            if line.idle > 0 {
                self.more.notify_one();
            }
        }
        let results: Vec<_> =
            messages.iter().map(|(id, message)| (*id, is_good(message))).collect();
        if !results.is_empty() {
            lock(&node.done).extend(results);
            node.waker.wake();
        }
    }
}

/// A panic would cost a thread, and the node the place of the check.
fn is_good(message: &SignedMessage) -> bool {
    let verify = || message.verify(Keys::shared()).is_ok();
    catch_unwind(AssertUnwindSafe(verify)).unwrap_or(false)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics is done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;
    use std::{collections::BTreeMap, future::poll_fn};

    fn message(good: bool) -> SignedMessage {
        let message = SignedMessage::sign(&Keypair::generate_ed25519(), "casm", 1, b"x").unwrap();
        let (source, seqno) = (message.source().to_bytes(), 2_u64.to_be_bytes());
        let forged = || SignedMessage::new(&source, b"x", &seqno, "casm", &[7; 64], None).unwrap();
        if good { message } else { forged() }
    }

    #[tokio::test]
    async fn all_that_is_given_is_found_good_or_not() {
        let nodes = [Checks::new(), Checks::new()];
        let (good, bad) = (message(true), message(false));
        let submit = |node: &Checks, from: u64| {
            let message = |n: u64| if n.is_multiple_of(3) { bad.clone() } else { good.clone() };
            node.submit((from..from + 100).map(|n| (CheckId(n), message(n))));
        };
        for from in [0, 100, 200] {
            nodes.iter().for_each(|node| submit(node, from));
        }
        for node in &nodes {
            let mut found = BTreeMap::new();
            while found.len() < 300 {
                found.extend(poll_fn(|cx| node.poll(cx)).await);
            }
            assert!(found.iter().all(|(id, good)| *good != id.0.is_multiple_of(3)));
        }
        // One that is gone holds up nobody.
        let gone = Checks::new();
        submit(&gone, 0);
        drop(gone);
        submit(&nodes[0], 0);
        poll_fn(|cx| nodes[0].poll(cx)).await;
    }

    /// A pool without threads: the test takes their turns.
    fn idle() -> &'static Pool {
        let line = Line { threads: Some(1), ..Line::default() };
        let (line, more) = (Mutex::new(line), Condvar::new());
        Box::leak(Box::new(Pool { line, more }))
    }

    #[test]
    fn who_has_much_checked_holds_up_nobody() {
        let pool = idle();
        let [busy, other] = [(); 2].map(|()| Checks { node: Arc::default(), pool });
        let good = message(true);
        busy.submit((0..1000).map(|n| (CheckId(n), good.clone())));
        other.submit([(CheckId(0), good.clone())]);
        for _ in 0..2 {
            pool.check(&pool.next().unwrap());
        }
        assert_eq!(lock(&other.node.done).len(), 1);
        assert_eq!(lock(&busy.node.done).len(), TURN);
        let turns = std::iter::from_fn(|| pool.next().map(|node| pool.check(&node))).count();
        assert_eq!((turns, lock(&busy.node.done).len()), (1000_usize.div_ceil(TURN) - 1, 1000));
        // Of who is gone nothing is kept.
        busy.submit([(CheckId(0), good)]);
        drop(busy);
        assert!(pool.next().is_none());
    }

    #[test]
    fn without_threads_the_node_checks_for_itself() {
        let pool = idle();
        lock(&pool.line).threads = Some(0);
        let node = Checks { node: Arc::default(), pool };
        node.submit((0..50).map(|n| (CheckId(n), message(true))));
        assert_eq!(lock(&node.node.done).len(), 50);
    }
}
