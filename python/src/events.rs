//! What happens to a node, and to the records of a query.

use crate::{
    config::PeerInfo, reach::Reachability, service::PeerReply, topic::Message, view::Record,
};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyTuple},
};

/// Something that happened to a node. Each kind is a class of its own.
#[pyclass(frozen, subclass, module = "casm")]
pub(crate) struct Event;

#[pymethods]
impl Event {
    /// The event's name, as on the command line.
    #[classattr]
    fn name() -> &'static str {
        "event"
    }
}

/// A class for one kind of event: its fields to read, match, compare and show.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $label:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty),+ })+) => {$(
        $(#[$doc])*
        #[pyclass(frozen, extends = Event, module = "casm", get_all)]
        pub(crate) struct $name { $($(#[$field_doc])* $field: $type),+ }

        #[pymethods]
        impl $name {
            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, [$(stringify!($field)),+])
            }

            /// The event's name, as on the command line.
            #[classattr]
            fn name() -> &'static str {
                $label
            }

            fn __repr__(this: &Bound<'_, Self>) -> PyResult<String> {
                let fields = [$(format!("{}={}", stringify!($field), this.getattr(stringify!($field))?.repr()?)),+];
                Ok(format!("{}({})", stringify!($name), fields.join(", ")))
            }
        }

        impl $name {
            fn make(py: Python<'_>, $($field: $type),+) -> PyResult<Py<PyAny>> {
                let event = PyClassInitializer::from(Event).add_subclass(Self { $($field),+ });
                Ok(Py::new(py, event)?.into_any())
            }
        }
    )+};
}

events! {
    /// The node listens at these addresses. Comes again when they change.
    Listening = "listening" {
        /// The node's own id.
        peer: String,
        /// All its addresses, each with its ``/p2p/<id>``.
        addrs: Vec<String>
    }
    /// A peer came into the view.
    PeerJoined = "peer-joined" {
        /// What it says of itself.
        record: Py<Record>
    }
    /// A peer says something new of itself. Another TTL alone is no news.
    PeerUpdated = "peer-updated" {
        /// What it says of itself now.
        record: Py<Record>
    }
    /// A peer is no longer in the view.
    PeerLeft = "peer-left" {
        /// The peer's id.
        peer: String,
        /// ``left`` if it said goodbye, ``expired`` if it was not heard of, ``failed``
        /// if peers that were connected to it say that it answers no more.
        reason: &'static str
    }
    /// Discovery found a peer.
    PeersFound = "peers-found" {
        /// The boot address that led to it.
        source: String,
        /// The peer.
        peer: Py<PeerInfo>
    }
    /// The peer-exchange view holds other peers than before.
    ViewChanged = "view-changed" {
        /// Their ids.
        peers: Vec<String>
    }
    /// The first connection to a peer was made.
    Connected = "connected" {
        /// The peer's id.
        peer: String
    }
    /// The last connection to a peer was closed.
    Disconnected = "disconnected" {
        /// The peer's id.
        peer: String
    }
    /// A peer is connected over a relay alone.
    Relayed = "relayed" {
        /// The peer's id.
        peer: String
    }
    /// A peer that was connected over a relay is connected directly.
    Direct = "direct" {
        /// The peer's id.
        peer: String
    }
    /// Whether others can reach this node, or where, is another than it was.
    ReachabilityChanged = "reachability-changed" {
        /// What is known now.
        reachability: Py<Reachability>
    }
    /// This node's clock and those of its peers differ by more than a minute.
    ClockDiffers = "clock-differs" {
        /// How many seconds the peers' clocks are ahead, as the median; negative
        /// if this node's is ahead.
        offset: f64,
        /// The ids of the peers whose clocks were compared, one of each network.
        /// If it is one alone, either clock may be wrong.
        peers: Vec<String>
    }
    /// Another node that runs now uses this node's key: its machine or its data is
    /// a copy. Comes once, at both. Give each node a key of its own.
    KeyShared = "key-shared" {
        /// What the other node says of itself, under the same id.
        record: Py<Record>
    }
    /// The listener was too slow: the oldest events were dropped.
    Dropped = "dropped" {
        /// How many.
        count: u64
    }
}

/// A peer that a search found.
#[pyclass(frozen, module = "casm", get_all)]
pub(crate) struct Found {
    /// The boot address that led to it.
    source: String,
    /// The peer.
    peer: Py<PeerInfo>,
}

#[pymethods]
impl Found {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("source", "peer")
    }

    fn __repr__(&self) -> String {
        format!("Found(source={:?}, peer={:?})", self.source, self.peer.get().id())
    }
}

/// What happened to the records that a query finds.
#[pyclass(frozen, module = "casm", get_all)]
pub(crate) struct Change {
    /// ``current`` (was there when the query began), ``joined``, ``updated``,
    /// ``left`` or ``dropped``.
    kind: &'static str,
    /// The record; None if ``dropped``.
    record: Option<Py<Record>>,
    /// How many changes were lost, if ``dropped``: what is found now comes
    /// again as ``current``.
    count: u64,
}

#[pymethods]
impl Change {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("kind", "record", "count")
    }

    fn __repr__(&self) -> String {
        match &self.record {
            Some(record) => format!("Change({:?}, {})", self.kind, record.get().text()),
            None => format!("Change({:?}, count={})", self.kind, self.count),
        }
    }
}

/// Something that streams.
pub(crate) enum Item {
    Event(casm_bindings::Event),
    Change(casm_bindings::Change),
    Found(casm_bindings::Found),
    Record(casm_bindings::Record),
    Message(casm_bindings::Message),
    Reply(casm_bindings::PeerReply),
    Part(casm_bindings::Part),
}

impl From<casm_bindings::Event> for Item {
    fn from(event: casm_bindings::Event) -> Self {
        Self::Event(event)
    }
}

impl From<casm_bindings::Change> for Item {
    fn from(change: casm_bindings::Change) -> Self {
        Self::Change(change)
    }
}

impl From<casm_bindings::Found> for Item {
    fn from(found: casm_bindings::Found) -> Self {
        Self::Found(found)
    }
}

impl From<casm_bindings::Record> for Item {
    fn from(record: casm_bindings::Record) -> Self {
        Self::Record(record)
    }
}

impl From<casm_bindings::Message> for Item {
    fn from(message: casm_bindings::Message) -> Self {
        Self::Message(message)
    }
}

impl From<casm_bindings::PeerReply> for Item {
    fn from(reply: casm_bindings::PeerReply) -> Self {
        Self::Reply(reply)
    }
}

impl From<casm_bindings::Part> for Item {
    fn from(part: casm_bindings::Part) -> Self {
        Self::Part(part)
    }
}

impl Item {
    /// The same in Python; None for an event that this version doesn't know.
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self {
            Self::Event(event) => self::event(py, event),
            Self::Change(change) => self::change(py, change),
            Self::Message(message) => Ok(Some(Py::new(py, Message::from(message))?.into_any())),
            Self::Record(record) => Ok(Some(Py::new(py, Record::from(record))?.into_any())),
            Self::Reply(reply) => PeerReply::make(py, reply).map(Some),
            Self::Part(part) => Ok(Some(PyBytes::new(py, &part.0).into_any().unbind())),
            Self::Found(found) => {
                let peer = Py::new(py, PeerInfo::from(found.peer))?;
                Ok(Some(Py::new(py, Found { source: found.source, peer })?.into_any()))
            }
        }
    }
}

fn event(py: Python<'_>, event: casm_bindings::Event) -> PyResult<Option<Py<PyAny>>> {
    use casm_bindings::Event as E;
    let record = |record| Py::new(py, Record::from(record));
    match event {
        E::Listening { peer, addrs } => {
            let addrs = addrs.iter().map(ToString::to_string).collect();
            Listening::make(py, peer.to_base58(), addrs)
        }
        E::PeerJoined { record: r } => PeerJoined::make(py, record(r)?),
        E::PeerUpdated { record: r } => PeerUpdated::make(py, record(r)?),
        E::PeerLeft { peer, reason } => PeerLeft::make(py, peer.to_base58(), reason.name()),
        E::PeersFound { source, peer } => {
            PeersFound::make(py, source, Py::new(py, PeerInfo::from(peer))?)
        }
        E::ViewChanged { peers } => {
            ViewChanged::make(py, peers.iter().map(|peer| peer.to_base58()).collect())
        }
        E::Connected { peer } => Connected::make(py, peer.to_base58()),
        E::Disconnected { peer } => Disconnected::make(py, peer.to_base58()),
        E::Relayed { peer } => Relayed::make(py, peer.to_base58()),
        E::Direct { peer } => Direct::make(py, peer.to_base58()),
        E::ReachabilityChanged { reachability } => {
            ReachabilityChanged::make(py, Py::new(py, Reachability::from(reachability))?)
        }
        E::ClockDiffers { offset_ms, peers } => {
            let peers = peers.iter().map(|peer| peer.to_base58()).collect();
            ClockDiffers::make(py, offset_ms as f64 / 1000.0, peers)
        }
        E::KeyShared { record: r } => KeyShared::make(py, record(r)?),
        E::Dropped { count } => Dropped::make(py, count),
        _ => return Ok(None),
    }
    .map(Some)
}

fn change(py: Python<'_>, change: casm_bindings::Change) -> PyResult<Option<Py<PyAny>>> {
    use casm_bindings::Change as C;
    let (kind, record, count) = match change {
        C::Current(record) => ("current", Some(record), 0),
        C::Joined(record) => ("joined", Some(record), 0),
        C::Updated(record) => ("updated", Some(record), 0),
        C::Left(record) => ("left", Some(record), 0),
        C::Dropped { count } => ("dropped", None, count),
        _ => return Ok(None),
    };
    let record = record.map(|record| Py::new(py, Record::from(record))).transpose()?;
    Ok(Some(Py::new(py, Change { kind, record, count })?.into_any()))
}
