//! What gossip reads from a stream, and the frames that it writes.
//!
//! A frame is its length, as a varint, and a protobuf message:
//! <https://github.com/libp2p/specs/blob/master/pubsub/gossipsub/gossipsub-v1.2.md#protobuf>.

mod decode;
mod frame;

pub use crate::pubsub::fields::Malformed;
pub use frame::FrameBuilder;

use super::id::MessageId;
use crate::pubsub::signed::SignedMessage;
use std::time::Duration;

/// The longest message, in its encoding: the frame with it alone has 1 MiB, which
/// is what Go's nodes take.
pub const MAX_MESSAGE: usize = (1 << 20) - 4;
/// The longest frame that is read, without its length: that of Go's nodes, and
/// some room.
pub const MAX_FRAME: usize = (1 << 20) + 1024;
/// The longest name of a topic, in bytes.
pub const MAX_TOPIC: usize = 1024;
/// The most ids that are taken of the IHAVEs of a frame, of its IWANTs, and of
/// its IDONTWANTs: what Go's nodes put in one IHAVE.
pub const MAX_IDS: usize = 5000;
/// The most subscriptions that are taken of a frame; also the most IHAVEs, GRAFTs
/// and PRUNEs, which have a topic each.
pub const MAX_TOPICS: usize = 1000;
/// The most messages that are taken of a frame: Go's nodes answer an IWANT in one
/// frame, whatever the number.
pub const MAX_MESSAGES: usize = MAX_IDS;
/// The longest back-off that is believed.
pub const MAX_BACKOFF: Duration = Duration::from_secs(24 * 3600);

/// What a frame says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpc {
    /// Topics joined and left, in order.
    pub subscriptions: Vec<Subscription>,
    /// Messages, whose signatures are still to be verified.
    pub messages: Vec<SignedMessage>,
    /// IHAVE: a topic and the messages that are at hand there. No list is empty.
    pub ihave: Vec<(String, Vec<MessageId>)>,
    /// IWANT: the messages that are asked for.
    pub iwant: Vec<MessageId>,
    /// GRAFT: the topics in whose mesh the peer takes this node.
    pub graft: Vec<String>,
    /// PRUNE: those in whose mesh it no longer is.
    pub prune: Vec<Prune>,
    /// IDONTWANT: the messages that need not be sent.
    pub idontwant: Vec<MessageId>,
    /// What was left out, by reason, and how many of it: `too-many` is what was
    /// above a count, `too-large` topics and messages that are too long,
    /// `malformed` topics that are missing or not UTF-8, `bad-id` ids that no
    /// message can have, and the reasons of
    /// [`SignedError::label`](crate::pubsub::signed::SignedError::label).
    pub refused: Vec<(&'static str, u32)>,
}

impl Rpc {
    /// Whether there is anything in it of which a heartbeat makes something. What is
    /// offered or not wanted is dealt with as it comes.
    pub(super) fn asks_for_something(&self) -> bool {
        let Self { subscriptions, iwant, graft, prune, .. } = self;
        !(subscriptions.is_empty() && iwant.is_empty() && graft.is_empty() && prune.is_empty())
    }
}

/// A topic joined or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Joined.
    pub subscribe: bool,
    /// The topic's name.
    pub topic: String,
}

/// A topic in whose mesh the peer no longer has this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// The topic's name.
    pub topic: String,
    /// For how long not to GRAFT the peer there, in seconds on the wire; at most
    /// [`MAX_BACKOFF`].
    pub backoff: Option<Duration>,
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
