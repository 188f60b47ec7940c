//! A semaphore of this node.

use super::{
    failed,
    owner::{Acquired, Holder, Semaphore, Told},
    too_late,
};
use crate::{
    Error, ErrorKind, PeerId, Result,
    csp::{
        around::Offered,
        clock::{self, Clock, Timed},
        metrics::CspMetrics,
        owner::{Op, PartyId},
        remote::Env,
    },
    scope::Scope,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

/// What came of an acquire that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Granted(u64),
    Nothing,
    Closed,
}

/// A semaphore of this node.
pub(in crate::csp) struct Local {
    pub(in crate::csp) name: String,
    pub(in crate::csp) own: PeerId,
    pub(in crate::csp) permits: usize,
    pub(super) epoch: u64,
    state: Mutex<State>,
    clock: Clock,
    metrics: CspMetrics,
    scope: Scope,
    closed: watch::Sender<bool>,
    /// That it stands in the node's record, until it is closed.
    offered: Mutex<Option<Offered>>,
}

struct State {
    semaphore: Semaphore,
    waiters: HashMap<Op, oneshot::Sender<Event>>,
    next: u64,
}

impl Local {
    pub(in crate::csp) fn start(
        name: String,
        own: PeerId,
        permits: usize,
        (token, quiet): (u64, Option<Instant>),
        env: &Env,
        offered: Offered,
    ) -> Arc<Self> {
        let clock = Clock::new();
        let mut semaphore = Semaphore::new(permits, token);
        if let Some(quiet) = quiet {
            semaphore.be_quiet(clock.now() + quiet.saturating_duration_since(Instant::now()));
        }
        let next_tick = semaphore.next_tick();
        let state = State { semaphore, waiters: HashMap::new(), next: 0 };
        let local = Arc::new(Self {
            name,
            own,
            permits,
            epoch: rand::random(),
            state: Mutex::new(state),
            clock,
            metrics: env.metrics.clone(),
            scope: env.scope.clone(),
            closed: watch::Sender::new(false),
            offered: Mutex::new(Some(offered)),
        });
        local.clock.is_due_at(next_tick);
        clock::keep(&local, &env.scope, &env.runtime);
        local
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act<R>(&self, act: impl FnOnce(&mut State, Duration, &mut Vec<Told>) -> R) -> R {
        let now = self.clock.now();
        let mut out = Vec::new();
        let mut state = self.state();
        let result = act(&mut state, now, &mut out);
        let mut missed = Vec::new();
        for told in out {
            let (op, event) = match told {
                Told::Granted(op, token) => (op, Event::Granted(token)),
                Told::Nothing(op) => (op, Event::Nothing),
                Told::Closed(op) => (op, Event::Closed),
                Told::Count(what) => {
                    self.metrics.count(what);
                    continue;
                }
            };
            let waiter = state.waiters.remove(&op);
            let told = waiter.map_or(Err(event), |waiter| waiter.send(event));
            if let Err(Event::Granted(token)) = told {
                missed.push(token);
            }
        }
        let next = state.semaphore.next_tick();
        drop(state);
        self.clock.is_due_at(next);
        for token in missed {
            self.take_back(token);
        }
        result
    }

    /// Takes a grant back of which nobody has learned.
    fn take_back(&self, token: u64) {
        self.act(|state, now, out| state.semaphore.release_token(now, token, out));
    }

    pub(in crate::csp) fn is_closed(&self) -> bool {
        self.state().semaphore.is_closed()
    }

    /// Until when what it has granted to other nodes may be believed in, if it may.
    pub(in crate::csp) fn believed(&self) -> Option<Instant> {
        let until = self.state().semaphore.believed()?;
        let left = until.checked_sub(self.clock.now())?;
        Instant::now().checked_add(left)
    }

    /// The last token that it gave.
    pub(in crate::csp) fn token(&self) -> u64 {
        self.state().semaphore.token()
    }

    pub(super) fn close(&self) -> Result<()> {
        if !self.act(|state, _, out| state.semaphore.close(out)) {
            return Err(self.closed());
        }
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(offered);
        self.closed.send_replace(true);
        Ok(())
    }

    fn closed(&self) -> Error {
        failed(ErrorKind::Closed, &self.name, "it is closed")
    }

    /// Acquires for one on this node.
    pub(super) async fn acquire(self: &Arc<Self>, timeout: Option<Duration>) -> Result<Held> {
        let holder = {
            let mut state = self.state();
            state.next += 1;
            Holder::Local(state.next)
        };
        let until = timeout.and_then(|timeout| self.clock.now().checked_add(timeout));
        let held = |token| Held { local: self.clone(), holder, token };
        let event = match self.begin(holder, until) {
            Started::Granted(token) => return Ok(held(token)),
            Started::Closed => return Err(self.closed()),
            Started::Busy => return Err(failed(ErrorKind::Busy, &self.name, "too many wait")),
            Started::Waits(_, event) => event,
        };
        let mut waits = Waits { local: self, holder, over: false };
        let event = tokio::select! {
            event = event => event.unwrap_or(Event::Closed),
            () = self.scope.cancelled() => return Err(Error::closed("node")),
        };
        waits.over = true;
        match event {
            Event::Granted(token) => Ok(held(token)),
            Event::Nothing => Err(too_late(&self.name, timeout)),
            Event::Closed => Err(self.closed()),
        }
    }

    pub(super) fn begin(&self, holder: Holder, until: Option<Duration>) -> Started {
        self.act(|state, now, out| match state.semaphore.acquire(now, holder, until, out) {
            Acquired::Token(token) => Started::Granted(token),
            Acquired::Closed => Started::Closed,
            Acquired::Busy => Started::Busy,
            Acquired::Waits(op) => {
                let (tell, event) = oneshot::channel();
                state.waiters.insert(op, tell);
                // One whose time is over already learns it at once.
                if until.is_some_and(|until| until <= now) {
                    state.semaphore.tick(now, out);
                }
                Started::Waits(op, event)
            }
        })
    }

    /// When something ends that lasts so long.
    pub(super) fn until(&self, wait: Duration) -> Option<Duration> {
        self.clock.now().checked_add(wait)
    }

    pub(super) fn release(&self, holder: &Holder) {
        self.act(|state, now, out| state.semaphore.release(now, holder, out));
    }

    pub(super) fn renew(&self, party: PartyId, tokens: &[u64]) -> Vec<u64> {
        self.act(|state, now, _| state.semaphore.renew_tokens(now, party, tokens))
    }

    /// Nobody waits for this any more.
    pub(super) fn call_off(&self, holder: &Holder, op: Op) {
        self.act(|state, _, _| {
            if state.semaphore.call_off(holder, op) {
                state.waiters.remove(&op);
            }
        });
    }
}

impl Timed for Local {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn tick(self: &Arc<Self>) {
        self.act(|state, now, out| state.semaphore.tick(now, out));
    }
}

/// What came of an acquire at once.
pub(super) enum Started {
    Granted(u64),
    Closed,
    Busy,
    /// Under this number.
    Waits(Op, oneshot::Receiver<Event>),
}

/// An acquire that waits. Dropped, it is called off, or what it got given back.
struct Waits<'a> {
    local: &'a Local,
    holder: Holder,
    over: bool,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.local.release(&self.holder);
        }
    }
}

/// What is held here.
pub(super) struct Held {
    local: Arc<Local>,
    holder: Holder,
    pub(super) token: u64,
}

impl Held {
    pub(super) fn is_lost(&self) -> bool {
        *self.local.closed.borrow() || self.local.scope.is_cancelled()
    }

    pub(super) async fn lost(&self) {
        let mut closed = self.local.closed.subscribe();
        tokio::select! {
            _ = closed.wait_for(|closed| *closed) => (),
            () = self.local.scope.cancelled() => (),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.local.release(&self.holder);
    }
}
