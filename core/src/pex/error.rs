//! Why a round of peer exchange, or one record of it, is refused.

use crate::{Error, ErrorKind, rpc::FrameError};

/// Why a whole round is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RoundError {
    /// The bytes are not a stream of messages.
    #[error("the peer's records cannot be read: {0}")]
    Frame(#[from] FrameError),
    /// A message is not a record.
    #[error("the peer sent a message that is not a record")]
    Malformed,
    /// More bytes than a round may have.
    #[error("the peer sent more than {} bytes", super::codec::MAX_BYTES)]
    TooLong,
    /// More records than a round may have.
    #[error("the peer sent more records than a view holds")]
    TooMany,
    /// Nothing was sent.
    #[error("the peer sent no record")]
    Empty,
    /// The last record is not the sender's, with hop 0.
    #[error("the last record is not the sender's own")]
    Sender,
    /// The stream broke.
    #[error("the stream broke")]
    Stream,
    /// It took too long.
    #[error("the round took too long")]
    Timeout,
    /// The peer does not take part.
    #[error("the peer does not exchange peers in this namespace")]
    Unsupported,
    /// The peer cannot be reached.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The peer's addresses were tried too often lately.
    #[error("the peer's addresses were tried too often lately")]
    Postponed,
}

impl RoundError {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Frame(error) => error.label(),
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::TooMany => "too-many",
            Self::Empty => "empty",
            Self::Sender => "wrong-sender",
            Self::Stream => "stream",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::Unreachable => "unreachable",
            Self::Postponed => "postponed",
        }
    }
}

impl From<RoundError> for Error {
    fn from(error: RoundError) -> Self {
        let kind = match error {
            RoundError::Timeout => ErrorKind::Timeout,
            RoundError::Stream | RoundError::Unreachable => ErrorKind::Unreachable,
            RoundError::TooLong | RoundError::TooMany => ErrorKind::TooLarge,
            _ => ErrorKind::Protocol,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}
