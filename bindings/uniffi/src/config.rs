//! What a node and a search are told.

use crate::key::Key;
use casm_bindings::{LimitOptions, Options, duration};
use std::{collections::HashMap, path::PathBuf, sync::Arc};

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
    /// The name of this host, for others to read; the machine's if it is left
    /// out.
    #[uniffi(default)]
    pub host: Option<String>,
    /// What others may know and query of this node.
    #[uniffi(default)]
    pub meta: HashMap<String, String>,
    /// Seconds for which others keep its record without hearing from it, 1 to
    /// 86400; 10 if it is left out.
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
    /// Limits on what is spent on peers.
    #[uniffi(default)]
    pub limits: Option<Limits>,
    /// The node's identity; a fresh one if it is left out.
    #[uniffi(default)]
    pub key: Option<Arc<Key>>,
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
    pub(crate) fn build(self) -> casm_bindings::Result<Options> {
        let seconds = |field, given: Option<f64>| given.map(|s| duration(field, s)).transpose();
        let limits = self.limits.unwrap_or_default();
        Ok(Options {
            namespace: self.namespace,
            listen: self.listen,
            boot: self.boot,
            serve: self.serve,
            host: self.host,
            meta: self.meta.into_iter().collect(),
            ttl: seconds("ttl", self.ttl)?,
            observer: self.observer,
            data: self.data.map(PathBuf::from),
            pex_tick: seconds("pex_tick", self.pex_tick)?,
            limits: LimitOptions {
                connections: limits.connections,
                connections_per_peer: limits.connections_per_peer,
                pending: limits.pending,
                memory: limits.memory,
            },
            key: self.key.map(|key| key.0.clone()),
            key_file: None,
        })
    }
}
