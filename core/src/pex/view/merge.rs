//! What a view believes of what it is told.

use super::{
    Gossip, MAX_ASKED, OLDEST_PASSING, Record, View, draw, newer,
    places::{Entry, standing},
};
use rand::{Rng, RngExt};
use std::hash::BuildHasher;

/// How records came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a peer of the view or of the standby cache, which we asked.
    Pulled,
    /// From a peer that discovery found, which we asked.
    Boot,
    /// From a peer that asked us.
    Pushed,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Records that weren't looked at, because more was pushed than pulled.
    pub over_limit: usize,
    /// Records of peers that failed and have given no sign of life since.
    pub stale: usize,
}

impl<R: Record, H: BuildHasher> View<R, H> {
    /// Takes up what a peer told: its own record (hop 0), and what it knows.
    ///
    /// Pushed records are looked at only while they are no more than half
    /// of those pulled in the same tick, and no more than three times the usual number
    /// of peers call: under a flood nothing that is pushed counts (as in
    /// Brahms).
    pub fn merge(
        &mut self,
        origin: Origin,
        sender: R,
        mut told: Vec<Gossip<R>>,
        rng: &mut impl Rng,
    ) -> Changes {
        let mut changes = Changes::default();
        told.truncate(self.params.max_view);
        if origin == Origin::Pushed {
            self.callers[0] = self.callers[0].saturating_add(1);
            let look = if self.flooded() { 0 } else { told.len().min(self.credit) };
            self.credit -= look;
            changes.over_limit = told.len() - look;
            if look < told.len() {
                draw(&mut told, look, rng);
                told.truncate(look);
            }
        } else {
            self.credit += told.len() / 2;
        }
        for gossip in told {
            self.hear(gossip, false, &mut changes, rng);
        }
        let known = self.contains(sender.id());
        let own = Gossip { record: sender, hop: 0 };
        match origin {
            Origin::Pushed if !known => self.called(own, rng),
            Origin::Boot if !known && self.places.len() >= 8 => self.asked(own.record.id()),
            _ => {
                self.pass(Gossip { hop: 1, ..own.clone() }, rng);
                self.hear(own, true, &mut changes, rng);
            }
        }
        changes
    }

    /// A peer that isn't in the view has called. Whether it gets a place is
    /// seen at the next tick, when it is known how many called: of many, a
    /// random few are remembered.
    fn called(&mut self, own: Gossip<R>, rng: &mut impl Rng) {
        let id = own.record.id();
        self.standby.remove(id);
        if self.waiting.iter().any(|g| g.record.id() == id) {
            return;
        }
        let caller = Gossip { hop: 1, ..own };
        if self.waiting.len() < 3 * self.params.rounds {
            self.waiting.push(caller);
        } else if let Some(place) = self.waiting.get_mut(rng.random_range(0..self.callers[0])) {
            *place = caller;
        }
    }

    fn asked(&mut self, id: R::Id) {
        if !self.asked.contains(&id) {
            self.asked.truncate(MAX_ASKED - 1);
            self.asked.push(id);
        }
    }

    /// Whether many more call than usual: three times as many in a tick, or one
    /// and a half times for long.
    pub(super) fn flooded(&self) -> bool {
        self.callers.iter().any(|&n| n > 3 * self.params.rounds)
            || self.load > self.usual() + self.usual() / 2
    }

    fn hear(&mut self, gossip: Gossip<R>, direct: bool, changes: &mut Changes, rng: &mut impl Rng) {
        let id = gossip.record.id();
        if id == self.own {
            return;
        }
        if !direct && !self.standby.believes(&gossip, self.now) {
            changes.stale += 1;
            return;
        }
        let heard = Gossip { hop: gossip.hop.saturating_add(1), record: gossip.record };
        self.learn(heard, direct, rng);
    }

    /// Takes up a peer that was heard of.
    pub(super) fn learn(&mut self, heard: Gossip<R>, direct: bool, rng: &mut impl Rng) {
        let id = heard.record.id();
        let key = self.sampler.key(id);
        let slot = self.sampler.slot(key);
        self.sampler.train(&heard, key, slot);
        let found = self.places.find(id, slot);
        if let Some(entry) = found.peer.and_then(|at| self.places.get_mut(at)) {
            if newer(&mut entry.gossip, heard) {
                entry.rank = self.sampler.rank(&entry.gossip.record, key, slot);
            }
        } else {
            self.standby.remove(id);
            self.place(heard, (key, slot), found.holder, direct, rng);
        }
    }

    /// Takes up a peer, unless the view holds it.
    pub(super) fn admit(&mut self, gossip: Gossip<R>, met: bool, rng: &mut impl Rng) {
        let id = gossip.record.id();
        let key = self.sampler.key(id);
        let slot = self.sampler.slot(key);
        let found = self.places.find(id, slot);
        if found.peer.is_none() {
            self.place(gossip, (key, slot), found.holder, met, rng);
        }
    }

    /// Gives a place to a peer that isn't in the view, if the sampler chooses
    /// it, there is room, or it was met (then it is also remembered in passing).
    fn place(
        &mut self,
        gossip: Gossip<R>,
        (key, slot): (u64, u8),
        holder: Option<usize>,
        met: bool,
        rng: &mut impl Rng,
    ) {
        if met {
            self.pass(gossip.clone(), rng);
        }
        let id = gossip.record.id();
        let rank = self.sampler.rank(&gossip.record, key, slot);
        let held = holder.and_then(|at| self.places.get(at));
        let wins = held.is_none_or(|held| {
            let other = held.gossip.record.id();
            let standing = |id, rank| standing(&self.asked, id, rank);
            !held.settled && standing(id, rank) < standing(other, held.rank)
        });
        if self.places.len() >= self.params.capacity() {
            let loser = match holder {
                Some(at) if wins => Some(at),
                _ => self.spare(wins || met),
            };
            let Some(at) = loser else { return };
            let (lost, _) = self.places.remove(at);
            self.pass(lost.gossip, rng);
        } else if wins {
            self.places.release(slot);
        }
        let entry = Entry { gossip, rank, slot, settled: false };
        if wins { self.places.hold(entry) } else { self.places.add(entry) }
    }

    /// Who makes room: a peer that holds no slot and was only asked, or else, if
    /// need be, the longest there.
    fn spare(&self, need: bool) -> Option<usize> {
        let asked = |e: &Entry<R>| self.asked.contains(&e.gossip.record.id());
        let held = self.places.held();
        let mut spare = self.places.iter().skip(held);
        let first = if self.asked.is_empty() { None } else { spare.position(asked) };
        match first {
            Some(at) => Some(held + at),
            None => (need && held < self.places.len()).then_some(held),
        }
    }

    /// Remembers a peer in passing, in place of a random one if need be.
    pub(super) fn pass(&mut self, gossip: Gossip<R>, rng: &mut impl Rng) {
        if gossip.hop > OLDEST_PASSING {
        } else if let Some(known) =
            self.passing.iter_mut().find(|g| g.record.id() == gossip.record.id())
        {
            newer(known, gossip);
        } else if self.passing.len() < self.params.max_view {
            self.passing.push(gossip);
        } else {
            let at = rng.random_range(0..self.passing.len());
            self.passing[at] = gossip;
        }
    }
}
