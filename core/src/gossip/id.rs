//! What a message is known by.

use smallvec::SmallVec;
use std::fmt;

/// The bytes of the source's id, followed by the 8 bytes of the number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(SmallVec<[u8; 48]>);

impl MessageId {
    /// The longest id that is taken from others. Ours have 46 bytes, or 42 if
    /// the source's key is not an Ed25519 one.
    pub const MAX_LEN: usize = 64;

    /// The id of a message.
    pub fn new(source: &[u8], seqno: [u8; 8]) -> Self {
        let mut id = SmallVec::from_slice(source);
        id.extend_from_slice(&seqno);
        Self(id)
    }

    /// An id that somebody offers or asks for; `None` if no message of ours
    /// can have it.
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        (9..=Self::MAX_LEN).contains(&bytes.len()).then(|| Self(SmallVec::from_slice(bytes)))
    }

    /// As it is on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The source's part.
    pub fn source(&self) -> &[u8] {
        &self.0[..self.0.len() - 8]
    }

    /// The number's part.
    pub fn seq(&self) -> u64 {
        self.0.last_chunk().map_or(0, |seq| u64::from_be_bytes(*seq))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
