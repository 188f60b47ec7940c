//! Times the cluster table: `cargo xtask bench table --records 100000`.
//!
//! Prints one JSON line. The records are those of interop/go-memdb: a host of
//! its own each, and five meta fields, of which some are shared by many.

mod clock;

use casm::cluster::{
    Arrival, Detector, Heartbeat, Index, Limits, Now, Query, Roles, Table, Via, server_of,
};
use casm::{Keypair, PeerId};
use clock::Clock;
use std::{hint::black_box, time::Duration};

const UNIX: u64 = 1_700_000_000_000_000_000;
/// About what a signed message around such a heartbeat has.
const SIGNED_LEN: usize = 330;

fn main() {
    let n = records();
    // As many as are asked for, also if that is more than by default.
    let mut limits = Limits::default();
    limits.records = limits.records.max(n + 1);
    limits.bytes = limits.bytes.max(n.saturating_mul(2048));
    let arrivals: Vec<_> = (0..n).map(|i| (peer(i), beat(i))).collect();
    let order = shuffled(n);
    let signed = vec![7; SIGNED_LEN];
    let arrive = |table: &mut Table, i: usize, seq: u64| {
        let (peer, beat) = &arrivals[i];
        let arrival = Arrival {
            peer: *peer,
            seq,
            from: *peer,
            beat,
            signed: &signed,
            via: Via::Gossip,
            roles: Roles::NONE,
        };
        let now = Now { elapsed: Duration::from_nanos(seq - UNIX), unix_nanos: UNIX };
        assert!(table.insert(now, arrival).is_accepted());
    };

    let before = resident_bytes();
    let own = PeerId::random();
    let mut table = Table::new(own, limits, Detector::default(), 1);
    let start = Clock::start();
    for (k, i) in order.iter().enumerate() {
        arrive(&mut table, *i, UNIX + k as u64);
        table.take_differences();
    }
    let insert_ns = per(start, n);
    let bytes_per_record = (resident_bytes() - before) as f64 / n as f64;
    let estimated_bytes_per_record = table.bytes() as f64 / n as f64;

    // With a view held from before each insert: everything shared is copied.
    let mut second = Table::new(own, limits, Detector::default(), 1);
    for (k, i) in order[..n - n / 10].iter().enumerate() {
        arrive(&mut second, *i, UNIX + k as u64);
    }
    second.take_differences();
    let start = Clock::start();
    for (k, i) in order[n - n / 10..].iter().enumerate() {
        let view = second.view();
        arrive(&mut second, *i, UNIX + (n + k) as u64);
        second.take_differences();
        black_box(view);
    }
    let insert_with_view_ns = per(start, n / 10);
    drop(second);

    let view = table.view();
    let start = Clock::start();
    for i in &order {
        arrive(&mut table, *i, UNIX + (n + i) as u64);
    }
    let renew_ns = per(start, n);
    assert!(table.take_differences().is_empty());
    drop(view);

    let view = table.view();
    let queries: Vec<_> = order.iter().map(|i| Query::matching(Index::host(host(*i)))).collect();
    let exact_lookup_ns = each(&queries, |query| {
        assert!(black_box(view.lookup(query)).is_some());
    });
    let queries: Vec<_> =
        order.iter().map(|i| Query::matching(Index::peer(&arrivals[*i].0))).collect();
    let peer_lookup_ns = each(&queries, |query| {
        assert!(black_box(view.lookup(query)).is_some());
    });
    let prefixes = order[..n.min(20_000)].iter().map(|i| {
        // A hundred hosts begin alike.
        Query::matching(Index::host(&host(*i)[..host(*i).len() - 2])).prefix()
    });
    let prefix_100_ns = each(&prefixes.collect::<Vec<_>>(), |query| {
        let mut hits = 0;
        let sum: u64 = view.refs(query).inspect(|_| hits += 1).map(|record| record.seq() & 1).sum();
        assert_eq!(black_box((hits, sum)).0, 100);
    });
    let iterations = 10;
    let start = Clock::start();
    for _ in 0..iterations {
        let sum: u64 = view.refs(&Query::all()).map(|record| record.seq() & 1).sum();
        black_box(sum);
    }
    let iterate_ns_per_record = per(start, iterations * n);
    let all_hosts = Query::from(Index::host(""));
    let start = Clock::start();
    for _ in 0..iterations {
        // Each record is visited: `count` would only look at the ends.
        let sum: u64 = view.refs(&all_hosts).map(|record| record.seq() & 1).sum();
        black_box(sum);
    }
    let iterate_hosts_ns_per_record = per(start, iterations * n);
    let snapshots = 1_000_000;
    let start = Clock::start();
    for _ in 0..snapshots {
        black_box(table.view());
    }
    let snapshot_ns = per(start, snapshots);
    let start = Clock::start();
    table.expire(Duration::from_secs(1_000_000));
    let expire_ns = per(start, n);
    assert!(table.view().is_empty());

    let line = serde_json::json!({
        "bench": "table",
        "impl": "casm",
        "records": n,
        "exact_lookup_ns": exact_lookup_ns,
        "peer_lookup_ns": peer_lookup_ns,
        "prefix_100_ns": prefix_100_ns,
        "iterate_ns_per_record": iterate_ns_per_record,
        "iterate_hosts_ns_per_record": iterate_hosts_ns_per_record,
        "insert_ns": insert_ns,
        "insert_with_view_ns": insert_with_view_ns,
        "renew_ns": renew_ns,
        "expire_ns": expire_ns,
        "snapshot_ns": snapshot_ns,
        "bytes_per_record": bytes_per_record,
        "estimated_bytes_per_record": estimated_bytes_per_record,
    });
    println!("{line}");
}

/// The value of `--records`.
fn records() -> usize {
    let mut args = std::env::args().skip_while(|arg| arg != "--records").skip(1);
    args.next().map_or(100_000, |n| n.parse().expect("--records takes a number"))
}

/// Memory that the process has, as Linux counts it; 0 elsewhere.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn per(start: Clock, n: usize) -> f64 {
    (start.elapsed().as_nanos() as f64 / n as f64 * 10.0).round() / 10.0
}

fn each(queries: &[Query], run: impl Fn(&Query)) -> f64 {
    queries.iter().take(1000).for_each(&run);
    let start = Clock::start();
    queries.iter().for_each(&run);
    per(start, queries.len())
}

/// Steps through all numbers in an order that caches cannot guess.
fn shuffled(n: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..n).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..n).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        order.swap(i, (state >> 33) as usize % (i + 1));
    }
    order
}

fn peer(i: usize) -> PeerId {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(i as u64).to_le_bytes());
    Keypair::ed25519_from_bytes(seed).expect("32 bytes").public().to_peer_id()
}

fn host(i: usize) -> String {
    format!("node-{i:07}.example")[..12].to_owned()
}

fn beat(i: usize) -> Heartbeat {
    Heartbeat {
        server: server_of(&peer(i)),
        ttl: Some(Duration::from_secs(86_400)),
        host: host(i),
        meta: vec![
            format!("role=role-{}", i % 10),
            format!("zone=zone-{}", i % 1000),
            format!("rack=rack-{}", i / 20),
            format!("version=1.{}.{}", i % 7, i % 100),
            format!("address=10.{}.{}.{}", i >> 16, (i >> 8) & 255, i & 255),
        ],
        sent_at: None,
        addrs: Default::default(),
    }
}
