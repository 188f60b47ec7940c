//! What readers and live queries see of a large table that changes all the time:
//! `cargo xtask bench live --records 10000,100000,200000 --changes 3000`. Prints a JSON
//! line for each size.
//!
//! One thread changes the table and leaves a view after every change, as a node's
//! service does where changes come one by one. Beside it readers look something up in
//! the latest view, live queries take what changes, and others begin anew, each on a
//! thread of its own.

mod clock;

use anyhow::{Context, Result, ensure};
use casm::cluster::{
    Arrival, Change, Detector, Heartbeat, Hub, Index, Limits, LiveQuery, Now, Query, Roles, Table,
    Via, server_of,
};
use casm::{Keypair, PeerId};
use clap::Parser;
use clock::Clock;
use futures::executor::block_on;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[derive(Parser)]
struct Args {
    /// Records of the table.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,200000")]
    records: Vec<usize>,
    /// Changes in a second.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    changes: u32,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// One JSON object per line on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

const UNIX: u64 = 1_700_000_000_000_000_000;
/// About what a signed message around such a heartbeat has.
const SIGNED: [u8; 330] = [7; 330];
/// How often a reader looks.
const LOOK: Duration = Duration::from_millis(1);
/// How long a subscriber stays away after it has seen everything.
const AWAY: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.seconds > 0.0 && args.seconds <= 3600.0, "--seconds takes 0 to 3600");
    for records in &args.records {
        println!("{}", measure(*records, args.changes, Duration::from_secs_f64(args.seconds))?);
    }
    Ok(())
}

/// Changes a table, and has it looked at.
fn measure(records: usize, changes: u32, time: Duration) -> Result<serde_json::Value> {
    let mut writer = Writer::new(records)?;
    let hub = Arc::new(Hub::new(writer.table.view(), &Default::default()));
    let stop = AtomicBool::new(false);
    let begun = writer.begun;
    let all = || Query::all();
    let some = || Query::matching(Index::meta("role", "role-3"));
    let few = || Query::from(Index::host("node-00")).limit(100);
    let (writes, reads, takes, starts) = thread::scope(|scope| {
        let stop = &stop;
        let reader = scope.spawn(|| read(&hub, records, stop));
        let takers: Vec<_> = [all(), some(), few()]
            .into_iter()
            .map(|query| {
                let found = hub.view().count(&query);
                let mut live = hub.subscribe(query);
                // What there was at first is no change.
                (0..found).for_each(|_| drop(block_on(live.next())));
                scope.spawn(|| take(live, begun, stop))
            })
            .collect();
        let starter = scope.spawn(|| start(&hub, stop));
        let writes = writer.run(&hub, changes, time);
        stop.store(true, Ordering::Release);
        // Each of those that wait for a change sees that it is over.
        (0..10).for_each(|i| writer.change(&hub, i));
        let takes = takers.into_iter().map(|taker| taker.join().expect("it took")).collect();
        let read = reader.join().expect("it read");
        (writes, read, takes, starter.join().expect("it began"))
    });
    let takes: Vec<Pauses> = takes;
    let [all, some, few] = <[Pauses; 3]>::try_from(takes).ok().context("three took")?;
    let (first, rest) = starts;
    Ok(serde_json::json!({
        "bench": "live",
        "impl": "casm",
        "records": records,
        "changes_per_s": (writes.0.len() as f64 / time.as_secs_f64()).round(),
        "change_cpu_us": writes.json(),
        "read_us": reads.json(),
        "told_all_us": all.json(),
        "told_some_us": some.json(),
        "told_first_100_us": few.json(),
        "first_record_us": first.json(),
        "between_records_us": rest.json(),
    }))
}

/// How long something took, each time.
#[derive(Default)]
struct Pauses(Vec<Duration>);

impl Pauses {
    /// Times in µs.
    fn json(mut self) -> serde_json::Value {
        self.0.sort_unstable();
        let micros = |time: &Duration| (time.as_secs_f64() * 1e7).round() / 10.0;
        let at = |part: f64| {
            let last = self.0.len().saturating_sub(1);
            self.0.get((last as f64 * part) as usize).map(micros)
        };
        serde_json::json!({
            "times": self.0.len(),
            "p50": at(0.5),
            "p99": at(0.99),
            "p999": at(0.999),
            "max": at(1.0),
        })
    }
}

/// Looks up a record in the latest view, again and again: how long that took, on the
/// clock.
fn read(hub: &Hub, records: usize, stop: &AtomicBool) -> Pauses {
    let mut pauses = Pauses::default();
    let mut i = 0;
    while !stop.load(Ordering::Acquire) {
        i = (i + 7919) % records;
        let query = Query::matching(Index::host(host(i)));
        let asked = Instant::now();
        let found = hub.view().lookup(&query);
        pauses.0.push(asked.elapsed());
        assert!(found.is_some());
        thread::sleep(LOOK);
    }
    pauses
}

/// Takes changes as they come: how long after it was made each is here, on the clock.
fn take(mut live: LiveQuery, begun: Instant, stop: &AtomicBool) -> Pauses {
    let mut pauses = Pauses::default();
    while !stop.load(Ordering::Acquire) {
        match block_on(live.next()) {
            Some(Change::Dropped { count }) => panic!("{count} changes were lost"),
            Some(Change::Joined(record) | Change::Updated(record)) => {
                let at = record.meta().get("at").and_then(|at| at.parse().ok()).unwrap_or(0);
                pauses.0.push(begun.elapsed().saturating_sub(Duration::from_nanos(at)));
            }
            Some(_) => {}
            None => break,
        }
    }
    pauses
}

/// Begins a query of everything, and takes what it finds, again and again: how long the
/// first record took, and each other one.
fn start(hub: &Arc<Hub>, stop: &AtomicBool) -> (Pauses, Pauses) {
    let (mut first, mut rest) = (Pauses::default(), Pauses::default());
    while !stop.load(Ordering::Acquire) {
        let mut asked = Instant::now();
        let mut live = hub.subscribe(Query::all());
        let mut pauses = &mut first;
        while let Some(Change::Current(_)) = block_on(live.next()) {
            pauses.0.push(asked.elapsed());
            (asked, pauses) = (Instant::now(), &mut rest);
        }
        thread::sleep(AWAY);
    }
    (first, rest)
}

/// Who changes the table.
struct Writer {
    table: Table,
    peers: Vec<PeerId>,
    changes: u64,
    begun: Instant,
}

impl Writer {
    fn new(records: usize) -> Result<Self> {
        ensure!((1..=1 << 24).contains(&records), "--records takes 1 to 16777216");
        let mut limits = Limits::default();
        limits.records = limits.records.max(records + records / 4);
        limits.bytes = limits.bytes.max(records * 4096);
        let table = Table::new(PeerId::random(), limits, Detector::default(), 1);
        let peers = (0..records).map(peer).collect();
        let mut writer = Self { table, peers, changes: 0, begun: Instant::now() };
        for i in 0..records {
            writer.insert(i);
        }
        writer.table.take_differences();
        ensure!(writer.table.view().len() == records, "the table took all");
        Ok(writer)
    }

    /// A heartbeat that says something new.
    fn insert(&mut self, i: usize) {
        self.changes += 1;
        let (peer, beat) = (self.peers[i], beat(self.peers[i], i, self.begun.elapsed()));
        let arrival = Arrival {
            peer,
            seq: UNIX + self.changes,
            from: peer,
            beat: &beat,
            signed: &SIGNED,
            via: Via::Gossip,
            roles: Roles::NONE,
        };
        let now = Now { elapsed: Duration::from_nanos(self.changes), unix_nanos: UNIX };
        assert!(self.table.insert(now, arrival).is_accepted());
    }

    /// Changes a record, and leaves the view of it.
    fn change(&mut self, hub: &Hub, i: usize) {
        self.insert(i);
        let differences = self.table.take_differences();
        hub.publish(self.table.view(), &differences);
    }

    /// Gives the processor time of each change.
    fn run(&mut self, hub: &Hub, changes: u32, time: Duration) -> Pauses {
        let mut cpu = Pauses::default();
        let start = Instant::now();
        let mut due = 0;
        while start.elapsed() < time {
            // Also after it was held up: as many as there should be.
            while f64::from(due) < start.elapsed().as_secs_f64() * f64::from(changes) {
                due += 1;
                let clock = Clock::start();
                // Anywhere.
                self.change(hub, self.changes as usize * 7919 % self.peers.len());
                cpu.0.push(clock.elapsed());
            }
            thread::sleep(Duration::from_micros(100));
        }
        cpu
    }
}

fn peer(i: usize) -> PeerId {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(i as u64).to_le_bytes());
    Keypair::ed25519_from_bytes(seed).expect("32 bytes").public().to_peer_id()
}

fn host(i: usize) -> String {
    format!("node-{i:08}")
}

fn beat(peer: PeerId, i: usize, at: Duration) -> Heartbeat {
    Heartbeat {
        server: server_of(&peer),
        ttl: Some(Duration::from_secs(86_400)),
        host: host(i),
        meta: vec![
            format!("role=role-{}", i % 10),
            format!("zone=zone-{}", i % 1000),
            format!("at={}", at.as_nanos()),
        ],
        sent_at: None,
        addrs: Default::default(),
    }
}
