//! What a node has, in few bytes: for each peer a short id and the number of its
//! heartbeat, in order, with sums of them. Pure.

use super::sums::{Key, share};
use libp2p::PeerId;
use std::ops::Range;

/// A peer's id in comparisons: the last eight bytes of its peer id. They are part
/// of a public key or of a hash of one, so that nobody can choose another's.
pub type ShortId = u64;

/// An id, and the number of the heartbeat.
pub type Item = (ShortId, u64);

/// A peer's id in comparisons.
pub fn short_id(peer: &PeerId) -> ShortId {
    // The end of a peer id is that of its hash. Without a copy: this is done for
    // the whole table.
    let last = |bytes: &[u8]| bytes.last_chunk().copied().map(u64::from_be_bytes);
    last(peer.as_ref().digest()).or_else(|| last(&peer.to_bytes())).unwrap_or(0)
}

/// Items in ascending order, and what they sum up to under a key.
pub struct Items {
    items: Vec<Item>,
    /// The sum of all items before each, and of all.
    sums: Vec<u32>,
    /// The highest number.
    highest: u64,
}

impl Items {
    /// Those of `known` peers; and of ids of which something else was heard, whose
    /// numbers count where they are higher.
    pub fn new(
        known: impl Iterator<Item = Item>,
        heard: impl Iterator<Item = Item>,
        key: &Key,
    ) -> Self {
        let mut items: Vec<Item> = known.collect();
        items.sort_unstable();
        let n = items.len();
        for (id, seq) in heard {
            let end = items[..n].partition_point(|(known, _)| *known <= id);
            match items[..end].last_mut() {
                Some((known, last)) if *known == id => *last = seq.max(*last),
                _ => items.push((id, seq)),
            }
        }
        if items.len() > n {
            items.sort_unstable();
        }
        items.dedup();
        let mut sum = 0_u32;
        let mut sums = Vec::with_capacity(items.len() + 1);
        sums.push(sum);
        sums.extend(items.iter().map(|item| {
            sum = sum.wrapping_add(share(key, *item));
            sum
        }));
        let highest = items.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
        Self { items, sums, highest }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The highest number of all.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn get(&self, places: Range<usize>) -> &[Item] {
        self.items.get(places).unwrap_or(&[])
    }

    /// Where, among these places, the items from `id` on begin.
    pub(super) fn from(&self, id: ShortId, places: Range<usize>) -> usize {
        places.start + self.get(places).partition_point(|(other, _)| *other < id)
    }

    /// The sum of some of them: 0 if, and only if, there are none.
    pub(super) fn sum(&self, places: Range<usize>) -> u32 {
        let before = |place: usize| self.sums.get(place).copied().unwrap_or(0);
        let sum = before(places.end).wrapping_sub(before(places.start));
        if places.is_empty() { 0 } else { sum.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::multihash::Multihash;

    #[test]
    fn an_id_is_the_end_of_a_peer_id_however_short() {
        // An identity's hash is the key itself.
        let short = (1..40).map(|n| Multihash::wrap(0, &vec![n; n.into()]).unwrap());
        let short = short.map(|hash| PeerId::from_multihash(hash).unwrap());
        for peer in short.chain([PeerId::random()]) {
            let last = peer.to_bytes().last_chunk().copied().map_or(0, u64::from_be_bytes);
            assert_eq!(short_id(&peer), last, "{peer}");
        }
    }

    #[test]
    fn what_was_heard_counts_where_it_is_higher_and_sums_are_those_of_ranges() {
        let key = [7; 16];
        let known = [(9, 1), (3, 5), (9, 4), (3, 5), (6, 2)];
        let heard = [(6, 1), (3, 8), (1, 1)];
        let items = Items::new(known.into_iter(), heard.into_iter(), &key);
        let all = [(1, 1), (3, 5), (3, 8), (6, 2), (9, 1), (9, 4)];
        assert_eq!(items.get(0..9), &[] as &[Item]);
        assert_eq!(items.get(0..items.len()), all);
        assert_eq!((items.highest(), items.from(4, 0..6), items.from(9, 2..4)), (8, 3, 4));
        for (start, end) in (0..=6).flat_map(|end| (0..=end).map(move |start| (start, end))) {
            let sum =
                all[start..end].iter().fold(0_u32, |sum, i| sum.wrapping_add(share(&key, *i)));
            assert_eq!(items.sum(start..end), sum);
            assert_eq!(sum == 0, start == end);
        }
    }
}
