//! The frames of an exchange. Numbers are big-endian; a frame is its length in
//! four bytes, and so many bytes.
//!
//! | from | frame |
//! |---|---|
//! | who opens | the digest: first and last id, then ids and sequence numbers, 8 bytes each |
//! | who accepts | the ids of which it wants the heartbeats, 8 bytes each |
//! | who accepts | heartbeats: for how long it has had one, in ms in 4 bytes, then the signed message; an empty frame ends them, a frame of one byte says that there are more |
//! | who opens | the heartbeats that are wanted, in the same form |

use super::digest::{Digest, MAX_ENTRIES, ShortId};
use crate::cluster::Table;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::time::Duration;

/// The longest digest or list of ids, in bytes.
const MAX_LIST: usize = 16 + 16 * MAX_ENTRIES;
/// The longest heartbeat, in bytes.
const MAX_HANDED: usize = 4 + Table::MAX_SIGNED;

/// What went wrong in an exchange.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("the stream failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("a frame of {0} bytes is longer than is accepted there")]
    TooLarge(usize),
    #[error("a frame is not a list of numbers")]
    Malformed,
    #[error("more heartbeats were sent than are accepted")]
    TooMany,
    #[error("a heartbeat's signature is missing, wrong, or for another cluster")]
    Forged,
    #[error("the exchange took too long")]
    Timeout,
    #[error("the node is closed")]
    Closed,
}

impl SyncError {
    /// The reason's name as a metrics label.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::TooLarge(_) => "too-large",
            Self::Malformed => "malformed",
            Self::TooMany => "too-many",
            Self::Forged => "forged",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
        }
    }
}

/// A frame among heartbeats.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A signed message, and for how long the other node has had it.
    Handed(Duration, Vec<u8>),
    /// There are no more; or there are, but not in this exchange.
    End { more: bool },
}

pub(super) fn encode_digest(digest: &Digest) -> Vec<u8> {
    let entries = digest.entries.iter().flat_map(|(id, seq)| [*id, *seq]);
    numbers([digest.first, digest.last].into_iter().chain(entries))
}

pub(super) fn decode_digest(bytes: &[u8]) -> Result<Digest, SyncError> {
    let numbers = split(bytes)?;
    let ([first, last, rest @ ..], true) = (&numbers[..], numbers.len() % 2 == 0) else {
        return Err(SyncError::Malformed);
    };
    let entries = rest.as_chunks().0.iter().map(|[id, seq]| (*id, *seq)).collect();
    Ok(Digest { first: *first, last: *last, entries })
}

pub(super) fn encode_ids(ids: &[ShortId]) -> Vec<u8> {
    numbers(ids.iter().copied())
}

pub(super) fn decode_ids(bytes: &[u8]) -> Result<Vec<ShortId>, SyncError> {
    split(bytes)
}

fn numbers(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    numbers.flat_map(u64::to_be_bytes).collect()
}

fn split(bytes: &[u8]) -> Result<Vec<u64>, SyncError> {
    let (numbers, rest) = bytes.as_chunks();
    match rest {
        [] => Ok(numbers.iter().map(|n| u64::from_be_bytes(*n)).collect()),
        _ => Err(SyncError::Malformed),
    }
}

fn decode_item(bytes: &[u8]) -> Result<Item, SyncError> {
    match bytes {
        [] => Ok(Item::End { more: false }),
        [_] => Ok(Item::End { more: true }),
        _ => {
            let (age, message) = bytes.split_first_chunk().ok_or(SyncError::Malformed)?;
            let age = Duration::from_millis(u32::from_be_bytes(*age).into());
            Ok(Item::Handed(age, message.to_vec()))
        }
    }
}

/// Appends a heartbeat's frame.
pub(super) fn push_handed(age: Duration, message: &[u8], out: &mut Vec<u8>) {
    let age = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
    push_frame(&[&age.to_be_bytes(), message], out);
}

/// Appends the frame that ends heartbeats.
pub(super) fn push_end(more: bool, out: &mut Vec<u8>) {
    push_frame(&[&[0][..usize::from(more)]], out);
}

fn push_frame(parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Writes one frame.
pub(super) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<(), SyncError> {
    let mut frame = Vec::with_capacity(4 + bytes.len());
    push_frame(&[bytes], &mut frame);
    stream.write_all(&frame).await?;
    Ok(stream.flush().await?)
}

/// Reads a digest or a list of ids.
pub(super) async fn read_list(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, SyncError> {
    read_frame(stream, MAX_LIST).await
}

/// Reads a heartbeat, or the end of them.
pub(super) async fn read_item(stream: &mut (impl AsyncRead + Unpin)) -> Result<Item, SyncError> {
    decode_item(&read_frame(stream, MAX_HANDED).await?)
}

async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<Vec<u8>, SyncError> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > max {
        return Err(SyncError::TooLarge(len));
    }
    // Grows with what arrives, not with what is declared.
    let mut bytes = Vec::new();
    let n = stream.take(len as u64).read_to_end(&mut bytes).await?;
    if n < len {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(bytes)
}
