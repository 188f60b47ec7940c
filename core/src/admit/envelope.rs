//! The signed envelopes of certificates and revocations: each has one form alone,
//! and is signed by an authority's type of key, which is looked at before anything
//! is verified.

use super::{AdmitError, authority::is_ed25519};
use crate::{
    Error, Result,
    pubsub::fields::{Fields, Malformed, Value},
    record,
};
use libp2p::{
    PeerId,
    identity::{KeyType, Keypair},
};

/// What a kind of envelope holds.
pub(super) struct Kind {
    /// What keeps it apart from all else that is signed.
    pub(super) domain: &'static str,
    pub(super) payload_type: &'static [u8],
    /// The longest that is read, in bytes.
    pub(super) longest: usize,
}

impl From<Malformed> for AdmitError {
    fn from(_: Malformed) -> Self {
        Self::Malformed("it is no protobuf message")
    }
}

/// The fields of an envelope: public key, payload type, payload, signature.
const FIELDS: [u32; 4] = [1, 2, 3, 5];

/// Signs a payload.
pub(super) fn seal(ca: &Keypair, kind: &Kind, payload: Vec<u8>) -> Result<Vec<u8>> {
    if ca.key_type() != KeyType::Ed25519 {
        let accepted = "an authority has an ed25519 key: `casm admit new CA.key` makes one";
        return Err(Error::config("authority's key", ca.key_type(), accepted));
    }
    record::seal(ca, kind.domain, kind.payload_type, payload)
}

/// Checks an envelope, and gives back its payload and who signed it.
pub(super) fn open(bytes: &[u8], kind: &Kind) -> Result<(Vec<u8>, PeerId), AdmitError> {
    if bytes.len() > kind.longest {
        return Err(AdmitError::TooLarge);
    }
    let mut parts = [&[][..]; FIELDS.len()];
    let mut fields = Fields(bytes);
    for (part, wanted) in parts.iter_mut().zip(FIELDS) {
        match fields.next() {
            Some(Ok((number, Value::Bytes(value)))) if number == wanted => *part = value,
            _ => return Err(AdmitError::Envelope),
        }
    }
    if fields.next().is_some() {
        return Err(AdmitError::Envelope);
    }
    if !is_ed25519(parts[0]) {
        return Err(AdmitError::Key);
    }
    if parts[1] != kind.payload_type {
        return Err(AdmitError::PayloadType);
    }
    record::open(bytes, kind.domain, kind.payload_type).map_err(|error| match error {
        record::RecordError::PayloadType => AdmitError::PayloadType,
        record::RecordError::Signature => AdmitError::Signature,
        // A key that is no point of the curve, too.
        _ => AdmitError::Envelope,
    })
}

/// Notes a field that may come once.
pub(super) fn once<T>(place: &mut Option<T>, value: T) -> Result<(), AdmitError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(AdmitError::Malformed("a field comes twice")),
    }
}

/// A field that must be there.
pub(super) fn there<T>(value: Option<T>, missing: &'static str) -> Result<T, AdmitError> {
    value.ok_or(AdmitError::Malformed(missing))
}

/// A peer's id.
pub(super) fn peer_id(bytes: &[u8]) -> Result<PeerId, AdmitError> {
    let id = PeerId::from_bytes(bytes).map_err(|_| AdmitError::Malformed("an id is no peer's"))?;
    // Multihashes have varints, which have more than one form.
    match id.to_bytes() == bytes {
        true => Ok(id),
        false => Err(AdmitError::Malformed("an id is no peer's")),
    }
}
