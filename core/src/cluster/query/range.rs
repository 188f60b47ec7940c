//! The keys of one index that a query covers.

use crate::cluster::record::Field;

/// A range of one index's keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct KeyRange<'q> {
    pub(in crate::cluster) field: Field,
    /// The lowest key that belongs to it.
    pub(in crate::cluster) low: &'q [u8],
    pub(in crate::cluster) high: High<'q>,
}

/// The upper end of a range.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) enum High<'q> {
    None,
    Included(&'q [u8]),
    /// The last key that begins like this.
    Prefix(&'q [u8]),
}

impl<'q> KeyRange<'q> {
    pub(in crate::cluster) fn contains(&self, key: &[u8]) -> bool {
        key >= self.low
            && match self.high {
                High::None => true,
                High::Included(high) => key <= high,
                High::Prefix(prefix) => key <= prefix || key.starts_with(prefix),
            }
    }

    /// Whether at most one key can be in the range.
    pub(in crate::cluster) fn is_single(&self) -> bool {
        matches!(self.high, High::Included(high) if high == self.low)
    }

    pub(super) fn end_at(&mut self, key: &'q [u8], reverse: bool) {
        if reverse {
            self.low = self.low.max(key);
        } else if self.contains(key) || matches!(self.high, High::None) || key < self.low {
            self.high = High::Included(key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self.high {
            High::None => false,
            High::Included(high) => high < self.low,
            High::Prefix(prefix) => prefix < self.low && !self.low.starts_with(prefix),
        }
    }
}
