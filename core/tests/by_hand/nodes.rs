//! Nodes and relays on the loopback interface, and how they get on.

use crate::certified::{TCP, metric, soon, until};
use casm::{
    Multiaddr, Node, NodeBuilder, PeerId,
    service::{CallOptions, Request},
};
use futures::StreamExt;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identify, noise,
    relay::{self, HOP_PROTOCOL_NAME},
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    tcp, yamux,
};
use std::{convert::Infallible, time::Duration};

pub const HOUR: Duration = Duration::from_secs(3600);

/// A peer of libp2p that may relay.
#[derive(NetworkBehaviour)]
pub struct Foreign {
    pub relay: Toggle<relay::Behaviour>,
    pub streams: libp2p_stream::Behaviour,
    pub identify: identify::Behaviour,
}

pub fn swarm(config: Option<relay::Config>) -> Swarm<Foreign> {
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

pub async fn listens(swarm: &mut Swarm<Foreign>) -> Multiaddr {
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
pub async fn foreign(config: Option<relay::Config>) -> Multiaddr {
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

/// A node that looks for nobody.
pub fn builder(listen: &str) -> NodeBuilder {
    Node::builder().namespace("relays").listen(listen).boot(["none"]).pex(None)
}

/// One that says hi.
pub async fn node() -> Node {
    start(builder(TCP)).await
}

pub async fn start(builder: NodeBuilder) -> Node {
    let node = builder.start().await.unwrap();
    let hi = |_: Request| async { Ok::<_, Infallible>("hi") };
    std::mem::forget(node.serve("hi", hi).unwrap());
    node
}

/// A peer over a relay.
pub fn over(relay: &Multiaddr, peer: PeerId) -> Multiaddr {
    format!("{relay}/p2p-circuit/p2p/{peer}").parse().unwrap()
}

pub async fn reserved(node: &Node) {
    until("a relay takes what is for it", || {
        metric(node, "casm_relay_reservations_total{result=\"accepted\"}") > 0
    })
    .await;
}

pub async fn says_hi(from: &Node, to: &Node) {
    let called = from.call_with("hi", "", CallOptions::new().peer(to.id()));
    assert_eq!(soon(called).await.unwrap().text().unwrap(), "hi");
}

pub async fn is_relayed(node: &Node, peer: PeerId) -> Vec<Multiaddr> {
    until("it is connected", || node.peer_status(&peer).is_some()).await;
    let addrs = node.peer_status(&peer).unwrap().addrs;
    assert!(addrs.iter().all(|addr| addr.to_string().contains("p2p-circuit")), "{addrs:?}");
    addrs
}

/// A peer of libp2p that asks a relay to take what is for it.
pub fn client(relay: &Multiaddr) -> Swarm<relay::client::Behaviour> {
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
