//! What members ask each other: `/casm/1.0.0/<ns>/admit`, one question and one answer
//! a stream, each a frame.
//!
//! A frame is the length of a message, an unsigned varint in its shortest form, and
//! the message, a protobuf.

use super::{
    AdmitError, Certificate, MAX_REVOKED, Revocation, ShortId,
    envelope::{once, peer_id, there},
};
use crate::pubsub::fields::{Fields, Value, write_field, write_number};
use libp2p::PeerId;
use prost::encoding::encode_varint;

/// The longest message, in bytes, without the length before it.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// The most ids, certificates or revocations of a message.
pub const MAX_ITEMS: usize = 64;

/// A question. All of it may be empty: then the digest alone is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Whose certificates are asked for.
    pub want: Vec<PeerId>,
    /// What the asker holds of revocations: [`Revoked::digest`](super::Revoked::digest).
    pub digest: [u8; 32],
    /// Their ids, if they are to be compared: in order, from [`from`](Self::from) on.
    pub held: Option<Vec<ShortId>>,
    /// The first id that is compared.
    pub from: ShortId,
    /// Certificates that take the place of others: the asker's, and those that it was
    /// told of.
    pub renewed: Vec<Certificate>,
    /// Revocations that the other side may lack.
    pub revocations: Vec<Revocation>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Those that were asked for and are known.
    pub certificates: Vec<Certificate>,
    /// What the other side holds of revocations, those of the question included.
    pub digest: [u8; 32],
    /// Revocations that the asker lacks.
    pub revocations: Vec<Revocation>,
    /// Ids of revocations that the other side lacks: the asker should tell it of them.
    pub lacking: Vec<ShortId>,
    /// The first id that is still to be compared, if there is one: both lists end
    /// before it.
    pub next: Option<ShortId>,
}

impl Ask {
    /// The message, with its length before it.
    pub fn frame(&self) -> Vec<u8> {
        let mut message = Vec::new();
        for peer in &self.want {
            put(1, &peer.to_bytes(), &mut message);
        }
        put(2, &self.digest, &mut message);
        if let Some(held) = &self.held {
            put(3, &packed(held), &mut message);
        }
        for renewed in &self.renewed {
            put(4, renewed.encoded(), &mut message);
        }
        for revocation in &self.revocations {
            put(5, revocation.encoded(), &mut message);
        }
        if self.from > 0 {
            write_number(6, self.from, &mut message);
        }
        frame(&message)
    }

    /// Reads a message, without the length before it. What is signed in it is
    /// verified; one that is forged voids all of it.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn decode(message: &[u8]) -> Result<Self, AdmitError> {
        check_len(message)?;
        let mut want = Items::default();
        let (mut digest, mut held, mut from) = (None, None, None);
        let (mut renewed, mut revocations) = (Items::default(), Items::default());
        each(message, |field, value| match field {
            1 => want.push(peer_id(bytes(value)?)?),
            2 => once(&mut digest, hash(value)?),
            3 => once(&mut held, unpacked(value, MAX_REVOKED)?),
            4 => renewed.push(Certificate::decode(bytes(value)?)?),
            5 => revocations.push(Revocation::decode(bytes(value)?)?),
            6 => once(&mut from, number(value)?),
            _ => Ok(()),
        })?;
        let (digest, from) = (there(digest, "it has no digest")?, from.unwrap_or_default());
        if held.as_ref().and_then(|ids| ids.first()).is_some_and(|first| *first < from) {
            return Err(AdmitError::Malformed("an id is before the first that is compared"));
        }
        let (want, renewed, revocations) = (want.0, renewed.0, revocations.0);
        Ok(Self { want, digest, held, from, renewed, revocations })
    }
}

impl Answer {
    /// The message, with its length before it.
    pub fn frame(&self) -> Vec<u8> {
        let mut message = Vec::new();
        for certificate in &self.certificates {
            put(1, certificate.encoded(), &mut message);
        }
        put(2, &self.digest, &mut message);
        for revocation in &self.revocations {
            put(3, revocation.encoded(), &mut message);
        }
        if !self.lacking.is_empty() {
            put(4, &packed(&self.lacking), &mut message);
        }
        if let Some(next) = self.next {
            write_number(5, next, &mut message);
        }
        frame(&message)
    }

    /// Reads a message, without the length before it. What is signed in it is
    /// verified; one that is forged voids all of it.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn decode(message: &[u8]) -> Result<Self, AdmitError> {
        check_len(message)?;
        let (mut certificates, mut revocations) = (Items::default(), Items::default());
        let (mut digest, mut lacking, mut next) = (None, None, None);
        each(message, |field, value| match field {
            1 => certificates.push(Certificate::decode(bytes(value)?)?),
            2 => once(&mut digest, hash(value)?),
            3 => revocations.push(Revocation::decode(bytes(value)?)?),
            4 => once(&mut lacking, unpacked(value, MAX_ITEMS)?),
            5 => once(&mut next, number(value)?),
            _ => Ok(()),
        })?;
        Ok(Self {
            certificates: certificates.0,
            digest: there(digest, "it has no digest")?,
            revocations: revocations.0,
            lacking: lacking.unwrap_or_default(),
            next,
        })
    }
}

/// A message with its length before it.
pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(message.len() + 5);
    encode_varint(message.len() as u64, &mut framed);
    framed.extend_from_slice(message);
    framed
}

/// A message, and what follows it.
pub type Unframed<'a> = (&'a [u8], &'a [u8]);

/// The first message of these bytes, if all of it is there, and what follows it.
///
/// # Errors
/// [`AdmitError::TooLarge`] if it is longer than so many bytes, as soon as its length
/// is there; [`AdmitError::Malformed`] if that is in no shortest form.
pub fn unframe(bytes: &[u8], longest: usize) -> Result<Option<Unframed<'_>>, AdmitError> {
    let mut len = 0;
    for (at, byte) in bytes.iter().enumerate() {
        // Five bytes hold more than any frame has.
        len |= usize::from(byte & 0x7f) << (7 * at);
        if len > longest || at == 4 {
            return Err(AdmitError::TooLarge);
        }
        if byte & 0x80 == 0 {
            if at > 0 && *byte == 0 {
                return Err(AdmitError::Malformed("its length is not in its shortest form"));
            }
            let rest = &bytes[at + 1..];
            return Ok(rest.split_at_checked(len));
        }
    }
    Ok(None)
}

/// Things of which a message has so many at most.
pub(super) struct Bounded<T, const MOST: usize>(pub(super) Vec<T>);

type Items<T> = Bounded<T, MAX_ITEMS>;

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MOST: usize> Bounded<T, MOST> {
    pub(super) fn push(&mut self, item: T) -> Result<(), AdmitError> {
        if self.0.len() == MOST {
            return Err(AdmitError::Malformed("it has too many of a field"));
        }
        self.0.push(item);
        Ok(())
    }
}

/// Writes a field of bytes.
pub(super) fn put(number: u32, value: &[u8], to: &mut Vec<u8>) {
    write_field(number, value, to);
}

/// Hands on every field of a message.
pub(super) fn each<'a>(
    message: &'a [u8],
    mut take: impl FnMut(u32, Value<'a>) -> Result<(), AdmitError>,
) -> Result<(), AdmitError> {
    for field in Fields(message) {
        let (number, value) = field?;
        take(number, value)?;
    }
    Ok(())
}

/// A value that must be bytes.
pub(super) fn bytes(value: Value<'_>) -> Result<&[u8], AdmitError> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(AdmitError::Malformed("a field is of another kind")),
    }
}

/// A value that must be a number.
pub(super) fn number(value: Value<'_>) -> Result<u64, AdmitError> {
    match value {
        Value::Number(number) => Ok(number),
        _ => Err(AdmitError::Malformed("a field is of another kind")),
    }
}

fn check_len(message: &[u8]) -> Result<(), AdmitError> {
    if message.len() > MAX_MESSAGE { Err(AdmitError::TooLarge) } else { Ok(()) }
}

fn hash(value: Value<'_>) -> Result<[u8; 32], AdmitError> {
    there(bytes(value)?.try_into().ok(), "a digest has not 32 bytes")
}

fn packed(ids: &[ShortId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

fn unpacked(value: Value<'_>, most: usize) -> Result<Vec<ShortId>, AdmitError> {
    let (ids, []) = bytes(value)?.as_chunks() else {
        return Err(AdmitError::Malformed("ids have not 8 bytes each"));
    };
    if ids.len() > most {
        return Err(AdmitError::Malformed("it has too many ids"));
    }
    let ids: Vec<_> = ids.iter().map(|id| ShortId::from_be_bytes(*id)).collect();
    match ids.is_sorted_by(|a, b| a < b) {
        true => Ok(ids),
        false => Err(AdmitError::Malformed("its ids are not in order")),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
