//! The vat's thread, and what is known on it only.

use super::{limits::Limits, metrics::RpcMetrics};
use crate::{Error, ErrorKind, Result, scope::Scope};
use libp2p::PeerId;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Mutex, PoisonError},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::LocalSet,
};

/// Jobs that may wait for the thread.
const JOBS: usize = 64;

type Job = Box<dyn FnOnce(&Rc<Local>) + Send>;

/// A thread with a runtime for tasks that stay on it. It starts with the first
/// job, and ends with its scope or when this is dropped.
pub(super) struct Thread {
    limits: Limits,
    metrics: RpcMetrics,
    scope: Scope,
    /// Where the scope's tasks run, whoever asks for one.
    runtime: Handle,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Thread {
    pub(super) fn new(limits: Limits, metrics: RpcMetrics, scope: Scope) -> Self {
        let runtime = Handle::current();
        Self { limits, metrics, scope, runtime, jobs: Mutex::new(None) }
    }

    /// Starts a task beside the thread, which ends with it.
    pub(super) fn spawn_beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _context = self.runtime.enter();
        self.scope.spawn(task);
    }

    /// Runs a job on the thread.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] after the end of the scope; [`ErrorKind::Io`] if
    /// the system gives no thread.
    pub(super) async fn run(&self, job: impl FnOnce(&Rc<Local>) + Send + 'static) -> Result<()> {
        if self.scope.is_cancelled() {
            return Err(Error::closed("node"));
        }
        let jobs = self.jobs()?;
        jobs.send(Box::new(job)).await.map_err(|_| Error::closed("node"))
    }

    fn jobs(&self) -> Result<mpsc::Sender<Job>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = &*jobs {
            return Ok(jobs.clone());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (send, receive) = mpsc::channel(JOBS);
        let (limits, metrics) = (self.limits.clone(), self.metrics.clone());
        let scope = self.scope.clone();
        let (ended, end) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("casm-vat".into())
            .spawn(move || {
                let local = LocalSet::new();
                local.block_on(&runtime, work(receive, Local::new(limits, metrics), scope));
                // Ends its tasks, before anybody thinks that they have ended.
                drop(local);
                drop(ended);
            })
            .map_err(|e| {
                Error::new(ErrorKind::Io, format!("no thread for the vat: {e}")).with_source(e)
            })?;
        let _context = self.runtime.enter();
        self.scope.spawn_graceful(async move {
            let _ = end.await;
        });
        *jobs = Some(send.clone());
        Ok(send)
    }
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
    streams: Cell<usize>,
    peers: RefCell<HashMap<PeerId, usize>>,
}

impl Local {
    pub(super) fn new(limits: Limits, metrics: RpcMetrics) -> Self {
        Self { limits, metrics, streams: Cell::new(0), peers: RefCell::default() }
    }

    /// Counts a stream that a peer has opened, or refuses it.
    pub(super) fn admit(self: &Rc<Self>, peer: PeerId) -> Option<Admitted> {
        let mut peers = self.peers.borrow_mut();
        if self.streams.get() >= self.limits.streams {
            self.metrics.end("too-many-streams");
            return None;
        }
        let count = peers.entry(peer).or_default();
        if *count >= self.limits.streams_per_peer {
            self.metrics.end("too-many-streams-of-one-peer");
            return None;
        }
        *count += 1;
        self.streams.set(self.streams.get() + 1);
        Some(Admitted { local: self.clone(), peer, _counted: self.count() })
    }

    /// Counts a stream in the metrics.
    pub(super) fn count(&self) -> Counted {
        self.metrics.streams.inc();
        Counted(self.metrics.clone())
    }
}

/// A peer's stream, as long as it is open.
pub(super) struct Admitted {
    local: Rc<Local>,
    peer: PeerId,
    _counted: Counted,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.local.streams.set(self.local.streams.get().saturating_sub(1));
        let mut peers = self.local.peers.borrow_mut();
        if let Some(count) = peers.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// A stream in the metrics.
pub(super) struct Counted(RpcMetrics);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}
