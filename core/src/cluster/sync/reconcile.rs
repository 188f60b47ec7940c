//! Finds by how much two nodes differ, at a cost of the difference. Pure: frames in,
//! frames out.
//!
//! Range-based set reconciliation (A. Meyer, "Range-Based Set Reconciliation", SRDS
//! 2023): a side says the sums of ranges; the other one answers for those that
//! differ, with the sums of their parts, or with the items if they are few. Here
//! ranges are those of ids that begin alike, so that both sides know them.

use super::{
    items::{Item, Items, ShortId},
    ranges::{self, MAX_RANGES, MAX_SPLIT, Range, RangesError, Read, Said, Writer},
};
use std::collections::BTreeMap;

/// Frames of a comparison at most, of both sides together. Ids by chance need five
/// for ten million peers.
pub(super) const MAX_FRAMES: u32 = 8;
/// Who has so few items says them all at once.
pub(super) const FEW: usize = 128;
/// Of ranges with so few items these are said.
const LIST: usize = 8;
/// Above so many items in a range it is divided by four bits, below into parts of
/// two to four items.
const LARGE: usize = 64;
/// How many items a part of the first frame is to have.
const FIRST: usize = 32;

/// A side of a comparison.
pub struct Reconcile {
    items: Items,
    /// The ranges that the next frame of the other side is about, with where the
    /// own items of each are.
    open: Vec<Open>,
    frames: u32,
    over: bool,
    left: bool,
    hand: Vec<ShortId>,
    want: Vec<ShortId>,
}

#[derive(Clone, Copy)]
struct Open {
    range: Range,
    start: usize,
    end: usize,
}

impl Open {
    fn whole(items: &Items) -> Self {
        Self { range: Range::WHOLE, start: 0, end: items.len() }
    }

    fn len(self) -> usize {
        self.end - self.start
    }

    fn parts(self, by: u8, items: &Items) -> impl Iterator<Item = Self> {
        let mut start = self.start;
        let mut parts = self.range.parts(by).peekable();
        std::iter::from_fn(move || {
            let range = parts.next()?;
            let next = parts.peek().map(|next| items.from(next.first, start..self.end));
            let part = Self { range, start, end: next.unwrap_or(self.end) };
            start = part.end;
            Some(part)
        })
    }
}

/// How a side goes on with a range that differs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    List,
    Split(u8),
}

/// What a side of a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Of whom the other side has older heartbeats, or none. In ascending order.
    pub hand: Vec<ShortId>,
    /// Of whom the other side has newer ones.
    pub want: Vec<ShortId>,
    /// Whether ranges were left for another exchange.
    pub left: bool,
}

impl Reconcile {
    /// A side with these items. The one that does not begin waits for a frame.
    pub fn new(items: Items) -> Self {
        let open = vec![Open::whole(&items)];
        let (hand, want) = (vec![], vec![]);
        Self { items, open, frames: 0, over: false, left: false, hand, want }
    }

    /// The first frame.
    pub fn begin(&mut self) -> Vec<u8> {
        self.open.clear();
        self.answer(&[(Open::whole(&self.items), true)], 0)
    }

    /// How many items this side has.
    pub fn known(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is left to compare: the last frame was written or taken.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Takes a frame of the other side. Gives the answer, or nothing if that was the
    /// last one. `at`: any number, by chance: where to begin where not all has room.
    ///
    /// # Errors
    /// If the frame is not what it should be; then the comparison is of no use.
    pub fn take(&mut self, frame: &[u8], at: u64) -> Result<Option<Vec<u8>>, RangesError> {
        if self.over {
            return Err(RangesError::Over);
        }
        self.frames += 1;
        let last = self.frames >= MAX_FRAMES;
        let open = std::mem::take(&mut self.open);
        let (mut next, mut endless) = (Vec::new(), false);
        let Self { items, hand, want, left, .. } = self;
        ranges::read(frame, open.iter().map(|open| open.range), |place, _, said| {
            let Some(open) = open.get(place) else { return };
            let ours = items.get(open.start..open.end);
            match said {
                Read::Left => *left = true,
                Read::List(theirs) => compare(ours, &theirs, hand, want),
                Read::Split(by, sums) => {
                    endless |= last;
                    for (part, theirs) in open.parts(by, items).zip(sums) {
                        let ours = items.sum(part.start..part.end);
                        // It has none there.
                        if theirs == 0 {
                            compare(items.get(part.start..part.end), &[], hand, want);
                        }
                        next.push((part, theirs != 0 && theirs != ours));
                    }
                }
            }
        })?;
        if endless {
            return Err(RangesError::Endless);
        }
        if next.is_empty() {
            self.over = true;
            return Ok(None);
        }
        Ok(Some(self.answer(&next, at)))
    }

    /// What was found: all of it once the comparison is over.
    pub fn found(self) -> Found {
        let Self { mut hand, mut want, left, .. } = self;
        hand.sort_unstable();
        want.sort_unstable();
        Found { hand, want, left }
    }

    /// A frame about these ranges, of which some differ.
    fn answer(&mut self, ranges: &[(Open, bool)], at: u64) -> Vec<u8> {
        self.frames += 1;
        let (last, base) = (self.frames >= MAX_FRAMES, self.items.highest());
        let differ: Vec<usize> = (0..ranges.len()).filter(|place| ranges[*place].1).collect();
        // Who has not all room begins anywhere, so that each range has its turn.
        let mut room = MAX_RANGES.saturating_sub(ranges::least(ranges.len(), differ.len()));
        let mut plan = BTreeMap::new();
        let (before, from) = differ.split_at(turn(at, differ.len()));
        for place in from.iter().chain(before) {
            let open = ranges[*place].0;
            let how = how(open, last);
            let len = match how {
                How::Split(by) => ranges::split_len(by),
                How::List => {
                    ranges::list_len(open.range, base, self.items.get(open.start..open.end))
                }
            };
            if let Some(rest) = room.checked_sub(len) {
                room = rest;
                plan.insert(*place, how);
            }
        }
        let mut writer = Writer::new(base, ranges.len());
        for place in differ {
            let open = ranges[place].0;
            match plan.get(&place) {
                None => {
                    self.left = true;
                    writer.say(place, open.range, Said::Left);
                }
                Some(How::List) => {
                    let items = self.items.get(open.start..open.end);
                    writer.say(place, open.range, Said::List(items));
                }
                Some(How::Split(by)) => {
                    let begin = self.open.len();
                    self.open.extend(open.parts(*by, &self.items));
                    let parts = self.open[begin..].iter();
                    let sums: Vec<_> =
                        parts.map(|part| self.items.sum(part.start..part.end)).collect();
                    writer.say(place, open.range, Said::Split(*by, &sums));
                }
            }
        }
        self.over = self.open.is_empty();
        writer.done()
    }
}

/// A place among so many.
fn turn(at: u64, n: usize) -> usize {
    let n = n as u64;
    at.checked_rem(n).map_or(0, |turn| turn as usize)
}

/// How to go on with a range that differs.
fn how(open: Open, last: bool) -> How {
    let (n, bits) = (open.len(), open.range.bits);
    let few = if bits == 0 { FEW } else { LIST };
    let by = match n {
        _ if n <= few || last => 0,
        _ if bits == 0 => (n / FIRST).ilog2().clamp(4, MAX_SPLIT.into()) as u8,
        _ if n > LARGE => 4,
        _ => n.div_ceil(4).next_power_of_two().ilog2() as u8,
    };
    match by.min(u64::BITS as u8 - bits) {
        0 => How::List,
        by => How::Split(by),
    }
}

/// Compares the items of a range. Several peers may share an id: then all that one
/// side alone has is news.
fn compare(ours: &[Item], theirs: &[Item], hand: &mut Vec<ShortId>, want: &mut Vec<ShortId>) {
    let (mut ours, mut theirs) = (ours, theirs);
    loop {
        let id = match (ours.first(), theirs.first()) {
            (None, None) => return,
            (Some((a, _)), Some((b, _))) => *a.min(b),
            (Some((id, _)), None) | (None, Some((id, _))) => *id,
        };
        let (of_us, of_them) = (of(&mut ours, id), of(&mut theirs, id));
        let single = of_us.len() <= 1 && of_them.len() <= 1;
        let news = |of: &[Item], others: &[Item]| {
            let highest = others.last();
            of.iter().any(|item| {
                others.binary_search(item).is_err()
                    && (!single || highest.is_none_or(|other| item > other))
            })
        };
        if news(of_us, of_them) {
            hand.push(id);
        }
        if news(of_them, of_us) {
            want.push(id);
        }
    }
}

/// Takes the first items, which have this id.
fn of<'a>(items: &mut &'a [Item], id: ShortId) -> &'a [Item] {
    let n = items.iter().take_while(|(other, _)| *other == id).count();
    let (of, rest) = items.split_at(n);
    *items = rest;
    of
}

/// A comparison of two nodes in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Whose heartbeats each side hands over, the opener first. In ascending order.
    pub hand: [Vec<ShortId>; 2],
    /// Frames, and all of their bytes with what precedes each, the wanted ids
    /// counted too.
    pub frames: u32,
    /// The same.
    pub bytes: usize,
    /// Whether ranges were left for another comparison.
    pub left: bool,
}

impl Compared {
    /// Compares what an opener and an acceptor have, summed under the same key.
    ///
    /// # Errors
    /// Never between sides of the same version.
    pub fn of(opener: Items, acceptor: Items, at: u64) -> Result<Self, RangesError> {
        let mut sides = [Reconcile::new(opener), Reconcile::new(acceptor)];
        let (mut next, mut bytes, mut frames) = (sides[0].begin(), 0, 0);
        for receiver in [1, 0].into_iter().cycle() {
            (bytes, frames) = (bytes + 5 + next.len(), frames + 1);
            match sides[receiver].take(&next, at)? {
                Some(answer) => next = answer,
                None => break,
            }
        }
        let [opener, acceptor] = sides.map(Reconcile::found);
        bytes += 2 * 5 + 8 * (opener.want.len() + acceptor.want.len());
        let both = |mut hand: Vec<ShortId>, wanted: &[ShortId]| {
            hand.extend(wanted);
            hand.sort_unstable();
            hand.dedup();
            hand
        };
        let hand = [both(opener.hand, &acceptor.want), both(acceptor.hand, &opener.want)];
        Ok(Self { hand, frames: frames + 2, bytes, left: opener.left || acceptor.left })
    }
}
