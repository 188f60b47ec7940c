//! A channel of another node: the machine, with its clock, its connection and
//! those who wait.

use super::{
    around::Around,
    clock::{self, Clock, Timed},
    link,
    links::Links,
    metrics::CspMetrics,
    owner::{Ended, Sent},
    party::{CallId, Fault, Op, Out, Outcome, Party, Reply, Request},
    semaphore::Keepers,
    ticket::Turn,
    value::Bytes,
    waiting::{Waiter, Waiters},
};
use crate::{Error, ErrorKind, Result, rpc::Vat, scope::Scope};
use libp2p::PeerId;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};

type Outs = Vec<Out<Bytes, Turn>>;

/// What channels elsewhere need of the node.
#[derive(Clone)]
pub(super) struct Env {
    pub(super) vat: Vat,
    pub(super) around: Arc<dyn Around>,
    pub(super) links: Arc<Links>,
    pub(super) keepers: Keepers,
    pub(super) metrics: CspMetrics,
    pub(super) scope: Scope,
    /// Where the tasks run, whoever asks for one.
    pub(super) runtime: Handle,
}

/// A channel of another node.
pub(super) struct Remote {
    pub(super) name: String,
    pub(super) owner: PeerId,
    /// By which the owner knows us again.
    pub(super) number: u64,
    env: Env,
    state: Mutex<State>,
    clock: Clock,
}

struct State {
    party: Party<Bytes, Turn>,
    waiters: Waiters<Outcome<Bytes>>,
    /// The calls of the connection that is there.
    link: Option<(u64, mpsc::UnboundedSender<Call>)>,
    next_link: u64,
    /// Jobs that are held, and are told when they are lost.
    jobs: HashSet<u64>,
    lost: watch::Sender<u64>,
    /// The last error of a connection.
    why: Option<Error>,
}

/// A call to the owner.
pub(super) type Call = (CallId, Request<Bytes>);

impl Remote {
    pub(super) fn start(name: String, owner: PeerId, env: Env) -> Arc<Self> {
        let state = State {
            party: Party::new(rand::random()),
            waiters: Waiters::new(),
            link: None,
            next_link: 0,
            jobs: HashSet::new(),
            lost: watch::Sender::new(0),
            why: None,
        };
        let (scope, runtime) = (env.scope.clone(), env.runtime.clone());
        let remote = Arc::new(Self {
            name,
            owner,
            number: rand::random(),
            env,
            state: Mutex::new(state),
            clock: Clock::new(),
        });
        clock::keep(&remote, &scope, &runtime);
        remote
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at the machine, and what comes of it.
    fn act<R>(self: &Arc<Self>, act: impl FnOnce(&mut State, Duration, &mut Outs) -> R) -> R {
        let now = self.clock.now();
        let mut out = Vec::new();
        let mut state = self.state();
        let result = act(&mut state, now, &mut out);
        let (mut told, mut connects, mut back) = (Vec::new(), false, Vec::new());
        for out in out {
            match out {
                Out::Connect => connects = true,
                Out::Disconnect => state.link = None,
                Out::Call(id, request) => {
                    // One that has ended says so itself.
                    if let Some((_, calls)) = &state.link {
                        let _ = calls.send((id, request));
                    }
                }
                Out::Done(op, outcome) => {
                    if let Outcome::Taken { lease, .. } = &outcome {
                        state.jobs.insert(*lease);
                    }
                    match state.waiters.remove(&op) {
                        Some(waiter) => told.push((waiter, outcome)),
                        None => back.push(outcome),
                    }
                }
                Out::Lost(lease) => {
                    state.jobs.remove(&lease);
                    state.lost.send_modify(|lost| *lost += 1);
                    self.env.metrics.count("job-lost");
                }
                Out::Look(turn) => turn.tell(),
                Out::Count(what) => self.env.metrics.count(what),
            }
        }
        let next = state.party.next_tick();
        drop(state);
        self.clock.is_due_at(next);
        for (waiter, outcome) in told {
            back.extend(waiter.tell(outcome));
        }
        for outcome in back {
            self.restore(outcome);
        }
        if connects {
            let this = self.clone();
            let _context = self.env.runtime.enter();
            self.env.scope.spawn(async move { link::run(this).await });
        }
        result
    }

    /// What came for one who has gone.
    pub(super) fn restore(self: &Arc<Self>, outcome: Outcome<Bytes>) {
        match outcome {
            Outcome::Received(value) => self.keep(value),
            Outcome::Taken { lease, .. } => drop(self.start_finish(lease, false, None)),
            _ => (),
        }
    }

    /// Hands a value that nobody has seen to the next receiver.
    pub(super) fn keep(self: &Arc<Self>, value: Bytes) {
        self.act(|state, now, out| state.party.keep(now, value, out));
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    /// A connection is there; what is to be called comes over the channel.
    pub(super) fn connected(
        self: &Arc<Self>,
        epoch: u64,
        known: bool,
    ) -> (u64, mpsc::UnboundedReceiver<Call>) {
        // As many as there are operations, each of which has a bounded number.
        let (send, calls) = mpsc::unbounded_channel();
        let id = self.act(|state, now, out| {
            state.next_link += 1;
            state.link = Some((state.next_link, send));
            state.why = None;
            state.party.connected(now, epoch, known, out);
            state.next_link
        });
        (id, calls)
    }

    pub(super) fn not_connected(self: &Arc<Self>, error: Error) {
        let why = match error.kind() {
            ErrorKind::NotFound => Fault::NotFound,
            ErrorKind::Paused => Fault::Paused,
            // Any other attempt may do better.
            ErrorKind::Closed if self.env.scope.is_cancelled() => Fault::Closed,
            _ => Fault::Unreachable,
        };
        self.act(|state, now, out| {
            state.why = Some(error);
            state.party.connect_failed(now, why, out);
        });
    }

    /// A connection has ended.
    pub(super) fn disconnected(self: &Arc<Self>, link: u64, error: Option<Error>) {
        self.act(|state, now, out| {
            // Another may be there already, or it was given up.
            if state.link.as_ref().is_some_and(|(id, _)| *id == link) {
                state.link = None;
                state.why = error;
                state.party.disconnected(now, out);
            }
        });
    }

    pub(super) fn reply(self: &Arc<Self>, link: u64, call: CallId, reply: Reply<Bytes>) {
        self.act(|state, now, out| {
            if state.link.as_ref().is_some_and(|(id, _)| *id == link) {
                state.party.reply(now, call, reply, out);
            }
        });
    }

    /// Whether calls over this connection are still of use.
    pub(super) fn is_current(&self, link: u64) -> bool {
        self.state().link.as_ref().is_some_and(|(id, _)| *id == link)
    }

    #[cfg(test)]
    pub(super) fn dump(&self) -> String {
        let state = self.state();
        let link = state.link.as_ref().map(|(id, calls)| (*id, calls.is_closed()));
        format!("{:?} {link:?} {:?} {:?}", self.clock.now(), state.why, state.party)
    }

    /// Whether nothing is left here that matters.
    pub(super) fn is_idle(&self) -> bool {
        self.state().party.is_idle()
    }

    pub(super) fn is_node_closed(&self) -> bool {
        self.env.scope.is_cancelled()
    }

    /// Waits until the node closes.
    pub(super) async fn node_closed(&self) {
        self.env.scope.cancelled().await;
    }

    /// Waits for the confirmation of a value no longer, if one is under way.
    pub(super) fn doubt(self: &Arc<Self>, op: Op) {
        self.act(|state, _, out| state.party.doubt_op(op, out));
    }

    /// Connects to the owner, to see that the channel is there.
    pub(super) async fn open(self: &Arc<Self>) -> Result<()> {
        let (tell, outcome) = oneshot::channel();
        let op = self.act(|state, now, out| {
            let op = state.party.open(now, out);
            state.waiters.insert(op, Waiter::One(tell));
            op
        });
        match self.wait(op, outcome).await? {
            Outcome::Opened => Ok(()),
            Outcome::Failed(fault) => Err(self.error(fault, "open", None)),
            _ => Err(self.confused()),
        }
    }

    pub(super) fn in_doubt(&self) -> usize {
        self.state().party.in_doubt()
    }

    pub(super) fn look(self: &Arc<Self>) {
        self.act(|state, now, out| state.party.look(now, out));
    }

    pub(super) fn start_receive(
        self: &Arc<Self>,
        take: bool,
        turn: Turn,
        timeout: Option<Duration>,
        waiter: Waiter<Outcome<Bytes>>,
    ) -> Op {
        let deadline = self.clock.deadline(timeout);
        self.act(|state, now, out| {
            let op = state.party.receive(now, take, turn, deadline, out);
            state.waiters.insert(op, waiter);
            op
        })
    }

    fn start_finish(
        self: &Arc<Self>,
        lease: u64,
        done: bool,
        timeout: Option<Duration>,
    ) -> (Op, oneshot::Receiver<Outcome<Bytes>>) {
        let (tell, outcome) = oneshot::channel();
        let deadline = self.clock.deadline(timeout);
        let op = self.act(|state, now, out| {
            state.jobs.remove(&lease);
            let op = state.party.finish(now, lease, done, deadline, out);
            state.waiters.insert(op, Waiter::One(tell));
            op
        });
        (op, outcome)
    }

    /// Calls an operation off.
    pub(super) fn cancel(self: &Arc<Self>, op: Op) {
        self.act(|state, now, out| {
            state.waiters.remove(&op);
            state.party.cancel(now, op, out);
        });
    }

    pub(super) async fn send(
        self: &Arc<Self>,
        value: Bytes,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let (tell, outcome) = oneshot::channel();
        let deadline = self.clock.deadline(timeout);
        let op = self.act(|state, now, out| {
            let op = state.party.send(now, value, deadline, out);
            state.waiters.insert(op, Waiter::One(tell));
            op
        });
        match self.wait(op, outcome).await? {
            Outcome::Sent => Ok(()),
            Outcome::Failed(fault) => Err(self.error(fault, "send", timeout)),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn receive(self: &Arc<Self>, timeout: Option<Duration>) -> Result<Bytes> {
        let (tell, outcome) = oneshot::channel();
        let op = self.start_receive(false, Turn::default(), timeout, Waiter::One(tell));
        match self.wait(op, outcome).await? {
            Outcome::Received(value) => Ok(value),
            Outcome::Failed(fault) => Err(self.error(fault, "receive", timeout)),
            _ => Err(self.confused()),
        }
    }

    pub(super) async fn take(self: &Arc<Self>, timeout: Option<Duration>) -> Result<(u64, Bytes)> {
        let (tell, outcome) = oneshot::channel();
        let op = self.start_receive(true, Turn::default(), timeout, Waiter::One(tell));
        match self.wait(op, outcome).await? {
            Outcome::Taken { lease, value } => Ok((lease, value)),
            Outcome::Failed(fault) => Err(self.error(fault, "take", timeout)),
            _ => Err(self.confused()),
        }
    }

    /// Ends a job. False if it is another's.
    pub(super) async fn finish(
        self: &Arc<Self>,
        lease: u64,
        done: bool,
        timeout: Option<Duration>,
    ) -> Result<bool> {
        let (op, outcome) = self.start_finish(lease, done, timeout);
        let mut waits = Waits { remote: self, op, outcome, keeps: true };
        match waits.wait().await? {
            Outcome::Finished(ours) => Ok(ours),
            Outcome::Failed(fault) => Err(self.error(fault, "done", timeout)),
            _ => Err(self.confused()),
        }
    }

    /// Gives a job back, and doesn't wait.
    pub(super) fn drop_job(self: &Arc<Self>, lease: u64) {
        if self.holds(lease) {
            drop(self.start_finish(lease, false, None));
        }
    }

    /// Whether a job is still ours.
    pub(super) fn holds(&self, lease: u64) -> bool {
        self.state().jobs.contains(&lease)
    }

    /// Waits until a job is not ours any more.
    pub(super) async fn lost(&self, lease: u64) {
        let mut lost = self.state().lost.subscribe();
        while self.holds(lease) && lost.changed().await.is_ok() {}
    }

    pub(super) async fn close(self: &Arc<Self>, timeout: Option<Duration>) -> Result<()> {
        let (tell, outcome) = oneshot::channel();
        let deadline = self.clock.deadline(timeout);
        let op = self.act(|state, now, out| {
            let op = state.party.close(now, deadline, out);
            state.waiters.insert(op, Waiter::One(tell));
            op
        });
        match self.wait(op, outcome).await? {
            Outcome::Closed { refused: false } => Ok(()),
            Outcome::Closed { refused: true } => {
                let message = format!(
                    "the channel `{}` is not ours to close: {} may, or make it with \
                     `close_by_others`",
                    self.name, self.owner
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
            Outcome::Failed(fault) => Err(self.error(fault, "close", timeout)),
            _ => Err(self.confused()),
        }
    }

    async fn wait(
        self: &Arc<Self>,
        op: Op,
        outcome: oneshot::Receiver<Outcome<Bytes>>,
    ) -> Result<Outcome<Bytes>> {
        Waits { remote: self, op, outcome, keeps: false }.wait().await
    }

    pub(super) fn error(&self, fault: Fault, what: &str, timeout: Option<Duration>) -> Error {
        let Self { name, owner, .. } = self;
        let error = |kind, message: String| Error::new(kind, message);
        let why = self.state().why.clone();
        let because = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        match fault {
            Fault::Timeout => error(
                ErrorKind::Timeout,
                format!(
                    "{what}: nothing happened within {:?} at the channel `{name}` of {owner}",
                    timeout.unwrap_or_default()
                ),
            ),
            Fault::Closed => {
                error(ErrorKind::Closed, format!("the channel `{name}` of {owner} is closed"))
            }
            Fault::TooLarge => {
                error(ErrorKind::TooLarge, format!("{owner} takes no value of this size"))
            }
            Fault::Paused => Error::paused(),
            Fault::NotFound => match why {
                Some(why) => why,
                None => error(ErrorKind::NotFound, format!("{owner} has no channel `{name}`")),
            },
            Fault::Unreachable => error(
                ErrorKind::Unreachable,
                format!(
                    "{what}: {owner}, whose the channel `{name}` is, can't be reached{because}"
                ),
            ),
            Fault::Unknown => {
                let may = match what {
                    "receive" => {
                        "a value may have been taken: then the next receive from this channel \
                         here gets it"
                    }
                    "send" => "the value may have been taken in",
                    _ => "it may have happened",
                };
                error(
                    ErrorKind::Unreachable,
                    format!(
                        "{what}: {owner}, whose the channel `{name}` is, did not answer{because}; \
                         {may}"
                    ),
                )
            }
        }
    }

    pub(super) fn confused(&self) -> Error {
        Error::new(ErrorKind::Internal, format!("the channel `{}` is confused", self.name))
    }
}

impl Timed for Remote {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn tick(self: &Arc<Self>) {
        self.act(|state, now, out| state.party.tick(now, out));
    }
}

/// An operation that waits. Dropped, it is called off, and what it got goes to the
/// next.
struct Waits<'a> {
    remote: &'a Arc<Remote>,
    op: Op,
    outcome: oneshot::Receiver<Outcome<Bytes>>,
    /// What ends a job goes on.
    keeps: bool,
}

impl Waits<'_> {
    async fn wait(&mut self) -> Result<Outcome<Bytes>> {
        tokio::select! {
            biased;
            outcome = &mut self.outcome => outcome.map_err(|_| Error::closed("node")),
            () = self.remote.env.scope.cancelled() => Err(Error::closed("node")),
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.outcome.is_terminated() || self.keeps {
            return;
        }
        self.remote.cancel(self.op);
        self.outcome.close();
        if let Ok(outcome) = self.outcome.try_recv() {
            self.remote.restore(outcome);
        }
    }
}

/// What an owner's answer to a send or a lease is to us when it has too much to do.
pub(super) fn busy(request: &Request<Bytes>) -> Option<Reply<Bytes>> {
    match request {
        Request::Lease { .. } => Some(Reply::Ended(Ended::Busy)),
        Request::Send { .. } => Some(Reply::Sent(Sent::Busy)),
        _ => None,
    }
}
