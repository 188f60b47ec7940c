//! libp2p's relays and AutoNAT v2, spoken by hand: what they say and do is what a test
//! has them.
#![allow(dead_code, reason = "not every test uses all of it")]

pub mod as_go;
pub mod message;
pub mod nodes;
pub mod prober;
pub mod relay;

use casm::{Keypair, Multiaddr};
use futures::StreamExt;
use libp2p::{
    Swarm, SwarmBuilder, identify, noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use std::time::Duration;

/// A peer that says what it speaks, and speaks what it is told to.
#[derive(NetworkBehaviour)]
pub struct Peer {
    pub streams: libp2p_stream::Behaviour,
    pub identify: identify::Behaviour,
}

/// One that listens on the loopback interface, or elsewhere, once it is polled.
pub fn peer(listen: &str) -> Swarm<Peer> {
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| Peer {
            streams: libp2p_stream::Behaviour::new(),
            identify: identify::Behaviour::new(identify::Config::new("test".into(), key.public())),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    swarm.listen_on(listen.parse().unwrap()).unwrap();
    swarm
}

/// Where it listens.
pub async fn listens(swarm: &mut Swarm<Peer>) -> Multiaddr {
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}
