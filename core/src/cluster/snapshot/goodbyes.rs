//! The goodbyes of peers that have left, signed, so that they can be handed on
//! for as long as somebody may still have the peer's record.

use imbl::{HashMap, OrdMap, OrdSet};
use libp2p::PeerId;
use std::{sync::Arc, time::Duration};

/// A goodbye that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Goodbye {
    /// Who left.
    pub(in crate::cluster) peer: PeerId,
    /// The number of its last heartbeat, which said so.
    pub(in crate::cluster) seq: u64,
    /// The message as its peer signed it.
    pub(in crate::cluster) signed: Arc<[u8]>,
    /// When it came.
    pub(in crate::cluster) received: Duration,
    /// For how long others had had it then.
    pub(in crate::cluster) age: Duration,
    /// Until when it is kept.
    pub(in crate::cluster) until: Duration,
    /// The node that it came from.
    pub(in crate::cluster) from: PeerId,
    /// Whether gossip has brought it too.
    pub(in crate::cluster) by_gossip: bool,
}

/// Goodbyes, in the order in which they came: each has a turn, and turns only
/// grow. Clones share what they have in common.
#[derive(Clone, Default)]
pub(in crate::cluster) struct Goodbyes {
    turns: OrdMap<u64, Goodbye>,
    peers: HashMap<PeerId, u64>,
    due: OrdSet<(Duration, u64)>,
    last: u64,
    /// Bytes of the messages.
    bytes: usize,
}

impl Goodbyes {
    /// How many are kept at most; then the oldest make room.
    pub(in crate::cluster) const MAX: usize = 8192;
    /// The most bytes of all of them: 2 KiB for each, if there are so many.
    pub(in crate::cluster) const MAX_BYTES: usize = 16 << 20;
    /// For how long a goodbye is kept at least, beginning when it was said.
    pub(in crate::cluster) const LEAST: Duration = Duration::from_secs(30);

    /// Keeps a goodbye, in the place of an earlier one of the same peer.
    pub(in crate::cluster) fn put(&mut self, goodbye: Goodbye) {
        self.forget(&goodbye.peer);
        while (self.turns.len() >= Self::MAX || self.bytes + goodbye.signed.len() > Self::MAX_BYTES)
            && let Some(oldest) = self.turns.get_min().map(|(_, oldest)| oldest.peer)
        {
            self.forget(&oldest);
        }
        self.last += 1;
        self.bytes += goodbye.signed.len();
        self.peers.insert(goodbye.peer, self.last);
        self.due.insert((goodbye.until, self.last));
        self.turns.insert(self.last, goodbye);
    }

    /// Forgets the goodbye of a peer, which is back.
    pub(in crate::cluster) fn forget(&mut self, peer: &PeerId) {
        if let Some(turn) = self.peers.remove(peer)
            && let Some(goodbye) = self.turns.remove(&turn)
        {
            self.bytes -= goodbye.signed.len();
            self.due.remove(&(goodbye.until, turn));
        }
    }

    /// Forgets those whose time is over.
    pub(in crate::cluster) fn expire(&mut self, now: Duration) {
        while let Some((_, turn)) = self.due.get_min().copied().filter(|(until, _)| *until <= now)
            && let Some(peer) = self.turns.get(&turn).map(|goodbye| goodbye.peer)
        {
            self.forget(&peer);
        }
    }

    /// When the next one's time is over.
    pub(in crate::cluster) fn next_due(&self) -> Option<Duration> {
        self.due.get_min().map(|(until, _)| *until)
    }

    /// Notes that gossip has brought a goodbye. True if it is kept, and this is
    /// its first copy by gossip.
    pub(in crate::cluster) fn gossiped(&mut self, peer: &PeerId, seq: u64) -> bool {
        let goodbye = self.peers.get(peer).and_then(|turn| self.turns.get_mut(turn));
        goodbye.is_some_and(|kept| kept.seq == seq && !std::mem::replace(&mut kept.by_gossip, true))
    }

    /// The goodbye of a peer.
    pub(in crate::cluster) fn of(&self, peer: &PeerId) -> Option<&Goodbye> {
        self.turns.get(self.peers.get(peer)?)
    }

    /// Those that came after a turn, each with its own.
    pub(in crate::cluster) fn after(&self, turn: u64) -> impl Iterator<Item = (u64, &Goodbye)> {
        self.turns.range(turn.saturating_add(1)..).map(|(turn, goodbye)| (*turn, goodbye))
    }

    /// The turn of the last one that came.
    pub(in crate::cluster) fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};

    /// What is kept, with nothing that makes it fast.
    #[derive(Default)]
    struct Model(Vec<(u64, Goodbye)>);

    #[test]
    fn what_is_kept_is_what_a_naive_list_keeps() {
        for seed in 0..100 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let peers: Vec<_> = (0..12).map(|_| PeerId::random()).collect();
            let (mut kept, mut model, mut turn) = (Goodbyes::default(), Model::default(), 0);
            for now in 0..200 {
                let now = Duration::from_secs(now);
                let peer = *peers.choose(&mut rng).unwrap();
                match rng.random_range(0..5) {
                    0..3 => {
                        let until = now + Duration::from_secs(rng.random_range(1..40));
                        let (signed, age, seq) = ([][..].into(), Duration::ZERO, now.as_secs());
                        let (received, from) = (now, peers[0]);
                        let by_gossip = rng.random();
                        let goodbye =
                            Goodbye { peer, seq, signed, received, age, until, from, by_gossip };
                        turn += 1;
                        model.0.retain(|(_, other)| other.peer != peer);
                        model.0.push((turn, goodbye.clone()));
                        kept.put(goodbye);
                    }
                    3 => {
                        model.0.retain(|(_, other)| other.peer != peer);
                        kept.forget(&peer);
                    }
                    _ => {
                        let known = model.0.iter_mut().find(|(_, other)| other.peer == peer);
                        let seq = known.as_ref().map_or(7, |(_, known)| known.seq);
                        let first = known.is_some_and(|(_, known)| {
                            !std::mem::replace(&mut known.by_gossip, true)
                        });
                        assert!(!kept.gossiped(&peer, seq + 1));
                        assert_eq!(kept.gossiped(&peer, seq), first, "seed {seed}");
                    }
                }
                kept.expire(now);
                model.0.retain(|(_, other)| other.until > now);
                let all: Vec<_> = kept.after(0).map(|(turn, one)| (turn, one.clone())).collect();
                assert_eq!(all, model.0, "seed {seed}");
                assert_eq!(kept.last(), turn);
                assert_eq!(kept.next_due(), model.0.iter().map(|(_, one)| one.until).min());
                let later = rng.random_range(0..=turn);
                let expected = model.0.iter().filter(|(turn, _)| *turn > later);
                assert!(
                    kept.after(later).map(|(turn, _)| turn).eq(expected.map(|(turn, _)| *turn))
                );
                for peer in &peers {
                    let of = model.0.iter().find(|(_, one)| one.peer == *peer);
                    assert_eq!(kept.of(peer), of.map(|(_, one)| one), "seed {seed}");
                }
            }
        }
    }

    /// Keeps goodbyes of so many bytes each.
    fn keep(kept: &mut Goodbyes, peers: &[PeerId], bytes: usize) {
        for peer in peers {
            let (seq, zero, from) = (1, Duration::ZERO, *peer);
            let (signed, until) = (vec![0; bytes].into(), Duration::from_secs(30));
            let (peer, received, age, by_gossip) = (*peer, zero, zero, true);
            kept.put(Goodbye { peer, seq, signed, received, age, until, from, by_gossip });
        }
    }

    #[test]
    fn the_oldest_make_room_for_bytes_too() {
        let mut kept = Goodbyes::default();
        let peers: Vec<_> = (0..4000).map(|_| PeerId::random()).collect();
        keep(&mut kept, &peers, 8 << 10);
        let sum = |kept: &Goodbyes| -> usize {
            kept.after(0).map(|(_, goodbye)| goodbye.signed.len()).sum()
        };
        assert_eq!((sum(&kept), kept.bytes), (Goodbyes::MAX_BYTES, Goodbyes::MAX_BYTES));
        assert!(kept.of(&peers[1951]).is_none() && kept.of(&peers[1952]).is_some());
        keep(&mut kept, &peers[3990..], 10);
        assert_eq!(sum(&kept), kept.bytes);
        kept.expire(Duration::from_secs(30));
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut kept = Goodbyes::default();
        let peers: Vec<_> = (0..Goodbyes::MAX + 3).map(|_| PeerId::random()).collect();
        keep(&mut kept, &peers, 0);
        assert_eq!(kept.after(0).count(), Goodbyes::MAX);
        assert!(kept.of(&peers[2]).is_none() && kept.of(&peers[3]).is_some());
        kept.expire(Duration::from_secs(30));
        assert_eq!((kept.after(0).count(), kept.peers.len(), kept.due.len()), (0, 0, 0));
    }
}
