//! What a node and a search are told.

use crate::{key::Key, reach::RelayLimits, secret::Secret};
use casm_bindings::{LimitOptions, Options, Result, RpcLimitOptions, TableLimitOptions, duration};
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

/// The configuration of a node. Everything can be left out: then nodes of one
/// machine, or one local network, find each other.
#[derive(Default, uniffi::Record)]
pub struct Config {
    /// The cluster to join; `casm` if it is left out.
    #[uniffi(default)]
    pub namespace: Option<String>,
    /// Multiaddrs to listen at; TCP and QUIC on every interface if there are
    /// none.
    #[uniffi(default)]
    pub listen: Vec<String>,
    /// Where to look for peers: `auto`, `none`, or addresses such as
    /// `/ip4/10.0.0.0/udp/8822/cidr/24`. If it is left out, the variable
    /// `CASM_BOOT` says it, or it is `auto`.
    #[uniffi(default)]
    pub boot: Option<Vec<String>>,
    /// Where to answer those who look, beside what `boot` implies.
    #[uniffi(default)]
    pub serve: Vec<String>,
    /// Where others reach this node behind a port mapping, such as
    /// `/ip4/203.0.113.7/tcp/4001`: told to all, before the addresses that the
    /// node finds. If there are none, the variable `CASM_ANNOUNCE` says it.
    #[uniffi(default)]
    pub announce: Vec<String>,
    /// Whether nothing but `announce` is told.
    #[uniffi(default)]
    pub announce_only: bool,
    /// The name of this host, for others to read; the machine's if it is left
    /// out.
    #[uniffi(default)]
    pub host: Option<String>,
    /// What others may know and query of this node.
    #[uniffi(default)]
    pub meta: HashMap<String, String>,
    /// Seconds for which others keep its record without hearing from it, 1 to
    /// 86400; 10 if it is left out, or 600 with low power. Longer in a large cluster,
    /// unless `pace` is `fixed`.
    #[uniffi(default)]
    pub ttl: Option<f64>,
    /// Whether to look on only, without being in the cluster.
    #[uniffi(default)]
    pub observer: bool,
    /// The folder of what is to outlast the node, such as the peers it knows.
    #[uniffi(default)]
    pub data: Option<String>,
    /// The longest pause between two exchanges of peers, in seconds, 0.1 to
    /// 86400.
    #[uniffi(default)]
    pub pex_tick: Option<f64>,
    /// How much the node does of itself: `normal`, or `low` for what runs on a
    /// battery; `normal` if it is left out.
    #[uniffi(default)]
    pub power: Option<String>,
    /// Whether the TTL grows with the cluster, so that all its nodes together stay within
    /// the `budget`: `auto`, or `fixed`; `auto` if it is left out.
    #[uniffi(default)]
    pub pace: Option<String>,
    /// How many heartbeats the whole cluster may send in a second, 1 to 100000; 150 if it
    /// is left out. It should be the same for all its nodes.
    #[uniffi(default)]
    pub budget: Option<u32>,
    /// Limits on what is spent on peers.
    #[uniffi(default)]
    pub limits: Option<Limits>,
    /// The node's identity; a fresh one if it is left out.
    #[uniffi(default)]
    pub key: Option<Arc<Key>>,
    /// The pre-shared key of a private cluster: who doesn't hold it learns nothing of
    /// it, and QUIC is off. If it is left out, the variable `CASM_SECRET_FILE` names
    /// its file, or the cluster is open.
    #[uniffi(default)]
    pub secret: Option<Arc<Secret>>,
    /// The ids of the peers that are taken, and no others; of this node it needs none.
    /// If there are none, everybody is.
    #[uniffi(default)]
    pub allow: Vec<String>,
    /// The ids of peers that are not taken, whether they are allowed or not.
    #[uniffi(default)]
    pub deny: Vec<String>,
    /// The ids of the authorities whose certificates make a member: who has no valid
    /// certificate can't connect, and nothing that it signed is taken. If there are
    /// none, no certificates are needed.
    #[uniffi(default)]
    pub admit: Vec<String>,
    /// The certificate of this node's key; needed with `admit`.
    #[uniffi(default)]
    pub certificate: Option<Certificate>,
    /// A file of revocations, which is read again when it changes: whose certificates
    /// they take back is put out.
    #[uniffi(default)]
    pub revoked: Option<String>,
    /// Whether this node relays for peers that nobody else can reach. For a node that
    /// others can reach.
    #[uniffi(default)]
    pub relay: bool,
    /// How much it relays. Only with `relay`.
    #[uniffi(default)]
    pub relay_limits: Option<RelayLimits>,
    /// Whether this node, when it can't be reached itself, asks relays among its peers
    /// to take what is for it, and tries to get from there to direct connections. It
    /// does if that is left out.
    #[uniffi(default)]
    pub use_relays: Option<bool>,
    /// Whether this node asks the network's gateway to let others in, by UPnP.
    #[uniffi(default)]
    pub upnp: bool,
}

/// Where a certificate is.
#[derive(Clone, uniffi::Enum)]
pub enum Certificate {
    /// In a file, which is read again when it changes.
    File {
        /// Where it is.
        path: String,
    },
    /// Here, as a file has it.
    Bytes {
        /// What the file holds.
        data: Vec<u8>,
    },
}

/// Limits on what is spent on peers. What is left out has its default.
#[derive(Clone, Copy, Default, uniffi::Record)]
pub struct Limits {
    /// Established connections.
    #[uniffi(default)]
    pub connections: Option<u32>,
    /// Established connections with one peer.
    #[uniffi(default)]
    pub connections_per_peer: Option<u32>,
    /// Connections being set up, in each direction.
    #[uniffi(default)]
    pub pending: Option<u32>,
    /// Fraction of the machine's memory which the process may use before new
    /// connections are refused.
    #[uniffi(default)]
    pub memory: Option<f64>,
    /// What capabilities may cost.
    #[uniffi(default)]
    pub rpc: Option<RpcLimits>,
    /// What the cluster view may hold.
    #[uniffi(default)]
    pub table: Option<TableLimits>,
}

/// Limits on what the cluster view may hold. What is left out has its default.
#[derive(Clone, Copy, Default, uniffi::Record)]
pub struct TableLimits {
    /// Records.
    #[uniffi(default)]
    pub records: Option<u32>,
    /// Bytes of memory, as estimated.
    #[uniffi(default)]
    pub bytes: Option<u32>,
    /// Departed peers whose sequence numbers are remembered.
    #[uniffi(default)]
    pub remembered: Option<u32>,
    /// Seconds for which a peer must have been there so that no stranger takes its
    /// place in a full table.
    #[uniffi(default)]
    pub probation: Option<f64>,
}

/// Limits on what RPC may cost. What is left out has its default.
#[derive(Clone, Copy, Default, uniffi::Record)]
pub struct RpcLimits {
    /// Bytes of one message that is received.
    #[uniffi(default)]
    pub message_bytes: Option<u32>,
    /// Bytes of the calls that a stream has brought and that are not answered.
    #[uniffi(default)]
    pub held_bytes: Option<u32>,
    /// Bytes that wait to be written on a stream.
    #[uniffi(default)]
    pub queued_bytes: Option<u32>,
    /// Bytes of all streams together.
    #[uniffi(default)]
    pub total_bytes: Option<u32>,
    /// Calls that a stream has brought and that are not finished.
    #[uniffi(default)]
    pub calls: Option<u32>,
    /// Capabilities that a stream exports, and that it imports.
    #[uniffi(default)]
    pub capabilities: Option<u32>,
    /// Streams that one peer may have open.
    #[uniffi(default)]
    pub streams_per_peer: Option<u32>,
    /// Streams that all peers together may have open.
    #[uniffi(default)]
    pub streams: Option<u32>,
    /// Seconds for which a stream may be idle.
    #[uniffi(default)]
    pub idle: Option<f64>,
    /// Seconds for which the peer may take none of the bytes that wait for it.
    #[uniffi(default)]
    pub stall: Option<f64>,
    /// Seconds that a call which a stream has brought may take.
    #[uniffi(default)]
    pub call: Option<f64>,
}

/// Which peers to look for, and for how long.
#[derive(Clone, Default, uniffi::Record)]
pub struct FindOptions {
    /// The cluster; that of the node if it is left out.
    #[uniffi(default)]
    pub namespace: Option<String>,
    /// The most peers.
    #[uniffi(default)]
    pub limit: Option<u32>,
    /// Seconds.
    #[uniffi(default)]
    pub timeout: Option<f64>,
}

impl Config {
    pub(crate) fn build(self) -> Result<Options> {
        let (certificate, certificate_file) = match self.certificate {
            Some(Certificate::Bytes { data }) => (Some(data), None),
            Some(Certificate::File { path }) => (None, Some(PathBuf::from(path))),
            None => (None, None),
        };
        Ok(Options {
            namespace: self.namespace,
            listen: self.listen,
            boot: self.boot,
            serve: self.serve,
            announce: self.announce,
            announce_only: self.announce_only,
            host: self.host,
            meta: self.meta.into_iter().collect(),
            ttl: seconds("ttl", self.ttl)?,
            observer: self.observer,
            data: self.data.map(PathBuf::from),
            pex_tick: seconds("pex_tick", self.pex_tick)?,
            power: self.power,
            pace: self.pace,
            budget: self.budget,
            limits: self.limits.unwrap_or_default().build()?,
            key: self.key.map(|key| key.0.clone()),
            key_file: None,
            secret: self.secret.map(|secret| secret.0.clone()),
            secret_file: None,
            allow: self.allow,
            deny: self.deny,
            admit: self.admit,
            certificate,
            certificate_file,
            revoked: self.revoked.map(PathBuf::from),
            relay: self.relay,
            relay_limits: self.relay_limits.map(RelayLimits::build).transpose()?,
            use_relays: self.use_relays,
            upnp: self.upnp,
        })
    }
}

impl Limits {
    fn build(self) -> Result<LimitOptions> {
        Ok(LimitOptions {
            connections: self.connections,
            connections_per_peer: self.connections_per_peer,
            pending: self.pending,
            memory: self.memory,
            rpc: self.rpc.unwrap_or_default().build()?,
            table: self.table.unwrap_or_default().build()?,
        })
    }
}

impl TableLimits {
    fn build(self) -> Result<TableLimitOptions> {
        let number = |given: Option<u32>| given.map(|given| given as usize);
        Ok(TableLimitOptions {
            records: number(self.records),
            bytes: number(self.bytes),
            remembered: number(self.remembered),
            probation: seconds("limits.table.probation", self.probation)?,
        })
    }
}

impl RpcLimits {
    fn build(self) -> Result<RpcLimitOptions> {
        let number = |given: Option<u32>| given.map(|given| given as usize);
        Ok(RpcLimitOptions {
            message_bytes: number(self.message_bytes),
            held_bytes: number(self.held_bytes),
            queued_bytes: number(self.queued_bytes),
            total_bytes: number(self.total_bytes),
            calls: number(self.calls),
            capabilities: number(self.capabilities),
            streams_per_peer: number(self.streams_per_peer),
            streams: number(self.streams),
            idle: seconds("limits.rpc.idle", self.idle)?,
            stall: seconds("limits.rpc.stall", self.stall)?,
            call: seconds("limits.rpc.call", self.call)?,
        })
    }
}

fn seconds(field: &str, given: Option<f64>) -> Result<Option<Duration>> {
    given.map(|given| duration(field, given)).transpose()
}
