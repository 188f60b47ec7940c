//! All records by slot: the number under which the indexes know them.
//!
//! A tree of three levels with places in proportion to the slot's bits, as in
//! P. Bagwell, "Ideal Hash Trees" (2001), without the hashing. Every step of a
//! query looks up a slot: two masks and three loads, where a vector for all
//! purposes (`imbl`) takes several times as many instructions, so that a
//! processor has more of the loads under way at once.

use crate::cluster::record::Record;
use std::{array, sync::Arc};

/// Places in a node, as a power of two.
const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;

/// Records by slot, in a persistent structure: a clone is a snapshot.
#[derive(Clone, Default)]
pub(in crate::cluster) struct Slots(Arc<Vec<Arc<Middle>>>);

#[derive(Clone)]
struct Middle([Option<Arc<Leaf>>; WIDTH]);

#[derive(Clone)]
struct Leaf([Option<Record>; WIDTH]);

impl Default for Middle {
    fn default() -> Self {
        Self(array::from_fn(|_| None))
    }
}

impl Default for Leaf {
    fn default() -> Self {
        Self(array::from_fn(|_| None))
    }
}

/// Where a slot is in each level.
fn path(slot: u32) -> [usize; 3] {
    let slot = slot as usize;
    [slot >> (2 * BITS), (slot >> BITS) % WIDTH, slot % WIDTH]
}

impl Slots {
    pub(in crate::cluster) fn get(&self, slot: u32) -> Option<&Record> {
        let [root, middle, leaf] = path(slot);
        self.0.get(root)?.0[middle].as_ref()?.0[leaf].as_ref()
    }

    /// Fills a slot, or empties it. The first one beyond the end may be filled
    /// too.
    pub(in crate::cluster) fn set(&mut self, slot: u32, record: Option<Record>) {
        let [root, middle, leaf] = path(slot);
        let nodes = Arc::make_mut(&mut self.0);
        if root == nodes.len() {
            nodes.push(Arc::default());
        }
        let Some(node) = nodes.get_mut(root) else { return };
        let node = Arc::make_mut(node).0[middle].get_or_insert_default();
        Arc::make_mut(node).0[leaf] = record;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PeerId, cluster::Heartbeat};
    use std::time::Duration;

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let beat = Heartbeat {
            server: 1,
            ttl: None,
            host: "here".into(),
            meta: vec![],
            sent_at: None,
            addrs: Default::default(),
        };
        let peer = PeerId::random();
        let record = |seq| Record::new(peer, seq, Duration::from_secs(10), &beat);
        let seqs = |slots: &Slots| -> Vec<_> {
            (0..10_002).map(|slot| slots.get(slot).map(Record::seq)).collect()
        };
        let mut slots = Slots::default();
        for slot in 0..10_000 {
            assert!(slots.get(slot).is_none());
            slots.set(slot, Some(record(slot.into())));
        }
        let before = slots.clone();
        let expected: Vec<_> = (0..10_000).map(Some).chain([None, None]).collect();
        assert_eq!(seqs(&slots), expected);

        let mut changed = expected.clone();
        for slot in [0, 63, 64, 4095, 4096, 9_999, 10_000] {
            let new = (slot % 2 == 0).then(|| record(1 << 40));
            changed[slot as usize] = new.as_ref().map(Record::seq);
            slots.set(slot, new);
        }
        assert_eq!(seqs(&slots), changed);
        assert_eq!(seqs(&before), expected);
        assert!(slots.get(u32::MAX).is_none());
    }
}
