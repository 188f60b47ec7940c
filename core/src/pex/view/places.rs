//! The places of a view: who has them, and who of these holds which of the
//! sampler's slots.

use super::{Gossip, Record};
use smallvec::{SmallVec, smallvec};

/// One peer in the view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<R> {
    pub(super) gossip: Gossip<R>,
    /// Where it stands in its slot: the least rank holds it.
    pub(super) rank: u32,
    /// The slot in which it competes.
    pub(super) slot: u8,
    /// Whether nobody else gets that slot before its first turn.
    pub(super) settled: bool,
}

/// What the view holds of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Where the peer is that was looked for.
    pub(super) peer: Option<usize>,
    /// Where the holder of the slot is.
    pub(super) holder: Option<usize>,
}

/// In place of a slot's holder: views have fewer places than this.
const NOBODY: u8 = u8::MAX;

/// The entries. A peer is either the holder of its slot or one of the few that
/// hold none, so that it is found without a look at the others.
#[derive(Clone, Debug)]
pub(super) struct Places<R> {
    /// Those that hold a slot, then the others in the order in which they came.
    entries: SmallVec<[Entry<R>; 31]>,
    held: usize,
    /// For each slot, where its holder is.
    holders: SmallVec<[u8; 27]>,
}

impl<R: Record> Places<R> {
    pub(super) fn new(capacity: usize, slots: usize) -> Self {
        Self {
            entries: SmallVec::with_capacity(capacity),
            held: 0,
            holders: smallvec![NOBODY; slots],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many hold a slot. They come first.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Entry<R>> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Entry<R>> {
        self.entries.iter_mut()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Entry<R>> {
        self.entries.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Entry<R>> {
        self.entries.get_mut(at)
    }

    /// Looks for a peer, which competes in this slot, and for the slot's holder.
    pub(super) fn find(&self, id: R::Id, slot: u8) -> Found {
        let holder = self.holder(slot);
        let is_it = |entry: &Entry<R>| entry.gossip.record.id() == id;
        let peer = holder.filter(|&at| self.entries.get(at).is_some_and(is_it));
        let spare = || self.entries.get(self.held..)?.iter().position(is_it);
        Found { peer: peer.or_else(|| Some(self.held + spare()?)), holder }
    }

    /// Takes in who holds its slot, which nobody does now.
    pub(super) fn hold(&mut self, entry: Entry<R>) {
        let slot = entry.slot;
        self.entries.insert(self.held, entry);
        self.holds(slot, self.held);
        self.held += 1;
    }

    /// Takes in who holds no slot.
    pub(super) fn add(&mut self, entry: Entry<R>) {
        self.entries.push(entry);
    }

    /// Nobody holds this slot any more; who did is from now on the oldest of
    /// those that hold none.
    pub(super) fn release(&mut self, slot: u8) {
        let Some(at) = self.holder(slot) else { return };
        self.held -= 1;
        self.entries.swap(at, self.held);
        self.holds(self.entries[at].slot, at);
        if let Some(holder) = self.holders.get_mut(usize::from(slot)) {
            *holder = NOBODY;
        }
        self.entries[self.held].settled = false;
    }

    /// Gives a slot, whose ranks are new, to the one of its entries that stands
    /// first.
    pub(super) fn choose(&mut self, slot: u8, asked: &[R::Id], rank: impl Fn(&R) -> u32) {
        self.release(slot);
        let mut best: Option<(u64, usize)> = None;
        for (at, entry) in self.entries.iter_mut().enumerate().skip(self.held) {
            if entry.slot == slot {
                entry.rank = rank(&entry.gossip.record);
                let standing = standing(asked, entry.gossip.record.id(), entry.rank);
                if best.is_none_or(|(least, _)| standing < least) {
                    best = Some((standing, at));
                }
            }
        }
        if let Some((_, at)) = best {
            self.entries[self.held..=at].rotate_right(1);
            self.holds(slot, self.held);
            self.held += 1;
        }
    }

    /// Those that hold a slot keep it until its first turn.
    pub(super) fn settle(&mut self) {
        self.entries.iter_mut().take(self.held).for_each(|e| e.settled = true);
    }

    /// Takes an entry out, and says whether it held its slot.
    pub(super) fn remove(&mut self, at: usize) -> (Entry<R>, bool) {
        let sampled = at < self.held;
        if sampled {
            self.release(self.entries[at].slot);
        }
        (self.entries.remove(if sampled { self.held } else { at }), sampled)
    }

    fn holder(&self, slot: u8) -> Option<usize> {
        self.holders.get(usize::from(slot)).filter(|&&at| at != NOBODY).map(|&at| at.into())
    }

    fn holds(&mut self, slot: u8, at: usize) {
        if let Some(holder) = self.holders.get_mut(usize::from(slot)) {
            *holder = at as u8;
        }
    }
}

/// Where a peer of this rank stands in its slot: who was only asked is last.
pub(super) fn standing<Id: PartialEq>(asked: &[Id], id: Id, rank: u32) -> u64 {
    if asked.contains(&id) { u64::MAX } else { rank.into() }
}
