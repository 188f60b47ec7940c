//! A peer on a topic: ours, or another's.

use anyhow::{Context, Result};
use casm::fuzzing::{Heard, TopicSwarm};
use futures::StreamExt;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use libp2p_gossipsub::{Behaviour, Config, Event, IdentTopic, MessageAuthenticity};
use std::time::Duration;

const TOPIC: &str = "bench";

/// Whose gossip it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Ours.
    Casm,
    /// rust-libp2p's gossipsub, as it comes.
    #[value(name = "rust-libp2p")]
    RustLibp2p,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Casm => "casm",
            Self::RustLibp2p => "rust-libp2p",
        }
    }
}

/// Both have the same transport, and have joined the topic.
pub enum Peer {
    Casm(Box<TopicSwarm>),
    RustLibp2p(Box<Swarm<Behaviour>>),
}

impl Peer {
    pub fn new(kind: Kind) -> Result<Self> {
        if kind == Kind::Casm {
            return Ok(Self::Casm(Box::new(TopicSwarm::new(TOPIC)?)));
        }
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| {
                Behaviour::new(MessageAuthenticity::Signed(key.clone()), Config::default())
                    .expect("the defaults fit together")
            })?
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(3600))
            })
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        swarm.behaviour_mut().subscribe(&IdentTopic::new(TOPIC))?;
        Ok(Self::RustLibp2p(Box::new(swarm)))
    }

    pub fn dial(&mut self, addr: Multiaddr) -> Result<()> {
        match self {
            Self::Casm(swarm) => Ok(swarm.dial(addr)?),
            Self::RustLibp2p(swarm) => Ok(swarm.dial(addr)?),
        }
    }

    pub fn publish(&mut self, data: &[u8]) -> Result<()> {
        match self {
            Self::Casm(swarm) => Ok(swarm.publish(data)?),
            Self::RustLibp2p(swarm) => {
                let topic = IdentTopic::new(TOPIC);
                swarm.behaviour_mut().publish(topic, data).map(drop).context("publish")
            }
        }
    }

    /// What it hears next.
    pub async fn next(&mut self) -> Heard {
        let swarm = match self {
            Self::Casm(swarm) => return swarm.next().await,
            Self::RustLibp2p(swarm) => swarm,
        };
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => return Heard::Listening(address),
                SwarmEvent::Behaviour(Event::Subscribed { .. }) => return Heard::Subscribed,
                SwarmEvent::Behaviour(Event::Message { message, .. }) => {
                    return Heard::Message(message.data);
                }
                _ => {}
            }
        }
    }
}
