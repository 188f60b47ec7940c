//! What is overdue.

use super::{
    ANSWER, Fault, LINGER, Link, Op, Out, Outcome, Outs, PATIENCE, Party, Ticket, Value,
    receiving::unparked_at,
};
use rand::RngExt;
use std::time::Duration;

impl<V: Value, T: Ticket> Party<V, T> {
    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let link = match self.link {
            Link::Pausing { until, .. } => Some(until),
            Link::Connecting { since } => Some(since + PATIENCE),
            Link::Idle | Link::Up => None,
        };
        let calls = self.calls.values().map(|(_, due)| self.silent_at(*due));
        let waiting = self.waiting.values().flat_map(|w| [w.deadline, w.parked.map(unparked_at)]);
        let confirming = self.confirming.values().filter(|c| c.op.is_some()).map(|c| c.deadline);
        let sends = self.sends.values();
        let sends = sends.flat_map(|s| [s.withdrawing.or(s.deadline), s.again_at]);
        let finishing = self.finishing.values().map(|f| f.deadline);
        let linger = self.surplus.into_iter().chain(self.spare.iter().map(|(.., at)| *at));
        let busy = (!self.waiting.is_empty() && self.busy_until > Duration::ZERO)
            .then_some(self.busy_until);
        let some = waiting.chain(confirming).chain(sends).chain(finishing);
        let some = some.chain(self.closing.values().copied());
        let some = some.chain([link, self.renewal(), busy]).flatten();
        some.chain(calls).chain(linger.map(|at| at + LINGER)).min()
    }

    /// Ends what has lasted too long.
    pub(crate) fn tick(&mut self, now: Duration, out: &mut Outs<V, T>) {
        if self.calls.values().any(|(_, due)| self.silent_at(*due) <= now) {
            out.push(Out::Count("owner-silent"));
            out.push(Out::Disconnect);
            self.disconnected(now, out);
        }
        self.end_late(now, out);
        match self.link {
            Link::Pausing { since, until } if until <= now => {
                if self.wants_owner() {
                    self.link = Link::Connecting { since };
                    out.push(Out::Connect);
                } else {
                    self.link = Link::Idle;
                }
            }
            Link::Connecting { since } if now >= since + PATIENCE => {
                self.link = Link::Idle;
                self.fail_all(Fault::Unreachable, out);
            }
            _ => (),
        }
        if self.busy_until <= now {
            self.busy_until = Duration::ZERO;
        }
        self.unpark(now);
        self.hand_out(now, out);
        self.retry_sends(now, out);
        self.balance(now, out);
        self.let_go(now, out);
        self.renew_jobs(now, out);
    }

    /// When an owner is given up that has not answered a call in time: while it answers
    /// others, large ones may be on their way.
    fn silent_at(&self, due: Duration) -> Duration {
        due.max(self.heard + ANSWER)
    }

    fn end_late(&mut self, now: Duration, out: &mut Outs<V, T>) {
        let late = |deadline: Option<Duration>| deadline.is_some_and(|at| at <= now);
        let ops: Vec<Op> =
            self.waiting.iter().filter(|(_, w)| late(w.deadline)).map(|(op, _)| *op).collect();
        for op in ops {
            self.waiting.remove(&op);
            out.push(Out::Done(op, Outcome::Failed(Fault::Timeout)));
        }
        let doubtful = self.confirming.iter().filter(|(_, c)| c.op.is_some() && late(c.deadline));
        let leases: Vec<_> = doubtful.map(|(lease, _)| *lease).collect();
        for lease in leases {
            self.doubt(lease, out);
        }
        let due = self.sends.iter().filter(|(_, s)| late(s.withdrawing.or(s.deadline)));
        let numbers: Vec<_> = due.map(|(number, _)| *number).collect();
        for number in numbers {
            self.too_late(now, number, out);
        }
        for (op, finishing) in self.finishing.extract_if(.., |_, f| late(f.deadline)) {
            let why = if finishing.was_asked { Fault::Unknown } else { Fault::Timeout };
            out.push(Out::Done(op, Outcome::Failed(why)));
        }
        for (op, _) in self.closing.extract_if(.., |_, deadline| late(*deadline)) {
            out.push(Out::Done(op, Outcome::Failed(Fault::Unreachable)));
        }
    }

    pub(super) fn pause(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least_ms..=most_ms))
    }
}
