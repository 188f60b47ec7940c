//! Why a stream of messages cannot be read on.

/// What is wrong with bytes that should be Cap'n Proto messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A message has more segments than are accepted.
    #[error("a message has more than {} segments", super::message::MAX_SEGMENTS)]
    Segments,
    /// A message has not one word: nobody means it, and zeros without end would
    /// be such messages without end.
    #[error("a message is empty")]
    Empty,
    /// A message, or a compressed block, is larger than is accepted.
    #[error("a message or a compressed block is larger than the limit")]
    TooLarge,
    /// The bytes are not an LZ4 frame, or use a part of the format that is not
    /// supported (a preset dictionary, the legacy format).
    #[error("the bytes are not a supported LZ4 frame")]
    Lz4Header,
    /// A compressed block cannot be decompressed.
    #[error("a compressed block is malformed")]
    Lz4Block,
    /// The stream ended inside a message.
    #[error("the stream ended inside a message")]
    Truncated,
    /// A message to be sent could not be encoded.
    #[error("a message could not be encoded")]
    Encode,
}

impl FrameError {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Segments => "too-many-segments",
            Self::Empty => "empty-message",
            Self::TooLarge => "too-large",
            Self::Lz4Header => "bad-lz4-header",
            Self::Lz4Block => "bad-lz4-block",
            Self::Truncated => "truncated",
            Self::Encode => "encode",
        }
    }
}

impl From<FrameError> for capnp::Error {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Truncated => Self::disconnected(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}
