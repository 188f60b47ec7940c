//! What takes certificates back.

use super::{
    AdmitError, MAX_LIFETIME, Refusal, SKEW, ShortId,
    envelope::{self, Kind, once, peer_id, there},
};
use crate::{
    Error, Result,
    pubsub::fields::{Fields, Value, write_field, write_number},
};
use libp2p::{PeerId, identity::Keypair};
use sha2::{Digest as _, Sha256};
use std::{fmt, sync::Arc};

/// The longest revocation, in bytes.
pub const MAX_REVOCATION: usize = 512;

/// For how long a revocation must be kept at most, in seconds.
const LONGEST: u64 = MAX_LIFETIME + SKEW;

const KIND: Kind = Kind {
    domain: "casm-admit-revocation",
    payload_type: b"/casm/admit/revocation",
    longest: MAX_REVOCATION,
};

/// Makes void all certificates that its authority has signed for a peer until a
/// moment, that second included. One that is signed later is good again.
///
/// A clone shares all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Revocation(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    ca: PeerId,
    peer: PeerId,
    at: u64,
    until: u64,
    id: ShortId,
    encoded: Box<[u8]>,
}

impl Revocation {
    /// Signs one that is kept as long as a certificate can live that was signed
    /// until `at`, in seconds since 1970.
    ///
    /// # Errors
    /// As of [`sign_until`](Self::sign_until).
    pub fn sign(ca: &Keypair, peer: PeerId, at: u64) -> Result<Self> {
        Self::sign_until(ca, peer, at, at.saturating_add(LONGEST))
    }

    /// Signs one that need not be kept after `until`: a certificate of the peer that
    /// lives longer is good again then.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `until` is not after `at`,
    /// or later than a certificate can live, or the key is of another type than an
    /// authority's.
    pub fn sign_until(ca: &Keypair, peer: PeerId, at: u64, until: u64) -> Result<Self> {
        if let Err(problem) = check_times(at, until) {
            let accepted = format!(
                "{problem}; a revocation is kept for 366 days and 10 minutes at most, and at \
                 least for as long as the certificates live that it takes back"
            );
            return Err(Error::config("until", until, accepted));
        }
        let mut payload = Vec::new();
        write_field(1, &peer.to_bytes(), &mut payload);
        write_number(2, at, &mut payload);
        write_number(3, until, &mut payload);
        let encoded = envelope::seal(ca, &KIND, payload)?;
        Ok(Self::new(ca.public().to_peer_id(), peer, at, until, &encoded))
    }

    fn new(ca: PeerId, peer: PeerId, at: u64, until: u64, encoded: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for id in [ca, peer] {
            let id = id.to_bytes();
            hash.update([id.len() as u8]);
            hash.update(id);
        }
        hash.update(at.to_be_bytes());
        hash.update(until.to_be_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let id = u64::from_be_bytes(*hash.first_chunk().expect("a hash is longer"));
        Self(Arc::new(Inner { ca, peer, at, until, id, encoded: encoded.into() }))
    }

    /// Checks the signature and the form.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, AdmitError> {
        let (payload, ca) = envelope::open(bytes, &KIND)?;
        let (mut peer, mut at, mut until) = (None, None, None);
        for field in Fields(&payload) {
            match field? {
                (1, Value::Bytes(id)) => once(&mut peer, peer_id(id)?)?,
                (2, Value::Number(time)) => once(&mut at, time)?,
                (3, Value::Number(time)) => once(&mut until, time)?,
                (1..=3, _) => return Err(AdmitError::Malformed("a field is of another kind")),
                _ => {}
            }
        }
        let peer = there(peer, "it names no peer")?;
        let at = there(at, "it does not say of which certificates it is")?;
        let until = there(until, "it does not say until when it is kept")?;
        check_times(at, until).map_err(AdmitError::Malformed)?;
        Ok(Self::new(ca, peer, at, until, bytes))
    }

    /// The signed envelope, as it travels.
    pub fn encoded(&self) -> &[u8] {
        &self.0.encoded
    }

    /// Who signed it.
    pub fn ca(&self) -> PeerId {
        self.0.ca
    }

    /// Whose certificates it takes back.
    pub fn peer(&self) -> PeerId {
        self.0.peer
    }

    /// The last second at which a certificate was signed that it takes back.
    pub fn at(&self) -> u64 {
        self.0.at
    }

    /// The last second at which it is kept.
    pub fn until(&self) -> u64 {
        self.0.until
    }

    /// What nodes name it by: eight bytes of a hash of what it says.
    pub fn id(&self) -> ShortId {
        self.0.id
    }

    /// Whether it counts now.
    ///
    /// # Errors
    /// [`Refusal::OtherAuthority`], [`Refusal::NotYetValid`] if it takes back what
    /// is still to be signed, and [`Refusal::Expired`].
    pub fn check(&self, now: u64, cas: &[PeerId]) -> Result<(), Refusal> {
        if !cas.contains(&self.ca()) {
            Err(Refusal::OtherAuthority)
        } else if self.at() > now.saturating_add(SKEW) {
            Err(Refusal::NotYetValid)
        } else if now > self.until() {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }

    /// The order in which revocations stay: of a peer's the last one, and of all
    /// the last ones. It must be one order, or nodes that hear of them in another
    /// sequence would hold others.
    pub(super) fn rank(&self) -> (u64, u64, ShortId) {
        (self.at(), self.until(), self.id())
    }
}

fn check_times(at: u64, until: u64) -> Result<(), &'static str> {
    if until <= at {
        Err("it ends before it begins")
    } else if until - at > LONGEST {
        Err("it is kept for longer than a certificate can live")
    } else {
        Ok(())
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("ca", &self.0.ca)
            .field("peer", &self.0.peer)
            .field("at", &self.0.at)
            .field("until", &self.0.until)
            .finish()
    }
}
