//! Values that were handed out and may come back.

use super::{
    CONFIRM, Channel, Conn, Due, Effect, Effects, Ended, Given, Op, PartyId, RATE, RENEW, Sent,
    Ticket, Value, Way, Who,
};
use std::time::Duration;

fn long(way: Way) -> Duration {
    if way == Way::Take { RENEW } else { CONFIRM }
}

/// A value that was handed out.
#[derive(Debug)]
pub(super) struct Lease<V> {
    pub(super) who: Who,
    pub(super) way: Way,
    pub(super) place: u64,
    pub(super) value: V,
    /// Whose it still is; else the buffer keeps its place until it is confirmed.
    pub(super) sender: Option<Op>,
    pub(super) until: Duration,
}

impl<V> Lease<V> {
    /// Whether the channel has no room for other bytes in place of these: until it is
    /// confirmed, and if it is out to a party until that is done with it. Else those
    /// who take would keep more here than a channel may have.
    pub(super) fn keeps_bytes(&self) -> bool {
        self.sender.is_none() && (self.way == Way::Confirm || self.who != Who::Local)
    }
}

impl<V: Value, T: Ticket> Channel<V, T> {
    pub(super) fn out_on_lease(&mut self, now: Duration, number: u64, mut lease: Lease<V>) {
        if let Who::Remote(conn) = lease.who {
            // What takes long to be written counts from then.
            let writing = Duration::from_secs((lease.value.size() / RATE) as u64);
            lease.until = now + long(lease.way) + writing;
            self.due.insert((lease.until, Due::Lease(number)));
            self.parties.holds(conn, number, lease.way, lease.value.size());
        }
        self.leases.insert(number, lease);
    }

    /// The value is the receiver's from now on, or what was taken is done. True
    /// again when it is asked again; false if it is not the receiver's any more.
    pub(crate) fn confirm(
        &mut self,
        now: Duration,
        who: Who,
        number: u64,
        out: &mut Effects<V, T>,
    ) -> bool {
        if let Who::Remote(conn) = who
            && self.parties.was_confirmed(conn, number)
        {
            return true;
        }
        if !self.is_of(who, number) {
            out.push(Effect::Count("lease-unknown"));
            return false;
        }
        let Some(lease) = self.end_lease(number) else { return false };
        if let Who::Remote(conn) = who {
            self.parties.note_confirmed(conn, number);
        }
        match lease.sender {
            Some(op) => drop(self.sent(op, out)),
            None if lease.keeps_bytes() => self.bytes -= lease.value.size(),
            None => (),
        }
        self.pair(now, out);
        true
    }

    /// A value is written to its receiver, whose time begins.
    pub(crate) fn written(&mut self, now: Duration, conn: Conn, number: u64) {
        if self.is_of(Who::Remote(conn), number)
            && let Some(lease) = self.leases.get_mut(&number)
        {
            self.due.remove(&(lease.until, Due::Lease(number)));
            lease.until = lease.until.min(now + long(lease.way));
            self.due.insert((lease.until, Due::Lease(number)));
        }
    }

    /// The value goes back to where it was.
    pub(crate) fn give_back(
        &mut self,
        now: Duration,
        who: Who,
        number: u64,
        out: &mut Effects<V, T>,
    ) -> bool {
        let is = self.is_of(who, number);
        if is {
            self.restore(number, out);
            self.pair(now, out);
        }
        is
    }

    /// Takes back what was handed to one who has gone, without having seen it.
    pub(crate) fn take_back(&mut self, now: Duration, given: Given<V>, out: &mut Effects<V, T>) {
        match given.lease {
            Some(lease) => self.restore(lease, out),
            None => self.insert(given.place, given.value),
        }
        self.pair(now, out);
    }

    /// Renews what a party has taken. Gives back what is not its any more.
    pub(crate) fn renew(&mut self, now: Duration, conn: Conn, numbers: &[u64]) -> Vec<u64> {
        let mut lost = Vec::new();
        for &number in numbers {
            let is = self.is_of(Who::Remote(conn), number);
            match self.leases.get_mut(&number).filter(|lease| is && lease.way == Way::Take) {
                Some(lease) => {
                    self.due.remove(&(lease.until, Due::Lease(number)));
                    lease.until = now + RENEW;
                    self.due.insert((lease.until, Due::Lease(number)));
                }
                None => lost.push(number),
            }
        }
        lost
    }

    /// Whether it is remembered what became of what this party asked.
    pub(crate) fn knows(&self, party: &PartyId) -> bool {
        self.parties.knows(party)
    }

    /// A party comes, or comes back: what went over its last connection is over.
    /// None if there are too many parties.
    pub(crate) fn join(
        &mut self,
        now: Duration,
        party: PartyId,
        out: &mut Effects<V, T>,
    ) -> Option<Conn> {
        if let Some(before) = self.parties.current(&party) {
            self.leave(now, before, out);
        }
        let conn = self.parties.join(party, &self.limits);
        if conn.is_none() {
            out.push(Effect::Count("parties-full"));
        }
        conn
    }

    /// Whether the party over this connection has no newer one. One that has must
    /// be told: what it asks over this has no effect.
    pub(crate) fn is_current(&self, conn: Conn) -> bool {
        self.parties.of(conn).is_some()
    }

    /// A connection of a party ends: with it what waits, and what the party has
    /// not confirmed.
    pub(crate) fn leave(&mut self, now: Duration, conn: Conn, out: &mut Effects<V, T>) {
        let Some(held) = self.parties.held(conn) else { return };
        for op in held.receives {
            self.remove_receiver(op);
            out.push(Effect::Ended(op, Ended::Nothing));
        }
        for op in held.sends {
            let Some(sender) = self.remove_sender(op) else { continue };
            if let Some(lease) = sender.lease {
                self.revoke(lease, &sender.ticket, out);
            }
            out.push(Effect::Sent(op, Sent::Withdrawn));
        }
        for number in held.leases {
            self.restore(number, out);
        }
        self.parties.leave(now, conn);
        self.pair(now, out);
    }

    pub(super) fn expire(&mut self, now: Duration, number: u64, out: &mut Effects<V, T>) {
        let Some(lease) = self.leases.get(&number) else { return };
        if let Who::Remote(conn) = lease.who {
            self.parties.let_expire(now, conn);
        }
        out.push(Effect::Count("lease-expired"));
        self.restore(number, out);
    }

    /// Whether the lease is out, and to this party.
    fn is_of(&self, who: Who, number: u64) -> bool {
        self.leases.get(&number).is_some_and(|lease| match (lease.who, who) {
            (Who::Local, Who::Local) => true,
            (Who::Remote(a), Who::Remote(b)) => self.parties.same(a, b),
            _ => false,
        })
    }

    fn end_lease(&mut self, number: u64) -> Option<Lease<V>> {
        let lease = self.leases.remove(&number)?;
        self.due.remove(&(lease.until, Due::Lease(number)));
        if let Who::Remote(conn) = lease.who {
            self.parties.holds_no_more(conn, number, lease.way, lease.value.size());
            let line = self.line(conn, lease.way);
            // What one has done with leaves more to all who take.
            let take = lease.way == Way::Take;
            let lines = self.held_up.keys().filter(|l| Some(**l) == line || (take && l.1));
            for line in lines.copied().collect::<Vec<_>>() {
                self.let_on(line);
            }
        }
        if lease.sender.is_none() && lease.way == Way::Confirm {
            self.reserved -= 1;
        }
        Some(lease)
    }

    fn restore(&mut self, number: u64, out: &mut Effects<V, T>) {
        let Some(lease) = self.end_lease(number) else { return };
        match lease.sender {
            Some(op) => {
                let Some(sender) = self.senders.get_mut(&op) else { return };
                sender.lease = None;
                if sender.ticket.release() {
                    out.push(Effect::Look(sender.ticket.clone()));
                }
                if self.closed {
                    self.end_send(op, Sent::Closed, out);
                }
            }
            None => {
                if lease.keeps_bytes() {
                    self.bytes -= lease.value.size();
                }
                self.insert(lease.place, lease.value);
            }
        }
    }

    /// The sender has gone: whoever was given its value can't confirm it.
    pub(super) fn revoke(&mut self, number: u64, ticket: &T, out: &mut Effects<V, T>) {
        self.end_lease(number);
        if ticket.release() {
            out.push(Effect::Look(ticket.clone()));
        }
    }
}
