//! What must hold.

use super::*;
use world::{Place, World};

/// What became of a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    sender: usize,
    place: Place,
    pub(super) sent: bool,
    /// Its sender does not know.
    pub(super) unknown: bool,
    received: u32,
    pub(super) taken: bool,
    pub(super) done: u32,
    pub(super) maybe_done: bool,
    /// The node whose confirmation was granted.
    pub(super) confirmed_by: Option<usize>,
}

impl World {
    pub(super) fn new_value(&mut self, sender: usize, place: Place) -> u64 {
        let value = self.values.len() as u64;
        self.values.insert(value, Fate { sender, place, ..Fate::default() });
        value
    }

    pub(super) fn fate(&mut self, value: u64) -> &mut Fate {
        self.values.entry(value).or_default()
    }

    pub(super) fn received(&mut self, value: u64) {
        let fate = self.fate(value);
        fate.received += 1;
        if fate.received > 1 {
            self.wrong.push(format!("{value} is received twice"));
        }
    }

    pub(super) fn check(mut self) -> Result<(), String> {
        let mut wrong = std::mem::take(&mut self.wrong);
        wrong.extend(self.who_waits().into_iter().map(|who| format!("waits for ever: {who}")));
        let here: BTreeSet<u64> = self.held();
        let mut missing = Vec::new();
        for (value, fate) in &self.values {
            let crashed = !self.alive[fate.sender] || !self.alive[fate.place.0];
            let got = fate.received > 0 || fate.taken;
            if got && !fate.sent && !fate.unknown && !crashed {
                wrong.push(format!("{value} was not sent, and was received: {fate:?}"));
            }
            if fate.received > 0 && fate.done > 0 {
                wrong.push(format!("{value} was done, and received: {fate:?}"));
            }
            let by_crashed = fate.confirmed_by.is_some_and(|node| !self.alive[node]);
            let over = fate.received > 0 || fate.done > 0 || fate.maybe_done;
            if fate.sent && !over && !crashed && !by_crashed && !here.contains(value) {
                missing.push(format!("{value} is nowhere: {fate:?}"));
            }
        }
        if missing.len() as u64 > self.doubts {
            wrong.append(&mut missing);
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// The values that are somewhere.
    fn held(&mut self) -> BTreeSet<u64> {
        let in_channels = self.owned.values().flat_map(|owned| owned.channel.values());
        let in_parties = self.remotes.values().flat_map(|remote| remote.party.values());
        in_channels.chain(in_parties).map(|value| value.0).collect()
    }
}
