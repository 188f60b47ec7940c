//! A cluster with certificates and strangers on one bridge: what strangers learn, and
//! what they cost.
//!
//! What passes is encrypted, so that a capture would say nothing. What is looked at is
//! what the strangers themselves were told: two are nodes, without a certificate and
//! with another authority's; one is bare libp2p that says what it likes.
#![cfg(target_os = "linux")]

mod certified;
mod netns;
mod raw;

use casm::{
    Event, Keypair, Multiaddr, Node, PeerId,
    admit::{
        Certificate, Terms,
        gate::{Hello, PROTOCOL},
    },
};
use certified::{key, terms};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    SwarmBuilder, identify,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAuthenticity};
use netns::{Host, Lan, processor_ms, resident_kib, say};
use std::{
    collections::BTreeMap,
    io::{BufRead, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const SLOW: Duration = Duration::from_secs(90);
/// For how long a stranger waits for a word. Longer than a node has patience.
const PATIENCE: Duration = Duration::from_secs(8);
const NAMESPACE: &str = "hidden-orchard";
const HOST: &str = "quiet-quince";
const META: &str = "medlar";
const ROLE: &str = "pruner";
/// The members, beside two nodes that are none and two that are bare libp2p.
const MEMBERS: usize = 5;
/// Connections of one stranger, and what they may cost a member: the growth of its
/// memory (mostly the noise of an allocator), its processor time, not optimised, and
/// handshakes: a burst, two more in each second, and those that were under way.
const CONNECTIONS: usize = 500;
const AT_A_TIME: usize = 16;
const GROWTH_KIB: u64 = 8 * 1024;
const PROCESSOR: Duration = Duration::from_secs(2);
const BURST: usize = 32;

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    match role.as_str() {
        "node" => netns::block_on(node(&args)),
        "raw" => netns::block_on(strange(&args)),
        "hammer" => netns::block_on(hammer(&args)),
        other => panic!("no role {other}"),
    }
}

fn id(n: u8) -> PeerId {
    certified::id(&key(n))
}

/// The authority, and another one.
const CA: u8 = 200;
const OTHER: u8 = 201;

fn sign(ca: u8, peer: PeerId) -> Certificate {
    let namespace = NAMESPACE.parse().unwrap();
    let terms = Terms { namespace, roles: vec![ROLE.into()], ..terms(peer) };
    Certificate::sign(&key(ca), terms).unwrap()
}

/// `node KEY CA N`: a node that looks for others in every way that it has by itself,
/// with the certificate of this authority, or `none`. It says `id` and `addrs`, and
/// `full` when its view holds N. On a line it says `state`: the sizes of its view and of
/// its connections, how many peers its searches have found, resident KiB, processor
/// time in ms, and figures by their names.
async fn node(args: &[String]) {
    let n = args[0].parse().unwrap();
    let builder = Node::builder().namespace(NAMESPACE).key(key(n)).host(HOST).meta("fruit", META);
    let builder = match args[1].parse() {
        Ok(ca) => builder.admit([id(ca)]).certificate(sign(ca, id(n))),
        Err(_) => builder,
    };
    let node = builder.ttl(Duration::from_secs(2)).start().await.unwrap();
    let mut events = node.events();
    say(format!("id {}", node.id()));
    let addrs: Vec<_> = node.info().addrs.iter().map(ToString::to_string).collect();
    say(format!("addrs {}", addrs.join(" ")));
    let (told, n) = (node.clone(), args[2].parse().unwrap());
    tokio::spawn(async move {
        told.wait_for(n).await.unwrap();
        say("full");
    });
    let (told, found) = (node.clone(), Arc::new(AtomicUsize::new(0)));
    let count = found.clone();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            let text = told.metrics().encode();
            let figures = text.lines().filter_map(figure).collect::<Vec<_>>().join(" ");
            let (view, connected) = (told.view().len(), told.connected().len());
            let (found, kib, ms) = (count.load(Ordering::Relaxed), resident_kib(), processor_ms());
            say(format!("state {view} {connected} {found} {kib} {ms} {figures}"));
        }
    });
    while let Some(event) = events.next().await {
        if matches!(event, Event::PeersFound { .. }) {
            found.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `name=value` of a line of metrics that is looked at here.
fn figure(line: &str) -> Option<String> {
    let names = ["heartbeats", "strangers_refused", "admit_refused", "gossip_refused"];
    let (name, rest) = line.strip_prefix("casm_")?.split_once("_total{")?;
    let (label, value) = rest.split_once("\"} ")?;
    let label = label.split_once("=\"")?.1;
    names.contains(&name).then(|| format!("{name}:{label}={value}"))
}

/// What a stranger asks for in the first stream, one after the other.
fn proposals() -> Vec<String> {
    let named = ["admit", "service", "sync", "pex", "call", "topic"].into_iter();
    let own = named.flat_map(|name| {
        [format!("/casm/0.0.0/{NAMESPACE}/{name}"), format!("/casm/1.0.0/{NAMESPACE}/{name}")]
    });
    let others = [
        "/ipfs/id/1.0.0",
        "/ipfs/id/push/1.0.0",
        "/ipfs/ping/1.0.0",
        "/ipfs/kad/1.0.0",
        "/meshsub/1.0.0",
        "/meshsub/1.1.0",
        "/meshsub/1.2.0",
        "/floodsub/1.0.0",
    ];
    let others = others.into_iter().map(String::from);
    ["/multistream/1.0.0".into(), "ls".into()]
        .into_iter()
        .chain(others)
        .chain(own)
        .chain([PROTOCOL.into()])
        .collect()
}

/// A line as multistream has it.
fn line(text: &str) -> Vec<u8> {
    let mut frame = vec![u8::try_from(text.len() + 1).expect("short")];
    frame.extend_from_slice(text.as_bytes());
    frame.push(b'\n');
    frame
}

/// What a line of multistream says, with lines in it side by side.
fn shown(message: &[u8]) -> String {
    let text: String = message
        .iter()
        .map(|byte| if byte.is_ascii_graphic() { *byte as char } else { ' ' })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `raw ADDR…`: dials a member at each of these and does what no member does. It says
/// `told`, what, and what came back; at last `done`.
async fn strange(args: &[String]) {
    let key = key(150);
    for addr in args {
        let addr: Multiaddr = addr.parse().unwrap();
        let way = if addr.to_string().contains("/quic") { "quic" } else { "tcp" };
        if way == "tcp" {
            say(format!("told {way} plain {}", tokio::task::block_in_place(|| plain(&addr))));
        }
        asks(&key, &addr, way).await;
        shows(&key, &addr, way).await;
        waits(&key, &addr, way).await;
        swarm(&key, addr, way).await;
    }
    say("done");
    netns::until_killed().await;
}

/// Asks before anything is encrypted.
fn plain(addr: &Multiaddr) -> String {
    let text = addr.to_string();
    let parts: Vec<&str> = text.split('/').collect();
    let mut socket = std::net::TcpStream::connect((parts[2], parts[4].parse().unwrap())).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = line("/multistream/1.0.0");
    said.extend(line("ls"));
    for proposal in proposals().iter().skip(2) {
        said.extend(line(proposal));
    }
    let _ = socket.write_all(&said);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut read = Vec::new();
    let _ = socket.read_to_end(&mut read);
    shown(&read)
}

/// Asks for every protocol that it can think of, in the first stream, and then shows a
/// certificate that another authority has signed.
async fn asks(key: &Keypair, addr: &Multiaddr, way: &str) {
    let mut transport = raw::transport(key, addr);
    let (_, mut muxer) = raw::dial(&mut transport, addr).await.unwrap();
    let mut stream = raw::open(&mut muxer).await.unwrap();
    let talk = async {
        for proposal in proposals() {
            stream.write_all(&line(&proposal)).await.unwrap();
            stream.flush().await.unwrap();
            let answer = raw::read_frame(&mut stream, 1024).await.unwrap();
            say(format!("told {way} asked {proposal} {}", shown(&answer)));
        }
        let hello = Hello { certificate: sign(OTHER, key.public().to_peer_id()) };
        stream.write_all(&hello.frame()).await.unwrap();
        stream.flush().await.unwrap();
        raw::read_to_end(&mut stream, PATIENCE).await
    };
    let read = raw::on(&mut muxer, talk).await.unwrap_or_default();
    say(format!("told {way} other {:?}", shown(&read)));
}

/// Shows what is no certificate, and one that is a member's.
async fn shows(key: &Keypair, addr: &Multiaddr, way: &str) {
    let of_member = Hello { certificate: sign(CA, id(1)) }.frame();
    for (what, frame) in [("garbage", vec![0xff; 3000]), ("member's", of_member)] {
        let mut transport = raw::transport(key, addr);
        let (_, mut muxer) = raw::dial(&mut transport, addr).await.unwrap();
        let mut stream = raw::open(&mut muxer).await.unwrap();
        let talk = async {
            for proposal in ["/multistream/1.0.0", PROTOCOL] {
                stream.write_all(&line(proposal)).await.unwrap();
                stream.flush().await.unwrap();
                let answer = raw::read_frame(&mut stream, 1024).await.unwrap();
                assert_eq!(shown(&answer), proposal);
            }
            let _ = stream.write_all(&frame).await;
            let _ = stream.flush().await;
            raw::read_to_end(&mut stream, PATIENCE).await
        };
        let read = raw::on(&mut muxer, talk).await.unwrap_or_default();
        say(format!("told {way} {what} {:?}", shown(&read)));
    }
}

/// Begins a word in the first stream, asks in others, and counts the streams that the
/// other end opens.
async fn waits(key: &Keypair, addr: &Multiaddr, way: &str) {
    let mut transport = raw::transport(key, addr);
    let (_, mut muxer) = raw::dial(&mut transport, addr).await.unwrap();
    let (mut read, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let Some(mut stream) = raw::open(&mut muxer).await else { break };
        let mut said = line("/multistream/1.0.0");
        match streams.is_empty() {
            // A stream begins with its first byte.
            true => said.truncate(1),
            false => said.extend(line("/ipfs/id/1.0.0")),
        }
        let _ = raw::on(&mut muxer, async {
            let _ = stream.write_all(&said).await;
            let _ = stream.flush().await;
        })
        .await;
        streams.push(stream);
    }
    let began = Instant::now();
    let count = async {
        let mut opened = std::pin::pin!(raw::opened(&mut muxer));
        let mut count = 0;
        while opened.next().await.is_some() {
            count += 1;
        }
        count
    };
    let count = tokio::time::timeout(PATIENCE, count).await;
    let ended = if count.is_ok() { "ended" } else { "open" };
    for stream in &mut streams {
        let mut chunk = [0; 1024];
        if let Ok(Ok(n)) =
            tokio::time::timeout(Duration::from_millis(100), stream.read(&mut chunk)).await
        {
            read.extend_from_slice(&chunk[..n]);
        }
    }
    println!("{ended} after {:?}", began.elapsed());
    say(format!("told {way} waited {} {:?} {ended}", count.unwrap_or(0), shown(&read)));
}

#[derive(NetworkBehaviour)]
struct Usual {
    identify: identify::Behaviour,
    gossip: gossipsub::Behaviour,
}

/// Is a peer as libp2p has them, that dials and hears what comes.
async fn swarm(key: &Keypair, addr: Multiaddr, way: &str) {
    let transport = raw::transport(key, &addr);
    let mut swarm = SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_other_transport(|_| transport)
        .unwrap()
        .with_behaviour(|key| {
            let signed = MessageAuthenticity::Signed(key.clone());
            let config = identify::Config::new("casm/0.0.0".into(), key.public());
            Usual {
                identify: identify::Behaviour::new(config),
                gossip: gossipsub::Behaviour::new(signed, gossipsub::Config::default()).unwrap(),
            }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(SLOW))
        .build();
    swarm.behaviour_mut().gossip.subscribe(&IdentTopic::new(NAMESPACE)).unwrap();
    swarm.dial(addr).unwrap();
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(UsualEvent::Identify(identify::Event::Error { .. })) => {}
            SwarmEvent::Behaviour(UsualEvent::Gossip(
                gossipsub::Event::GossipsubNotSupported { .. },
            )) => {}
            SwarmEvent::Behaviour(event) => say(format!("told {way} swarm {event:?}")),
            SwarmEvent::ConnectionClosed { .. } => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    say(format!("told {way} swarm closed"));
}

/// `hammer ADDR N`: dials so often, some at a time. It says how often a handshake was
/// done, and how often not.
async fn hammer(args: &[String]) {
    let (addr, n): (Multiaddr, usize) = (args[0].parse().unwrap(), args[1].parse().unwrap());
    let dials = futures::stream::iter(0..n).map(|_| {
        let addr = addr.clone();
        async move {
            let key = Keypair::generate_ed25519();
            let mut transport = raw::transport(&key, &addr);
            let dialled = tokio::time::timeout(SLOW, raw::dial(&mut transport, &addr)).await;
            matches!(dialled, Ok(Ok(_)))
        }
    });
    let done: Vec<bool> = dials.buffer_unordered(AT_A_TIME).collect().await;
    let good = done.iter().filter(|done| **done).count();
    say(format!("hammered {good} {}", done.len() - good));
    netns::until_killed().await;
}

/// What a node says of itself.
#[derive(Debug)]
struct State {
    view: u64,
    connected: u64,
    found: u64,
    kib: u64,
    processor: Duration,
    figures: BTreeMap<String, u64>,
}

impl State {
    fn of(host: &mut Host) -> Self {
        host.tell();
        let text = host.expect("state", SLOW);
        let mut parts = text.split(' ');
        let mut number = || parts.next().unwrap().parse().unwrap();
        let (view, connected, found, kib, ms) = (number(), number(), number(), number(), number());
        let figures = parts.filter_map(|pair| pair.split_once('='));
        let figures = figures.map(|(name, n)| (name.to_owned(), n.parse().unwrap())).collect();
        Self { view, connected, found, kib, processor: Duration::from_millis(ms), figures }
    }

    fn figure(&self, name: &str) -> u64 {
        self.figures.get(name).copied().unwrap_or(0)
    }

    /// All that was refused at the gate.
    fn at_the_gate(&self) -> u64 {
        let refused = self.figures.iter().filter(|(name, _)| name.starts_with("admit_refused:"));
        refused.map(|(_, n)| n).sum()
    }
}

fn start(lan: &Lan, host: usize, ca: &str, n: usize) -> Host {
    lan.hosts[host].run("node", &format!("{} {ca} {n}", host + 1))
}

/// The addresses of a node that has started, on the bridge.
fn addrs(node: &Host) -> Vec<String> {
    node.expect("id", SLOW);
    let addrs = node.expect("addrs", SLOW);
    addrs.split(' ').filter(|addr| addr.starts_with("/ip4/10.77.")).map(String::from).collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SLOW;
    while !is_so() {
        assert!(Instant::now() < end, "not within {SLOW:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn beats(host: &mut Host) -> u64 {
    State::of(host).figure("heartbeats:accepted")
}

#[test]
fn strangers_on_the_same_bridge_learn_nothing_of_members_and_cost_little() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(MEMBERS as u8 + 4, 24);
    let ca = CA.to_string();
    let members = (0..MEMBERS).map(|host| start(&lan, host, &ca, MEMBERS));
    let mut members: Vec<Host> = members.collect();
    let near: Vec<String> = members.iter().map(addrs).next_back().unwrap();
    members.iter().for_each(|member| _ = member.expect("full", SLOW));

    // Two nodes that look for the same. Discovery tells them, as it tells everybody, the
    // cluster's name, the ids and the addresses of members; and they try.
    let other = OTHER.to_string();
    let mut strangers = [start(&lan, MEMBERS, "none", 2), start(&lan, MEMBERS + 1, &other, 2)];
    for stranger in &strangers {
        addrs(stranger);
    }
    until("strangers have found members, and members have turned them away", || {
        let found = strangers.iter_mut().all(|stranger| State::of(stranger).found >= 3);
        let members: Vec<State> = members.iter_mut().map(State::of).collect();
        let sum = |name: &str| members.iter().map(|member| member.figure(name)).sum::<u64>();
        let without = sum("admit_refused:open") + sum("admit_refused:io");
        found && without >= 3 && sum("admit_refused:other-ca") >= 3
    });
    told(&lan, &near);
    let before: Vec<u64> = members.iter_mut().map(beats).collect();
    until("many heartbeats have passed since", || {
        members.iter_mut().zip(&before).all(|(member, before)| beats(member) > before + 20)
    });
    for stranger in &mut strangers {
        let state = State::of(stranger);
        println!("a stranger: {state:?}");
        assert_eq!((state.view, state.connected), (1, 0), "{state:?}");
        let heard = state.figures.iter().filter(|(name, n)| {
            (name.starts_with("heartbeats:") || name.starts_with("gossip_refused:")) && **n > 0
        });
        assert_eq!(heard.count(), 0, "{state:?}");
    }
    drop(strangers);
    costs(&lan, &mut members, &near);
}

/// What bare libp2p is told by a member at these addresses.
fn told(lan: &Lan, near: &[String]) {
    let (tcp, quic) = (of(near, "/tcp/"), of(near, "/quic-v1"));
    let raw = lan.hosts[MEMBERS + 2].run("raw", &format!("{tcp} {quic}"));
    let expected = |way: &str| {
        let mut expected: Vec<String> = Vec::new();
        if way == "tcp" {
            // How to encrypt, which says only that it is libp2p, and no to all else.
            expected.push("tcp plain".into());
        }
        expected.extend(proposals().iter().map(|proposal| {
            let answer = match proposal.as_str() {
                "ls" => PROTOCOL,
                own if own == PROTOCOL || own == "/multistream/1.0.0" => own,
                _ => "na",
            };
            format!("{way} asked {proposal} {answer}")
        }));
        expected.extend(["other", "garbage", "member's"].map(|what| format!("{way} {what} \"\"")));
        expected.push(format!("{way} waited 0 \"\" ended"));
        expected.push(format!("{way} swarm closed"));
        expected
    };
    for expected in expected("tcp").into_iter().chain(expected("quic")) {
        let told = raw.expect("told", SLOW);
        if expected == "tcp plain" {
            println!("told {told}");
            let words = told.trim_start_matches("tcp plain").split(' ');
            let protocols: Vec<&str> = words.filter(|word| word.contains('/')).collect();
            let known = ["/multistream/1.0.0", "/noise", "/tls/1.0.0"];
            let unknown = |word: &&&str| !known.iter().any(|known| word.ends_with(known));
            assert_eq!(protocols.iter().filter(unknown).count(), 0, "{told}");
            continue;
        }
        assert_eq!(told, expected);
    }
    raw.expect("done", SLOW);
}

fn of(addrs: &[String], transport: &str) -> String {
    let addr = addrs.iter().find(|addr| addr.contains(transport));
    addr.unwrap_or_else(|| panic!("{transport} of {addrs:?}")).clone()
}

/// What a stranger costs a member that connects again and again.
fn costs(lan: &Lan, members: &mut [Host], near: &[String]) {
    let nth = members.len() - 1;
    let before = State::of(&mut members[nth]);
    let began = Instant::now();
    let hammer =
        lan.hosts[MEMBERS + 3].run("hammer", &format!("{} {CONNECTIONS}", of(near, "/tcp/")));
    let said = hammer.expect("hammered", SLOW);
    let took = began.elapsed();
    let refused = |state: &State| state.figure("strangers_refused:no-handshake");
    let most = BURST + 2 * AT_A_TIME + 2 * took.as_secs() as usize + 2;
    let least = CONNECTIONS.saturating_sub(most).max(1);
    until("no handshake was begun with the most of them", || {
        refused(&State::of(&mut members[nth])) - refused(&before) >= least as u64
    });
    let after = State::of(&mut members[nth]);
    let handshakes = after.at_the_gate() - before.at_the_gate();
    let grown = after.kib.saturating_sub(before.kib);
    let processor = after.processor - before.processor;
    println!(
        "{CONNECTIONS} connections in {took:?} ({said} done and not): {handshakes} handshakes, \
         {} not begun, {grown} KiB, {processor:?} of the processor",
        refused(&after) - refused(&before)
    );
    assert!(handshakes > 0 && handshakes <= most as u64, "{handshakes} handshakes in {took:?}");
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    assert!(processor < PROCESSOR, "{processor:?}");
    // And members are as they were.
    let beaten: Vec<u64> = members.iter_mut().map(beats).collect();
    until("members hear each other", || {
        members.iter_mut().zip(&beaten).all(|(member, before)| beats(member) > before + 5)
    });
    for member in members {
        let state = State::of(member);
        assert!(state.view == MEMBERS as u64 && state.connected >= 2, "{state:?}");
    }
}
