//! Who may hold a connection: a state machine that takes times as arguments and
//! does no I/O. `behaviour` is the part in the swarm, `protect` says who is not
//! replaced, `pending` who may begin to connect.
//!
//! A part of all connections is kept for those that this node makes, so that
//! nobody who connects to it can keep it from connecting to others; and as many
//! for those that others make, so that nothing that makes this node dial can
//! keep others from it. Below half
//! of the others' part anybody gets in; above it, no network ([`Prefix`]) gets
//! more than an eighth. When it is full, a newcomer replaces somebody: of those
//! that are not protected for one of several merits, which nobody can gain all
//! at once, the youngest of the network that holds most (as Bitcoin Core's
//! `SelectNodeToEvict`). For whom there is no place there are guest slots:
//! long enough for one exchange of peers, so that a newcomer at a full node
//! learns of others and goes on.

mod behaviour;
mod pending;
mod protect;
#[cfg(test)]
mod tests;

pub(super) use behaviour::{Behaviour, Room, Tally};

pub use crate::prefix::Prefix;

use crate::cache::cache;
use libp2p::PeerId;
use lru::LruCache;
use pending::Pending;
use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
    num::NonZeroUsize,
    time::Duration,
};

/// How long a guest may stay, and how long whoever has a place is not replaced
/// by one of a network that holds as much: an exchange of peers takes less.
pub const STAY: Duration = Duration::from_secs(5);
/// How long a guest stays at least, when others want its slot.
pub const HURRY: Duration = Duration::from_secs(1);
/// How long a guest stays when an exchange of peers is over: what was written
/// has to arrive.
pub const AFTERWARDS: Duration = Duration::from_millis(500);
/// How long a network waits for its next turn as a guest, when others want in:
/// who comes more often must not have more of the slots.
const TURN: Duration = Duration::from_secs(60);
/// Networks whose turns are remembered: the last.
const MAX_TURNS: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
/// When what a peer has brought counts half.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// How many of each there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Connections of both directions, without guests.
    pub connections: usize,
    /// Of these, what is kept for connections that this node makes, and as many
    /// for those that others make: a quarter, 128 at most.
    pub reserved: usize,
    /// Connections with one peer.
    pub per_peer: usize,
    /// Connections that are being set up, in each direction.
    pub pending: usize,
    /// Guests, beyond the connections: a twelfth of those that others may make,
    /// 32 at most.
    pub guests: usize,
}

impl Sizes {
    /// The sizes that follow from the limits of a configuration.
    pub fn new(connections: u32, per_peer: u32, pending: u32) -> Self {
        let connections = connections as usize;
        let reserved = (connections / 4).max(usize::from(connections > 1)).min(128);
        Self {
            connections,
            reserved,
            per_peer: per_peer as usize,
            pending: pending as usize,
            guests: ((connections - reserved) / 12).clamp(1, 32),
        }
    }

    /// The connections that others may make.
    pub fn inbound(&self) -> usize {
        self.connections - self.reserved
    }

    /// The connections that this node may make.
    pub fn outbound(&self) -> usize {
        self.connections - self.reserved
    }

    /// What one network may hold of those when half of them are taken.
    pub fn share(&self) -> usize {
        (self.inbound() / 8).max(1)
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Too many are being set up.
    #[error("too many connections are being set up")]
    Pending,
    /// Too many of the network are being set up.
    #[error("too many connections of this network are being set up")]
    PendingShare,
    /// The peer has enough.
    #[error("the peer has as many connections as one may have")]
    PerPeer,
    /// No place, and the guest slots are taken.
    #[error("all connections are taken")]
    Full,
    /// The network has its share, and its share of the guest slots.
    #[error("this network has its share of the connections")]
    Share,
}

impl Refusal {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::PendingShare => "pending-share",
            Self::PerPeer => "per-peer",
            Self::Full => "full",
            Self::Share => "share",
        }
    }
}

/// How a newcomer gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted<Id> {
    /// Whether as a guest.
    pub guest: bool,
    /// The connection to close for it.
    pub instead: Option<Id>,
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Made by others.
    pub inbound: usize,
    /// Made by this node.
    pub outbound: usize,
    /// Made by others, for a moment.
    pub guests: usize,
    /// Told to close, and not closed yet.
    pub closing: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inbound,
    Outbound,
    /// Until then.
    Guest(Duration),
    Closing,
}

/// One connection.
#[derive(Clone, Debug)]
struct Slot {
    peer: PeerId,
    prefix: Prefix,
    kind: Kind,
    since: Duration,
    rtt: Option<Duration>,
    /// Gossip messages that its peer brought first, those of long ago counting
    /// less.
    brought: u32,
}

/// All connections of a node, by ids that grow. Times are since it was made.
#[derive(Debug)]
pub struct Slots<Id, S> {
    sizes: Sizes,
    slots: BTreeMap<Id, Slot>,
    by_peer: HashMap<PeerId, Vec<Id>>,
    incoming: Pending<Id>,
    outgoing: Pending<Id>,
    halved: Duration,
    /// When networks were guests last.
    turns: LruCache<Prefix, Duration>,
    /// Its key is secret: nobody can choose a network that is protected.
    hasher: S,
}

impl<Id: Copy + Ord, S: BuildHasher> Slots<Id, S> {
    /// No connections.
    pub fn new(sizes: Sizes, hasher: S) -> Self {
        Self {
            sizes,
            slots: BTreeMap::new(),
            by_peer: HashMap::new(),
            incoming: Pending::new(sizes.pending),
            outgoing: Pending::new(sizes.pending),
            halved: Duration::ZERO,
            turns: cache(MAX_TURNS),
            hasher,
        }
    }

    /// Somebody begins to connect.
    ///
    /// # Errors
    /// Why it may not.
    pub fn incoming(&mut self, id: Id, prefix: Prefix) -> Result<(), Refusal> {
        self.incoming.begin(id, Some(prefix))
    }

    /// This node begins to connect to somebody.
    ///
    /// # Errors
    /// Why it may not.
    pub fn outgoing(&mut self, id: Id) -> Result<(), Refusal> {
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        self.outgoing.begin(id, None)
    }

    /// How many more connections this node can make.
    pub fn room(&self) -> usize {
        let Taken { inbound, outbound, .. } = self.taken();
        let left = self.sizes.connections.saturating_sub(inbound + outbound);
        left.min(self.sizes.outbound().saturating_sub(outbound))
    }

    /// How many there are.
    pub fn taken(&self) -> Taken {
        let mut taken = Taken::default();
        for slot in self.slots.values() {
            *match slot.kind {
                Kind::Inbound => &mut taken.inbound,
                Kind::Outbound => &mut taken.outbound,
                Kind::Guest(_) => &mut taken.guests,
                Kind::Closing => &mut taken.closing,
            } += 1;
        }
        taken
    }

    /// Whether a newcomer has to replace somebody.
    pub fn is_full(&self) -> bool {
        let taken = self.taken();
        taken.inbound >= self.most(&taken)
    }

    /// The connections that others have made, and with whom.
    pub fn held_by_others(&self) -> Vec<(Id, PeerId)> {
        let inbound = self.slots.iter().filter(|(_, slot)| slot.kind == Kind::Inbound);
        inbound.map(|(id, slot)| (*id, slot.peer)).collect()
    }

    /// What others may hold now.
    fn most(&self, taken: &Taken) -> usize {
        self.sizes.connections.saturating_sub(self.sizes.reserved.max(taken.outbound))
    }

    /// This node has connected to a peer.
    ///
    /// # Errors
    /// Why it may not be.
    pub fn outbound(&mut self, id: Id, peer: PeerId, now: Duration) -> Result<(), Refusal> {
        self.over(id);
        if self.held(&peer).count() >= self.sizes.per_peer {
            return Err(Refusal::PerPeer);
        }
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        // Never replaced: its network doesn't matter.
        let prefix = Prefix::of(&libp2p::Multiaddr::empty());
        self.put(id, peer, prefix, Kind::Outbound, now);
        Ok(())
    }

    /// A peer has connected to this node.
    ///
    /// # Errors
    /// Why it may not be.
    pub fn inbound(
        &mut self,
        id: Id,
        peer: PeerId,
        prefix: Prefix,
        now: Duration,
    ) -> Result<Admitted<Id>, Refusal> {
        self.over(id);
        self.halve(now);
        if self.held(&peer).count() >= self.sizes.per_peer {
            return Err(Refusal::PerPeer);
        }
        let taken = self.taken();
        let most = self.most(&taken);
        let held = self.count(prefix, |kind| kind == Kind::Inbound);
        let crowded = taken.inbound >= self.sizes.inbound() / 2;
        let share = !crowded || held < self.sizes.share();
        let instead = match () {
            () if share && taken.inbound < most => None,
            () => {
                let found = self.own(&peer, |kind| kind == Kind::Inbound).or_else(|| {
                    let may = share && taken.closing < self.sizes.guests;
                    may.then(|| self.replaceable(prefix, held, now)).flatten()
                });
                if found.is_none() {
                    return self.guest(id, peer, prefix, taken, share, now);
                }
                found
            }
        };
        if let Some(victim) = instead {
            self.close(victim);
        }
        self.put(id, peer, prefix, Kind::Inbound, now);
        Ok(Admitted { guest: false, instead })
    }

    /// Whom a newcomer replaces, of whose network so many are here: the
    /// youngest of the network that holds most. A network doesn't push out one
    /// that holds less than it would hold itself; one that holds as much only
    /// after it had its time.
    fn replaceable(&self, prefix: Prefix, held: usize, now: Duration) -> Option<Id> {
        let inbound: Vec<(&Id, &Slot)> =
            self.slots.iter().filter(|(_, slot)| slot.kind == Kind::Inbound).collect();
        let mut held_by: BTreeMap<Prefix, usize> = BTreeMap::new();
        inbound.iter().for_each(|(_, slot)| *held_by.entry(slot.prefix).or_default() += 1);
        let most = |(id, slot): &(&Id, &Slot)| (held_by[&slot.prefix], **id);
        let rest = protect::unprotected(inbound, &self.sizes, &self.hasher);
        let (&youngest, slot) = rest.into_iter().max_by_key(most)?;
        let (network, n) = (slot.prefix, held_by[&slot.prefix]);
        let settled = now.saturating_sub(slot.since) >= STAY;
        let may = if network == prefix || n == held + 1 { settled } else { n > held + 1 };
        may.then_some(youngest)
    }

    fn guest(
        &mut self,
        id: Id,
        peer: PeerId,
        prefix: Prefix,
        taken: Taken,
        share: bool,
        now: Duration,
    ) -> Result<Admitted<Id>, Refusal> {
        let is_guest = |kind| matches!(kind, Kind::Guest(_));
        let (size, held) = (self.sizes.guests, self.count(prefix, is_guest));
        let refusal = if share { Refusal::Full } else { Refusal::Share };
        let instead = if let Some(own) = self.own(&peer, is_guest) {
            Some(own)
        } else if taken.guests >= (size / 2).max(1) && held >= (size / 8).max(1) {
            return Err(refusal);
        } else if taken.guests < size {
            None
        } else {
            let mut networks: BTreeMap<Prefix, (usize, Id)> = BTreeMap::new();
            let guests = self.slots.iter().filter(|(_, slot)| is_guest(slot.kind));
            guests.for_each(|(id, slot)| networks.entry(slot.prefix).or_insert((0, *id)).0 += 1);
            let most = networks.into_values().max_by_key(|(n, _)| *n);
            let most = most.filter(|(n, _)| *n > held + 1).map(|(_, oldest)| oldest);
            let waited = |(_, slot): &(&Id, &Slot)| {
                is_guest(slot.kind) && now.saturating_sub(slot.since) >= HURRY
            };
            let fresh =
                self.turns.peek(&prefix).is_none_or(|last| now.saturating_sub(*last) >= TURN);
            let instead = most.or_else(|| {
                let all = || self.slots.iter().find(waited).map(|(id, _)| *id);
                fresh.then(all).flatten()
            });
            Some(instead.filter(|_| taken.closing < size).ok_or(refusal)?)
        };
        if let Some(victim) = instead {
            self.close(victim);
        }
        self.turns.put(prefix, now);
        self.put(id, peer, prefix, Kind::Guest(now + STAY), now);
        Ok(Admitted { guest: true, instead })
    }

    /// Nothing comes of a connection that was being set up or had just been
    /// admitted, or it has closed.
    pub fn closed(&mut self, id: Id) {
        self.over(id);
        if let Some(slot) = self.slots.remove(&id)
            && let Some(ids) = self.by_peer.get_mut(&slot.peer)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_peer.remove(&slot.peer);
            }
        }
    }

    /// A connection has answered a ping.
    pub fn answered(&mut self, id: Id, rtt: Duration) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.rtt = Some(rtt);
        }
    }

    /// A peer was the first to bring a gossip message that was good.
    pub fn brought(&mut self, peer: &PeerId, now: Duration) {
        self.halve(now);
        for id in self.by_peer.get(peer).into_iter().flatten() {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.brought = slot.brought.saturating_add(1);
            }
        }
    }

    /// An exchange of peers with a peer is over: if it is a guest, it may go.
    pub fn exchanged(&mut self, peer: &PeerId, now: Duration) {
        for id in self.by_peer.get(peer).into_iter().flatten() {
            if let Some(Slot { kind: Kind::Guest(until), .. }) = self.slots.get_mut(id) {
                *until = (*until).min(now + AFTERWARDS);
            }
        }
    }

    /// When guests have to go next.
    pub fn next_due(&self) -> Option<Duration> {
        let until = |slot: &Slot| match slot.kind {
            Kind::Guest(until) => Some(until),
            _ => None,
        };
        self.slots.values().filter_map(until).min()
    }

    /// The guests that have to close now. For whom there is a place by now, it
    /// stays.
    pub fn due(&mut self, now: Duration) -> Vec<Id> {
        let is_due = |slot: &Slot| matches!(slot.kind, Kind::Guest(until) if until <= now);
        let mut due: Vec<Id> =
            self.slots.iter().filter(|(_, slot)| is_due(slot)).map(|(id, _)| *id).collect();
        due.retain(|id| {
            let prefix = self.slots[id].prefix;
            let taken = self.taken();
            let held = self.count(prefix, |kind| kind == Kind::Inbound);
            let crowded = taken.inbound >= self.sizes.inbound() / 2;
            let stays =
                taken.inbound < self.most(&taken) && (!crowded || held < self.sizes.share());
            if let Some(slot) = self.slots.get_mut(id) {
                slot.kind = if stays { Kind::Inbound } else { Kind::Closing };
            }
            !stays
        });
        due
    }

    /// Has what was brought long ago count less.
    fn halve(&mut self, now: Duration) {
        while now.saturating_sub(self.halved) >= HALF_LIFE {
            self.halved += HALF_LIFE;
            self.slots.values_mut().for_each(|slot| slot.brought /= 2);
        }
    }

    /// The peer of a connection.
    pub fn peer(&self, id: Id) -> Option<PeerId> {
        self.slots.get(&id).map(|slot| slot.peer)
    }

    fn over(&mut self, id: Id) {
        self.incoming.end(id);
        self.outgoing.end(id);
    }

    fn put(&mut self, id: Id, peer: PeerId, prefix: Prefix, kind: Kind, since: Duration) {
        let slot = Slot { peer, prefix, kind, since, rtt: None, brought: 0 };
        self.slots.insert(id, slot);
        self.by_peer.entry(peer).or_default().push(id);
    }

    fn close(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.kind = Kind::Closing;
        }
    }

    /// A peer's connections that are not told to close.
    fn held(&self, peer: &PeerId) -> impl Iterator<Item = Id> {
        let ids = self.by_peer.get(peer).into_iter().flatten().copied();
        ids.filter(|id| self.slots.get(id).is_some_and(|slot| slot.kind != Kind::Closing))
    }

    /// A peer's oldest connection of a kind.
    fn own(&self, peer: &PeerId, kind: impl Fn(Kind) -> bool) -> Option<Id> {
        self.held(peer).filter(|id| self.slots.get(id).is_some_and(|slot| kind(slot.kind))).min()
    }

    fn count(&self, prefix: Prefix, kind: impl Fn(Kind) -> bool) -> usize {
        self.slots.values().filter(|slot| slot.prefix == prefix && kind(slot.kind)).count()
    }
}
