//! One node: the production types, fed by the model.

use casm::{
    PeerId,
    cluster::{
        Arrival, Compared, Detector, Difference, Heartbeat, Items, Limits, Now, Outcome, Roles,
        Table, Via, View, server_of, short_id,
    },
};
use rand::{Rng, RngExt};
use std::time::Duration;

/// 2026-01-01, when every simulation begins.
pub const EPOCH: u64 = 1_767_225_600_000_000_000;

pub struct Member {
    pub id: PeerId,
    pub beat: Heartbeat,
    /// What stands for the signed message: nobody verifies it here.
    signed: Vec<u8>,
    detector: Detector,
    pub table: Table,
    /// Of the last heartbeat.
    seq: u64,
    /// Since when it runs, or doesn't.
    pub up: bool,
    pub since: Duration,
    /// Counts its starts, so that what was meant for an earlier run is known.
    pub run: u32,
    /// When it next looks for records that expire.
    pub wakes: Option<Duration>,
}

/// A heartbeat that an exchange hands over.
pub struct Handed {
    pub peer: PeerId,
    pub seq: u64,
    pub age: Duration,
}

impl Member {
    pub fn new(nth: usize, ttl: Duration, detector: Detector, rng: &mut impl Rng) -> Self {
        let mut digest = [0; 32];
        rng.fill_bytes(&mut digest);
        // A SHA-256 multihash, as the ids of ECDSA and RSA keys are.
        let id = PeerId::from_bytes(&[&[0x12, 32][..], &digest].concat()).expect("a multihash");
        let beat = Heartbeat {
            server: server_of(&id),
            ttl: Some(ttl),
            host: format!("host-{nth}"),
            meta: vec!["role=worker".into()],
            sent_at: None,
            addrs: Default::default(),
        };
        let table = Table::new(id, Limits::default(), detector, rng.random());
        let signed = beat.encode();
        let since = Duration::ZERO;
        Self { id, beat, signed, detector, table, seq: 0, up: false, since, run: 0, wakes: None }
    }

    /// Starts with an empty table, and numbers that begin with the time.
    pub fn start(&mut self, now: Duration, seed: u64) {
        self.table = Table::new(self.id, Limits::default(), self.detector, seed);
        self.seq = clock(now).unix_nanos;
        (self.up, self.since, self.wakes) = (true, now, None);
        self.run += 1;
    }

    pub fn crash(&mut self, now: Duration) {
        (self.up, self.since) = (false, now);
        self.run += 1;
    }

    /// The number of its next heartbeat, which its own table knows at once.
    pub fn next_beat(&mut self, now: Duration) -> u64 {
        self.seq += 1;
        self.table.insert_own(clock(now), self.seq, (&self.beat, &self.signed), Roles::NONE);
        self.table.take_differences();
        self.seq
    }

    /// Takes a heartbeat of another node.
    pub fn take(&mut self, now: Duration, of: &Self, seq: u64, from: PeerId, via: Via) -> Outcome {
        let (beat, signed, roles) = (&of.beat, &*of.signed, Roles::NONE);
        let arrival = Arrival { peer: of.id, seq, from, beat, signed, via, roles };
        let outcome = self.table.insert(clock(now), arrival);
        // Only what expires is of interest.
        self.table.take_differences();
        outcome
    }

    /// Who has expired.
    pub fn expire(&mut self, now: Duration) -> Vec<PeerId> {
        self.table.expire(now);
        let differences = self.table.take_differences().into_iter();
        let left = differences.filter_map(|difference| match difference {
            Difference::Left(record, _) => Some(record.peer()),
            _ => None,
        });
        left.collect()
    }

    /// What two nodes hand each other: to the one that accepts, and to the one
    /// that opens the exchange. `at`: any number, by chance.
    pub fn exchange(&self, accepts: &Self, now: Duration, at: u64) -> [Vec<Handed>; 2] {
        let (ours, theirs) = (self.table.view(), accepts.table.view());
        let mut key = [0; 16];
        key[..8].copy_from_slice(&at.to_be_bytes());
        let items = |view: &View| {
            let known = view.signed().map(|signed| (short_id(&signed.peer), signed.seq));
            Items::new(known, std::iter::empty(), &key)
        };
        let found = Compared::of(items(&ours), items(&theirs), at);
        let [to_them, to_us] = found.expect("both are of one version").hand;
        let of = |view: &View, ids: &[u64]| {
            let signed = view.signed();
            let signed = signed.filter(|s| ids.binary_search(&short_id(&s.peer)).is_ok());
            signed.map(|signed| handed(signed, now)).collect()
        };
        [of(&ours, &to_them), of(&theirs, &to_us)]
    }
}

fn handed(signed: casm::cluster::Signed<'_>, now: Duration) -> Handed {
    let age = now.saturating_sub(signed.received).saturating_add(signed.age);
    // As it is on the wire.
    let age = Duration::from_millis(age.as_millis() as u64);
    Handed { peer: signed.peer, seq: signed.seq, age }
}

fn clock(now: Duration) -> Now {
    Now { elapsed: now, unix_nanos: EPOCH + now.as_nanos() as u64 }
}
