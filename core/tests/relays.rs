//! Relays on the loopback interface: such as refuse, stall or give little, and ours when
//! it is asked for too much.

mod by_hand;
mod certified;

use by_hand::{
    as_go::{LateEvent, late, tries},
    nodes::{HOUR, builder, client, foreign, is_relayed, node, over, reserved, says_hi, start},
    relay::{Conduct, Does, Relay},
};
use casm::{
    ErrorKind, Event, Found, Multiaddr, Node, RelayLimits,
    service::{CallOptions, Request},
};
use certified::{QUIC, TCP, metric, soon, until};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::{StreamProtocol, identify, relay, swarm::SwarmEvent};
use std::{convert::Infallible, time::Duration};

const ECHO: &str = "/echo/1";
const RESERVATIONS: &str = "casm_relay_serves{kind=\"reservation\"}";
const CIRCUITS: &str = "casm_relay_serves{kind=\"circuit\"}";
const REFUSED: &str = "casm_relay_refused_total{kind=\"reservation\"";

fn at(node: &Node) -> Multiaddr {
    format!("{}/p2p/{}", node.info().addrs[0], node.id()).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_uses_a_relay_that_gives_enough_and_calls_use_any() {
    let plenty = relay::Config {
        max_circuit_bytes: 1 << 30,
        max_circuit_duration: HOUR,
        ..Default::default()
    };
    for (config, gossips) in [(relay::Config::default(), false), (plenty, true)] {
        let relay = foreign(Some(config)).await;
        let (a, b) = (node().await, node().await);
        let mut events = b.events();
        let reach = |reach: &str| metric(&a, &format!("casm_reachability{{reach=\"{reach}\"}}"));
        assert_eq!((reach("unknown"), reach("private"), reach("public")), (1, 0, 0));
        soon(a.connect(relay.clone())).await.unwrap();
        reserved(&a).await;
        until("it is told", || (reach("unknown"), reach("private")) == (0, 1)).await;
        soon(b.connect(over(&relay, a.id()))).await.unwrap();
        is_relayed(&a, b.id()).await;
        is_relayed(&b, a.id()).await;
        let told = async { while events.next().await != Some(Event::Relayed { peer: a.id() }) {} };
        soon(told).await;
        says_hi(&b, &a).await;
        says_hi(&a, &b).await;
        if gossips {
            until("they gossip", || metric(&b, "casm_gossip_links") > 0).await;
        }
        assert_eq!(metric(&b, "casm_gossip_links") > 0, gossips);
        assert_eq!(metric(&b, "casm_peers_relayed"), 1);
        a.close().await.unwrap();
        b.close().await.unwrap();
    }
}

/// One that refuses is asked again later, one that says nothing is waited for; both keep
/// nothing from working, and others from being used.
#[tokio::test(flavor = "multi_thread")]
async fn relays_that_refuse_or_stall_keep_nobody_from_others() {
    let none = relay::Config { max_reservations: 0, ..Default::default() };
    let (refuses, stalls) = (foreign(Some(none)).await, foreign(None).await);
    let (a, b) = (node().await, node().await);
    for relay in [&refuses, &stalls] {
        soon(a.connect(relay.clone())).await.unwrap();
    }
    until("it is refused", || metric(&a, "casm_relay_reservations_total{result=\"refused\"}") > 0)
        .await;
    let works = foreign(Some(relay::Config::default())).await;
    soon(a.connect(works.clone())).await.unwrap();
    reserved(&a).await;
    soon(b.connect(over(&works, a.id()))).await.unwrap();
    says_hi(&b, &a).await;
    let error = soon(b.connect(over(&refuses, a.id()))).await.map(drop);
    assert!(error.is_ok(), "they are connected: {error:?}");
    let c = node().await;
    let error = soon(c.connect(over(&refuses, a.id()))).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), casm::ErrorKind::Unreachable, "{error}");
    for node in [a, b, c] {
        node.close().await.unwrap();
    }
}

/// Our relay takes on no more peers than it has places for, and counts whom it refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_takes_on_no_more_than_it_has_places_for() {
    let mut limits = RelayLimits::default();
    (limits.reservations, limits.circuits) = (2, 4);
    let relay = builder(TCP).relay_limits(limits).start().await.unwrap();
    let at = at(&relay);
    // They have it tried whether they can be reached, and can: so they need no relay.
    let plain = node().await;
    soon(plain.connect(at.clone())).await.unwrap();
    until("it is tried", || metric(&plain, "casm_reachability_probes_total") > 0).await;
    assert_eq!(metric(&plain, "casm_relay_reservations_total"), 0);
    plain.close().await.unwrap();

    // Those who ask nevertheless get as many as there are.
    let mut clients: Vec<_> = (0..4).map(|_| client(&at)).collect();
    until("two are refused, and two are not", || {
        for client in &mut clients {
            while let Some(Some(_)) = client.next().now_or_never() {}
        }
        metric(&relay, REFUSED) == 2 && metric(&relay, RESERVATIONS) == 2
    })
    .await;
    drop(clients);
    until("they are given back", || metric(&relay, RESERVATIONS) == 0).await;
    relay.close().await.unwrap();
}

/// One that serves an echo on streams, and never answers a call.
async fn serving(listen: &str) -> Node {
    let node = start(builder(listen)).await;
    let mut streams = node.accept_streams(ECHO).unwrap();
    tokio::spawn(async move {
        while let Some(stream) = streams.next().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                futures::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    let never = |_: Request| std::future::pending::<Result<&str, Infallible>>();
    std::mem::forget(node.serve("never", never).unwrap());
    node
}

/// Ends what one has with another over a relay, by saying so much or by waiting: what is
/// under way there fails, and both notice.
async fn ends(one: &Node, other: &Node, says: Option<usize>) {
    let mut stream = soon(one.open_stream(other.id(), ECHO)).await.unwrap();
    let options = CallOptions::new().peer(other.id()).timeout(Duration::from_secs(50));
    let called = tokio::spawn({
        let one = one.clone();
        async move { one.call_with("never", "", options).await.map(drop) }
    });
    let mut echo = [0; 1];
    soon(stream.write_all(b"1")).await.unwrap();
    soon(stream.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"1");
    if let Some(says) = says {
        let written = soon(stream.write_all(&vec![0; says])).await;
        println!("written: {written:?}");
    }
    let mut rest = Vec::new();
    let error = soon(stream.read_to_end(&mut rest)).await.unwrap_err();
    println!("read: {error:?}");
    let error = soon(called).await.unwrap().unwrap_err();
    println!("called: {error:?}");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    for (node, peer) in [(one, other), (other, one)] {
        until("it notices", || node.peer_status(&peer.id()).is_none()).await;
        assert_eq!(metric(node, "casm_peers_relayed"), 0);
    }
}

/// What has used up what a relay gives ends, and is made again by who needs it; the relay
/// counts it once, however it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_ends_at_its_bytes_and_is_made_again() {
    let mut limits = RelayLimits::default();
    (limits.circuits, limits.circuit_bytes) = (4, 64 << 10);
    let relay = start(builder(TCP).namespace("elsewhere").relay_limits(limits)).await;
    let at = at(&relay);
    // They are connected to it by TCP, and listen by QUIC alone: it can't dial them back.
    let [a, b, c] = [serving(QUIC).await, serving(QUIC).await, serving(QUIC).await];
    for node in [&a, &b, &c] {
        soon(node.connect(at.clone())).await.unwrap();
        reserved(node).await;
    }
    until("it counts them", || metric(&relay, RESERVATIONS) == 3).await;
    soon(b.connect(over(&at, a.id()))).await.unwrap();
    is_relayed(&a, b.id()).await;
    assert_eq!(metric(&relay, CIRCUITS), 1);
    ends(&b, &a, Some(256 << 10)).await;
    until("it is counted down", || metric(&relay, CIRCUITS) == 0).await;
    for node in [&a, &b] {
        assert_eq!(metric(node, "casm_relayed_cut_total"), 1);
    }

    // The places of both are as they were.
    assert_eq!(metric(&relay, RESERVATIONS), 3);
    soon(b.connect(over(&at, a.id()))).await.unwrap();
    says_hi(&b, &a).await;
    says_hi(&a, &b).await;
    assert_eq!(metric(&relay, CIRCUITS), 1);
    // A quarter of them is one: who has that gets no more, and others do.
    let error = soon(b.connect(over(&at, c.id()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert_eq!(metric(&relay, "casm_relay_refused_total{kind=\"circuit\",reason=\"limit\"}"), 1);
    soon(c.connect(over(&at, a.id()))).await.unwrap();
    assert_eq!(metric(&relay, CIRCUITS), 2);
    // To whom they led goes.
    a.close().await.unwrap();
    until("it is counted down", || metric(&relay, CIRCUITS) == 0).await;
    until("it notices", || b.peer_status(&a.id()).is_none()).await;
    soon(b.connect(over(&at, c.id()))).await.unwrap();
    is_relayed(&c, b.id()).await;
    assert_eq!((metric(&relay, CIRCUITS), metric(&relay, RESERVATIONS)), (1, 2));
    // Who had it made goes.
    b.close().await.unwrap();
    until("it is counted down", || metric(&relay, CIRCUITS) == 0).await;
    c.close().await.unwrap();
    until("nobody is left", || metric(&relay, RESERVATIONS) == 0).await;
    relay.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_ends_at_its_time_and_is_made_again() {
    let second =
        relay::Config { max_circuit_duration: Duration::from_secs(1), ..Default::default() };
    let relay = foreign(Some(second)).await;
    let (a, b) = (serving(TCP).await, serving(TCP).await);
    soon(a.connect(relay.clone())).await.unwrap();
    reserved(&a).await;
    for _ in 0..2 {
        soon(b.connect(over(&relay, a.id()))).await.unwrap();
        says_hi(&b, &a).await;
        ends(&b, &a, None).await;
    }
    for node in [a, b] {
        assert_eq!(metric(&node, "casm_relayed_cut_total"), 2);
        node.close().await.unwrap();
    }
}

/// Peers without an end that ask for places get those that there are, and keep nobody from
/// what he has.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_peers_takes_the_places_that_are_left() {
    const FLOOD: usize = 1000;
    let relay = start(builder(TCP).namespace("elsewhere").relay(true)).await;
    let at = at(&relay);
    let [honest, other] = [start(builder(QUIC)).await, start(builder(QUIC)).await];
    for node in [&honest, &other] {
        soon(node.connect(at.clone())).await.unwrap();
        reserved(node).await;
    }
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..FLOOD {
        let mut client = client(&at);
        flood.spawn(async move { while client.next().await.is_some() {} });
    }
    until("all places are taken", || metric(&relay, RESERVATIONS) == 64).await;
    until("others are refused", || metric(&relay, REFUSED) > 100).await;
    let (refused, connected) =
        (metric(&relay, REFUSED), metric(&relay, "casm_connection_slots{kind=\"inbound\"}"));
    println!("{refused} were refused a place, {connected} are connected");
    assert!(metric(&relay, RESERVATIONS) <= 64);
    // Who came before has his place, and is reached over it, in the middle of this.
    for node in [&honest, &other] {
        assert_eq!(metric(node, "casm_relay_reservations_total{result=\"ended\"}"), 0);
    }
    soon(other.connect(over(&at, honest.id()))).await.unwrap();
    says_hi(&other, &honest).await;
    flood.abort_all();
    until("the flood's are given back", || metric(&relay, RESERVATIONS) == 2).await;
    for node in [other, honest, relay] {
        node.close().await.unwrap();
    }
}

/// A node that is connected to no relay, and not reached for all that it knows, looks for
/// one among the members.
#[tokio::test(flavor = "multi_thread")]
async fn relays_are_found_in_the_view() {
    let relay = start(builder(TCP).relay(true)).await;
    let (between, node) = (node().await, start(builder(QUIC)).await);
    soon(between.connect(at(&relay))).await.unwrap();
    soon(node.connect(at(&between))).await.unwrap();
    soon(node.wait_for(3)).await.unwrap();
    assert!(!node.connected().contains(&relay.id()));
    until("it is connected to the relay", || node.connected().contains(&relay.id())).await;
    reserved(&node).await;
    for node in [between, node, relay] {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_pause_a_node_is_no_longer_at_the_relays_of_before() {
    let is_at_relay =
        |node: &Node| node.info().addrs.iter().any(|addr| addr.to_string().contains("p2p-circuit"));
    let relay = Relay::start(Conduct::of(Does::Relays)).await;
    let node = node().await;
    soon(node.connect(relay.at.clone())).await.unwrap();
    until("its record says where it is", || is_at_relay(&node)).await;
    soon(node.pause()).await.unwrap();
    drop(relay);
    soon(node.resume()).await.unwrap();
    assert!(!is_at_relay(&node), "{:?}", node.info().addrs);
    assert!(node.reachability().addrs.is_empty());
    node.close().await.unwrap();
}

/// By whom a node is dialled that wants to know whether it can be reached, the nonce says.
#[tokio::test(flavor = "multi_thread")]
async fn who_tries_whether_a_node_is_reached_may_dial_under_another_name() {
    let node = node().await;
    soon(node.connect(tries().await)).await.unwrap();
    until("it is reached", || {
        metric(&node, "casm_reachability_probes_total{result=\"reached\"}") > 0
    })
    .await;
    let found = node.reachability().addrs;
    assert!(found.iter().any(|addr| addr.found == Found::Dialled), "{found:?}");
    node.close().await.unwrap();
}

/// A node that is dialled over a relay punches once the peer says that it does, as a
/// go-libp2p says when it knows where others see it.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_only_later_that_it_punches_is_asked_then() {
    let relay = foreign(Some(relay::Config::default())).await;
    let node = node().await;
    soon(node.connect(relay.clone())).await.unwrap();
    reserved(&node).await;
    let mut late = late();
    late.dial(over(&relay, node.id())).unwrap();
    let told = async {
        loop {
            if let SwarmEvent::Behaviour(LateEvent::Identify(identify::Event::Sent {
                peer_id, ..
            })) = late.select_next_some().await
                && peer_id == node.id()
            {
                break;
            }
        }
    };
    soon(told).await;
    let mut control = late.behaviour().streams.new_control();
    let mut asked = control.accept(StreamProtocol::new("/libp2p/dcutr")).unwrap();
    // What is there to be spoken is looked at when something happens on the connection.
    let other = StreamProtocol::new("/nobody/speaks/this");
    let happens = async { while control.open_stream(node.id(), other.clone()).await.is_err() {} };
    tokio::select! {
        stream = soon(asked.next()) => assert_eq!(stream.unwrap().0, node.id()),
        () = happens => panic!("the node speaks anything"),
        () = async { loop { late.select_next_some().await; } } => {}
    }
    node.close().await.unwrap();
}
