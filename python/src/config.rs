//! What a node is told before it starts, and what says where a peer is.

use crate::{
    admission::Ids, call::seconds, key::Key, reach::RelayLimits, secret::Secret, service::Data,
    view::Record,
};
use casm_bindings::{LimitOptions, Options, RpcLimitOptions, TableLimitOptions};
use pyo3::{exceptions::PyTypeError, prelude::*, types::PyMapping};
use std::{collections::BTreeMap, path::PathBuf};

/// One string, or several.
#[derive(FromPyObject)]
pub(crate) enum Strings {
    #[pyo3(transparent, annotation = "str")]
    One(String),
    #[pyo3(transparent, annotation = "Sequence[str]")]
    Many(Vec<String>),
}

/// What was given, nothing if it was left out.
pub(crate) fn list(strings: Option<Strings>) -> Vec<String> {
    strings.map(Strings::into_vec).unwrap_or_default()
}

impl Strings {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// A key, or the file of one.
#[derive(FromPyObject)]
pub(crate) enum KeyOrFile {
    #[pyo3(transparent, annotation = "Key")]
    Key(Py<Key>),
    #[pyo3(transparent, annotation = "str | os.PathLike[str]")]
    File(PathBuf),
}

/// A secret, or the file of one.
#[derive(FromPyObject)]
pub(crate) enum SecretOrFile {
    #[pyo3(transparent, annotation = "Secret")]
    Secret(Py<Secret>),
    #[pyo3(transparent, annotation = "str | os.PathLike[str]")]
    File(PathBuf),
}

/// A certificate, as its file has it, or that file.
#[derive(FromPyObject)]
pub(crate) enum CertificateOrFile {
    #[pyo3(transparent, annotation = "bytes | bytearray | memoryview")]
    Bytes(Data),
    #[pyo3(transparent, annotation = "str | os.PathLike[str]")]
    File(PathBuf),
}

/// Limits on what is spent on peers, from a dict.
pub(crate) struct Limits(LimitOptions);

impl<'py> FromPyObject<'_, 'py> for Limits {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut limits = LimitOptions::default();
        for item in given.cast::<PyMapping>()?.items()?.iter() {
            let (name, value): (String, Bound<'_, PyAny>) = item.extract()?;
            match name.as_str() {
                "connections" => limits.connections = Some(value.extract()?),
                "connections_per_peer" => limits.connections_per_peer = Some(value.extract()?),
                "pending" => limits.pending = Some(value.extract()?),
                "memory" => limits.memory = Some(value.extract()?),
                "rpc" => limits.rpc = rpc_limits(&value)?,
                "table" => limits.table = table_limits(&value)?,
                name => {
                    let known = "connections, connections_per_peer, pending, memory, rpc or table";
                    return Err(not_accepted("limits", name, known));
                }
            }
        }
        Ok(Self(limits))
    }
}

/// Limits on what RPC may cost, from a dict.
fn rpc_limits(given: &Bound<'_, PyAny>) -> PyResult<RpcLimitOptions> {
    let mut limits = RpcLimitOptions::default();
    for item in given.cast::<PyMapping>()?.items()?.iter() {
        let (name, value): (String, Bound<'_, PyAny>) = item.extract()?;
        match name.as_str() {
            "message_bytes" => limits.message_bytes = Some(value.extract()?),
            "held_bytes" => limits.held_bytes = Some(value.extract()?),
            "queued_bytes" => limits.queued_bytes = Some(value.extract()?),
            "total_bytes" => limits.total_bytes = Some(value.extract()?),
            "calls" => limits.calls = Some(value.extract()?),
            "capabilities" => limits.capabilities = Some(value.extract()?),
            "streams_per_peer" => limits.streams_per_peer = Some(value.extract()?),
            "streams" => limits.streams = Some(value.extract()?),
            "idle" => limits.idle = seconds("limits.rpc.idle", Some(value.extract()?))?,
            "stall" => limits.stall = seconds("limits.rpc.stall", Some(value.extract()?))?,
            "call" => limits.call = seconds("limits.rpc.call", Some(value.extract()?))?,
            name => {
                let known = "message_bytes, held_bytes, queued_bytes, total_bytes, calls, \
                             capabilities, streams_per_peer, streams, idle, stall or call";
                return Err(not_accepted("limits.rpc", name, known));
            }
        }
    }
    Ok(limits)
}

/// Limits on what the cluster view may hold, from a dict.
fn table_limits(given: &Bound<'_, PyAny>) -> PyResult<TableLimitOptions> {
    let mut limits = TableLimitOptions::default();
    for item in given.cast::<PyMapping>()?.items()?.iter() {
        let (name, value): (String, Bound<'_, PyAny>) = item.extract()?;
        match name.as_str() {
            "records" => limits.records = Some(value.extract()?),
            "bytes" => limits.bytes = Some(value.extract()?),
            "remembered" => limits.remembered = Some(value.extract()?),
            "probation" => {
                limits.probation = seconds("limits.table.probation", Some(value.extract()?))?;
            }
            name => {
                let known = "records, bytes, remembered or probation";
                return Err(not_accepted("limits.table", name, known));
            }
        }
    }
    Ok(limits)
}

pub(crate) fn not_accepted(field: &str, name: &str, known: &str) -> PyErr {
    PyTypeError::new_err(format!("{field}: {name:?} is not accepted: give {known}"))
}

/// The configuration of a node.
///
/// Every option can be left out: then nodes of one machine, or one local
/// network, find each other.
///
/// Args:
///     namespace: The cluster to join. Default ``casm``.
///     listen: Multiaddrs to listen at. Default: TCP and QUIC on every
///         interface, at free ports.
///     boot: Where to look for peers: ``auto``, ``none``, or addresses such as
///         ``/ip4/10.0.0.0/udp/8822/cidr/24``. Default: the environment
///         variable ``CASM_BOOT``, or ``auto``.
///     serve: Where to answer those who look, beside what ``boot`` implies.
///     announce: Where others reach this node behind a port mapping, such as
///         ``/ip4/203.0.113.7/tcp/4001``: told to all, before the addresses
///         that the node finds. Default: the environment variable
///         ``CASM_ANNOUNCE``, or none.
///     announce_only: Whether nothing but ``announce`` is told.
///     host: The name of this host, for others to read. Default: the
///         machine's.
///     meta: What others may know and query of this node.
///     ttl: Seconds for which others keep its record without hearing from it,
///         1 to 86400. Default 10; with low power 600. Longer in a large
///         cluster, unless ``pace`` is ``fixed``.
///     observer: Whether to look on only, without being in the cluster.
///     data: The folder in which the node keeps what is to outlast it, such as
///         the peers it knows.
///     pex_tick: The longest pause between two exchanges of peers, in seconds:
///         0.1 to 86400.
///     power: How much the node does of itself: ``normal``, or ``low`` for what
///         runs on a battery, with a TTL of 600 seconds, pings once a minute, three
///         connections of its own, TCP alone, and discovery only while it has no
///         peer. Default ``normal``.
///     pace: Whether the TTL grows with the cluster, so that all its nodes together
///         stay within the ``budget``: ``auto``, or ``fixed``. Default ``auto``.
///     budget: How many heartbeats the whole cluster may send in a second: 1 to
///         100000, the same for all its nodes. Default 150.
///     limits: Limits on what is spent on peers: ``connections``,
///         ``connections_per_peer``, ``pending`` (connections being set up),
///         ``memory`` (the fraction of the machine's that this process may use
///         before new connections are refused), ``table``, what the cluster view
///         may hold (a dict of ``records``, ``bytes``, ``remembered``, the
///         departed peers whose sequence numbers are, and ``probation``, the
///         seconds for which a peer must have been there so that no stranger
///         takes its place), and ``rpc``, what RPC may
///         cost: a dict of ``message_bytes``, ``held_bytes``, ``queued_bytes``,
///         ``calls``, ``capabilities`` (each for one stream),
///         ``streams_per_peer``, ``streams``, and ``idle`` and ``stall``, the
///         seconds after which a stream that is not used, or whose peer takes
///         nothing, is closed.
///     key: The node's identity: a ``Key``, or the file of one. Default: a
///         fresh one.
///     secret: The pre-shared key of a private cluster: a ``Secret``, or the file
///         of one, a ``swarm.key``. Who doesn't hold it learns nothing of the
///         cluster; QUIC is off. Default: the file that the environment variable
///         ``CASM_SECRET_FILE`` names, or none, and the cluster is open.
///     allow: The ids of the peers that are taken, and no others; of this node it
///         needs none. Default, and if there are none: everybody. See
///         ``Node.allow``.
///     deny: The ids of peers that are not taken, whether they are allowed or not.
///         See ``Node.deny``.
///     admit: The ids of the authorities whose certificates make a member. Who has no
///         valid certificate can't connect, and nothing that it signed is taken.
///         Default: none, and no certificates are needed.
///     certificate: The certificate of this node's ``key``, needed with ``admit``: its
///         file, which is read again when it changes, or the bytes of one.
///     revoked: A file of revocations, which is read again when it changes: whose
///         certificates they take back is put out. One member that has it suffices.
///     relay: Whether this node relays for peers that nobody else can reach. For a
///         node that others can reach.
///     relay_limits: How much it relays: a dict of ``reservations``, the peers that
///         may be reached over it (1 to 4096, default 64), ``circuits``, the
///         connections that are relayed at once (1 to 4096, default 128),
///         ``circuit_bytes`` of one, both ways together (65536 to 2**40, default
///         2**28), and ``circuit_time``, the seconds that one may last (10 to 86400,
///         default 3600). Only with ``relay``.
///     use_relays: Whether this node, when it can't be reached itself, asks relays
///         among its peers to take what is for it, and tries to get from there to
///         direct connections. Default true.
///     upnp: Whether this node asks the network's gateway to let others in, by UPnP.
#[pyclass(frozen, module = "casm")]
pub(crate) struct Config {
    pub(crate) options: Options,
}

#[pymethods]
impl Config {
    #[new]
    #[pyo3(signature = (namespace=None, *, listen=None, boot=None, serve=None, announce=None, announce_only=false, host=None, meta=None, ttl=None, observer=false, data=None, pex_tick=None, power=None, pace=None, budget=None, limits=None, key=None, secret=None, allow=None, deny=None, admit=None, certificate=None, revoked=None, relay=false, relay_limits=None, use_relays=true, upnp=false))]
    #[expect(clippy::too_many_arguments, reason = "these are Python's keyword arguments")]
    fn new(
        namespace: Option<String>,
        listen: Option<Strings>,
        boot: Option<Strings>,
        serve: Option<Strings>,
        announce: Option<Strings>,
        announce_only: bool,
        host: Option<String>,
        meta: Option<BTreeMap<String, String>>,
        ttl: Option<f64>,
        observer: bool,
        data: Option<PathBuf>,
        pex_tick: Option<f64>,
        power: Option<String>,
        pace: Option<String>,
        budget: Option<u32>,
        limits: Option<Limits>,
        key: Option<KeyOrFile>,
        secret: Option<SecretOrFile>,
        allow: Option<Ids>,
        deny: Option<Ids>,
        admit: Option<Ids>,
        certificate: Option<CertificateOrFile>,
        revoked: Option<PathBuf>,
        relay: bool,
        relay_limits: Option<RelayLimits>,
        use_relays: bool,
        upnp: bool,
    ) -> PyResult<Self> {
        let (key, key_file) = match key {
            Some(KeyOrFile::Key(key)) => (Some(key.get().key.clone()), None),
            Some(KeyOrFile::File(file)) => (None, Some(file)),
            None => (None, None),
        };
        let (secret, secret_file) = match secret {
            Some(SecretOrFile::Secret(secret)) => (Some(secret.get().secret.clone()), None),
            Some(SecretOrFile::File(file)) => (None, Some(file)),
            None => (None, None),
        };
        let (certificate, certificate_file) = match certificate {
            Some(CertificateOrFile::Bytes(bytes)) => (Some(bytes.into()), None),
            Some(CertificateOrFile::File(file)) => (None, Some(file)),
            None => (None, None),
        };
        let options = Options {
            namespace,
            listen: list(listen),
            boot: boot.map(Strings::into_vec),
            serve: list(serve),
            announce: list(announce),
            announce_only,
            host,
            meta: meta.unwrap_or_default(),
            ttl: seconds("ttl", ttl)?,
            observer,
            data,
            pex_tick: seconds("pex_tick", pex_tick)?,
            power,
            pace,
            budget,
            limits: limits.map(|limits| limits.0).unwrap_or_default(),
            key,
            key_file,
            secret,
            secret_file,
            allow: allow.map(Ids::into_vec).unwrap_or_default(),
            deny: deny.map(Ids::into_vec).unwrap_or_default(),
            admit: admit.map(Ids::into_vec).unwrap_or_default(),
            certificate,
            certificate_file,
            revoked,
            relay,
            relay_limits: relay_limits.map(|limits| limits.0),
            use_relays: Some(use_relays),
            upnp,
        };
        Ok(Self { options })
    }

    fn __repr__(&self) -> String {
        let options = &self.options;
        format!(
            "Config(namespace={:?}, boot={:?}, meta={:?})",
            options.namespace.as_deref().unwrap_or("casm"),
            options.boot.as_deref().unwrap_or_default(),
            options.meta,
        )
    }
}

/// A peer, and the addresses at which it can be reached.
#[pyclass(frozen, eq, hash, module = "casm", get_all)]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct PeerInfo {
    /// The peer's id.
    id: String,
    /// Its multiaddrs.
    addrs: Vec<String>,
}

#[pymethods]
impl PeerInfo {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("id", "addrs")
    }

    #[new]
    #[pyo3(signature = (id, addrs=Vec::new()))]
    fn new(id: String, addrs: Vec<String>) -> Self {
        Self { id, addrs }
    }

    fn __repr__(&self) -> String {
        format!("PeerInfo(id={:?}, addrs={:?})", self.id, self.addrs)
    }
}

impl PeerInfo {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl From<casm_bindings::PeerInfo> for PeerInfo {
    fn from(peer: casm_bindings::PeerInfo) -> Self {
        Self {
            id: peer.id.to_base58(),
            addrs: peer.addrs.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What is known of a connected peer.
#[pyclass(frozen, eq, module = "casm", get_all)]
#[derive(PartialEq)]
pub(crate) struct PeerStatus {
    /// The peer's id.
    peer: String,
    /// The other end of each connection, the oldest first.
    addrs: Vec<String>,
    /// Who made the oldest: ``"inbound"`` or ``"outbound"``.
    direction: &'static str,
    /// How many seconds the answer to the last ping took; ``None`` before the
    /// first one.
    round_trip: Option<f64>,
    /// The program that it says it is; ``None`` until it has said so.
    agent: Option<String>,
}

#[pymethods]
impl PeerStatus {
    fn __repr__(&self) -> String {
        format!(
            "PeerStatus(peer={:?}, addrs={:?}, direction={:?}, round_trip={}, agent={})",
            self.peer,
            self.addrs,
            self.direction,
            self.round_trip.map_or_else(|| "None".into(), |time| time.to_string()),
            self.agent.as_ref().map_or_else(|| "None".into(), |agent| format!("{agent:?}")),
        )
    }
}

impl From<casm_bindings::PeerStatus> for PeerStatus {
    fn from(status: casm_bindings::PeerStatus) -> Self {
        Self {
            peer: status.peer.to_base58(),
            addrs: status.addrs.iter().map(ToString::to_string).collect(),
            direction: status.direction.name(),
            round_trip: status.round_trip.map(|time| time.as_secs_f64()),
            agent: status.agent,
        }
    }
}

/// Who to connect to.
#[derive(FromPyObject)]
pub(crate) enum Peer {
    #[pyo3(transparent, annotation = "PeerInfo")]
    Info(Py<PeerInfo>),
    #[pyo3(transparent, annotation = "Record")]
    Record(Py<Record>),
    #[pyo3(transparent, annotation = "str | Sequence[str]")]
    Addrs(Strings),
}

impl Peer {
    pub(crate) fn named(self) -> casm_bindings::Peer {
        match self {
            Self::Info(info) => {
                let info = info.get();
                std::iter::once(&info.id).chain(&info.addrs).cloned().collect::<Vec<_>>().into()
            }
            Self::Record(record) => casm_bindings::Peer::Record(record.get().record().clone()),
            Self::Addrs(addrs) => addrs.into_vec().into(),
        }
    }
}
