//! What a view believes of what it is told.

use super::{Entry, Gossip, OLDEST_PASSING, Record, View};
use rand::{Rng, RngExt, seq::SliceRandom};
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
    /// Pushed records are looked at only while they are no more than those
    /// pulled in the same tick, and no more than three times the usual number
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
            told.shuffle(rng);
            told.truncate(look);
        } else {
            self.credit += told.len();
        }
        for gossip in told {
            self.hear(gossip, false, &mut changes, rng);
        }
        let keep = match origin {
            Origin::Pulled => true,
            Origin::Pushed => !self.flooded(),
            // Everybody starts from the same few: they are asked, not kept.
            Origin::Boot => self.entries.len() < 8,
        };
        if keep || self.contains(sender.id()) {
            self.hear(Gossip { record: sender, hop: 0 }, true, &mut changes, rng);
        }
        changes
    }

    /// Whether more than three times the usual number call.
    fn flooded(&self) -> bool {
        self.callers.iter().any(|&n| n > 3 * self.params.rounds)
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
        if let Some(at) = self.position(id) {
            newer(&mut self.entries[at].gossip, heard);
        } else {
            self.standby.remove(id);
            self.admit(heard, direct, rng);
        }
    }

    /// Gives a place to a peer that isn't in the view, if the sampler chooses
    /// it, there is room, or it called. Who gets none, or loses it, is
    /// remembered in passing.
    pub(super) fn admit(&mut self, gossip: Gossip<R>, called: bool, rng: &mut impl Rng) {
        let id = gossip.record.id();
        let slot = self.sampler.slot(id);
        let holder = self.entries.iter().position(|e| e.sampled && e.slot == slot);
        let full = self.entries.len() >= self.params.capacity();
        let mut entry = Entry { gossip, slot, sampled: holder.is_none() };
        let mut loser = None;
        match holder {
            Some(at) => {
                let other = self.entries[at].gossip.record.id();
                if self.sampler.rank(id, slot) < self.sampler.rank(other, slot) {
                    entry.sampled = true;
                    self.entries[at].sampled = false;
                    loser = full.then_some(at);
                } else if full {
                    loser = if called { self.spare() } else { None };
                    if loser.is_none() {
                        return self.pass(entry.gossip, rng);
                    }
                }
            }
            None if full => {
                loser = self.spare();
                if loser.is_none() {
                    return self.pass(entry.gossip, rng);
                }
            }
            None => {}
        }
        if let Some(at) = loser {
            let lost = self.entries.remove(at).gossip;
            self.pass(lost, rng);
        }
        self.passing.retain(|g| g.record.id() != id);
        self.entries.push(entry);
    }

    /// The spare entry that came first.
    fn spare(&self) -> Option<usize> {
        self.entries.iter().position(|e| !e.sampled)
    }

    /// Remembers a peer in passing, in place of a random one if need be.
    fn pass(&mut self, gossip: Gossip<R>, rng: &mut impl Rng) {
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

/// Of two records of a peer the one with the higher sequence number counts,
/// then the lower hop.
fn newer<R: Record>(known: &mut Gossip<R>, heard: Gossip<R>) {
    if heard.record.seq() > known.record.seq() {
        *known = heard;
    } else if heard.record.seq() == known.record.seq() {
        known.hop = known.hop.min(heard.hop);
    }
}
