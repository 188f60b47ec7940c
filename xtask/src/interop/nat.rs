//! Nodes behind NATs: what relays, punches and is tried between Rust, Go and JavaScript.
//!
//! Most relays are in no cluster of those that they relay for: so what these hear of each
//! other comes over a relayed connection, or over one that was punched.

use super::{
    abuse::METRICS_PORT,
    build::Programs,
    flood::counter,
    gossip::next_beat,
    net::{
        Lan,
        Place::{self, Home, Public, Symmetric},
    },
    peer::{PATIENCE, Peer, text, texts},
    private,
    report::Report,
    stack::{Stack, Start, Transport},
};
use crate::shell;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

const SECTION: &str = "Nodes behind NAT";
const NS: &str = "interop/nat";
/// Of relays that are in no cluster with those that they relay for.
const APART: &str = "interop/relays";
/// So short that heartbeats come often.
const TTL: &str = "3s";
/// Two that nobody can dial, nor punch through to, and a public host.
const APART_FOR_GOOD: [Place; 3] = [Public, Symmetric, Symmetric];
const CIRCUIT: &str = "/p2p-circuit";
/// Three tries of Go's, and what is before and after.
const PUNCHES: Duration = Duration::from_secs(60);

/// Checks them all, or those that show most in a short time.
pub fn check(report: &mut Report, programs: &Programs, all: bool) {
    for (limits, by) in [("large", Stack::Rust), ("none", Stack::Rust), ("none", Stack::Go)] {
        if all || by == Stack::Go {
            let name = format!("go relays, limits {limits}: rust is reached by {by}");
            report.check(SECTION, name, || over_go(programs, limits, by, None));
        }
    }
    if all {
        let name = "go relays, limits default: calls go, gossip doesn't";
        report.check(SECTION, name, || thin(programs));
        for by in [Stack::Rust, Stack::Go] {
            let name = format!("go relays, with one `swarm.key`: rust is reached by {by}");
            report.check(SECTION, name, || {
                over_go(programs, "none", by, Some(private::file(programs, "base16")?))
            });
        }
        report.check(SECTION, "rust relays: go is reached by rust and go", || over_rust(programs));
        report.check(SECTION, "rust relays: js is reached by rust", || js_reached(programs));
        report.check(SECTION, "rust relays: rust is reached by js", || js_reaches(programs));
    }
    for transport in [Transport::TcpNoise, Transport::Quic] {
        if !all && transport == Transport::Quic {
            continue;
        }
        for (initiator, other) in [(Stack::Rust, Stack::Go), (Stack::Go, Stack::Rust)] {
            let name = format!("{transport}: {initiator} punches, with {other}");
            report.check(SECTION, name, || punch(programs, transport, initiator, other));
        }
    }
    report.check(SECTION, "go tries whether rust can be reached", || tried_by_go(programs));
    report.check(SECTION, "rust tries whether go can be reached", || tried_by_rust(programs));
}

fn start<'a>(stack: Stack, host: usize) -> Start<'a> {
    let start = Start::new(stack, host, NS).ttl(TTL).transport(Some(Transport::TcpNoise));
    match stack {
        Stack::Go => start.pex_tick("1h").option("--degree=0").option("--nat"),
        Stack::Js => start.option("--nat"),
        _ => start.pex_tick("1h"),
    }
}

fn addr(peer: &Peer) -> Result<&str> {
    Ok(peer.addrs.first().context("no address")?)
}

/// A Go relay on the first host, in no cluster.
fn go_relay<'a>(limits: &str) -> Start<'a> {
    let start = start(Stack::Go, 0).option("--observer").option(format!("--relay={limits}"));
    Start { namespace: APART, ..start }
}

/// One of ours, in no cluster of theirs.
fn rust_relay<'a>(host: usize) -> Start<'a> {
    Start { namespace: APART, ..start(Stack::Rust, host).option("--relay") }
}

/// Waits until a peer is reached over a relay and says so, and gives its address there.
fn circuit(peer: &mut Peer) -> Result<String> {
    let over_relay = |addr: &&Value| text(addr).ends_with(CIRCUIT);
    let at = match peer.stack {
        Stack::Rust => {
            let relayed = |e: &Value| {
                let addrs = e["reachability"]["addrs"].as_array().cloned().unwrap_or_default();
                addrs.into_iter().find(|addr| addr["found"] == "relay")
            };
            let event = peer.wait("a relay", PATIENCE, |e| relayed(e).is_some())?;
            ensure!(event["reachability"]["reach"] == "private", "{event}");
            let at = relayed(&event).context("no address")?["addr"].clone();
            let id = peer.id.clone();
            peer.wait("its own record", PATIENCE, |e| {
                let mut records = e["records"].as_array().into_iter().flatten();
                records.any(|r| r["peer"] == *id && texts(&r["addrs"]).contains(&text(&at)))
            })?;
            at
        }
        Stack::Go => {
            let event = peer.wait("a relay", PATIENCE, |e| {
                e["event"] == "relays" && !texts(&e["addrs"]).is_empty()
            })?;
            event["addrs"]
                .as_array()
                .and_then(|a| a.iter().find(over_relay))
                .cloned()
                .context("an address over a relay that is none")?
        }
        _ => {
            let at = peer.addrs.iter().find(|addr| addr.contains(CIRCUIT)).context("no relay")?;
            return Ok(at.clone());
        }
    };
    Ok(format!("{}/p2p/{}", text(&at), peer.id))
}

/// Starts a peer that dials this.
fn dialer(programs: &Programs, lan: &Lan, start: Start<'_>, addr: &str) -> Result<Peer> {
    if start.stack == Stack::Rust {
        return start.boot(addr).start(programs, lan);
    }
    let mut peer = start.start(programs, lan)?;
    peer.command(json!({"cmd": "connect", "addr": addr}))?;
    Ok(peer)
}

/// Both see each other, and hear more of each other.
fn hear(a: &mut Peer, b: &mut Peer) -> Result<()> {
    a.sees(b, PATIENCE)?;
    b.sees(a, PATIENCE)?;
    next_beat(a, b)?;
    next_beat(b, a)
}

/// The connections that a peer other than Rust has with another.
fn connections(peer: &mut Peer, other: &Peer) -> Result<Vec<Value>> {
    let reply = peer.command(json!({"cmd": "peers"}))?;
    let all = reply["peers"].as_array().context("no connections")?;
    Ok(all.iter().filter(|c| c["peer"] == *other.id).cloned().collect())
}

/// They are connected over a relay and in no other way.
fn is_relayed(peer: &mut Peer, other: &Peer) -> Result<()> {
    if peer.stack == Stack::Rust {
        peer.wait("that it is relayed", PATIENCE, |e| {
            e["event"] == "relayed" && e["peer"] == *other.id
        })?;
        let direct = peer.count(0, |e| e["event"] == "direct" && e["peer"] == *other.id);
        ensure!(direct == 0, "{} has a direct connection with {}", peer.name, other.name);
        return Ok(());
    }
    let all = connections(peer, other)?;
    let relayed = all.iter().all(|c| text(&c["addr"]).contains(CIRCUIT));
    ensure!(relayed && !all.is_empty(), "{} is connected so: {all:?}", peer.name);
    Ok(())
}

fn over_go(
    programs: &Programs,
    limits: &str,
    by: Stack,
    secret: Option<PathBuf>,
) -> Result<String> {
    let lan = Lan::internet(&APART_FOR_GOOD)?;
    let member = |start: Start<'static>| Start { secret: secret.clone(), ..start };
    let relay = member(go_relay(limits)).start(programs, &lan)?;
    let mut ours = member(start(Stack::Rust, 1)).boot(addr(&relay)?).start(programs, &lan)?;
    let begin = Instant::now();
    let at = circuit(&mut ours)?;
    let reserved = begin.elapsed();
    let mut other = dialer(programs, &lan, member(start(by, 2)), &at)?;
    hear(&mut ours, &mut other)?;
    is_relayed(&mut ours, &other)?;
    is_relayed(&mut other, &ours)?;
    Ok(format!("reserved after {:.1} s; heartbeats go both ways", reserved.as_secs_f32()))
}

/// Go's limits are too small for gossip, which would end the circuit within seconds.
fn thin(programs: &Programs) -> Result<String> {
    let lan = Lan::internet(&APART_FOR_GOOD)?;
    let relay = go_relay("default").start(programs, &lan)?;
    let metrics = format!("--metrics={}:{METRICS_PORT}", lan.address(1));
    let ours = start(Stack::Rust, 1).boot(addr(&relay)?).option(metrics);
    let mut ours = ours.start(programs, &lan)?;
    let at = circuit(&mut ours)?;
    let mut other = start(Stack::Rust, 2).boot(&at).start(programs, &lan)?;
    is_relayed(&mut ours, &other)?;
    is_relayed(&mut other, &ours)?;
    let records = ask(programs, &lan, 2, &at)?;
    ensure!(records.iter().any(|r| r["peer"] == *ours.id), "its view is {records:?}");
    let links = counter(&lan, 1, "casm_gossip_links")?;
    ensure!(links == 0, "it gossips with {links}");
    Ok("its view is had by RPC; no gossip".into())
}

/// The view of a peer, asked for over RPC from a host.
fn ask(programs: &Programs, lan: &Lan, host: usize, addr: &str) -> Result<Vec<Value>> {
    let mut ls = lan.host(host).command(&programs.casm.to_string_lossy());
    ls.args(["ls", "--json", "--ns", NS, "--boot", "none", "--peer", addr]);
    ls.args(["--listen", &format!("/ip4/{}/tcp/0", lan.address(host))]);
    let output = shell::output(&mut ls)?;
    let view: Value = serde_json::from_str(output.lines().last().context("no output")?)?;
    view["records"].as_array().cloned().context("no records")
}

/// Our relay states limits, as libp2p's always does, and Go opens nothing but pings on what
/// is limited: so Go's heartbeats come by way of the relay, which is a member itself.
fn over_rust(programs: &Programs) -> Result<String> {
    let lan = Lan::internet(&[Public, Symmetric, Symmetric, Symmetric])?;
    let relay = start(Stack::Rust, 0).option("--relay").start(programs, &lan)?;
    let via = addr(&relay)?;
    let mut go = start(Stack::Go, 1).option(format!("--via={via}")).start(programs, &lan)?;
    let at = circuit(&mut go)?;
    let mut ours = start(Stack::Rust, 2).boot(&at).start(programs, &lan)?;
    let mut second = dialer(programs, &lan, start(Stack::Go, 3), &at)?;
    for (a, b) in [(&ours, &go), (&go, &ours), (&second, &go), (&go, &second)] {
        a.sees(b, PATIENCE)?;
    }
    is_relayed(&mut ours, &go)?;
    is_relayed(&mut second, &go)?;
    second.command(json!({"cmd": "ping", "peer": go.id}))?;
    let records = ask(programs, &lan, 2, &at)?;
    ensure!(records.iter().any(|r| r["peer"] == *go.id), "go's view is {records:?}");
    Ok("in both views, by way of the relay; RPC of rust and pings of go over it".into())
}

/// Who has the reservation begins, and the other one dials it over the relay, which gives
/// too little for gossip: what they hear of each other comes directly.
fn punch(
    programs: &Programs,
    transport: Transport,
    initiator: Stack,
    other: Stack,
) -> Result<String> {
    let lan = Lan::internet(&[Public, Home, Home])?;
    let over = |start: Start<'static>| start.transport(Some(transport));
    let relay = over(go_relay("default")).start(programs, &lan)?;
    let via = addr(&relay)?;
    let reached = over(start(initiator, 1));
    let reached = match initiator {
        Stack::Rust => reached.boot(via),
        _ => reached.option(format!("--via={via}")),
    };
    let mut reached = reached.start(programs, &lan)?;
    let at = circuit(&mut reached)?;
    if initiator == Stack::Go {
        // Whoever has come before it knows where it is seen, it doesn't punch with.
        reached.wait("that it punches", PATIENCE, |e| {
            e["event"] == "speaks" && texts(&e["added"]).contains(&"/libp2p/dcutr".into())
        })?;
    }
    let begin = Instant::now();
    let mut other = dialer(programs, &lan, over(start(other, 2)), &at)?;
    let (ours, go) = match initiator {
        Stack::Rust => (&mut reached, &mut other),
        _ => (&mut other, &mut reached),
    };
    ours.wait("a direct connection", PUNCHES, |e| e["event"] == "direct" && e["peer"] == *go.id)?;
    let direct = begin.elapsed();
    hear(ours, go)?;
    let all = connections(go, ours)?;
    let made = all.iter().find(|c| !text(&c["addr"]).contains(CIRCUIT));
    let made = made.with_context(|| format!("go is connected so: {all:?}"))?;
    ensure!(text(&made["addr"]).contains("/45.77.0."), "{made}");
    Ok(format!("direct after {:.1} s; heartbeats go both ways", direct.as_secs_f32()))
}

fn tried_by_go(programs: &Programs) -> Result<String> {
    let lan = Lan::internet(&[Public, Public, Home])?;
    let relay = go_relay("large").start(programs, &lan)?;
    let ours = |host| {
        let metrics = format!("--metrics={}:{METRICS_PORT}", lan.address(host));
        start(Stack::Rust, host).option(metrics).boot(addr(&relay)?).start(programs, &lan)
    };
    let (public, _home) = (ours(1)?, ours(2)?);
    let begin = Instant::now();
    public.wait("that it is reached", PATIENCE, |e| {
        let found = &e["reachability"];
        let mut addrs = found["addrs"].as_array().into_iter().flatten();
        found["reach"] == "public" && addrs.any(|addr| addr["found"] == "dialled")
    })?;
    let took = begin.elapsed();
    let missed = "casm_reachability_probes_total{result=\"not-reached\"}";
    while counter(&lan, 2, missed)? == 0 {
        ensure!(begin.elapsed() < PATIENCE, "nobody has tried the one at home");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(format!("one is, known after {:.1} s; one at home is not", took.as_secs_f32()))
}

/// Go believes what two have told it.
fn tried_by_rust(programs: &Programs) -> Result<String> {
    let lan = Lan::internet(&[Public, Public, Public])?;
    let relays = [rust_relay(0).start(programs, &lan)?, rust_relay(1).start(programs, &lan)?];
    let mut go = start(Stack::Go, 2).start(programs, &lan)?;
    let begin = Instant::now();
    for relay in &relays {
        go.command(json!({"cmd": "connect", "addr": addr(relay)?}))?;
    }
    go.wait("that it is reached", PATIENCE, |e| {
        let mut addrs = texts(&e["reachable"]).into_iter();
        e["event"] == "reach" && addrs.any(|addr| addr.starts_with("/ip4/45.77.0.3/"))
    })?;
    Ok(format!("it is, known after {:.1} s", begin.elapsed().as_secs_f32()))
}

fn js_reached(programs: &Programs) -> Result<String> {
    let lan = Lan::internet(&APART_FOR_GOOD)?;
    let relay = rust_relay(0).start(programs, &lan)?;
    let via = format!("--via={}", addr(&relay)?);
    let mut js = start(Stack::Js, 1).option(via).start(programs, &lan)?;
    let at = circuit(&mut js)?;
    let mut ours = start(Stack::Rust, 2).boot(&at).start(programs, &lan)?;
    hear(&mut ours, &mut js)?;
    is_relayed(&mut ours, &js)?;
    is_relayed(&mut js, &ours)?;
    Ok("heartbeats go both ways, since js gossips over limited connections when told to".into())
}

fn js_reaches(programs: &Programs) -> Result<String> {
    let lan = Lan::internet(&APART_FOR_GOOD)?;
    let relay = rust_relay(0).start(programs, &lan)?;
    let mut ours = start(Stack::Rust, 1).boot(addr(&relay)?).start(programs, &lan)?;
    let at = circuit(&mut ours)?;
    let mut js = dialer(programs, &lan, start(Stack::Js, 2), &at)?;
    hear(&mut ours, &mut js)?;
    is_relayed(&mut ours, &js)?;
    is_relayed(&mut js, &ours)?;
    js.command(json!({"cmd": "ping", "peer": ours.id}))?;
    Ok("heartbeats go both ways".into())
}
