//! A channel of this node: the machine, with its clock and those who wait.

use super::{
    around::Offered,
    clock::{self, Clock, Timed},
    metrics::CspMetrics,
    owner::{
        Channel, Conn, Effect, Ended, Given, Limits, Numbered, Op, PartyId, REMEMBER, Sent, Tried,
        Way, Who, Wish,
    },
    remote::Env,
    ticket::Turn,
    value::Bytes,
    waiting::{Waiter, Waiters},
};
use crate::{Error, ErrorKind, Result, scope::Scope};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// What came of an operation that waited.
#[derive(Debug)]
pub(super) enum Event {
    Sent(Sent),
    Given(Given<Bytes>),
    Ended(Ended),
}

type Effects = Vec<Effect<Bytes, Turn>>;

/// A channel of this node.
pub(super) struct Local {
    pub(super) name: String,
    pub(super) capacity: usize,
    /// Others may close it.
    pub(super) close_by_others: bool,
    /// Which of the channels of this name it is.
    pub(super) epoch: u64,
    state: Mutex<State>,
    clock: Clock,
    metrics: CspMetrics,
    scope: Scope,
}

struct State {
    channel: Channel<Bytes, Turn>,
    waiters: Waiters<Event>,
    /// That it stands in the node's record, until nothing can be had of it.
    offered: Option<Offered>,
    /// Since when that is so.
    over: Option<Duration>,
}

impl State {
    /// Gives what is to be dropped if nothing can be had of the channel any more.
    fn withdraw(&mut self, now: Duration) -> Option<Offered> {
        if self.over.is_some() || !self.channel.is_over() {
            return None;
        }
        self.over = Some(now);
        self.offered.take()
    }
}

impl Local {
    pub(super) fn start(
        name: String,
        capacity: usize,
        close_by_others: bool,
        env: &Env,
        offered: Offered,
    ) -> Arc<Self> {
        let channel = Channel::new(Limits { capacity, ..Limits::default() });
        let local = Arc::new(Self {
            name,
            capacity,
            close_by_others,
            epoch: rand::random(),
            state: Mutex::new(State {
                channel,
                waiters: Waiters::new(),
                offered: Some(offered),
                over: None,
            }),
            clock: Clock::new(),
            metrics: env.metrics.clone(),
            scope: env.scope.clone(),
        });
        clock::keep(&local, &env.scope, &env.runtime);
        local
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at the channel, and tells whom it concerns.
    fn act<R>(&self, act: impl FnOnce(&mut State, Duration, &mut Effects) -> R) -> R {
        let now = self.clock.now();
        let mut out = Vec::new();
        let mut state = self.state();
        let result = act(&mut state, now, &mut out);
        let told: Vec<_> = out.into_iter().filter_map(|e| self.route(&mut state, e)).collect();
        let next = state.channel.next_tick();
        let withdrawn = state.withdraw(now);
        drop(state);
        drop(withdrawn);
        self.clock.is_due_at(next);
        for (waiter, event) in told {
            let missed = match waiter {
                Some(waiter) => waiter.tell(event),
                None => Some(event),
            };
            if let Some(Event::Given(given)) = missed {
                self.restore(given);
            }
        }
        result
    }

    fn route(
        &self,
        state: &mut State,
        effect: Effect<Bytes, Turn>,
    ) -> Option<(Option<Waiter<Event>>, Event)> {
        let (op, event) = match effect {
            Effect::Sent(op, how) => (op, Event::Sent(how)),
            Effect::Given(op, given) => (op, Event::Given(given)),
            Effect::Ended(op, why) => (op, Event::Ended(why)),
            Effect::Look(turn) => {
                turn.tell();
                return None;
            }
            Effect::Count(what) => {
                self.metrics.count(what);
                return None;
            }
        };
        Some((state.waiters.remove(&op), event))
    }

    /// Puts back what was handed to one who has gone.
    pub(super) fn restore(&self, given: Given<Bytes>) {
        self.act(|state, now, out| state.channel.take_back(now, given, out));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().channel.is_closed()
    }

    /// Whether it is closed, and nothing can be had of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.state().over.is_some()
    }

    /// One of the same name takes its place in the node's record.
    pub(super) fn take_offered(&self) -> Option<Offered> {
        self.state().offered.take()
    }

    /// Whether it is closed and nothing has been in it for as long as anybody may ask
    /// what became of a value.
    pub(super) fn is_forgotten(&self) -> bool {
        let over = self.state().over;
        over.is_some_and(|over| self.clock.now() >= over + REMEMBER)
    }

    #[cfg(test)]
    pub(super) fn dump(&self) -> String {
        format!("{:?} {:?}", self.clock.now(), self.state().channel)
    }

    /// Values that wait, and senders and receivers that do.
    pub(super) fn len(&self) -> usize {
        self.state().channel.len()
    }

    /// False if it was closed.
    pub(super) fn close(&self) -> bool {
        self.act(|state, now, out| state.channel.close(now, out))
    }

    pub(super) fn look(&self) {
        self.act(|state, now, out| state.channel.look(now, out));
    }

    /// Sends; gives the operation if it waits, of which the waiter is told.
    pub(super) fn start_send(
        &self,
        value: Bytes,
        turn: Turn,
        waiter: impl FnOnce() -> Waiter<Event>,
    ) -> Tried<Sent> {
        self.act(|state, now, out| {
            let tried = state.channel.send(now, value, turn, out);
            wait(state, &tried, waiter);
            tried
        })
    }

    pub(super) fn start_receive(
        &self,
        way: Way,
        turn: Turn,
        waiter: impl FnOnce() -> Waiter<Event>,
    ) -> Tried<Result<Given<Bytes>, Ended>> {
        self.act(|state, now, out| {
            let tried = state.channel.receive(now, way, turn, out);
            wait(state, &tried, waiter);
            tried
        })
    }

    /// Withdraws a send. False if it has ended, of which its waiter is told.
    pub(super) fn cancel_send(&self, op: Op) -> bool {
        self.act(|state, now, out| {
            let cancelled = state.channel.cancel_send(now, op, out).is_some();
            if cancelled {
                state.waiters.remove(&op);
            }
            cancelled
        })
    }

    /// The same for a receive.
    pub(super) fn cancel_receive(&self, op: Op) -> bool {
        self.act(|state, now, out| {
            let cancelled = state.channel.cancel_receive(now, op, out);
            if cancelled {
                state.waiters.remove(&op);
            }
            cancelled
        })
    }

    /// Calls a receive off, and tells its waiter.
    pub(super) fn end_receive(&self, op: Op) {
        self.act(|state, now, out| {
            if state.channel.cancel_receive(now, op, out) {
                out.push(Effect::Ended(op, Ended::Nothing));
            }
        });
    }

    /// Sends, if that need not wait; else the value comes back.
    pub(super) fn send_now(&self, value: Bytes) -> Result<Option<Bytes>> {
        let how = self.act(|state, now, out| {
            if !state.channel.sends_now(&value) {
                return Err(value);
            }
            Ok(state.channel.send(now, value, Turn::default(), out))
        });
        match how {
            Ok(Tried::Done(how)) => self.sent(how).map(|()| None),
            Ok(Tried::Waits(op)) => unreachable!("{op:?} waits, which need not"),
            Err(value) => Ok(Some(value)),
        }
    }

    /// Receives, if that need not wait.
    pub(super) fn receive_now(&self) -> Option<Given<Bytes>> {
        let given = self.act(|state, now, out| {
            let now_done = state.channel.receives_now();
            now_done.then(|| state.channel.receive(now, Way::Plain, Turn::default(), out))
        });
        match given? {
            Tried::Done(given) => given.ok(),
            Tried::Waits(op) => unreachable!("{op:?} waits, which need not"),
        }
    }

    /// Sends, and waits until the value is taken in.
    pub(super) async fn send(&self, value: Bytes, timeout: Option<Duration>) -> Result<()> {
        let (tell, event) = oneshot::channel();
        let op = match self.start_send(value, Turn::default(), || Waiter::One(tell)) {
            Tried::Done(how) => return self.sent(how),
            Tried::Waits(op) => op,
        };
        let mut waits = Waits { local: self, op, event, sends: true, over: false };
        match waits.wait(timeout).await? {
            Some(Event::Sent(how)) => self.sent(how),
            Some(_) => Err(Error::closed("node")),
            None => Err(self.timeout("took the value in", timeout)),
        }
    }

    fn sent(&self, how: Sent) -> Result<()> {
        match how {
            Sent::Accepted => Ok(()),
            Sent::Closed => Err(self.closed()),
            _ => Err(self.busy()),
        }
    }

    /// Receives.
    pub(super) async fn receive(
        &self,
        way: Way,
        timeout: Option<Duration>,
    ) -> Result<Given<Bytes>> {
        let (tell, event) = oneshot::channel();
        let op = match self.start_receive(way, Turn::default(), || Waiter::One(tell)) {
            Tried::Done(Ok(given)) => return Ok(given),
            Tried::Done(Err(why)) => return Err(self.ended(why)),
            Tried::Waits(op) => op,
        };
        let mut waits = Waits { local: self, op, event, sends: false, over: false };
        match waits.wait(timeout).await? {
            Some(Event::Given(given)) => Ok(given),
            Some(Event::Ended(why)) => Err(self.ended(why)),
            Some(Event::Sent(_)) => Err(Error::closed("node")),
            None => Err(self.timeout("sent a value", timeout)),
        }
    }

    pub(super) fn ended(&self, why: Ended) -> Error {
        if why == Ended::Closed { self.closed() } else { self.busy() }
    }

    pub(super) fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, format!("the channel `{}` is closed", self.name))
    }

    fn busy(&self) -> Error {
        let message = format!("too many wait at the channel `{}`: wait with fewer", self.name);
        Error::new(ErrorKind::Busy, message)
    }

    fn timeout(&self, what: &str, timeout: Option<Duration>) -> Error {
        let message = format!(
            "nobody {what} within {:?} at the channel `{}`",
            timeout.unwrap_or_default(),
            self.name
        );
        Error::new(ErrorKind::Timeout, message)
    }

    /// Ends a job. False if it is not out any more.
    pub(super) fn finish(&self, lease: u64, done: bool) -> bool {
        self.act(|state, now, out| match done {
            true => state.channel.confirm(now, Who::Local, lease, out),
            false => state.channel.give_back(now, Who::Local, lease, out),
        })
    }

    /// A party comes. Says too whether it was known.
    pub(super) fn join(&self, party: PartyId) -> Option<(Conn, bool)> {
        self.act(|state, now, out| {
            let known = state.channel.knows(&party);
            Some((state.channel.join(now, party, out)?, known))
        })
    }

    pub(super) fn is_current(&self, conn: Conn) -> bool {
        self.state().channel.is_current(conn)
    }

    pub(super) fn leave(&self, conn: Conn) {
        self.act(|state, now, out| state.channel.leave(now, conn, out));
    }

    pub(super) fn lease(
        &self,
        conn: Conn,
        way: Way,
        settled: u64,
        wait_for: Duration,
        waiter: impl FnOnce() -> Waiter<Event>,
    ) -> Tried<Result<Given<Bytes>, Ended>> {
        self.act(|state, now, out| {
            let turn = Turn::default();
            let wish = Wish { way, settled, wait: wait_for };
            let tried = state.channel.lease(now, conn, wish, turn, out);
            wait(state, &tried, waiter);
            tried
        })
    }

    pub(super) fn send_numbered(
        &self,
        conn: Conn,
        number: u64,
        settled: u64,
        wait_for: Duration,
        value: Bytes,
        waiter: impl FnOnce() -> Waiter<Event>,
    ) -> Tried<Sent> {
        self.act(|state, now, out| {
            let turn = Turn::default();
            let numbered = Numbered { number, settled, wait: wait_for };
            let tried = state.channel.send_numbered(now, conn, numbered, value, turn, out);
            wait(state, &tried, waiter);
            tried
        })
    }

    pub(super) fn withdraw(&self, conn: Conn, number: u64) -> Sent {
        self.act(|state, now, out| state.channel.withdraw(now, conn, number, out))
    }

    pub(super) fn written(&self, conn: Conn, lease: u64) {
        self.act(|state, now, _| state.channel.written(now, conn, lease));
    }

    pub(super) fn confirm(&self, conn: Conn, lease: u64) -> bool {
        self.act(|state, now, out| state.channel.confirm(now, Who::Remote(conn), lease, out))
    }

    pub(super) fn give_back(&self, conn: Conn, lease: u64) -> bool {
        self.act(|state, now, out| state.channel.give_back(now, Who::Remote(conn), lease, out))
    }

    pub(super) fn renew(&self, conn: Conn, leases: &[u64]) -> Vec<u64> {
        self.act(|state, now, _| state.channel.renew(now, conn, leases))
    }

    pub(super) fn count(&self, what: &'static str) {
        self.metrics.count(what);
    }

    /// Waits until the node closes.
    pub(super) async fn node_closed(&self) {
        self.scope.cancelled().await;
    }

    pub(super) fn is_node_closed(&self) -> bool {
        self.scope.is_cancelled()
    }
}

impl Timed for Local {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn tick(self: &Arc<Self>) {
        self.act(|state, now, out| state.channel.tick(now, out));
    }
}

fn wait<T>(state: &mut State, tried: &Tried<T>, waiter: impl FnOnce() -> Waiter<Event>) {
    if let Tried::Waits(op) = tried {
        state.waiters.insert(*op, waiter());
    }
}

/// An operation that waits. Dropped, it is called off, and what it got goes back.
struct Waits<'a> {
    local: &'a Local,
    op: Op,
    event: oneshot::Receiver<Event>,
    sends: bool,
    over: bool,
}

impl Waits<'_> {
    /// None if the time has passed and nothing has happened.
    async fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Event>> {
        let timeout = timeout.unwrap_or(Duration::MAX);
        let event = tokio::select! {
            biased;
            event = &mut self.event => Some(event),
            () = self.local.node_closed() => return Err(Error::closed("node")),
            () = tokio::time::sleep(timeout) => None,
        };
        let event = match event {
            Some(event) => event.ok(),
            None if self.call_off() => None,
            // It has ended in this moment, and is told.
            None => (&mut self.event).await.ok(),
        };
        self.over = true;
        Ok(event)
    }

    fn call_off(&self) -> bool {
        match self.sends {
            true => self.local.cancel_send(self.op),
            false => self.local.cancel_receive(self.op),
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.over || self.call_off() {
            return;
        }
        self.event.close();
        if let Ok(Event::Given(given)) = self.event.try_recv() {
            self.local.restore(given);
        }
    }
}
