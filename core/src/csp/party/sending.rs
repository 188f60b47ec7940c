//! Sends, each under a number, so that one that is sent again is not taken in
//! twice.

use super::{
    BUSY, Fault, GRACE, Link, Op, Out, Outcome, Outs, Party, Request, Sent, Ticket, Value, WAIT,
    What,
};
use std::time::Duration;

/// A value that is being sent.
#[derive(Debug)]
pub(super) struct Sending<V> {
    /// Who waits for it; none if that one has gone away.
    op: Option<Op>,
    value: V,
    pub(super) deadline: Option<Duration>,
    /// Whether the owner may have it.
    pub(super) was_sent: bool,
    /// It is withdrawn; until when the answer is waited for.
    pub(super) withdrawing: Option<Duration>,
    /// The owner was busy, or it has waited there too long.
    pub(super) again_at: Option<Duration>,
}

impl<V> Sending<V> {
    pub(super) fn op(&self) -> Option<Op> {
        self.op
    }
}

impl<V: Value, T: Ticket> Party<V, T> {
    /// Sends a value.
    pub(crate) fn send(
        &mut self,
        now: Duration,
        value: V,
        deadline: Option<Duration>,
        out: &mut Outs<V, T>,
    ) -> Op {
        let op = self.op();
        self.next_number += 1;
        let number = self.next_number;
        let sending = Sending {
            op: Some(op),
            value,
            deadline,
            was_sent: false,
            withdrawing: None,
            again_at: None,
        };
        self.sends.insert(number, sending);
        if self.link == Link::Up {
            self.transmit(now, number, out);
        }
        self.reach(now, out);
        op
    }

    fn transmit(&mut self, now: Duration, number: u64, out: &mut Outs<V, T>) {
        let settled = self.sends.keys().next().copied().unwrap_or(number);
        let Some(sending) = self.sends.get_mut(&number) else { return };
        let left = sending.deadline.map_or(WAIT, |deadline| deadline.saturating_sub(now));
        sending.was_sent = true;
        sending.again_at = None;
        let value = sending.value.clone();
        let request = Request::Send { number, settled, wait: (left + GRACE).min(WAIT), value };
        self.call(now, What::Send(number), request, out);
    }

    /// Sends everything over a new connection.
    pub(super) fn send_again(&mut self, now: Duration, out: &mut Outs<V, T>) {
        let numbers: Vec<_> = self.sends.keys().copied().collect();
        for number in numbers {
            match self.sends.get(&number).and_then(|sending| sending.withdrawing) {
                Some(_) => {
                    self.call(now, What::Withdraw(number), Request::Withdraw { number }, out);
                }
                None => self.transmit(now, number, out),
            }
        }
    }

    /// The connection has ended: all is sent again over the next.
    pub(super) fn stop_sending(&mut self) {
        for sending in self.sends.values_mut() {
            sending.again_at = None;
        }
    }

    pub(super) fn retry_sends(&mut self, now: Duration, out: &mut Outs<V, T>) {
        if self.link != Link::Up {
            return;
        }
        let due = |sending: &Sending<V>| sending.again_at.is_some_and(|at| at <= now);
        let numbers: Vec<_> =
            self.sends.iter().filter(|(_, s)| due(s)).map(|(number, _)| *number).collect();
        for number in numbers {
            self.transmit(now, number, out);
        }
    }

    /// The owner says how a send ended.
    pub(super) fn sent(&mut self, now: Duration, number: u64, how: Sent, out: &mut Outs<V, T>) {
        let Some(sending) = self.sends.get_mut(&number) else { return };
        match how {
            Sent::Accepted => self.end_send(number, Outcome::Sent, out),
            Sent::Closed => self.end_send(number, Outcome::Failed(Fault::Closed), out),
            Sent::Stale => self.end_send(number, Outcome::Failed(Fault::Unknown), out),
            // The answer to the withdrawal says more.
            Sent::Withdrawn | Sent::Busy if sending.withdrawing.is_some() => (),
            // Its time had passed there; or the owner says so for no reason.
            Sent::Withdrawn | Sent::Busy => sending.again_at = Some(now + BUSY),
        }
        self.retry_sends(now, out);
    }

    /// The deadline of a send has passed.
    pub(super) fn too_late(&mut self, now: Duration, number: u64, out: &mut Outs<V, T>) {
        let Some(sending) = self.sends.get_mut(&number) else { return };
        match (sending.was_sent, sending.withdrawing) {
            (false, _) => self.end_send(number, Outcome::Failed(Fault::Timeout), out),
            (true, None) if self.link == Link::Up => {
                sending.withdrawing = Some(now + GRACE);
                sending.again_at = None;
                self.call(now, What::Withdraw(number), Request::Withdraw { number }, out);
            }
            (true, _) => self.end_send(number, Outcome::Failed(Fault::Unknown), out),
        }
    }

    /// The owner says what came of a withdrawal.
    pub(super) fn withdrawn(&mut self, number: u64, how: Sent, out: &mut Outs<V, T>) {
        let outcome = match how {
            Sent::Accepted => Outcome::Sent,
            Sent::Closed => Outcome::Failed(Fault::Closed),
            Sent::Withdrawn | Sent::Busy => Outcome::Failed(Fault::Timeout),
            Sent::Stale => Outcome::Failed(Fault::Unknown),
        };
        self.end_send(number, outcome, out);
    }

    /// Nobody waits for this send any longer.
    pub(super) fn cancel_send(&mut self, now: Duration, op: Op, out: &mut Outs<V, T>) {
        let found = self.sends.iter_mut().find(|(_, sending)| sending.op == Some(op));
        let Some((&number, sending)) = found else { return };
        sending.op = None;
        self.too_late(now, number, out);
    }

    pub(super) fn end_send(&mut self, number: u64, outcome: Outcome<V>, out: &mut Outs<V, T>) {
        let Some(sending) = self.sends.remove(&number) else { return };
        match sending.op {
            Some(op) => out.push(Out::Done(op, outcome)),
            None => out.push(Out::Count("send-called-off")),
        }
    }
}
