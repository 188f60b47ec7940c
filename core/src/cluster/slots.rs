//! All records by slot: the number under which the indexes know them.

use super::record::Record;
use imbl::Vector;

/// Records by slot, in a persistent structure: a clone is a snapshot.
#[derive(Clone, Default)]
pub(super) struct Slots(Vector<Option<Record>>);

impl Slots {
    pub(super) fn get(&self, slot: u32) -> Option<&Record> {
        self.0.get(slot as usize)?.as_ref()
    }

    /// Fills a slot, or empties it. The first one beyond the end may be filled
    /// too.
    pub(super) fn set(&mut self, slot: u32, record: Option<Record>) {
        if let Some(content) = self.0.get_mut(slot as usize) {
            *content = record;
        } else {
            self.0.push_back(record);
        }
    }
}
