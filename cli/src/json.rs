//! The lines that `--json` prints: one object each. Scripts rely on their
//! names; numbers that can pass 2^53 are strings.

use casm::{
    Error, Event, Message, Multiaddr, PeerId, PeerInfo, Reachability, Record, Result,
    service::Reply,
};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Line {
    /// The node listens, again when its addresses change.
    Listening { peer: String, addrs: Vec<String> },
    /// Discovery found a peer.
    PeersFound { source: String, peer: String, addrs: Vec<String> },
    /// A peer came into the view.
    PeerJoined { record: RecordLine },
    /// A peer says something new of itself.
    PeerUpdated { record: RecordLine },
    /// A peer is no longer in the view.
    PeerLeft { peer: String, reason: String },
    /// The peer-exchange view holds other peers.
    ViewChanged { peers: Vec<String> },
    /// A peer is connected.
    Connected { peer: String },
    /// A peer is no longer connected.
    Disconnected { peer: String },
    /// A peer is connected over a relay alone.
    Relayed { peer: String },
    /// A peer that was connected over a relay is connected directly.
    Direct { peer: String },
    /// Whether others can reach the node, or where, is another.
    ReachabilityChanged { reachability: ReachabilityLine },
    /// The cluster view, whole.
    View { n: usize, records: Vec<RecordLine> },
    /// The clock differs from those of peers: how far theirs are ahead.
    ClockDiffers { offset_ms: i64, peers: Vec<String> },
    /// Another node uses this node's key: what that one says of itself.
    KeyShared { record: RecordLine },
    /// A message came on a topic.
    Message {
        topic: String,
        source: String,
        seq: String,
        #[serde(flatten)]
        said: Said,
    },
    /// So many messages were published, the last one to so many peers.
    Published { topic: String, messages: u64, peers: usize },
    /// A service's answer, or why there is none: as text if it is UTF-8, else as
    /// base64. Who gave it is told if more than one was asked.
    Reply {
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// What came along with it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        #[serde(flatten)]
        said: Said,
    },
    /// A part of a service's answer.
    Part {
        #[serde(flatten)]
        said: Said,
    },
    /// Why no more replies come: `all`, `limit` or `timeout`.
    Ended { reason: String },
    /// The services that there are.
    Services { services: Vec<ServiceLine> },
    /// Events were lost.
    Dropped { count: u64 },
    /// The command failed.
    Error { kind: String, message: String },
    /// How a demo ended. A time is null for a node that did not get there.
    Summary {
        nodes: usize,
        complete: bool,
        first_peer_ms: Vec<Option<u64>>,
        full_view_ms: Vec<Option<u64>>,
        first_answer_ms: Vec<Option<u64>>,
    },
    /// A boot packet that passed.
    Packet(PacketLine),
    /// Boot packets were sent: so many, of this kind.
    Sent { kind: String, packets: u64 },
    /// One finding of the doctor.
    Check { name: String, status: String, message: String, advice: Option<String> },
    /// An identity file.
    Key { path: String, peer: String, r#type: String },
    /// The file of a secret, and what tells it from others.
    Secret { path: String, fingerprint: String },
    /// What makes a peer a member.
    Certificate(CertificateLine),
    /// What takes a peer's certificates back.
    Revocation(RevocationLine),
}

/// Whether others can reach a node, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachabilityLine {
    /// `public`, `private` or `unknown`.
    pub reach: String,
    /// Where, the best first.
    pub addrs: Vec<ReachableLine>,
}

/// An address at which a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachableLine {
    /// The address, without `/p2p/…` of the node.
    pub addr: String,
    /// How that is known: `announced`, `mapped`, `dialled` or `relay`.
    pub found: String,
}

/// A certificate. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateLine {
    /// Whose it is.
    pub peer: String,
    /// Who signed it.
    pub ca: String,
    /// For which cluster.
    pub ns: String,
    /// What the peer may do.
    pub roles: Vec<String>,
    /// From when on it is valid.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
    /// When it was signed.
    pub issued: u64,
    /// What tells it from others, in hex.
    pub serial: String,
    /// `valid`, `not-yet-valid` or `expired`.
    pub state: String,
    /// What its file holds, where it was printed and not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A revocation. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationLine {
    /// Whose certificates it takes back.
    pub peer: String,
    /// Who signed it and them.
    pub ca: String,
    /// Those that were signed until then.
    pub at: u64,
    /// How long it is kept.
    pub until: u64,
    /// `valid`, `not-yet-valid` or `expired`.
    pub state: String,
    /// What its file holds, where it was printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Bytes, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// Bytes that are UTF-8.
    Text(String),
    /// Others.
    Base64(String),
    /// None.
    Error { kind: String, message: String },
}

impl Said {
    fn of(data: &[u8]) -> Self {
        match str::from_utf8(data) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64.encode(data)),
        }
    }
}

/// A service, and who serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLine {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The ids of those who serve it.
    pub peers: Vec<String>,
}

/// What a peer last said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLine {
    /// The peer's id, in base58.
    pub peer: String,
    /// The number of its instance, in 16 hex digits.
    pub server: String,
    /// The sequence number, in decimal.
    pub seq: String,
    /// How long the record is kept without a newer one, in milliseconds.
    pub ttl_ms: u64,
    /// The name of the peer's host.
    pub host: String,
    /// The fields that the peer describes itself with.
    pub meta: BTreeMap<String, String>,
    /// Where it is reached, the most useful address first, without `/p2p/…`.
    #[serde(default)]
    pub addrs: Vec<String>,
    /// The services that the peer offers, each with its version.
    #[serde(default)]
    pub services: BTreeMap<String, String>,
    /// The channels that are at the peer's place.
    #[serde(default)]
    pub channels: Vec<String>,
    /// The roles that are proven of the peer.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Whether the peer's signature was verified.
    pub verified: bool,
}

/// A boot packet, decoded as far as it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketLine {
    /// `request`, `survey`, `response` or `invalid`.
    pub kind: String,
    /// The address it came from.
    pub from: String,
    /// The number of its bytes.
    pub bytes: usize,
    /// What a node would make of it: the label of `casm_boot_received`.
    pub verdict: String,
    /// The peer that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The namespace it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns: Option<String>,
    /// A survey's distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<u8>,
    /// The nonce of a survey and of what answers it, in decimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// A response's addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addrs: Vec<String>,
}

impl Line {
    /// The line of an event; none for one that this program doesn't know.
    pub fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Listening { peer, addrs } => Self::listening(peer, addrs),
            Event::PeersFound { source, peer } => Self::found(source, peer),
            Event::PeerJoined { record } => Self::PeerJoined { record: record.into() },
            Event::PeerUpdated { record } => Self::PeerUpdated { record: record.into() },
            Event::PeerLeft { peer, reason } => {
                Self::PeerLeft { peer: peer.to_string(), reason: reason.name().into() }
            }
            Event::ViewChanged { peers } => Self::ViewChanged { peers: strings(peers) },
            Event::Connected { peer } => Self::Connected { peer: peer.to_string() },
            Event::Disconnected { peer } => Self::Disconnected { peer: peer.to_string() },
            Event::Relayed { peer } => Self::Relayed { peer: peer.to_string() },
            Event::Direct { peer } => Self::Direct { peer: peer.to_string() },
            Event::ReachabilityChanged { reachability } => {
                Self::ReachabilityChanged { reachability: reachability.into() }
            }
            Event::ClockDiffers { offset_ms, peers } => {
                Self::ClockDiffers { offset_ms: *offset_ms, peers: strings(peers) }
            }
            Event::KeyShared { record } => Self::KeyShared { record: record.into() },
            Event::Dropped { count } => Self::Dropped { count: *count },
            _ => return None,
        })
    }

    /// A message that came on a topic.
    pub fn message(topic: String, message: &Message) -> Self {
        let (source, seq) = (message.source().to_string(), message.seq().to_string());
        Self::Message { topic, source, seq, said: Said::of(message.data()) }
    }

    /// Where a node listens.
    pub fn listening(peer: &PeerId, addrs: &[Multiaddr]) -> Self {
        Self::Listening { peer: peer.to_string(), addrs: strings(addrs) }
    }

    /// A peer that discovery found; its addresses get its id, so that each can
    /// be given to `--boot`.
    pub fn found(source: &str, peer: &PeerInfo) -> Self {
        let whole = |a: &Multiaddr| a.clone().with_p2p(peer.id).unwrap_or_else(|a| a).to_string();
        Self::PeersFound {
            source: source.into(),
            peer: peer.id.to_string(),
            addrs: peer.addrs.iter().map(whole).collect(),
        }
    }

    /// The view.
    pub fn view(records: &[Record]) -> Self {
        Self::View { n: records.len(), records: records.iter().map(Into::into).collect() }
    }

    /// What a service answered.
    pub fn reply(peer: Option<&PeerId>, result: &Result<Reply>) -> Self {
        let (headers, said) = match result {
            Ok(reply) => (reply.headers.clone(), Said::of(&reply.data)),
            Err(error) => {
                let message = crate::failure::explain(error);
                (BTreeMap::new(), Said::Error { kind: error.kind().name().into(), message })
            }
        };
        Self::Reply { peer: peer.map(|peer| peer.to_base58()), headers, said }
    }

    /// A part of what a service answered.
    pub fn part(data: &[u8]) -> Self {
        Self::Part { said: Said::of(data) }
    }

    /// What went wrong.
    pub fn error(error: &Error) -> Self {
        Self::Error { kind: error.kind().name().into(), message: crate::failure::explain(error) }
    }
}

impl From<&Reachability> for ReachabilityLine {
    fn from(known: &Reachability) -> Self {
        let addrs = known.addrs.iter().map(|known| ReachableLine {
            addr: known.addr.to_string(),
            found: known.found.name().into(),
        });
        Self { reach: known.reach.name().into(), addrs: addrs.collect() }
    }
}

impl From<&Record> for RecordLine {
    fn from(record: &Record) -> Self {
        Self {
            peer: record.peer().to_string(),
            server: format!("{:016x}", record.server()),
            seq: record.seq().to_string(),
            ttl_ms: u64::try_from(record.ttl().as_millis()).unwrap_or(u64::MAX),
            host: record.host().into(),
            meta: record.meta().iter().map(owned).collect(),
            addrs: strings(&record.addrs()),
            services: record.services().map(owned).collect(),
            channels: record.channels().map(str::to_owned).collect(),
            roles: record.roles().map(str::to_owned).collect(),
            verified: record.verified(),
        }
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn strings(of: &[impl ToString]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use casm::{LeaveReason, ReachableAddr};
    use serde_json::json;

    fn shown(event: &Event) -> serde_json::Value {
        serde_json::to_value(Line::of(event).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_has_its_headers_if_there_are_any() {
        let reply = |headers| Line::reply(None, &Ok(Reply { data: b"x".to_vec(), headers }));
        let shown = |line| serde_json::to_value(line).unwrap();
        assert_eq!(shown(reply([].into())), json!({"event": "reply", "text": "x"}));
        let headers = [("k".to_owned(), "v\u{1b}".to_owned())].into();
        let wanted = json!({"event": "reply", "text": "x", "headers": {"k": "v\u{1b}"}});
        assert_eq!(shown(reply(headers)), wanted);
    }

    #[test]
    fn events_have_the_names_that_scripts_rely_on() {
        let id = PeerId::random();
        let addr: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let whole = format!("{addr}/p2p/{id}");
        let peer = id.to_string();
        let at = "/ip4/9.9.9.9/tcp/1";
        assert_eq!(
            shown(&Event::Listening { peer: id, addrs: vec![whole.parse().unwrap()] }),
            json!({"event": "listening", "peer": peer, "addrs": [whole]})
        );
        assert_eq!(
            shown(&Event::PeersFound {
                source: "auto".into(),
                peer: PeerInfo { id, addrs: vec![addr] }
            }),
            json!({"event": "peers-found", "source": "auto", "peer": peer, "addrs": [whole]})
        );
        for (reason, name) in [(LeaveReason::Expired, "expired"), (LeaveReason::Failed, "failed")] {
            assert_eq!(
                shown(&Event::PeerLeft { peer: id, reason }),
                json!({"event": "peer-left", "peer": peer, "reason": name})
            );
        }
        assert_eq!(
            shown(&Event::ViewChanged { peers: vec![id] }),
            json!({"event": "view-changed", "peers": [peer]})
        );
        assert_eq!(
            shown(&Event::Disconnected { peer: id }),
            json!({"event": "disconnected", "peer": peer})
        );
        assert_eq!(
            shown(&Event::ClockDiffers { offset_ms: -660_000, peers: vec![id] }),
            json!({"event": "clock-differs", "offset_ms": -660_000, "peers": [peer]})
        );
        assert_eq!(shown(&Event::Relayed { peer: id }), json!({"event": "relayed", "peer": peer}));
        assert_eq!(shown(&Event::Direct { peer: id }), json!({"event": "direct", "peer": peer}));
        let addr = ReachableAddr { addr: at.parse().unwrap(), found: casm::Found::Relay };
        let reachability = Reachability { reach: casm::Reach::Private, addrs: vec![addr] };
        assert_eq!(
            shown(&Event::ReachabilityChanged { reachability }),
            json!({"event": "reachability-changed", "reachability": {
                "reach": "private", "addrs": [{"addr": at, "found": "relay"}]}})
        );
        assert_eq!(shown(&Event::Dropped { count: 3 }), json!({"event": "dropped", "count": 3}));
        assert_eq!(
            serde_json::to_value(Line::error(&Error::closed("node"))).unwrap(),
            json!({"event": "error", "kind": "Closed", "message": "the node is closed"})
        );
        assert_eq!(
            serde_json::to_value(Line::view(&[])).unwrap(),
            json!({"event": "view", "n": 0, "records": []})
        );
    }

    #[test]
    fn large_numbers_of_a_record_are_strings() {
        let record = RecordLine {
            peer: "p".into(),
            server: format!("{:016x}", 10),
            seq: u64::MAX.to_string(),
            ttl_ms: 10_000,
            host: "h".into(),
            meta: [("role".to_owned(), "worker".to_owned())].into(),
            addrs: vec!["/ip4/10.0.0.1/tcp/1".into()],
            services: [("resize".to_owned(), "2".to_owned())].into(),
            channels: vec!["jobs".to_owned()],
            roles: vec!["admin".to_owned(), "worker".to_owned()],
            verified: true,
        };
        assert_eq!(
            serde_json::to_value(Line::PeerJoined { record }).unwrap(),
            json!({"event": "peer-joined", "record": {
                "peer": "p", "server": "000000000000000a", "seq": "18446744073709551615",
                "ttl_ms": 10000, "host": "h", "meta": {"role": "worker"},
                "addrs": ["/ip4/10.0.0.1/tcp/1"], "services": {"resize": "2"},
                "channels": ["jobs"], "roles": ["admin", "worker"], "verified": true}})
        );
    }
}
