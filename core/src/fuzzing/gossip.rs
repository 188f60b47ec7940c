//! Gossip on a swarm of its own.

use crate::{
    Keypair, Result,
    error::ErrorKind,
    gossip::{Event, Gossip, Refused, engine},
    pubsub::{Verdict, signed::SignedMessage},
    record::unix_nanos,
};
use futures::StreamExt as _;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use std::{collections::VecDeque, time::Duration};

/// A swarm with nothing but gossip, over TCP with Noise and yamux, that has
/// joined a topic. It signs with its own key, and finds every message good.
pub struct TopicSwarm {
    swarm: Swarm<Gossip>,
    key: Keypair,
    topic: String,
    seq: u64,
    /// What came together with what was told last.
    good: VecDeque<SignedMessage>,
}

/// What a swarm hears.
#[derive(Debug)]
pub enum Heard {
    /// It listens here.
    Listening(Multiaddr),
    /// A peer has joined the topic.
    Subscribed,
    /// A message, with a good signature.
    Message(Vec<u8>),
}

impl TopicSwarm {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If it cannot.
    pub fn new(topic: &str) -> Result<Self> {
        let internal = |error: &dyn std::fmt::Display| {
            crate::Error::new(ErrorKind::Internal, format!("the swarm: {error}"))
        };
        let key = Keypair::generate_ed25519();
        let mut swarm = SwarmBuilder::with_existing_identity(key.clone())
            .with_tokio()
            .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
            .map_err(|error| internal(&error))?
            .with_behaviour(|_| {
                let (config, counts) = (engine::Config::default(), engine::Counts::default());
                Gossip::new(config, counts, Refused::new(Default::default()))
            })
            .map_err(|error| internal(&error))?
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(3600))
            })
            .build();
        let addr = "/ip4/127.0.0.1/tcp/0".parse().expect("it is an address");
        swarm.listen_on(addr).map_err(|error| internal(&error))?;
        swarm.behaviour_mut().join(topic);
        Ok(Self { swarm, key, topic: topic.into(), seq: unix_nanos(), good: VecDeque::new() })
    }

    /// Connects to another one.
    ///
    /// # Errors
    /// If it cannot.
    pub fn dial(&mut self, addr: Multiaddr) -> Result<()> {
        let failed = |error| crate::Error::new(ErrorKind::Unreachable, format!("{error}"));
        self.swarm.dial(addr).map_err(failed)
    }

    /// Signs and publishes.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] while nobody is known to have joined;
    /// [`ErrorKind::TooLarge`].
    pub fn publish(&mut self, data: &[u8]) -> Result<()> {
        self.seq += 1;
        let message = SignedMessage::sign(&self.key, &self.topic, self.seq, data)?;
        let failed = |error| crate::Error::new(ErrorKind::Unreachable, format!("{error}"));
        self.swarm.behaviour_mut().publish(message).map(drop).map_err(failed)
    }

    /// What it hears next. Nothing happens while nobody waits for it.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(message) = self.good.pop_front() {
                self.swarm.behaviour_mut().verdict(message.id(), Verdict::Accept);
                return Heard::Message(message.data().to_vec());
            }
            match self.swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => return Heard::Listening(address),
                // Nodes know each other for ours by what identify tells them.
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    self.swarm.behaviour_mut().is_ours(&peer_id);
                }
                SwarmEvent::Behaviour(Event::Subscribed { .. }) => return Heard::Subscribed,
                SwarmEvent::Behaviour(Event::Deliver(messages)) => {
                    self.good.extend(messages.into_iter().map(|(message, _)| message));
                }
                _ => {}
            }
        }
    }
}
