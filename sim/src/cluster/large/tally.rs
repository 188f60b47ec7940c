//! What is counted.

use super::spread::Copies;
use casm::cluster::Suspicion;
use std::{collections::BTreeMap, time::Duration};

/// The bytes of a signed message and its frame beside its data: who it is from (40), its
/// number (10), its topic (26), a signature of Ed25519 (66), and what begins fields.
const AROUND: usize = 150;
/// What a node sends of offers for each message that it gets, in bytes: as in
/// `casm-sim gossip --nodes 300 --messages 3000 --rate 150`.
pub const OFFERS: f64 = 277.0;

#[derive(Default)]
pub struct Tally {
    pub heartbeats: u64,
    pub accusations: u64,
    pub verified: u64,
    pub copies: Copies,
    pub bytes_sent: u64,
    pub bytes_came: u64,
    pub node_seconds: u64,
    /// Of those who observe.
    pub peer_seconds: u64,
    pub crashes: u64,
    pub detections: Vec<Duration>,
    pub by_suspicion: u64,
    pub false_drops: u64,
    /// Live peers that were dropped where they could not be reached, after which time.
    pub parted: Vec<Duration>,
    /// The most that a node has announced.
    pub ttl: Duration,
    pub pings_lost: u64,
    /// Since when all views are full.
    pub full: Option<Duration>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn sent(&mut self, copies: Copies, len: usize) {
        let len = (len + AROUND) as u64;
        self.copies.sent += copies.sent;
        self.copies.came += copies.came;
        self.bytes_sent += copies.sent * len;
        self.bytes_came += copies.came * len;
    }

    pub fn detected(&mut self, after: Duration, suspected: bool) {
        self.detections.push(after);
        self.by_suspicion += u64::from(suspected);
    }

    pub fn full(&mut self, now: Duration, partial: bool) {
        if partial {
            self.full = None;
        } else {
            self.full.get_or_insert(now);
        }
    }

    pub fn counts(&mut self, suspicion: &mut Suspicion) {
        for (what, n) in suspicion.take_counts() {
            *self.counts.entry(what).or_default() += n;
        }
    }
}

/// What so many of a hundred do not take longer than, in seconds.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map(Duration::as_secs_f64)
}
