//! Ids of nodes, and messages: what they hold is right but for the keys and the
//! signatures, which nobody checks here.

use casm::{
    PeerId,
    gossip::{SignedMessage, id::MessageId},
    libp2p::multihash::Multihash,
};

/// The topic that all nodes are on.
pub const TOPIC: &str = "casm";
/// How the key of an Ed25519 node begins in its id.
const ED25519: [u8; 4] = [8, 1, 18, 32];

/// The id of the node at this place, as long as that of an Ed25519 key.
pub fn id(place: usize) -> PeerId {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&ED25519);
    // Ids are compared from their start; this one is spread over all of them.
    let spread = crate::rng::mix(place as u64);
    key[4..12].copy_from_slice(&spread.to_be_bytes());
    key[28..].copy_from_slice(&(place as u64).to_be_bytes());
    let hash = Multihash::wrap(0, &key).expect("it is short enough");
    PeerId::from_multihash(hash).expect("an id may hold a key")
}

/// The place of a node.
pub fn place(peer: &PeerId) -> usize {
    let hash: &Multihash<64> = peer.as_ref();
    last(hash.digest()) as usize
}

/// The message of this number.
pub fn message(source: PeerId, number: u64, bytes: usize) -> SignedMessage {
    let (from, number) = (source.to_bytes(), number.to_be_bytes());
    SignedMessage::new(&from, &vec![7; bytes], &number, TOPIC, &[7; 64], None)
        .expect("it has all that a message has")
}

/// The number of a message.
pub fn number(id: &MessageId) -> usize {
    last(id.as_bytes()) as usize
}

fn last(bytes: &[u8]) -> u64 {
    bytes.last_chunk().map_or(0, |last| u64::from_be_bytes(*last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_places_and_messages_numbers() {
        for n in [0, 1, 77, 123_456] {
            assert_eq!(place(&id(n)), n);
            let message = message(id(n), n as u64, 100);
            assert_eq!(number(message.id()), n);
            assert_eq!(message.id().source(), id(n).to_bytes());
        }
    }
}
