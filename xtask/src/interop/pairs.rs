//! Two peers: one dials, both hear each other, one says goodbye.

use super::{
    build::Programs,
    net::Lan,
    peer::{PATIENCE, Peer, text},
    report::Report,
    stack::{Stack, Start, Transport},
    vectors::js_tests,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

const SECTION: &str = "Transports, identify, ping, gossipsub and heartbeats, by pairs";
const MUXERS: &str = "Muxers";

/// A goodbye must be seen well before the record's time is over.
const GOODBYE: Duration = Duration::from_secs(7);

/// Checks every pair of these stacks in both directions, over every transport
/// that both have.
pub fn check(report: &mut Report, programs: &Programs, stacks: &[Stack]) {
    for &dialer in stacks {
        for &listener in stacks {
            for transport in Transport::ALL {
                let name = format!("{dialer} dials {listener}: {transport}");
                match obstacle(dialer, listener, transport) {
                    Some("") => {}
                    Some(why) => report.impossible(SECTION, name, why),
                    None => {
                        let defect = defect(dialer, listener, transport);
                        report.check_known(SECTION, name, defect, || {
                            pair(programs, dialer, listener, transport, None)
                        });
                    }
                }
            }
        }
    }
    if stacks.contains(&Stack::Js) && stacks.contains(&Stack::Py) {
        let name = "js: libp2p's extension of a TLS certificate";
        report.check(SECTION, name, reproduction);
    }
    // Over QUIC there is nothing to choose.
    for (dialer, listener) in [(Stack::Go, Stack::Rust), (Stack::Rust, Stack::Go)] {
        for transport in [Transport::TcpNoise, Transport::TcpTls] {
            let name = format!("{dialer} dials {listener}: {transport}, {MPLEX} offered first");
            report.check(MUXERS, name, || pair(programs, dialer, listener, transport, Some(MPLEX)));
        }
    }
}

/// A muxer that Rust hasn't.
const MPLEX: &str = "/mplex/6.7.0";

/// Why a pair cannot be checked; empty if there is no need to say.
fn obstacle(dialer: Stack, listener: Stack, transport: Transport) -> Option<&'static str> {
    let pair = [dialer, listener];
    let whole = pair.iter().all(|stack| stack.is_whole());
    if transport == Transport::Quic && !whole {
        return Some(if pair.contains(&Stack::Js) && pair.contains(&Stack::Rust) {
            "js-libp2p 3 has no QUIC: @chainsafe/libp2p-quic 2.1.1 calls a method of multiaddrs \
             that is gone"
        } else {
            ""
        });
    }
    // Which security two of ours choose is for the unit tests.
    (dialer == listener && (dialer != Stack::Rust || transport == Transport::TcpTls)).then_some("")
}

/// A known reason why two others don't understand each other.
fn defect(dialer: Stack, listener: Stack, transport: Transport) -> Option<&'static str> {
    let js_and_py = matches!((dialer, listener), (Stack::Js, Stack::Py) | (Stack::Py, Stack::Js));
    (js_and_py && transport == Transport::TcpTls).then_some(
        "@libp2p/tls 3.1.10 takes the first extension of a certificate for libp2p's (\
         `verifyPeerCertificate` reads `extensions[0]`); py-libp2p's certificates have two others \
         before it, which the TLS specification of libp2p allows; reproduced alone by \
         `interop/js/test/tls.test.js`",
    )
}

/// The defect above, without a network and without py-libp2p.
fn reproduction() -> Result<String> {
    js_tests(2, &["test/tls.test.js"]).context("the defect is gone, or its test has not run")?;
    Ok("accepted as the first extension, refused as the second".into())
}

fn pair(
    programs: &Programs,
    dialer: Stack,
    listener: Stack,
    transport: Transport,
    first_muxer: Option<&str>,
) -> Result<String> {
    let lan = Lan::new(2)?;
    let start = |stack, host| {
        let start = Start::new(stack, host, "interop").transport(Some(transport)).pex_tick("1h");
        match first_muxer {
            Some(id) if stack == Stack::Go => start.option(format!("--first-muxer={id}")),
            _ => start,
        }
    };
    let mut listener = start(listener, 0).start(programs, &lan)?;
    let addr = listener.addrs.first().context("no address")?.clone();
    let begin = Instant::now();
    let mut dialer = if dialer == Stack::Rust {
        start(dialer, 1).boot(addr).start(programs, &lan)?
    } else {
        let mut peer = start(dialer, 1).start(programs, &lan)?;
        peer.command(json!({"cmd": "connect", "addr": addr}))?;
        peer
    };
    dialer.sees(&listener, PATIENCE)?;
    listener.sees(&dialer, PATIENCE)?;
    let seen = begin.elapsed();
    ping(&mut dialer, &listener)?;
    ping(&mut listener, &dialer)?;
    handshake(&mut dialer, &listener, transport)?;
    handshake(&mut listener, &dialer, transport)?;
    update(&mut listener, &dialer)?;
    update(&mut dialer, &listener)?;

    let mark = listener.mark();
    dialer.leave()?;
    listener.wait_since(mark, "a goodbye", GOODBYE, |e| {
        e["event"] == "peer-left" && e["peer"] == dialer.id && e["reason"] == "left"
    })?;
    Ok(format!("both seen after {:.1} s", seen.as_secs_f32()))
}

/// Rust pings by itself and takes no commands.
fn ping(from: &mut Peer, to: &Peer) -> Result<()> {
    if from.stack != Stack::Rust {
        from.command(json!({"cmd": "ping", "peer": to.id}))?;
    }
    Ok(())
}

/// What was agreed on is what was asked for. Go tells.
fn handshake(peer: &mut Peer, other: &Peer, transport: Transport) -> Result<()> {
    if peer.stack != Stack::Go {
        return Ok(());
    }
    let reply = peer.command(json!({"cmd": "peers"}))?;
    let connections = reply["peers"].as_array().context("no connections")?;
    let connection = connections.iter().find(|c| c["peer"] == other.id);
    let connection = connection.context("no connection")?;
    let security = text(&connection["security"]);
    let right = match transport {
        Transport::TcpNoise => security.contains("noise"),
        Transport::TcpTls => security.contains("tls"),
        Transport::Quic => connection["transport"] == "quic-v1",
    };
    ensure!(right, "the connection is another: {connection}");
    ensure!(
        transport == Transport::Quic || connection["muxer"] == "/yamux/1.0.0",
        "the muxer is another: {connection}"
    );
    ensure!(
        connection["protocols"].as_array().is_some_and(|p| p.contains(&json!("/ipfs/ping/1.0.0"))),
        "identify did not bring the protocols: {connection}"
    );
    Ok(())
}

/// What a peer says anew, the other one hears.
fn update(from: &mut Peer, to: &Peer) -> Result<()> {
    if from.stack == Stack::Rust {
        return Ok(());
    }
    let meta = [format!("stack={}", from.stack), "note=a=b".to_owned()];
    from.command(json!({"cmd": "update", "meta": meta}))?;
    to.wait("an update", PATIENCE, |e| {
        e["event"] == "peer-updated"
            && e["record"]["peer"] == from.id
            && e["record"]["meta"]["note"] == "a=b"
    })?;
    Ok(())
}
