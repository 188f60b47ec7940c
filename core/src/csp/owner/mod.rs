//! A channel at its owner's place. Pure: the time is an argument.
//!
//! `pairing` brings senders and receivers together, `leases` is about the values
//! that were handed out and may come back, `parties` remembers what was answered
//! to whom, so that what is asked again is not done again.

pub(in crate::csp) mod fuzzing;
mod leases;
mod pairing;
mod parties;
#[cfg(test)]
mod tests;

pub(crate) use pairing::{Numbered, Wish};
pub(crate) use parties::{Conn, PartyId};

use super::ticket::{Claim, Ticket};
use leases::Lease;
use libp2p::PeerId;
use parties::Parties;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// An operation that waits.
pub(crate) type Op = u64;

/// The receivers of a peer, and whether they take.
type Line = (PeerId, bool);

/// What a channel may hold.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Values that wait for a receiver; 0: each is handed from sender to receiver.
    pub(crate) capacity: usize,
    /// Bytes of them, and of what parties have taken. One value may always wait.
    pub(crate) bytes: usize,
    /// Senders and receivers that wait, of each kind: of this node, as many of all
    /// others together, and of one peer.
    pub(crate) waiting: usize,
    pub(crate) waiting_of_peer: usize,
    /// Bytes of the values of remote senders that wait; and of one peer, of which one
    /// value may be larger.
    pub(crate) waiting_bytes: usize,
    pub(crate) bytes_of_peer: usize,
    /// Values that a peer has received and not confirmed, and that it has taken.
    pub(crate) leases_of_peer: usize,
    pub(crate) takes_of_peer: usize,
    /// Parties that are remembered; and of one peer.
    pub(crate) parties: usize,
    pub(crate) parties_of_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 0,
            bytes: 64 << 20,
            waiting: 16_384,
            waiting_of_peer: 1024,
            waiting_bytes: 32 << 20,
            bytes_of_peer: 4 << 20,
            leases_of_peer: 256,
            takes_of_peer: 1024,
            parties: 4096,
            parties_of_peer: 16,
        }
    }
}

/// For how long a value that was received may wait for its confirmation, from when it
/// was written to its receiver.
pub(crate) const CONFIRM: Duration = Duration::from_secs(5);
/// Bytes of a value that are written in a second at least, or its connection ends.
pub(crate) const RATE: usize = 16 << 10;
/// For how long one that was taken may wait for its renewal.
pub(crate) const RENEW: Duration = Duration::from_secs(10);
/// For how long outcomes are kept.
pub(crate) const REMEMBER: Duration = Duration::from_secs(600);

/// A value of a channel.
pub(crate) trait Value: Clone {
    /// Its bytes.
    fn size(&self) -> usize;
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// This node, or somebody who needs no memory.
    Local,
    Remote(Conn),
}

/// How a value is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// For good.
    Plain,
    /// For good when it is confirmed.
    Confirm,
    /// It is done when that is said.
    Take,
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Accepted,
    Withdrawn,
    Closed,
    Busy,
    /// The number is of the past.
    Stale,
}

/// A value that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given<V> {
    pub(crate) value: V,
    /// Its place in the order of the channel.
    pub(crate) place: u64,
    /// To be confirmed or done.
    pub(crate) lease: Option<u64>,
}

/// Why a receive ends without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Closed,
    /// The time has passed, or it was called off.
    Nothing,
    Busy,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tried<T> {
    Done(T),
    /// An effect will tell.
    Waits(Op),
}

/// What happened to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect<V, T> {
    Sent(Op, Sent),
    Given(Op, Given<V>),
    Ended(Op, Ended),
    /// Other channels at which this one waits must look again.
    Look(T),
    /// Something to be counted.
    Count(&'static str),
}

pub(crate) type Effects<V, T> = Vec<Effect<V, T>>;

/// A sender that waits.
#[derive(Debug)]
struct Sender<V, T> {
    value: V,
    ticket: T,
    /// The party and its number, if it is remote.
    of: Option<(Conn, u64)>,
    /// The lease of a receiver that has yet to confirm the value.
    lease: Option<u64>,
    /// Where the value stands, once it was leased.
    place: Option<u64>,
    /// Until when it waits, if it is remote.
    until: Option<Duration>,
}

/// A receiver that waits.
#[derive(Debug)]
struct Receiver<T> {
    way: Way,
    ticket: T,
    who: Who,
    /// Until when it waits, if it is remote.
    until: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Lease(u64),
    Send(Op),
    Receive(Op),
}

/// A channel.
#[derive(Debug)]
pub(crate) struct Channel<V, T> {
    limits: Limits,
    closed: bool,
    /// Values that wait, by their places.
    buffer: VecDeque<(u64, V)>,
    /// Of them, and of those that are out and of which the channel keeps the bytes.
    bytes: usize,
    senders: BTreeMap<Op, Sender<V, T>>,
    waiting_bytes: usize,
    receivers: BTreeMap<Op, Receiver<T>>,
    /// Those of them that may be served, and those whose peers have as many values as
    /// they may: nobody looks at these until that has changed.
    ready: BTreeSet<Op>,
    held_up: BTreeMap<Line, BTreeSet<Op>>,
    leases: BTreeMap<u64, Lease<V>>,
    /// Of the leases, those of values of which the buffer keeps the place.
    reserved: usize,
    due: BTreeSet<(Duration, Due)>,
    parties: Parties,
    next_op: Op,
    next_place: u64,
    next_lease: u64,
}

impl<V: Value, T: Ticket> Channel<V, T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            closed: false,
            buffer: VecDeque::new(),
            bytes: 0,
            senders: BTreeMap::new(),
            waiting_bytes: 0,
            receivers: BTreeMap::new(),
            ready: BTreeSet::new(),
            held_up: BTreeMap::new(),
            leases: BTreeMap::new(),
            reserved: 0,
            due: BTreeSet::new(),
            parties: Parties::default(),
            next_op: 0,
            next_place: 0,
            next_lease: 0,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether it is closed, and nothing is in it or can come back.
    pub(crate) fn is_over(&self) -> bool {
        let nothing = self.buffer.is_empty() && self.leases.is_empty() && self.senders.is_empty();
        self.closed && nothing
    }

    /// Values that wait for a receiver.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// What waits, and what was handed out and may come back.
    #[cfg(test)]
    pub(super) fn values(&self) -> Vec<V> {
        let leased = self.leases.values().map(|lease| lease.value.clone());
        self.buffer.iter().map(|(_, value)| value.clone()).chain(leased).collect()
    }

    /// Whether two wait that could be served.
    #[cfg(test)]
    pub(super) fn serves_too_few(&self) -> bool
    where
        T: std::borrow::Borrow<super::ticket::Turn>,
    {
        let free =
            |sender: &&Sender<V, T>| sender.lease.is_none() && sender.ticket.borrow().is_free();
        let mut senders = self.senders.values().filter(free);
        self.receives_too_few()
            || senders.any(|sender| !self.closed && self.has_room(&sender.value))
    }

    /// Whether one waits for a value that could have one.
    #[cfg(test)]
    fn receives_too_few(&self) -> bool
    where
        T: std::borrow::Borrow<super::ticket::Turn>,
    {
        let free = |ticket: &T| ticket.borrow().is_free();
        let may = |receiver: &&Receiver<T>| match receiver.who {
            Who::Local => true,
            Who::Remote(conn) => self
                .line(conn, receiver.way)
                .is_some_and(|line| self.parties.may_hold(&line.0, receiver.way, &self.limits)),
        };
        let mut receivers = self.receivers.values().filter(may).filter(|r| free(&r.ticket));
        let senders = || self.senders.values().filter(|s| s.lease.is_none() && free(&s.ticket));
        receivers.any(|receiver| {
            !self.buffer.is_empty() || senders().any(|s| !s.ticket.is(&receiver.ticket))
        })
    }

    /// Whether a send from here would be done at once.
    pub(crate) fn sends_now(&self, value: &V) -> bool {
        self.closed || self.receivers.is_empty() && self.senders.is_empty() && self.has_room(value)
    }

    /// Whether a receive here would be done at once.
    pub(crate) fn receives_now(&self) -> bool {
        self.receivers.is_empty() && !self.buffer.is_empty()
    }

    /// Sends from here.
    pub(crate) fn send(
        &mut self,
        now: Duration,
        value: V,
        ticket: T,
        out: &mut Effects<V, T>,
    ) -> Tried<Sent> {
        if self.closed {
            return Tried::Done(Sent::Closed);
        }
        if self.sends_now(&value) {
            match ticket.claim() {
                Claim::Yes => {
                    ticket.commit();
                    self.accept(value, None);
                    return Tried::Done(Sent::Accepted);
                }
                // It is told where it was served.
                Claim::Gone | Claim::NotNow => (),
            }
        }
        if self.senders.len() - self.parties.waiting_sends() >= self.limits.waiting {
            return Tried::Done(Sent::Busy);
        }
        let op = self.insert_sender(value, ticket, None, None);
        self.pair(now, out);
        Tried::Waits(op)
    }

    /// Receives here.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        way: Way,
        ticket: T,
        out: &mut Effects<V, T>,
    ) -> Tried<Result<Given<V>, Ended>> {
        if way == Way::Plain && self.receivers.is_empty() && ticket.claim() == Claim::Yes {
            if let Some((place, value)) = self.buffer.pop_front() {
                ticket.commit();
                self.bytes -= value.size();
                if !self.senders.is_empty() || self.closed {
                    self.pair(now, out);
                }
                return Tried::Done(Ok(Given { value, place, lease: None }));
            }
            if ticket.release() {
                out.push(Effect::Look(ticket.clone()));
            }
        }
        if self.receivers.len() - self.parties.waiting_receives() >= self.limits.waiting {
            return Tried::Done(Err(Ended::Busy));
        }
        let op = self.insert_receiver(Receiver { way, ticket, who: Who::Local, until: None });
        self.pair(now, out);
        Tried::Waits(op)
    }

    /// Withdraws a send that waits. None if it has ended.
    pub(crate) fn cancel_send(
        &mut self,
        now: Duration,
        op: Op,
        out: &mut Effects<V, T>,
    ) -> Option<V> {
        let sender = self.remove_sender(op)?;
        if let Some(lease) = sender.lease {
            self.revoke(lease, &sender.ticket, out);
            out.push(Effect::Count("lease-revoked"));
        }
        self.pair(now, out);
        Some(sender.value)
    }

    /// Calls a receive off that waits. False if it has ended.
    pub(crate) fn cancel_receive(
        &mut self,
        now: Duration,
        op: Op,
        out: &mut Effects<V, T>,
    ) -> bool {
        let was = self.remove_receiver(op).is_some();
        if was && self.closed {
            self.pair(now, out);
        }
        was
    }

    /// Closes the channel: what is in it can still be received. False if it was
    /// closed already.
    pub(crate) fn close(&mut self, now: Duration, out: &mut Effects<V, T>) -> bool {
        if std::mem::replace(&mut self.closed, true) {
            return false;
        }
        // A value that is on its way to a receiver is decided there.
        let ended: Vec<_> =
            self.senders.iter().filter(|(_, s)| s.lease.is_none()).map(|(op, _)| *op).collect();
        for op in ended {
            self.end_send(op, Sent::Closed, out);
        }
        self.pair(now, out);
        true
    }

    /// Looks again, since a ticket that waits here may be free now.
    pub(crate) fn look(&mut self, now: Duration, out: &mut Effects<V, T>) {
        self.pair(now, out);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.parties.next()].into_iter().flatten().min()
    }

    /// Ends what has lasted too long.
    pub(crate) fn tick(&mut self, now: Duration, out: &mut Effects<V, T>) {
        while let Some((at, due)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, due));
            match due {
                Due::Lease(lease) => self.expire(now, lease, out),
                Due::Send(op) => match self.senders.get_mut(&op) {
                    // What has been leased is decided in a moment.
                    Some(sender) if sender.lease.is_some() => {
                        sender.until = Some(now + CONFIRM);
                        self.due.insert((now + CONFIRM, due));
                    }
                    Some(_) => self.end_send(op, Sent::Withdrawn, out),
                    None => (),
                },
                Due::Receive(op) => {
                    if self.remove_receiver(op).is_some() {
                        out.push(Effect::Ended(op, Ended::Nothing));
                    }
                }
            }
        }
        self.parties.forget(now);
        self.pair(now, out);
    }

    fn has_room(&self, value: &V) -> bool {
        let full = self.bytes + value.size() > self.limits.bytes;
        self.buffer.len() + self.reserved < self.limits.capacity && (!full || self.bytes == 0)
    }

    fn insert_sender(
        &mut self,
        value: V,
        ticket: T,
        of: Option<(Conn, u64)>,
        until: Option<Duration>,
    ) -> Op {
        let op = self.next_op;
        self.next_op += 1;
        if of.is_some() {
            self.waiting_bytes += value.size();
        }
        self.due.extend(until.map(|until| (until, Due::Send(op))));
        self.senders.insert(op, Sender { value, ticket, of, lease: None, place: None, until });
        op
    }

    fn insert_receiver(&mut self, receiver: Receiver<T>) -> Op {
        let op = self.next_op;
        self.next_op += 1;
        self.due.extend(receiver.until.map(|until| (until, Due::Receive(op))));
        self.receivers.insert(op, receiver);
        self.ready.insert(op);
        op
    }

    fn remove_sender(&mut self, op: Op) -> Option<Sender<V, T>> {
        let sender = self.senders.remove(&op)?;
        if let Some(until) = sender.until {
            self.due.remove(&(until, Due::Send(op)));
        }
        if let Some((conn, number)) = sender.of {
            self.waiting_bytes -= sender.value.size();
            self.parties.not_waiting(conn, op, number, sender.value.size());
        }
        Some(sender)
    }

    fn remove_receiver(&mut self, op: Op) -> Option<Receiver<T>> {
        let receiver = self.receivers.remove(&op)?;
        if let Some(until) = receiver.until {
            self.due.remove(&(until, Due::Receive(op)));
        }
        let was_ready = self.ready.remove(&op);
        if let Who::Remote(conn) = receiver.who {
            self.parties.not_receiving(conn, op);
            if let Some(line) = self.line(conn, receiver.way) {
                if !was_ready && let Some(ops) = self.held_up.get_mut(&line) {
                    ops.remove(&op);
                }
                self.let_on(line);
            }
        }
        Some(receiver)
    }

    fn line(&self, conn: Conn, way: Way) -> Option<Line> {
        self.parties.of(conn).map(|party| (party.peer, way == Way::Take))
    }

    /// The first of those who were held up may be served, if its peer may have one
    /// more value.
    fn let_on(&mut self, line: Line) {
        let way = if line.1 { Way::Take } else { Way::Confirm };
        let Some(ops) = self.held_up.get_mut(&line) else { return };
        if self.parties.may_hold(&line.0, way, &self.limits) {
            self.ready.extend(ops.pop_first());
        }
        if ops.is_empty() {
            self.held_up.remove(&line);
        }
    }

    /// Ends a send that waits, and tells.
    fn end_send(&mut self, op: Op, how: Sent, out: &mut Effects<V, T>) {
        let Some(sender) = self.remove_sender(op) else { return };
        // What has only waited too long may be sent again.
        if let Some((conn, number)) = sender.of.filter(|_| how != Sent::Withdrawn) {
            self.parties.note_sent(conn, number, how);
        }
        out.push(Effect::Sent(op, how));
    }

    /// Takes a value in.
    fn accept(&mut self, value: V, place: Option<u64>) {
        let place = place.unwrap_or_else(|| self.new_place());
        self.insert(place, value);
    }

    fn new_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }

    /// Puts a value where its place is: at the end if it is new, near the head if
    /// it was there before.
    fn insert(&mut self, place: u64, value: V) {
        self.bytes += value.size();
        if self.buffer.back().is_none_or(|(last, _)| *last < place) {
            return self.buffer.push_back((place, value));
        }
        let at = self.buffer.partition_point(|(before, _)| *before < place);
        self.buffer.insert(at, (place, value));
    }
}
