//! Gossip: what is published on a topic reaches everybody who has joined it,
//! over the protocol of gossipsub
//! (<https://github.com/libp2p/specs/tree/master/pubsub/gossipsub>, 1.0 to 1.2).
//!
//! - `id`: what a message is known by
//! - `wire/`: what is read from a stream, and the frames that are written
//! - `engine/`: the protocol, pure: inputs and the time in, outputs out; `mesh`:
//!   how it keeps its links
//! - `pool`: the threads that check signatures
//! - `behaviour`: the engine on a swarm; `links`: the connection that it uses with
//!   a peer; `handler`: what it is to one connection; `stream`: frames on a stream
//! - `refused`: who is not taken back

mod behaviour;
pub mod engine;
mod handler;
pub mod id;
mod links;
pub mod mesh;
mod pool;
mod refused;
mod stream;
pub mod wire;

pub(crate) use behaviour::{Behaviour as Gossip, Event};
pub(crate) use engine::WINDOW;
pub(crate) use refused::Refused;

pub use crate::pubsub::{
    Verdict,
    keys::Keys,
    signed::{SignedError, SignedMessage},
};
