//! The options of a node, the same in every command that makes one.

use super::{
    nat::NatArgs,
    parse::{self, PexTick, TableLimit},
};
use crate::{
    lists::{self, ListFile},
    telemetry,
};
use casm::{
    Config, Error, Multiaddr, Namespace, Node, Pace, PeerId, Power, Result, Secret,
    admit::Certificate, boot::BootAddr, identity,
};
use clap::{Args, builder::FalseyValueParser};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// The variable that holds meta fields. Not read by clap, which would divide
/// what is given as an option at its commas too.
const META: &str = "CASM_META";

/// The options of a node.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Node")]
pub struct NodeArgs {
    /// The name of the cluster
    #[arg(long = "ns", value_name = "NAME", env = "CASM_NS", default_value = "casm")]
    pub namespace: Namespace,
    /// Listen here (repeatable) [default: any port of every interface]
    #[arg(long, value_name = "MADDR", env = "CASM_LISTEN", value_delimiter = ',', value_parser = parse::listen)]
    pub listen: Vec<Multiaddr>,
    /// Look for peers here (repeatable): `auto`, `none`, a block, an address, a
    /// group, a name, a peer
    #[arg(
        long,
        value_name = "ADDR",
        env = "CASM_BOOT",
        value_delimiter = ',',
        default_value = "auto"
    )]
    pub boot: Vec<BootAddr>,
    /// Answer here too (repeatable)
    #[arg(long, value_name = "ADDR", env = "CASM_SERVE", value_delimiter = ',')]
    pub serve: Vec<BootAddr>,
    /// Tell others of this address too, at which they reach the node behind a
    /// port mapping (repeatable)
    #[arg(long, value_name = "MADDR", env = "CASM_ANNOUNCE", value_delimiter = ',', value_parser = parse::announce)]
    pub announce: Vec<Multiaddr>,
    /// Tell others of no address but those announced
    #[arg(long, env = "CASM_ANNOUNCE_ONLY", value_parser = FalseyValueParser::new())]
    pub announce_only: bool,
    /// Describe the node with a field (repeatable) [env: CASM_META, divided by
    /// commas]
    #[arg(long, value_name = "K=V", value_parser = parse::meta)]
    pub meta: Vec<(String, String)>,
    /// The name of the node's host [default: the machine's]
    #[arg(long, value_name = "NAME", env = "CASM_HOST")]
    pub host: Option<String>,
    /// How much the node does of itself: `low` is for what runs on a battery
    #[arg(long, value_name = "P", env = "CASM_POWER", default_value = "normal")]
    pub power: Power,
    /// How long others keep the node's record without hearing from it; longer in a
    /// large cluster, unless the pace is fixed [default: 10s; 10m with low power]
    #[arg(long, value_name = "D", env = "CASM_TTL", value_parser = parse::ttl)]
    pub ttl: Option<Duration>,
    /// Whether the TTL grows with the cluster, so that all its nodes together stay within
    /// the budget: `auto` or `fixed`
    #[arg(long, value_name = "P", env = "CASM_PACE", default_value = "auto")]
    pub pace: Pace,
    /// How many heartbeats the whole cluster may send in a second, 1 to 100000; the same
    /// for all its nodes
    #[arg(long, value_name = "N", env = "CASM_BUDGET", default_value_t = Pace::BUDGET, value_parser = parse::budget)]
    pub budget: u32,
    /// The longest pause between two exchanges of peers; `off` for none [default:
    /// 5m; 30m with low power]
    #[arg(long, value_name = "D", env = "CASM_PEX_TICK", value_parser = parse::pex_tick)]
    pub pex_tick: Option<PexTick>,
    /// The node's identity [default: a new one]
    #[arg(long, value_name = "FILE", env = "CASM_KEY")]
    pub key: Option<PathBuf>,
    /// Have part in a private cluster, whose secret is in this file: who doesn't hold
    /// it learns nothing [default: the cluster is open]
    #[arg(long, value_name = "FILE", env = "CASM_SECRET_FILE")]
    pub secret: Option<PathBuf>,
    /// Have part in a cluster of members with certificates, which the authority with
    /// this id has signed (repeatable) [default: none are needed]
    #[arg(long, value_name = "ID", env = "CASM_ADMIT", value_delimiter = ',', value_parser = parse::authority)]
    pub admit: Vec<PeerId>,
    /// The node's certificate, which is read again when the file changes
    #[arg(long, value_name = "FILE", env = "CASM_CERTIFICATE")]
    pub certificate: Option<PathBuf>,
    /// The same as `--certificate`, which is shorter to write.
    #[arg(
        long,
        value_name = "FILE",
        env = "CASM_CERT",
        hide = true,
        conflicts_with = "certificate"
    )]
    pub cert: Option<PathBuf>,
    /// Certificates that are revoked, and that the whole cluster is told of; read
    /// again when the file changes
    #[arg(long, value_name = "FILE", env = "CASM_REVOKED")]
    pub revoked: Option<PathBuf>,
    /// Take the peers whose ids are in this file, one in a line, and no others; it is
    /// read again when it changes [default: everybody]
    #[arg(long, value_name = "FILE", env = "CASM_ALLOW_FILE")]
    pub allow: Option<PathBuf>,
    /// Don't take the peers whose ids are in this file, allowed or not; it is read
    /// again when it changes
    #[arg(long, value_name = "FILE", env = "CASM_DENY_FILE")]
    pub deny: Option<PathBuf>,
    /// How it gets through NATs.
    #[command(flatten)]
    pub nat: NatArgs,
    /// Keep the peers that are known here, one directory for each node: it comes
    /// back to its cluster without discovery [default: they are forgotten]
    #[arg(long, value_name = "DIR", env = "CASM_DATA")]
    pub data: Option<PathBuf>,
    /// Hold no more in the view than this (repeatable): `records`, `bytes`,
    /// `remembered` departed peers, or how long the `probation` of strangers is
    /// [default: records=131072, bytes=268435456, remembered=65536, probation=10m]
    #[arg(long, value_name = "K=V", env = "CASM_TABLE_LIMIT", value_delimiter = ',', value_parser = parse::table_limit)]
    pub table_limit: Vec<TableLimit>,
    /// Serve metrics here, over HTTP
    #[arg(long, value_name = "ADDR", env = "CASM_METRICS")]
    pub metrics: Option<SocketAddr>,
}

impl NodeArgs {
    /// The configuration that the options ask for.
    ///
    /// # Errors
    /// If a file cannot be used, or a field of `CASM_META` is malformed.
    pub fn config(&self) -> Result<Config> {
        let mut config = Config::default();
        config.namespace = self.namespace.clone();
        config.listen.clone_from(&self.listen);
        config.boot.clone_from(&self.boot);
        config.serve.clone_from(&self.serve);
        config.announce.clone_from(&self.announce);
        config.announce_only = self.announce_only;
        if let Some(host) = &self.host {
            config.host.clone_from(host);
        }
        config.meta = self.meta()?.into_iter().collect();
        config.set_power(self.power);
        if let Some(ttl) = self.ttl {
            config.ttl = ttl;
        }
        (config.pace, config.budget) = (self.pace, self.budget);
        match &self.pex_tick {
            Some(PexTick(None)) => config.pex = None,
            Some(PexTick(Some(tick))) => config.pex.get_or_insert_default().tick = *tick,
            None => {}
        }
        config.data.clone_from(&self.data);
        for limit in &self.table_limit {
            limit.set(&mut config.limits.table);
        }
        config.key = self.key.as_ref().map(identity::load_key).transpose()?;
        config.secret = self.secret.as_ref().map(Secret::load).transpose()?;
        config.admit.clone_from(&self.admit);
        let certificate = self.certificate.as_ref().or(self.cert.as_ref());
        config.certificate = certificate.map(Certificate::load).transpose()?;
        config.certificate_file = certificate.cloned();
        config.revoked_file.clone_from(&self.revoked);
        if let Some(file) = &self.allow {
            config.allow = ListFile::allow(file).read_some()?;
        }
        if let Some(file) = &self.deny {
            config.deny = ListFile::deny(file).read()?;
        }
        self.nat.set(&mut config)?;
        Ok(config)
    }

    /// The same for one that only looks: it sends no heartbeat, exchanges no
    /// peers and keeps nothing.
    pub fn observer(&self) -> Result<Config> {
        let mut config = self.config()?;
        config.observer = true;
        Ok(config)
    }

    /// What goes on beside a node as long as the program runs: its metrics are served,
    /// and files that change are read again.
    ///
    /// # Errors
    /// [`Bind`](casm::ErrorKind::Bind) if the metrics cannot be served.
    pub async fn attend(&self, node: &Node) -> Result<()> {
        lists::follow(node, self.allow.as_deref(), self.deny.as_deref());
        match self.metrics {
            Some(addr) => telemetry::serve(node, addr).await,
            None => Ok(()),
        }
    }

    fn meta(&self) -> Result<Vec<(String, String)>> {
        match std::env::var(META) {
            Ok(fields) if self.meta.is_empty() => fields
                .split(',')
                .filter(|field| !field.is_empty())
                .map(|field| parse::meta(field).map_err(|e| Error::config(META, field, e)))
                .collect(),
            _ => Ok(self.meta.clone()),
        }
    }
}
