//! The messages that are known to be good: what has one of their ids is no news.

use super::spare::Spare as _;
use crate::gossip::id::MessageId;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Ids that were forgotten before their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// For want of room.
    pub(super) of_all: u64,
    /// Because their source has its share.
    pub(super) of_source: u64,
}

/// Ids, each kept for a time, and none pushed out by another source's flood
/// while there is room. A node knows some for each of its peers' heartbeats, so
/// that each takes little: its source is written once, however many it has.
#[derive(Default)]
pub(super) struct Known {
    /// Where the sources stand below.
    places: HashMap<Arc<[u8]>, u32>,
    sources: Vec<Source>,
    /// Places of sources that have no ids any more.
    free: Vec<u32>,
    /// Ids, of all sources.
    len: usize,
    /// When an id of which source came, in whole seconds; also for those that were
    /// pushed out of their source's share.
    order: VecDeque<(u32, u32)>,
}

#[derive(Default)]
struct Source {
    name: Arc<[u8]>,
    /// The numbers of its messages, the oldest first.
    numbers: VecDeque<u64>,
    /// The same, to be found among many.
    #[expect(clippy::box_collection, reason = "few sources have one, which is large")]
    many: Option<Box<HashSet<u64>>>,
    /// How many were pushed out by its own: the oldest in the order.
    pushed_out: usize,
}

impl Source {
    /// Numbers that are looked through as fast as a table is asked.
    const FEW: usize = 64;

    fn contains(&self, number: u64) -> bool {
        match &self.many {
            Some(many) => many.contains(&number),
            None => self.numbers.contains(&number),
        }
    }

    fn push(&mut self, number: u64) {
        self.numbers.push_back(number);
        match &mut self.many {
            Some(many) => _ = many.insert(number),
            None if self.numbers.len() > Self::FEW => {
                self.many = Some(Box::new(self.numbers.iter().copied().collect()));
            }
            None => {}
        }
    }

    /// Forgets the oldest. Whether there was one.
    fn pop(&mut self) -> bool {
        let Some(oldest) = self.numbers.pop_front() else { return false };
        if let Some(many) = &mut self.many {
            many.remove(&oldest);
            // Not at once: there may soon be as many again.
            if self.numbers.len() < Self::FEW / 2 {
                self.many = None;
                self.numbers.shrink_to(Self::FEW);
            }
        }
        true
    }
}

impl Known {
    /// How long an id is known again, or up to a second longer: longer than a busy
    /// node lags behind. An older copy is checked once more, and is stale to the
    /// topic's service.
    pub(super) const KEPT: Duration = Duration::from_secs(30);
    /// The most ids.
    pub(super) const ROOM: usize = 65_536;
    /// The most of one source.
    pub(super) const SHARE: usize = Self::ROOM / 8;

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        let place = self.places.get(id.source());
        place.is_some_and(|place| self.sources[*place as usize].contains(id.seq()))
    }

    /// Learns an id; says how many were forgotten for it.
    #[must_use]
    pub(super) fn insert(&mut self, now: Duration, id: &MessageId) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let place = match self.places.get(id.source()) {
            Some(place) => *place,
            None => self.place(id.source().into()),
        };
        let source = &mut self.sources[place as usize];
        if source.contains(id.seq()) {
            return forgotten;
        }
        source.push(id.seq());
        self.len += 1;
        if source.numbers.len() > Self::SHARE && source.pop() {
            source.pushed_out += 1;
            self.len -= 1;
            forgotten.of_source = 1;
        }
        self.order.push_back((seconds(now), place));
        while self.len > Self::ROOM {
            self.forget_oldest();
            forgotten.of_all = 1;
        }
        // What one source pushed out of its share, again and again.
        if self.order.len() > 2 * Self::ROOM {
            let sources = &mut self.sources;
            self.order.retain(|(_, place)| {
                let pushed_out = &mut sources[*place as usize].pushed_out;
                let is_there = *pushed_out == 0;
                *pushed_out = pushed_out.saturating_sub(1);
                is_there
            });
        }
        forgotten
    }

    /// A place for a source that has none.
    fn place(&mut self, name: Arc<[u8]>) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.sources.push(Source::default());
            self.sources.len() as u32 - 1
        });
        self.sources[place as usize].name = name.clone();
        self.places.insert(name, place);
        place
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Duration) {
        let old = |at: u32| seconds(now).saturating_sub(at) > seconds(Self::KEPT);
        while self.order.front().is_some_and(|(at, _)| old(*at)) {
            self.forget_oldest();
        }
        self.order.give_back();
        if self.places.is_empty() {
            *self = Self::default();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, place)) = self.order.pop_front() else { return };
        let source = &mut self.sources[place as usize];
        if source.pushed_out > 0 {
            source.pushed_out -= 1;
            return;
        }
        self.len -= usize::from(source.pop());
        // Nothing of it is in the order any more.
        if source.numbers.is_empty() {
            self.places.remove(&source.name);
            *source = Source::default();
            self.free.push(place);
        }
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(source: u8, number: u64) -> MessageId {
        MessageId::new(&[source; 38], number.to_be_bytes())
    }

    fn is_empty(known: &Known) -> bool {
        known.len + known.order.capacity() + known.sources.capacity() == 0
    }

    #[test]
    fn an_id_is_known_for_its_time() {
        let mut known = Known::default();
        let learn = |known: &mut Known, secs, id| {
            assert_eq!(known.insert(Duration::from_secs(secs), &id), Forgotten::default());
        };
        learn(&mut known, 0, id(1, 1));
        learn(&mut known, 1, id(1, 2));
        learn(&mut known, 20, id(1, 1));
        known.expire(Known::KEPT);
        assert!(known.contains(&id(1, 1)));
        known.expire(Known::KEPT + Duration::from_secs(1));
        assert!(!known.contains(&id(1, 1)) && known.contains(&id(1, 2)));
        known.expire(2 * Known::KEPT);
        assert!(is_empty(&known));
    }

    #[test]
    fn a_flood_of_one_source_pushes_out_its_own() {
        let mut known = Known::default();
        let mut forgotten = known.insert(Duration::ZERO, &id(1, 1)).of_source;
        for number in 0..3 * Known::ROOM as u64 {
            forgotten += known.insert(Duration::from_secs(1), &id(2, number)).of_source;
        }
        assert_eq!(forgotten, (3 * Known::ROOM - Known::SHARE) as u64);
        assert!(known.contains(&id(1, 1)));
        assert_eq!(known.len, 1 + Known::SHARE);
        assert!(known.order.len() <= 2 * Known::ROOM);
        assert!(known.contains(&id(2, 3 * Known::ROOM as u64 - 1)));
        known.expire(Duration::from_secs(40));
        assert!(is_empty(&known), "{}", known.len);
    }

    #[test]
    fn many_sources_share_the_room() {
        let mut known = Known::default();
        let mut forgotten = 0;
        for number in 0..2 * Known::ROOM as u64 {
            forgotten += known.insert(Duration::from_secs(1), &id(number as u8, number)).of_all;
        }
        assert_eq!(forgotten, Known::ROOM as u64);
        assert_eq!(known.len, Known::ROOM);
        assert_eq!(
            known.sources.iter().map(|source| source.numbers.len()).sum::<usize>(),
            Known::ROOM
        );
    }
}
