//! Brings senders and receivers together.
//!
//! Whoever waits at several places is asked by its ticket before it is served,
//! and nobody waits for the answer: one that says "not now" is passed over, and
//! asks to look again when it is free.

use super::{
    Channel, Claim, Conn, Effect, Effects, Ended, Given, Op, Receiver, Sender, Sent, Ticket, Tried,
    Value, Way, Who, leases::Lease,
};
use std::{collections::HashSet, ops::Bound, time::Duration};

/// How a party sends a value: under this number, it would wait so long, and what it
/// sent below `settled` need not be remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) settled: u64,
    pub(crate) wait: Duration,
}

/// How a party asks for a value: it would wait so long, and leases below `settled`
/// need not be remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) way: Way,
    pub(crate) settled: u64,
    pub(crate) wait: Duration,
}

impl<V: Value, T: Ticket> Channel<V, T> {
    /// A party sends a value under a number of its own.
    pub(crate) fn send_numbered(
        &mut self,
        now: Duration,
        conn: Conn,
        numbered: Numbered,
        value: V,
        ticket: T,
        out: &mut Effects<V, T>,
    ) -> Tried<Sent> {
        let Numbered { number, settled, wait } = numbered;
        match self.parties.known(conn, number, settled) {
            Err(outcome) => return Tried::Done(outcome),
            // Asked again over the same connection: only the last one counts.
            Ok(Some(op)) => {
                self.cancel_send(now, op, out);
                out.push(Effect::Sent(op, Sent::Withdrawn));
            }
            Ok(None) => (),
        }
        if self.closed {
            self.parties.note_sent(conn, number, Sent::Closed);
            return Tried::Done(Sent::Closed);
        }
        let size = value.size();
        if !self.parties.may_wait(conn, size, self.waiting_bytes, &self.limits) {
            out.push(Effect::Count("send-busy"));
            return Tried::Done(Sent::Busy);
        }
        let op = self.insert_sender(value, ticket, Some((conn, number)), Some(now + wait));
        self.parties.waits(conn, op, number, size);
        self.pair(now, out);
        Tried::Waits(op)
    }

    /// A party withdraws a value: from now on it is not taken in, however late it
    /// comes.
    pub(crate) fn withdraw(
        &mut self,
        now: Duration,
        conn: Conn,
        number: u64,
        out: &mut Effects<V, T>,
    ) -> Sent {
        match self.parties.known(conn, number, 0) {
            Err(outcome) => outcome,
            Ok(waiting) => {
                if let Some(op) = waiting {
                    self.cancel_send(now, op, out);
                    out.push(Effect::Sent(op, Sent::Withdrawn));
                }
                self.parties.note_sent(conn, number, Sent::Withdrawn);
                Sent::Withdrawn
            }
        }
    }

    /// A party asks for a value.
    pub(crate) fn lease(
        &mut self,
        now: Duration,
        conn: Conn,
        wish: Wish,
        ticket: T,
        out: &mut Effects<V, T>,
    ) -> Tried<Result<Given<V>, Ended>> {
        let Wish { way, settled, wait } = wish;
        self.parties.settle_leases(conn, settled);
        if !self.parties.may_receive(now, conn, way, &self.limits) {
            out.push(Effect::Count("receive-busy"));
            return Tried::Done(Err(Ended::Busy));
        }
        let until = Some(now + wait);
        let op = self.insert_receiver(Receiver { way, ticket, who: Who::Remote(conn), until });
        self.parties.receives(conn, op);
        self.pair(now, out);
        Tried::Waits(op)
    }

    /// Serves whoever can be served.
    pub(super) fn pair(&mut self, now: Duration, out: &mut Effects<V, T>) {
        self.fill(out);
        let mut after = Bound::Unbounded;
        while let Some(op) = self.ready.range((after, Bound::Unbounded)).next().copied() {
            after = Bound::Excluded(op);
            if !self.serve(now, op, out) {
                break;
            }
            self.fill(out);
        }
        if self.closed && self.buffer.is_empty() && !self.receivers.is_empty() {
            self.end_receivers(out);
        }
    }

    /// Takes in the values of senders while there is room.
    fn fill(&mut self, out: &mut Effects<V, T>) {
        if self.closed || self.buffer.len() + self.reserved >= self.limits.capacity {
            return;
        }
        let mut after = Bound::Unbounded;
        while let Some((op, sender)) = self.senders.range((after, Bound::Unbounded)).next() {
            let op = *op;
            after = Bound::Excluded(op);
            if sender.lease.is_some() {
                continue;
            }
            if !self.has_room(&sender.value) {
                break;
            }
            if sender.ticket.claim() == Claim::Yes {
                self.accept_sender(op, out);
            }
        }
    }

    fn accept_sender(&mut self, op: Op, out: &mut Effects<V, T>) {
        if let Some(Sender { value, place, .. }) = self.sent(op, out) {
            self.accept(value, place);
        }
    }

    /// Ends the send of one that is reserved, with success.
    pub(super) fn sent(&mut self, op: Op, out: &mut Effects<V, T>) -> Option<Sender<V, T>> {
        let sender = self.remove_sender(op)?;
        sender.ticket.commit();
        if let Some((conn, number)) = sender.of {
            self.parties.note_sent(conn, number, Sent::Accepted);
        }
        out.push(Effect::Sent(op, Sent::Accepted));
        Some(sender)
    }

    /// Serves a receiver. False if there is nothing for any other either.
    fn serve(&mut self, now: Duration, op: Op, out: &mut Effects<V, T>) -> bool {
        let Some(receiver) = self.receivers.get(&op) else { return true };
        let (way, who, ticket) = (receiver.way, receiver.who, receiver.ticket.clone());
        if let Who::Remote(conn) = who
            && let Some(line) = self.line(conn, way)
            && !self.parties.may_hold(&line.0, way, &self.limits)
        {
            self.ready.remove(&op);
            self.held_up.entry(line).or_default().insert(op);
            return true;
        }
        // From the buffer, else straight from a sender, which is reserved first:
        // then nobody is reserved in vain but when two ask at the same moment.
        let sender = match self.buffer.front() {
            Some(_) => None,
            None => match self.claim_sender(&ticket) {
                Some(sender) => Some(sender),
                // What it sends itself may be for others.
                None => return self.senders.values().any(|sender| sender.ticket.is(&ticket)),
            },
        };
        if ticket.claim() != Claim::Yes {
            if let Some(sender) = sender.and_then(|op| self.senders.get(&op))
                && sender.ticket.release()
            {
                out.push(Effect::Look(sender.ticket.clone()));
            }
            return true;
        }
        if let Some(given) = self.hand_over(now, way, who, sender, out) {
            ticket.commit();
            self.remove_receiver(op);
            out.push(Effect::Given(op, given));
        }
        true
    }

    /// Reserves the first sender that can be.
    /// Nobody sends to itself.
    fn claim_sender(&self, receiver: &T) -> Option<Op> {
        let free = self.senders.iter().filter(|(_, sender)| sender.lease.is_none());
        let free = free.filter(|(_, sender)| !sender.ticket.is(receiver));
        let mut claimed = free.filter(|(_, sender)| sender.ticket.claim() == Claim::Yes);
        claimed.next().map(|(op, _)| *op)
    }

    /// Hands the first value over, or that of this sender.
    fn hand_over(
        &mut self,
        now: Duration,
        way: Way,
        who: Who,
        sender: Option<Op>,
        out: &mut Effects<V, T>,
    ) -> Option<Given<V>> {
        let lease = (way != Way::Plain).then(|| {
            self.next_lease += 1;
            self.next_lease
        });
        let confirmed = way == Way::Confirm;
        let (place, value, of) = match sender {
            // It goes on waiting until the value is confirmed.
            Some(op) if confirmed => {
                let place = match self.senders.get(&op)?.place {
                    Some(place) => place,
                    None => self.new_place(),
                };
                let sender = self.senders.get_mut(&op)?;
                sender.place = Some(place);
                sender.lease = lease;
                (place, sender.value.clone(), Some(op))
            }
            Some(op) => {
                let sender = self.sent(op, out)?;
                let place = sender.place.unwrap_or_else(|| self.new_place());
                if way == Way::Take && who != Who::Local {
                    self.bytes += sender.value.size();
                }
                (place, sender.value, None)
            }
            None => {
                let (place, value) = self.buffer.pop_front()?;
                self.reserved += usize::from(confirmed);
                if way == Way::Plain || (way == Way::Take && who == Who::Local) {
                    self.bytes -= value.size();
                }
                (place, value, None)
            }
        };
        if let Some(number) = lease {
            let value = value.clone();
            self.out_on_lease(
                now,
                number,
                Lease { who, way, place, value, sender: of, until: now },
            );
        }
        Some(Given { value, place, lease })
    }

    /// Ends receivers of a closed channel, if nothing can come any more: nothing
    /// is on its way, and what was taken is with parties that wait here
    /// themselves.
    fn end_receivers(&mut self, out: &mut Effects<V, T>) {
        let party = |who| match who {
            Who::Local => None,
            Who::Remote(conn) => self.parties.of(conn),
        };
        if !self.leases.is_empty() {
            let waiting: HashSet<_> = self.receivers.values().map(|r| party(r.who)).collect();
            let comes = |lease: &Lease<V>| {
                lease.way == Way::Confirm || !waiting.contains(&party(lease.who))
            };
            if self.leases.values().any(comes) {
                return;
            }
        }
        let ops: Vec<_> = self.receivers.keys().copied().collect();
        for op in ops {
            self.remove_receiver(op);
            out.push(Effect::Ended(op, Ended::Closed));
        }
    }
}
