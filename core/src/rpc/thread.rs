//! The vat's thread, and what is known on it only.

use super::{budget::Budget, limits::Limits, metrics::RpcMetrics, outbound::Outbound};
use crate::{Error, ErrorKind, NodeThread, Result, prefix::Prefix, scope::Scope};
use futures::future::{LocalBoxFuture, join_all};
use libp2p::PeerId;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::{Rc, Weak},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, sync::mpsc, task::LocalSet};
use tokio_util::sync::CancellationToken;

/// Jobs that may wait for the thread.
const JOBS: usize = 64;

type Job = Box<dyn FnOnce(&Rc<Local>) + Send>;

/// A thread with a runtime for tasks that stay on it: that of the node, or one of its own.
/// It starts with the first job, and ends with its scope or when this is dropped.
pub(super) struct Thread {
    limits: Limits,
    metrics: RpcMetrics,
    scope: Scope,
    /// Where the scope's tasks run, whoever asks for one.
    runtime: Handle,
    home: Option<NodeThread>,
    started: Mutex<Option<Started>>,
}

/// The thread, once it is started.
#[derive(Clone)]
struct Started {
    jobs: mpsc::Sender<Job>,
    /// Cancelled when it has ended.
    ended: CancellationToken,
}

impl Thread {
    pub(super) fn new(
        limits: Limits,
        metrics: RpcMetrics,
        scope: Scope,
        home: Option<NodeThread>,
    ) -> Self {
        let runtime = Handle::current();
        Self { limits, metrics, scope, runtime, home, started: Mutex::new(None) }
    }

    /// Starts a task beside the thread, which ends with it.
    pub(super) fn spawn_beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _context = self.runtime.enter();
        self.scope.spawn(task);
    }

    /// Runs a job on the thread. Gives what is cancelled when the thread has ended: then
    /// a job that was given to it in that moment is not run, and may not be dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after the end of the scope; [`ErrorKind::Io`] if
    /// the system gives no thread.
    pub(super) async fn run(
        &self,
        job: impl FnOnce(&Rc<Local>) + Send + 'static,
    ) -> Result<CancellationToken> {
        if self.scope.is_cancelled() {
            return Err(Error::closed("node"));
        }
        let Started { jobs, ended } = self.start()?;
        jobs.send(Box::new(job)).await.map_err(|_| Error::closed("node"))?;
        Ok(ended)
    }

    /// Whether it has been started.
    pub(super) fn is_started(&self) -> bool {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn start(&self) -> Result<Started> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(started) = &*started {
            return Ok(started.clone());
        }
        let (jobs, receive) = mpsc::channel(JOBS);
        let (limits, metrics) = (self.limits.clone(), self.metrics.clone());
        let scope = self.scope.clone();
        let ended = CancellationToken::new();
        let end = ended.clone().drop_guard();
        let work = move || -> LocalBoxFuture<'static, ()> {
            Box::pin(async move {
                let local = LocalSet::new();
                local.run_until(work(receive, Local::new(limits, metrics), scope)).await;
                // Ends its tasks, before anybody thinks that they have ended.
                drop(local);
                drop(end);
            })
        };
        match &self.home {
            // A thread that has ended drops what it is given: then this has ended too.
            Some(home) => drop(home.run(move || drop(tokio::task::spawn_local(work())))),
            None => own_thread(work)?,
        }
        let _context = self.runtime.enter();
        self.scope.spawn_graceful(ended.clone().cancelled_owned());
        let new = Started { jobs, ended };
        *started = Some(new.clone());
        Ok(new)
    }
}

/// Does the work on a thread of its own.
fn own_thread(work: impl FnOnce() -> LocalBoxFuture<'static, ()> + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = std::thread::Builder::new().name("casm-vat".into());
    thread.spawn(move || runtime.block_on(work())).map(drop).map_err(|e| {
        Error::new(ErrorKind::Io, format!("no thread for the vat: {e}")).with_source(e)
    })
}

async fn work(mut jobs: mpsc::Receiver<Job>, local: Local, scope: Scope) {
    let local = Rc::new(local);
    let jobs = async {
        while let Some(job) = jobs.recv().await {
            // The others' objects must not die of one that cannot be made.
            let _ = catch_unwind(AssertUnwindSafe(|| job(&local)));
        }
    };
    tokio::select! {
        () = jobs => (),
        () = scope.cancelled() => (),
    }
}

/// What the tasks on the thread share.
pub(super) struct Local {
    pub(super) limits: Limits,
    pub(super) metrics: RpcMetrics,
    pub(super) budget: Rc<Budget>,
    /// The streams that peers have opened, in the order in which they came.
    streams: RefCell<BTreeMap<u64, Open>>,
    next: Cell<u64>,
    /// What waits to be written on streams that peers have opened.
    served: Rc<RefCell<Vec<Weak<Outbound>>>>,
}

/// Calls and answers that are large.
#[derive(Clone, Copy)]
pub(super) struct Large {
    /// Whether they have a limit of their own for how long they take.
    pub(super) long: bool,
}

/// A stream that a peer has opened.
struct Open {
    peer: PeerId,
    prefix: Prefix,
    end: CancellationToken,
}

impl Local {
    pub(super) fn new(limits: Limits, metrics: RpcMetrics) -> Self {
        let budget = Budget::new(limits.total_bytes, metrics.used.clone());
        let (streams, next, served) = (RefCell::default(), Cell::new(0), Rc::default());
        Self { limits, metrics, budget, streams, next, served }
    }

    /// The same for a stream with large messages both ways, for which its ends wait
    /// until there is [room](super::Room), and whose calls, if they are long, may take
    /// as long as they do. Neither end stops reading for what it has to write itself: else both
    /// could, and for ever.
    pub(super) fn for_large_calls(&self, how: Large) -> Rc<Self> {
        let mut limits = self.limits.clone();
        if how.long {
            limits.call = Duration::MAX;
        }
        limits.queued_bytes += 2 * limits.message_bytes;
        let (metrics, budget) = (self.metrics.clone(), self.budget.clone());
        // Streams are counted where they are admitted.
        let (streams, next) = (RefCell::default(), Cell::new(0));
        Rc::new(Self { limits, metrics, budget, streams, next, served: self.served.clone() })
    }

    /// Notes what waits to be written for a peer.
    pub(super) fn serves(&self, outbound: &Rc<Outbound>) {
        let mut served = self.served.borrow_mut();
        served.retain(|other| other.strong_count() > 0);
        served.push(Rc::downgrade(outbound));
    }

    /// Waits until what is on its way to peers is written.
    pub(super) async fn flush(self: Rc<Self>) {
        // Answers that were just given are queued in a moment.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let served: Vec<_> = self.served.borrow().iter().filter_map(Weak::upgrade).collect();
        // One that fails has nothing more to write.
        join_all(served.iter().map(|outbound| outbound.drained())).await;
    }

    /// Counts a stream that a peer has opened from an address of this network,
    /// or refuses it. If all streams are open, one of the network that has most
    /// of them is ended for it, unless its own has as many.
    pub(super) fn admit(self: &Rc<Self>, peer: PeerId, prefix: Prefix) -> Option<Admitted> {
        let mut streams = self.streams.borrow_mut();
        let of_peer = streams.values().filter(|open| open.peer == peer).count();
        if of_peer >= self.limits.streams_per_peer {
            self.metrics.end("too-many-streams-of-one-peer");
            return None;
        }
        if streams.len() >= self.limits.streams {
            let Some(ended) = victim(&streams, prefix).and_then(|id| streams.remove(&id)) else {
                self.metrics.end("too-many-streams");
                return None;
            };
            self.metrics.end("made-room");
            ended.end.cancel();
        }
        let id = self.next.get();
        self.next.set(id + 1);
        let end = CancellationToken::new();
        streams.insert(id, Open { peer, prefix, end: end.clone() });
        Some(Admitted { local: self.clone(), id, end, _counted: self.count() })
    }

    /// Counts a stream in the metrics.
    pub(super) fn count(&self) -> Counted {
        self.metrics.streams.inc();
        Counted(self.metrics.clone())
    }
}

/// Which stream makes room for one of this network: of the network that has most,
/// the youngest of the peer that has most.
fn victim(streams: &BTreeMap<u64, Open>, newcomer: Prefix) -> Option<u64> {
    let (mut prefixes, mut peers) = (HashMap::new(), HashMap::new());
    for open in streams.values() {
        *prefixes.entry(open.prefix).or_insert(0usize) += 1;
        *peers.entry(open.peer).or_insert(0usize) += 1;
    }
    let own = prefixes.get(&newcomer).copied().unwrap_or(0);
    let most = prefixes.values().copied().max().filter(|&most| most > own + 1)?;
    let of_most = streams.iter().filter(|(_, open)| prefixes.get(&open.prefix) == Some(&most));
    of_most.max_by_key(|(id, open)| (peers.get(&open.peer).copied(), **id)).map(|(id, _)| *id)
}

/// A peer's stream, as long as it is open.
pub(super) struct Admitted {
    local: Rc<Local>,
    id: u64,
    end: CancellationToken,
    _counted: Counted,
}

impl Admitted {
    /// Waits until the stream has to make room for another.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.local.streams.borrow_mut().remove(&self.id);
    }
}

/// A stream in the metrics.
pub(super) struct Counted(RpcMetrics);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::net::IpAddr;

    fn prefix(ip: &str) -> Prefix {
        ip.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_network_with_many_identities_keeps_no_other_out() {
        let limits = Limits { streams: 8, streams_per_peer: 2, ..Limits::default() };
        let local = Rc::new(Local::new(limits, RpcMetrics::default()));
        let admit = |ip: &str| local.admit(PeerId::random(), prefix(ip));
        let hostile: Vec<_> = (1..=8).map(|n| admit(&format!("9.9.9.{n}")).unwrap()).collect();
        assert!(admit("9.9.9.9").is_none(), "one more of the same takes nobody's place");
        // Others get as much as the network has, and no more than that.
        let others: Vec<_> = (1..=4).map_while(|_| admit("8.8.8.8")).collect();
        assert_eq!(others.len(), 4);
        let ended = hostile.iter().filter(|open| open.ended().now_or_never().is_some());
        assert_eq!(ended.count(), 4);
        assert!(admit("8.8.8.8").is_none());
        assert!(others.iter().all(|open| open.ended().now_or_never().is_none()));
        // A third network gets in all the same.
        let third = admit("2001:db8::1").unwrap();
        assert_eq!(local.streams.borrow().len(), 8);
        drop((hostile, others, third));
        assert_eq!(local.streams.borrow().len(), 0);
        assert_eq!(local.metrics.streams.get(), 0);

        // On a LAN each address counts by itself; and of a network, who has most.
        let peer = PeerId::random();
        let two: Vec<_> = (0..2).map(|_| local.admit(peer, prefix("10.0.0.1")).unwrap()).collect();
        assert!(local.admit(peer, prefix("10.0.0.1")).is_none(), "one peer has its limit");
        let lan: Vec<_> = (2..=7).map(|n| admit(&format!("10.0.0.{n}")).unwrap()).collect();
        let more = admit("10.0.0.8").unwrap();
        assert!(two[1].ended().now_or_never().is_some());
        assert!(admit("10.0.0.9").is_none(), "each has one");
        drop((lan, more));
    }
}
