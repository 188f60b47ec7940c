//! Peers that failed to answer: tried again with growing pauses, and never told
//! to others.

use super::{Gossip, Record};
use rand::{Rng, RngExt};

/// The longest pause between two tries, in ticks: a day of five-minute ticks.
const LONGEST_PAUSE: u32 = 288;

#[derive(Clone, Debug)]
struct Waiting<R> {
    record: R,
    /// Tries that failed in a row.
    failures: u8,
    /// The tick of the first of them: signs of life from before it are void.
    since: u32,
    /// The tick of the next try.
    next: u32,
}

/// The standby cache: a bounded set of peers that failed to answer.
#[derive(Clone, Debug)]
pub struct Standby<R> {
    waiting: Vec<Waiting<R>>,
    capacity: usize,
}

impl<R: Record> Standby<R> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { waiting: Vec::new(), capacity }
    }

    /// The number of peers.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Their records.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &R> {
        self.waiting.iter().map(|w| &w.record)
    }

    /// Takes in a peer that has failed for the first time. A full cache gives
    /// up the one that has failed most often.
    pub(super) fn insert(&mut self, record: R, now: u32, rng: &mut impl Rng) {
        if self.capacity == 0 || self.position(record.id()).is_some() {
            return;
        }
        if self.waiting.len() >= self.capacity {
            let most = self.waiting.iter().map(|w| w.failures).max().unwrap_or(0);
            let worst: Vec<usize> =
                (0..self.waiting.len()).filter(|&i| self.waiting[i].failures == most).collect();
            self.waiting.swap_remove(worst[rng.random_range(0..worst.len())]);
        }
        let next = now.saturating_add(pause(1, rng));
        self.waiting.push(Waiting { record, failures: 1, since: now, next });
    }

    /// A peer has failed again.
    pub(super) fn failed(&mut self, id: R::Id, now: u32, rng: &mut impl Rng) {
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.record.id() == id) {
            waiting.failures = waiting.failures.saturating_add(1);
            waiting.next = now.saturating_add(pause(waiting.failures, rng));
        }
    }

    pub(super) fn remove(&mut self, id: R::Id) -> Option<R> {
        self.position(id).map(|at| self.waiting.swap_remove(at).record)
    }

    pub(super) fn keep_only(&mut self, keep: impl Fn(R::Id) -> bool) {
        self.waiting.retain(|waiting| keep(waiting.record.id()));
    }

    /// Whether what was heard of a peer is reason to think that it isn't dead:
    /// it isn't here, says something new, or gave a sign of life since it
    /// failed.
    ///
    /// A hop is a tick of somebody at least, and ticks are jittered between a
    /// half and one of their nominal length: hence the factor.
    pub(super) fn believes(&self, gossip: &Gossip<R>, now: u32) -> bool {
        let Some(at) = self.position(gossip.record.id()) else { return true };
        let waiting = &self.waiting[at];
        gossip.record.seq() > waiting.record.seq()
            || gossip.hop.saturating_mul(2) < now.saturating_sub(waiting.since)
    }

    /// The peers to try now, longest due first, at most `limit`; with `all` the
    /// pauses don't count.
    pub(super) fn due(&self, now: u32, limit: usize, all: bool, rng: &mut impl Rng) -> Vec<R> {
        let due = self.waiting.iter().filter(|w| all || w.next <= now);
        let mut due: Vec<(u32, u32, &R)> =
            due.map(|w| (w.next, rng.next_u32(), &w.record)).collect();
        due.sort_by_key(|&(next, tie, _)| (if all { 0 } else { next }, tie));
        due.into_iter().take(limit).map(|(_, _, record)| record.clone()).collect()
    }

    fn position(&self, id: R::Id) -> Option<usize> {
        self.waiting.iter().position(|w| w.record.id() == id)
    }
}

/// The pause after so many failures: doubles each time, and is jittered so that
/// peers that failed together aren't tried together.
fn pause(failures: u8, rng: &mut impl Rng) -> u32 {
    let longest = 1u32.checked_shl(u32::from(failures)).unwrap_or(u32::MAX).min(LONGEST_PAUSE);
    rng.random_range(longest.div_ceil(2)..=longest)
}
