//! What the owner knows of the parties elsewhere: what each holds, and what it
//! was answered, for as long as it may ask again.

use super::{Limits, Op, REMEMBER, Sent, Way};
use libp2p::PeerId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// A party: a node, and a random number for each time that it starts to use the
/// channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartyId {
    pub(crate) peer: PeerId,
    pub(crate) number: u64,
}

/// A connection of a party.
pub(crate) type Conn = u64;

/// Outcomes of each kind that are kept of a party: more than it may have under
/// way.
const OUTCOMES: usize = 4096;
/// For how long a peer gets nothing that has let a value expire, doubled each
/// time.
const REFUSED: Duration = Duration::from_secs(1);
const REFUSED_MOST: Duration = Duration::from_secs(60);

/// What waits with a connection, or is held over it.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) sends: BTreeSet<Op>,
    pub(super) receives: BTreeSet<Op>,
    pub(super) leases: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Party {
    conn: Option<Conn>,
    left: Duration,
    /// Numbers below this are of the past.
    floor: u64,
    waiting: BTreeMap<u64, Op>,
    /// How sends ended, by their numbers.
    sent: BTreeMap<u64, Sent>,
    /// Leases that were confirmed.
    confirmed: BTreeSet<u64>,
}

/// What all parties of a peer have: it could come as any number of them.
#[derive(Debug, Default)]
struct Peer {
    parties: usize,
    /// Sends that wait, with their bytes, and receives.
    sends: usize,
    bytes: usize,
    receives: usize,
    leases: usize,
    takes: usize,
    /// Bytes of what it has taken.
    taken: usize,
    /// Values that it has let expire one after the other.
    expired: u32,
    refused_until: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Parties {
    parties: HashMap<PartyId, Party>,
    conns: HashMap<Conn, (PartyId, Held)>,
    /// Those without a connection, by when it went.
    absent: BTreeSet<(Duration, PartyId)>,
    peers: HashMap<PeerId, Peer>,
    /// What waits of all of them, and the bytes of what they have taken.
    sends: usize,
    receives: usize,
    taken: usize,
    next: Conn,
}

impl Parties {
    /// The connection of a party.
    pub(super) fn current(&self, id: &PartyId) -> Option<Conn> {
        self.parties.get(id).and_then(|party| party.conn)
    }

    /// Whether a party is remembered.
    pub(super) fn knows(&self, id: &PartyId) -> bool {
        self.parties.contains_key(id)
    }

    /// A party comes, or comes back; it has no other connection. None if there are
    /// too many parties.
    pub(super) fn join(&mut self, id: PartyId, limits: &Limits) -> Option<Conn> {
        if !self.parties.contains_key(&id) {
            let of_peer = self.peers.get(&id.peer).map_or(0, |peer| peer.parties);
            if of_peer >= limits.parties_of_peer {
                let own = self.absent.iter().find(|(_, absent)| absent.peer == id.peer).copied()?;
                self.forget_one(own);
            } else if self.parties.len() >= limits.parties {
                let oldest = self.absent.first().copied()?;
                self.forget_one(oldest);
            }
            self.peers.entry(id.peer).or_default().parties += 1;
        }
        let party = self.parties.entry(id).or_default();
        self.absent.remove(&(party.left, id));
        self.next += 1;
        party.conn = Some(self.next);
        self.conns.insert(self.next, (id, Held::default()));
        Some(self.next)
    }

    /// What a connection holds that is about to end.
    pub(super) fn held(&mut self, conn: Conn) -> Option<Held> {
        let (_, held) = self.conns.get_mut(&conn)?;
        let Held { sends, receives, leases } = held;
        Some(Held { sends: sends.clone(), receives: receives.clone(), leases: leases.clone() })
    }

    /// A connection that holds nothing ends.
    pub(super) fn leave(&mut self, now: Duration, conn: Conn) {
        let Some((id, _)) = self.conns.remove(&conn) else { return };
        if let Some(party) = self.parties.get_mut(&id) {
            party.conn = None;
            party.left = now;
            self.absent.insert((now, id));
        }
    }

    pub(super) fn of(&self, conn: Conn) -> Option<PartyId> {
        self.conns.get(&conn).map(|(id, _)| *id)
    }

    pub(super) fn same(&self, a: Conn, b: Conn) -> bool {
        self.of(a).is_some_and(|a| Some(a) == self.of(b))
    }

    fn party(&mut self, conn: Conn) -> Option<&mut Party> {
        let (id, _) = self.conns.get(&conn)?;
        self.parties.get_mut(id)
    }

    fn both(&mut self, conn: Conn) -> Option<(&mut Party, &mut Held)> {
        let (id, held) = self.conns.get_mut(&conn)?;
        Some((self.parties.get_mut(id)?, held))
    }

    /// What is known of a number: how it ended, or that it waits.
    pub(super) fn known(
        &mut self,
        conn: Conn,
        number: u64,
        settled: u64,
    ) -> Result<Option<Op>, Sent> {
        let Some(party) = self.party(conn) else { return Err(Sent::Stale) };
        if settled > party.floor {
            party.floor = settled;
            party.sent = party.sent.split_off(&settled);
        }
        match party.sent.get(&number) {
            _ if number < party.floor => Err(Sent::Stale),
            Some(outcome) => Err(*outcome),
            None => Ok(party.waiting.get(&number).copied()),
        }
    }

    pub(super) fn note_sent(&mut self, conn: Conn, number: u64, how: Sent) {
        let Some(party) = self.party(conn) else { return };
        party.sent.insert(number, how);
        if party.sent.len() > OUTCOMES {
            party.sent.pop_first();
        }
    }

    /// Whether a party may have one more send waiting, where so many bytes wait. A
    /// peer has as much as is left for all others, at most.
    pub(super) fn may_wait(
        &self,
        conn: Conn,
        size: usize,
        waiting_bytes: usize,
        limits: &Limits,
    ) -> bool {
        let Some(peer) = self.peer(conn) else { return false };
        let left = limits.waiting.saturating_sub(self.sends);
        let bytes_left = limits.waiting_bytes.saturating_sub(waiting_bytes);
        let bytes = peer.bytes.saturating_add(size);
        let fits = bytes <= limits.bytes_of_peer || peer.sends == 0;
        peer.sends < limits.waiting_of_peer.min(left) && fits && bytes <= bytes_left
    }

    /// Sends of parties that wait.
    pub(super) fn waiting_sends(&self) -> usize {
        self.sends
    }

    /// Receives of parties that wait.
    pub(super) fn waiting_receives(&self) -> usize {
        self.receives
    }

    pub(super) fn waits(&mut self, conn: Conn, op: Op, number: u64, size: usize) {
        let Some((party, held)) = self.both(conn) else { return };
        party.waiting.insert(number, op);
        held.sends.insert(op);
        self.sends += 1;
        if let Some(peer) = self.peer_mut(conn) {
            peer.sends += 1;
            peer.bytes += size;
        }
    }

    pub(super) fn not_waiting(&mut self, conn: Conn, op: Op, number: u64, size: usize) {
        let Some((party, held)) = self.both(conn) else { return };
        if !held.sends.remove(&op) {
            return;
        }
        if party.waiting.get(&number) == Some(&op) {
            party.waiting.remove(&number);
        }
        self.sends -= 1;
        if let Some(peer) = self.peer_mut(conn) {
            peer.sends = peer.sends.saturating_sub(1);
            peer.bytes = peer.bytes.saturating_sub(size);
        }
    }

    /// Whether a party may wait for a value.
    pub(super) fn may_receive(&self, now: Duration, conn: Conn, way: Way, limits: &Limits) -> bool {
        let Some(peer) = self.peer(conn) else { return false };
        let left = limits.waiting.saturating_sub(self.receives);
        peer.receives < limits.waiting_of_peer.min(left)
            && now >= peer.refused_until
            && (way != Way::Take || peer.takes < limits.takes_of_peer)
    }

    fn peer(&self, conn: Conn) -> Option<&Peer> {
        self.peers.get(&self.of(conn)?.peer)
    }

    /// Whether a peer may be handed one more. Of what may be taken a peer has as
    /// much as is left for all others, at most.
    pub(super) fn may_hold(&self, peer: &PeerId, way: Way, limits: &Limits) -> bool {
        let Some(peer) = self.peers.get(peer) else { return false };
        match way {
            Way::Take => {
                let has_share = peer.taken < limits.bytes.saturating_sub(self.taken);
                let first = peer.takes == 0 && self.taken < limits.bytes;
                peer.takes < limits.takes_of_peer && (has_share || first)
            }
            _ => peer.leases < limits.leases_of_peer,
        }
    }

    pub(super) fn receives(&mut self, conn: Conn, op: Op) {
        let Some((id, held)) = self.conns.get_mut(&conn) else { return };
        if held.receives.insert(op) {
            self.peers.entry(id.peer).or_default().receives += 1;
            self.receives += 1;
        }
    }

    pub(super) fn not_receiving(&mut self, conn: Conn, op: Op) {
        let Some((id, held)) = self.conns.get_mut(&conn) else { return };
        if held.receives.remove(&op) {
            let peer = self.peers.entry(id.peer).or_default();
            peer.receives = peer.receives.saturating_sub(1);
            self.receives -= 1;
        }
    }

    pub(super) fn holds(&mut self, conn: Conn, lease: u64, way: Way, size: usize) {
        let Some((id, held)) = self.conns.get_mut(&conn) else { return };
        held.leases.insert(lease);
        let peer = self.peers.entry(id.peer).or_default();
        if way == Way::Take {
            peer.takes += 1;
            peer.taken += size;
            self.taken += size;
        } else {
            peer.leases += 1;
        }
    }

    pub(super) fn holds_no_more(&mut self, conn: Conn, lease: u64, way: Way, size: usize) {
        let Some((id, held)) = self.conns.get_mut(&conn) else { return };
        held.leases.remove(&lease);
        let Some(peer) = self.peers.get_mut(&id.peer) else { return };
        if way == Way::Take {
            peer.takes = peer.takes.saturating_sub(1);
            peer.taken = peer.taken.saturating_sub(size);
            self.taken = self.taken.saturating_sub(size);
        } else {
            peer.leases = peer.leases.saturating_sub(1);
        }
    }

    fn peer_mut(&mut self, conn: Conn) -> Option<&mut Peer> {
        self.peers.get_mut(&self.conns.get(&conn)?.0.peer)
    }

    pub(super) fn note_confirmed(&mut self, conn: Conn, lease: u64) {
        if let Some(peer) = self.peer_mut(conn) {
            peer.expired = 0;
        }
        let Some(party) = self.party(conn) else { return };
        party.confirmed.insert(lease);
        if party.confirmed.len() > OUTCOMES {
            party.confirmed.pop_first();
        }
    }

    pub(super) fn was_confirmed(&mut self, conn: Conn, lease: u64) -> bool {
        self.party(conn).is_some_and(|party| party.confirmed.contains(&lease))
    }

    pub(super) fn settle_leases(&mut self, conn: Conn, settled: u64) {
        if let Some(party) = self.party(conn) {
            // `split_off` costs even where nothing is to be forgotten.
            while party.confirmed.first().is_some_and(|lease| *lease < settled) {
                party.confirmed.pop_first();
            }
        }
    }

    /// A peer has let a value expire: it may do so ever less often, under whatever
    /// numbers it comes.
    pub(super) fn let_expire(&mut self, now: Duration, conn: Conn) {
        let Some(peer) = self.peer_mut(conn) else { return };
        let long = REFUSED.saturating_mul(1 << peer.expired.min(6)).min(REFUSED_MOST);
        peer.refused_until = now + long;
        peer.expired = peer.expired.saturating_add(1);
    }

    /// When something is to be forgotten.
    pub(super) fn next(&self) -> Option<Duration> {
        self.absent.first().map(|(left, _)| *left + REMEMBER)
    }

    /// Forgets the parties that have been away for long.
    pub(super) fn forget(&mut self, now: Duration) {
        while let Some(first) = self.absent.first().copied().filter(|f| f.0 + REMEMBER <= now) {
            self.forget_one(first);
        }
    }

    fn forget_one(&mut self, absent: (Duration, PartyId)) {
        self.absent.remove(&absent);
        self.parties.remove(&absent.1);
        if let Some(peer) = self.peers.get_mut(&absent.1.peer) {
            peer.parties -= 1;
            if peer.parties == 0 {
                self.peers.remove(&absent.1.peer);
            }
        }
    }

    /// What is remembered is within the limits, and there for a reason.
    pub(super) fn check(&self, limits: &Limits) {
        assert!(self.parties.len() <= limits.parties);
        let each = 1..=limits.parties_of_peer;
        assert!(self.peers.values().all(|peer| each.contains(&peer.parties)));
        assert_eq!(self.peers.values().map(|peer| peer.parties).sum::<usize>(), self.parties.len());
        assert_eq!(self.peers.values().map(|peer| peer.taken).sum::<usize>(), self.taken);
        assert!(self.taken <= limits.bytes + 256);
        for (id, peer) in &self.peers {
            let of = self.conns.values().filter(|(of, _)| of.peer == *id);
            let sum = |count: fn(&Held) -> usize| of.clone().map(|(_, held)| count(held)).sum();
            let counted = [peer.leases + peer.takes, peer.sends, peer.receives];
            let held: [usize; 3] =
                [sum(|h| h.leases.len()), sum(|h| h.sends.len()), sum(|h| h.receives.len())];
            assert_eq!(held, counted);
            assert!(peer.sends.max(peer.receives) <= limits.waiting_of_peer);
            assert!(peer.leases <= limits.leases_of_peer && peer.takes <= limits.takes_of_peer);
        }
        assert_eq!(self.absent.len() + self.conns.len(), self.parties.len());
        assert_eq!(self.peers.values().map(|peer| peer.sends).sum::<usize>(), self.sends);
        assert_eq!(self.peers.values().map(|peer| peer.receives).sum::<usize>(), self.receives);
        assert!(self.sends.max(self.receives) <= limits.waiting);
        for (id, held) in self.conns.values() {
            let party = &self.parties[id];
            assert_eq!(held.sends.len(), party.waiting.len());
            assert!(party.sent.len() <= OUTCOMES && party.confirmed.len() <= OUTCOMES);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parties.len()
    }
}
