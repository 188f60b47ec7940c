//! The revocations that a node holds.

use super::{
    AdmitError, Certificate, MAX_REVOCATION, Refusal, Revocation,
    wire::{Bounded, put},
};
use libp2p::PeerId;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::OnceLock,
};

/// The most revocations that a node holds. Of more, those stay whose certificates
/// were signed last.
pub const MAX_REVOKED: usize = 4096;

/// What nodes name a revocation by.
pub type ShortId = u64;

/// The place of a revocation in the order in which they stay.
type Rank = (u64, u64, ShortId);

/// Of each authority and peer the last revocation, [`MAX_REVOKED`] at most.
///
/// What is in it depends on what was heard and not on the sequence: nodes that tell
/// each other of theirs come to hold the same.
#[derive(Clone)]
pub struct Revoked {
    by_peer: HashMap<(PeerId, PeerId), Revocation>,
    /// Of which authority and peer, the first one to go first.
    order: BTreeMap<Rank, (PeerId, PeerId)>,
    room: usize,
    /// The ids in order and their hash, from when they were asked for last to the next
    /// change.
    summary: OnceLock<(Vec<ShortId>, [u8; 32])>,
}

impl Default for Revoked {
    fn default() -> Self {
        Self {
            by_peer: HashMap::new(),
            order: BTreeMap::new(),
            room: MAX_REVOKED,
            summary: OnceLock::new(),
        }
    }
}

/// What became of a revocation that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// It is new here.
    New,
    /// It says no more than one that is held, or there is no room for it.
    Known,
}

impl Revoked {
    /// Takes a revocation.
    ///
    /// # Errors
    /// As of [`Revocation::check`].
    pub fn insert(
        &mut self,
        revocation: Revocation,
        now: u64,
        cas: &[PeerId],
    ) -> Result<Insert, Refusal> {
        revocation.check(now, cas)?;
        Ok(self.put(revocation))
    }

    fn put(&mut self, revocation: Revocation) -> Insert {
        let (key, rank) = ((revocation.ca(), revocation.peer()), revocation.rank());
        let held = self.by_peer.get(&key).map(Revocation::rank);
        // Two that say the same have one id; others have not, but for a chance of one
        // in 2^64, by which one of them is lost.
        if held.is_some_and(|held| held >= rank) || self.order.contains_key(&rank) {
            return Insert::Known;
        }
        match held {
            Some(held) => drop(self.order.remove(&held)),
            None if self.order.len() < self.room => {}
            None => {
                let first = self.order.first_entry().filter(|first| *first.key() < rank);
                let Some(first) = first else { return Insert::Known };
                self.by_peer.remove(&first.remove());
            }
        }
        self.order.insert(rank, key);
        self.by_peer.insert(key, revocation);
        self.summary.take();
        Insert::New
    }

    /// Whether a certificate was taken back.
    pub fn voids(&self, certificate: &Certificate) -> bool {
        let held = self.by_peer.get(&(certificate.ca(), certificate.peer()));
        held.is_some_and(|revocation| certificate.issued() <= revocation.at())
    }

    /// The last revocation of a peer by an authority.
    pub fn get(&self, ca: &PeerId, peer: &PeerId) -> Option<&Revocation> {
        self.by_peer.get(&(*ca, *peer))
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// All of them, the last ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.order.values().rev().filter_map(|key| self.by_peer.get(key))
    }

    /// Lets go of those that need not be kept any more.
    pub fn expire(&mut self, now: u64) {
        self.summary.take();
        self.by_peer.retain(|_, revocation| now <= revocation.until());
        let by_peer = &self.by_peer;
        self.order.retain(|_, key| by_peer.contains_key(key));
    }

    /// When the next one need not be kept any more: the last second at which it is.
    pub fn next_end(&self) -> Option<u64> {
        self.by_peer.values().map(Revocation::until).min()
    }

    /// The ids of all, in order.
    pub fn ids(&self) -> Vec<ShortId> {
        self.summary().0.clone()
    }

    /// What two nodes compare to see whether they hold the same: a hash of all ids,
    /// in order.
    pub fn digest(&self) -> [u8; 32] {
        self.summary().1
    }

    fn summary(&self) -> &(Vec<ShortId>, [u8; 32]) {
        self.summary.get_or_init(|| {
            let mut ids: Vec<_> = self.order.keys().map(|rank| rank.2).collect();
            ids.sort_unstable();
            let mut hash = Sha256::new();
            ids.iter().for_each(|id| hash.update(id.to_be_bytes()));
            (ids, hash.finalize().into())
        })
    }

    /// Those that a node lacks which has these, the last ones first.
    pub fn lacking<'a>(
        &'a self,
        ids: &[ShortId],
    ) -> impl Iterator<Item = &'a Revocation> + use<'a> {
        let there: HashSet<_> = ids.iter().copied().collect();
        self.iter().filter(move |revocation| !there.contains(&revocation.id()))
    }

    /// Which of these are not held, in their order.
    pub fn unknown(&self, ids: &[ShortId]) -> Vec<ShortId> {
        let there = &self.summary().0;
        ids.iter().filter(|id| there.binary_search(id).is_err()).copied().collect()
    }

    /// All of them, for a file: a message with an envelope in each field 1.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        for revocation in self.iter() {
            put(1, revocation.encoded(), &mut to);
        }
        to
    }

    /// Reads what [`encode`](Self::encode) wrote. What does not count any more, of an
    /// authority that went say, is left out.
    ///
    /// # Errors
    /// [`AdmitError::TooLarge`], and [`AdmitError::Malformed`] if it is nothing of the
    /// kind; what can be read of it is lost then.
    pub fn decode(bytes: &[u8], now: u64, cas: &[PeerId]) -> Result<Self, AdmitError> {
        // A key and a length of two bytes each, at most.
        if bytes.len() > MAX_REVOKED * (MAX_REVOCATION + 4) {
            return Err(AdmitError::TooLarge);
        }
        let mut envelopes = Bounded::<_, MAX_REVOKED>::default();
        super::wire::each(bytes, |number, value| match (number, value) {
            (1, value) => envelopes.push(super::wire::bytes(value)?),
            _ => Ok(()),
        })?;
        let mut revoked = Self::default();
        for envelope in envelopes.0 {
            if let Ok(revocation) = Revocation::decode(envelope) {
                let _ = revoked.insert(revocation, now, cas);
            }
        }
        Ok(revoked)
    }
}

impl std::fmt::Debug for Revoked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
#[path = "revoked_tests.rs"]
mod tests;
