//! The frames of an exchange. Numbers are big-endian; a frame is its length in
//! four bytes, and so many bytes, of which the first tells the kind.
//!
//! | kind | frame |
//! |---|---|
//! | 0 | header: fields, each its number and its length in two bytes each, and so many bytes; unknown ones are skipped |
//! | 1 | ranges: what `ranges` says |
//! | 2 | wanted: ids, 8 bytes each |
//! | 3 | heartbeat: for how long its sender has had it, in ms in 4 bytes, then the signed message |
//! | 4 | end of the heartbeats: one byte, 1 if there are more |
//!
//! Both sides begin with a header. Who opens then either compares (ranges by turns,
//! then each side the wanted ids and the heartbeats) or pushes (heartbeats alone).

use super::{
    items::ShortId,
    ranges::{MAX_RANGES, RangesError},
    sums::Key,
};
use crate::cluster::Table;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::time::Duration;

/// The longest header, in bytes.
const MAX_HEADER: usize = 1024;
/// The longest list of ids, in ids and in bytes.
pub(super) const MAX_IDS: usize = 4096;
const MAX_WANTED: usize = 8 * MAX_IDS;
/// The longest heartbeat, in bytes.
const MAX_HANDED: usize = 4 + Table::MAX_SIGNED;

/// The kinds of frames.
const HEADER: u8 = 0;
const RANGES: u8 = 1;
const WANTED: u8 = 2;
const HANDED: u8 = 3;
const END: u8 = 4;

/// The header's fields.
const TIME: u16 = 1;
const KEY: u16 = 2;

/// What went wrong in an exchange.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("the stream failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("a frame of {0} bytes is longer than is accepted there")]
    TooLarge(usize),
    #[error("a frame is not what its kind says, or of a kind that is not known")]
    Malformed,
    #[error("{0}")]
    Ranges(#[from] RangesError),
    #[error("a frame has no place where it came")]
    Unexpected,
    #[error("more heartbeats were sent than are accepted")]
    TooMany,
    #[error("a heartbeat's signature is missing, wrong, or for another cluster")]
    Forged,
    #[error("the partner may not open it: {0}")]
    Refused(&'static str),
    #[error("the partner is too slow")]
    Slow,
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
            Self::Malformed | Self::Ranges(_) => "malformed",
            Self::Unexpected => "unexpected",
            Self::TooMany => "too-many",
            Self::Forged => "forged",
            Self::Refused(why) => why,
            Self::Slow => "slow",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
        }
    }
}

/// What a side says of itself before all else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The time by its clock, in ms since 1970; `None` if it does not say.
    pub time: Option<u64>,
    /// The key of the sums, from who opens an exchange to compare.
    pub key: Option<Key>,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Begins a direction.
    Header(Header),
    /// What a side says of ranges; which they are says what came before.
    Ranges(Vec<u8>),
    /// Which heartbeats a side wants.
    Wanted(Vec<ShortId>),
    /// A signed message, and for how long the other node has had it.
    Handed(Duration, Vec<u8>),
    /// There are no more heartbeats; or there are, but not in this exchange.
    End {
        /// Whether there are.
        more: bool,
    },
}

impl Frame {
    /// Appends the frame.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Header(header) => push(HEADER, &[&fields(header)], out),
            Self::Ranges(said) => push(RANGES, &[said], out),
            Self::Wanted(ids) => push(WANTED, &[&numbers(ids.iter().copied())], out),
            Self::Handed(age, message) => push_handed(*age, message, out),
            Self::End { more } => push(END, &[&[u8::from(*more)]], out),
        }
    }

    fn decode(kind: u8, bytes: &[u8]) -> Result<Self, SyncError> {
        Ok(match kind {
            HEADER => Self::Header(header(bytes)?),
            RANGES => Self::Ranges(bytes.to_vec()),
            WANTED => Self::Wanted(split(bytes)?),
            HANDED => {
                let (age, message) = bytes.split_first_chunk().ok_or(SyncError::Malformed)?;
                let age = Duration::from_millis(u32::from_be_bytes(*age).into());
                Self::Handed(age, message.to_vec())
            }
            END => match bytes {
                [more @ (0 | 1)] => Self::End { more: *more == 1 },
                _ => return Err(SyncError::Malformed),
            },
            _ => return Err(SyncError::Malformed),
        })
    }
}

/// The longest frame of a kind, in bytes.
fn longest(kind: u8) -> Result<usize, SyncError> {
    Ok(match kind {
        HEADER => MAX_HEADER,
        RANGES => MAX_RANGES,
        WANTED => MAX_WANTED,
        HANDED => MAX_HANDED,
        END => 1,
        _ => return Err(SyncError::Malformed),
    })
}

fn fields(header: &Header) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |number: u16, value: &[u8]| {
        out.extend(number.to_be_bytes());
        out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(value);
    };
    if let Some(time) = header.time {
        field(TIME, &time.to_be_bytes());
    }
    if let Some(key) = &header.key {
        field(KEY, key);
    }
    out
}

fn header(mut bytes: &[u8]) -> Result<Header, SyncError> {
    let mut header = Header::default();
    while !bytes.is_empty() {
        let (field, rest) = bytes.split_first_chunk().ok_or(SyncError::Malformed)?;
        let (len, rest) = rest.split_first_chunk().ok_or(SyncError::Malformed)?;
        let value;
        (value, bytes) =
            rest.split_at_checked(u16::from_be_bytes(*len).into()).ok_or(SyncError::Malformed)?;
        match u16::from_be_bytes(*field) {
            TIME => once(&mut header.time, value, u64::from_be_bytes)?,
            KEY => once(&mut header.key, value, |key| key)?,
            _ => {}
        }
    }
    Ok(header)
}

/// A field that is there once, and so long.
fn once<const N: usize, T>(
    field: &mut Option<T>,
    value: &[u8],
    read: impl FnOnce([u8; N]) -> T,
) -> Result<(), SyncError> {
    let value = value.try_into().map_err(|_| SyncError::Malformed)?;
    match field.replace(read(value)) {
        None => Ok(()),
        Some(_) => Err(SyncError::Malformed),
    }
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

/// Appends a heartbeat's frame.
pub(super) fn push_handed(age: Duration, message: &[u8], out: &mut Vec<u8>) {
    let age = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
    push(HANDED, &[&age.to_be_bytes(), message], out);
}

fn push(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    out.push(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Writes frames in one.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    frames: &[Frame],
) -> Result<(), SyncError> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.push(&mut bytes));
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

/// Reads a frame.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Frame, SyncError> {
    let mut head = [0; 5];
    stream.read_exact(&mut head[..4]).await?;
    let [len @ .., _] = head;
    let Some(len) = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX).checked_sub(1)
    else {
        return Err(SyncError::Malformed);
    };
    stream.read_exact(&mut head[4..]).await?;
    let kind = head[4];
    if len > longest(kind)? {
        return Err(SyncError::TooLarge(len));
    }
    // Grows with what arrives, not with what is declared.
    let mut bytes = Vec::new();
    let n = stream.take(len as u64).read_to_end(&mut bytes).await?;
    if n < len {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Frame::decode(kind, &bytes)
}
