//! A pubsub message with its signature, as any node can verify it, whoever
//! hands it on.
//!
//! Format and signature: libp2p pubsub,
//! <https://github.com/libp2p/specs/blob/master/pubsub/README.md#message-signing>.

use super::keys::Keys;
use crate::{Error, Result};
use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey},
    multihash::Multihash,
};
use prost::{Message as _, encoding};

/// What precedes the signed bytes.
const PREFIX: &[u8] = b"libp2p-pubsub:";
/// Keys up to this size (in their protobuf encoding) are part of the peer id.
const MAX_INLINE_KEY: usize = 42;
/// The multihash code of an id that is the key itself.
const IDENTITY: u64 = 0;

/// The protobuf of a signed pubsub message.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SignedMessage {
    pub(crate) from: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) seqno: Vec<u8>,
    pub(crate) topic: String,
    pub(crate) signature: Vec<u8>,
    pub(crate) key: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct MessageProto {
    #[prost(bytes = "vec", optional, tag = "1")]
    from: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    seqno: Option<Vec<u8>>,
    #[prost(string, required, tag = "4")]
    topic: String,
    #[prost(bytes = "vec", optional, tag = "5")]
    signature: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    key: Option<Vec<u8>>,
}

/// A message whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) source: PeerId,
    pub(crate) seq: u64,
    pub(crate) topic: String,
    pub(crate) data: Vec<u8>,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignedError {
    #[error("the message is not a pubsub message with source, number and signature")]
    Malformed,
    #[error("the message's sequence number is not 8 bytes long")]
    SequenceNumber,
    #[error("the message's key is missing or is not its source's")]
    Key,
    #[error("the message's signature is wrong")]
    Signature,
}

impl SignedMessage {
    /// Makes and signs a message.
    pub(crate) fn sign(key: &Keypair, topic: &str, seq: u64, data: &[u8]) -> Result<Self> {
        let public = key.public();
        let encoded = public.encode_protobuf();
        let mut message = Self {
            from: public.to_peer_id().to_bytes(),
            data: data.to_vec(),
            seqno: seq.to_be_bytes().to_vec(),
            topic: topic.into(),
            signature: Vec::new(),
            key: (encoded.len() > MAX_INLINE_KEY).then_some(encoded),
        };
        message.signature = key.sign(&message.signed_bytes()).map_err(|e| {
            Error::new(crate::ErrorKind::Internal, "the node's key cannot sign").with_source(e)
        })?;
        Ok(message)
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        MessageProto {
            from: Some(self.from),
            data: Some(self.data),
            seqno: Some(self.seqno),
            topic: self.topic,
            signature: Some(self.signature),
            key: self.key,
        }
        .encode_to_vec()
    }

    /// Decodes without verifying.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SignedError> {
        let proto = MessageProto::decode(bytes).map_err(|_| SignedError::Malformed)?;
        Ok(Self {
            from: proto.from.ok_or(SignedError::Malformed)?,
            data: proto.data.unwrap_or_default(),
            seqno: proto.seqno.ok_or(SignedError::SequenceNumber)?,
            topic: proto.topic,
            signature: proto.signature.ok_or(SignedError::Malformed)?,
            key: proto.key,
        })
    }

    /// Verifies that the message was published by its source.
    ///
    /// Each signature by itself: a batch (`verify_batch` of ed25519-dalek, or
    /// any that takes the cofactor out) accepts some signatures that are refused
    /// one by one, so that nodes would differ on what is forged.
    pub(crate) fn verify(self, keys: &Keys) -> Result<Verified, SignedError> {
        let source = PeerId::from_bytes(&self.from).map_err(|_| SignedError::Malformed)?;
        let seqno =
            <[u8; 8]>::try_from(&self.seqno[..]).map_err(|_| SignedError::SequenceNumber)?;
        let key = match &self.key {
            Some(encoded) => key_of(encoded, &source),
            None => keys.of(&source),
        };
        let key = key.ok_or(SignedError::Key)?;
        if !key.verify(&self.signed_bytes(), &self.signature) {
            return Err(SignedError::Signature);
        }
        if self.key.is_none() {
            keys.keep(source, key);
        }
        let seq = u64::from_be_bytes(seqno);
        Ok(Verified { source, seq, topic: self.topic, data: self.data })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let len = PREFIX.len() + self.from.len() + self.data.len() + self.topic.len();
        // Tags, lengths and the sequence number take less than the rest.
        let mut bytes = Vec::with_capacity(len + 48);
        bytes.extend_from_slice(PREFIX);
        // The message without signature and key.
        encoding::bytes::encode(1, &self.from, &mut bytes);
        encoding::bytes::encode(2, &self.data, &mut bytes);
        encoding::bytes::encode(3, &self.seqno, &mut bytes);
        encoding::string::encode(4, &self.topic, &mut bytes);
        bytes
    }
}

/// The key in a peer's id.
pub(super) fn inline_key(peer: &PeerId) -> Option<PublicKey> {
    let id: &Multihash<64> = peer.as_ref();
    (id.code() == IDENTITY).then(|| key_of(id.digest(), peer))?
}

/// The key in these bytes, if it is the peer's.
fn key_of(encoded: &[u8], peer: &PeerId) -> Option<PublicKey> {
    let key = PublicKey::try_decode_protobuf(encoded).ok()?;
    (key.to_peer_id() == *peer).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_message_verifies_and_a_changed_one_does_not() {
        let (key, keys) = (Keypair::generate_ed25519(), Keys::default());
        let bytes = SignedMessage::sign(&key, "casm", 7, b"data").unwrap().encode();
        let verified = SignedMessage::decode(&bytes).unwrap().verify(&keys).unwrap();
        assert_eq!((verified.source, verified.seq), (key.public().to_peer_id(), 7));
        assert_eq!((verified.topic.as_str(), &verified.data[..]), ("casm", &b"data"[..]));

        let mut changed = SignedMessage::decode(&bytes).unwrap();
        changed.data[0] ^= 1;
        assert_eq!(changed.verify(&keys), Err(SignedError::Signature));

        let mut short = SignedMessage::decode(&bytes).unwrap();
        short.seqno.pop();
        assert_eq!(short.verify(&keys), Err(SignedError::SequenceNumber));

        let mut foreign = SignedMessage::decode(&bytes).unwrap();
        foreign.key = Some(Keypair::generate_ed25519().public().encode_protobuf());
        assert_eq!(foreign.verify(&keys), Err(SignedError::Key));
    }

    #[test]
    fn what_is_signed_is_the_message_without_signature_and_key() {
        let key = Keypair::generate_ed25519();
        for (topic, data) in [("", vec![]), ("casm", vec![7; 3]), ("casm", vec![7; 300_000])] {
            let message = SignedMessage::sign(&key, topic, 7, &data).unwrap();
            let unsigned = MessageProto {
                from: Some(message.from.clone()),
                data: Some(data),
                seqno: Some(message.seqno.clone()),
                topic: topic.into(),
                signature: None,
                key: None,
            };
            assert_eq!(message.signed_bytes(), [PREFIX, &unsigned.encode_to_vec()].concat());
        }
    }

    #[test]
    fn a_key_that_is_kept_makes_no_other_message_good() {
        let (key, keys) = (Keypair::generate_ecdsa(), Keys::default());
        let message = SignedMessage::sign(&key, "casm", 7, b"data").unwrap();
        let verify = |message: &SignedMessage| message.clone().verify(&keys).map(|_| ());
        assert_eq!(verify(&message), Ok(()));
        let without_key = SignedMessage { key: None, ..message };
        assert_eq!(verify(&without_key), Err(SignedError::Key));

        let inline = Keypair::generate_ed25519();
        let message = SignedMessage::sign(&inline, "casm", 7, b"data").unwrap();
        assert_eq!(verify(&message), Ok(()));
        let forged = SignedMessage { seqno: vec![8; 8], ..message.clone() };
        assert_eq!(verify(&forged), Err(SignedError::Signature));
        let other = SignedMessage { key: Some(key.public().encode_protobuf()), ..message };
        assert_eq!(verify(&other), Err(SignedError::Key));
    }

    #[test]
    fn messages_of_go_nodes_verify() {
        let Some(folder) = std::env::var_os("CASM_GOLDEN") else {
            return println!("skipped: CASM_GOLDEN is not set");
        };
        let keys = Keys::default();
        for (file, seq) in [
            ("pubsub-message-0.bin", 0x18ea_8940_15c0_b7d2_u64),
            ("pubsub-message-1.bin", 0x18ea_8940_15c0_b7d3),
        ] {
            let bytes = std::fs::read(std::path::Path::new(&folder).join(file)).unwrap();
            let verified = SignedMessage::decode(&bytes).unwrap().verify(&keys).unwrap();
            assert_eq!(
                verified.source.to_string(),
                "12D3KooWDcrd1KztSpK1YeBUAxMdCkgkqUskqe6FxXq6FQFbeKsG"
            );
            assert_eq!((verified.seq, verified.topic.as_str()), (seq, "casm"));
        }
    }
}
