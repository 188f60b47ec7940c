//! A flood of identities into one node's table, which is the production code's.
//! The members of a cluster are there before; while the flood lasts, some of them
//! restart, and new honest nodes come. Every heartbeat arrives by gossip.

use casm::{
    PeerId,
    cluster::{
        Arrival, Detector, Heartbeat, Limits, Now, Outcome, Pace, Roles, Table, Via, server_of,
    },
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    time::Duration,
};

const MINUTE: Duration = Duration::from_secs(60);
/// Until then the members are established, and the flood begins.
const BEFORE: Duration = Duration::from_secs(15 * 60);
/// After the flood the table is looked at once more: newcomers of whom nothing is
/// heard are gone by then.
const AFTER: Duration = Duration::from_secs(16 * 60);
/// For how long a member that restarts is away: so long that it has expired.
const AWAY: Duration = Duration::from_secs(30);
/// 2026-01-01, when every simulation begins.
const EPOCH: u64 = 1_767_225_600_000_000_000;

/// What a flood of identities does to one node's view.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Records that the table holds.
    #[arg(long, default_value_t = 8192)]
    pub records: usize,
    /// Members of the cluster before the flood.
    #[arg(long, default_value_t = 500)]
    pub members: usize,
    /// New identities a minute.
    #[arg(long, default_value_t = 8192)]
    pub rate: u32,
    /// Minutes for which it lasts.
    #[arg(long, default_value_t = 30)]
    pub minutes: u32,
    /// Heartbeats that each identity sends.
    #[arg(long, default_value_t = 2)]
    pub beats: u32,
    /// The pause between them.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub pause: Duration,
    /// Their TTL, 1s to 24h.
    #[arg(long, default_value = "24h", value_parser = humantime::parse_duration)]
    pub ttl: Duration,
    /// The random source; equal seeds give equal results.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Prints one JSON object (always so; for scripts).
    #[arg(long)]
    pub json: bool,
}

/// What is printed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    records: usize,
    members: usize,
    seed: u64,
    /// Identities of the flood, and those that the table took.
    sybils: usize,
    sybils_taken: usize,
    /// Members that were dropped while they lived, and members that restarted, of
    /// whom so many were refused.
    members_dropped: usize,
    restarts: usize,
    restarts_refused: usize,
    /// Honest nodes that came during the flood, how many were refused at first,
    /// and which part of their further heartbeats found them still there.
    newcomers: usize,
    newcomers_refused: usize,
    newcomers_kept: f64,
    /// The part of the table that the flood has when it ends, and a while later.
    share_at_end: f64,
    share_later: f64,
}

/// Simulates and prints.
///
/// # Errors
/// If an argument is out of its range.
pub fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&simulate(args)?)?);
    Ok(())
}

/// Simulates.
///
/// # Errors
/// If an argument is out of its range.
pub fn simulate(args: &Args) -> anyhow::Result<Report> {
    anyhow::ensure!(
        (16..=1 << 20).contains(&args.records),
        "--records {}: write 16 to 1048576",
        args.records
    );
    let most = args.records * 7 / 8;
    anyhow::ensure!(
        (1..=most).contains(&args.members),
        "--members {}: write 1 to {most}, what there is room for",
        args.members
    );
    anyhow::ensure!(args.rate > 0, "--rate 0: write 1 or more");
    anyhow::ensure!((1..=1440).contains(&args.minutes), "--minutes: write 1 to 1440");
    anyhow::ensure!(!args.pause.is_zero(), "--pause 0s: write more");
    let ttls = Heartbeat::MIN_TTL..=Heartbeat::MAX_TTL;
    anyhow::ensure!(ttls.contains(&args.ttl), "--ttl {:?}: write 1s to 24h", args.ttl);
    Ok(World::new(args).run())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Member,
    Newcomer,
    Sybil { left: u32 },
}

struct Peer {
    id: PeerId,
    kind: Kind,
    seq: u64,
    beat: Heartbeat,
    /// Whether it has been heard since it started.
    heard: bool,
}

struct World {
    args: Args,
    rng: ChaCha8Rng,
    table: Table,
    peers: Vec<Peer>,
    sybils: HashSet<PeerId>,
    /// Who sends next.
    queue: BinaryHeap<Reverse<(Duration, usize)>>,
    report: Report,
    kept: (usize, usize),
}

impl World {
    fn new(args: &Args) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
        let mut limits = Limits::default();
        limits.records = args.records;
        let table = Table::new(peer(&mut rng), limits, Detector::default(), rng.random());
        let report = Report {
            records: args.records,
            members: args.members,
            seed: args.seed,
            ..Report::default()
        };
        Self {
            args: args.clone(),
            rng,
            table,
            peers: Vec::new(),
            sybils: HashSet::new(),
            queue: BinaryHeap::new(),
            report,
            kept: (0, 0),
        }
    }

    fn run(mut self) -> Report {
        for _ in 0..self.args.members {
            let first = Heartbeat::DEFAULT_TTL.mul_f64(self.rng.random_range(0.0..1.0));
            self.start(first, Kind::Member);
        }
        self.until(BEFORE);
        let pause = MINUTE / self.args.rate;
        for minute in 0..self.args.minutes {
            let begin = BEFORE + MINUTE * minute;
            for nth in 0..self.args.rate {
                self.start(begin + pause * nth, Kind::Sybil { left: self.args.beats });
            }
            self.start(begin, Kind::Newcomer);
            self.restart(begin);
            self.until(begin + MINUTE);
        }
        let end = BEFORE + MINUTE * self.args.minutes;
        self.report.share_at_end = self.share();
        self.peers.iter_mut().for_each(|peer| {
            if let Kind::Sybil { left } = &mut peer.kind {
                *left = 0;
            }
        });
        self.until(end + AFTER);
        self.report.share_later = self.share();
        self.report.newcomers_kept = self.kept.0 as f64 / self.kept.1.max(1) as f64;
        self.report
    }

    fn start(&mut self, at: Duration, kind: Kind) {
        let id = peer(&mut self.rng);
        let ttl = match kind {
            Kind::Sybil { .. } => {
                self.report.sybils += 1;
                self.sybils.insert(id);
                self.args.ttl
            }
            Kind::Newcomer => {
                self.report.newcomers += 1;
                Heartbeat::DEFAULT_TTL
            }
            Kind::Member => Heartbeat::DEFAULT_TTL,
        };
        let beat = Heartbeat {
            server: server_of(&id),
            ttl: Some(ttl),
            host: "host".into(),
            meta: vec!["role=worker".into()],
            sent_at: None,
            addrs: Default::default(),
        };
        let seq = clock(at).unix_nanos;
        self.queue.push(Reverse((at, self.peers.len())));
        self.peers.push(Peer { id, kind, seq, beat, heard: false });
    }

    /// A member crashes, and comes back with an empty memory.
    fn restart(&mut self, now: Duration) {
        let nth = self.rng.random_range(0..self.args.members);
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        queue.retain(|Reverse((_, of))| *of != nth);
        queue.push(Reverse((now + AWAY, nth)));
        self.queue = queue.into();
        self.report.restarts += 1;
        self.peers[nth].heard = false;
        self.peers[nth].seq = clock(now + AWAY).unix_nanos;
    }

    fn until(&mut self, end: Duration) {
        while let Some(Reverse((now, nth))) = self.queue.peek().copied()
            && now < end
        {
            self.queue.pop();
            self.table.expire(now);
            self.hear(now, nth);
            self.table.take_differences();
        }
        self.table.expire(end);
        self.table.take_differences();
    }

    /// A heartbeat arrives, and the next one is due later.
    fn hear(&mut self, now: Duration, nth: usize) {
        let peer = &mut self.peers[nth];
        if let Kind::Sybil { left } = &mut peer.kind {
            let Some(fewer) = left.checked_sub(1) else { return };
            *left = fewer;
        }
        let Peer { id, kind, ref beat, heard, .. } = *peer;
        let (seq, signed, via) = (peer.seq, &[7; 300][..], Via::Gossip);
        let roles = Roles::NONE;
        let arrival = Arrival { peer: id, seq, from: id, beat, signed, via, roles };
        let outcome = self.table.insert(clock(now), arrival);
        peer.seq += 1;
        peer.heard = true;
        let pause = match kind {
            Kind::Sybil { .. } => self.args.pause,
            _ => Pace.pause(Heartbeat::DEFAULT_TTL, &mut self.rng),
        };
        self.queue.push(Reverse((now + pause, nth)));
        let refused = usize::from(!outcome.is_accepted());
        let again = usize::from(outcome != Outcome::Renewed);
        match (kind, heard) {
            (Kind::Sybil { .. }, false) => self.report.sybils_taken += 1 - refused,
            (Kind::Sybil { .. }, true) => {}
            (Kind::Member, true) => self.report.members_dropped += again,
            (Kind::Member, false) => self.report.restarts_refused += refused,
            (Kind::Newcomer, false) => self.report.newcomers_refused += refused,
            (Kind::Newcomer, true) => {
                self.kept.0 += 1 - again;
                self.kept.1 += 1;
            }
        }
    }

    fn share(&self) -> f64 {
        let view = self.table.view();
        let sybils = self.sybils.iter().filter(|id| view.get(id).is_some()).count();
        sybils as f64 / self.args.records as f64
    }
}

fn peer(rng: &mut impl Rng) -> PeerId {
    let mut digest = [0; 32];
    rng.fill_bytes(&mut digest);
    // A SHA-256 multihash, as the ids of ECDSA and RSA keys are.
    PeerId::from_bytes(&[&[0x12, 32][..], &digest].concat()).expect("a multihash")
}

fn clock(now: Duration) -> Now {
    Now { elapsed: now, unix_nanos: EPOCH + now.as_nanos() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args {
            records: 256,
            members: 100,
            rate: 256,
            minutes: 20,
            beats: 2,
            pause: MINUTE,
            ttl: Heartbeat::MAX_TTL,
            seed: 1,
            json: true,
        }
    }

    /// Whatever is done, everybody gets in.
    fn check(report: &Report) {
        let refused = report.restarts_refused + report.newcomers_refused;
        assert_eq!(refused, 0, "{report:?}");
        assert!(report.restarts > 0 && report.newcomers > 0, "{report:?}");
    }

    #[test]
    fn who_floods_with_two_heartbeats_each_holds_nothing_for_long() {
        let report = simulate(&args()).unwrap();
        check(&report);
        assert_eq!(report.members_dropped, 0, "{report:?}");
        assert!(report.newcomers_kept > 0.8, "{report:?}");
        // Later the table is half full, mostly of members.
        assert!(report.share_at_end > 0.4 && report.share_later < 0.2, "{report:?}");
    }

    #[test]
    fn who_pays_for_ten_minutes_holds_nothing_for_long_either() {
        // With the longest TTL nobody is established in this time; with one of 14
        // minutes some are, and kept no longer than they were there.
        let minutes = |n| MINUTE * n;
        for (ttl, later) in [(Heartbeat::MAX_TTL, 0.02), (minutes(14), 0.15)] {
            for rate in [10, 64] {
                let patient =
                    Args { beats: 1000, pause: minutes(2), rate, minutes: 40, ttl, ..args() };
                let report = simulate(&patient).unwrap();
                check(&report);
                // 100 of 256 records are the members'.
                assert!(report.share_at_end > 0.4, "{report:?}");
                assert!(report.share_later < later, "{report:?}");
            }
        }
    }

    #[test]
    fn arguments_out_of_range_are_refused_and_equal_seeds_give_equal_results() {
        for bad in [
            Args { records: 15, ..args() },
            Args { members: 225, ..args() },
            Args { rate: 0, ..args() },
            Args { minutes: 0, ..args() },
            Args { pause: Duration::ZERO, ..args() },
            Args { ttl: Duration::ZERO, ..args() },
        ] {
            assert!(simulate(&bad).is_err(), "{bad:?}");
        }
        let some = Args { minutes: 2, ..args() };
        assert_eq!(simulate(&some).unwrap(), simulate(&some).unwrap());
    }
}
