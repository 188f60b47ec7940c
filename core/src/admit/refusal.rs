//! Why a peer, a certificate or a revocation is refused.

use super::{MAX_CERTIFICATE, MAX_REVOCATION};
use crate::{Error, ErrorKind};

/// Why bytes are not the signed thing, or the message, that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// More bytes than are read.
    #[error(
        "it is too long: a certificate has at most {MAX_CERTIFICATE} bytes, a revocation {MAX_REVOCATION}"
    )]
    TooLarge,
    /// No signed envelope, or one with something more than it should have.
    #[error("it is no signed envelope")]
    Envelope,
    /// Not signed by a key of the type that authorities have.
    #[error("it is not signed by an ed25519 key")]
    Key,
    /// The envelope holds something else.
    #[error("the signed envelope holds another type of payload")]
    PayloadType,
    /// The signature doesn't match.
    #[error("the signature is wrong")]
    Signature,
    /// The payload, or a message around it, cannot be decoded.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
}

impl AdmitError {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Envelope => "bad-envelope",
            Self::Key => "bad-key",
            Self::PayloadType => "bad-payload-type",
            Self::Signature => "bad-signature",
            Self::Malformed(_) => "malformed",
        }
    }
}

impl From<AdmitError> for Error {
    fn from(error: AdmitError) -> Self {
        let kind = match error {
            AdmitError::TooLarge => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// Why somebody is not taken for a member, or a revocation not taken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No certificate was shown, or none is known.
    #[error("no certificate of it is known")]
    Missing,
    /// Longer than is read.
    #[error("its certificate is too long")]
    TooLarge,
    /// No certificate.
    #[error("its certificate is malformed")]
    Malformed,
    /// Not signed by whom it names.
    #[error("the signature of its certificate is wrong")]
    BadSignature,
    /// Signed by nobody who may.
    #[error("its certificate is signed by another authority")]
    OtherAuthority,
    /// For another cluster.
    #[error("its certificate is for another namespace")]
    OtherNamespace,
    /// Somebody else's.
    #[error("its certificate is another peer's")]
    OtherPeer,
    /// Its time has not come: or a clock is wrong, here or where it was signed.
    #[error("its certificate is not valid yet: compare the clocks if it should be")]
    NotYetValid,
    /// Its time is over.
    #[error("its certificate has expired")]
    Expired,
    /// Taken back.
    #[error("its certificate was revoked")]
    Revoked,
}

impl Refusal {
    /// Every reason, in the order of declaration.
    pub const ALL: &[Self] = &[
        Self::Missing,
        Self::TooLarge,
        Self::Malformed,
        Self::BadSignature,
        Self::OtherAuthority,
        Self::OtherNamespace,
        Self::OtherPeer,
        Self::NotYetValid,
        Self::Expired,
        Self::Revoked,
    ];

    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::BadSignature => "bad-signature",
            Self::OtherAuthority => "other-ca",
            Self::OtherNamespace => "other-namespace",
            Self::OtherPeer => "other-peer",
            Self::NotYetValid => "not-yet-valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl From<AdmitError> for Refusal {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::TooLarge => Self::TooLarge,
            AdmitError::Signature => Self::BadSignature,
            AdmitError::Key => Self::OtherAuthority,
            AdmitError::Envelope | AdmitError::PayloadType | AdmitError::Malformed(_) => {
                Self::Malformed
            }
        }
    }
}
