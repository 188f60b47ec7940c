//! A multicast group on virtual time: one node that surveys, and all others,
//! which run the responder's types of the production code.
//!
//! The model: every datagram reaches every other node after a delay of its own,
//! uniform between 0.1 ms and 2 ms (a switched LAN and the wake-up of a
//! process), or, with `--loss`, not at all. Nodes are told apart by the 32 bits
//! that a survey's distance is computed from, and each has an address. Hostile
//! members answer each survey at once, from addresses of their own and with its
//! nonce, so that the others keep silent; their answers count as nothing found.

use casm::{
    Namespace, PeerId,
    boot::survey::{Replies, Reply, Schedule},
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

/// How long a first peer takes to be found in a group, and what it costs.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Nodes in the group, with the one that surveys.
    #[arg(long, default_value_t = 100)]
    pub nodes: usize,
    /// Peers that the survey ends with.
    #[arg(long, default_value_t = 1)]
    pub limit: usize,
    /// Surveys that are simulated, each in a group of its own.
    #[arg(long, default_value_t = 200)]
    pub runs: u64,
    /// The part of all datagrams that each receiver loses, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub loss: f64,
    /// Ask everyone at once, as Go's plain survey does.
    #[arg(long)]
    pub plain: bool,
    /// Ask without a nonce, as Go does.
    #[arg(long)]
    pub no_nonce: bool,
    /// Members that each node knows of [default: all].
    #[arg(long)]
    pub view: Option<usize>,
    /// Addresses beside the nodes from which somebody answers for peers that
    /// don't exist.
    #[arg(long, default_value_t = 0)]
    pub hostile: usize,
    /// The random source; equal seeds give equal results.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Prints one JSON object (always so; for scripts).
    #[arg(long)]
    pub json: bool,
}

/// What is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    nodes: usize,
    limit: usize,
    runs: u64,
    loss: f64,
    plain: bool,
    no_nonce: bool,
    view: usize,
    hostile: usize,
    seed: u64,
    /// Until the first peer is found.
    first_peer_p50_ms: f64,
    p99_ms: f64,
    /// Until `limit` peers are found.
    enough_p50_ms: f64,
    enough_p99_ms: f64,
    /// Datagrams sent for one survey, by all but hostile ones: the mean and the
    /// most.
    packets: f64,
    packets_max: u64,
    /// Runs in which too few were found within ten virtual minutes.
    unfinished: usize,
}

/// Simulates and prints.
///
/// # Errors
/// If an argument is out of its range.
pub fn run(args: Args) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&simulate(&args)?)?);
    Ok(())
}

/// Simulates.
///
/// # Errors
/// If an argument is out of its range.
pub fn simulate(args: &Args) -> anyhow::Result<Report> {
    anyhow::ensure!(args.nodes >= 2, "--nodes {}: a survey needs 2 nodes or more", args.nodes);
    anyhow::ensure!(
        (1..args.nodes).contains(&args.limit),
        "--limit {}: write 1 to {}, the number of other nodes",
        args.limit,
        args.nodes - 1
    );
    anyhow::ensure!((0.0..1.0).contains(&args.loss), "--loss {}: write 0 to 0.99", args.loss);
    anyhow::ensure!(args.runs > 0, "--runs 0: write 1 or more");
    let outcomes: Vec<Outcome> = (0..args.runs)
        .into_par_iter()
        .map(|run| {
            let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
            rng.set_stream(run);
            Group::new(args, rng).survey()
        })
        .collect();
    let times = |time: fn(&Outcome) -> Option<Duration>| {
        let mut times: Vec<Duration> = outcomes.iter().filter_map(time).collect();
        times.sort_unstable();
        times
    };
    let (first, enough) = (times(|o| o.first), times(|o| o.enough));
    let packets = outcomes.iter().map(|o| o.packets);
    Ok(Report {
        nodes: args.nodes,
        limit: args.limit,
        runs: args.runs,
        loss: args.loss,
        plain: args.plain,
        no_nonce: args.no_nonce,
        view: args.view.unwrap_or(args.nodes),
        hostile: args.hostile,
        seed: args.seed,
        first_peer_p50_ms: percentile(&first, 50),
        p99_ms: percentile(&first, 99),
        enough_p50_ms: percentile(&enough, 50),
        enough_p99_ms: percentile(&enough, 99),
        packets: packets.clone().sum::<u64>() as f64 / args.runs as f64,
        packets_max: packets.max().unwrap_or(0),
        unfinished: outcomes.iter().filter(|o| o.enough.is_none()).count(),
    })
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// How one survey went.
#[derive(Debug)]
struct Outcome {
    first: Option<Duration>,
    enough: Option<Duration>,
    packets: u64,
}

const SURVEYOR: usize = 0;

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The surveyor sends its next survey.
    Step,
    /// A survey of this distance and with this nonce arrives.
    Survey(u8, u64),
    /// A response of this node, to this nonce, arrives.
    Response(usize, u64),
    /// An answer may be due.
    Due,
    /// Hostile members answer to this nonce.
    Forge(u64),
}

/// The longest delay of a datagram: by then a survey has reached everyone.
const SLOWEST: Duration = Duration::from_millis(2);

struct Group<'a> {
    args: &'a Args,
    rng: ChaCha8Rng,
    namespace: Namespace,
    start: Instant,
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(Instant, u64, usize, Event)>>,
    events: u64,
    packets: u64,
}

struct Node {
    position: u32,
    replies: Replies,
}

impl<'a> Group<'a> {
    fn new(args: &'a Args, mut rng: ChaCha8Rng) -> Self {
        let nodes = (0..args.nodes).map(|_| Node::new(&mut rng)).collect();
        Self {
            args,
            rng,
            namespace: Namespace::default(),
            start: Instant::now(),
            nodes,
            queue: BinaryHeap::new(),
            events: 0,
            packets: 0,
        }
    }

    fn survey(mut self) -> Outcome {
        const PATIENCE: Duration = Duration::from_secs(600);
        let mut schedule = if self.args.plain { Schedule::plain() } else { Schedule::gradual() };
        let mut found = HashSet::new();
        let mut first = None;
        self.push(self.start, SURVEYOR, Event::Step);
        while let Some(Reverse((now, _, node, event))) = self.queue.pop() {
            let elapsed = now - self.start;
            if elapsed > PATIENCE {
                break;
            }
            match event {
                Event::Step => {
                    let step = schedule.next(&mut self.rng);
                    let nonce =
                        if self.args.no_nonce { 0 } else { self.rng.random_range(1..=u64::MAX) };
                    self.send(SURVEYOR, now, Event::Survey(step.distance, nonce));
                    self.push(now + SLOWEST, SURVEYOR, Event::Forge(nonce));
                    self.push(now + step.wait, SURVEYOR, Event::Step);
                }
                Event::Survey(distance, nonce) => self.surveyed(node, distance, nonce, now),
                Event::Response(of, _) if of >= self.args.nodes && node == SURVEYOR => {}
                Event::Response(of, _) if node == SURVEYOR => {
                    first = first.or(Some(elapsed));
                    found.insert(of);
                    if found.len() == self.args.limit {
                        let packets = self.packets + self.answers_under_way(now);
                        return Outcome { first, enough: Some(elapsed), packets };
                    }
                }
                Event::Response(of, nonce) => {
                    self.nodes[node].replies.heard(&self.namespace, nonce, address(of));
                }
                Event::Due => self.answer(node, now),
                Event::Forge(nonce) => self.forge(nonce, now),
            }
        }
        Outcome { first, enough: None, packets: self.packets }
    }

    fn surveyed(&mut self, node: usize, distance: u8, nonce: u64, now: Instant) {
        let asker = self.nodes[SURVEYOR].position;
        let asked = &mut self.nodes[node];
        if (asker ^ asked.position).checked_shr(distance.into()).unwrap_or(0) != 0 {
            return;
        }
        let question = Reply { namespace: self.namespace.clone(), nonce, budget: 1000 };
        asked.replies.asked(
            question,
            address(SURVEYOR),
            self.args.view.unwrap_or(self.args.nodes),
            now,
            &mut self.rng,
        );
        if let Some(due) = asked.replies.next_due() {
            self.push(due, node, Event::Due);
        }
    }

    fn answer(&mut self, node: usize, now: Instant) {
        for reply in self.nodes[node].replies.due(now, &mut self.rng) {
            self.send(node, now, Event::Response(node, reply.nonce));
        }
    }

    fn forge(&mut self, nonce: u64, now: Instant) {
        for hostile in self.args.nodes..self.args.nodes + self.args.hostile {
            self.send(hostile, now, Event::Response(hostile, nonce));
        }
    }

    /// Answers that are sent although the surveyor has enough: the others
    /// don't know that.
    fn answers_under_way(&mut self, now: Instant) -> u64 {
        let before = self.packets;
        let until = now + Replies::SPREAD * 2;
        while let Some(Reverse((at, _, node, event))) = self.queue.pop() {
            match event {
                _ if at > until => break,
                Event::Survey(distance, nonce) => self.surveyed(node, distance, nonce, at),
                Event::Due => self.answer(node, at),
                Event::Forge(nonce) => self.forge(nonce, at),
                Event::Response(of, nonce) if node != SURVEYOR => {
                    self.nodes[node].replies.heard(&self.namespace, nonce, address(of));
                }
                Event::Response(..) | Event::Step => {}
            }
        }
        self.packets - before
    }

    fn send(&mut self, from: usize, now: Instant, event: Event) {
        self.packets += u64::from(from < self.args.nodes);
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            if self.args.loss > 0.0 && self.rng.random_bool(self.args.loss) {
                continue;
            }
            let delay = self.rng.random_range(Duration::from_micros(100)..SLOWEST);
            // A response is of no interest to who has no answer of its own to
            // hold back.
            let idle = to != SURVEYOR && !self.nodes[to].replies.is_pending(&self.namespace);
            if matches!(event, Event::Response(..)) && idle {
                continue;
            }
            self.push(now + delay, to, event);
        }
    }

    fn push(&mut self, at: Instant, node: usize, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((at, self.events, node, event)));
    }
}

impl Node {
    fn new(rng: &mut impl Rng) -> Self {
        let mut digest = [0; 32];
        rng.fill_bytes(&mut digest);
        // A SHA-256 multihash, as the ids of ECDSA and RSA keys are.
        let id = PeerId::from_bytes(&[&[0x12, 32][..], &digest].concat()).expect("a multihash");
        Self { position: casm::boot::packet::position(&id), replies: Replies::default() }
    }
}

/// The address of a node.
fn address(node: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + node as u32).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: usize) -> Args {
        Args {
            nodes,
            limit: 1,
            runs: 40,
            loss: 0.0,
            plain: false,
            no_nonce: false,
            view: None,
            hostile: 0,
            seed: 5,
            json: true,
        }
    }

    #[test]
    fn a_first_peer_is_found_fast_at_any_size_and_nothing_storms() {
        for nodes in [2, 100, 10_000] {
            let report = simulate(&Args { runs: if nodes > 1000 { 4 } else { 40 }, ..args(nodes) });
            let report = report.unwrap();
            assert_eq!(report.unfinished, 0, "{report:?}");
            assert!(report.p99_ms < 1000.0, "{report:?}");
            assert!(report.packets_max < 100, "{report:?}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_results() {
        let lossy = Args { loss: 0.2, limit: 10, ..args(50) };
        assert_eq!(simulate(&lossy).unwrap(), simulate(&lossy).unwrap());
        let other = Args { seed: 6, ..lossy.clone() };
        assert_ne!(simulate(&lossy).unwrap().packets, simulate(&other).unwrap().packets);
    }

    #[test]
    fn a_survey_of_everyone_is_not_answered_by_everyone() {
        let report = simulate(&Args { plain: true, runs: 4, ..args(2000) }).unwrap();
        assert!(report.packets_max < 100, "{report:?}");
    }

    #[test]
    fn hostile_members_keep_nobody_from_being_found() {
        for nodes in [4, 100, 1000] {
            let report = simulate(&Args { hostile: 16, ..args(nodes) }).unwrap();
            assert_eq!(report.unfinished, 0, "{report:?}");
            assert!(report.p99_ms < 10_000.0 && report.packets_max < 100, "{report:?}");
        }
    }

    #[test]
    fn what_go_asks_storms_in_no_second() {
        // All answer, since their answers could be old ones, but in their time.
        let report = simulate(&Args { no_nonce: true, plain: true, ..args(1000) }).unwrap();
        assert_eq!(report.unfinished, 0, "{report:?}");
        assert!(report.p99_ms < 1000.0 && report.packets_max < 100, "{report:?}");
    }
}
