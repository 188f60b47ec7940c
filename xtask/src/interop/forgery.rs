//! A member whose view is made up: who asks for it takes nothing as proven that its
//! peer did not sign, and everything that it did.

use super::{
    abuse::{NS, SECTION},
    build::Programs,
    net::Lan,
    peer::{Peer, text},
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Output;

/// The hosts of the records with a wrong proof, of those with none that counts, and
/// of those with a good one.
const FORGED: [&str; 8] =
    ["forged", "changed", "truncated", "noise", "swapped", "elsewhere", "stale", "other"];
const HEARSAY: [&str; 2] = ["hearsay", "replayed"];
const PROVEN: [&str; 2] = ["honest-1", "honest-2"];

pub fn check(report: &mut Report, programs: &Programs) {
    let name = format!("view-forged, in {} ways: none is shown as verified", FORGED.len());
    report.check(SECTION, name, || nothing_forged_is_believed(programs));
}

fn nothing_forged_is_believed(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let liar = Start::new(Stack::Go, 0, NS).option("--forged-view").start(programs, &lan)?;
    // A wrong proof ends a query, and says whose it is: no honest node has one.
    for host in FORGED {
        let shown = ask(programs, &lan, &liar, &["--match", &format!("host:{host}")])?;
        let message = refusal(&shown).with_context(|| format!("{host}: {shown:?}"))?;
        ensure!(message.contains(&liar.id) && message.contains("did not sign"), "{message}");
    }
    refusal(&ask(programs, &lan, &liar, &[])?).context("a view with forgeries is shown")?;
    // It takes no other record with it, and what proves nothing is told as such.
    let rest = HEARSAY.map(|host| (host, false)).into_iter();
    for (host, verified) in rest.chain(PROVEN.map(|host| (host, true))) {
        let shown = ask(programs, &lan, &liar, &["--match", &format!("host:{host}")])?;
        ensure!(shown.status.success(), "{host}: {shown:?}");
        let records = records(&shown)?;
        ensure!(
            records.len() == 1 && records[0]["host"] == host && records[0]["verified"] == verified,
            "{host}: {records:?}"
        );
    }
    Ok(format!(
        "each of {} is refused; {} without a good proof are shown as not verified, {} as verified",
        FORGED.len(),
        HEARSAY.len(),
        PROVEN.len()
    ))
}

/// What `casm ls` says of the liar's view.
fn ask(programs: &Programs, lan: &Lan, liar: &Peer, query: &[&str]) -> Result<Output> {
    let addr = liar.addrs.first().context("no address")?;
    let mut ls = lan.host(1).command(&programs.casm.to_string_lossy());
    ls.args(["ls", "--json", "--ns", NS, "--boot", "none", "--wait", "30s", "--peer", addr]);
    Ok(ls.args(query).output()?)
}

/// The error with which a query ended that showed nothing.
fn refusal(shown: &Output) -> Option<String> {
    let lines = String::from_utf8_lossy(&shown.stdout);
    let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let (error, rest) = (lines.next()?, lines.next());
    let refused = !shown.status.success() && error["kind"] == "Protocol" && rest.is_none();
    refused.then(|| text(&error["message"]))
}

fn records(shown: &Output) -> Result<Vec<Value>> {
    let lines = String::from_utf8_lossy(&shown.stdout);
    let view: Value = serde_json::from_str(lines.lines().last().context("no output")?)?;
    Ok(view["records"].as_array().context("no records")?.clone())
}
