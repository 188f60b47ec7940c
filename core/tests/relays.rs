//! Relays on the loopback interface: such as refuse, stall or give little, and ours when
//! it is asked for too much.

mod certified;

use casm::{
    Event, Found, Multiaddr, Node, PeerId, RelayLimits,
    service::{CallOptions, Request},
};
use certified::{TCP, metric, soon, until};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identify, noise,
    relay::{self, HOP_PROTOCOL_NAME},
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle, dial_opts::DialOpts},
    tcp, yamux,
};
use std::{convert::Infallible, pin::pin, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

/// A peer of libp2p that relays.
#[derive(NetworkBehaviour)]
struct Foreign {
    relay: Toggle<relay::Behaviour>,
    streams: libp2p_stream::Behaviour,
    identify: identify::Behaviour,
}

fn swarm(config: Option<relay::Config>) -> Swarm<Foreign> {
    SwarmBuilder::with_new_identity()
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
        .build()
}

async fn listens(swarm: &mut Swarm<Foreign>) -> Multiaddr {
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let at = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.add_external_address(at.clone());
    at
}

/// One that relays so, or takes streams for that and says nothing. Where it is.
async fn foreign(config: Option<relay::Config>) -> Multiaddr {
    let mut swarm = swarm(config);
    let at = listens(&mut swarm).await;
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

/// Waits for something while these go on.
async fn meanwhile<T>(swarms: &mut [Swarm<Foreign>; 2], what: impl Future<Output = T>) -> T {
    let (mut what, [a, b]) = (pin!(what), swarms);
    loop {
        tokio::select! {
            output = &mut what => return output,
            _ = a.select_next_some() => {}
            _ = b.select_next_some() => {}
        }
    }
}

/// One that tries whether others can be reached (AutoNAT v2), for which it dials them under
/// another name, as go-libp2p does. Where it is.
async fn tries() -> Multiaddr {
    let request = StreamProtocol::new("/libp2p/autonat/2/dial-request");
    let back = StreamProtocol::new("/libp2p/autonat/2/dial-back");
    let mut swarms = [swarm(None), swarm(None)];
    let at = listens(&mut swarms[0]).await.with_p2p(*swarms[0].local_peer_id()).unwrap();
    let mut asked = swarms[0].behaviour().streams.new_control().accept(request).unwrap();
    let mut control = swarms[1].behaviour().streams.new_control();
    tokio::spawn(async move {
        while let Some((peer, mut stream)) = meanwhile(&mut swarms, asked.next()).await {
            // Of the protobuf: a length, the heads of two messages, an address, a nonce.
            let mut message = [0; 128];
            let n = meanwhile(&mut swarms, stream.read(&mut message)).await.unwrap();
            let (addr, nonce) = message[5..n].split_at(usize::from(message[4]));
            let addr = Multiaddr::try_from(addr.to_vec()).unwrap();
            swarms[1].dial(DialOpts::peer_id(peer).addresses(vec![addr]).build()).unwrap();
            loop {
                let event = swarms[1].select_next_some().await;
                if let SwarmEvent::ConnectionEstablished { .. } = event {
                    break;
                }
            }
            let open = control.open_stream(peer, back.clone());
            let mut dialled = meanwhile(&mut swarms, open).await.unwrap();
            let told = [&[9, 9][..], &nonce[1..9]].concat();
            meanwhile(&mut swarms, dialled.write_all(&told)).await.unwrap();
            meanwhile(&mut swarms, dialled.read(&mut message)).await.unwrap();
            // It was dialled at the first address, and told.
            let done = [10, 0x12, 8, 8, 200, 1, 16, 0, 24, 200, 1];
            meanwhile(&mut swarms, stream.write_all(&done)).await.unwrap();
            meanwhile(&mut swarms, stream.close()).await.unwrap();
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
        metric(&relay, "casm_relay_refused_total{kind=\"reservation\"}") == 2
            && metric(&relay, "casm_relay_serves{kind=\"reservation\"}") == 2
    })
    .await;
    drop(clients);
    until("they are given back", || metric(&relay, "casm_relay_serves{kind=\"reservation\"}") == 0)
        .await;
    relay.close().await.unwrap();
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

/// A peer that dials over relays, and as yet speaks of nothing.
#[derive(NetworkBehaviour)]
struct Late {
    relay: relay::client::Behaviour,
    streams: libp2p_stream::Behaviour,
    identify: identify::Behaviour,
}

/// A node that is dialled over a relay punches once the peer says that it does, as a
/// go-libp2p says when it knows where others see it.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_only_later_that_it_punches_is_asked_then() {
    let relay = foreign(Some(relay::Config::default())).await;
    let node = node().await;
    soon(node.connect(relay.clone())).await.unwrap();
    reserved(&node).await;
    let mut late = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key, relay| Late {
            relay,
            streams: libp2p_stream::Behaviour::new(),
            identify: identify::Behaviour::new(identify::Config::new("late".into(), key.public())),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(HOUR))
        .build();
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
