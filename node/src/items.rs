//! What streams, on its way to JavaScript: a batch at a time.

use crate::{errors::Fault, reach::Reachability, records::Records};
use casm_bindings::{Change, Event, Found, Message, Part, PeerId, PeerInfo, PeerReply, Record};
use napi::bindgen_prelude::{BigUint64Array, Uint8Array, Uint32Array};
use napi_derive::napi;
use std::collections::BTreeMap;

/// The names of the kinds of items; an item's kind is a place in this list.
const KINDS: [&str; 24] = [
    "listening",
    "peer:joined",
    "peer:updated",
    "peer:left",
    "peers:found",
    "view:changed",
    "connected",
    "disconnected",
    "relayed",
    "direct",
    "reachability:changed",
    "clock:differs",
    "key:shared",
    "dropped",
    "current",
    "joined",
    "updated",
    "left",
    "changes:dropped",
    "found",
    "record",
    "message",
    "reply",
    "part",
];

/// The names of the kinds of items, each at the place of its number.
#[napi]
pub fn kinds() -> Vec<&'static str> {
    KINDS.to_vec()
}

/// A batch: the kind of each item, and what the items hold. An item is a record,
/// the next one of `records`, of `messages`, or of `others`.
#[napi(object, object_from_js = false)]
pub struct Items {
    pub kinds: Uint8Array,
    pub records: Records,
    pub others: Vec<Other>,
    pub messages: Option<Messages>,
}

/// Messages of topics: the bytes of all lie behind each other, and each ends at its
/// place in `ends`. Who published it is a place in `names`.
#[napi(object, object_from_js = false)]
pub struct Messages {
    pub names: Vec<String>,
    pub sources: Uint32Array,
    pub seqs: BigUint64Array,
    pub ends: Uint32Array,
    pub data: Uint8Array,
}

impl Messages {
    /// A batch is bounded, and with it all lengths.
    fn of(messages: &[Message]) -> Self {
        let (mut peers, mut sources) = (Vec::new(), Vec::new());
        let mut data = Vec::with_capacity(messages.iter().map(|m| m.data().len()).sum());
        let mut ends = Vec::with_capacity(messages.len());
        for message in messages {
            let source = message.source();
            let known = peers.iter().rposition(|peer| *peer == source);
            let at = known.unwrap_or_else(|| {
                peers.push(source);
                peers.len() - 1
            });
            sources.push(at as u32);
            data.extend_from_slice(message.data());
            ends.push(data.len() as u32);
        }
        let names = peers.iter().map(|peer| peer.to_base58()).collect();
        let seqs: Vec<u64> = messages.iter().map(Message::seq).collect();
        let (sources, seqs, ends) = (sources.into(), seqs.into(), ends.into());
        Self { names, sources, seqs, ends, data: data.into() }
    }
}

/// An item that is not about a record.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct Other {
    pub peer: Option<String>,
    pub addrs: Option<Vec<String>>,
    pub reason: Option<&'static str>,
    pub source: Option<String>,
    pub peers: Option<Vec<String>>,
    pub count: Option<f64>,
    pub offset: Option<f64>,
    pub reachability: Option<Reachability>,
    pub data: Option<Uint8Array>,
    pub headers: Option<BTreeMap<String, String>>,
    pub fault: Option<Fault>,
}

/// A batch that grows.
#[derive(Default)]
pub(crate) struct Builder {
    kinds: Vec<u8>,
    records: Vec<Record>,
    others: Vec<Other>,
    messages: Vec<Message>,
}

impl Builder {
    fn record(&mut self, kind: u8, record: Record) {
        self.kinds.push(kind);
        self.records.push(record);
    }

    fn other(&mut self, kind: u8, other: Other) {
        self.kinds.push(kind);
        self.others.push(other);
    }

    pub(crate) fn of<T: Item>(items: impl IntoIterator<Item = T>) -> Self {
        let mut builder = Self::default();
        items.into_iter().for_each(|item| item.put(&mut builder));
        builder
    }

    pub(crate) fn build(self) -> Items {
        Items {
            kinds: self.kinds.into(),
            records: Records::from(self.records),
            others: self.others,
            messages: (!self.messages.is_empty()).then(|| Messages::of(&self.messages)),
        }
    }
}

/// Something that streams.
pub(crate) trait Item: Send + 'static {
    /// Appends it to a batch; not, if this version doesn't know it.
    fn put(self, batch: &mut Builder);
}

impl Item for Event {
    fn put(self, batch: &mut Builder) {
        match self {
            Self::Listening { peer, addrs } => {
                let addrs = Some(addrs.iter().map(ToString::to_string).collect());
                batch.other(0, Other { addrs, ..about(&peer) });
            }
            Self::PeerJoined { record } => batch.record(1, record),
            Self::PeerUpdated { record } => batch.record(2, record),
            Self::PeerLeft { peer, reason } => {
                batch.other(3, Other { reason: Some(reason.name()), ..about(&peer) });
            }
            Self::PeersFound { source, peer } => batch.other(4, found(source, &peer)),
            Self::ViewChanged { peers } => {
                let peers = Some(peers.iter().map(|peer| peer.to_base58()).collect());
                batch.other(5, Other { peers, ..Other::default() });
            }
            Self::Connected { peer } => batch.other(6, about(&peer)),
            Self::Disconnected { peer } => batch.other(7, about(&peer)),
            Self::Relayed { peer } => batch.other(8, about(&peer)),
            Self::Direct { peer } => batch.other(9, about(&peer)),
            Self::ReachabilityChanged { reachability } => {
                let reachability = Some(reachability.into());
                batch.other(10, Other { reachability, ..Other::default() });
            }
            Self::ClockDiffers { offset_ms, peers } => {
                let peers = Some(peers.iter().map(|peer| peer.to_base58()).collect());
                let offset = Some(offset_ms as f64);
                batch.other(11, Other { offset, peers, ..Other::default() });
            }
            Self::KeyShared { record } => batch.record(12, record),
            Self::Dropped { count } => batch.other(13, counted(count)),
            _ => {}
        }
    }
}

impl Item for Change {
    fn put(self, batch: &mut Builder) {
        match self {
            Self::Current(record) => batch.record(14, record),
            Self::Joined(record) => batch.record(15, record),
            Self::Updated(record) => batch.record(16, record),
            Self::Left(record) => batch.record(17, record),
            Self::Dropped { count } => batch.other(18, counted(count)),
            _ => {}
        }
    }
}

impl Item for Found {
    fn put(self, batch: &mut Builder) {
        batch.other(19, found(self.source, &self.peer));
    }
}

impl Item for Record {
    fn put(self, batch: &mut Builder) {
        batch.record(20, self);
    }
}

impl Item for Message {
    fn put(self, batch: &mut Builder) {
        batch.kinds.push(21);
        batch.messages.push(self);
    }
}

impl Item for PeerReply {
    fn put(self, batch: &mut Builder) {
        let other = match self.result {
            Ok(reply) => Other {
                data: Some(reply.data.into()),
                headers: Some(reply.headers),
                ..about(&self.peer)
            },
            Err(error) => Other { fault: Some(error.into()), ..about(&self.peer) },
        };
        batch.other(22, other);
    }
}

impl Item for Part {
    fn put(self, batch: &mut Builder) {
        batch.other(23, Other { data: Some(self.0.into()), ..Other::default() });
    }
}

fn about(peer: &PeerId) -> Other {
    Other { peer: Some(peer.to_base58()), ..Other::default() }
}

fn found(source: String, peer: &PeerInfo) -> Other {
    let addrs = Some(peer.addrs.iter().map(ToString::to_string).collect());
    Other { source: Some(source), addrs, ..about(&peer.id) }
}

/// Far fewer than 2^53 items are ever lost.
fn counted(count: u64) -> Other {
    Other { count: Some(count as f64), ..Other::default() }
}
