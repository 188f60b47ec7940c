//! Signed libp2p envelopes, and the peer records that travel in them.
//!
//! rust-libp2p's own `PeerRecord` voids a record on one address it doesn't
//! know and counts `seq` in seconds; Go counts nanoseconds. So the payload is
//! encoded here, and only the envelope is libp2p's
//! (<https://github.com/libp2p/specs/blob/master/RFC/0003-routing-records.md>).

use crate::{Error, ErrorKind, Result, prefix::Prefix};
use libp2p::{Multiaddr, PeerId, core::SignedEnvelope, identity::Keypair};
use prost::Message;
use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// A peer, and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerInfo {
    /// The peer's id.
    pub id: PeerId,
    /// Its addresses, without the final `/p2p/<id>`.
    pub addrs: Vec<Multiaddr>,
}

/// Why bytes are not the signed thing they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// More bytes than a record may have.
    #[error("the record is longer than {} bytes", SignedRecord::MAX_LEN)]
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
    /// The payload cannot be decoded.
    #[error("the signed payload is malformed")]
    Payload,
    /// The payload is about another peer than the one that signed it.
    #[error("the signed payload names another peer than its signer")]
    Signer,
}

impl RecordError {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Envelope => "bad-envelope",
            Self::PayloadType => "bad-payload-type",
            Self::Signature => "bad-signature",
            Self::Payload => "malformed",
            Self::Signer => "wrong-signer",
        }
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        let kind = match error {
            RecordError::TooLarge => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// Signs a payload into an envelope, in its protobuf encoding.
pub(crate) fn seal(
    key: &Keypair,
    domain: &str,
    payload_type: &[u8],
    payload: Vec<u8>,
) -> Result<Vec<u8>> {
    SignedEnvelope::new(key, domain.into(), payload_type.into(), payload)
        .map(SignedEnvelope::into_protobuf_encoding)
        .map_err(|e| Error::new(ErrorKind::Internal, "the node's key cannot sign").with_source(e))
}

/// Checks an envelope, and gives back its payload and who signed it.
pub(crate) fn open(
    bytes: &[u8],
    domain: &str,
    payload_type: &[u8],
) -> Result<(Vec<u8>, PeerId), RecordError> {
    use libp2p::core::signed_envelope::ReadPayloadError;
    let envelope =
        SignedEnvelope::from_protobuf_encoding(bytes).map_err(|_| RecordError::Envelope)?;
    match envelope.payload_and_signing_key(domain.into(), payload_type) {
        Ok((payload, key)) => Ok((payload.to_vec(), key.to_peer_id())),
        Err(ReadPayloadError::InvalidSignature) => Err(RecordError::Signature),
        Err(ReadPayloadError::UnexpectedPayloadType { .. }) => Err(RecordError::PayloadType),
    }
}

const DOMAIN: &str = "libp2p-peer-record";
const PAYLOAD_TYPE: &[u8] = &[0x03, 0x01];

#[derive(Clone, PartialEq, Eq, Message)]
struct PeerRecordProto {
    #[prost(bytes = "vec", tag = "1")]
    peer_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(message, repeated, tag = "3")]
    addresses: Vec<AddressProto>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct AddressProto {
    #[prost(bytes = "vec", tag = "1")]
    multiaddr: Vec<u8>,
}

/// A peer record with the signature that proves it: where a peer can be
/// reached, by its own word.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRecord {
    info: Arc<PeerInfo>,
    seq: u64,
    envelope: Arc<[u8]>,
    /// From where its peer was met.
    met: Option<Prefix>,
}

impl SignedRecord {
    /// The longest record that is accepted, in bytes.
    pub const MAX_LEN: usize = 2048;
    /// The longest record that is made: with a gossip round's framing around
    /// it, it must still fit what Go's nodes read.
    const MAX_OWN_LEN: usize = 1900;
    /// The most addresses that are taken from a record.
    const MAX_ADDRS: usize = 64;

    /// Signs the addresses at which this node can be reached, the most useful
    /// first; what does not fit is left out from the end. `seq` is in
    /// nanoseconds since 1970 and must grow from record to record.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the key cannot sign.
    pub fn sign(key: &Keypair, addrs: &[Multiaddr], seq: u64) -> Result<Self> {
        let id = key.public().to_peer_id();
        let mut addrs = addrs[..addrs.len().min(Self::MAX_ADDRS)].to_vec();
        loop {
            let payload = PeerRecordProto {
                peer_id: id.to_bytes(),
                seq,
                addresses: addrs.iter().map(|a| AddressProto { multiaddr: a.to_vec() }).collect(),
            };
            let envelope = seal(key, DOMAIN, PAYLOAD_TYPE, payload.encode_to_vec())?;
            if envelope.len() <= Self::MAX_OWN_LEN || addrs.pop().is_none() {
                return Ok(Self {
                    info: Arc::new(PeerInfo { id, addrs }),
                    seq,
                    envelope: envelope.into(),
                    met: None,
                });
            }
        }
    }

    /// Checks and decodes a record. Addresses of a kind that is not known here
    /// are skipped one by one.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(RecordError::TooLarge);
        }
        let (payload, signer) = open(bytes, DOMAIN, PAYLOAD_TYPE)?;
        let record = PeerRecordProto::decode(&payload[..]).map_err(|_| RecordError::Payload)?;
        let id = PeerId::from_bytes(&record.peer_id).map_err(|_| RecordError::Payload)?;
        if id != signer {
            return Err(RecordError::Signer);
        }
        let addrs =
            record.addresses.into_iter().filter_map(|a| Multiaddr::try_from(a.multiaddr).ok());
        let info = PeerInfo { id, addrs: addrs.take(Self::MAX_ADDRS).collect() };
        Ok(Self { info: Arc::new(info), seq: record.seq, envelope: bytes.into(), met: None })
    }

    /// The same record, of which this node uses these addresses only. What is
    /// passed on to others stays whole.
    pub(crate) fn with_addrs(&self, addrs: Vec<Multiaddr>) -> Self {
        Self { info: Arc::new(PeerInfo { id: self.info.id, addrs }), ..self.clone() }
    }

    /// The network of the peer's connection, if it was met.
    pub(crate) fn met(&self) -> Option<Prefix> {
        self.met
    }

    /// Notes from where the peer was met.
    pub(crate) fn meet(&mut self, network: Option<Prefix>) {
        self.met = network.or(self.met);
    }

    /// The peer and its addresses.
    pub fn info(&self) -> &PeerInfo {
        &self.info
    }

    /// The peer that signed the record.
    pub fn peer(&self) -> PeerId {
        self.info.id
    }

    /// The sequence number: of two records of a peer, the higher one counts.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The signed envelope, as it travels.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }
}

impl fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRecord")
            .field("peer", &self.info.id)
            .field("seq", &self.seq)
            .field("addrs", &self.info.addrs)
            .finish()
    }
}

/// The current time in nanoseconds since 1970, the unit of sequence numbers.
pub(crate) fn unix_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_signed() {
        let key = Keypair::generate_ed25519();
        let addrs =
            ["/ip4/127.0.0.1/tcp/1".parse().unwrap(), "/ip6/::1/udp/2/quic-v1".parse().unwrap()];
        let record = SignedRecord::sign(&key, &addrs, 7).unwrap();
        assert_eq!(SignedRecord::decode(record.envelope()).unwrap(), record);
        assert_eq!(record.info().addrs, addrs);
    }

    #[test]
    fn unknown_addresses_are_skipped_one_by_one() {
        let key = Keypair::generate_ed25519();
        let known: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let unknown = vec![0xe4, 0x0f, 0x01, b'x']; // code 2020
        let payload = PeerRecordProto {
            peer_id: key.public().to_peer_id().to_bytes(),
            seq: 1,
            addresses: vec![
                AddressProto { multiaddr: unknown },
                AddressProto { multiaddr: known.to_vec() },
            ],
        };
        let bytes = seal(&key, DOMAIN, PAYLOAD_TYPE, payload.encode_to_vec()).unwrap();
        assert_eq!(SignedRecord::decode(&bytes).unwrap().info().addrs, [known]);
    }

    #[test]
    fn an_own_record_of_many_addresses_is_cut_to_fit() {
        let key = Keypair::generate_ed25519();
        let addrs: Vec<Multiaddr> =
            (0..64).map(|i| format!("/dns/{}{i}/tcp/1", "x".repeat(60)).parse().unwrap()).collect();
        let record = SignedRecord::sign(&key, &addrs, 1).unwrap();
        assert!(record.envelope().len() <= SignedRecord::MAX_OWN_LEN);
        let kept = &record.info().addrs;
        assert!(kept.len() > 10 && kept[..] == addrs[..kept.len()]);
    }

    #[test]
    fn a_flipped_bit_and_a_foreign_signer_are_refused() {
        let key = Keypair::generate_ed25519();
        let record = SignedRecord::sign(&key, &[], 1).unwrap();
        let mut bytes = record.envelope().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(SignedRecord::decode(&bytes), Err(RecordError::Signature));

        let other = Keypair::generate_ed25519();
        let payload = PeerRecordProto {
            peer_id: key.public().to_peer_id().to_bytes(),
            seq: 1,
            addresses: vec![],
        };
        let bytes = seal(&other, DOMAIN, PAYLOAD_TYPE, payload.encode_to_vec()).unwrap();
        assert_eq!(SignedRecord::decode(&bytes), Err(RecordError::Signer));
    }
}
