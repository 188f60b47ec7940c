//! The view of the overlay, as plain state: what a node remembers of its
//! peers, whom it asks next, what it tells them, and what it believes.
//!
//! Three parts keep it fresh, random and honest:
//! - **sampled** entries are chosen by the sampler: whoever pushes itself
//!   harder isn't chosen more often;
//! - **spare** entries are the latest callers, first in, first out, and, while
//!   there is room, everyone else who is known;
//! - the standby cache holds peers that failed to answer. It is never
//!   gossiped, and is what heals a partition.
//!
//! Everything here is a function of (state, input, random source); time is
//! counted in ticks, each one call of [`View::tick`]. The node keeps signed
//! records in it, the simulator a few bytes.

mod merge;
mod places;
mod sampler;
mod standby;
#[cfg(test)]
mod tests;

pub use merge::{Changes, Origin};
pub use standby::Standby;

use places::Places;
use rand::{Rng, RngExt, seq::IndexedRandom};
use sampler::Sampler;
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hash};

/// The hop at which a record that has no place in the view is forgotten.
const OLDEST_PASSING: u32 = 30;

/// One call in a tick, in the units in which calls are averaged.
const UNIT: u32 = 256;

/// The most calls in a tick that are counted.
const MOST: usize = 1 << 16;

/// Over how many ticks they are averaged.
const MEMORY: u32 = 16;

/// Rounds started for each call that is missing.
const BALANCE: u32 = 2;

/// The most peers that are remembered because discovery named them.
const MAX_ASKED: usize = 16;

/// What a view holds about one peer.
pub trait Record: Clone {
    /// Identifies the peer.
    type Id: Copy + Eq + Hash;

    /// The peer that the record is about.
    fn id(&self) -> Self::Id;

    /// The record's sequence number: of two records of a peer, the higher one
    /// counts.
    fn seq(&self) -> u64;

    /// The networks in which the peer says that it is. Of the peers of one
    /// network no more get into a view than of one peer that is alone in its
    /// own; who names several is taken for a peer of the one that is chosen
    /// least. None: the peer stands for itself.
    fn networks(&self) -> impl Iterator<Item = impl Hash> {
        std::iter::empty::<u64>()
    }

    /// Takes over what was found out of the peer beside what it says, from
    /// another record of it. Says whether that was something new.
    fn learn(&mut self, _other: &Self) -> bool {
        false
    }
}

/// A record, and the number of ticks and merges since its peer was known to
/// live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gossip<R> {
    /// The record.
    pub record: R,
    /// 0 only in the hands of the peer itself; grows by one with each tick and
    /// each hand it passes through.
    pub hop: u32,
}

/// The sizes and paces of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// The most records in the view, a place for the own one included: 8 to
    /// 224.
    pub max_view: usize,
    /// Rounds started in each tick; up to twice as many by a node that is called
    /// seldom.
    pub rounds: usize,
    /// Further peers in each tick that are only asked whether they live.
    pub probes: usize,
    /// The most peers in the standby cache.
    pub max_standby: usize,
    /// After how many ticks the sampler chooses anew in one of its slots.
    pub turn: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { max_view: 32, rounds: 2, probes: 4, max_standby: 64, turn: 8 }
    }
}

impl Params {
    /// Entries in the view, without the own one.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.max_view.clamp(8, 224) - 1
    }

    /// Entries told in a round, without the own one: as many as Go's nodes
    /// tell.
    #[inline]
    pub fn told(&self) -> usize {
        (self.max_view / 2).saturating_sub(1).clamp(1, self.capacity())
    }

    /// Entries that only the sampler chooses; the rest is for callers.
    #[inline]
    fn sampled(&self) -> usize {
        self.capacity() - (self.capacity() / 7).max(1)
    }
}

/// Whom to contact in this tick.
#[derive(Clone, Debug)]
pub struct Plan<R> {
    /// Peers to exchange records with.
    pub rounds: Vec<R>,
    /// Peers from the standby cache to exchange records with.
    pub retries: Vec<R>,
    /// Peers to reach, and no more.
    pub probes: Vec<R>,
}

impl<R> Plan<R> {
    /// Whether there is nobody to ask: time to ask discovery.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty() && self.retries.is_empty()
    }
}

/// The view of one node in one namespace.
///
/// `H` must be keyed with a secret of the node, as
/// [`RandomState`](std::hash::RandomState) is: what others can compute they can
/// choose their ids for.
///
/// A view of the default size lies in one piece of memory, but for what is
/// rarely needed: a simulator touches another view at each step.
#[derive(Clone, Debug)]
pub struct View<R: Record, H> {
    params: Params,
    own: R::Id,
    places: Places<R>,
    /// Who was met lately. Telling of them lets everybody hear of everybody,
    /// which the sampler needs.
    passing: SmallVec<[Gossip<R>; 32]>,
    /// Who called in this tick, and gets a place in the next one.
    waiting: SmallVec<[Gossip<R>; 6]>,
    /// Who was asked because discovery named it. As everybody may have started
    /// from the same few, these hold no slot that another could.
    asked: Vec<R::Id>,
    standby: Standby<R>,
    sampler: Sampler<R, H>,
    /// Who is to hold a slot, once it has been reached.
    rising: Option<Gossip<R>>,
    now: u32,
    /// How many pushed records may still be looked at in this tick.
    credit: usize,
    /// Rounds that others started with us in this tick and in the last one.
    callers: [usize; 2],
    /// Their moving average, in [`UNIT`]s.
    load: u32,
    /// Entries that failed in this tick and in the last one.
    lost: [usize; 2],
}

impl<R: Record, H: BuildHasher> View<R, H> {
    /// The empty view of this peer.
    pub fn new(own: R::Id, params: Params, hasher: H) -> Self {
        Self {
            params,
            own,
            places: Places::new(params.capacity(), params.sampled()),
            passing: SmallVec::with_capacity(params.max_view),
            waiting: SmallVec::new(),
            asked: Vec::new(),
            rising: None,
            standby: Standby::new(params.max_standby),
            sampler: Sampler::new(hasher, params.sampled(), params.turn),
            now: 0,
            credit: 0,
            callers: [0; 2],
            load: params.rounds.min(MOST) as u32 * UNIT,
            lost: [0; 2],
        }
    }

    /// The view's sizes and paces.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The number of peers in the view.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the view is empty.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The peers of the view.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Gossip<R>> {
        self.places.iter().map(|e| &e.gossip)
    }

    /// The peers that failed to answer.
    pub fn standby(&self) -> &Standby<R> {
        &self.standby
    }

    /// Whether a peer is in the view.
    pub fn contains(&self, id: R::Id) -> bool {
        self.position(id).is_some()
    }

    /// A tick has passed: everything is older. Says whom to contact.
    ///
    /// Rounds go to random peers. Probes go to those of whom no sign of life
    /// has come for longest, so that all are checked in turn, as the samples of
    /// Brahms are (Bortnikov et al. 2009): this is what purges the dead.
    pub fn tick(&mut self, rng: &mut impl Rng) -> Plan<R> {
        self.now = self.now.saturating_add(1);
        self.credit = 0;
        let calm = !self.flooded();
        let mut waiting = std::mem::take(&mut self.waiting);
        if calm || self.small() {
            for gossip in draw(&mut waiting, self.params.rounds, rng) {
                self.admit(gossip.clone(), true, rng);
            }
        } else {
            // What the callers before the flood was noticed have won is lost
            // again, and of those in it one is heard of like anybody else: all
            // may have been sent to the same node for want of another.
            if let Some(caller) = waiting.choose(rng) {
                self.pass(caller.clone(), rng);
                self.learn(caller.clone(), false, rng);
            }
            for gossip in self.sampler.successors(self.params.rounds, rng) {
                self.admit(gossip, true, rng);
            }
        }
        let called = self.callers[0].min(3 * self.params.rounds).min(MOST) as u32;
        self.load = (self.load * (MEMORY - 1) + called * UNIT) / MEMORY;
        self.callers = [0, self.callers[0]];
        self.lost = [0, self.lost[0]];
        for entry in self.places.iter_mut() {
            entry.gossip.hop = entry.gossip.hop.saturating_add(1);
        }
        self.passing.retain(|gossip| {
            gossip.hop = gossip.hop.saturating_add(1);
            gossip.hop <= OLDEST_PASSING
        });
        self.rising = self.sampler.tick().and_then(|(slot, next)| {
            let next = next.filter(|g| !self.contains(g.record.id()));
            self.choose(slot);
            next
        });

        let partners = self.partners(calm, rng);
        let record = |&i: &u8| self.places.get(i.into()).map(|e| e.gossip.record.clone());
        let rounds = partners.iter().filter_map(record).collect();
        // Deaths seldom come alone.
        let silent = self.silent(self.params.probes + 3 * self.lost[1], &partners);
        let rising = self.rising.iter().map(|g| g.record.clone());
        let probes = silent.iter().filter_map(record).chain(rising).collect();

        let split = self.lost[1] * 4 > self.places.len();
        let tries = if split || self.small() { 4 } else { 1 };
        let retries = self.standby.due(self.now, tries, self.places.is_empty(), rng);
        Plan { rounds, retries, probes }
    }

    /// With which entries to exchange records: random ones of those that the
    /// sampler chose, and others only if these are too few.
    fn partners(&self, calm: bool, rng: &mut impl Rng) -> Few {
        let pace = self.pace(calm, rng);
        let mut all = all(self.places.len());
        let (sampled, spare) = all.split_at_mut(self.places.held());
        let first = draw(sampled, pace, rng);
        let more = draw(spare, pace - first.len(), rng);
        first.iter().chain(more.iter()).copied().collect()
    }

    /// Of which entries no sign of life has come for longest, but for some.
    fn silent(&self, many: usize, but: &[u8]) -> Few {
        let ages = (0u8..).zip(self.places.iter()).filter(|(i, _)| !but.contains(i));
        // One number for each: its age, and its place if others are as old.
        let mut ages: SmallVec<[u64; 32]> =
            ages.map(|(i, e)| (!u64::from(e.gossip.hop) << 8) | u64::from(i)).collect();
        if many < ages.len() {
            ages.select_nth_unstable(many);
            ages.truncate(many);
        }
        ages.sort_unstable();
        ages.into_iter().map(|age| age as u8).collect()
    }

    /// What to tell in a round: random entries of the view, and random ones of
    /// what was heard lately. The own record, which comes last on the wire, is
    /// not among them.
    pub fn tell(&self, rng: &mut impl Rng) -> Vec<Gossip<R>> {
        let told = self.params.told();
        let passing = (told / 2).min(self.passing.len());
        let mut out = Vec::with_capacity(told);
        let mut view = all(self.places.len());
        let view = draw(&mut view, told - passing, rng);
        out.extend(view.iter().filter_map(|&i| Some(self.places.get(i.into())?.gossip.clone())));
        for &i in draw(&mut all(self.passing.len()), told, rng).iter() {
            let Some(gossip) = self.passing.get(usize::from(i)).filter(|_| out.len() < told) else {
                break;
            };
            let id = gossip.record.id();
            if out.iter().take(view.len()).all(|g: &Gossip<R>| g.record.id() != id) {
                out.push(gossip.clone());
            }
        }
        out
    }

    /// A peer was met: `note` takes down what was found out of it beside its record.
    pub fn met(&mut self, id: R::Id, note: impl Fn(&mut R)) {
        let (key, slot) = (self.sampler.key(id), self.slot(id));
        self.sampler.met(id, (key, slot), &note);
        if let Some(entry) = self.places.find(id, slot).peer.and_then(|at| self.places.get_mut(at))
        {
            note(&mut entry.gossip.record);
            entry.rank = self.sampler.rank(&entry.gossip.record, key, slot);
        }
    }

    /// A peer has shown that it lives.
    pub fn alive(&mut self, id: R::Id, rng: &mut impl Rng) {
        if let Some(entry) = self.position(id).and_then(|i| self.places.get_mut(i)) {
            entry.gossip.hop = entry.gossip.hop.min(1);
        } else if let Some(record) = self.standby.remove(id) {
            self.admit(Gossip { record, hop: 1 }, true, rng);
        } else if let Some(rising) = self.rising.take_if(|g| g.record.id() == id) {
            self.asked.retain(|&asked| asked != id);
            self.admit(Gossip { hop: 1, ..rising }, false, rng);
        }
    }

    /// A peer could not be reached: it leaves the view for the standby cache.
    pub fn failed(&mut self, id: R::Id, rng: &mut impl Rng) {
        self.sampler.forget(id, self.slot(id));
        self.passing.retain(|g| g.record.id() != id);
        self.waiting.retain(|g| g.record.id() != id);
        if let Some(at) = self.position(id) {
            let (entry, sampled) = self.places.remove(at);
            self.lost[0] += 1;
            self.standby.insert(entry.gossip.record, self.now, rng);
            if sampled {
                self.choose(entry.slot);
            }
        } else if let Some(rising) = self.rising.take_if(|g| g.record.id() == id) {
            self.standby.insert(rising.record, self.now, rng);
        } else {
            self.standby.failed(id, self.now, rng);
        }
    }

    /// Forgets everybody else, as if they had never been heard of.
    pub fn keep_only(&mut self, keep: impl Fn(R::Id) -> bool) {
        let kept = |gossip: &Gossip<R>| keep(gossip.record.id());
        self.passing.retain(|gossip| kept(gossip));
        self.waiting.retain(|gossip| kept(gossip));
        self.asked.retain(|id| keep(*id));
        self.rising.take_if(|gossip| !kept(gossip));
        self.standby.keep_only(&keep);
        self.sampler.keep_only(&keep);
        while let Some(at) = self.places.iter().position(|entry| !kept(&entry.gossip)) {
            let (entry, sampled) = self.places.remove(at);
            if sampled {
                self.choose(entry.slot);
            }
        }
    }

    /// Takes up records from before a restart. They count as old.
    ///
    /// If they fill half of the view, they keep their places until much has been
    /// heard: the first to tell of others may be liars.
    pub fn restore(
        &mut self,
        view: impl IntoIterator<Item = R>,
        standby: impl IntoIterator<Item = R>,
        rng: &mut impl Rng,
    ) {
        for record in view {
            if record.id() != self.own && !self.contains(record.id()) {
                self.admit(Gossip { record, hop: OLDEST_PASSING }, false, rng);
            }
        }
        if !self.small() {
            self.places.settle();
        }
        for record in standby {
            if record.id() != self.own && !self.contains(record.id()) {
                self.passing.retain(|g| g.record.id() != record.id());
                self.standby.insert(record, self.now, rng);
            }
        }
    }

    /// How many rounds to start. Who is called seldom calls more often, and so
    /// gets more of the places for callers: this evens out how many know a node.
    fn pace(&self, calm: bool, rng: &mut impl Rng) -> usize {
        let usual = self.usual();
        let missing = if calm { usual.saturating_sub(self.load) } else { 0 };
        let pace = usual + (missing * BALANCE).min(usual);
        ((pace + rng.random_range(0..UNIT)) / UNIT) as usize
    }

    /// Whether less than half of the view is filled.
    fn small(&self) -> bool {
        self.places.len() * 2 < self.params.capacity()
    }

    /// The load of a node that is called as often as it calls.
    fn usual(&self) -> u32 {
        self.params.rounds.min(MOST) as u32 * UNIT
    }

    /// The slot in which a peer competes.
    fn slot(&self, id: R::Id) -> u8 {
        self.sampler.slot(self.sampler.key(id))
    }

    fn position(&self, id: R::Id) -> Option<usize> {
        self.places.find(id, self.slot(id)).peer
    }

    /// Gives a slot to the one of its entries that the sampler ranks first.
    fn choose(&mut self, slot: u8) {
        let rank = |record: &R| self.sampler.rank(record, self.sampler.key(record.id()), slot);
        self.places.choose(slot, &self.asked, rank);
    }
}

/// Places in a list of at most 224.
type Few = SmallVec<[u8; 32]>;

/// As many places as a list may have.
const ALL: [u8; 224] = {
    let mut all = [0; 224];
    let mut i = 0;
    while i < all.len() {
        all[i] = i as u8;
        i += 1;
    }
    all
};

/// All places of a list of this length.
fn all(len: usize) -> Few {
    Few::from_slice(ALL.get(..len).unwrap_or(&ALL))
}

/// Moves random items to the front, which is given back. Of a list of at most
/// 224, each is chosen with the same chance but for a part in 292.
fn draw<'a, T>(items: &'a mut [T], amount: usize, rng: &mut impl Rng) -> &'a mut [T] {
    let amount = amount.min(items.len());
    let mut bits = 0;
    for at in 0..amount {
        // A quarter of a random number is enough for each.
        bits = if at % 4 == 0 { rng.next_u64() } else { bits >> 16 };
        let left = (items.len() - at) as u64;
        items.swap(at, at + (((bits & 0xffff) * left) >> 16) as usize);
    }
    &mut items[..amount]
}

/// Of two records of a peer the one with the higher sequence number counts,
/// then the lower hop; what was found out of the peer stays. Says whether the
/// record is another one now.
fn newer<R: Record>(known: &mut Gossip<R>, heard: Gossip<R>) -> bool {
    if heard.record.seq() > known.record.seq() {
        let before = std::mem::replace(known, heard);
        known.record.learn(&before.record);
        return true;
    }
    if heard.record.seq() == known.record.seq() {
        known.hop = known.hop.min(heard.hop);
    }
    known.record.learn(&heard.record)
}
