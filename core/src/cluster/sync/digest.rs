//! What a node has, in few bytes: for each peer a short id and the sequence
//! number of its heartbeat.

use super::heard::Heard;
use crate::cluster::snapshot::View;
use libp2p::PeerId;
use std::{collections::HashMap, time::Duration};

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
        // The end of a peer id is that of its hash. Without a copy: a digest of a few
        // bytes has this done for the whole table.
        let last = |bytes: &[u8]| bytes.last_chunk().copied().map(u64::from_be_bytes);
        last(peer.as_ref().digest()).or_else(|| last(&peer.to_bytes())).unwrap_or(0)
    }

    /// What the view has from `first` on, as far as a digest goes.
    pub fn of(view: &View, first: ShortId) -> Self {
        Self::with(view, std::iter::empty(), first)
    }

    /// The same with numbers that are known beside the view.
    pub(super) fn with(
        view: &View,
        heard: impl Iterator<Item = (ShortId, u64)>,
        first: ShortId,
    ) -> Self {
        let known = view.known().map(|(peer, seq)| (Self::id(&peer), seq));
        let mut entries: Vec<_> = known.chain(heard).collect();
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
        for (peer, seq) in view.known() {
            let id = Self::id(&peer);
            if !(self.first..=self.last).contains(&id) {
                continue;
            }
            match theirs.remove(&id) {
                Some(theirs) if theirs == seq => (),
                Some(theirs) if theirs > seq => difference.older.push(id),
                _ => difference.newer.push(peer),
            }
        }
        difference.older.extend(theirs.into_keys());
        difference
    }

    /// The same, without what would be no news.
    pub(super) fn compare_with(
        &self,
        view: &View,
        heard: &Heard,
        now: Duration,
    ) -> DigestDifference {
        let mut difference = self.compare(view);
        let theirs: HashMap<_, _> = self.entries.iter().copied().collect();
        difference.older.retain(|id| heard.get(id, now) < theirs.get(id).copied());
        difference
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
            assert_eq!(Digest::id(&peer), last, "{peer}");
        }
    }
}
