//! A node under a flood of hostile datagrams, in network namespaces that the
//! test makes.

mod netns;

use casm::{
    Keypair, Multiaddr, Namespace,
    boot::{
        Boot, BootAddr, BootConfig, FindOptions,
        packet::{Body, Packet},
    },
};
use futures::StreamExt;
use libp2p::core::SignedEnvelope;
use netns::Lan;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    collections::BTreeMap,
    io::BufRead,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(120);
const FLOOD: usize = 50_000;
const TARGET: &str = "10.77.0.1:8822";

#[test]
#[ignore = "runs in a namespace that another test makes"]
fn role() {
    let (name, _) = netns::role().expect("started by another test");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match name.as_str() {
        "target" => runtime.block_on(target()),
        "attacker" => attack(),
        "asker" => runtime.block_on(ask()),
        other => panic!("no role {other}"),
    }
}

fn boot(boot: &str, serve: &str) -> (Boot, watch::Sender<Arc<[Multiaddr]>>) {
    let addr: Multiaddr = "/ip4/10.77.0.1/tcp/4001".parse().unwrap();
    let (addrs, watch) = watch::channel(Arc::from([addr]));
    let mut config = BootConfig::default();
    config.boot = BootAddr::parse_list(boot).unwrap();
    config.serve = BootAddr::parse_list(serve).unwrap();
    (Boot::standalone(config, Keypair::generate_ed25519(), watch).unwrap(), addrs)
}

/// Waits for the test to write a line.
async fn told() -> String {
    let line = || std::io::stdin().lock().lines().next();
    tokio::task::spawn_blocking(line).await.unwrap().unwrap().unwrap()
}

async fn target() {
    let (boot, _addrs) = boot("none", "/ip4/0.0.0.0/udp/8822");
    boot.advertise(&Namespace::default());
    netns::say("ready");
    let before = resident_kib();
    let sent: u64 = told().await.parse().unwrap();
    // Until all that was sent is counted, or was lost by the system: what waits
    // in the socket's queue is neither yet.
    let counts = loop {
        let counts = received(&boot);
        let taken = udp("InDatagrams");
        if counts.values().sum::<u64>() == taken && taken + udp("RcvbufErrors") == sent {
            break counts;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (taken, overflowed) = (udp("InDatagrams"), udp("RcvbufErrors"));
    netns::say(format_args!("growth {}", resident_kib().saturating_sub(before)));
    netns::say(format_args!("datagrams {taken} {overflowed} {}", udp("NoPorts")));
    netns::say(format_args!("counts {counts:?}"));
    netns::say(format_args!("verdicts {}", counts.into_keys().collect::<Vec<_>>().join(" ")));
    netns::until_killed().await;
}

/// Datagrams by verdict.
fn received(boot: &Boot) -> BTreeMap<String, u64> {
    let text = boot.metrics().encode();
    let lines = text.lines().filter_map(|l| l.strip_prefix("casm_boot_received_total{verdict=\""));
    lines
        .map(|line| {
            let (verdict, count) = line.split_once("\"} ").unwrap();
            (verdict.to_owned(), count.parse().unwrap())
        })
        .collect()
}

/// A counter of this namespace's UDP.
fn udp(counter: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == counter).unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn attack() {
    let datagrams = hostile();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    from_port_0(&request(&Keypair::generate_ed25519(), "casm"));
    netns::say("start");
    let mut sent = 1;
    for bytes in datagrams.iter().cycle().take(FLOOD) {
        sent += usize::from(socket.send_to(bytes, TARGET).is_ok());
    }
    netns::say(format_args!("sent {sent}"));
    std::thread::sleep(PATIENCE);
}

/// A datagram that cannot be answered.
fn from_port_0(bytes: &[u8]) {
    let target: SocketAddr = TARGET.parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).unwrap();
    let mut datagram = vec![0, 0];
    datagram.extend(target.port().to_be_bytes());
    datagram.extend((bytes.len() as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(bytes);
    socket.send_to(&datagram, &SockAddr::from(target)).unwrap();
}

fn packet(key: &Keypair, namespace: &str, body: Body) -> Vec<u8> {
    let namespace = Namespace::new(namespace).unwrap();
    Packet::new(key.public().to_peer_id(), namespace, body).encode(key).unwrap()
}

fn request(key: &Keypair, namespace: &str) -> Vec<u8> {
    packet(key, namespace, Body::Request)
}

fn sealed(key: &Keypair, payload_type: u8, payload: Vec<u8>) -> Vec<u8> {
    SignedEnvelope::new(key, "casm-boot-record".into(), vec![payload_type, 0], payload)
        .unwrap()
        .into_protobuf_encoding()
}

/// Every kind of hostile datagram, many times.
fn hostile() -> Vec<Vec<u8>> {
    let addrs: Vec<Multiaddr> = vec!["/ip4/10.77.0.9/tcp/1".parse().unwrap()];
    let bomb = || [&[0x10, 0xff, 0x0f, 0xff, 0x0f][..], &[0, 255].repeat(900)].concat();
    let theirs = Keypair::generate_ed25519();
    // The payload of another's request, unpadded, in this signer's envelope.
    let stolen = |key: &Keypair| {
        let envelope = SignedEnvelope::from_protobuf_encoding(&request(&theirs, "casm")).unwrap();
        let read = envelope.payload_and_signing_key("casm-boot-record".into(), &[0x1f, 0]);
        sealed(key, 0x1f, read.unwrap().0.to_vec())
    };
    (0..64u32)
        .flat_map(|i| {
            let key = Keypair::generate_ed25519();
            let good = request(&key, "casm");
            let noise: Vec<u8> =
                (0..200u32).map(|j| ((i * 7919 + j * 104_729) >> 3) as u8).collect();
            let mut flipped = good.clone();
            *flipped.last_mut().unwrap() ^= 1;
            [
                noise,
                good[..good.len() / 2].to_vec(),
                flipped,
                vec![0x0a; 2100],
                Vec::new(),
                sealed(&key, 0x1f, bomb()),
                sealed(&key, 0x20, bomb()),
                stolen(&key),
                packet(&key, "casm", Body::Response { addrs: addrs.clone() }),
                packet(&key, "casm", Body::Survey { distance: 255 }),
                request(&key, "other"),
                good.clone(),
                good,
            ]
        })
        .collect()
}

/// Asks again and again, each time with a new key, until told to stop.
async fn ask() {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let telling = tokio::spawn(async move {
        told().await;
        stopped.store(true, Ordering::Relaxed);
    });
    let mut times = Vec::new();
    netns::say("ready");
    while !stop.load(Ordering::Relaxed) {
        let (boot, _addrs) = boot("/ip4/10.77.0.1/udp/8822", "none");
        let start = Instant::now();
        let options = FindOptions::default().limit(1);
        let found = boot.find_peers(&Namespace::default(), options).next().await;
        assert_eq!(found.unwrap().unwrap().peer.addrs.len(), 1);
        times.push(start.elapsed().as_millis());
        if times.len() == 1 {
            netns::say("first");
        }
        boot.close().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    telling.await.unwrap();
    times.sort_unstable();
    let max = times.last().unwrap();
    netns::say(format_args!("times {} {} {max}", times.len(), times[times.len() / 2]));
    netns::say(format_args!("requests {}", udp("OutDatagrams")));
    netns::until_killed().await;
}

#[test]
fn an_honest_request_is_answered_during_a_flood_and_all_is_counted() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(3, 24);
    let mut target = lan.hosts[0].run("target", "");
    target.expect("ready", PATIENCE);
    let mut asker = lan.hosts[2].run("asker", "");
    asker.expect("first", PATIENCE);
    let attacker = lan.hosts[1].run("attacker", "");
    let sent: u64 = attacker.expect("sent", PATIENCE).parse().unwrap();
    assert_eq!(sent, FLOOD as u64 + 1);
    asker.tell();
    let times = asker.expect("times", PATIENCE);
    let requests: u64 = asker.expect("requests", PATIENCE).parse().unwrap();
    target.write(sent + requests);
    let growth: u64 = target.expect("growth", PATIENCE).parse().unwrap();
    let datagrams = target.expect("datagrams", PATIENCE);
    let counts = target.expect("counts", PATIENCE);
    println!("honest requests (number, median ms, slowest ms): {times}");
    println!("memory grew by {growth} KiB; counted: {counts}");

    let numbers: Vec<u64> = datagrams.split(' ').map(|n| n.parse().unwrap()).collect();
    let [taken, overflowed, no_port] = numbers[..] else { panic!("{datagrams}") };
    println!("{taken} datagrams taken in, {overflowed} lost by the system's buffer");
    assert_eq!(no_port, 0);
    // So do the verdicts, or the target would not have gone on.
    assert_eq!(taken + overflowed, sent + requests);
    assert!(growth < 32 * 1024, "{growth} KiB");
    let times: Vec<u64> = times.split(' ').map(|n| n.parse().unwrap()).collect();
    let [asked, median, _] = times[..] else { panic!("{times:?}") };
    assert!(asked > 1, "nothing was asked during the flood");
    assert!(median < 1000, "honest requests took {median} ms");

    let verdicts = target.expect("verdicts", PATIENCE);
    for verdict in [
        "answered",
        "bad-envelope",
        "bad-payload-type",
        "bad-signature",
        "bad-source",
        "malformed",
        "not-advertised",
        "source-rate",
        "too-large",
        "unasked",
        "wrong-medium",
        "wrong-signer",
    ] {
        assert!(verdicts.split(' ').any(|v| v == verdict), "{verdict} is not in {verdicts}");
    }
}
