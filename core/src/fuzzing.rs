//! Entrances for fuzz targets and benchmarks, to what is not public. No part of
//! the public interface.

mod gossip;

pub use gossip::{Heard, TopicSwarm};

use crate::{
    Keypair, PeerId, Result,
    pubsub::{keys::Keys, signed::SignedMessage},
};

/// Signs a pubsub message.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the key cannot sign.
pub fn sign_message(key: &Keypair, topic: &str, seq: u64, data: &[u8]) -> Result<Vec<u8>> {
    Ok(SignedMessage::sign(key, topic, seq, data)?.encoded().to_vec())
}

/// Verifies pubsub messages, as a node does that was handed them.
#[derive(Default)]
pub struct Verifier(Keys);

impl Verifier {
    /// Decodes and verifies a pubsub message: source, sequence number and data.
    pub fn verify(&self, bytes: &[u8]) -> Option<(PeerId, u64, Vec<u8>)> {
        let message = SignedMessage::decode(bytes).ok()?;
        message.verify(&self.0).ok()?;
        Some((message.source(), message.seq(), message.data().to_vec()))
    }
}
