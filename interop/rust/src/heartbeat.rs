//! Heartbeats, and the table of the newest one of each peer.

use crate::schema::cluster_capnp::heartbeat;
use anyhow::Result;
use capnp::{message, serialize_packed};
use libp2p::PeerId;
use serde_json::{Map, Value, json};
use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

/// The longest TTL of a heartbeat that says goodbye.
pub(crate) const LEAVE: Duration = Duration::from_millis(1);
const DEFAULT_TTL: Duration = Duration::from_secs(10);

/// What a peer says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) ttl: Duration,
    pub(crate) server: u64,
    pub(crate) host: String,
    pub(crate) meta: Vec<String>,
}

impl Heartbeat {
    /// The data of a pubsub message.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut message = message::Builder::new_default();
        let mut root = message.init_root::<heartbeat::Builder>();
        root.set_ttl(self.ttl.as_millis().try_into()?);
        root.set_server(self.server);
        root.set_host(&self.host);
        let mut meta = root.init_meta(self.meta.len().try_into()?);
        for (i, text) in (0..).zip(&self.meta) {
            meta.set(i, text);
        }
        let mut data = vec![];
        serialize_packed::write_message(&mut data, &message)?;
        Ok(data)
    }

    /// Reads the data of a pubsub message.
    pub(crate) fn decode(data: &[u8]) -> Result<Self> {
        let message = serialize_packed::read_message(data, message::ReaderOptions::new())?;
        let root = message.get_root::<heartbeat::Reader>()?;
        let ttl = match root.get_ttl() {
            0 => DEFAULT_TTL,
            ms => Duration::from_millis(ms.into()),
        };
        let meta = root.get_meta()?.iter().map(|text| Ok(text?.to_string()?));
        Ok(Self {
            ttl,
            server: root.get_server(),
            host: root.get_host()?.to_string()?,
            meta: meta.collect::<Result<_>>()?,
        })
    }
}

/// A heartbeat with who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) peer: PeerId,
    pub(crate) seq: u64,
    pub(crate) heartbeat: Heartbeat,
}

impl Record {
    /// The record in the JSON of the program `casm`.
    pub(crate) fn fields(&self) -> Value {
        let mut meta = Map::new();
        for text in &self.heartbeat.meta {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            meta.entry(key).or_insert_with(|| value.into());
        }
        json!({
            "peer": self.peer.to_string(), "server": format!("{:016x}", self.heartbeat.server),
            "seq": self.seq.to_string(), "ttl_ms": self.heartbeat.ttl.as_millis() as u64,
            "host": self.heartbeat.host, "meta": meta,
        })
    }
}

/// What a heartbeat did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Stale,
    Joined,
    Updated,
    Renewed,
}

/// The newest heartbeat of each peer; the higher sequence number counts.
#[derive(Default)]
pub(crate) struct Table(HashMap<PeerId, (Record, Instant)>);

impl Table {
    pub(crate) fn upsert(&mut self, record: Record, now: Instant) -> Change {
        let until = now + record.heartbeat.ttl;
        match self.0.entry(record.peer) {
            Entry::Vacant(entry) => {
                entry.insert((record, until));
                Change::Joined
            }
            Entry::Occupied(entry) if entry.get().0.seq >= record.seq => Change::Stale,
            Entry::Occupied(mut entry) => {
                let same = entry.get().0.heartbeat == record.heartbeat;
                entry.insert((record, until));
                if same { Change::Renewed } else { Change::Updated }
            }
        }
    }

    /// Takes out the records whose time has passed.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Record> {
        self.0.extract_if(|_, (_, until)| now > *until).map(|(_, (record, _))| record).collect()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.0.values().map(|(record, _)| record)
    }
}
