//! What streams, on its way to JavaScript: a batch at a time.

use crate::{errors::Fault, records::Records};
use casm_bindings::{Change, Event, Found, Part, PeerId, PeerInfo, PeerReply, Record};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use std::collections::BTreeMap;

/// The names of the kinds of items; an item's kind is a place in this list.
const KINDS: [&str; 20] = [
    "listening",
    "peer:joined",
    "peer:updated",
    "peer:left",
    "peers:found",
    "view:changed",
    "connected",
    "disconnected",
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
    "reply",
    "part",
];

/// The names of the kinds of items, each at the place of its number.
#[napi]
pub fn kinds() -> Vec<&'static str> {
    KINDS.to_vec()
}

/// A batch: the kind of each item, and what the items hold. An item is a record,
/// the next one of `records`, or the next one of `others`.
#[napi(object, object_from_js = false)]
pub struct Items {
    pub kinds: Uint8Array,
    pub records: Records,
    pub others: Vec<Other>,
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
            Self::ClockDiffers { offset_ms, peers } => {
                let peers = Some(peers.iter().map(|peer| peer.to_base58()).collect());
                let offset = Some(offset_ms as f64);
                batch.other(8, Other { offset, peers, ..Other::default() });
            }
            Self::KeyShared { record } => batch.record(9, record),
            Self::Dropped { count } => batch.other(10, counted(count)),
            _ => {}
        }
    }
}

impl Item for Change {
    fn put(self, batch: &mut Builder) {
        match self {
            Self::Current(record) => batch.record(11, record),
            Self::Joined(record) => batch.record(12, record),
            Self::Updated(record) => batch.record(13, record),
            Self::Left(record) => batch.record(14, record),
            Self::Dropped { count } => batch.other(15, counted(count)),
            _ => {}
        }
    }
}

impl Item for Found {
    fn put(self, batch: &mut Builder) {
        batch.other(16, found(self.source, &self.peer));
    }
}

impl Item for Record {
    fn put(self, batch: &mut Builder) {
        batch.record(17, self);
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
        batch.other(18, other);
    }
}

impl Item for Part {
    fn put(self, batch: &mut Builder) {
        batch.other(19, Other { data: Some(self.0.into()), ..Other::default() });
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
