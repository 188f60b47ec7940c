//! A semaphore at its owner's place. Pure: the time is an argument.
//!
//! A holder counts the time of its grant from before it asked for it, the owner
//! from when that came, and a little longer: so they never disagree to the
//! holder's favour, whatever the network does. Only clocks that run at different
//! speeds, by a fifth, could bring that about.

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;

use crate::csp::owner::{Op, PartyId};
use libp2p::PeerId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// For how long a grant lasts at its holder, unless it is renewed.
pub(crate) const TTL: Duration = Duration::from_secs(10);
/// How much later the owner grants again.
pub(crate) const SPARE: Duration = Duration::from_secs(2);
/// How often a holder renews: three times in the time of a grant.
pub(crate) const PACE: Duration = Duration::from_secs(3);

/// Acquires of others that may wait, in all and of one peer, who has at most as many
/// as are left for all others; as many of this node; and the grants of one peer.
const WAITING: usize = 16_384;
const WAITING_OF_PEER: usize = 1024;
const GRANTS_OF_PEER: usize = 1024;

/// Who acquires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// One on the owner's node: it lives as long as the owner.
    Local(u64),
    /// A party, and the number of its acquire.
    Remote(PartyId, u64),
}

impl Holder {
    fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Local(_) => None,
            Self::Remote(party, _) => Some(party.peer),
        }
    }
}

/// What came of an acquire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Token(u64),
    Waits(Op),
    Closed,
    Busy,
}

/// What happened to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Granted(Op, u64),
    /// The time has passed, or it was called off.
    Nothing(Op),
    Closed(Op),
    Count(&'static str),
}

#[derive(Debug)]
struct Waiting {
    holder: Holder,
    until: Option<Duration>,
    /// Who asked last, and is told.
    op: Op,
}

#[derive(Debug)]
struct Grant {
    holder: Holder,
    until: Option<Duration>,
}

/// A semaphore.
#[derive(Debug)]
pub(crate) struct Semaphore {
    permits: usize,
    closed: bool,
    grants: BTreeMap<u64, Grant>,
    /// In the order of asking.
    waiting: BTreeMap<u64, Waiting>,
    /// Of them, those of other nodes.
    remote: usize,
    by_holder: HashMap<Holder, At>,
    of_peer: HashMap<PeerId, (usize, usize)>,
    due: BTreeSet<(Duration, At)>,
    /// Until then nothing is granted: grants of one before this are still believed in.
    quiet: Option<Duration>,
    /// Until when those are, that were out when it was closed.
    believed: Option<Duration>,
    token: u64,
    next_op: Op,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Granted(u64),
    /// At this place in the queue.
    Waits(u64),
}

impl Semaphore {
    /// So many grants at a time, whose tokens are above this one.
    pub(crate) fn new(permits: usize, token: u64) -> Self {
        Self {
            permits,
            closed: false,
            grants: BTreeMap::new(),
            waiting: BTreeMap::new(),
            remote: 0,
            by_holder: HashMap::new(),
            of_peer: HashMap::new(),
            due: BTreeSet::new(),
            quiet: None,
            believed: None,
            token,
            next_op: 0,
        }
    }

    /// Grants nothing before this time.
    pub(crate) fn be_quiet(&mut self, until: Duration) {
        self.quiet = self.quiet.max(Some(until));
    }

    /// Until when grants to other nodes may be believed in, those that were out when
    /// it was closed among them.
    pub(crate) fn believed(&self) -> Option<Duration> {
        let out = self.grants.values().filter_map(|grant| grant.until).max();
        out.max(self.quiet).max(self.believed)
    }

    /// The last token that was given.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    /// Grants that are out.
    #[cfg(test)]
    pub(crate) fn granted(&self) -> usize {
        self.grants.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Acquires, and would wait until then. Asked again, it is the same grant,
    /// renewed, or the same place in the queue.
    pub(crate) fn acquire(
        &mut self,
        now: Duration,
        holder: Holder,
        until: Option<Duration>,
        out: &mut Vec<Told>,
    ) -> Acquired {
        match self.by_holder.get(&holder).copied() {
            Some(At::Granted(token)) => {
                self.renew(now, &holder);
                return Acquired::Token(token);
            }
            Some(At::Waits(place)) => return self.wait_again(place, until, out),
            None => (),
        }
        if self.closed {
            return Acquired::Closed;
        }
        // Whoever waits while one is free has too many, and holds nobody else up.
        if self.may_grant(now) && self.may_hold(&holder) {
            return Acquired::Token(self.grant(now, holder));
        }
        let may_wait = match holder.peer() {
            Some(peer) => {
                let of_peer = self.of_peer.get(&peer).map_or(0, |p| p.0);
                of_peer < WAITING_OF_PEER.min(WAITING.saturating_sub(self.remote))
            }
            None => self.waiting.len() - self.remote < WAITING,
        };
        if !may_wait {
            out.push(Told::Count("acquire-busy"));
            return Acquired::Busy;
        }
        self.wait(holder, until)
    }

    fn wait(&mut self, holder: Holder, until: Option<Duration>) -> Acquired {
        if let Some(peer) = holder.peer() {
            self.of_peer.entry(peer).or_default().0 += 1;
            self.remote += 1;
        }
        self.next_op += 1;
        let op = self.next_op;
        if let Some(until) = until {
            self.due.insert((until, At::Waits(op)));
        }
        self.by_holder.insert(holder, At::Waits(op));
        self.waiting.insert(op, Waiting { holder, until, op });
        Acquired::Waits(op)
    }

    /// One that waits asks again, perhaps over another connection: it keeps its place,
    /// under another number, by which alone it is told.
    fn wait_again(&mut self, place: u64, until: Option<Duration>, out: &mut Vec<Told>) -> Acquired {
        self.next_op += 1;
        let op = self.next_op;
        if let Some(waiting) = self.waiting.get_mut(&place) {
            out.push(Told::Nothing(std::mem::replace(&mut waiting.op, op)));
            let before = std::mem::replace(&mut waiting.until, until);
            if let Some(before) = before {
                self.due.remove(&(before, At::Waits(place)));
            }
            self.due.extend(until.map(|until| (until, At::Waits(place))));
        }
        Acquired::Waits(op)
    }

    /// Calls off what waits under this number. False if it does not: the holder has it,
    /// or has asked again.
    pub(crate) fn call_off(&mut self, holder: &Holder, op: Op) -> bool {
        let Some(At::Waits(place)) = self.by_holder.get(holder).copied() else { return false };
        let is = self.waiting.get(&place).is_some_and(|waiting| waiting.op == op);
        if is {
            self.stop_waiting(place);
        }
        is
    }

    /// Renews the grant of a holder. False if it has none any more.
    pub(crate) fn renew(&mut self, now: Duration, holder: &Holder) -> bool {
        let Some(At::Granted(token)) = self.by_holder.get(holder).copied() else { return false };
        let Some(grant) = self.grants.get_mut(&token) else { return false };
        if let Some(until) = &mut grant.until {
            self.due.remove(&(*until, At::Granted(token)));
            *until = now + TTL + SPARE;
            self.due.insert((*until, At::Granted(token)));
        }
        true
    }

    /// Renews the grants of a party by their tokens, and gives back those that it
    /// has no more.
    pub(crate) fn renew_tokens(
        &mut self,
        now: Duration,
        party: PartyId,
        tokens: &[u64],
    ) -> Vec<u64> {
        let mut lost = Vec::new();
        for token in tokens {
            let holder = self.grants.get(token).map(|grant| grant.holder);
            let own = holder.filter(|h| matches!(h, Holder::Remote(of, _) if *of == party));
            if !own.is_some_and(|holder| self.renew(now, &holder)) {
                lost.push(*token);
            }
        }
        lost
    }

    /// Gives back what a holder has, or calls off what it waits for. False if
    /// there is neither.
    pub(crate) fn release(&mut self, now: Duration, holder: &Holder, out: &mut Vec<Told>) -> bool {
        match self.by_holder.get(holder).copied() {
            Some(At::Granted(token)) => {
                self.end_grant(token);
                self.serve(now, out);
            }
            Some(At::Waits(place)) => {
                out.extend(self.stop_waiting(place).map(|waiting| Told::Nothing(waiting.op)));
            }
            None => return false,
        }
        true
    }

    /// Takes a grant back of which nobody has learned.
    pub(crate) fn release_token(&mut self, now: Duration, token: u64, out: &mut Vec<Told>) {
        self.end_grant(token);
        self.serve(now, out);
    }

    /// Closes the semaphore: nobody is granted anything any more, and what is
    /// granted is renewed no longer.
    pub(crate) fn close(&mut self, out: &mut Vec<Told>) -> bool {
        if std::mem::replace(&mut self.closed, true) {
            return false;
        }
        let places: Vec<_> = self.waiting.keys().copied().collect();
        for place in places {
            out.extend(self.stop_waiting(place).map(|waiting| Told::Closed(waiting.op)));
        }
        self.believed = self.believed();
        let tokens: Vec<_> = self.grants.keys().copied().collect();
        for token in tokens {
            self.end_grant(token);
        }
        true
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.quiet).min()
    }

    /// Ends what has lasted too long.
    pub(crate) fn tick(&mut self, now: Duration, out: &mut Vec<Told>) {
        self.quiet = self.quiet.filter(|until| now < *until);
        while let Some((at, what)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, what));
            match what {
                At::Granted(token) => {
                    self.end_grant(token);
                    out.push(Told::Count("grant-expired"));
                }
                At::Waits(place) => {
                    out.extend(self.stop_waiting(place).map(|waiting| Told::Nothing(waiting.op)));
                }
            }
        }
        self.serve(now, out);
    }

    /// Grants what is free, in the order of asking; one who has too many is passed
    /// over.
    fn serve(&mut self, now: Duration, out: &mut Vec<Told>) {
        let mut after = 0;
        while !self.closed && self.may_grant(now) {
            let next = self.waiting.range(after..).find(|(_, w)| self.may_hold(&w.holder));
            let Some((&place, _)) = next else { break };
            after = place + 1;
            let Some(waiting) = self.stop_waiting(place) else { break };
            let token = self.grant(now, waiting.holder);
            out.push(Told::Granted(waiting.op, token));
        }
    }

    fn may_grant(&self, now: Duration) -> bool {
        self.grants.len() < self.permits && self.quiet.is_none_or(|until| until <= now)
    }

    fn may_hold(&self, holder: &Holder) -> bool {
        let of_peer = holder.peer().and_then(|peer| self.of_peer.get(&peer)).map_or(0, |p| p.1);
        of_peer < GRANTS_OF_PEER
    }

    fn grant(&mut self, now: Duration, holder: Holder) -> u64 {
        self.token += 1;
        let until = holder.peer().map(|peer| {
            self.of_peer.entry(peer).or_default().1 += 1;
            now + TTL + SPARE
        });
        if let Some(until) = until {
            self.due.insert((until, At::Granted(self.token)));
        }
        self.by_holder.insert(holder, At::Granted(self.token));
        self.grants.insert(self.token, Grant { holder, until });
        self.token
    }

    fn end_grant(&mut self, token: u64) {
        let Some(Grant { holder, until }) = self.grants.remove(&token) else { return };
        self.by_holder.remove(&holder);
        if let Some(until) = until {
            self.due.remove(&(until, At::Granted(token)));
        }
        self.fewer(&holder, |(_, grants)| grants);
    }

    fn stop_waiting(&mut self, place: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&place)?;
        self.by_holder.remove(&waiting.holder);
        if let Some(until) = waiting.until {
            self.due.remove(&(until, At::Waits(place)));
        }
        self.remote -= usize::from(waiting.holder.peer().is_some());
        self.fewer(&waiting.holder, |(waiting, _)| waiting);
        Some(waiting)
    }

    fn fewer(&mut self, holder: &Holder, which: impl Fn(&mut (usize, usize)) -> &mut usize) {
        let Some(peer) = holder.peer() else { return };
        let Some(counts) = self.of_peer.get_mut(&peer) else { return };
        let count = which(counts);
        *count = count.saturating_sub(1);
        if *counts == (0, 0) {
            self.of_peer.remove(&peer);
        }
    }
}
