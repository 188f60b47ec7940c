//! A party: one who uses a channel that is elsewhere. Pure: the time is an
//! argument, and so is the seed of what is random.
//!
//! What it wants of the owner it asks in calls, whose replies come in any order
//! or, when the connection ends, never. `receiving` leases values and hands them
//! to who waits, `sending` sends, `jobs` renews what was taken, `clock` says what
//! is overdue.

mod clock;
pub(in crate::csp) mod fuzzing;
mod jobs;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

use super::{
    owner::{Ended, Sent, Value},
    ticket::Ticket,
};
use jobs::Finishing;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use receiving::{Ask, Confirming, Waiting};
use sending::Sending;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// An operation of a user.
pub(crate) type Op = u64;
/// A call to the owner.
pub(crate) type CallId = u64;

/// For how long the owner is asked to let a call wait; then it is asked again.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// How long an answer may take beyond that. Then the connection is given up.
const ANSWER: Duration = Duration::from_secs(10);
/// For how long it is tried to reach the owner for who gave no deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer than its deadline a send may take, to learn how it ended.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// For how long a value is asked for, or kept unconfirmed, that nobody waits for
/// at the moment: who receives in a loop comes back soon.
const LINGER: Duration = Duration::from_millis(20);
/// A connection that ends so soon is not made again at once.
const EARLY: Duration = Duration::from_secs(1);
/// After which time one is asked again that was busy.
pub(crate) const BUSY: Duration = Duration::from_millis(50);

/// What the owner is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request<V> {
    Lease { request: u64, take: bool, wait: Duration, settled: u64 },
    Cancel { request: u64 },
    Confirm { lease: u64 },
    GiveBack { lease: u64 },
    Renew { leases: Vec<u64> },
    Send { number: u64, settled: u64, wait: Duration, value: V },
    Withdraw { number: u64 },
    Close,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply<V> {
    Value { lease: u64, value: V },
    Ended(Ended),
    Confirmed(bool),
    Lost(Vec<u64>),
    Sent(Sent),
    TooLarge,
    Closed { refused: bool },
    Done,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The time has passed, and nothing has happened.
    Timeout,
    Closed,
    TooLarge,
    /// The owner has no such channel.
    NotFound,
    /// The owner can't be reached, and nothing has happened.
    Unreachable,
    /// This node is paused, and nothing has happened.
    Paused,
    /// The owner can't be reached, and it may have happened.
    Unknown,
}

/// How an operation ended. If it is that of a ticket, the ticket is committed;
/// after a failure only if it is [`Fault::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<V> {
    Received(V),
    Taken {
        lease: u64,
        value: V,
    },
    Sent,
    /// A job was done or given back. False: it wasn't ours any more.
    Finished(bool),
    Closed {
        refused: bool,
    },
    /// The channel is there.
    Opened,
    Failed(Fault),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Out<V, T> {
    Connect,
    /// The connection is of no use any more.
    Disconnect,
    Call(CallId, Request<V>),
    Done(Op, Outcome<V>),
    /// A job that was taken is another's now.
    Lost(u64),
    /// All places at which this one waits must look again.
    Look(T),
    Count(&'static str),
}

pub(crate) type Outs<V, T> = Vec<Out<V, T>>;

/// The way to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Nothing is wanted.
    Idle,
    Connecting {
        since: Duration,
    },
    /// An attempt has failed.
    Pausing {
        since: Duration,
        until: Duration,
    },
    Up,
}

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Lease,
    Confirm(u64),
    Renew,
    Send(u64),
    Withdraw(u64),
    Finish(Op),
    Close(Op),
    Nothing,
}

/// One who uses a channel elsewhere.
#[derive(Debug)]
pub(crate) struct Party<V, T> {
    rng: ChaCha8Rng,
    link: Link,
    /// Since when the connection is there, or was last.
    up_since: Duration,
    epoch: Option<u64>,
    calls: BTreeMap<CallId, (What, Duration)>,
    /// When the owner last answered anything.
    heard: Duration,
    waiting: BTreeMap<Op, Waiting<T>>,
    asks: BTreeMap<CallId, Ask>,
    /// Since when more is asked for than is waited for.
    surplus: Option<Duration>,
    /// Values that came when nobody waited any more, unconfirmed.
    spare: VecDeque<(u64, V, Duration)>,
    confirming: BTreeMap<u64, Confirming<V, T>>,
    /// Values that are ours, and whose receivers went away.
    ready: VecDeque<V>,
    sends: BTreeMap<u64, Sending<V>>,
    jobs: BTreeSet<u64>,
    renew_at: Duration,
    finishing: BTreeMap<Op, Finishing>,
    closing: BTreeMap<Op, Option<Duration>>,
    opening: BTreeSet<Op>,
    /// Asked of the owner too soon after it was busy.
    busy_until: Duration,
    next_op: Op,
    next_call: CallId,
    next_number: u64,
}

impl<V: Value, T: Ticket> Party<V, T> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            link: Link::Idle,
            up_since: Duration::ZERO,
            epoch: None,
            calls: BTreeMap::new(),
            heard: Duration::ZERO,
            waiting: BTreeMap::new(),
            asks: BTreeMap::new(),
            surplus: None,
            spare: VecDeque::new(),
            confirming: BTreeMap::new(),
            ready: VecDeque::new(),
            sends: BTreeMap::new(),
            jobs: BTreeSet::new(),
            renew_at: Duration::ZERO,
            finishing: BTreeMap::new(),
            closing: BTreeMap::new(),
            opening: BTreeSet::new(),
            busy_until: Duration::ZERO,
            next_op: 0,
            next_call: 0,
            next_number: 0,
        }
    }

    /// Values that may be ours, or are and were not handed out yet.
    pub(crate) fn in_doubt(&self) -> usize {
        self.ready.len() + self.confirming.values().filter(|c| c.op.is_none()).count()
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> Vec<V> {
        let confirming = self.confirming.values().map(|confirming| confirming.value.clone());
        self.ready.iter().cloned().chain(confirming).collect()
    }

    /// Whether anything is under way or held.
    pub(crate) fn is_idle(&self) -> bool {
        !self.wants_owner() && self.jobs.is_empty() && self.in_doubt() == 0
    }

    /// A connection to the owner is there, who says whether it remembers this party:
    /// after a long time, or many others, it doesn't, and knows no more of what it did
    /// than one that is new.
    pub(crate) fn connected(
        &mut self,
        now: Duration,
        epoch: u64,
        known: bool,
        out: &mut Outs<V, T>,
    ) {
        // One that comes in place of another: what was held over that is over.
        if self.link == Link::Up {
            self.drop_link(out);
        }
        if self.epoch == Some(epoch) && !known {
            out.push(Out::Count("party-forgotten"));
        }
        if self.epoch.is_some_and(|before| before != epoch || !known) {
            self.owner_is_new(out);
        }
        self.epoch = Some(epoch);
        self.link = Link::Up;
        self.up_since = now;
        for op in std::mem::take(&mut self.opening) {
            out.push(Out::Done(op, Outcome::Opened));
        }
        self.confirm_again(now, out);
        self.send_again(now, out);
        self.finish_again(now, out);
        let closing: Vec<_> = self.closing.keys().copied().collect();
        for op in closing {
            self.call(now, What::Close(op), Request::Close, out);
        }
        self.balance(now, out);
    }

    /// No connection could be made.
    pub(crate) fn connect_failed(&mut self, now: Duration, why: Fault, out: &mut Outs<V, T>) {
        let since = match self.link {
            Link::Connecting { since } | Link::Pausing { since, .. } => since,
            // An attempt for which nobody waited any more.
            Link::Idle | Link::Up => return,
        };
        if why != Fault::Unreachable || now >= since + PATIENCE {
            self.link = Link::Idle;
            // A channel that was there has gone with its owner.
            let was = why == Fault::NotFound && self.epoch.is_some();
            return self.fail_all(if was { Fault::Unreachable } else { why }, out);
        }
        self.link = Link::Pausing { since, until: now + self.pause(100, 1000) };
    }

    /// The connection has ended. What was asked has no answer.
    pub(crate) fn disconnected(&mut self, now: Duration, out: &mut Outs<V, T>) {
        // One that ends each at once would be connected to at once.
        let early = self.link == Link::Up && now < self.up_since + EARLY;
        self.link = Link::Idle;
        self.drop_link(out);
        if early && self.wants_owner() {
            self.link = Link::Pausing { since: now, until: now + BUSY };
        }
        self.reach(now, out);
    }

    fn drop_link(&mut self, out: &mut Outs<V, T>) {
        self.calls.clear();
        self.asks.clear();
        self.surplus = None;
        self.stop_sending();
        // With the connection the owner has taken them back.
        self.spare.clear();
        for lease in std::mem::take(&mut self.jobs) {
            out.push(Out::Lost(lease));
        }
        self.given_back_with_it(out);
    }

    /// Connects to the owner, if that has not been done, to see that the channel
    /// is there.
    pub(crate) fn open(&mut self, now: Duration, out: &mut Outs<V, T>) -> Op {
        let op = self.op();
        if self.link == Link::Up {
            out.push(Out::Done(op, Outcome::Opened));
        } else {
            self.opening.insert(op);
            self.reach(now, out);
        }
        op
    }

    /// Closes the channel.
    pub(crate) fn close(
        &mut self,
        now: Duration,
        deadline: Option<Duration>,
        out: &mut Outs<V, T>,
    ) -> Op {
        let op = self.op();
        self.closing.insert(op, deadline);
        if self.link == Link::Up {
            self.call(now, What::Close(op), Request::Close, out);
        }
        self.reach(now, out);
        op
    }

    /// A call has its answer.
    pub(crate) fn reply(
        &mut self,
        now: Duration,
        call: CallId,
        reply: Reply<V>,
        out: &mut Outs<V, T>,
    ) {
        let Some((what, _)) = self.calls.remove(&call) else { return };
        self.heard = now;
        match (what, reply) {
            (What::Lease, Reply::Value { lease, value }) => {
                self.leased(now, call, lease, value, out)
            }
            (What::Lease, Reply::Ended(why)) => self.ended(now, call, why, out),
            (What::Confirm(lease), Reply::Confirmed(ours)) => self.confirmed(now, lease, ours, out),
            (What::Renew, Reply::Lost(leases)) => self.lost(&leases, out),
            (What::Send(number), Reply::Sent(how)) => self.sent(now, number, how, out),
            (What::Send(number), Reply::TooLarge) => {
                self.end_send(number, Outcome::Failed(Fault::TooLarge), out);
            }
            (What::Withdraw(number), Reply::Sent(how)) => self.withdrawn(number, how, out),
            (What::Finish(op), Reply::Confirmed(ours)) => self.finished(op, ours, out),
            (What::Finish(op), Reply::Done) => self.finished(op, true, out),
            (What::Close(op), Reply::Closed { refused }) => {
                if self.closing.remove(&op).is_some() {
                    out.push(Out::Done(op, Outcome::Closed { refused }));
                }
            }
            (What::Nothing, _) => (),
            _ => self.is_of_no_use(now, out),
        }
    }

    /// The owner answers what makes no sense.
    fn is_of_no_use(&mut self, now: Duration, out: &mut Outs<V, T>) {
        out.push(Out::Count("reply-malformed"));
        out.push(Out::Disconnect);
        self.disconnected(now, out);
    }

    fn op(&mut self) -> Op {
        self.next_op += 1;
        self.next_op
    }

    fn call(
        &mut self,
        now: Duration,
        what: What,
        request: Request<V>,
        out: &mut Outs<V, T>,
    ) -> CallId {
        self.next_call += 1;
        let waits = match &request {
            Request::Lease { wait, .. } | Request::Send { wait, .. } => *wait,
            _ => Duration::ZERO,
        };
        self.calls.insert(self.next_call, (what, now + waits + ANSWER));
        out.push(Out::Call(self.next_call, request));
        self.next_call
    }

    /// Whether there is something for which the owner is needed now.
    fn wants_owner(&self) -> bool {
        !self.waiting.is_empty()
            || self.confirming.values().any(|c| c.op.is_some())
            || !self.sends.is_empty()
            || !self.finishing.is_empty()
            || !self.closing.is_empty()
            || !self.opening.is_empty()
    }

    /// Connects if the owner is needed.
    fn reach(&mut self, now: Duration, out: &mut Outs<V, T>) {
        if self.link == Link::Idle && self.wants_owner() {
            self.link = Link::Connecting { since: now };
            out.push(Out::Connect);
        }
    }

    /// The channel that was there is gone, or the owner has forgotten this party: what
    /// was under way is in doubt for ever.
    fn owner_is_new(&mut self, out: &mut Outs<V, T>) {
        let confirming = std::mem::take(&mut self.confirming);
        for (_, confirming) in confirming {
            out.push(Out::Count("value-in-doubt"));
            self.doubted(confirming, out);
        }
        let sent: Vec<_> = self
            .sends
            .iter()
            .filter(|(_, send)| send.was_sent)
            .map(|(number, _)| *number)
            .collect();
        for number in sent {
            self.end_send(number, Outcome::Failed(Fault::Unknown), out);
        }
        for (op, _) in std::mem::take(&mut self.finishing) {
            out.push(Out::Done(op, Outcome::Finished(false)));
        }
    }

    /// Nobody waits any longer for an owner that can't be reached.
    fn fail_all(&mut self, why: Fault, out: &mut Outs<V, T>) {
        for (op, _) in std::mem::take(&mut self.waiting) {
            out.push(Out::Done(op, Outcome::Failed(why)));
        }
        let leases: Vec<_> = self.confirming.keys().copied().collect();
        for lease in leases {
            self.doubt(lease, out);
        }
        let numbers: Vec<_> = self.sends.keys().copied().collect();
        for number in numbers {
            let unknown = self.sends.get(&number).is_some_and(|send| send.was_sent);
            let why = if unknown { Fault::Unknown } else { why };
            self.end_send(number, Outcome::Failed(why), out);
        }
        for (op, finishing) in std::mem::take(&mut self.finishing) {
            let why = if finishing.was_asked { Fault::Unknown } else { why };
            out.push(Out::Done(op, Outcome::Failed(why)));
        }
        let closing = std::mem::take(&mut self.closing).into_keys();
        for op in closing.chain(std::mem::take(&mut self.opening)) {
            out.push(Out::Done(op, Outcome::Failed(why)));
        }
    }
}
