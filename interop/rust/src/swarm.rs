//! The swarm: rust-libp2p's gossipsub as it comes.

use anyhow::{Result, anyhow};
use libp2p::{Swarm, SwarmBuilder, identify, noise, swarm::NetworkBehaviour, tcp, yamux};
use libp2p_gossipsub::{
    Behaviour as Gossipsub, ConfigBuilder, Message, MessageAuthenticity, MessageId, ValidationMode,
};
use std::time::Duration;

const MAX_MESSAGE: usize = 1 << 20;
const NEVER_IDLE: Duration = Duration::from_secs(24 * 3600);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) gossipsub: Gossipsub,
    identify: identify::Behaviour,
}

/// The bytes of the source's id, then the eight of the sequence number.
fn message_id(message: &Message) -> MessageId {
    let mut id = message.source.map_or_else(Vec::new, |peer| peer.to_bytes());
    id.extend(message.sequence_number.unwrap_or_default().to_be_bytes());
    MessageId(id)
}

/// A swarm that listens nowhere yet. A lazy one is in nobody's mesh.
pub(crate) fn build(lazy: bool) -> Result<Swarm<Behaviour>> {
    let mut config = ConfigBuilder::default();
    // What is not set here, its limits above all, is what strangers have.
    config
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(MAX_MESSAGE)
        .heartbeat_initial_delay(Duration::from_millis(100));
    if lazy {
        config.mesh_n(0).mesh_n_low(0).mesh_n_high(0).mesh_outbound_min(0);
    }
    let config = config.build()?;
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            Ok(Behaviour {
                gossipsub: Gossipsub::new(MessageAuthenticity::Signed(key.clone()), config)?,
                identify: identify::Behaviour::new(identify::Config::new(
                    "casm/0.0.0".into(),
                    key.public(),
                )),
            })
        })
        .map_err(|e| anyhow!("gossipsub: {e}"))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(NEVER_IDLE))
        .build();
    Ok(swarm)
}
