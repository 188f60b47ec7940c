//! The places of a service: how many requests it works on at once, and whose.
//!
//! A peer may have all of them as long as nobody else wants one. Somebody with less
//! than its share who is turned away has all others keep to theirs for a while, so
//! that it gets the next one that becomes free. Where a stream of parts is held up by
//! its reader, it makes room at once.

use crate::PeerId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long who was turned away is thought of.
const WANTED: Duration = Duration::from_secs(30);
/// How many of those.
const WANTING: usize = 1024;
/// For how long a reader may hold up a stream if another needs its place.
const PATIENCE: Duration = Duration::from_secs(1);

/// The places of one service. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    peers: HashMap<PeerId, usize>,
    /// Who was turned away, though it had less than its share, and when.
    wanting: HashMap<PeerId, Instant>,
    streams: Vec<(PeerId, Reader)>,
}

impl Places {
    /// Takes one of so many places. `reader` is whose of a stream of parts.
    pub(super) fn take(
        &self,
        peer: PeerId,
        most: usize,
        reader: Option<Reader>,
        now: Instant,
    ) -> Option<Place> {
        let mut taken = self.lock();
        taken.wanting.retain(|_, since| now.saturating_duration_since(*since) < WANTED);
        let (has, share) = (taken.of(&peer), taken.share(&peer, most));
        if taken.all >= most {
            if has >= share || !taken.make_room(share, now) {
                if has < share && taken.wanting.len() < WANTING {
                    taken.wanting.insert(peer, now);
                }
                return None;
            }
        } else if taken.all >= most / 2 && has >= share && taken.is_wanted(&peer) {
            return None;
        }
        taken.all += 1;
        *taken.peers.entry(peer).or_default() += 1;
        taken.streams.extend(reader.clone().map(|reader| (peer, reader)));
        Some(Place { places: self.clone(), peer, reader })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).copied().unwrap_or(0)
    }

    /// What each may have when all want places.
    fn share(&self, peer: &PeerId, most: usize) -> usize {
        let others = self.wanting.keys().chain([peer]);
        let more = others.filter(|other| !self.peers.contains_key(other)).count();
        // One that is new and wants a place already is counted once.
        let twice = self.wanting.contains_key(peer) && !self.peers.contains_key(peer);
        (most / (self.peers.len() + more - usize::from(twice))).max(1)
    }

    /// Whether another was turned away lately.
    fn is_wanted(&self, peer: &PeerId) -> bool {
        self.wanting.keys().any(|other| other != peer)
    }

    /// Ends the stream that its reader holds up longest, of those of whom has more
    /// than its share. It ends in a moment, and has its place until then.
    fn make_room(&self, share: usize, now: Instant) -> bool {
        let held_up = self.streams.iter().filter_map(|(peer, reader)| {
            let since = reader.since().filter(|since| *since + PATIENCE <= now)?;
            (self.of(peer) > share && !reader.ended.is_cancelled()).then_some((since, reader))
        });
        let longest = held_up.min_by_key(|(since, _)| *since);
        longest.is_some_and(|(_, reader)| {
            reader.ended.cancel();
            true
        })
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    peer: PeerId,
    reader: Option<Reader>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(of_peer) = taken.peers.get_mut(&self.peer) {
            *of_peer = of_peer.saturating_sub(1);
            if *of_peer == 0 {
                taken.peers.remove(&self.peer);
            }
        }
        if let Some(reader) = &self.reader {
            taken.streams.retain(|(_, other)| !Arc::ptr_eq(&other.waits, &reader.waits));
        }
    }
}

/// Whether who reads a stream of parts holds it up, and whether it had to make room.
/// Clones are of the same stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    waits: Arc<Mutex<Option<Instant>>>,
    ended: CancellationToken,
}

impl Reader {
    /// A part waits for it from now on, or none.
    pub(super) fn waits(&self, since: Option<Instant>) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until its stream has to make room.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> (Places, Instant, PeerId, PeerId) {
        (Places::default(), Instant::now(), PeerId::random(), PeerId::random())
    }

    #[test]
    fn a_peer_has_all_places_until_another_wants_one() {
        for most in [1, 2, 3, 8, 64] {
            let (places, now, greedy, other) = start();
            let take = |peer, now| places.take(peer, most, None, now);
            let mut all: Vec<_> = (0..most).map(|_| take(greedy, now).unwrap()).collect();
            assert!(take(greedy, now).is_none());
            all.pop();
            all.push(take(greedy, now).expect("nobody else has wanted one"));
            assert!(take(other, now).is_none());
            // The next one is the other's.
            all.pop();
            if most > 1 {
                assert!(take(greedy, now).is_none());
            }
            let its = take(other, now + WANTED - MS).unwrap();
            assert_eq!(places.taken(), most);
            drop((all, its));
            assert_eq!(places.taken(), 0);
            assert!(places.lock().peers.is_empty());
        }
    }

    #[test]
    fn who_was_turned_away_is_forgotten_in_time() {
        let (places, now, greedy, other) = start();
        let mut all: Vec<_> = (0..8).map(|_| places.take(greedy, 8, None, now).unwrap()).collect();
        assert!(places.take(other, 8, None, now).is_none());
        all.pop();
        assert!(places.take(greedy, 8, None, now + WANTED - MS).is_none());
        assert!(places.take(greedy, 8, None, now + WANTED).is_some());
        // Where there are many, nobody is held back.
        assert!(places.take(other, 7, None, now).is_none());
        all.truncate(3);
        assert!(places.take(greedy, 8, None, now).is_some());
    }

    #[test]
    fn many_who_ask_leave_a_share_to_each() {
        let (places, now, ..) = start();
        let peers: Vec<_> = (0..8).map(|_| PeerId::random()).collect();
        let mut taken: Vec<_> =
            (0..64).map(|_| places.take(peers[0], 64, None, now).unwrap()).collect();
        for peer in &peers[1..] {
            assert!(places.take(*peer, 64, None, now).is_none());
        }
        // The first is always the quickest.
        for _ in 0..64 * 8 {
            taken.remove(0);
            let place = peers.iter().filter_map(|peer| places.take(*peer, 64, None, now));
            taken.extend(place.take(1));
        }
        let places = places.lock();
        assert!(peers.iter().all(|peer| (6..=10).contains(&places.of(peer))), "{places:?}");
    }

    #[test]
    fn a_stream_that_its_reader_holds_up_makes_room() {
        let (places, now, slow, other) = start();
        let readers: Vec<_> = (0..4).map(|_| Reader::default()).collect();
        let take = |peer, reader: Option<&Reader>, now| places.take(peer, 4, reader.cloned(), now);
        let streams: Vec<_> =
            readers.iter().map(|reader| take(slow, Some(reader), now).unwrap()).collect();
        assert!(take(other, None, now + PATIENCE).is_none(), "they go on");
        readers[2].waits(Some(now));
        readers[1].waits(Some(now + MS));
        assert!(take(other, None, now + PATIENCE - MS).is_none());
        assert!(take(slow, None, now + PATIENCE).is_none(), "not for itself");
        let its = take(other, None, now + PATIENCE).unwrap();
        let ended = |reader: &Reader| reader.ended().now_or_never().is_some();
        assert_eq!(readers.iter().map(ended).collect::<Vec<_>>(), [false, false, true, false]);
        // A reader that takes its part is left alone, and who has its share gets no more.
        readers[1].waits(None);
        assert!(take(other, None, now + 2 * PATIENCE).is_none());
        readers[1].waits(Some(now));
        let more = take(other, None, now + 2 * PATIENCE).unwrap();
        assert!(take(other, None, now + 2 * PATIENCE).is_none());
        drop((streams, its, more));
        let taken = places.lock();
        assert!(taken.streams.is_empty() && taken.all == 0);
    }
}
