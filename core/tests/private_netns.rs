//! A private cluster and strangers on one bridge. What passes there is captured,
//! and looked through for all that a stranger must not learn.
#![cfg(target_os = "linux")]

mod netns;

use casm::{
    Event, Keypair, Multiaddr, Node, Secret,
    boot::{
        Boot, BootAddr, BootConfig,
        packet::{Body, Packet},
    },
};
use libp2p::multiaddr::Protocol;
use netns::{Host, Lan, processor_ms, resident_kib, say};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    collections::{BTreeMap, HashSet},
    io::{BufRead, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

const SLOW: Duration = Duration::from_secs(90);
/// All packets of a socket of Linux's AF_PACKET.
const ETH_P_ALL: u16 = 3;
/// Nobody says these by accident.
const NAMESPACE: &str = "hidden-orchard";
const HOST: &str = "quiet-quince";
const META: &str = "medlar";
/// How a sealed datagram begins.
const SEALED: &[u8] = b"\0CS\x01";
/// Datagrams of a flood, and by how much memory may grow meanwhile: what a peer that
/// joins takes, and the noise of an allocator.
const FLOOD: usize = 10_000;
const GROWTH_KIB: u64 = 8 * 1024;
/// Connections of one host that say nothing, how many of them a member waits for at a
/// time (half of the places, as long as nobody else wants one), and what all of it may
/// cost its processor, not optimised.
const SILENT: usize = 300;
const WAITED_FOR: usize = 64;
const PROCESSOR: Duration = Duration::from_secs(4);

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    match role.as_str() {
        "capture" => capture(),
        "stranger" => stranger(&args),
        "silent" => silent(&args),
        "member" => netns::block_on(member(&args)),
        "listener" => netns::block_on(listen()),
        other => panic!("no role {other}"),
    }
}

/// `member SECRET KEY N [ADDR]`: a node that looks for others in every way that it has
/// by itself. It says `id` and `addrs`, `connected` when it is with who is at that address,
/// and `full` when its view holds N. On a line it says `state`: the sizes of its view and
/// of its connections, how many peers its searches have found, resident KiB, ms of the
/// processor, heartbeats, boot datagrams by verdict, and connections that were refused.
async fn member(args: &[String]) {
    let key = Keypair::ed25519_from_bytes([args[1].parse::<u8>().unwrap(); 32]).unwrap();
    let builder = Node::builder().namespace(NAMESPACE).key(key).host(HOST).meta("fruit", META);
    let builder = match args[0].parse() {
        Ok(secret) => builder.secret(Secret::from_bytes([secret; 32])),
        Err(_) => builder,
    };
    let node = builder.ttl(Duration::from_secs(2)).start().await.unwrap();
    let mut events = node.events();
    say(format!("id {}", node.id()));
    say(format!("addrs {}", strings(&node.info().addrs)));
    if let Some(addr) = args.get(3) {
        node.connect(addr.parse::<Multiaddr>().unwrap()).await.unwrap();
        say("connected");
    }
    let told = node.clone();
    let n = args[2].parse().unwrap();
    tokio::spawn(async move {
        told.wait_for(n).await.unwrap();
        say("full");
    });
    let (told, found) = (node.clone(), Arc::new(AtomicUsize::new(0)));
    let count = found.clone();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            let text = told.metrics().encode();
            let received = text.lines().filter_map(|line| {
                let beat = line.strip_prefix("casm_heartbeats_total{verdict=\"accepted\"} ");
                if let Some(count) = beat {
                    return Some(format!("heartbeats={count}"));
                }
                if let Some(refused) = line.strip_prefix("casm_connections_refused_total{reason=\"")
                {
                    let (reason, count) = refused.split_once("\"} ")?;
                    return Some(format!("refused:{reason}={count}"));
                }
                let verdict = line.strip_prefix("casm_boot_received_total{verdict=\"")?;
                let (verdict, count) = verdict.split_once("\"} ")?;
                Some(format!("{verdict}={count}"))
            });
            let received: Vec<String> = received.collect();
            let (view, connected) = (told.view().len(), told.connected().len());
            let (found, kib, ms) = (count.load(Ordering::Relaxed), resident_kib(), processor_ms());
            say(format!("state {view} {connected} {found} {kib} {ms} {}", received.join(" ")));
        }
    });
    while let Some(event) = events.next().await {
        if matches!(event, Event::PeersFound { .. }) {
            found.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn strings(addrs: &[Multiaddr]) -> String {
    addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Joins the groups without a secret, and says what it makes of what it hears.
async fn listen() {
    let (_addrs, watch) = watch::channel(Arc::from([]));
    let mut config = BootConfig::default();
    config.boot = BootAddr::parse_list("auto").unwrap();
    let boot = Boot::standalone(config, Keypair::generate_ed25519(), watch).unwrap();
    let mut tap = boot.tap();
    say("ready");
    while let Some(casm::boot::Tapped::Datagram(heard)) = tap.next().await {
        say(format!("heard {} {:?}", heard.verdict, heard.packet));
    }
}

/// Keeps every packet that passes. For a line in hex it says `has` and in how many
/// of them it stands, and for the line `sealed` it says one datagram that is.
fn capture() {
    let protocol = i32::from(ETH_P_ALL.to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol.into())).unwrap();
    // Each is seen at several ports of the bridge.
    let packets: Arc<Mutex<HashSet<Vec<u8>>>> = Arc::default();
    let kept = packets.clone();
    std::thread::spawn(move || {
        // As long as the longest that the system puts together.
        let mut buffer = vec![0; 1 << 17];
        while let Ok(len) = (&socket).read(&mut buffer) {
            kept.lock().unwrap().insert(buffer[..len].to_vec());
        }
    });
    say("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let packets = packets.lock().unwrap();
        if line == "sealed" {
            let mut sealed =
                packets.iter().filter_map(|packet| Some(&packet[at(packet, SEALED)?..]));
            say(format!("one {}", hex(sealed.next().unwrap())));
            continue;
        }
        let part = bytes(&line);
        let has = packets.iter().filter(|packet| at(packet, &part).is_some()).count();
        say(format!("has {has} of {}", packets.len()));
    }
}

/// Where something stands in a packet.
fn at(packet: &[u8], part: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(next) = packet[from..].iter().position(|byte| *byte == part[0]) {
        if packet[from + next..].starts_with(part) {
            return Some(from + next);
        }
        from += next + 1;
    }
    None
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Where a member listens.
fn socket(addr: &str) -> SocketAddr {
    let addr: Multiaddr = addr.parse().unwrap();
    let mut parts = addr.iter();
    let (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) = (parts.next(), parts.next()) else {
        panic!("{addr}")
    };
    (ip, port).into()
}

/// `stranger ADDR IP`: who holds no secret and does what he likes. He says how many
/// bytes he `read` of a member each time that he connected, and after a line with a
/// sealed datagram in hex he floods the group, and says `flooded`.
fn stranger(args: &[String]) {
    let at = socket(&args[0]);
    for said in [&b"\x13/multistream/1.0.0\n"[..], &[0x41; 24], &[0xff; 3000]] {
        let mut socket = TcpStream::connect(at).unwrap();
        socket.set_read_timeout(Some(SLOW)).unwrap();
        // A reset says no more.
        let (_, mut read) = (socket.write_all(said), Vec::new());
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut read);
        say(format!("read {}", read.len()));
    }
    let sealed = bytes(&std::io::stdin().lock().lines().next().unwrap().unwrap());
    let key = Keypair::generate_ed25519();
    let own = key.public().to_peer_id();
    let open = Packet::new(own, NAMESPACE.parse().unwrap(), Body::Survey { distance: 255 });
    let open = open.encode(&key).unwrap();
    let mut forged = sealed.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut long = forged.clone();
    long.resize(2048, 7);
    let cut = sealed[..40].to_vec();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    SockRef::from(&socket).set_multicast_if_v4(&args[1].parse().unwrap()).unwrap();
    let mut sent = 0;
    for datagram in [open, forged, long, sealed, cut].iter().cycle().take(FLOOD) {
        sent += usize::from(socket.send_to(datagram, "228.8.8.8:8822").is_ok());
    }
    say(format!("flooded {sent}"));
    std::thread::sleep(SLOW);
}

/// `silent ADDR`: has so many connections to a member on which nothing is said, and makes
/// those anew that it closes, in every second. It says `silent` when all were there once.
fn silent(args: &[String]) {
    let at = socket(&args[0]);
    let mut held: Vec<TcpStream> = Vec::new();
    loop {
        // What ends has nothing more to read, and what doesn't nothing yet.
        held.retain_mut(|socket| {
            let mut begun = [0; 64];
            socket.set_nonblocking(true).unwrap();
            match socket.read(&mut begun) {
                Ok(n) => n > 0,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        held.extend((held.len()..SILENT).filter_map(|_| TcpStream::connect(at).ok()));
        say("silent");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What a node says of itself.
#[derive(Debug)]
struct State {
    view: u64,
    connected: u64,
    found: u64,
    kib: u64,
    processor: Duration,
    received: BTreeMap<String, u64>,
}

impl State {
    fn of(host: &mut Host) -> Self {
        host.tell();
        let text = host.expect("state", SLOW);
        let mut parts = text.split(' ');
        let mut number = || parts.next().unwrap().parse().unwrap();
        let (view, connected, found, kib, ms) = (number(), number(), number(), number(), number());
        let received = parts.filter_map(|pair| pair.split_once('='));
        let received = received.map(|(name, n)| (name.to_owned(), n.parse().unwrap())).collect();
        Self { view, connected, found, kib, processor: Duration::from_millis(ms), received }
    }

    fn count(&self, verdict: &str) -> u64 {
        self.received.get(verdict).copied().unwrap_or(0)
    }
}

/// In how many packets something stands.
fn has(capture: &mut Host, part: impl AsRef<[u8]>) -> usize {
    capture.write(hex(part.as_ref()));
    capture.expect("has", SLOW).split(' ').next().unwrap().parse().unwrap()
}

/// What is to be looked for, by what it is.
type Telling = Vec<(String, Vec<u8>)>;

/// Bytes as they are, and their first word as Cap'n Proto packs it, which divides
/// what is longer, and leaves out zeros.
fn forms(what: &str, bytes: &[u8]) -> Telling {
    let packed: Vec<u8> = bytes.iter().take(8).filter(|byte| **byte != 0).copied().collect();
    let mut forms = vec![(what.to_owned(), bytes.to_vec())];
    if packed.len() >= 5 {
        forms.push((format!("{what}, packed"), packed));
    }
    forms
}

/// What a node says of itself in an open cluster: its id and its addresses on the
/// bridge.
fn telling(id: &str, addrs: &[String]) -> Telling {
    let key = id.parse::<casm::PeerId>().unwrap().to_bytes();
    // The key alone, whatever stands around it.
    let mut telling = forms(&format!("the key of {id}"), &key[6..]);
    telling.extend(forms(id, id.as_bytes()));
    for addr in addrs.iter().filter(|addr| addr.contains("10.77.") || addr.contains("fd00")) {
        telling.extend(forms(addr, addr.as_bytes()));
        telling.extend(forms(
            &format!("{addr} in bytes"),
            &addr.parse::<Multiaddr>().unwrap().to_vec(),
        ));
    }
    telling
}

fn start(lan: &Lan, host: usize, secret: &str, n: usize) -> Host {
    lan.hosts[host].run("member", &format!("{secret} {} {n}", host + 1))
}

/// The id and the addresses of a member that has started.
fn of(member: &Host) -> (String, Vec<String>) {
    let (id, addrs) = (member.expect("id", SLOW), member.expect("addrs", SLOW));
    (id, addrs.split(' ').map(String::from).collect())
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SLOW;
    while !is_so() {
        assert!(Instant::now() < end, "not within {SLOW:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn strangers_on_the_same_bridge_learn_nothing_of_a_private_cluster() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(8, 24);
    let mut capture = lan.bridge().run("capture", "");
    capture.expect("ready", SLOW);
    let listener = lan.hosts[7].run("listener", "");
    listener.expect("ready", SLOW);
    let began = Instant::now();
    let mut members: Vec<Host> = (0..5).map(|host| start(&lan, host, "1", 5)).collect();
    let (mut said, mut near) = (Telling::new(), String::new());
    for member in &members {
        let (id, addrs) = of(member);
        assert!(addrs.iter().all(|addr| addr.contains("/tcp/")), "{addrs:?}");
        near = addrs.iter().find(|addr| addr.starts_with("/ip4/10.77.")).unwrap().clone();
        said.extend(telling(&id, &addrs));
    }
    members.iter().for_each(|member| _ = member.expect("full", SLOW));
    println!("a private cluster of 5 after {:?}", began.elapsed());
    assert_eq!(listener.expect("heard sealed", SLOW), "None");
    until("heartbeats have passed", || {
        members.iter_mut().map(State::of).all(|state| state.count("heartbeats") > 20)
    });
    let words = [NAMESPACE, HOST, META, "CASM-PAD", "casm", "/multistream/1.0.0", "/noise"];
    let words = words.iter().flat_map(|word| forms(word, word.as_bytes()));
    for (what, part) in words.chain(said.clone()) {
        assert_eq!(has(&mut capture, part), 0, "{what} is seen");
    }
    assert!(has(&mut capture, SEALED) > 0);

    // Two who look for the same, without a secret and with another.
    let (mut open, mut other) = (start(&lan, 5, "none", 1), start(&lan, 6, "2", 1));
    let (id, addrs) = of(&open);
    until("each of the strangers has asked each member, and heard them", || {
        let asked = members
            .iter_mut()
            .map(State::of)
            .all(|state| state.count("not-sealed") > 3 && state.count("other-seal") > 3);
        asked
            && State::of(&mut open).count("sealed") > 0
            && State::of(&mut other).count("other-seal") > 0
    });
    for stranger in [&mut open, &mut other] {
        let state = State::of(stranger);
        assert_eq!((state.view, state.connected, state.found), (1, 0, 0), "{state:?}");
    }
    for (what, part) in said {
        assert_eq!(has(&mut capture, part), 0, "{what} is seen");
    }
    // The same of one who is open is: its question tells these, and when it is asked
    // its answer tells its addresses.
    for what in [NAMESPACE, "CASM-PAD"] {
        let [(_, packed)] = &forms(what, what.as_bytes())[1..] else { panic!() };
        assert!(has(&mut capture, packed) > 0, "{what} is not seen");
    }
    let second = start(&lan, 7, "none", 2);
    let (second_id, second_addrs) = of(&second);
    second.expect("full", SLOW);
    let told = [telling(&id, &addrs), telling(&second_id, &second_addrs)].concat();
    for end in [&*format!("the key of {id}"), " in bytes, packed"] {
        let mut parts = told.iter().filter(|(what, _)| what.ends_with(end));
        assert!(parts.any(|(_, part)| has(&mut capture, part) > 0), "{end} is not seen");
    }
    drop(second);
    capture.write("sealed");
    let sealed = capture.expect("one", SLOW);
    drop((capture, listener, open, other));

    // One who does as he likes gets the random number with which a private network
    // begins, and no more.
    let mut stranger = lan.hosts[7].run("stranger", &format!("{near} 10.77.0.8"));
    for _ in 0..3 {
        let read: usize = stranger.expect("read", SLOW).parse().unwrap();
        assert!(read <= 24, "{read} bytes");
    }
    // And his flood of what looks almost right costs time alone.
    let before: Vec<State> = members.iter_mut().map(State::of).collect();
    stranger.write(sealed);
    let mut late = start(&lan, 5, "1", 6);
    late.expect("full", SLOW);
    let sent: usize = stranger.expect("flooded", SLOW).parse().unwrap();
    assert!(sent > FLOOD / 2, "{sent} sent");
    for (member, before) in members.iter_mut().zip(before) {
        let end = Instant::now() + SLOW;
        let state = loop {
            let state = State::of(member);
            let more = |verdict| state.count(verdict).saturating_sub(before.count(verdict));
            let refused = ["not-sealed", "bad-seal", "bad-seal-form"].map(more);
            // The member's packet that was played again and again: whatever it was to
            // this one at first.
            let again: u64 =
                ["replay", "own", "too-far", "stale", "unasked"].map(more).iter().sum();
            let counted = refused.into_iter().chain([again]).all(|more| more > 100);
            if state.view == 6 && counted {
                break state;
            }
            assert!(Instant::now() < end, "{state:?}");
            std::thread::sleep(Duration::from_millis(200));
        };
        println!("{state:?}");
        let grown = state.kib.saturating_sub(before.kib);
        assert!(grown < GROWTH_KIB, "{grown} KiB");
    }
    assert_eq!(State::of(&mut late).view, 6);
    drop((stranger, late));
    silence(&lan, &mut members, &near);
}

/// What one costs the member here that connects and says nothing: it keeps nobody out.
fn silence(lan: &Lan, members: &mut [Host], near: &str) {
    let member = members.last_mut().unwrap();
    let (before, began) = (State::of(member), Instant::now());
    let silent = lan.hosts[7].run("silent", near);
    silent.expect("silent", SLOW);
    // Another one comes while they stay.
    let mut joins = lan.hosts[6].run("member", &format!("1 9 6 {near}"));
    joins.expect("connected", SLOW);
    joins.expect("full", SLOW);
    silent.expect("silent", SLOW);
    let refused = |state: &State| state.count("refused:pending-share");
    until("the most of them are refused", || {
        refused(&State::of(member)) - refused(&before) >= (SILENT - WAITED_FOR) as u64
    });
    let (after, took) = (State::of(member), began.elapsed());
    let grown = after.kib.saturating_sub(before.kib);
    let processor = after.processor - before.processor;
    println!(
        "{SILENT} silent connections in {took:?}: {} refused, {grown} KiB, {processor:?} of the \
         processor",
        refused(&after) - refused(&before)
    );
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    assert!(processor < PROCESSOR, "{processor:?}");
    // Six, once the one before has expired.
    until("they see each other", || (State::of(member).view, State::of(&mut joins).view) == (6, 6));
}
