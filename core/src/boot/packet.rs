//! The datagrams of the boot protocol: a packed Cap'n Proto message in a
//! signed envelope.
//!
//! Reading is in two steps, since checking a signature costs far more than all
//! the rest: [`Unverified::parse`] tells what a datagram claims, so that what
//! is of no interest can be dropped, and [`Unverified::verify`] proves it.

use super::{packing::pack, seal::is_sealed};
use crate::{
    Error, ErrorKind, Multiaddr, Namespace, PeerId, Result,
    announce::MAX_ANNOUNCED,
    record::{self, RecordError},
    schema::boot_capnp::packet,
};
use capnp::{
    message::{Builder, HeapAllocator, ReaderOptions},
    serialize_packed, text,
};
use libp2p::identity::Keypair;
use prost::Message;

const DOMAIN: &str = "casm-boot-record";
const PAYLOAD_TYPE: &[u8] = &[0x1f, 0x00];

/// The longest datagram, in bytes.
pub const MAX_LEN: usize = 2048;
/// How many bytes longer than what asked for it an answer may be.
pub const MAX_GROWTH: usize = 64;
/// The most addresses that are taken from a response.
pub const MAX_ADDRS: usize = 64;

/// The most words that a message may have after unpacking. Packing can blow up
/// a datagram five-hundredfold; no honest one of 2048 bytes needs more.
const MAX_WORDS: usize = 1024;
/// Structure, list, blob: nothing nests deeper.
const MAX_NESTING: i32 = 4;
/// What our own questions are padded with, so that whole answers are not much
/// longer than they.
const PADDING: usize = 512;
const FILLER: &[u8; 8] = b"CASM-PAD";

/// A datagram of the boot protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet {
    /// Who sent it.
    pub peer: PeerId,
    /// The namespace that is asked for, or answered for.
    pub namespace: Namespace,
    /// Of a survey, a number that its answers echo; 0 if there is none, as in
    /// what Go's CASM sends.
    pub nonce: u64,
    /// What it says.
    pub body: Body,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// Unicast: whoever advertises the namespace answers.
    Request,
    /// Multicast: whoever advertises the namespace and is near enough answers.
    Survey {
        /// How many bits of distance are ignored; 32 or more means everyone.
        distance: u8,
    },
    /// The sender advertises the namespace, and can be reached here.
    Response {
        /// Where; addresses of a kind that is not known here were skipped.
        addrs: Vec<Multiaddr>,
    },
}

impl Body {
    /// The name of the kind, as a metrics label and in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Survey { .. } => "survey",
            Self::Response { .. } => "response",
        }
    }
}

/// Why a datagram is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// More bytes than a datagram may have.
    #[error("the datagram is longer than {MAX_LEN} bytes")]
    TooLarge,
    /// The envelope cannot be decoded, or its public key is not usable.
    #[error("the signed envelope is malformed")]
    Envelope,
    /// The envelope holds something else.
    #[error("the signed envelope holds another type of payload")]
    PayloadType,
    /// The signature doesn't match.
    #[error("the signature is wrong")]
    Signature,
    /// The payload cannot be decoded, or unpacks to too much.
    #[error("the packet inside is malformed or unpacks to more than {MAX_WORDS} words")]
    Malformed,
    /// The namespace is not one.
    #[error("the packet names no valid namespace")]
    Namespace,
    /// The peer id is not one.
    #[error("the packet names no valid peer")]
    Peer,
    /// The packet names another peer than the one that signed it.
    #[error("the packet names another peer than its signer")]
    Signer,
    /// It is of a private cluster, and this node has no secret.
    #[error("the datagram is sealed, and this node has no secret")]
    Sealed,
    /// It is of no private cluster, and this node has a secret.
    #[error("the datagram is not sealed, and this node has a secret")]
    Unsealed,
    /// It is sealed in a way that is not known here, or cut.
    #[error("the seal is cut or of an unknown version")]
    SealForm,
    /// It is sealed with another secret, or for a namespace that this node has
    /// nothing to do with.
    #[error("the datagram is sealed with another secret or for another namespace")]
    SealKey,
    /// It was not sealed by who holds the secret, or was changed.
    #[error("the seal is broken")]
    Seal,
    /// The packet names another namespace than the one it is sealed for.
    #[error("the packet names another namespace than its seal")]
    SealNamespace,
}

impl Packet {
    /// A packet without a nonce.
    pub const fn new(peer: PeerId, namespace: Namespace, body: Body) -> Self {
        Self { peer, namespace, nonce: 0, body }
    }
}

impl PacketError {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Envelope => "bad-envelope",
            Self::PayloadType => "bad-payload-type",
            Self::Signature => "bad-signature",
            Self::Malformed => "malformed",
            Self::Namespace => "bad-namespace",
            Self::Peer => "bad-peer",
            Self::Signer => "wrong-signer",
            Self::Sealed => "sealed",
            Self::Unsealed => "not-sealed",
            Self::SealForm => "bad-seal-form",
            Self::SealKey => "other-seal",
            Self::Seal => "bad-seal",
            Self::SealNamespace => "wrong-seal",
        }
    }
}

impl From<RecordError> for PacketError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::TooLarge => Self::TooLarge,
            RecordError::Envelope => Self::Envelope,
            RecordError::PayloadType => Self::PayloadType,
            RecordError::Signature => Self::Signature,
            RecordError::Payload => Self::Malformed,
            RecordError::Signer => Self::Signer,
        }
    }
}

/// The libp2p signed envelope, as far as it can be read without cryptography.
#[derive(Clone, PartialEq, Eq, Message)]
struct EnvelopeProto {
    #[prost(bytes = "vec", tag = "1")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    payload_type: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
}

/// What a datagram claims, its signature not yet checked.
#[derive(Debug)]
pub struct Unverified<'a> {
    bytes: &'a [u8],
    payload: Vec<u8>,
    claim: Packet,
}

impl<'a> Unverified<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        if bytes.len() > MAX_LEN {
            return Err(PacketError::TooLarge);
        }
        if is_sealed(bytes) {
            return Err(PacketError::Sealed);
        }
        let envelope = EnvelopeProto::decode(bytes).map_err(|_| PacketError::Envelope)?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(PacketError::PayloadType);
        }
        let claim = decode_payload(&envelope.payload)?;
        Ok(Self { bytes, payload: envelope.payload, claim })
    }

    /// What is claimed. Anyone may have written it.
    pub fn claim(&self) -> &Packet {
        &self.claim
    }

    /// Checks the signature, and that the packet is its signer's.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn verify(self) -> Result<Packet, PacketError> {
        let (payload, signer) = record::open(self.bytes, DOMAIN, PAYLOAD_TYPE)?;
        // The two decoders must have seen the same payload.
        if payload != self.payload {
            return Err(PacketError::Envelope);
        }
        if signer != self.claim.peer {
            return Err(PacketError::Signer);
        }
        Ok(self.claim)
    }
}

fn decode_payload(mut payload: &[u8]) -> Result<Packet, PacketError> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(MAX_WORDS)).nesting_limit(MAX_NESTING);
    let malformed = |_| PacketError::Malformed;
    let message = serialize_packed::read_message(&mut payload, options).map_err(malformed)?;
    let root: packet::Reader<'_> = message.get_root().map_err(malformed)?;
    let namespace = root
        .get_namespace()
        .ok()
        .and_then(|text| text.to_str().ok())
        .and_then(|name| Namespace::new(name).ok())
        .ok_or(PacketError::Namespace)?;
    let peer = |text: capnp::Result<text::Reader<'_>>| {
        PeerId::from_bytes(text.map_err(malformed)?.as_bytes()).map_err(|_| PacketError::Peer)
    };
    let (peer, body) = match root.which().map_err(|_| PacketError::Malformed)? {
        packet::Which::Request(request) => (peer(request.get_from())?, Body::Request),
        packet::Which::Survey(survey) => {
            (peer(survey.get_from())?, Body::Survey { distance: survey.get_distance() })
        }
        packet::Which::Response(response) => {
            let mut addrs = Vec::new();
            for addr in response.get_addrs().map_err(malformed)? {
                let bytes = addr.map_err(malformed)?;
                // Of an unknown kind: the others may still be of use.
                let Ok(addr) = Multiaddr::try_from(bytes.to_vec()) else { continue };
                addrs.push(addr);
                if addrs.len() == MAX_ADDRS {
                    break;
                }
            }
            (peer(response.get_peer())?, Body::Response { addrs })
        }
    };
    Ok(Packet { peer, namespace, nonce: root.get_nonce(), body })
}

impl Packet {
    /// Reads a datagram and checks its signature.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        Unverified::parse(bytes)?.verify()
    }

    /// The message inside, with `padding` bytes that nothing refers to.
    pub(super) fn payload(&self, padding: usize) -> Vec<u8> {
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(MAX_WORDS as u32));
        let mut root: packet::Builder<'_> = message.init_root();
        root.set_namespace(self.namespace.as_str());
        root.set_nonce(self.nonce);
        let id = self.peer.to_bytes();
        match &self.body {
            Body::Request => root.init_request().set_from(text::Reader(&id)),
            Body::Survey { distance } => {
                let mut survey = root.init_survey();
                survey.set_from(text::Reader(&id));
                survey.set_distance(*distance);
            }
            Body::Response { addrs } => {
                let mut response = root.init_response();
                response.set_peer(text::Reader(&id));
                let mut list = response.init_addrs(addrs.len() as u32);
                for (i, addr) in addrs.iter().enumerate() {
                    list.set(i as u32, addr.as_ref());
                }
            }
        }
        let segments = message.get_segments_for_output();
        // Only an answer of many long addresses needs a second segment, and
        // those are not padded.
        if let [segment] = segments[..] {
            let mut segment = segment.to_vec();
            segment.extend(FILLER.iter().cycle().take(padding / 8 * 8));
            return pack(&[&segment]);
        }
        pack(&segments)
    }

    pub(super) fn sign(&self, key: &Keypair, padding: usize) -> Result<Vec<u8>> {
        record::seal(key, DOMAIN, PAYLOAD_TYPE, self.payload(padding))
    }

    /// Signs the packet, which must be the key's own.
    ///
    /// Questions are padded by about 512 bytes, as far as they fit a datagram.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if it doesn't fit a datagram, as with an RSA key
    /// of more than 4096 bits or too many addresses.
    pub fn encode(&self, key: &Keypair) -> Result<Vec<u8>> {
        self.encode_within(key, MAX_LEN)
    }

    /// The same, in at most so many bytes.
    pub(super) fn encode_within(&self, key: &Keypair, most: usize) -> Result<Vec<u8>> {
        debug_assert_eq!(self.peer, key.public().to_peer_id());
        let bare = self.sign(key, 0)?;
        if bare.len() > most {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "a boot {} of {} bytes doesn't fit a datagram, which has room for {most}: \
                     use an ed25519 key and fewer addresses",
                    self.body.name(),
                    bare.len()
                ),
            ));
        }
        // Packing adds two bytes to 255 words, the envelope a longer length;
        // ECDSA signatures differ in length by a few bytes.
        let room = (most - bare.len()).saturating_sub(24);
        match self.body {
            Body::Response { .. } => Ok(bare),
            _ if room < 8 => Ok(bare),
            _ => self.sign(key, PADDING.min(room)),
        }
    }

    /// Signs an answer of at most `budget` bytes to a question with this nonce,
    /// with as many of the addresses as fit, from the first. `None` if not one
    /// fits.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the key cannot sign.
    pub fn answer(
        key: &Keypair,
        namespace: &Namespace,
        nonce: u64,
        addrs: &[Multiaddr],
        budget: usize,
    ) -> Result<Option<Vec<u8>>> {
        let budget = budget.min(MAX_LEN);
        let peer = key.public().to_peer_id();
        let mut overhead = 0;
        // A long name that alone is too much must not keep out what comes next.
        for skipped in 0..=MAX_ANNOUNCED.min(addrs.len()) {
            let mut addrs = addrs[skipped..].to_vec();
            addrs.truncate(MAX_ADDRS);
            while !addrs.is_empty() {
                let body = Body::Response { addrs: addrs.clone() };
                let packet = Self { peer, namespace: namespace.clone(), nonce, body };
                let payload = packet.payload(0).len();
                if payload + overhead <= budget {
                    let signed = packet.sign(key, 0)?;
                    if signed.len() <= budget {
                        return Ok(Some(signed));
                    }
                    overhead = signed.len() - payload;
                }
                addrs.pop();
            }
        }
        Ok(None)
    }
}

/// Whether a survey of this distance, by `asker`, is for `peer`.
///
/// The last 4 bytes of both ids are read in reverse order; all bits of their
/// XOR above the lowest `distance` must be 0.
pub fn in_range(asker: &PeerId, peer: &PeerId, distance: u8) -> bool {
    let xor = position(asker) ^ position(peer);
    xor.checked_shr(distance.into()).unwrap_or(0) == 0
}

/// Where a peer is in the space of survey distances.
pub fn position(peer: &PeerId) -> u32 {
    peer.as_ref().digest().iter().rev().take(4).fold(0, |sum, &byte| (sum << 8) | u32::from(byte))
}

#[cfg(test)]
#[path = "packet_tests.rs"]
pub(super) mod tests;
