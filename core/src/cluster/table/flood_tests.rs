//! A table under a flood of identities: its bounds hold, whoever is established
//! stays, and there is always a way in.

use super::{Arrival, Detector, Heartbeat, Limits, Now, Outcome, Table, Via};
use crate::cluster::{Query, Roles};
use libp2p::PeerId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const UNIX: u64 = 1_000_000_000_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn limits() -> Limits {
    Limits { records: 64, bytes: 1 << 20, remembered: 20, ..Limits::default() }
}

struct Fixture {
    table: Table,
    now: Duration,
    seq: u64,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let table = Table::new(PeerId::random(), limits, Detector::default(), 1);
        Self { table, now: Duration::ZERO, seq: UNIX }
    }

    fn beat(&mut self, peer: PeerId, meta: usize) -> Outcome {
        self.arrive(peer, peer, Via::Gossip, Duration::from_secs(30), meta)
    }

    fn arrive(
        &mut self,
        peer: PeerId,
        from: PeerId,
        via: Via,
        ttl: Duration,
        meta: usize,
    ) -> Outcome {
        let meta = vec![format!("k={}", "v".repeat(meta))];
        let ttl = Some(ttl);
        let beat = Heartbeat {
            server: 1,
            ttl,
            host: "h".into(),
            meta,
            sent_at: None,
            addrs: Default::default(),
        };
        self.seq += 1;
        let now = Now { elapsed: self.now, unix_nanos: UNIX };
        self.table.expire(self.now);
        let (seq, signed) = (self.seq, &[1; 300][..]);
        let outcome = self
            .table
            .insert(now, Arrival { peer, seq, from, beat: &beat, signed, via, roles: Roles::NONE });
        self.check();
        outcome
    }

    /// All of a table's bounds, and its sums counted anew.
    fn check(&self) {
        let Table { limits, entries, established, held, bytes, slots, provisional, .. } =
            &self.table;
        let known = || entries.iter().flatten().filter(|entry| entry.established);
        assert!(slots.len() <= limits.records && self.table.remembered() <= limits.remembered);
        assert!(*bytes <= limits.bytes + limits.bytes / 16, "{bytes}");
        assert_eq!(*bytes, entries.iter().flatten().map(|entry| entry.weight).sum::<usize>());
        let view = self.table.view();
        assert_eq!(view.signed_bytes(), view.signed().map(|s| s.message.len()).sum::<usize>());
        assert_eq!(established.records, known().count());
        assert_eq!(established.bytes, known().map(|entry| entry.weight).sum::<usize>());
        let paced = |slot: &u32| {
            let record = self.table.root.slots.get(*slot);
            record.is_some_and(|record| record.ttl() <= Table::MAX_PACED)
        };
        let is_known = |slot: &u32| self.table.entry(*slot).is_some_and(|entry| entry.established);
        let paced: Vec<u32> = slots.values().copied().filter(paced).collect();
        let known_paced = paced.iter().copied().filter(is_known).count();
        assert_eq!((held.records, held.established), (paced.len(), known_paced));
        assert!(established.records <= limits.records * 7 / 8);
        assert!(established.bytes <= limits.bytes * 15 / 16);
        let provisional_records = entries.iter().flatten().filter(|e| e.handed_by.is_some());
        assert_eq!(provisional.is_empty(), provisional_records.clone().count() == 0);
        for by in provisional_records.filter_map(|entry| entry.handed_by.as_deref()) {
            let of = entries.iter().flatten().filter(|e| e.handed_by.as_deref() == Some(by));
            let (records, bytes) = of.fold((0, 0), |(n, bytes), e| (n + 1, bytes + e.weight));
            let share = provisional.share(by);
            assert_eq!((share.records, share.bytes), (records, bytes));
            assert!(records <= limits.records / 16 && bytes <= limits.bytes / 16);
        }
    }

    /// Lets peers become established, at the pace of a node.
    fn establish(&mut self, peers: &[PeerId]) {
        for _ in 0..=70 {
            for peer in peers {
                assert!(self.beat(*peer, 10).is_accepted());
            }
            self.now += Duration::from_secs(9);
        }
    }

    fn has(&self, peers: &[PeerId]) -> bool {
        let view = self.table.view();
        peers.iter().all(|peer| view.get(peer).is_some())
    }
}

fn some(n: usize) -> Vec<PeerId> {
    (0..n).map(|_| PeerId::random()).collect()
}

#[test]
fn a_flood_never_evicts_the_established_and_leaves_room_for_newcomers() {
    let mut f = Fixture::new(limits());
    let (known, honest) = (some(40), PeerId::random());
    f.establish(&known);
    let mut honest_seen = 0;
    for round in 0..2000 {
        assert_eq!(f.beat(PeerId::random(), 10), Outcome::Joined, "round {round}");
        if round % 10 == 0 {
            f.beat(honest, 10);
        }
        if round % 100 == 0 {
            for peer in &known {
                assert_eq!(f.beat(*peer, 10), Outcome::Renewed, "round {round}");
            }
            f.now += Duration::from_secs(1);
        }
        assert!(f.has(&known), "round {round}");
        honest_seen += usize::from(f.has(&[honest]));
    }
    assert!(honest_seen > 500, "an honest newcomer was there for {honest_seen} of 2000 rounds");
}

#[test]
fn a_table_is_never_so_full_of_the_established_that_nobody_else_gets_in() {
    let mut f = Fixture::new(limits());
    // As many as there is room for: all have earned it, and an eighth waits.
    let all = some(64);
    f.establish(&all);
    assert_eq!(f.table.established.records, 56);
    let established: Vec<_> = all
        .into_iter()
        .filter(|peer| f.table.entry(f.table.slots[peer]).is_some_and(|e| e.established))
        .collect();
    for _ in 0..200 {
        let newcomer = PeerId::random();
        assert_eq!(f.beat(newcomer, 10), Outcome::Joined);
        assert!(f.has(&[newcomer]) && f.has(&established));
    }
    // Who was established and restarts is so again, as long as its place is free.
    let returning = established[0];
    let (seq, ttl) = (f.seq + 1, None);
    let goodbye = Heartbeat {
        server: 1,
        ttl,
        host: String::new(),
        meta: vec![],
        sent_at: None,
        addrs: Default::default(),
    };
    let (peer, via) = (returning, Via::Gossip);
    let arrival =
        Arrival { peer, seq, from: peer, beat: &goodbye, signed: b"", via, roles: Roles::NONE };
    f.table.insert(Now { elapsed: f.now, unix_nanos: UNIX }, arrival);
    f.seq = seq;
    assert_eq!(f.table.established.records, 55);
    assert_eq!(f.beat(returning, 10), Outcome::Joined);
    assert_eq!(f.table.established.records, 56);
}

#[test]
fn a_second_heartbeat_a_minute_later_establishes_nobody() {
    let mut f = Fixture::new(limits());
    let (sybils, lossy, honest) = (some(20), PeerId::random(), PeerId::random());
    for round in 0..=66 {
        // With so long a TTL that hardly any heartbeat is due.
        for peer in sybils.iter().filter(|_| [0, 7, 66].contains(&round)) {
            f.arrive(*peer, *peer, Via::Gossip, DAY, 10);
        }
        // Often enough to stay, but two of three are missing.
        if round % 3 == 0 {
            f.beat(lossy, 10);
        }
        f.beat(honest, 10);
        if round < 66 {
            assert_eq!(f.table.established.records, 0, "round {round}");
        }
        f.now += Duration::from_millis(9100);
    }
    assert_eq!(f.table.established.records, 1);
    assert!(f.table.entry(f.table.slots[&honest]).unwrap().established);
}

#[test]
fn in_a_table_over_half_full_newcomers_are_kept_for_a_quarter_of_an_hour() {
    let mut f = Fixture::new(limits());
    let few = some(32);
    for peer in &few {
        f.arrive(*peer, *peer, Via::Gossip, DAY, 10);
    }
    // Half full: each is kept for as long as it asks.
    f.now += 20 * MINUTE;
    f.table.expire(f.now);
    assert!(f.has(&few) && f.table.next_deadline() > Some(DAY));
    // One more is too many; and once it is half full again, that is enough.
    let last = PeerId::random();
    f.arrive(last, last, Via::Gossip, DAY, 10);
    assert_eq!(f.table.next_deadline(), Some(15 * MINUTE));
    f.table.expire(f.now);
    assert_eq!(f.table.view().len(), 32);
    assert!(f.has(&[last]) && f.table.next_deadline() > Some(DAY));
    // Those who are heard of in time stay, and so do the established.
    let mut f = Fixture::new(limits());
    let known = some(20);
    (0..2).for_each(|_| f.establish(&known));
    for peer in &known {
        f.arrive(*peer, *peer, Via::Gossip, DAY, 10);
    }
    let sybils = some(30);
    for peer in &sybils {
        f.arrive(*peer, *peer, Via::Gossip, DAY, 10);
    }
    f.now += 14 * MINUTE;
    for peer in &sybils[..15] {
        assert_eq!(f.arrive(*peer, *peer, Via::Gossip, DAY, 10), Outcome::Renewed);
    }
    f.now += MINUTE;
    f.table.expire(f.now);
    assert!(f.has(&known) && f.has(&sybils[..15]));
    assert_eq!(f.table.view().len(), 35);
}

/// Who was there for ten minutes and then asks for a day has it while there is
/// room, and else as long as it was there.
#[test]
fn in_a_table_over_half_full_the_established_are_kept_for_as_long_as_they_were_there() {
    let mut f = Fixture::new(limits());
    let (sybils, loyal) = (some(40), PeerId::random());
    f.arrive(loyal, loyal, Via::Gossip, DAY, 10);
    for _ in 0..4 {
        f.now += DAY * 3 / 10;
        f.arrive(loyal, loyal, Via::Gossip, DAY, 10);
    }
    f.establish(&sybils);
    assert_eq!(f.table.established.records, 41);
    for peer in sybils.iter().chain([&loyal]) {
        f.arrive(*peer, *peer, Via::Gossip, DAY, 10);
    }
    f.now += 16 * MINUTE;
    f.table.expire(f.now);
    // As soon as it is half full they stay.
    assert_eq!(f.table.view().len(), 32);
    assert!(f.has(&[loyal]));
}

#[test]
fn what_one_peer_hands_over_takes_a_sixteenth_until_others_tell_of_it() {
    let mut f = Fixture::new(limits());
    let (liar, other) = (PeerId::random(), PeerId::random());
    let via = Via::Exchange(Duration::ZERO);
    let ttl = Duration::from_secs(30);
    let handed = some(10);
    let outcomes: Vec<_> = handed.iter().map(|peer| f.arrive(*peer, liar, via, ttl, 10)).collect();
    assert_eq!(outcomes[..4], [Outcome::Joined; 4]);
    assert_eq!(outcomes[4..], [Outcome::Share; 6]);
    // What it says of itself is no hearsay, and another peer has its own share.
    assert_eq!(f.arrive(liar, liar, via, ttl, 10), Outcome::Joined);
    assert_eq!(f.arrive(handed[4], other, via, ttl, 10), Outcome::Joined);
    // Its own word confirms nothing.
    assert_eq!(f.arrive(handed[0], liar, via, ttl, 10), Outcome::Renewed);
    assert_eq!(f.arrive(handed[5], liar, via, ttl, 10), Outcome::Share);
    // Gossip and another's exchange do, each of one.
    assert_eq!(f.beat(handed[0], 10), Outcome::Renewed);
    assert_eq!(f.arrive(handed[1], other, via, ttl, 10), Outcome::Renewed);
    let outcomes: Vec<_> =
        handed[5..].iter().map(|peer| f.arrive(*peer, liar, via, ttl, 10)).collect();
    assert_eq!(outcomes[..2], [Outcome::Joined; 2]);
    assert_eq!(outcomes[2..], [Outcome::Share; 3]);
    // However long it says so, that establishes nobody.
    for _ in 0..100 {
        f.now += Duration::from_secs(9);
        f.arrive(handed[2], liar, via, ttl, 10);
    }
    assert_eq!(f.table.established.records, 0);
}

#[test]
fn bytes_are_bounded_and_a_peer_in_the_table_can_always_renew() {
    let mut f = Fixture::new(Limits { bytes: 40_000, records: 1000, ..limits() });
    let known = some(10);
    f.establish(&known);
    for _ in 0..200 {
        f.beat(PeerId::random(), 2000);
    }
    assert!(f.has(&known));
    // Who says more displaces newcomers, then overdraws, and then stays as it was.
    let mut refused = 0;
    for peer in &known {
        let before = f.table.view().get(peer).unwrap();
        let outcome = f.beat(*peer, 4000);
        let after = f.table.view().get(peer).unwrap();
        assert_eq!(after.seq(), f.seq);
        if outcome == Outcome::NoRoom {
            refused += 1;
            assert!(after.same_keys(&before) && f.table.view().signed_of(peer).is_none());
        } else {
            assert_eq!(outcome, Outcome::Updated);
            assert!(f.table.view().signed_of(peer).is_some());
        }
    }
    assert!((1..10).contains(&refused), "{refused}");
    // Newcomers have what they had.
    assert_eq!(f.beat(PeerId::random(), 2000), Outcome::Joined);
    // They all live on by it.
    for _ in 0..10 {
        f.now += Duration::from_secs(9);
        for peer in &known {
            assert!(f.beat(*peer, 4000).is_accepted());
        }
    }
    assert!(f.has(&known));
    assert_eq!(f.table.view().count(&Query::all()), f.table.view().len());
}

#[test]
fn a_known_peer_that_returns_is_not_a_newcomer() {
    let mut f = Fixture::new(limits());
    let known = some(2);
    f.establish(&known);
    f.now += Duration::from_secs(100);
    f.table.expire(f.now);
    assert_eq!(f.table.view().len(), 0);
    for peer in &known {
        assert_eq!(f.beat(*peer, 10), Outcome::Joined);
    }
    for _ in 0..500 {
        f.beat(PeerId::random(), 10);
    }
    assert!(f.has(&known));
}

#[test]
fn whatever_arrives_no_bound_is_passed_and_nothing_is_left_over() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bytes = rng.random_range(20_000..200_000);
        let mut f = Fixture::new(Limits { records: 32, bytes, probation: MINUTE, ..limits() });
        let peers = some(60);
        for _ in 0..600 {
            let [peer, from] = [(); 2].map(|()| peers[rng.random_range(0..peers.len())]);
            let via = match rng.random_bool(0.3) {
                true => Via::Exchange(Duration::from_secs(rng.random_range(0..20))),
                false => Via::Gossip,
            };
            let ttl = [10, 30, 3600][rng.random_range(0..3)];
            let was_there = f.table.view().get(&peer).is_some();
            let meta = [10, 500, 4000][rng.random_range(0..3)];
            let outcome = f.arrive(peer, from, via, Duration::from_secs(ttl), meta);
            let is_there = f.table.view().get(&peer).is_some_and(|r| r.seq() == f.seq);
            assert_eq!(is_there, outcome.is_accepted(), "seed {seed}: {outcome:?}");
            assert!(!was_there || is_there || outcome == Outcome::Late, "seed {seed}: {outcome:?}");
            f.now += Duration::from_millis(rng.random_range(0..3000));
            f.table.expire(f.now);
            f.check();
        }
        f.table.expire(f.now + 2 * DAY);
        f.check();
        assert_eq!((f.table.bytes(), f.table.view().len()), (0, 0), "seed {seed}");
        assert!(f.table.next_deadline().is_none() && f.table.caps.next().is_none());
    }
}

#[test]
fn a_restart_with_the_same_key_replaces_the_record_whatever_its_server_number() {
    let mut f = Fixture::new(limits());
    let peer = PeerId::random();
    let now = Now { elapsed: f.now, unix_nanos: UNIX };
    for (server, seq) in [(9, UNIX), (1, UNIX + 5), (9, UNIX + 1), (12, UNIX + 6)] {
        let ttl = Some(Duration::from_secs(30));
        let beat = Heartbeat {
            server,
            ttl,
            host: String::new(),
            meta: vec![],
            sent_at: None,
            addrs: Default::default(),
        };
        let arrival = Arrival {
            peer,
            seq,
            from: peer,
            beat: &beat,
            signed: b"",
            via: Via::Gossip,
            roles: Roles::NONE,
        };
        f.table.insert(now, arrival);
    }
    let record = f.table.view().get(&peer).unwrap();
    assert_eq!((record.server(), record.seq()), (12, UNIX + 6));
}
