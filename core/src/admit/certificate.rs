//! What makes a peer a member.

use super::{
    AdmitError, Refusal, SKEW, Terms,
    envelope::{self, Kind},
};
use crate::Result;
use libp2p::{PeerId, identity::Keypair};
use std::{fmt, sync::Arc};

/// The longest certificate, in bytes.
pub const MAX_CERTIFICATE: usize = 2048;

const KIND: Kind = Kind {
    domain: "casm-admit-certificate",
    payload_type: b"/casm/admit/certificate",
    longest: MAX_CERTIFICATE,
};

/// What an authority has signed of a member. Its signature is good; whether the
/// authority counts, and the time has come, is for [`check`](Self::check) to say.
///
/// A clone shares all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    ca: PeerId,
    terms: Terms,
    encoded: Box<[u8]>,
}

impl Certificate {
    /// Signs one. Roles are put in order.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the terms, or the type of
    /// the key, are not acceptable.
    pub fn sign(ca: &Keypair, terms: Terms) -> Result<Self> {
        let terms = terms.checked()?;
        let encoded = envelope::seal(ca, &KIND, terms.encode())?;
        debug_assert!(encoded.len() <= MAX_CERTIFICATE, "terms are bounded");
        let ca = ca.public().to_peer_id();
        Ok(Self(Arc::new(Inner { ca, terms, encoded: encoded.into() })))
    }

    /// Checks the signature and the form.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, AdmitError> {
        let (payload, ca) = envelope::open(bytes, &KIND)?;
        let terms = Terms::decode(&payload)?;
        Ok(Self(Arc::new(Inner { ca, terms, encoded: bytes.into() })))
    }

    /// The signed envelope, as it travels.
    pub fn encoded(&self) -> &[u8] {
        &self.0.encoded
    }

    /// What it says.
    pub fn terms(&self) -> &Terms {
        &self.0.terms
    }

    /// Whose it is.
    pub fn peer(&self) -> PeerId {
        self.0.terms.peer
    }

    /// Who signed it.
    pub fn ca(&self) -> PeerId {
        self.0.ca
    }

    /// For which cluster it is.
    pub fn namespace(&self) -> &str {
        self.0.terms.namespace.as_str()
    }

    /// What its peer may do, in order.
    pub fn roles(&self) -> &[String] {
        &self.0.terms.roles
    }

    /// From when on it is valid, in seconds since 1970.
    pub fn not_before(&self) -> u64 {
        self.0.terms.not_before
    }

    /// Until when it is valid, in seconds since 1970.
    pub fn not_after(&self) -> u64 {
        self.0.terms.not_after
    }

    /// When it was signed, in seconds since 1970.
    pub fn issued(&self) -> u64 {
        self.0.terms.issued
    }

    /// What it can be told from others by.
    pub fn serial(&self) -> &[u8; 16] {
        &self.0.terms.serial
    }

    /// Whether it makes its peer a member now, as far as it says so itself: whether
    /// it was revoked is for [`Revoked`](super::Revoked) to say, and whose it is for
    /// who compares [`peer`](Self::peer). Clocks may differ by [`SKEW`].
    ///
    /// # Errors
    /// [`Refusal::OtherAuthority`], [`Refusal::OtherNamespace`],
    /// [`Refusal::NotYetValid`] and [`Refusal::Expired`].
    pub fn check(&self, now: u64, namespace: &str, cas: &[PeerId]) -> Result<(), Refusal> {
        if !cas.contains(&self.ca()) {
            return Err(Refusal::OtherAuthority);
        }
        if self.namespace() != namespace {
            return Err(Refusal::OtherNamespace);
        }
        self.check_time(now)
    }

    /// Whether its time has come, and is not over.
    ///
    /// # Errors
    /// [`Refusal::NotYetValid`] and [`Refusal::Expired`].
    pub fn check_time(&self, now: u64) -> Result<(), Refusal> {
        if now < self.begins() {
            Err(Refusal::NotYetValid)
        } else if now > self.ends() {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }

    /// The first second at which it is taken. One that was signed in the future
    /// would outlive its revocation.
    pub(super) fn begins(&self) -> u64 {
        self.not_before().max(self.issued()).saturating_sub(SKEW)
    }

    /// The last second at which it is taken.
    pub(super) fn ends(&self) -> u64 {
        self.not_after().saturating_add(SKEW)
    }

    /// Whether this one counts where both are known, of two of a peer.
    pub(crate) fn is_later_than(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }

    /// Of two of a peer, the higher one counts.
    pub(super) fn rank(&self) -> (u64, u64, &[u8; 16]) {
        (self.issued(), self.not_after(), self.serial())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("ca", &self.0.ca).field("terms", &self.0.terms).finish()
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
