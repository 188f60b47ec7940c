//! A pubsub message with its signature, as any node can verify it, whoever
//! hands it on.
//!
//! Format and signature: libp2p pubsub,
//! <https://github.com/libp2p/specs/blob/master/pubsub/README.md#message-signing>.

use super::{
    fields::{Fields, Malformed, Value, field_len, write_field},
    keys::Keys,
};
use crate::{
    Error, ErrorKind,
    gossip::{
        id::MessageId,
        wire::{MAX_MESSAGE, MAX_TOPIC},
    },
};
use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey},
    multihash::Multihash,
};
use std::{fmt, ops::Range, sync::Arc};

/// What precedes the signed bytes.
const PREFIX: &[u8] = b"libp2p-pubsub:";
/// Keys up to this size (in their protobuf encoding) are part of the peer id.
const MAX_INLINE_KEY: usize = 42;
/// The multihash code of an id that is the key itself.
const IDENTITY: u64 = 0;
/// How a peer's id begins that is an Ed25519 key: a multihash of 36 bytes, which
/// are the key's protobuf.
const ED25519: [u8; 6] = [0, 36, 8, 1, 18, 32];

/// A signed pubsub message, in the one encoding that is relayed: the fields from
/// `from` to `key` in order; `key` only if the source's id doesn't hold it;
/// nothing else. Whether its signature is good is for [`SignedMessage::verify`]
/// to say.
///
/// A clone shares the bytes.
#[derive(Clone)]
pub struct SignedMessage(Arc<Inner>);

struct Inner {
    /// The prefix and the encoding: what is signed stands at the start.
    bytes: Vec<u8>,
    id: MessageId,
    data: Range<u32>,
    topic: Range<u32>,
    /// The end of the signed bytes.
    signed: u32,
    signature: Range<u32>,
    /// Empty if the source's id holds it.
    key: Range<u32>,
    /// Whether something was left out, which others may have signed.
    trimmed: bool,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// It isn't protobuf.
    #[error("the message is no protobuf message")]
    Malformed,
    /// No source, or one that is no peer's id.
    #[error("the message's source is missing or is not the id of a peer")]
    Source,
    /// No sequence number, or a wrong one.
    #[error("the message's sequence number is not 8 bytes long")]
    SequenceNumber,
    /// No topic, or a wrong one.
    #[error("the message's topic is missing, is not UTF-8, or has more than {MAX_TOPIC} bytes")]
    Topic,
    /// No signature.
    #[error("the message is not signed")]
    Unsigned,
    /// No key, or another's.
    #[error("the message's key is missing or is not its source's")]
    Key,
    /// The signature is not of the source, or not of this message.
    #[error("the message's signature is wrong")]
    Signature,
    /// Longer than [`MAX_MESSAGE`].
    #[error("the message has more than {MAX_MESSAGE} bytes")]
    TooLarge,
}

impl SignedError {
    /// The reason by which refused messages are counted.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed | Self::Topic => "malformed",
            Self::Source => "bad-source",
            Self::SequenceNumber => "bad-sequence-number",
            Self::Unsigned | Self::Key | Self::Signature => "bad-signature",
            Self::TooLarge => "too-large",
        }
    }
}

impl From<Malformed> for SignedError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The fields of a message, as somebody sent them.
#[derive(Default)]
struct Parts<'a> {
    from: Option<&'a [u8]>,
    /// Go's nodes leave it out where it is empty, others don't: what is signed is
    /// what was sent.
    data: Option<&'a [u8]>,
    seqno: Option<&'a [u8]>,
    topic: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    trimmed: bool,
}

impl SignedMessage {
    /// A message of these fields, each as it is in the protobuf encoding: `from`
    /// the bytes of the source's id, `seqno` 8 bytes, big-endian, `key` what the
    /// source's id may hold instead.
    ///
    /// # Errors
    /// What can be told of the fields without verifying the signature.
    pub fn new(
        from: &[u8],
        data: &[u8],
        seqno: &[u8],
        topic: &str,
        signature: &[u8],
        key: Option<&[u8]>,
    ) -> Result<Self, SignedError> {
        let (from, data, seqno) = (Some(from), Some(data), Some(seqno));
        let (topic, signature) = (Some(topic.as_bytes()), Some(signature));
        Self::of(Parts { from, data, seqno, topic, signature, key, trimmed: false })
    }

    /// Makes and signs a message.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] above [`MAX_MESSAGE`] or [`MAX_TOPIC`];
    /// [`ErrorKind::Internal`] if the key cannot sign.
    pub fn sign(key: &Keypair, topic: &str, seq: u64, data: &[u8]) -> crate::Result<Self> {
        let public = key.public();
        let encoded = public.encode_protobuf();
        let (from, seqno) = (public.to_peer_id().to_bytes(), seq.to_be_bytes());
        let parts = Parts {
            from: Some(&from),
            data: Some(data),
            seqno: Some(&seqno),
            topic: Some(topic.as_bytes()),
            signature: None,
            key: (encoded.len() > MAX_INLINE_KEY).then_some(&encoded),
            trimmed: false,
        };
        let refused = |error| {
            let kind = match error {
                SignedError::TooLarge | SignedError::Topic => ErrorKind::TooLarge,
                _ => ErrorKind::Internal,
            };
            let (data, topic) = (data.len(), topic.len());
            let about = format!("a message of {data} bytes on a topic with a name of {topic}");
            Error::new(kind, format!("{about} cannot be signed: {error}"))
        };
        let unsigned = Inner::begin(&parts).map_err(refused)?;
        let signature = key.sign(&unsigned.bytes).map_err(|e| {
            Error::new(ErrorKind::Internal, "the node's key cannot sign").with_source(e)
        })?;
        unsigned.finish(&signature, parts.key).map_err(refused)
    }

    /// Decodes without verifying. Of a field that comes more than once the last
    /// one counts; fields that are unknown, or have another kind of value, are
    /// left out.
    ///
    /// # Errors
    /// As for [`SignedMessage::new`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SignedError> {
        let mut parts = Parts::default();
        for field in Fields(bytes) {
            let (tag, Value::Bytes(value)) = field? else {
                parts.trimmed = true;
                continue;
            };
            let part = match tag {
                1 => &mut parts.from,
                2 => &mut parts.data,
                3 => &mut parts.seqno,
                4 => &mut parts.topic,
                5 => &mut parts.signature,
                6 => &mut parts.key,
                _ => {
                    parts.trimmed = true;
                    continue;
                }
            };
            *part = Some(value);
        }
        Self::of(parts)
    }

    fn of(parts: Parts<'_>) -> Result<Self, SignedError> {
        let inner = Inner::begin(&parts)?;
        let signature = parts.signature.filter(|bytes| !bytes.is_empty());
        let signature = signature.ok_or(SignedError::Unsigned)?;
        inner.finish(signature, parts.key.filter(|bytes| !bytes.is_empty()))
    }

    /// The one encoding.
    pub fn encoded(&self) -> &[u8] {
        &self.0.bytes[PREFIX.len()..]
    }

    /// What the message is known by.
    pub fn id(&self) -> &MessageId {
        &self.0.id
    }

    /// Who published it, if the signature is good.
    pub fn source(&self) -> PeerId {
        PeerId::from_bytes(self.0.id.source()).expect("checked when the message was made")
    }

    /// Its sequence number.
    pub fn seq(&self) -> u64 {
        self.0.id.seq()
    }

    /// The topic on which it was published.
    pub fn topic(&self) -> &str {
        str::from_utf8(self.at(&self.0.topic)).expect("checked when the message was made")
    }

    /// Whether it is of that topic.
    pub(crate) fn is_of(&self, topic: &str) -> bool {
        self.at(&self.0.topic) == topic.as_bytes()
    }

    /// What was published.
    pub fn data(&self) -> &[u8] {
        self.at(&self.0.data)
    }

    fn at(&self, range: &Range<u32>) -> &[u8] {
        &self.0.bytes[range.start as usize..range.end as usize]
    }

    /// Whether nobody can take the signature for good if
    /// [`verify`](Self::verify) doesn't. Nodes of other makes differ on keys and
    /// signatures of other kinds, and on fields that were left out here: an honest
    /// one may have checked such a message, and passed it on.
    pub fn is_beyond_doubt(&self) -> bool {
        !self.0.trimmed && self.id().source().starts_with(&ED25519)
    }

    /// Whether who sent the one answers for the other too. Of two that are equal, one
    /// may have had fields that were left out, and that its source may have signed.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self == other && self.0.trimmed == other.0.trimmed
    }

    /// Verifies that the message was published by its source.
    ///
    /// Each signature by itself: a batch (`verify_batch` of ed25519-dalek, or
    /// any that takes the cofactor out) accepts some signatures that are refused
    /// one by one, so that nodes would differ on what is forged.
    ///
    /// # Errors
    /// [`SignedError::Key`] and [`SignedError::Signature`].
    pub fn verify(&self, keys: &Keys) -> Result<(), SignedError> {
        let (source, encoded) = (self.source(), self.at(&self.0.key));
        let key = if encoded.is_empty() { keys.of(&source) } else { key_of(encoded, &source) };
        let key = key.ok_or(SignedError::Key)?;
        let signed = &self.0.bytes[..self.0.signed as usize];
        if !key.verify(signed, self.at(&self.0.signature)) {
            return Err(SignedError::Signature);
        }
        if encoded.is_empty() {
            keys.keep(source, key);
        }
        Ok(())
    }
}

impl Inner {
    /// What is signed of a message.
    fn begin(parts: &Parts<'_>) -> Result<Self, SignedError> {
        let from = parts.from.filter(|from| from.len() <= MessageId::MAX_LEN - 8);
        let from = from.ok_or(SignedError::Source)?;
        let seqno = parts.seqno.unwrap_or_default();
        let number = seqno.try_into().map_err(|_| SignedError::SequenceNumber)?;
        let topic = parts.topic.filter(|topic| topic.len() <= MAX_TOPIC);
        let topic = topic.filter(|topic| str::from_utf8(topic).is_ok());
        let topic = topic.ok_or(SignedError::Topic)?;
        let data = parts.data.unwrap_or_default();
        if data.len() > MAX_MESSAGE {
            return Err(SignedError::TooLarge);
        }
        let rest = [parts.signature, parts.key].map(|part| part.map_or(64, <[u8]>::len));
        let fields = [from.len(), data.len(), seqno.len(), topic.len()].into_iter().chain(rest);
        let len = fields.map(field_len).sum::<usize>();
        let mut bytes = Vec::with_capacity(PREFIX.len() + len.min(MAX_MESSAGE));
        bytes.extend_from_slice(PREFIX);
        write(1, from, &mut bytes);
        let data = parts.data.map_or(0..0, |data| write(2, data, &mut bytes));
        write(3, seqno, &mut bytes);
        let topic = write(4, topic, &mut bytes);
        let signed = bytes.len() as u32;
        let id = MessageId::new(from, number);
        let trimmed = parts.trimmed;
        Ok(Self { bytes, id, data, topic, signed, signature: 0..0, key: 0..0, trimmed })
    }

    /// The message with a signature and, if its source's id doesn't hold it, a key.
    fn finish(
        mut self,
        signature: &[u8],
        key: Option<&[u8]>,
    ) -> Result<SignedMessage, SignedError> {
        let source = PeerId::from_bytes(self.id.source()).map_err(|_| SignedError::Source)?;
        let id: &Multihash<64> = source.as_ref();
        let inline = id.code() == IDENTITY;
        let key = match key {
            // Another's, or not as it is in the id: no node writes such a message.
            Some(key) if inline && key != id.digest() => return Err(SignedError::Key),
            None if !inline => return Err(SignedError::Key),
            key => key.filter(|_| !inline),
        };
        let rest = field_len(signature.len()) + key.map_or(0, |key| field_len(key.len()));
        if self.bytes.len() - PREFIX.len() + rest > MAX_MESSAGE {
            return Err(SignedError::TooLarge);
        }
        self.signature = write(5, signature, &mut self.bytes);
        if let Some(key) = key {
            self.key = write(6, key, &mut self.bytes);
        }
        self.bytes.shrink_to_fit();
        Ok(SignedMessage(Arc::new(self)))
    }
}

/// Writes a field, and says where its value is: messages are shorter than 4 GiB.
fn write(tag: u32, value: &[u8], to: &mut Vec<u8>) -> Range<u32> {
    write_field(tag, value, to);
    (to.len() - value.len()) as u32..to.len() as u32
}

impl PartialEq for SignedMessage {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.bytes == other.0.bytes
    }
}

impl Eq for SignedMessage {}

impl fmt::Debug for SignedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedMessage")
            .field("source", &self.source())
            .field("seq", &self.seq())
            .field("topic", &self.topic())
            .field("bytes", &self.encoded().len())
            .finish()
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
#[path = "signed_tests.rs"]
pub(crate) mod tests;
