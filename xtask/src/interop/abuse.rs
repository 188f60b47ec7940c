//! A hostile peer with a correct stack against a Rust node: what the node knows
//! of honest peers stays, its memory stays bounded, and each abuse shows in its
//! metrics.

use super::{
    build::Programs,
    net::{Lan, address},
    peer::{PATIENCE, Peer},
    report::Report,
    stack::{Stack, Start},
};
use crate::shell;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

const NS: &str = "interop";
const SECTION: &str = "Abuse by a Go peer with a correct stack, against a Rust node";
const METRICS_PORT: u16 = 9100;
/// How much the node's peak memory may grow over one kind of abuse.
const MEMORY_KIB: u64 = 96 * 1024;

/// How an abuse shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// What is sent breaks a rule, and a counter says which.
    Counted,
    /// What is sent is right, only too much of it, or it never comes to its end.
    Nothing,
    /// It is refused where nothing is counted, for this reason.
    Uncounted(&'static str),
}

/// The kinds, and how often each is done.
const KINDS: [(&str, u64, Trace); 11] = [
    ("heartbeat-pointers", 240, Trace::Counted),
    (
        "seqno-length",
        70,
        Trace::Uncounted("dropped by rust-libp2p's gossipsub codec, and not counted"),
    ),
    ("server-claim", 50, Trace::Nothing),
    ("identities", 4096, Trace::Nothing),
    ("pex-flood", 3, Trace::Counted),
    ("pex-hop", 10, Trace::Nothing),
    ("pex-last", 12, Trace::Counted),
    ("stall", 100, Trace::Nothing),
    ("lz4-bomb", 6, Trace::Nothing),
    ("boot-identities", 4096, Trace::Nothing),
    ("boot-garbage", 1000, Trace::Counted),
];

/// Does every kind to one node, one after the other.
pub fn check(report: &mut Report, programs: &Programs) {
    let mut scene = None;
    for (kind, times, trace) in KINDS {
        if kind.starts_with("pex") && !programs.has_pex {
            report.impossible(SECTION, kind, super::NO_PEX);
            continue;
        }
        report.check(SECTION, format!("{kind}, {times} times"), || {
            let scene = match &mut scene {
                Some(scene) => scene,
                none => none.insert(Scene::start(programs)?),
            };
            scene.abuse(kind, times, trace)
        });
    }
}

struct Scene {
    lan: Lan,
    node: Peer,
    honest: Peer,
    attacker: Peer,
}

impl Scene {
    fn start(programs: &Programs) -> Result<Self> {
        let lan = Lan::new(3)?;
        let node = Start::new(Stack::Rust, 0, NS)
            .serve(format!("/ip4/{}/udp/8822", address(0)))
            .option(format!("--metrics={}:{METRICS_PORT}", address(0)))
            .start(programs, &lan)?;
        let addr = node.addrs.first().context("no address")?.clone();
        let honest = Start::new(Stack::Go, 1, NS).boot(addr).start(programs, &lan)?;
        let attacker = Start::new(Stack::Go, 2, NS).option("--degree=0").option("--observer");
        let attacker = attacker.start(programs, &lan)?;
        node.sees(&honest, PATIENCE)?;
        honest.sees(&node, PATIENCE)?;
        Ok(Self { lan, node, honest, attacker })
    }

    fn abuse(&mut self, kind: &str, times: u64, trace: Trace) -> Result<String> {
        let (mark, memory) = (self.node.mark(), self.node.peak_memory()?);
        let before = self.metrics()?;
        let record = self.node.sees(&self.honest, PATIENCE)?;
        let reply = self.attacker.command(json!({
            "cmd": "abuse", "kind": kind, "times": times, "addr": self.node.addrs[0],
            "boot": format!("{}:8822", address(0)), "server": record["server"],
            "hold": "3s", "timeout": "100s",
        }))?;
        ensure!(reply["done"].as_u64().unwrap_or(0) > 0, "nothing was done: {reply}");
        // The node still answers, and hears what the honest peer says anew.
        let note = format!("after={kind}");
        self.honest.command(json!({"cmd": "update", "meta": ["stack=go", note]}))?;
        self.node.wait_since(mark, "the honest peer's update", Duration::from_secs(15), |e| {
            e["event"] == "peer-updated"
                && e["record"]["peer"] == self.honest.id
                && e["record"]["meta"]["after"] == kind
        })?;
        let lost =
            self.node.events(mark, |e| e["event"] == "peer-left" && e["peer"] == self.honest.id);
        ensure!(lost.is_empty(), "the honest peer was lost: {lost:?}");
        ensure!(self.node.view()?.contains(&self.honest.id), "the honest peer is not in the view");

        let grown = self.node.peak_memory()?.saturating_sub(memory);
        ensure!(grown < MEMORY_KIB, "the peak memory has grown by {} MiB", grown / 1024);
        let counted = self.rises(&before)?;
        ensure!(
            trace != Trace::Counted || counted.iter().any(|(name, _)| is_refusal(name)),
            "no metric shows it; what has risen: {counted:?}"
        );
        let shown: Vec<String> = counted
            .iter()
            .filter(|(name, _)| is_refusal(name))
            .map(|(name, by)| format!("`{name}` +{by}"))
            .collect();
        let shown = match trace {
            Trace::Uncounted(why) => why.to_owned(),
            _ if shown.is_empty() => "nothing to refuse".to_owned(),
            _ => shown.join(", "),
        };
        Ok(format!("peak memory +{} MiB; {shown}", grown / 1024))
    }

    /// The counters that have risen.
    fn rises(&self, before: &BTreeMap<String, f64>) -> Result<Vec<(String, f64)>> {
        let after = self.metrics()?;
        let rise = |(name, value): (String, f64)| {
            let by = value - before.get(&name).copied().unwrap_or(0.0);
            (by > 0.0).then_some((name, by))
        };
        Ok(after.into_iter().filter_map(rise).collect())
    }

    /// The node's labelled counters.
    fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let request = format!(
            "exec 3<>/dev/tcp/{}/{METRICS_PORT}; \
             printf 'GET /metrics HTTP/1.1\\r\\nHost: node\\r\\nConnection: close\\r\\n\\r\\n' >&3; \
             cat <&3",
            address(0)
        );
        let mut command = self.lan.host(0).command("bash");
        let text = shell::output(command.args(["-c", &request]))?;
        let counter = |line: &str| {
            let (name, value) = line.trim().rsplit_once(' ')?;
            name.contains("_total{").then(|| Some((name.to_owned(), value.parse().ok()?)))?
        };
        Ok(text.lines().filter_map(counter).collect())
    }
}

/// Whether a counter counts what was refused, by its label.
fn is_refusal(name: &str) -> bool {
    const GOOD: [&str; 6] =
        ["\"accepted\"", "\"ok\"", "\"request\"", "\"response\"", "\"new\"", "\"renewed\""];
    !GOOD.iter().any(|label| name.contains(label))
}
