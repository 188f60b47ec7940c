//! A hostile peer with a correct stack against a Rust node: what the node knows
//! of honest peers stays, its memory stays bounded, and each abuse shows in its
//! metrics.

use super::{
    build::Programs,
    forgery,
    net::{Lan, address},
    peer::{PATIENCE, Peer},
    report::Report,
    siege, silence,
    stack::{Stack, Start},
};
use crate::shell;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub(super) const NS: &str = "interop";
pub(super) const SECTION: &str = "Abuse by a Go peer with a correct stack, against a Rust node";
pub(super) const METRICS_PORT: u16 = 9100;
/// How much the node's peak memory may grow over one kind of abuse, and how high
/// it may be after all of them.
const GROWTH_KIB: u64 = 32 * 1024;
const PEAK_KIB: u64 = 160 * 1024;

/// A kind of abuse, how often it is done, and the counters that must show it:
/// each by so much, the sum of those whose name and label contain the text.
struct Kind(&'static str, u64, &'static [(&'static str, f64)]);

/// Characters of what is sent that change how others are shown.
const FORMATS: [char; 2] = ['\u{202e}', '\u{2028}'];

const KINDS: [Kind; 15] = [
    Kind("heartbeat-pointers", 240, &[("heartbeats_total{verdict=\"malformed\"", 200.0)]),
    Kind("seqno-length", 70, &[("gossip_refused_total{reason=\"bad-sequence-number\"", 70.0)]),
    // Two that claim one number stand side by side: nothing is to be refused but
    // for the rate, since they come faster than one source may send. (Signatures are
    // checked side by side, 16 at a time: of 50 up to 32 are stale by then.)
    Kind(
        "server-claim",
        50,
        &[
            ("heartbeats_total{verdict=\"accepted\"", 8.0),
            ("heartbeats_total{verdict=\"over-rate\"", 10.0),
        ],
    ),
    // What was captured an hour ago and is told by another brings nobody back.
    Kind("ghosts", 1000, &[("heartbeats_total{verdict=\"ghost\"", 1000.0)]),
    // Nothing of it is in the log as it came: that is looked for after every kind.
    Kind("escapes", 50, &[("heartbeats_total{verdict=\"accepted\"", 50.0)]),
    // Too many records, or a block that would hold them.
    Kind("pex-flood", 3, &[("pex_rounds_total{verdict=\"too-", 3.0)]),
    // Each time another peer: the pace of one is not what stops them.
    Kind("pex-hop", 10, &[("pex_records_total{verdict=\"absurd-hop\"", 80.0)]),
    Kind(
        "pex-last",
        12,
        &[
            ("pex_rounds_total{verdict=\"wrong-sender\"", 8.0),
            ("pex_rounds_total{verdict=\"empty\"", 2.0),
        ],
    ),
    // Each names 20 ports of the node's own machine, and 40 of another.
    Kind(
        "pex-addrs",
        8,
        &[
            ("dials_skipped_total{reason=\"loopback\"", 1000.0),
            ("dials_skipped_total{reason=\"too-many\"", 1500.0),
        ],
    ),
    // Four fifths of them for RPC, which serves 8 of one peer.
    Kind(
        "stall",
        100,
        &[
            ("rpc_ended_total{reason=\"too-many-streams-of-one-peer\"", 60.0),
            ("rpc_ended_total{reason=\"truncated\"", 8.0),
            ("pex_rounds_total{verdict=\"refused-often\"", 10.0),
        ],
    ),
    // From one peer a sixteenth of the table is taken; no more strangers of it are
    // then looked at in an exchange.
    Kind("sync-sybils", 4, &[("heartbeats_total{verdict=\"share\"", 2.0)]),
    // Eight peers have two tables a minute each.
    Kind("sync-again", 120, &[("sync_exchanges_total{outcome=\"refused-too-much\"", 60.0)]),
    Kind("lz4-bomb", 6, &[("=\"empty-message\"", 6.0)]),
    Kind("boot-identities", 4096, &[("boot_received_total{verdict=\"source-rate\"", 1000.0)]),
    Kind(
        "boot-garbage",
        1000,
        &[
            ("boot_received_total{verdict=\"bad-envelope\"", 300.0),
            ("boot_received_total{verdict=\"bad-signature\"", 10.0),
        ],
    ),
];

/// Does every kind to one node, one after the other.
pub fn check(report: &mut Report, programs: &Programs) {
    let mut scene = None;
    for kind in KINDS {
        let name = format!("{}, {} times", kind.0, kind.1);
        report.check(SECTION, name, || {
            let scene = match &mut scene {
                Some(scene) => scene,
                none => none.insert(Scene::start(programs, 3, "1h", &[])?),
            };
            scene.abuse(&kind)
        });
    }
    silence::check(report, programs);
    siege::check(report, programs);
    forgery::check(report, programs);
}

/// The metrics of the node on a host.
pub(super) fn metrics_text(lan: &Lan, host: usize) -> Result<String> {
    let request = format!(
        "exec 3<>/dev/tcp/{}/{METRICS_PORT}; \
         printf 'GET /metrics HTTP/1.1\\r\\nHost: node\\r\\nConnection: close\\r\\n\\r\\n' >&3; \
         cat <&3",
        lan.address(host)
    );
    let mut command = lan.host(host).command("bash");
    shell::output(command.args(["-c", &request]))
}

/// The node under test and an honest peer on their hosts, and the attacker on
/// the third.
pub(super) struct Scene {
    pub(super) lan: Lan,
    pub(super) node: Peer,
    pub(super) honest: Peer,
    pub(super) attacker: Peer,
}

impl Scene {
    /// Starts them in a network of so many hosts. The node has some options more.
    pub(super) fn start(
        programs: &Programs,
        hosts: usize,
        pex_tick: &str,
        options: &[&str],
    ) -> Result<Self> {
        let lan = Lan::new(hosts)?;
        let node = Start::new(Stack::Rust, 0, NS);
        let node = options.iter().fold(node, |node, option| node.option(*option));
        let node = node
            .serve(format!("/ip4/{}/udp/8822", address(0)))
            .option(format!("--metrics={}:{METRICS_PORT}", address(0)))
            // Thousands of peers are many lines.
            .view("1s")
            .pex_tick(pex_tick)
            .start(programs, &lan)?;
        let addr = node.addrs.first().context("no address")?.clone();
        let honest = Start::new(Stack::Go, 1, NS).boot(addr).start(programs, &lan)?;
        let attacker = Start::new(Stack::Go, 2, NS).option("--degree=0").option("--observer");
        let attacker = attacker.start(programs, &lan)?;
        node.sees(&honest, PATIENCE)?;
        honest.sees(&node, PATIENCE)?;
        Ok(Self { lan, node, honest, attacker })
    }

    fn abuse(&mut self, Kind(kind, times, shown): &Kind) -> Result<String> {
        let (mark, memory) = (self.node.mark(), self.node.peak_memory()?);
        let honest_mark = self.honest.mark();
        let before = self.metrics()?;
        let record = self.node.sees(&self.honest, PATIENCE)?;
        let reply = self.attacker.command(json!({
            "cmd": "abuse", "kind": kind, "times": times, "addr": self.node.addrs[0],
            "boot": format!("{}:8822", address(0)), "server": record["server"],
            "hold": "1s", "timeout": "100s",
        }))?;
        ensure!(reply["done"].as_u64().unwrap_or(0) > 0, "nothing was done: {reply}");
        // The node still answers, and hears what the honest peer says anew.
        let note = format!("after={kind}");
        self.honest.command(json!({"cmd": "update", "meta": ["stack=go", note]}))?;
        self.node.wait_since(mark, "the honest peer's update", Duration::from_secs(15), |e| {
            e["event"] == "peer-updated"
                && e["record"]["peer"] == self.honest.id
                && e["record"]["meta"]["after"] == *kind
        })?;
        let now = self.node.mark();
        self.node.wait_since(now, "a view", PATIENCE, |e| e["event"] == "view")?;
        self.view_was_unchanged(mark, honest_mark, &record)?;

        self.streams_end()?;
        let log = self.node.log()?;
        let raw = |c: &char| *c != '\n' && (c.is_control() || FORMATS.contains(c));
        let raw: String = log.chars().filter(raw).collect();
        ensure!(raw.is_empty(), "in the log: {raw:?}");

        let peak = self.node.peak_memory()?;
        let grown = peak.saturating_sub(memory);
        let sizes = format!("peak memory {} MiB, +{}", peak / 1024, grown / 1024);
        ensure!(grown < GROWTH_KIB && peak < PEAK_KIB, "too much: {sizes}");
        Ok(format!("{sizes}; {}", self.shown(&before, shown)?))
    }

    /// Checks that these counters have risen by so much, and tells of them and
    /// of all that was refused.
    pub(super) fn shown(
        &self,
        before: &BTreeMap<String, f64>,
        shown: &[(&str, f64)],
    ) -> Result<String> {
        let rises = self.rises(before)?;
        for (counter, least) in shown {
            let risen = sum(&rises, counter);
            ensure!(
                risen >= *least,
                "`{counter}` has risen by {risen}, not by {least}; what has risen: {rises:?}"
            );
        }
        let shown: Vec<String> = rises
            .iter()
            .filter(|(name, _)| {
                is_refusal(name) || shown.iter().any(|(counter, _)| name.contains(counter))
            })
            .map(|(name, by)| format!("`{name}` +{by}"))
            .collect();
        Ok(shown.join(", "))
    }

    /// Every view that the node has written since has the honest peer's record,
    /// and the honest peer has not lost the node.
    pub(super) fn view_was_unchanged(
        &mut self,
        mark: usize,
        honest_mark: usize,
        was: &Value,
    ) -> Result<()> {
        let (node, honest) = (self.node.id.clone(), self.honest.id.clone());
        let lost = |of: &Peer, mark, who: &str| {
            of.events(mark, |e| e["event"] == "peer-left" && e["peer"] == who)
        };
        let gone = lost(&self.node, mark, &honest);
        ensure!(gone.is_empty(), "the node has lost the honest peer: {gone:?}");
        let gone = lost(&self.honest, honest_mark, &node);
        ensure!(gone.is_empty(), "the honest peer has lost the node: {gone:?}");
        for view in self.node.events(mark, |e| e["event"] == "view") {
            let records = view["records"].as_array().context("a view without records")?;
            let record = records.iter().find(|r| r["peer"] == honest);
            let record = record.context("the honest peer is missing in a view")?;
            ensure!(
                record["host"] == was["host"] && record["server"] == was["server"],
                "the honest peer's record is now {record}"
            );
        }
        ensure!(self.honest.view()?.contains(&node), "the honest peer does not see the node");
        Ok(())
    }

    /// The counters that have risen.
    pub(super) fn rises(&self, before: &BTreeMap<String, f64>) -> Result<Vec<(String, f64)>> {
        let after = self.metrics()?;
        let rise = |(name, value): (String, f64)| {
            let by = value - before.get(&name).copied().unwrap_or(0.0);
            (by > 0.0).then_some((name, by))
        };
        Ok(after.into_iter().filter_map(rise).collect())
    }

    /// By how much a counter has risen.
    pub(super) fn rise(&self, before: &BTreeMap<String, f64>, counter: &str) -> Result<f64> {
        Ok(sum(&self.rises(before)?, counter))
    }

    /// Waits until no RPC stream is open any more.
    pub(super) fn streams_end(&self) -> Result<()> {
        until(PATIENCE, || {
            let open = self.gauge("rpc_streams")?;
            Ok((open == 0, format!("{open} RPC streams stay open")))
        })
    }

    /// A gauge of the node.
    pub(super) fn gauge(&self, name: &str) -> Result<u64> {
        let text = metrics_text(&self.lan, 0)?;
        let value = |line: &str| {
            line.strip_prefix("casm_")?.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok()
        };
        text.lines().find_map(value).with_context(|| format!("no gauge {name}"))
    }

    /// The node's labelled counters.
    pub(super) fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let text = metrics_text(&self.lan, 0)?;
        let counter = |line: &str| {
            let (name, value) = line.trim().rsplit_once(' ')?;
            name.contains("_total{").then(|| Some((name.to_owned(), value.parse().ok()?)))?
        };
        Ok(text.lines().filter_map(counter).collect())
    }
}

/// Waits until something holds. If it doesn't, the error is what was said last.
pub(super) fn until(
    patience: Duration,
    mut holds: impl FnMut() -> Result<(bool, String)>,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let (done, otherwise) = holds()?;
        if done {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, otherwise);
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The sum of those whose name and label contain this text.
fn sum(rises: &[(String, f64)], counter: &str) -> f64 {
    rises.iter().filter(|(name, _)| name.contains(counter)).map(|(_, by)| by).sum()
}

/// Whether a counter counts what was refused, by its label.
pub(super) fn is_refusal(name: &str) -> bool {
    const GOOD: [&str; 10] = [
        "\"accepted\"",
        "\"answered\"",
        "\"done\"",
        "\"new\"",
        "\"ok\"",
        "\"renewed\"",
        "\"request\"",
        "\"response\"",
        "\"started\"",
        "\"verified\"",
    ];
    !GOOD.iter().any(|label| name.contains(label))
}
