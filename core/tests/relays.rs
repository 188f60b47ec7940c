//! Relays on the loopback interface: such as refuse, stall or give little, and ours when
//! it is asked for too much.

mod certified;

use casm::{
    Event, Multiaddr, Node, PeerId, RelayLimits,
    service::{CallOptions, Request},
};
use certified::{TCP, metric, soon, until};
use futures::{FutureExt, StreamExt};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identify, noise,
    relay::{self, HOP_PROTOCOL_NAME},
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    tcp, yamux,
};
use std::{convert::Infallible, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

/// A peer of libp2p that relays.
#[derive(NetworkBehaviour)]
struct Foreign {
    relay: Toggle<relay::Behaviour>,
    streams: libp2p_stream::Behaviour,
    identify: identify::Behaviour,
}

/// One that relays so, or takes streams for that and says nothing. Where it is.
async fn foreign(config: Option<relay::Config>) -> Multiaddr {
    let mut swarm: Swarm<Foreign> = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let own = key.public().to_peer_id();
            Foreign {
                relay: config.map(|config| relay::Behaviour::new(own, config)).into(),
                streams: libp2p_stream::Behaviour::new(),
                identify: identify::Behaviour::new(identify::Config::new(
                    "foreign".into(),
                    key.public(),
                )),
            }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(HOUR))
        .build();
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let at = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.add_external_address(at.clone());
    let stalls = swarm.behaviour().relay.as_ref().is_none();
    let hop: StreamProtocol = HOP_PROTOCOL_NAME;
    let mut held = swarm.behaviour().streams.new_control();
    let at = at.with_p2p(*swarm.local_peer_id()).unwrap();
    tokio::spawn(async move {
        let mut streams = stalls.then(|| held.accept(hop).unwrap());
        let mut kept = Vec::new();
        loop {
            tokio::select! {
                _ = swarm.select_next_some() => {}
                Some(stream) = async { streams.as_mut()?.next().await }, if stalls => {
                    kept.push(stream);
                }
            }
        }
    });
    at
}

async fn node() -> Node {
    let builder = Node::builder().namespace("relays").listen(TCP).boot(["none"]).pex(None);
    let node = builder.start().await.unwrap();
    let hi = |_: Request| async { Ok::<_, Infallible>("hi") };
    std::mem::forget(node.serve("hi", hi).unwrap());
    node
}

/// A peer over a relay.
fn over(relay: &Multiaddr, peer: PeerId) -> Multiaddr {
    format!("{relay}/p2p-circuit/p2p/{peer}").parse().unwrap()
}

async fn reserved(node: &Node) {
    until("a relay takes what is for it", || {
        metric(node, "casm_relay_reservations_total{result=\"accepted\"}") > 0
    })
    .await;
}

async fn says_hi(from: &Node, to: &Node) {
    let called = from.call_with("hi", "", CallOptions::new().peer(to.id()));
    assert_eq!(soon(called).await.unwrap().text().unwrap(), "hi");
}

async fn is_relayed(node: &Node, peer: PeerId) -> Vec<Multiaddr> {
    until("it is connected", || node.peer_status(&peer).is_some()).await;
    let addrs = node.peer_status(&peer).unwrap().addrs;
    assert!(addrs.iter().all(|addr| addr.to_string().contains("p2p-circuit")), "{addrs:?}");
    addrs
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
        soon(a.connect(relay.clone())).await.unwrap();
        reserved(&a).await;
        soon(b.connect(over(&relay, a.id()))).await.unwrap();
        is_relayed(&a, b.id()).await;
        is_relayed(&b, a.id()).await;
        let told = async { while events.next().await != Some(Event::Relayed { peer: a.id() }) {} };
        soon(told).await;
        says_hi(&b, &a).await;
        says_hi(&a, &b).await;
        if gossips {
            until("they gossip", || metric(&b, "casm_gossip_links") == 1).await;
        }
        assert_eq!(metric(&b, "casm_gossip_links"), u64::from(gossips));
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
    let builder = Node::builder().namespace("relays").listen(TCP).boot(["none"]).pex(None);
    let relay = builder.relay_limits(limits).start().await.unwrap();
    let at: Multiaddr = format!("{}/p2p/{}", relay.info().addrs[0], relay.id()).parse().unwrap();
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
        metric(&relay, "casm_relay_refused_total{kind=\"reservation\"") == 2
            && metric(&relay, "casm_relay_serves{kind=\"reservation\"}") == 2
    })
    .await;
    drop(clients);
    until("they are given back", || metric(&relay, "casm_relay_serves{kind=\"reservation\"}") == 0)
        .await;
    relay.close().await.unwrap();
}

/// A peer of libp2p that asks a relay to take what is for it.
fn client(relay: &Multiaddr) -> Swarm<relay::client::Behaviour> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_, relay| relay)
        .unwrap()
        .build();
    swarm.listen_on(format!("{relay}/p2p-circuit").parse().unwrap()).unwrap();
    swarm
}
