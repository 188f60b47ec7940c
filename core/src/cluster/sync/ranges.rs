//! Ranges of ids, and what a side says of them in a frame. Pure.
//!
//! A range is all ids that begin with the same bits. Both sides know which ranges
//! a frame speaks of, and in what order: no frame says where a range lies, so that
//! none can overlap, leave something out, or run backwards.
//!
//! | bytes | |
//! |---|---|
//! | 8 | a number that is no lower than any in the lists |
//! | a bit each, the highest first, to whole bytes | which ranges are not equal |
//! | for each of these | a byte, which says how it goes on: |
//! | 0 to 239 | so many items follow: id, without the whole bytes that all of the range have; by how much the number is lower than that in front, as a varint |
//! | 240 | the same, with how many in 4 bytes |
//! | 241 to 248 | it is divided by the next 1 to 8 bits; the sum of each part follows, in 4 bytes |
//! | 255 | it is left for another exchange |

use super::items::{Item, ShortId};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// The longest frame, in bytes.
pub(super) const MAX_RANGES: usize = 64 << 10;
/// By how many bits a range is divided at most.
pub(super) const MAX_SPLIT: u8 = 8;
/// Before the bits: the number.
const BASE: usize = 8;
const SUM: usize = 4;

/// The bytes that say how a range goes on.
const LONG: u8 = 240;
const LEFT: u8 = 255;

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// It ends too early, or goes on behind its end.
    #[error("a frame of ranges has another length than its content")]
    Length,
    /// A bit behind that of the last range is set, or a byte says nothing known.
    #[error("a frame of ranges says of one what is not known")]
    Unknown,
    /// Items are not in ascending order, or not of the range.
    #[error("items are not in order, or not in their range")]
    Items,
    /// A range is divided by more bits than ids have.
    #[error("a range is divided by more bits than ids have")]
    Split,
    /// A range is divided in the last frame of a comparison.
    #[error("a comparison does not come to an end")]
    Endless,
    /// A frame comes when nothing is compared any more.
    #[error("a frame of ranges comes when nothing is compared")]
    Over,
}

/// The ids that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The lowest of them.
    pub(super) first: ShortId,
    /// How many bits all of them have in common.
    pub(super) bits: u8,
}

impl Range {
    /// All ids.
    pub(super) const WHOLE: Self = Self { first: 0, bits: 0 };

    /// Its parts, divided by so many bits more.
    pub(super) fn parts(self, by: u8) -> impl Iterator<Item = Self> {
        let bits = self.bits + by;
        let at = u32::from(u64::BITS as u8 - bits);
        (0..1_u64 << by).map(move |n| Self { first: self.first | n << at, bits })
    }

    /// How many bytes of an item's id are written.
    fn id_len(self) -> usize {
        8 - usize::from(self.bits / 8)
    }

    fn contains(self, id: ShortId) -> bool {
        let differ = self.first ^ id;
        self.bits == 0 || differ >> (u64::BITS as u8 - self.bits) == 0
    }
}

/// What a side says of a range that is not equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// All of its items.
    List(&'a [Item]),
    /// The sums of its parts.
    Split(u8, &'a [u32]),
    /// That it is left for another exchange.
    Left,
}

/// The same as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    List(Vec<Item>),
    Split(u8, Vec<u32>),
    Left,
}

/// How many bytes a frame about so many ranges has at least, if so many differ.
pub(super) fn least(ranges: usize, differ: usize) -> usize {
    BASE + ranges.div_ceil(8) + differ
}

/// How many more bytes a list takes.
pub(super) fn list_len(range: Range, base: u64, items: &[Item]) -> usize {
    let count = if items.len() < LONG.into() { 0 } else { 4 };
    let numbers = items.iter().map(|(_, seq)| encoded_len_varint(base.saturating_sub(*seq)));
    count + items.len() * range.id_len() + numbers.sum::<usize>()
}

/// How many more bytes the sums of the parts take.
pub(super) fn split_len(by: u8) -> usize {
    SUM << by
}

/// Writes a frame.
pub(super) struct Writer {
    base: u64,
    out: Vec<u8>,
    ranges: usize,
}

impl Writer {
    /// A frame about so many ranges, which lists no number above `base`.
    pub(super) fn new(base: u64, ranges: usize) -> Self {
        let mut out = base.to_be_bytes().to_vec();
        out.resize(BASE + ranges.div_ceil(8), 0);
        Self { base, out, ranges }
    }

    /// Says something of a range, later ones after earlier ones.
    pub(super) fn say(&mut self, place: usize, range: Range, said: Said<'_>) {
        debug_assert!(place < self.ranges);
        self.out[BASE + place / 8] |= 0x80 >> (place % 8);
        match said {
            Said::Left => self.out.push(LEFT),
            Said::Split(by, sums) => {
                self.out.push(LONG + by);
                self.out.extend(sums.iter().flat_map(|sum| sum.to_be_bytes()));
            }
            Said::List(items) => {
                match u8::try_from(items.len()) {
                    Ok(n) if n < LONG => self.out.push(n),
                    _ => {
                        self.out.push(LONG);
                        let n = u32::try_from(items.len()).unwrap_or(u32::MAX);
                        self.out.extend(n.to_be_bytes());
                    }
                }
                for (id, seq) in items {
                    self.out.extend(&id.to_be_bytes()[8 - range.id_len()..]);
                    encode_varint(self.base.saturating_sub(*seq), &mut self.out);
                }
            }
        }
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.out
    }
}

/// Reads a frame about these ranges. Tells `each` of those that are not equal what
/// is said, by its place.
pub(super) fn read(
    mut bytes: &[u8],
    ranges: impl ExactSizeIterator<Item = Range>,
    mut each: impl FnMut(usize, Range, Read),
) -> Result<(), RangesError> {
    let base = u64::from_be_bytes(*split(&mut bytes)?);
    let n = ranges.len();
    let (bits, mut bytes) = bytes.split_at_checked(n.div_ceil(8)).ok_or(RangesError::Length)?;
    let is_set =
        |place: usize| bits.get(place / 8).is_some_and(|byte| byte & (0x80 >> (place % 8)) != 0);
    if (n..bits.len() * 8).any(is_set) {
        return Err(RangesError::Unknown);
    }
    for (place, range) in ranges.enumerate().filter(|(place, _)| is_set(*place)) {
        let [how] = *split(&mut bytes)?;
        let said = match how {
            ..LONG => Read::List(list(&mut bytes, range, base, how.into())?),
            LONG => {
                let n = u32::from_be_bytes(*split(&mut bytes)?);
                let n = usize::try_from(n).map_err(|_| RangesError::Length)?;
                Read::List(list(&mut bytes, range, base, n)?)
            }
            LEFT => Read::Left,
            _ => {
                let by = how - LONG;
                if by > MAX_SPLIT {
                    return Err(RangesError::Unknown);
                }
                if range.bits + by > u64::BITS as u8 {
                    return Err(RangesError::Split);
                }
                let (sums, rest) =
                    bytes.split_at_checked(split_len(by)).ok_or(RangesError::Length)?;
                bytes = rest;
                Read::Split(
                    by,
                    sums.as_chunks().0.iter().copied().map(u32::from_be_bytes).collect(),
                )
            }
        };
        each(place, range, said);
    }
    if bytes.is_empty() { Ok(()) } else { Err(RangesError::Length) }
}

fn list(bytes: &mut &[u8], range: Range, base: u64, n: usize) -> Result<Vec<Item>, RangesError> {
    // Each has a byte at least.
    if n > bytes.len() {
        return Err(RangesError::Length);
    }
    let mut items: Vec<Item> = Vec::with_capacity(n);
    for _ in 0..n {
        let (end, rest) = bytes.split_at_checked(range.id_len()).ok_or(RangesError::Length)?;
        *bytes = rest;
        let mut id = range.first.to_be_bytes();
        id[8 - range.id_len()..].copy_from_slice(end);
        let id = u64::from_be_bytes(id);
        let lower = decode_varint(bytes).map_err(|_| RangesError::Length)?;
        let item = (id, base.checked_sub(lower).ok_or(RangesError::Items)?);
        if !range.contains(id) || items.last().is_some_and(|last| *last >= item) {
            return Err(RangesError::Items);
        }
        items.push(item);
    }
    Ok(items)
}

fn split<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], RangesError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(RangesError::Length)?;
    *bytes = rest;
    Ok(first)
}
