//! Nodes behind NATs: homes and public nodes in an "Internet" of namespaces.
#![cfg(target_os = "linux")]

mod certified;
mod netns;

use casm::{
    Event, Node, PeerId, Secret,
    service::{CallOptions, Request},
};
use certified::{NS, ca, id, key, sign};
use futures::{AsyncReadExt, AsyncWriteExt};
use netns::{Host, Internet, Nat, Netns, say};
use std::{
    collections::HashSet,
    convert::Infallible,
    io::BufRead,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

const SLOW: Duration = Duration::from_secs(90);
const ECHO: &str = "/echo/1";
/// In the address of what is relayed.
const CIRCUIT: &str = "p2p-circuit";
const TCP: (&str, &str) = ("/ip4/0.0.0.0/tcp/0", "tcp/4001");
const QUIC: (&str, &str) = ("/ip4/0.0.0.0/udp/0/quic-v1", "udp/4001/quic-v1");

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    match role.as_str() {
        "node" => netns::block_on(node(&args)),
        other => panic!("no role {other}"),
    }
}

/// `node KEY LISTEN [relay] [secret] [admit] [BOOT]…`: a node that says what happens to
/// it, and does what it is told (see [`tell`]).
async fn node(args: &[String]) {
    let (n, listen) = (args[0].parse().unwrap(), &args[1]);
    let options: HashSet<&str> = args[2..].iter().map(String::as_str).collect();
    let mut boot: Vec<&str> =
        args[2..].iter().map(|s| &**s).filter(|s| s.starts_with('/')).collect();
    if boot.is_empty() {
        boot.push("none");
    }
    let mut builder = Node::builder().namespace(NS).key(key(n)).boot(boot);
    if options.contains("secret") {
        builder = builder.secret(Secret::from_bytes([7; 32]));
    }
    if options.contains("admit") {
        builder = builder.admit([id(&ca())]).certificate(sign(id(&key(n))));
    }
    let builder = listen.split(',').fold(builder, |builder, addr| builder.listen(addr));
    let builder = builder.relay(options.contains("relay")).ttl(Duration::from_secs(5));
    let mut events = builder.events();
    let node = builder.start().await.unwrap();
    let (direct, _) = watch::channel(HashSet::new());
    serve(&node, &direct);
    say("up");
    let (commands, mut commanded) = mpsc::channel(8);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            commands.blocking_send(line).unwrap();
        }
    });
    loop {
        tokio::select! {
            Some(event) = events.next() => on_event(event, &direct),
            Some(command) = commanded.recv() => drop(tokio::spawn(tell(node.clone(), command))),
        }
    }
}

fn on_event(event: Event, direct: &watch::Sender<HashSet<PeerId>>) {
    match event {
        Event::PeerJoined { record } => say(format!("joined {}", record.peer())),
        Event::Relayed { peer } => say(format!("relayed {peer}")),
        Event::Direct { peer } => {
            direct.send_modify(|peers| {
                peers.insert(peer);
            });
            say(format!("direct {peer}"));
        }
        Event::ReachabilityChanged { reachability } => {
            let found =
                reachability.addrs.iter().map(|at| format!("{}@{}", at.found.name(), at.addr));
            say(format!(
                "reach {} {}",
                reachability.reach.name(),
                found.collect::<Vec<_>>().join(" ")
            ));
        }
        _ => {}
    }
}

/// An echo on streams, and two services: one answers at once, one when the caller is
/// connected directly.
fn serve(node: &Node, direct: &watch::Sender<HashSet<PeerId>>) {
    let mut streams = node.accept_streams(ECHO).unwrap();
    tokio::spawn(async move {
        while let Some(stream) = streams.next().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                futures::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    let hi = |_: Request| async { Ok::<_, Infallible>("hi") };
    std::mem::forget(node.serve("hi", hi).unwrap());
    let direct = direct.clone();
    let wait = move |request: Request| {
        let mut direct = direct.subscribe();
        async move {
            direct.wait_for(|peers| peers.contains(&request.peer())).await.unwrap();
            Ok::<_, Infallible>("directly")
        }
    };
    std::mem::forget(node.serve("when-direct", wait).unwrap());
}

/// `hi PEER` calls a service; `across PEER` has a call and a stream last from when the
/// peer is relayed until it isn't; `addrs PEER` says how it is connected; `metric NAME`;
/// `pause .` pauses for a moment.
async fn tell(node: Node, command: String) {
    let (what, of) = command.split_once(' ').unwrap();
    let peer = || of.parse::<PeerId>().unwrap();
    let to = |timeout| CallOptions::new().peer(peer()).timeout(Duration::from_secs(timeout));
    match what {
        "hi" => match node.call_with("hi", "", to(5)).await {
            Ok(answer) => say(format!("said {}", answer.text().unwrap())),
            Err(error) => say(format!("failed {error}")),
        },
        "across" => {
            let called = tokio::spawn({
                let (node, options) = (node.clone(), to(60));
                async move { node.call_with("when-direct", "", options).await }
            });
            let mut stream = node.open_stream(peer(), ECHO).await.unwrap();
            let mut echo = [0; 3];
            stream.write_all(b"one").await.unwrap();
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, b"one");
            let addrs = node.peer_status(&peer()).unwrap().addrs;
            assert!(addrs.iter().all(|addr| addr.to_string().contains(CIRCUIT)), "{addrs:?}");
            say("across begun");
            assert_eq!(called.await.unwrap().unwrap().text().unwrap(), "directly");
            stream.write_all(b"two").await.unwrap();
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, b"two");
            say("across lasted");
        }
        "addrs" => {
            let addrs = node.peer_status(&peer()).map(|status| status.addrs).unwrap_or_default();
            say(format!("addrs {addrs:?}"));
        }
        "pause" => {
            node.pause().await.unwrap();
            node.resume().await.unwrap();
            say("resumed");
        }
        "metric" => say(format!("metric {}", certified::metric(&node, of))),
        other => panic!("no command {other}"),
    }
}

/// A public node that relays, and where it is.
fn relay(internet: &Internet, n: u8, port: &str, options: &str) -> (Netns, Host, String) {
    let (host, ip) = internet.host();
    let at: Vec<String> = port.split(',').map(|port| format!("/ip4/{ip}/{port}")).collect();
    let node = host.run("node", &format!("{n} {} relay {options}", at.join(",")));
    node.expect("up", SLOW);
    (host, node, format!("{}/p2p/{}", at[0], id(&key(n))))
}

/// Waits for lines in any order.
fn expect_all(node: &Host, lines: &[String]) {
    let mut missing: Vec<&str> = lines.iter().map(|line| &**line).collect();
    while !missing.is_empty() {
        let line = node.expect_any(&missing, SLOW);
        missing.retain(|start| !line.starts_with(start));
    }
}

/// Asks until an answer is as it should be.
fn ask_until(node: &mut Host, command: &str, start: &str, wanted: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + SLOW;
    loop {
        node.write(command);
        let answer = node.expect(start, SLOW);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{command}: {answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Has a node call another one until that answers.
fn hi(node: &mut Host, peer: PeerId) {
    let end = Instant::now() + SLOW;
    loop {
        node.write(format!("hi {peer}"));
        let answer = node.expect_any(&["said", "failed"], SLOW);
        if answer.starts_with("said") {
            return;
        }
        assert!(Instant::now() < end, "{answer}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Two homes behind port-restricted NATs and one public node, which see each other over
/// that; then directly. What was begun in between lasts. The first of them pauses before,
/// if it is to.
fn two_homes((listen, port): (&str, &str), options: &str, pauses: bool, without: &str) {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let (_public, relay, boot) = relay(&internet, 1, port, options);
    let homes: Vec<_> = (0..2).map(|_| internet.home(Nat::PortRestricted)).collect();
    // Nothing is punched before the test has begun what is to last.
    homes[0].0.cut_off(Some(&["45.77.0.3"]));
    let start = |n: usize| {
        homes[n].1.run("node", &format!("{} {listen} {options} {boot} {without}", n + 2))
    };
    let mut first = start(0);
    if pauses {
        first.expect("reach private", SLOW);
        first.write("pause .");
        first.expect("resumed", SLOW);
        first.expect("reach private", SLOW);
    }
    let begun = Instant::now();
    let mut nodes = [first, start(1)];
    let (a, b) = (id(&key(2)), id(&key(3)));
    expect_all(&nodes[0], &[format!("joined {b}"), format!("relayed {b}")]);
    println!("{listen} {options}: relayed after {:?}", begun.elapsed());
    nodes[0].write(format!("across {b}"));
    nodes[0].expect("across begun", SLOW);
    homes[0].0.cut_off(None);
    nodes[1].expect(&format!("direct {a}"), SLOW);
    println!("{listen} {options}: direct after {:?}", begun.elapsed());
    nodes[0].expect("across lasted", SLOW);
    // Then the connection over the relay goes.
    for (node, other) in nodes.iter_mut().zip([b, a]) {
        // And one direct connection is enough.
        ask_until(node, &format!("addrs {other}"), "addrs", |addrs| {
            !addrs.contains(CIRCUIT) && addrs.matches("45.77.0.").count() == 1
        });
        ask_until(node, &format!("hi {other}"), "said", |said| said == "hi");
    }
    drop(relay);
}

#[test]
fn two_homes_get_together_over_tcp() {
    two_homes(TCP, "", false, "");
}

#[test]
fn two_homes_get_together_over_quic() {
    two_homes(QUIC, "", false, "");
}

#[test]
fn two_homes_get_together_in_a_private_cluster() {
    two_homes(TCP, "secret", false, "");
}

#[test]
fn two_homes_get_together_with_certificates() {
    two_homes(QUIC, "admit", false, "");
}

/// The relay sees the port at which a node listens also after a pause, when TCP can't
/// dial from it for a while.
#[test]
fn two_homes_get_together_after_a_pause() {
    two_homes(TCP, "", true, "");
}

/// Where netlink is forbidden, each address has a socket of its own.
#[test]
fn two_homes_get_together_without_netlink() {
    two_homes(QUIC, "", false, "without=netlink");
}

/// Two homes that are connected to the relay by another transport each.
#[test]
fn two_homes_get_together_by_whichever_transport_each_came() {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let both = format!("{},{}", TCP.1, QUIC.1);
    let (_public, _relay, boot) = relay(&internet, 1, &both, "");
    let homes: Vec<_> = (0..2).map(|_| internet.home(Nat::PortRestricted)).collect();
    let listen = format!("{},{}", TCP.0, QUIC.0);
    let boots = [boot.clone(), boot.replace(TCP.1, QUIC.1)];
    let nodes: Vec<Host> = (0..2)
        .map(|n| homes[n].1.run("node", &format!("{} {listen} {}", n + 2, boots[n])))
        .collect();
    expect_all(&nodes[0], &[format!("direct {}", id(&key(3)))]);
    expect_all(&nodes[1], &[format!("direct {}", id(&key(2)))]);
}

/// A node that met a relay of its own network first, which sees it at a private address,
/// finds the public one by its record, and gets through to another home.
#[test]
fn a_home_with_a_relay_of_its_own_finds_the_public_one_and_gets_through() {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let (_public, _relay, boot) = relay(&internet, 1, TCP.1, "");
    let homes: Vec<_> = (0..2).map(|_| internet.home(Nat::PortRestricted)).collect();
    let near = "/ip4/192.168.1.1/tcp/4001";
    let own = homes[0].0.run("node", &format!("2 {near} relay {boot}"));
    own.expect("up", SLOW);
    let near = format!("{near}/p2p/{}", id(&key(2)));
    let first = homes[0].1.run("node", &format!("3 {} {near}", TCP.0));
    first.expect("reach private", SLOW);
    let second = homes[1].1.run("node", &format!("4 {} {boot}", TCP.0));
    expect_all(&first, &[format!("direct {}", id(&key(4)))]);
    expect_all(&second, &[format!("direct {}", id(&key(3)))]);
}

/// A NAT that lets in who was spoken to, from any port, lets in the relay that tries, and
/// nobody else: a node behind it has a relay all the same.
#[test]
fn who_is_let_in_since_he_was_spoken_to_shows_nothing() {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let (_public, _relay, boot) = relay(&internet, 1, TCP.1, "");
    let (_router, inner) = internet.home(Nat::AddressRestricted);
    let node = inner.run("node", &format!("2 {} {boot}", TCP.0));
    let reach = loop {
        let reach = node.expect("reach", SLOW);
        if reach.starts_with("public") && reach.contains(CIRCUIT) {
            break reach;
        }
    };
    assert!(reach.contains(&format!("relay@{boot}/{CIRCUIT}")), "{reach}");
    // A stranger behind a NAT of the same kind gets there.
    let (_router, other) = internet.home(Nat::AddressRestricted);
    let mut stranger = other.run("node", &format!("3 {} {boot}", TCP.0));
    hi(&mut stranger, id(&key(2)));
}

/// Where NATs give each other host another port, nothing can be punched: all goes over
/// relays, and over another one when one dies.
#[test]
fn behind_symmetric_nats_all_goes_over_relays_also_when_one_dies() {
    symmetric(|(_, relay, _)| relay.kill());
}

/// Also if its host goes silent.
#[test]
fn behind_symmetric_nats_all_goes_over_another_relay_when_one_is_silent() {
    symmetric(|(host, ..)| host.cut_off(Some(&["0.0.0.0/0"])));
}

fn symmetric(ends: impl Fn(&mut (Netns, Host, String))) {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let mut relays: Vec<_> = (1..=2).map(|n| relay(&internet, n, TCP.1, "")).collect();
    let boot = format!("{} {}", relays[0].2, relays[1].2);
    let homes: Vec<_> = (0..2).map(|_| internet.home(Nat::Symmetric)).collect();
    let mut nodes: Vec<Host> = [3, 4]
        .iter()
        .zip(&homes)
        .map(|(n, (_, inner))| inner.run("node", &format!("{n} {} {boot}", TCP.0)))
        .collect();
    let (a, b) = (id(&key(3)), id(&key(4)));
    nodes[0].expect(&format!("relayed {b}"), SLOW);
    nodes[1].expect(&format!("relayed {a}"), SLOW);
    hi(&mut nodes[0], b);
    // It was tried, and given up.
    let failed = "metric casm_hole_punches_total{result=\"failed\"}";
    let given_up = Instant::now() + SLOW;
    loop {
        let tried = nodes.iter_mut().map(|node| {
            node.write(failed);
            node.expect("metric", SLOW).parse::<u64>().unwrap()
        });
        if tried.sum::<u64>() > 0 {
            break;
        }
        assert!(Instant::now() < given_up, "no punch has failed");
        std::thread::sleep(Duration::from_millis(200));
    }
    let addrs = ask_until(&mut nodes[0], &format!("addrs {b}"), "addrs", |a| a.contains(CIRCUIT));
    // The relay that they are connected over dies.
    let used = (0..2).find(|n| addrs.contains(&id(&key(n + 1)).to_string())).unwrap();
    ends(&mut relays[usize::from(used)]);
    let begun = Instant::now();
    hi(&mut nodes[0], b);
    println!("another relay after {:?}", begun.elapsed());
    let addrs = ask_until(&mut nodes[0], &format!("addrs {b}"), "addrs", |a| a.contains(CIRCUIT));
    assert!(addrs.contains(&id(&key(2 - used)).to_string()), "{addrs}");
}

/// A node that peers can dial knows that; one that they can't says where it is.
#[test]
fn a_node_knows_whether_it_can_be_reached() {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let (_public, _relay, boot) = relay(&internet, 1, TCP.1, "");
    let (public, ip) = internet.host();
    let open = public.run("node", &format!("2 /ip4/{ip}/tcp/4001 {boot}"));
    // (Where the machine is slow, it may have asked the relay before.)
    let reach = open.expect("reach public", SLOW);
    assert!(reach.starts_with(&format!("dialled@/ip4/{ip}/tcp/4001")), "{reach}");
    let (_router, inner) = internet.home(Nat::PortRestricted);
    let mut closed = inner.run("node", &format!("3 {} {boot}", TCP.0));
    let reach = closed.expect("reach", SLOW);
    assert_eq!(reach, format!("private relay@{boot}/{CIRCUIT}"));
    // And is told apart by who knows neither.
    let mut open = open;
    ask_until(&mut open, &format!("hi {}", id(&key(3))), "said", |said| said == "hi");
    closed.write("metric casm_relay_reservations_total{result=\"accepted\"}");
    assert_eq!(closed.expect("metric", SLOW), "1");
}
