//! What a node has, in few bytes: for each peer a short id and the sequence
//! number of its heartbeat.

use crate::cluster::snapshot::View;
use libp2p::PeerId;
use std::collections::HashMap;

/// Peers in a digest. A larger table is compared in parts.
pub(super) const MAX_ENTRIES: usize = 4096;

/// A peer's id in digests: the last eight bytes of its peer id. They are part
/// of a public key or of a hash of one, so that nobody can choose another's.
pub type ShortId = u64;

/// Which peers a node has, of those whose ids lie in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The lowest id of the range.
    pub first: ShortId,
    /// The highest id of the range.
    pub last: ShortId,
    /// Ids and sequence numbers.
    pub entries: Vec<(ShortId, u64)>,
}

/// How two nodes differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DigestDifference {
    /// Peers of which this node has a newer heartbeat than the other.
    pub newer: Vec<PeerId>,
    /// Peers of which the other has a newer heartbeat.
    pub older: Vec<ShortId>,
}

impl Digest {
    /// A peer's id in digests.
    pub fn id(peer: &PeerId) -> ShortId {
        peer.to_bytes().last_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    /// What the view has from `first` on, as far as a digest goes.
    pub fn of(view: &View, first: ShortId) -> Self {
        let query = crate::cluster::Query::all();
        let all = view.refs(&query).filter(|record| record.seq() > 0);
        let mut entries: Vec<_> = all.map(|r| (Self::id(&r.peer()), r.seq())).collect();
        if entries.len() <= MAX_ENTRIES {
            return Self { first: 0, last: ShortId::MAX, entries };
        }
        entries.retain(|(id, _)| *id >= first);
        entries.sort_unstable();
        let last = match entries.get(MAX_ENTRIES) {
            None => ShortId::MAX,
            // Several peers may have one id: the range ends before them.
            Some((next, _)) => next.saturating_sub(1),
        };
        entries.truncate(MAX_ENTRIES);
        entries.retain(|(id, _)| *id <= last);
        Self { first, last, entries }
    }

    /// Where the next digest of the same table begins.
    pub fn next(&self) -> ShortId {
        self.last.wrapping_add(1)
    }

    /// How this node's view differs from what the other one has.
    pub fn compare(&self, view: &View) -> DigestDifference {
        let mut theirs: HashMap<ShortId, u64> = HashMap::with_capacity(self.entries.len());
        for (id, seq) in &self.entries {
            let known = theirs.entry(*id).or_default();
            *known = (*known).max(*seq);
        }
        let mut difference = DigestDifference::default();
        let query = crate::cluster::Query::all();
        for record in view.refs(&query).filter(|record| record.seq() > 0) {
            let id = Self::id(&record.peer());
            if !(self.first..=self.last).contains(&id) {
                continue;
            }
            match theirs.remove(&id) {
                Some(seq) if seq == record.seq() => (),
                Some(seq) if seq > record.seq() => difference.older.push(id),
                _ => difference.newer.push(record.peer()),
            }
        }
        difference.older.extend(theirs.into_keys());
        difference
    }
}
