//! CASM, cluster assembly: programs find each other on a network, stay
//! connected, and share a live, queryable picture of who is there, with no
//! server.
//!
//! Three things hold everywhere in this crate: membership is dynamic; queries
//! are local and may be stale; what comes from the network is signed and
//! validated before anyone sees it.

pub mod admit;
mod announce;
mod ask;
pub mod boot;
mod bus;
mod cache;
mod clocks;
pub mod cluster;
pub mod config;
pub mod csp;
mod deadline;
mod dials;
pub mod error;
pub mod event;
#[doc(hidden)]
pub mod follow;
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod gossip;
mod host;
pub mod identity;
#[doc(hidden)]
pub mod iface;
mod life;
#[doc(hidden)]
pub mod logs;
mod members;
pub mod metrics;
mod name;
pub mod namespace;
pub mod nat;
mod node;
mod pace;
pub mod pex;
mod power;
mod prefix;
#[doc(hidden)]
pub mod process;
mod pubsub;
pub mod record;
pub mod rpc;
mod schema;
mod scope;
pub mod secret;
pub mod service;
mod spare;
mod spent;
pub mod streams;
mod target;
mod thread;
pub mod topics;
mod trouble;
#[cfg(test)]
mod vectors;
mod who;

/// Cap'n Proto, in the version whose types stand in [`rpc`].
pub use capnp;
/// Cap'n Proto RPC, in the version whose types stand in [`rpc`].
pub use capnp_rpc;
pub use cluster::{
    Change, Field, Index, LiveQuery, Meta, Query, Record, RemoteRecords, RemoteView, Select, View,
};
pub use config::{Config, Pace, Power};
pub use csp::{Branch, Channel, ChannelOptions, Job, Lease, Semaphore, select};
pub use deadline::DEFAULT_TIMEOUT;
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Events, LeaveReason};
#[doc(hidden)]
pub use gossip::mesh;
pub use host::{Direction, PeerStatus};
pub use host::{ensure_free, slots};
/// libp2p, in the version whose types stand in this crate's API.
pub use libp2p;
pub use libp2p::{Multiaddr, PeerId, identity::Keypair};
#[doc(hidden)]
pub use members::jobs;
pub use namespace::Namespace;
pub use nat::{Found, Reach, Reachability, ReachableAddr, RelayLimits};
pub use node::{Node, NodeBuilder};
pub use record::PeerInfo;
pub use secret::Secret;
pub use streams::ByteStream;
pub use target::Target;
pub use thread::NodeThread;
pub use topics::{Message, Messages, Topic, TopicOptions};

/// The code in README.md, compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The code in docs/lifecycle-and-power.md, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/lifecycle-and-power.md")]
struct Lifecycle;

/// The code in docs/large-clusters.md, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/large-clusters.md")]
struct LargeClusters;

/// The code in docs/allow-and-deny.md, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/allow-and-deny.md")]
struct AllowAndDeny;

/// The code in docs/streams.md, compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/streams.md")]
struct Streams;
