//! What is said on the topic: whom its source suspects, as a protobuf message.
//!
//! | field | |
//! |---|---|
//! | 1 | a suspicion: a message with the peer's id (1, bytes) and the number of its last heartbeat that is known (2); up to 64 of them |
//!
//! Other fields are skipped.

use crate::pubsub::{
    Verdict,
    fields::{Fields, Malformed, Value, write_field, write_number},
};
use libp2p::PeerId;

/// Somebody is suspected to be gone since it sent its last heartbeat that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// Who.
    pub peer: PeerId,
    /// The number of that heartbeat.
    pub seq: u64,
}

/// Suspicions, as they are published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects(pub Vec<Suspect>);

/// Why the bytes are no suspicions that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuspectsError {
    /// There are too many bytes.
    #[error("suspicions have more than {} bytes", Suspects::MAX_LEN)]
    TooLarge,
    /// There are too many suspicions.
    #[error("there are more than {} suspicions", Suspects::MAX)]
    TooMany,
    /// They cannot be decoded, a field is missing, or comes twice.
    #[error("suspicions are malformed")]
    Malformed,
}

impl SuspectsError {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "refused-too-large",
            Self::TooMany => "refused-too-many",
            Self::Malformed => "refused-malformed",
        }
    }

    /// What gossip is told.
    pub(crate) const fn verdict(self) -> Verdict {
        match self {
            // A later version may say more.
            Self::TooLarge | Self::TooMany => Verdict::Ignore,
            Self::Malformed => Verdict::Reject,
        }
    }
}

impl From<Malformed> for SuspectsError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Suspects {
    /// The most suspicions in a message.
    pub const MAX: usize = 64;
    /// The longest message, in bytes.
    pub const MAX_LEN: usize = 8 << 10;

    /// Encodes them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut each = Vec::new();
        for suspect in &self.0 {
            each.clear();
            write_field(1, &suspect.peer.to_bytes(), &mut each);
            write_number(2, suspect.seq, &mut each);
            write_field(1, &each, &mut out);
        }
        out
    }

    /// Decodes them.
    ///
    /// # Errors
    /// The first reason found why they are not taken.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuspectsError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(SuspectsError::TooLarge);
        }
        let mut all = Vec::new();
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(_)) if all.len() == Self::MAX => {
                    return Err(SuspectsError::TooMany);
                }
                (1, Value::Bytes(suspect)) => all.push(Suspect::decode(suspect)?),
                (1, _) => return Err(SuspectsError::Malformed),
                _ => {}
            }
        }
        Ok(Self(all))
    }
}

impl Suspect {
    fn decode(bytes: &[u8]) -> Result<Self, SuspectsError> {
        let (mut peer, mut seq) = (None, None);
        for field in Fields(bytes) {
            let twice = match field? {
                (1, Value::Bytes(id)) => peer.replace(peer_id(id)?).is_some(),
                (2, Value::Number(number)) => seq.replace(number).is_some(),
                (1 | 2, _) => true,
                _ => false,
            };
            if twice {
                return Err(SuspectsError::Malformed);
            }
        }
        match (peer, seq) {
            (Some(peer), Some(seq)) => Ok(Self { peer, seq }),
            _ => Err(SuspectsError::Malformed),
        }
    }
}

fn peer_id(bytes: &[u8]) -> Result<PeerId, SuspectsError> {
    let id = PeerId::from_bytes(bytes).map_err(|_| SuspectsError::Malformed)?;
    // Multihashes have varints, which have more than one form.
    if id.to_bytes() == bytes { Ok(id) } else { Err(SuspectsError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(n: usize) -> Suspects {
        Suspects((0..n).map(|n| Suspect { peer: PeerId::random(), seq: n as u64 }).collect())
    }

    #[test]
    fn what_is_written_is_read_and_the_most_fit() {
        for n in [0, 1, Suspects::MAX] {
            let said = some(n);
            assert_eq!(Suspects::decode(&said.encode()), Ok(said));
        }
        // The longest ids.
        let peer = PeerId::from_bytes(&[&[0x12, 32][..], &[7; 32]].concat()).unwrap();
        let said = Suspects(vec![Suspect { peer, seq: u64::MAX }; Suspects::MAX]);
        assert!(said.encode().len() <= Suspects::MAX_LEN / 2);
    }

    #[test]
    fn what_is_bad_is_refused_with_its_reason_and_what_is_unknown_is_skipped() {
        let one = some(1);
        let good = one.encode();
        let inner = &good[2..];
        let wrapped = |inner: &[u8]| {
            let mut out = Vec::new();
            write_field(1, inner, &mut out);
            out
        };
        let decode = |bytes: &[u8]| Suspects::decode(bytes);
        assert_eq!(decode(&some(Suspects::MAX + 1).encode()), Err(SuspectsError::TooMany));
        assert_eq!(decode(&[0; Suspects::MAX_LEN + 1]), Err(SuspectsError::TooLarge));
        let mut more = good.clone();
        write_field(9, b"later", &mut more);
        let mut within = inner.to_vec();
        write_number(3, 7, &mut within);
        assert_eq!((decode(&more), decode(&wrapped(&within))), (Ok(one.clone()), Ok(one)));
        let mut number = Vec::new();
        write_number(1, 1, &mut number);
        let mut id_only = Vec::new();
        write_field(1, &PeerId::random().to_bytes(), &mut id_only);
        for bad in [
            number.clone(),
            wrapped(&[]),
            wrapped(&id_only),
            wrapped(&number),
            wrapped(&[inner, inner].concat()),
            good[..good.len() - 1].to_vec(),
            wrapped(&[&[1 << 3 | 2, 3, 0, 0x81, 0][..], &[2 << 3, 1]].concat()),
        ] {
            assert_eq!(decode(&bad), Err(SuspectsError::Malformed), "{bad:?}");
        }
    }
}
