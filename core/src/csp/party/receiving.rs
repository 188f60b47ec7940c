//! Values are leased and handed to who waits.
//!
//! What is asked for and who waits are apart: a value that comes goes to the
//! first who can take it, so that one who is called off in the middle loses
//! nothing. A value is seen only after the owner has confirmed that it is ours.

use super::{
    BUSY, CallId, Ended, Fault, LINGER, Link, Op, Out, Outcome, Outs, Party, Request, Ticket,
    Value, WAIT, What,
};
use crate::csp::ticket::Claim;
use rand::RngExt;
use std::time::Duration;

/// How long, in milliseconds, one pauses at random that was reserved when it was
/// to be served.
const NOT_NOW_MS: (u64, u64) = (1, 10);
/// After which time it tries again even if nobody has told that it is free.
const UNTOLD: Duration = Duration::from_secs(1);

/// One who waits for a value.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) take: bool,
    pub(super) ticket: T,
    pub(super) deadline: Option<Duration>,
    /// It was reserved elsewhere when a value came: not before this time, and
    /// when it is told.
    pub(super) parked: Option<(Duration, bool)>,
}

/// A value that is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) take: bool,
    pub(super) cancelled: bool,
    /// Until when the owner lets it wait.
    until: Duration,
}

/// A value whose confirmation is asked for.
#[derive(Debug)]
pub(super) struct Confirming<V, T> {
    /// Who waits for it; none if that one has gone away.
    pub(super) op: Option<Op>,
    pub(super) ticket: T,
    pub(super) value: V,
    pub(super) deadline: Option<Duration>,
}

impl<V: Value, T: Ticket> Party<V, T> {
    /// Receives, or takes.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        take: bool,
        ticket: T,
        deadline: Option<Duration>,
        out: &mut Outs<V, T>,
    ) -> Op {
        let op = self.op();
        self.waiting.insert(op, Waiting { take, ticket, deadline, parked: None });
        self.hand_out(now, out);
        self.balance(now, out);
        self.reach(now, out);
        op
    }

    /// A value that was received by one who has gone: the next gets it.
    pub(crate) fn keep(&mut self, now: Duration, value: V, out: &mut Outs<V, T>) {
        self.ready.push_front(value);
        self.hand_out(now, out);
        self.balance(now, out);
    }

    /// One that waits, or sends, goes away.
    pub(crate) fn cancel(&mut self, now: Duration, op: Op, out: &mut Outs<V, T>) {
        if self.waiting.remove(&op).is_some() {
            self.balance(now, out);
        }
        for confirming in self.confirming.values_mut().filter(|c| c.op == Some(op)) {
            confirming.op = None;
        }
        self.cancel_send(now, op, out);
        self.finishing.remove(&op);
        self.closing.remove(&op);
        self.opening.remove(&op);
    }

    /// One that was reserved may be free now.
    pub(crate) fn look(&mut self, now: Duration, out: &mut Outs<V, T>) {
        for waiting in self.waiting.values_mut() {
            if let Some((_, told)) = &mut waiting.parked {
                *told = true;
            }
        }
        self.unpark(now);
        self.hand_out(now, out);
        self.balance(now, out);
    }

    pub(super) fn unpark(&mut self, now: Duration) {
        for waiting in self.waiting.values_mut() {
            waiting.parked = waiting.parked.filter(|p| now < unparked_at(*p));
        }
    }

    /// Asks for as many values as are waited for.
    pub(super) fn balance(&mut self, now: Duration, out: &mut Outs<V, T>) {
        if self.link != Link::Up {
            return;
        }
        let mut surplus = false;
        for take in [false, true] {
            let wanted =
                self.waiting.values().filter(|w| w.take == take && w.parked.is_none()).count();
            let asked = self.asks.values().filter(|a| a.take == take && !a.cancelled).count();
            surplus |= asked > wanted;
            if now < self.busy_until {
                continue;
            }
            for _ in asked..wanted {
                let settled = self.settled_leases();
                let request = self.next_call + 1;
                let ask = Request::Lease { request, take, wait: WAIT, settled };
                let call = self.call(now, What::Lease, ask, out);
                self.asks.insert(call, Ask { take, cancelled: false, until: now + WAIT });
            }
        }
        self.surplus = surplus.then(|| self.surplus.unwrap_or(now));
    }

    /// Asks no more for what nobody has come back for.
    pub(super) fn let_go(&mut self, now: Duration, out: &mut Outs<V, T>) {
        while let Some((lease, ..)) = self.spare.front().filter(|(.., at)| now >= *at + LINGER) {
            let lease = *lease;
            self.spare.pop_front();
            self.call(now, What::Nothing, Request::GiveBack { lease }, out);
        }
        if self.surplus.is_none_or(|since| now < since + LINGER) {
            return;
        }
        self.surplus = None;
        for take in [false, true] {
            let wanted =
                self.waiting.values().filter(|w| w.take == take && w.parked.is_none()).count();
            let open = self.asks.iter().filter(|(_, a)| a.take == take && !a.cancelled);
            let more: Vec<_> = open.map(|(call, _)| *call).skip(wanted).collect();
            for request in more {
                self.asks.entry(request).and_modify(|ask| ask.cancelled = true);
                self.call(now, What::Nothing, Request::Cancel { request }, out);
            }
        }
    }

    /// A value came.
    pub(super) fn leased(
        &mut self,
        now: Duration,
        call: CallId,
        lease: u64,
        value: V,
        out: &mut Outs<V, T>,
    ) {
        let take = self.asks.remove(&call).is_some_and(|ask| ask.take);
        let is_out = self.confirming.contains_key(&lease)
            || self.jobs.contains(&lease)
            || self.spare.iter().any(|(spare, ..)| *spare == lease);
        if is_out {
            return self.is_of_no_use(now, out);
        }
        if let Some((op, waiting)) = self.claim(now, take) {
            self.begin(now, op, waiting, lease, value, out);
        } else if !take && !self.waiting.values().any(|w| !w.take) && self.spare.is_empty() {
            self.spare.push_back((lease, value, now));
        } else {
            // Not now: whoever wants it was reserved at this moment, and must not
            // wait for that while the value is kept from others.
            self.call(now, What::Nothing, Request::GiveBack { lease }, out);
        }
        self.balance(now, out);
    }

    /// No value came.
    pub(super) fn ended(&mut self, now: Duration, call: CallId, why: Ended, out: &mut Outs<V, T>) {
        let ask = self.asks.remove(&call);
        let take = ask.as_ref().is_some_and(|ask| ask.take);
        match why {
            // One that has nothing at once would be asked at once.
            Ended::Nothing if ask.is_some_and(|ask| !ask.cancelled && now < ask.until) => {
                self.busy_until = now + BUSY;
            }
            Ended::Nothing => (),
            Ended::Busy => self.busy_until = now + BUSY,
            Ended::Closed => {
                let first = self.waiting.iter().find(|(_, w)| w.take == take);
                if let Some(op) = first.map(|(op, _)| *op) {
                    self.waiting.remove(&op);
                    out.push(Out::Done(op, Outcome::Failed(Fault::Closed)));
                }
            }
        }
        self.balance(now, out);
    }

    /// Hands out what is here.
    pub(super) fn hand_out(&mut self, now: Duration, out: &mut Outs<V, T>) {
        while !self.ready.is_empty()
            && let Some((op, waiting)) = self.claim(now, false)
            && let Some(value) = self.ready.pop_front()
        {
            waiting.ticket.commit();
            out.push(Out::Done(op, Outcome::Received(value)));
        }
        while !self.spare.is_empty()
            && let Some((op, waiting)) = self.claim(now, false)
            && let Some((lease, value, _)) = self.spare.pop_front()
        {
            self.begin(now, op, waiting, lease, value, out);
        }
    }

    /// Reserves the first of those who wait that can be.
    fn claim(&mut self, now: Duration, take: bool) -> Option<(Op, Waiting<T>)> {
        let ops: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, w)| w.take == take && w.parked.is_none())
            .map(|(op, _)| *op)
            .collect();
        for op in ops {
            let waiting = self.waiting.get_mut(&op)?;
            match waiting.ticket.claim() {
                Claim::Yes => return Some((op, self.waiting.remove(&op)?)),
                Claim::NotNow => {
                    let (least, most) = NOT_NOW_MS;
                    let pause =
                        Duration::from_micros(self.rng.random_range(least * 1000..=most * 1000));
                    waiting.parked = Some((now + pause, false));
                }
                Claim::Gone => drop(self.waiting.remove(&op)),
            }
        }
        None
    }

    /// A value is handed to one that is reserved: a job at once, any other when
    /// it is confirmed.
    fn begin(
        &mut self,
        now: Duration,
        op: Op,
        waiting: Waiting<T>,
        lease: u64,
        value: V,
        out: &mut Outs<V, T>,
    ) {
        let Waiting { take, ticket, deadline, .. } = waiting;
        if take {
            ticket.commit();
            self.keep_job(now, lease);
            out.push(Out::Done(op, Outcome::Taken { lease, value }));
            return;
        }
        self.confirming.insert(lease, Confirming { op: Some(op), ticket, value, deadline });
        self.call(now, What::Confirm(lease), Request::Confirm { lease }, out);
    }

    pub(super) fn confirm_again(&mut self, now: Duration, out: &mut Outs<V, T>) {
        let leases: Vec<_> = self.confirming.keys().copied().collect();
        for lease in leases {
            self.call(now, What::Confirm(lease), Request::Confirm { lease }, out);
        }
    }

    pub(super) fn confirmed(
        &mut self,
        now: Duration,
        lease: u64,
        ours: bool,
        out: &mut Outs<V, T>,
    ) {
        let Some(Confirming { op, ticket, value, deadline }) = self.confirming.remove(&lease)
        else {
            return;
        };
        match (ours, op) {
            (true, Some(op)) => {
                ticket.commit();
                out.push(Out::Done(op, Outcome::Received(value)));
            }
            (true, None) => self.ready.push_back(value),
            (false, op) => {
                if let Some(op) = op {
                    let parked = None;
                    let waiting = Waiting { take: false, ticket: ticket.clone(), deadline, parked };
                    self.waiting.insert(op, waiting);
                    if ticket.release() {
                        out.push(Out::Look(ticket));
                    }
                }
            }
        }
        self.hand_out(now, out);
        self.balance(now, out);
    }

    /// Nobody waits for the confirmation any longer: the value is handed to the
    /// next receiver, if it turns out to be ours.
    pub(super) fn doubt(&mut self, lease: u64, out: &mut Outs<V, T>) {
        let Some(confirming) = self.confirming.get_mut(&lease) else { return };
        if let Some(op) = confirming.op.take() {
            confirming.ticket.commit();
            out.push(Out::Done(op, Outcome::Failed(Fault::Unknown)));
        }
    }

    /// The same for the value of one who waits, if there is one.
    pub(crate) fn doubt_op(&mut self, op: Op, out: &mut Outs<V, T>) {
        let of = self.confirming.iter().find(|(_, confirming)| confirming.op == Some(op));
        if let Some(lease) = of.map(|(lease, _)| *lease) {
            self.doubt(lease, out);
        }
    }

    /// It will never be known whose the value is.
    pub(super) fn doubted(&mut self, confirming: Confirming<V, T>, out: &mut Outs<V, T>) {
        if let Some(op) = confirming.op {
            confirming.ticket.commit();
            out.push(Out::Done(op, Outcome::Failed(Fault::Unknown)));
        }
    }

    /// Below this, no outcome is asked any more.
    fn settled_leases(&self) -> u64 {
        let confirming = self.confirming.keys().next().copied();
        let finishing = self.finishing.values().map(|finishing| finishing.lease).min();
        [confirming, finishing].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

/// When one may be asked again that was reserved.
pub(super) fn unparked_at((after, told): (Duration, bool)) -> Duration {
    if told { after } else { after + UNTOLD }
}
