//! What others can make a node do or believe that finds out whether it is reached, on the
//! loopback interface.

mod by_hand;
mod certified;

use by_hand::{
    listens,
    message::{Data, Punch, Try, TryThese, read, send},
    nodes::{builder, foreign, node, over, reserved, start},
    peer,
    prober::{Prober, Shown},
};
use casm::{Event, Found, Multiaddr, PeerId, Reach, Reachability, ReachableAddr};
use certified::{TCP, metric, soon, until};
use futures::StreamExt;
use libp2p::{
    StreamProtocol, SwarmBuilder, identify, noise, relay,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;

const REACHED: &str = "casm_reachability_probes_total{result=\"reached\"}";
const ASK: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");
const PUNCH: StreamProtocol = StreamProtocol::new("/libp2p/dcutr");

/// Who is asked to dial a node shows what it was given by a connection that it has made
/// before: nobody has dialled the node for that.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_brought_by_a_dial_does_not_show_that_a_node_is_reached() {
    let (shown, result) = oneshot::channel();
    let (prober, node) = (Prober::start(shown).await, node().await);
    prober.dials(node.id(), node.info().addrs[0].clone()).await;
    until("it is connected", || node.connected() == [prober.id]).await;
    // One that the node makes, by which it asks. (To whom it is connected it would make
    // none, if it knew whom it dials.)
    let mut at = prober.at.clone();
    at.pop();
    assert_eq!(soon(node.connect(at)).await.unwrap(), prober.id);
    assert_eq!(soon(result).await.unwrap(), Shown::Refused);
    let known = node.reachability();
    assert!(known.reach == Reach::Unknown && known.addrs.is_empty(), "{known:?}");
    assert_eq!(metric(&node, REACHED), 0);
    node.close().await.unwrap();
}

/// Who has dialled a node to tell it whether it is reached closes that connection; nobody
/// counts it as one with the peer.
#[tokio::test(flavor = "multi_thread")]
async fn connections_by_which_it_is_tried_to_reach_a_node_are_closed() {
    let (relay, node) = (start(builder(TCP).relay(true)).await, node().await);
    let at = relay.info().addrs[0].clone().with_p2p(relay.id()).unwrap();
    soon(node.connect(at)).await.unwrap();
    until("it is reached", || metric(&node, REACHED) > 0).await;
    for (one, other) in [(&node, &relay), (&relay, &node)] {
        until("one connection is left", || {
            one.peer_status(&other.id()).is_some_and(|status| status.addrs.len() == 1)
        })
        .await;
    }
    assert_eq!(node.reachability().addrs.len(), 1);
    node.close().await.unwrap();
    relay.close().await.unwrap();
}

/// What a person says is so from the start, and nothing that changes.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_node_that_announces_an_address_no_change_is_told() {
    let relay = foreign(Some(relay::Config::default())).await;
    let at: Multiaddr = "/ip4/203.0.113.7/tcp/4001".parse().unwrap();
    let (announces, plain) = (builder(TCP).announce(at.to_string()), builder(TCP));
    let (mut events, mut others) = (announces.events(), plain.events());
    let (announces, plain) = (start(announces).await, start(plain).await);
    let addrs = vec![ReachableAddr { addr: at, found: Found::Announced }];
    let known = Reachability { reach: Reach::Public, addrs };
    assert_eq!(
        (announces.reachability(), plain.reachability()),
        (known.clone(), Reachability::default())
    );
    for node in [&announces, &plain] {
        soon(node.connect(relay.clone())).await.unwrap();
    }
    let changes = |event| match event {
        Event::ReachabilityChanged { reachability } => Some(reachability.reach),
        _ => None,
    };
    let changed = async {
        loop {
            if let Some(reach) = changes(others.next().await.unwrap()) {
                break reach;
            }
        }
    };
    assert_eq!(soon(changed).await, Reach::Private);
    assert_eq!(announces.reachability(), known);
    announces.close().await.unwrap();
    while let Some(event) = soon(events.next()).await {
        assert_eq!(changes(event), None);
    }
    plain.close().await.unwrap();
}

/// Somebody who is no part of this, and how often it was dialled.
async fn victim() -> (Multiaddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let dialled = Arc::<AtomicUsize>::default();
    let counted = dialled.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (at.parse().unwrap(), dialled)
}

/// Has a relay try to reach a peer there, which sends what it is to for that. What it says
/// of the dial: 100 that it failed.
async fn tries(
    control: &mut libp2p_stream::Control,
    relay: PeerId,
    addr: &Multiaddr,
) -> io::Result<i32> {
    let mut stream = control.open_stream(relay, ASK).await.map_err(io::Error::other)?;
    let request = TryThese { addrs: vec![addr.to_vec()], nonce: 7 };
    send(&mut stream, &Try { request: Some(request), ..Try::default() }).await?;
    let mut left = read::<Try>(&mut stream).await?.wants.unwrap().bytes;
    while left > 0 {
        let n = left.min(4000);
        let bytes = vec![0; usize::try_from(n).unwrap()];
        send(&mut stream, &Try { data: Some(Data { bytes }), ..Try::default() }).await?;
        left -= n;
    }
    Ok(read::<Try>(&mut stream).await?.response.unwrap().dialled)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_dials_nobody_often_because_a_peer_says_that_it_is_there() {
    let relay = start(builder(TCP).relay(true)).await;
    let (at, dialled) = victim().await;
    let mut asker = peer(TCP);
    let mut control = asker.behaviour().streams.new_control();
    listens(&mut asker).await;
    asker.dial(relay.info().addrs[0].clone().with_p2p(relay.id()).unwrap()).unwrap();
    tokio::spawn(async move { while asker.next().await.is_some() {} });
    until("it is connected", || relay.connected().len() == 1).await;
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(soon(tries(&mut control, relay.id(), &at)).await.unwrap(), 100);
    }
    // Eight, and one more every ten seconds.
    let most = 8 + usize::try_from(began.elapsed().as_secs()).unwrap() / 10;
    let dialled = dialled.load(Ordering::Relaxed);
    println!("dialled {dialled} times");
    assert!((1..=most).contains(&dialled), "{dialled} times in {:?}", began.elapsed());
    assert!(metric(&relay, "casm_dials_skipped_total{reason=\"often\"}") >= 10);

    // And what is no peer's address not at all.
    for nobody in ["/ip4/127.0.0.1/udp/53", "/ip4/224.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/0"] {
        let before = metric(&relay, "casm_dials_skipped_total{reason=\"useless\"}");
        let nobody = nobody.parse().unwrap();
        assert_eq!(soon(tries(&mut control, relay.id(), &nobody)).await.unwrap(), 100);
        assert!(metric(&relay, "casm_dials_skipped_total{reason=\"useless\"}") > before);
    }
    relay.close().await.unwrap();
}

/// A peer of libp2p over relays, that punches by hand.
#[derive(NetworkBehaviour)]
struct Puncher {
    relay: relay::client::Behaviour,
    streams: libp2p_stream::Behaviour,
    /// Nobody is asked to punch who doesn't say that it can.
    identify: identify::Behaviour,
}

/// A peer over a relay that wants to punch says that it is on this machine: a node does
/// not dial its own ports for somebody who may be anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_punch_has_a_node_dial_no_port_of_its_own_machine() {
    let relay = foreign(Some(relay::Config::default())).await;
    let node = node().await;
    soon(node.connect(relay.clone())).await.unwrap();
    reserved(&node).await;
    let (victim, dialled) = victim().await;
    let mut puncher = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key, relay| Puncher {
            relay,
            streams: libp2p_stream::Behaviour::new(),
            identify: identify::Behaviour::new(identify::Config::new("test".into(), key.public())),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    let mut punches = puncher.behaviour().streams.new_control().accept(PUNCH).unwrap();
    puncher.dial(over(&relay, node.id())).unwrap();
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::OutgoingConnectionError { error, .. } =
                puncher.select_next_some().await
            {
                panic!("{error}");
            }
        }
    });
    // It tries three times.
    for _ in 0..3 {
        let (_, mut stream) = soon(punches.next()).await.unwrap();
        let _: Punch = soon(read(&mut stream)).await.unwrap();
        let addrs = vec![victim.to_vec()];
        send(&mut stream, &Punch { kind: 100, addrs }).await.unwrap();
        let now: Punch = soon(read(&mut stream)).await.unwrap();
        assert_eq!(now.kind, 300);
    }
    until("it has given up", || metric(&node, "casm_hole_punches_total{result=\"failed\"}") == 1)
        .await;
    assert_eq!(metric(&node, "casm_dials_skipped_total{reason=\"loopback\"}"), 3);
    assert_eq!(dialled.load(Ordering::Relaxed), 0);
    node.close().await.unwrap();
}
