//! Allow and deny lists of whole nodes over loopback sockets.

use casm::{
    ErrorKind, Event, Keypair, LeaveReason, Multiaddr, Node, NodeBuilder, PeerId, Query,
    boot::FindOptions,
};
use futures::StreamExt;
use libp2p::{
    core::{Transport as _, upgrade::Version},
    noise,
    swarm::{SwarmEvent, dial_opts::DialOpts, dummy},
    tcp, yamux,
};
use std::{
    collections::BTreeSet,
    future::Future,
    time::{Duration, Instant},
};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), what).await.expect("it happens within 120 s")
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(120), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within 120 s: {what}"));
}

/// A node that is found by nobody, and knows whom it connects to.
fn builder() -> NodeBuilder {
    at("none")
}

/// One that looks there for others.
fn at(boot: &str) -> NodeBuilder {
    let builder = Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0");
    builder.boot([boot]).ttl(Duration::from_secs(3))
}

/// Where nodes find each other, other tests left aside.
fn ports() -> String {
    let base = 44_000 + rand::random_range(0..900_u16) * 8;
    format!("/ip4/127.0.0.1/udp/{base}/ports/8")
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.metrics().encode();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

/// How often something was refused for this reason.
fn refused(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("casm_strangers_refused_total{{reason=\"{reason}\"}}"))
}

/// How many messages of topics and heartbeats were, whoever relayed them.
fn relayed(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("casm_gossip_refused_total{{reason=\"{reason}\"}}"))
}

fn members(node: &Node) -> BTreeSet<PeerId> {
    node.view().iter(Query::all()).map(|record| record.peer()).collect()
}

fn ids(nodes: &[&Node]) -> BTreeSet<PeerId> {
    nodes.iter().map(|node| node.id()).collect()
}

async fn close<'a>(nodes: impl IntoIterator<Item = &'a Node>) {
    for closed in futures::future::join_all(nodes.into_iter().map(Node::close)).await {
        closed.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_denied_is_found_by_neither_and_not_heard_through_a_third_node() {
    let (boot, key) = (ports(), Keypair::generate_ed25519());
    println!("boot {boot}");
    let found = || at(&boot);
    let a = found().deny([key.public().to_peer_id()]).start().await.unwrap();
    let mut events = a.events();
    let b = found().key(key).start().await.unwrap();
    // They look for each other, and a handshake shows who asks.
    let asked = "casm_boot_received_total{verdict=\"denied\"}";
    until("a request is not answered", || metric(&a, asked) > 2).await;
    assert_eq!((members(&a), members(&b)), (ids(&[&a]), ids(&[&b])));
    assert_eq!((a.connected(), b.connected()), (vec![], vec![]));
    let addr = a.addrs()[0].clone();
    until("a handshake ends in a refusal", || {
        // It may take itself for connected until it is told.
        drop(tokio::spawn({
            let (b, addr) = (b.clone(), addr.clone());
            async move { b.connect(addr).await }
        }));
        refused(&a, "denied") > 0
    })
    .await;
    // A third one takes both, and brings each what the other says.
    let c = found().start().await.unwrap();
    soon(c.wait_for(3)).await.unwrap();
    soon(a.wait_for(2)).await.unwrap();
    until("its heartbeats come", || relayed(&a, "denied") > 3).await;
    assert_eq!((members(&a), members(&c)), (ids(&[&a, &c]), ids(&[&a, &b, &c])));
    assert_eq!(a.connected(), [c.id()]);
    while let Some(event) = futures::FutureExt::now_or_never(events.next()).flatten() {
        match event {
            Event::Connected { peer } => assert_eq!(peer, c.id()),
            Event::PeerJoined { record } => assert_eq!(record.peer(), c.id()),
            Event::PeersFound { peer, .. } => assert_eq!(peer.id, c.id()),
            Event::ViewChanged { peers } => assert!(!peers.contains(&b.id())),
            _ => {}
        }
    }
    close([&a, &b, &c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_put_out_while_it_runs_and_comes_back() {
    let [a, b, c] = [(); 3].map(|()| builder().pex_tick(Duration::from_millis(500)));
    let (a, b, c) = (a.start().await.unwrap(), b.start().await.unwrap(), c.start().await.unwrap());
    for (one, other) in [(&a, &b), (&b, &c), (&c, &a)] {
        soon(one.connect(&other.info())).await.unwrap();
    }
    for node in [&a, &b, &c] {
        soon(node.wait_for(3)).await.unwrap();
    }
    let mut events = a.events();
    a.deny([b.id()]).unwrap();
    let mut left = None;
    let mut gone = false;
    soon(async {
        while left.is_none() || !gone {
            match events.next().await.unwrap() {
                Event::PeerLeft { peer, reason } if peer == b.id() => left = Some(reason),
                Event::Disconnected { peer } if peer == b.id() => gone = true,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(left, Some(LeaveReason::Left));
    assert_eq!(
        (members(&a), a.connected(), refused(&a, "put-out")),
        (ids(&[&a, &c]), vec![c.id()], 1)
    );
    assert_eq!(a.denied(), [b.id()]);
    let error = a.connect(&b.info()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let said = error.message();
    assert!(said.contains(&b.id().to_string()) && said.contains("`undeny`"), "{said}");
    let error = a.connect(b.addrs()[0].clone()).await.unwrap_err();
    assert!(error.message().contains("deny list"), "{error}");
    // Whoever is at an address that names nobody.
    let error = a.connect(b.info().addrs[0].clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.message().contains("deny list"), "{error}");
    // It goes on to be a member for the others, who bring what it says.
    let before = relayed(&a, "denied");
    until("its heartbeats are not taken", || relayed(&a, "denied") > before + 2).await;
    assert_eq!((members(&a), members(&c)), (ids(&[&a, &c]), ids(&[&a, &b, &c])));

    a.undeny([b.id()]);
    soon(a.wait_for(3)).await.unwrap();
    soon(a.connect(&b.info())).await.unwrap();
    close([&a, &b, &c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_list_takes_those_on_it_and_an_empty_one_nobody() {
    let boot = ports();
    println!("boot {boot}");
    let [key_b, key_c] = [(); 2].map(|()| Keypair::generate_ed25519());
    let [id_b, id_c] = [&key_b, &key_c].map(|key| key.public().to_peer_id());
    let found = || at(&boot);
    let a = found().allow([id_b]).start().await.unwrap();
    let b = found().key(key_b).start().await.unwrap();
    let c = found().key(key_c).start().await.unwrap();
    soon(c.wait_for(2)).await.unwrap();
    soon(a.wait_for(2)).await.unwrap();
    until("the third one is heard of", || relayed(&a, "not-allowed") > 2).await;
    assert_eq!(members(&a), ids(&[&a, &b]));
    assert_eq!(a.allowed(), Some(vec![id_b]));
    let error = a.connect(c.addrs()[0].clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.message().contains("allow list"), "{error}");

    a.allow([id_c]).unwrap();
    soon(a.wait_for(3)).await.unwrap();
    // Nobody, and not everybody.
    a.disallow([id_b, id_c]);
    until("it is alone", || members(&a) == ids(&[&a]) && a.connected().is_empty()).await;
    assert_eq!(a.allowed(), Some(vec![]));
    let asked = "casm_boot_received_total{verdict=\"not-allowed\"}";
    let strangers = || refused(&a, "not-allowed") + metric(&a, asked);
    let before = strangers();
    until("they want to come back", || strangers() > before + 2).await;
    assert_eq!((members(&a), a.connected()), (ids(&[&a]), vec![]));
    a.allow_all();
    assert_eq!(a.allowed(), None);
    soon(a.wait_for(3)).await.unwrap();
    close([&a, &b, &c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_cannot_be_are_refused_by_name() {
    let key = Keypair::generate_ed25519();
    let own = key.public().to_peer_id();
    let error = builder().key(key.clone()).deny([own]).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains(&own.to_string()), "{error}");
    let many = || (0..=casm::config::MAX_LISTED).map(|_| PeerId::random());
    for builder in [builder().allow(many()), builder().deny(many())] {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("65536 ids at most"), "{error}");
    }
    let node = builder().key(key).allow([PeerId::random()]).start().await.unwrap();
    assert!(node.deny([own]).is_err() && node.set_denied([own]).is_err());
    assert!(node.allow(many()).is_err() && node.set_allowed(many()).is_err());
    assert_eq!((node.allowed().unwrap().len(), node.denied()), (1, vec![]));
    // Nobody else is there for it; it goes on for itself.
    assert_eq!(members(&node), ids(&[&node]));
    node.close().await.unwrap();
}

/// Somebody with this key who dials so many times, one after the other.
async fn dial(key: Keypair, at: Multiaddr, times: usize) {
    let transport = |key: &Keypair| {
        let security = noise::Config::new(key).unwrap();
        let tcp = tcp::tokio::Transport::new(tcp::Config::new());
        tcp.upgrade(Version::V1Lazy).authenticate(security).multiplex(yamux::Config::default())
    };
    let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(transport)
        .unwrap()
        .with_behaviour(|_| dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    for _ in 0..times {
        swarm.dial(DialOpts::unknown_peer_id().address(at.clone()).build()).unwrap();
        while !matches!(
            swarm.select_next_some().await,
            SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. }
        ) {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_again_and_again_costs_a_burst_of_handshakes_and_then_two_a_second() {
    const TIMES: usize = 200;
    let key = Keypair::generate_ed25519();
    let victim = builder().deny([key.public().to_peer_id()]).start().await.unwrap();
    let begun = Instant::now();
    soon(dial(key, victim.info().addrs[0].clone(), TIMES)).await;
    let took = begun.elapsed().as_secs_f64();
    let (shaken, unshaken) = (refused(&victim, "denied"), refused(&victim, "no-handshake"));
    println!("{TIMES} dials in {took:.1} s: {shaken} handshakes, {unshaken} refused before one");
    assert_eq!(shaken + unshaken, TIMES as u64);
    assert!(shaken >= 32 && shaken as f64 <= 33.0 + 2.0 * took, "{shaken}");
    assert!(victim.connected().is_empty() && unshaken > 0);
    // Its neighbours on the machine come in soon after.
    let member = builder().start().await.unwrap();
    until("a member gets in", || {
        drop(tokio::spawn({
            let (member, at) = (member.clone(), victim.info());
            async move { member.connect(&at).await }
        }));
        victim.connected() == [member.id()]
    })
    .await;
    soon(victim.wait_for(2)).await.unwrap();
    close([&victim, &member]).await;
}

/// A line: two that publish, one that takes both, one that denies the first, and one
/// behind that.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_denied_peer_are_neither_delivered_nor_relayed() {
    let start = async |builder: NodeBuilder| builder.pex(None).start().await.unwrap();
    let (first, second) = (start(builder()).await, start(builder()).await);
    let between = start(builder()).await;
    let denies = start(builder().deny([first.id()])).await;
    let behind = start(builder()).await;
    for (one, other) in
        [(&first, &between), (&second, &between), (&between, &denies), (&denies, &behind)]
    {
        soon(one.connect(&other.info())).await.unwrap();
    }
    // Records come by the same way.
    for node in [&denies, &behind] {
        soon(node.wait_for(4)).await.unwrap();
    }
    until("its heartbeats come", || relayed(&denies, "denied") > 0).await;
    let others = ids(&[&second, &between, &denies, &behind]);
    assert_eq!((members(&denies), members(&behind)), (others.clone(), others));
    let topics = [&first, &second].map(|node| node.topic("orders").unwrap());
    let subscribed = [&between, &denies, &behind].map(|node| node.topic("orders").unwrap());
    let [mut at_between, mut at_denies, mut at_behind] =
        subscribed.each_ref().map(|topic| topic.subscribe());
    soon(subscribed[0].wait_for_peers(3)).await.unwrap();
    soon(subscribed[1].wait_for_peers(2)).await.unwrap();
    for topic in &topics {
        soon(topic.wait_for_peers(1)).await.unwrap();
    }
    let before = relayed(&denies, "denied");
    soon(topics[0].publish("mutiny")).await.unwrap();
    assert_eq!(soon(at_between.next()).await.unwrap().data(), b"mutiny");
    until("it is refused", || relayed(&denies, "denied") > before).await;
    soon(topics[1].publish("sail")).await.unwrap();
    for messages in [&mut at_between, &mut at_denies, &mut at_behind] {
        assert_eq!(soon(messages.next()).await.unwrap().data(), b"sail");
    }
    // What it says from now on is heard, here and behind.
    denies.undeny([first.id()]);
    soon(behind.wait_for(5)).await.unwrap();
    soon(topics[0].publish("ahoy")).await.unwrap();
    for messages in [&mut at_between, &mut at_denies, &mut at_behind] {
        assert_eq!(soon(messages.next()).await.unwrap().data(), b"ahoy");
    }
    close([&first, &second, &between, &denies, &behind]).await;
}

/// The peers of a node's peer-exchange view, and those that stand by.
async fn exchanged(node: &Node) -> BTreeSet<PeerId> {
    let found = node.find_peers(FindOptions::default().timeout(Duration::from_millis(1)));
    found.filter_map(async |found| found.ok().map(|found| found.peer.id)).collect().await
}

async fn knows(node: &Node, peers: BTreeSet<PeerId>) {
    soon(async {
        while exchanged(node).await != peers {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_exchange_takes_no_denied_peer_and_gives_up_one_that_it_had() {
    let exchanging = || builder().pex_tick(Duration::from_millis(400));
    let (dir, key) = (tempfile::tempdir().unwrap(), Keypair::generate_ed25519());
    let own = || exchanging().key(key.clone()).data(dir.path());
    let (a, b) = (own().start().await.unwrap(), exchanging().start().await.unwrap());
    let c = exchanging().start().await.unwrap();
    soon(a.connect(&c.info())).await.unwrap();
    soon(b.connect(&c.info())).await.unwrap();
    knows(&a, ids(&[&b, &c])).await;
    a.deny([b.id()]).unwrap();
    knows(&a, ids(&[&c])).await;
    // The other one still tells of it.
    let told = "casm_pex_records_total{verdict=\"denied\"}";
    until("it is told of", || metric(&a, told) > 1).await;
    assert_eq!(exchanged(&a).await, ids(&[&c]));
    a.close().await.unwrap();
    drop(a);
    // Without the list it hears of it again, and keeps it.
    let again = own().start().await.unwrap();
    knows(&again, ids(&[&b, &c])).await;
    again.close().await.unwrap();
    drop(again);
    let again = own().deny([b.id()]).start().await.unwrap();
    assert!(!exchanged(&again).await.contains(&b.id()), "it was kept, and is not taken up");
    knows(&again, ids(&[&c])).await;
    close([&again, &b, &c]).await;
}
