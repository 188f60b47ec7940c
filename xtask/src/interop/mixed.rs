//! Networks of several stacks that boot from one address.

use super::{
    build::Programs,
    net::{Lan, address},
    peer::{PATIENCE, Peer},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const NS: &str = "interop";
const TTL: &str = "10s";

/// The network that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub name: &'static str,
    /// The stacks, in the order of the start. The first one serves the boot
    /// address.
    pub stacks: &'static [Stack],
    /// How long the partition lasts; none if it is zero.
    pub partition: Duration,
    /// For how long nobody may be lost over the death of others.
    pub calm: Duration,
    /// How many heartbeats a second Rust's nodes are to send together; none for the usual.
    pub budget: Option<&'static str>,
}

use Stack::{Go, Js, Py, Rust};

/// The quick one.
pub const FOUR: Plan = Plan {
    name: "2 rust, 2 go",
    stacks: &[Go, Rust, Rust, Go],
    partition: Duration::ZERO,
    calm: Duration::from_secs(3),
    budget: None,
};

/// Rust and Go alone.
pub const EIGHT: Plan = Plan {
    name: "4 rust, 4 go",
    stacks: &[Go, Rust, Go, Rust, Rust, Go, Rust, Go],
    partition: Duration::from_secs(60),
    calm: Duration::from_secs(15),
    budget: None,
};

/// Every stack.
pub const TWELVE: Plan = Plan {
    name: "4 rust, 4 go, 2 js, 2 py",
    stacks: &[Rust, Go, Rust, Go, Js, Py, Rust, Go, Js, Py, Rust, Go],
    partition: Duration::from_secs(60),
    calm: Duration::from_secs(15),
    budget: None,
};

/// Rust's nodes slow down, and Go's don't know of it.
pub const PACED: Plan = Plan {
    name: "4 rust with a budget of 1, 4 go",
    stacks: &[Go, Rust, Go, Rust, Rust, Go, Rust, Go],
    partition: Duration::ZERO,
    calm: Duration::from_secs(40),
    budget: Some("1"),
};
/// The least of the TTLs of eight nodes with that budget, 10/3 s · 8, of which each may
/// count itself and a few others yet.
const STRETCHED: Duration = Duration::from_secs(20);

/// How much more than a TTL a view may take to drop who is gone: a quarter of it.
const LATE: f64 = 1.25;
/// Until one that announces [`TTL`] is gone from every view: that and a quarter, and a
/// moment for what is asked every 100 ms.
const GONE: Duration = Duration::from_secs(14);
/// The same moment where the TTL is another: the last heartbeat may come a little later
/// than the process ends.
const MOMENT: Duration = Duration::from_secs(3);

/// How long a network has to agree on what has happened.
const AGREEMENT: Duration = Duration::from_secs(90);

/// A running network.
struct Network<'a> {
    programs: &'a Programs,
    lan: Lan,
    boot: String,
    peers: Vec<Option<Peer>>,
}

/// Checks one network: full view, a third killed, a partition, a restart.
pub fn check(report: &mut Report, programs: &Programs, plan: Plan) {
    const SECTION: &str = "Mixed networks, booted from one address";
    let name = |what: &str| format!("{}: {what}", plan.name);
    let mut network = None;
    report.check(SECTION, name("every view is full"), || {
        let begin = Instant::now();
        let started = Network::start(programs, plan)?;
        let all = network.insert(started);
        let ready = begin.elapsed();
        all.agree(AGREEMENT)?;
        Ok(format!(
            "{:.1} s after the first start, {:.1} s after the last",
            begin.elapsed().as_secs_f32(),
            (begin.elapsed() - ready).as_secs_f32()
        ))
    });
    // Without the network there is nothing more to check, and the report says
    // so already.
    let Some(mut network) = network else { return };
    if plan.budget.is_some() {
        let slow = name("rust's announce longer TTLs, and nobody is lost");
        report.check(SECTION, slow, || network.slows_down(plan.calm));
        report.check(SECTION, name("a go is killed"), || network.loses_a_go());
        report.check(SECTION, name("a rust is killed"), || network.loses_a_rust());
        return;
    }
    report.check(SECTION, name("what one says anew reaches all"), || network.updates());
    if !plan.partition.is_zero() {
        let partition = name("one half is cut off for a minute, and comes back");
        report.check(SECTION, partition, || network.partition(plan.partition));
    }
    report.check(SECTION, name("a third is killed"), || network.kill_a_third(plan.calm));
    report.check(SECTION, name("those come back as new nodes"), || network.revive(plan));
}

impl<'a> Network<'a> {
    fn start(programs: &'a Programs, plan: Plan) -> Result<Self> {
        let mut network = Self {
            programs,
            lan: Lan::new(plan.stacks.len())?,
            boot: format!("/ip4/{}/udp/8822", address(0)),
            peers: vec![],
        };
        for (host, stack) in plan.stacks.iter().enumerate() {
            let peer = network.start_peer(plan, *stack, host)?;
            network.peers.push(Some(peer));
        }
        Ok(network)
    }

    fn start_peer(&self, plan: Plan, stack: Stack, host: usize) -> Result<Peer> {
        let mut start = Start::new(stack, host, NS).ttl(TTL).pex_tick("5s");
        if host == 0 {
            start = start.serve(&self.boot);
        } else {
            start = start.boot(&self.boot);
        }
        if let (Some(budget), Stack::Rust) = (plan.budget, stack) {
            start = start.option("--budget").option(budget);
        }
        let mut peer = start.start(self.programs, &self.lan)?;
        if !stack.is_whole() {
            // These have no discovery: they are told of the first rust and go
            // nodes and of the latest, who may be on the other side of a
            // partition.
            for other in self.anchors() {
                let addr = other.addrs.iter().find(|a| a.contains("/tcp/"));
                let addr = addr.context("no TCP address")?;
                peer.command(json!({"cmd": "connect", "addr": addr}))?;
            }
        }
        Ok(peer)
    }

    /// The first and the last of each stack that finds peers by itself.
    fn anchors(&self) -> Vec<&Peer> {
        let of = |stack| self.peers.iter().flatten().filter(move |p| p.stack == stack);
        let all = [of(Rust).next(), of(Go).next(), of(Rust).next_back(), of(Go).next_back()];
        let mut anchors: Vec<&Peer> = all.into_iter().flatten().collect();
        anchors.sort_by_key(|peer| &peer.id);
        anchors.dedup_by_key(|peer| &peer.id);
        anchors
    }

    /// Waits until each of these peers sees exactly these.
    fn agree_among(&mut self, hosts: &[usize], within: Duration) -> Result<Duration> {
        let expected: BTreeSet<String> =
            hosts.iter().filter_map(|i| self.peers[*i].as_ref()).map(|p| p.id.clone()).collect();
        let begin = Instant::now();
        loop {
            let mut wrong = vec![];
            for i in hosts {
                if let Some(peer) = &mut self.peers[*i] {
                    let view = peer.view()?;
                    if view != expected {
                        wrong.push(format!("{} sees {}", peer.name, view.len()));
                    }
                }
            }
            if wrong.is_empty() {
                return Ok(begin.elapsed());
            }
            ensure!(
                begin.elapsed() < within,
                "after {} s not all see {}: {}",
                within.as_secs(),
                expected.len(),
                wrong.join(", ")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn agree(&mut self, within: Duration) -> Result<Duration> {
        let all: Vec<usize> = (0..self.peers.len()).filter(|i| self.peers[*i].is_some()).collect();
        self.agree_among(&all, within)
    }

    /// All who take commands say something new, one after the other, and
    /// everyone else hears it.
    fn updates(&mut self) -> Result<String> {
        let (mut slowest, mut count) = (Duration::ZERO, 0);
        for i in 0..self.peers.len() {
            let marks: Vec<_> =
                self.peers.iter().map(|p| p.as_ref().map_or(0, Peer::mark)).collect();
            let Some(peer) = self.peers[i].as_mut().filter(|p| p.stack != Rust) else { continue };
            let (id, note) = (peer.id.clone(), format!("update-{i}"));
            let begin = Instant::now();
            let meta = [format!("stack={}", peer.stack), format!("note={note}")];
            peer.command(json!({"cmd": "update", "meta": meta}))?;
            for (other, mark) in self.peers.iter().zip(marks) {
                let Some(other) = other.as_ref().filter(|other| other.id != id) else { continue };
                other.wait_since(mark, "an update", PATIENCE, |e| {
                    e["event"] == "peer-updated"
                        && e["record"]["peer"] == id
                        && e["record"]["meta"]["note"] == note
                })?;
                slowest = slowest.max(begin.elapsed());
                count += 1;
            }
        }
        Ok(format!("{count} deliveries, all within {:.1} s", slowest.as_secs_f32()))
    }

    fn partition(&mut self, length: Duration) -> Result<String> {
        let n = self.peers.len();
        let (near, far): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| *i < n / 2);
        self.lan.cut_off(&far, true)?;
        let begin = Instant::now();
        let seen = self
            .agree_among(&near, AGREEMENT)
            .and_then(|near_seen| Ok(near_seen.max(self.agree_among(&far, AGREEMENT)?)));
        if seen.is_ok() {
            std::thread::sleep(length.saturating_sub(begin.elapsed()));
        }
        self.lan.cut_off(&far, false)?;
        let seen = seen?;
        let healed = self.agree(AGREEMENT)?;
        Ok(format!(
            "each half knows after {:.1} s; whole again {:.1} s after the end",
            seen.as_secs_f32(),
            healed.as_secs_f32()
        ))
    }

    /// All see that Rust's nodes announce longer TTLs, Go's go on, and nobody is lost
    /// meanwhile nor for a while after.
    fn slows_down(&mut self, calm: Duration) -> Result<String> {
        let marks: Vec<_> = self.peers.iter().flatten().map(Peer::mark).collect();
        let slow: BTreeSet<String> =
            self.peers.iter().flatten().filter(|p| p.stack == Rust).map(|p| p.id.clone()).collect();
        let begin = Instant::now();
        let mut least;
        loop {
            least = u64::MAX;
            for peer in self.peers.iter_mut().flatten() {
                for record in peer.records()? {
                    if record["peer"].as_str().is_some_and(|id| slow.contains(id)) {
                        least = least.min(record["ttl_ms"].as_u64().unwrap_or(0));
                    }
                }
            }
            if u128::from(least) >= STRETCHED.as_millis() {
                break;
            }
            ensure!(begin.elapsed() < AGREEMENT, "a TTL of rust's is still {least} ms somewhere");
            std::thread::sleep(Duration::from_millis(200));
        }
        let slowed = begin.elapsed();
        std::thread::sleep(calm);
        for (peer, mark) in self.peers.iter().flatten().zip(marks) {
            let lost = peer.events(mark, |e| e["event"] == "peer-left");
            ensure!(lost.is_empty(), "{} loses {lost:?}, who live", peer.name);
        }
        self.agree(AGREEMENT)?;
        Ok(format!(
            "{:.1} s or more after {:.1} s; all see all {} s later",
            Duration::from_millis(least).as_secs_f32(),
            slowed.as_secs_f32(),
            calm.as_secs()
        ))
    }

    /// The last of a stack, which is no longer among the others.
    fn take_last(&mut self, stack: Stack) -> Result<Peer> {
        let last = self.peers.iter().rposition(|p| p.as_ref().is_some_and(|p| p.stack == stack));
        last.and_then(|i| self.peers[i].take()).with_context(|| format!("no {stack} peer"))
    }

    /// One of Go's is gone from every view within its own TTL, and a quarter more.
    fn loses_a_go(&mut self) -> Result<String> {
        let mut killed = self.take_last(Go)?;
        killed.kill()?;
        let seen = self.agree(GONE)?;
        Ok(format!("{} gone from every view after {:.1} s", killed.name, seen.as_secs_f32()))
    }

    /// One of Rust's is gone from every view within the longer TTL that it announced, and a
    /// quarter more: Go's know nothing of suspicions.
    fn loses_a_rust(&mut self) -> Result<String> {
        let mut killed = self.take_last(Rust)?;
        let mut ttl = Duration::ZERO;
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.stack == Go) {
            let records = peer.records()?;
            let record = records.iter().find(|record| record["peer"] == killed.id);
            let announced = record.and_then(|record| record["ttl_ms"].as_u64());
            let announced =
                announced.with_context(|| format!("{} does not see {}", peer.name, killed.name))?;
            ttl = ttl.max(Duration::from_millis(announced));
        }
        killed.kill()?;
        let seen = self.agree(ttl.mul_f64(LATE) + MOMENT)?;
        Ok(format!(
            "{}, with a TTL of {:.1} s, gone from every view after {:.1} s",
            killed.name,
            ttl.as_secs_f32(),
            seen.as_secs_f32()
        ))
    }

    /// Kills every third, from the second on; the boot node stays.
    fn kill_a_third(&mut self, calm: Duration) -> Result<String> {
        let mut killed = vec![];
        for i in (1..self.peers.len()).step_by(3).take(self.peers.len().div_ceil(3)) {
            if let Some(mut peer) = self.peers[i].take() {
                peer.kill()?;
                killed.push(peer.name.clone());
            }
        }
        let seen = self.agree(AGREEMENT)?;
        // Nobody else may be lost over it.
        let marks: Vec<_> = self.peers.iter().map(|p| p.as_ref().map_or(0, Peer::mark)).collect();
        std::thread::sleep(calm);
        let names: Vec<(String, String)> =
            self.peers.iter().flatten().map(|p| (p.id.clone(), p.name.clone())).collect();
        for (peer, mark) in self.peers.iter_mut().zip(marks) {
            let Some(peer) = peer else { continue };
            let lost = peer.events(mark, |e| e["event"] == "peer-left");
            let lost = names.iter().filter(|(id, _)| lost.iter().any(|e| e["peer"] == *id));
            let lost: Vec<&str> = lost.map(|(_, name)| name.as_str()).collect();
            if !lost.is_empty() {
                // What its gossipsub says may tell why.
                let stats = match peer.stack {
                    Rust => "none".into(),
                    _ => peer.command(json!({"cmd": "stats"}))?.to_string(),
                };
                bail!("{} loses {lost:?}, who live; its mesh: {stats}", peer.name);
            }
        }
        Ok(format!("{} gone from every view after {:.1} s", killed.join(", "), seen.as_secs_f32()))
    }

    fn revive(&mut self, plan: Plan) -> Result<String> {
        for i in 0..self.peers.len() {
            if self.peers[i].is_none() {
                self.peers[i] = Some(self.start_peer(plan, plan.stacks[i], i)?);
            }
        }
        let seen = self.agree(AGREEMENT)?;
        Ok(format!("every view is full {:.1} s after the last start", seen.as_secs_f32()))
    }
}
