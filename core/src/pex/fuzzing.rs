//! Entrances for fuzzing and benchmarks, to what is not public.

use super::{
    codec::Puller,
    round::{Verifier, judge},
    view::{Gossip, Params},
};
use crate::{PeerId, record::SignedRecord};

/// The most records that a round may have, the sender's own included.
pub fn max_records() -> usize {
    Params::default().max_view
}

/// The packed message of one record.
pub fn message(envelope: &[u8], hop: u64) -> Vec<u8> {
    super::codec::message(envelope, hop).unwrap_or_default()
}

/// What a round of a peer told: who, and how old each record is.
pub type Told = Vec<(PeerId, u32)>;

/// One direction of a round, read as its bytes come.
#[derive(Debug)]
pub struct Pull(Puller);

impl Default for Pull {
    fn default() -> Self {
        Self(Puller::new(&Params::default()))
    }
}

impl Pull {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// The reason why the round is refused, as in the metrics.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.0.push(bytes).map_err(super::RoundError::label)
    }

    /// What was told, when the peer has written everything: the sender last.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn end(self, peer: PeerId) -> Result<Told, &'static str> {
        let told = self.0.end().and_then(|raw| judge(raw, peer, &Verifier::default()));
        let told = told.map_err(super::RoundError::label)?;
        let others = told.others.iter().map(|g| (g.record.peer(), g.hop));
        Ok(others.chain([(told.sender.peer(), 0)]).collect())
    }
}

/// Reads a whole round in pieces of a size.
///
/// # Errors
/// As [`Pull::push`].
pub fn round(bytes: &[u8], piece: usize, peer: PeerId) -> Result<Told, &'static str> {
    let mut pull = Pull::default();
    for piece in bytes.chunks(piece.max(1)) {
        pull.push(piece)?;
    }
    pull.end(peer)
}

/// What a peer writes in a round.
pub fn encode(told: &[Gossip<SignedRecord>], own: &SignedRecord) -> Vec<u8> {
    super::codec::encode(told, own).unwrap_or_default()
}

/// Reads the rounds of a node, which remembers what it has verified.
#[derive(Debug, Default)]
pub struct Reader(Verifier);

impl Reader {
    /// What a peer told of others, and its own record.
    ///
    /// # Errors
    /// As [`Pull::push`].
    pub fn read(
        &self,
        bytes: &[u8],
        peer: PeerId,
    ) -> Result<(Vec<Gossip<SignedRecord>>, SignedRecord), &'static str> {
        let mut puller = Puller::new(&Params::default());
        let raw = puller.push(bytes).and_then(|()| puller.end());
        let told = raw.and_then(|raw| judge(raw, peer, &self.0));
        told.map(|told| (told.others, told.sender)).map_err(super::RoundError::label)
    }
}
