//! A channel of ours, used by the Go peer through the interface that CASM's
//! successor has.

use super::{
    build::Programs,
    net::{Lan, address},
    peer::Peer,
    report::Report,
    stack::{Stack, Start},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;

const NS: &str = "interop/channels";

pub fn check(report: &mut Report, programs: &Programs) {
    let name = "go sends, receives and closes by the plain interface";
    report.check("Channels", name, || go_uses_ours(programs));
}

fn go_uses_ours(programs: &Programs) -> Result<String> {
    let lan = Lan::new(2)?;
    let mut owner = lan.host(0).command(&programs.owner.to_string_lossy());
    let listen = format!("/ip4/{}/tcp/0", address(0));
    owner.args(["--ns", NS, "--channel", "jobs", "--listen", &listen]);
    let owner = Peer::start(Stack::Rust, "owner".into(), &mut owner, &programs.scratch)?;
    let mut go = Start::new(Stack::Go, 1, NS).pex_tick("1h").start(programs, &lan)?;
    let addr = owner.addrs.first().context("no address")?;
    go.command(json!({"cmd": "connect", "addr": addr}))?;
    let mut used = |more: serde_json::Value| {
        let mut command = json!({"cmd": "channel", "peer": owner.id, "name": "jobs"});
        for (key, value) in more.as_object().into_iter().flatten() {
            command[key] = value.clone();
        }
        go.command(command)
    };
    // Two sends before two receives, which the successor's own server strands.
    let reply = used(json!({"send": ["1", "2"], "recv": 2, "close": true}))?;
    ensure!(reply["received"] == json!(["1", "2"]), "go was told {reply}");
    for (more, wanted) in [
        (json!({"recv": 1}), "closed"),
        (json!({"send": ["late"]}), "closed"),
        (json!({"close": true}), "already closed"),
    ] {
        let error = used(more.clone()).err().with_context(|| format!("{more} works"))?;
        ensure!(format!("{error:#}").contains(wanted), "{more}: {error:#}");
    }
    Ok("two values from hand to hand; what is closed says so".into())
}
