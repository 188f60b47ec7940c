//! A table under a flood of identities: its bounds hold, and whoever is
//! established stays.

use super::{Arrival, Detector, Heartbeat, Limits, Now, Outcome, Table, Via};
use crate::cluster::Query;
use libp2p::PeerId;
use std::time::Duration;

const UNIX: u64 = 1_000_000_000_000_000_000;

fn limits() -> Limits {
    Limits { records: 50, bytes: 1 << 20, remembered: 20, probation: Duration::from_secs(60) }
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
        let ttl = Some(Duration::from_secs(30));
        let meta = vec![format!("k={}", "v".repeat(meta))];
        let beat = Heartbeat { server: 1, ttl, host: "h".into(), meta, sent_at: None };
        self.seq += 1;
        let now = Now { elapsed: self.now, unix_nanos: UNIX };
        self.table.expire(self.now);
        let (seq, signed, via) = (self.seq, &[1; 300][..], Via::Gossip);
        self.table.insert(now, Arrival { peer, seq, from: peer, beat: &beat, signed, via })
    }

    /// Lets peers become established.
    fn establish(&mut self, peers: &[PeerId]) {
        for _ in 0..4 {
            for peer in peers {
                assert!(self.beat(*peer, 10).is_accepted());
            }
            self.now += Duration::from_secs(20);
        }
    }
}

fn some(n: usize) -> Vec<PeerId> {
    (0..n).map(|_| PeerId::random()).collect()
}

#[test]
fn a_flood_never_evicts_the_established_and_leaves_room_for_newcomers() {
    let mut f = Fixture::new(limits());
    let (known, honest) = (some(30), PeerId::random());
    f.establish(&known);
    let mut honest_seen = 0;
    for round in 0..2000 {
        assert!(f.beat(PeerId::random(), 10).is_accepted(), "round {round}");
        if round % 10 == 0 {
            f.beat(honest, 10);
        }
        if round % 100 == 0 {
            for peer in &known {
                assert_eq!(f.beat(*peer, 10), Outcome::Renewed, "round {round}");
            }
            f.now += Duration::from_secs(1);
        }
        let view = f.table.view();
        assert!(view.len() <= 50 && f.table.remembered() <= 20);
        assert!(known.iter().all(|peer| view.get(peer).is_some()), "round {round}");
        honest_seen += usize::from(view.get(&honest).is_some());
    }
    assert!(honest_seen > 500, "an honest newcomer was there for {honest_seen} of 2000 rounds");
}

#[test]
fn a_table_full_of_the_established_takes_nobody_else() {
    let mut f = Fixture::new(limits());
    let known = some(50);
    f.establish(&known);
    assert_eq!(f.beat(PeerId::random(), 10), Outcome::Full);
    assert_eq!(f.table.view().len(), 50);
    // Growing is for those who fit in; whoever leaves makes room.
    f.now += Duration::from_secs(40);
    assert_eq!(f.beat(PeerId::random(), 10), Outcome::Joined);
}

#[test]
fn bytes_are_bounded_and_an_established_peer_can_always_renew() {
    let mut f = Fixture::new(Limits { bytes: 40_000, records: 1000, ..limits() });
    let known = some(10);
    f.establish(&known);
    while f.table.view().len() < 20 {
        f.beat(PeerId::random(), 2000);
        if f.table.bytes() > 35_000 {
            break;
        }
    }
    for _ in 0..200 {
        f.beat(PeerId::random(), 2000);
        assert!(f.table.bytes() <= 40_000);
    }
    let view = f.table.view();
    assert!(known.iter().all(|peer| view.get(peer).is_some()));
    // Growing is only for those who fit in; staying as one is always works.
    let mut refused = 0;
    for peer in &known {
        refused += u32::from(f.beat(*peer, 4000) == Outcome::Full);
        assert!(f.table.bytes() <= 40_000);
    }
    assert!(refused > 0);
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
    let view = f.table.view();
    assert!(known.iter().all(|peer| view.get(peer).is_some()));
}

#[test]
fn a_restart_with_the_same_key_replaces_the_record_whatever_its_server_number() {
    let mut f = Fixture::new(limits());
    let peer = PeerId::random();
    let now = Now { elapsed: f.now, unix_nanos: UNIX };
    for (server, seq) in [(9, UNIX), (1, UNIX + 5), (9, UNIX + 1), (12, UNIX + 6)] {
        let ttl = Some(Duration::from_secs(30));
        let beat = Heartbeat { server, ttl, host: String::new(), meta: vec![], sent_at: None };
        let arrival = Arrival { peer, seq, from: peer, beat: &beat, signed: b"", via: Via::Gossip };
        f.table.insert(now, arrival);
    }
    let record = f.table.view().get(&peer).unwrap();
    assert_eq!((record.server(), record.seq()), (12, UNIX + 6));
}
