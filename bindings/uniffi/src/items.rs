//! Records, events and changes, as values.

use crate::reach::Reachability;
use std::collections::HashMap;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Record {
    /// The node's peer id.
    pub peer: String,
    /// The number of its server, which follows from its id.
    pub server: u64,
    /// The number of this record; later ones have higher numbers.
    pub seq: u64,
    /// Seconds for which it holds without a later one.
    pub ttl: f64,
    /// The name of its host.
    pub host: String,
    /// What else it says.
    pub meta: HashMap<String, String>,
    /// Where it is reached, the most useful multiaddr first, without `/p2p/<id>`.
    pub addrs: Vec<String>,
    /// The services that it offers, each with its version.
    pub services: HashMap<String, String>,
    /// The channels that are at its place.
    pub channels: Vec<String>,
    /// The roles that are proven of it, as its certificate has them.
    pub roles: Vec<String>,
    /// Whether its signature was verified; false only for records of another
    /// node's view that that node cannot prove.
    pub verified: bool,
}

/// A peer, and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PeerInfo {
    /// Its id.
    pub id: String,
    /// Its multiaddrs, without the final `/p2p/<id>`.
    pub addrs: Vec<String>,
}

/// What is known of a connected peer.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct PeerStatus {
    /// Its id.
    pub peer: String,
    /// The other end of each connection, the oldest first.
    pub addrs: Vec<String>,
    /// Who made the oldest: `inbound` or `outbound`.
    pub direction: String,
    /// How many seconds the answer to the last ping took; none before the first
    /// one.
    pub round_trip: Option<f64>,
    /// The program that it says it is; none until it has said so.
    pub agent: Option<String>,
}

impl From<casm_bindings::PeerStatus> for PeerStatus {
    fn from(status: casm_bindings::PeerStatus) -> Self {
        Self {
            peer: status.peer.to_base58(),
            addrs: status.addrs.iter().map(ToString::to_string).collect(),
            direction: status.direction.name().into(),
            round_trip: status.round_trip.map(|time| time.as_secs_f64()),
            agent: status.agent,
        }
    }
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Message {
    /// The peer id of who published it: the signature is this peer's.
    pub source: String,
    /// Its number: no other message of this source has it. Numbers have gaps.
    pub seq: u64,
    /// What was published.
    pub data: Vec<u8>,
}

/// What one of those that were asked said: `data` or `error` is there.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PeerReply {
    /// The id of who was asked.
    pub peer: String,
    /// Its answer.
    pub data: Option<Vec<u8>>,
    /// What came along with the answer.
    pub headers: HashMap<String, String>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// The kind of that error, as `CasmError` has it: `Busy`, `Remote`.
    pub error_kind: Option<String>,
}

/// A peer that discovery found.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PeerFound {
    /// The boot address that led to it.
    pub source: String,
    /// The peer.
    pub peer: PeerInfo,
}

/// Why a peer is no longer in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LeaveReason {
    /// It said goodbye.
    Left,
    /// Nothing was heard from it for too long.
    Expired,
    /// Peers that were connected to it say that it answers no more.
    Failed,
}

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Event {
    /// The node listens at these addresses, each with its `/p2p/<id>`. Comes
    /// again when they change.
    Listening {
        /// The node's own id.
        peer: String,
        /// All addresses at which it can be reached.
        addrs: Vec<String>,
    },
    /// A peer came into the cluster view.
    PeerJoined {
        /// What it says of itself.
        record: Record,
    },
    /// A peer said something new of itself. Another TTL alone is no news.
    PeerUpdated {
        /// What it says now.
        record: Record,
    },
    /// A peer is no longer in the cluster view.
    PeerLeft {
        /// Its id.
        peer: String,
        /// Why.
        reason: LeaveReason,
    },
    /// Discovery found a peer.
    PeersFound {
        /// The boot address that led to it.
        source: String,
        /// The peer.
        peer: PeerInfo,
    },
    /// The peer-exchange view holds other peers than before.
    ViewChanged {
        /// The ids of those it holds now.
        peers: Vec<String>,
    },
    /// The first connection to a peer was made.
    Connected {
        /// Its id.
        peer: String,
    },
    /// The last connection to a peer was closed.
    Disconnected {
        /// Its id.
        peer: String,
    },
    /// A peer is connected over a relay alone.
    Relayed {
        /// Its id.
        peer: String,
    },
    /// A peer that was connected over a relay is connected directly.
    Direct {
        /// Its id.
        peer: String,
    },
    /// Whether others can reach this node, or where, is another than it was.
    ReachabilityChanged {
        /// What is known now.
        reachability: Reachability,
    },
    /// This node's clock and those of its peers differ by more than a minute.
    ClockDiffers {
        /// How many seconds the peers' clocks are ahead, as the median; negative
        /// if this node's is ahead.
        offset: f64,
        /// The ids of the peers whose clocks were compared, one of each network.
        /// If it is one alone, either clock may be wrong.
        peers: Vec<String>,
    },
    /// Another node that runs now uses this node's key: its machine or its data is
    /// a copy. Comes once, at both. Give each node a key of its own.
    KeyShared {
        /// What the other node says of itself, under the same id.
        record: Record,
    },
    /// The listener was too slow: the oldest events were dropped.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// What happens to the records that a query finds.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Change {
    /// A record that was found when the query began. All of these come first.
    Current {
        /// The record.
        record: Record,
    },
    /// A record that is found from now on.
    Joined {
        /// The record.
        record: Record,
    },
    /// A record that is still found, and says something new.
    Updated {
        /// The record.
        record: Record,
    },
    /// A record that is found no more, as it was last.
    Left {
        /// The record.
        record: Record,
    },
    /// The listener was too slow: the oldest changes are lost, and the whole
    /// picture comes again.
    Dropped {
        /// How many.
        count: u64,
    },
}

impl From<casm_bindings::Record> for Record {
    fn from(record: casm_bindings::Record) -> Self {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Self {
            peer: record.peer_text().to_owned(),
            server: record.server(),
            seq: record.seq(),
            ttl: record.ttl().as_secs_f64(),
            host: record.host().to_owned(),
            meta: record.meta().iter().map(owned).collect(),
            addrs: record.addrs().iter().map(ToString::to_string).collect(),
            services: record.services().map(owned).collect(),
            channels: record.channels().map(str::to_owned).collect(),
            roles: record.roles().map(str::to_owned).collect(),
            verified: record.verified(),
        }
    }
}

impl From<casm_bindings::PeerInfo> for PeerInfo {
    fn from(peer: casm_bindings::PeerInfo) -> Self {
        let addrs = peer.addrs.iter().map(ToString::to_string).collect();
        Self { id: peer.id.to_base58(), addrs }
    }
}

/// What comes from a source of the facade; nothing, if this version doesn't
/// know it.
pub(crate) trait Item<T>: Sized {
    fn of(given: T) -> Option<Self>;
}

impl Item<casm_bindings::Record> for Record {
    fn of(given: casm_bindings::Record) -> Option<Self> {
        Some(given.into())
    }
}

impl Item<casm_bindings::Message> for Message {
    fn of(given: casm_bindings::Message) -> Option<Self> {
        let source = given.source().to_base58();
        Some(Self { source, seq: given.seq(), data: given.data().to_vec() })
    }
}

impl Item<casm_bindings::PeerReply> for PeerReply {
    fn of(given: casm_bindings::PeerReply) -> Option<Self> {
        let peer = given.peer.to_base58();
        Some(match given.result {
            Ok(reply) => Self {
                peer,
                data: Some(reply.data),
                headers: reply.headers.into_iter().collect(),
                error: None,
                error_kind: None,
            },
            Err(error) => Self {
                peer,
                data: None,
                headers: HashMap::new(),
                error: Some(error.message().to_owned()),
                error_kind: Some(error.kind().name().to_owned()),
            },
        })
    }
}

impl Item<casm_bindings::Found> for PeerFound {
    fn of(given: casm_bindings::Found) -> Option<Self> {
        Some(Self { source: given.source, peer: given.peer.into() })
    }
}

impl Item<casm_bindings::Event> for Event {
    fn of(given: casm_bindings::Event) -> Option<Self> {
        use casm_bindings::Event as Given;
        Some(match given {
            Given::Listening { peer, addrs } => Self::Listening {
                peer: peer.to_base58(),
                addrs: addrs.iter().map(ToString::to_string).collect(),
            },
            Given::PeerJoined { record } => Self::PeerJoined { record: record.into() },
            Given::PeerUpdated { record } => Self::PeerUpdated { record: record.into() },
            Given::PeerLeft { peer, reason } => {
                let reason = match reason {
                    casm_bindings::LeaveReason::Left => LeaveReason::Left,
                    casm_bindings::LeaveReason::Expired => LeaveReason::Expired,
                    casm_bindings::LeaveReason::Failed => LeaveReason::Failed,
                    _ => return None,
                };
                Self::PeerLeft { peer: peer.to_base58(), reason }
            }
            Given::PeersFound { source, peer } => Self::PeersFound { source, peer: peer.into() },
            Given::ViewChanged { peers } => {
                Self::ViewChanged { peers: peers.iter().map(|peer| peer.to_base58()).collect() }
            }
            Given::Connected { peer } => Self::Connected { peer: peer.to_base58() },
            Given::Disconnected { peer } => Self::Disconnected { peer: peer.to_base58() },
            Given::Relayed { peer } => Self::Relayed { peer: peer.to_base58() },
            Given::Direct { peer } => Self::Direct { peer: peer.to_base58() },
            Given::ReachabilityChanged { reachability } => {
                Self::ReachabilityChanged { reachability: reachability.into() }
            }
            Given::ClockDiffers { offset_ms, peers } => Self::ClockDiffers {
                offset: offset_ms as f64 / 1000.0,
                peers: peers.iter().map(|peer| peer.to_base58()).collect(),
            },
            Given::KeyShared { record } => Self::KeyShared { record: record.into() },
            Given::Dropped { count } => Self::Dropped { count },
            _ => return None,
        })
    }
}

impl Item<casm_bindings::Change> for Change {
    fn of(given: casm_bindings::Change) -> Option<Self> {
        use casm_bindings::Change as Given;
        Some(match given {
            Given::Current(record) => Self::Current { record: record.into() },
            Given::Joined(record) => Self::Joined { record: record.into() },
            Given::Updated(record) => Self::Updated { record: record.into() },
            Given::Left(record) => Self::Left { record: record.into() },
            Given::Dropped { count } => Self::Dropped { count },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_peer_has_left_reaches_swift_and_kotlin() {
        use casm_bindings::LeaveReason as Given;
        let peer = casm_bindings::Keypair::generate_ed25519().public().to_peer_id();
        for (given, reason) in [
            (Given::Left, LeaveReason::Left),
            (Given::Expired, LeaveReason::Expired),
            (Given::Failed, LeaveReason::Failed),
        ] {
            let event = Event::of(casm_bindings::Event::PeerLeft { peer, reason: given });
            assert_eq!(event, Some(Event::PeerLeft { peer: peer.to_base58(), reason }));
        }
    }
}
