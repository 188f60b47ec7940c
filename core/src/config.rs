//! What a node can be told before it starts.

use crate::{
    Error, ErrorKind, Keypair, Multiaddr, Namespace, PeerId, Result, Secret, admit::Certificate,
    boot::BootAddr, cluster, host, pex, rpc,
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub use crate::announce::MAX_ANNOUNCED;
pub use crate::nat::RelayLimits;
pub use crate::pace::Pace;
pub use crate::power::Power;
pub use crate::who::MAX_LISTED;

/// The configuration of a node. [`Config::default`] needs no change to work:
/// nodes of one machine or one local network find each other.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The cluster to join. Default `casm`.
    pub namespace: Namespace,
    /// Where to listen. Empty (the default) means every interface, TCP and
    /// QUIC (with a `secret` TCP alone), at ports that the system chooses.
    pub listen: Vec<Multiaddr>,
    /// Where to look for peers. Default [`BootAddr::Auto`].
    pub boot: Vec<BootAddr>,
    /// Where to answer those who look for peers, beside what `boot` implies.
    pub serve: Vec<BootAddr>,
    /// Where others reach this node although it cannot see that itself: behind
    /// a port mapping (Docker, Kubernetes, the NAT of a cloud). Such as
    /// `/ip4/203.0.113.7/tcp/4001` or `/dns/node.example.org/udp/4001/quic-v1`;
    /// at most [`MAX_ANNOUNCED`]. They are told to all, before the addresses
    /// that the node finds. Default: none.
    pub announce: Vec<Multiaddr>,
    /// Whether nothing but `announce` is told. Default false.
    pub announce_only: bool,
    /// The name of this host, for others to read. Default: the machine's. If it
    /// is the machine's, it follows that when the machine gets another one.
    pub host: String,
    /// What others may know and query of this node. Default: nothing.
    pub meta: BTreeMap<String, String>,
    /// How long others keep this node's record without hearing from it; about
    /// three heartbeats are sent in that time. 1 s to 24 h, default 10 s. In a large
    /// cluster the node announces a longer one: see `pace`.
    pub ttl: Duration,
    /// Whether the TTL that this node announces grows with the cluster. Default
    /// [`Pace::Auto`]: it is 10/3 s · N ÷ `budget` with N records in the view, if that is
    /// more than `ttl`; up to 10 min, with which the default budget is kept up to 27,000
    /// nodes. Strangers can stretch it to a minute, or to twice what the established
    /// alone would make it, and no further.
    pub pace: Pace,
    /// How many heartbeats the whole cluster may send in a second before its nodes
    /// announce longer TTLs: 1 to 100,000, default 150. Each node counts with its own,
    /// so that all should have the same. Go's nodes know of none, and go on at their pace.
    pub budget: u32,
    /// Whether to look on only: an observer sees the cluster and is not in it.
    pub observer: bool,
    /// The node's identity. Default: a fresh ed25519 key.
    pub key: Option<Keypair>,
    /// The pre-shared key of a private cluster. Who doesn't hold it can't connect,
    /// gets no answer to its packets, and learns neither names nor addresses from
    /// those that pass. QUIC, which has no such thing, is off. Default: none, and
    /// the cluster is open to all who reach it.
    pub secret: Option<Secret>,
    /// The authorities whose certificates make a member, each by the peer id of its
    /// key (`casm admit new` makes one). Who has no valid certificate can't connect,
    /// and nothing that it signed is taken. At most [`MAX_AUTHORITIES`](
    /// crate::admit::MAX_AUTHORITIES). Default: none, and no certificates are needed.
    pub admit: Vec<PeerId>,
    /// This node's certificate (`casm admit sign` makes one); needed with `admit`.
    pub certificate: Option<Certificate>,
    /// The file that it was read from: read again when it changes, so that the
    /// certificate can be renewed while the node runs. Default: none.
    pub certificate_file: Option<PathBuf>,
    /// A file of revocations (`casm admit revoke` makes them), read again when it
    /// changes. One member that reads it suffices: the others are told. Default: none.
    pub revoked_file: Option<PathBuf>,
    /// The peers that are taken, and no others: at most [`MAX_LISTED`]. The node itself
    /// needs not be among them. Empty (the default): everybody. What it does is told at
    /// [`Node::allow`](crate::Node::allow).
    pub allow: Vec<PeerId>,
    /// Peers that are not taken, whether they are allowed or not: at most
    /// [`MAX_LISTED`]. Default: none. See [`Node::deny`](crate::Node::deny).
    pub deny: Vec<PeerId>,
    /// Whether this node is a relay, and how much it relays: for peers behind a NAT,
    /// which can be reached by nobody else. For a node that others can reach. Default:
    /// none.
    pub relay: Option<RelayLimits>,
    /// Whether this node, when it can't be reached itself, asks up to two relays to take
    /// what is for it, and tries to get from there to direct connections (hole
    /// punching). Relays are found among the peers. Default true.
    pub use_relays: bool,
    /// Whether this node asks the network's gateway to let others in, by UPnP: at the
    /// port where it listens, in IPv4, for an hour at a time. Whoever is in the network
    /// may say that it is the gateway, and make this node tell others a public address at
    /// which it isn't: for networks that can be trusted so far. Default false.
    pub upnp: bool,
    /// The directory in which the node keeps what is to outlast it: the peers
    /// that it knows, and the last sequence number of its record. Each node
    /// needs its own; an observer keeps nothing. Default: nowhere, all is
    /// forgotten.
    pub data: Option<PathBuf>,
    /// How peers are exchanged; `None`: not at all. Default: every 5 min.
    ///
    /// An observer doesn't exchange peers: who starts a round tells its own
    /// record, and that of a node which only looks would stay in the views of
    /// others when it has gone.
    pub pex: Option<pex::Config>,
    /// How much the node does of itself. Default [`Power::Normal`]. Set it by
    /// [`set_power`](Self::set_power), which chooses what goes with it.
    pub power: Power,
    /// Limits on what is spent on peers.
    pub limits: Limits,
}

/// What the machine is called now.
pub(crate) fn machine_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            listen: Vec::new(),
            boot: vec![BootAddr::Auto],
            serve: Vec::new(),
            announce: Vec::new(),
            announce_only: false,
            host: machine_name(),
            meta: BTreeMap::new(),
            ttl: Duration::from_secs(10),
            pace: Pace::Auto,
            budget: Pace::BUDGET,
            observer: false,
            key: None,
            secret: None,
            admit: Vec::new(),
            certificate: None,
            certificate_file: None,
            revoked_file: None,
            allow: Vec::new(),
            deny: Vec::new(),
            relay: None,
            use_relays: true,
            upnp: false,
            data: None,
            pex: Some(pex::Config::default()),
            power: Power::Normal,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Chooses a profile, and with it the TTL, the pace of peer exchange and the
    /// number of connections, as far as they are still those of the last profile:
    /// what is set to another value stays.
    pub fn set_power(&mut self, power: Power) {
        let (last, next) = (self.power.defaults(), power.defaults());
        if self.ttl == last.ttl {
            self.ttl = next.ttl;
        }
        if self.limits.connections == last.connections {
            self.limits.connections = next.connections;
        }
        if let Some(pex) = &mut self.pex {
            if pex.tick == last.pex.tick {
                pex.tick = next.pex.tick;
            }
            if (pex.min_connections, pex.max_connections)
                == (last.pex.min_connections, last.pex.max_connections)
            {
                (pex.min_connections, pex.max_connections) =
                    (next.pex.min_connections, next.pex.max_connections);
            }
        }
        self.power = power;
    }

    /// Checks what can be checked before anything is started.
    pub(crate) fn check(&self) -> Result<()> {
        BootAddr::check_list(&self.boot)?;
        Pace::check_budget(self.budget)?;
        if let Some(pex) = &self.pex {
            pex.check()?;
        }
        if self.boot.is_empty() {
            return Err(Error::config(
                "boot",
                "[]",
                "write `none` for no discovery, or leave it out for `auto`",
            ));
        }
        self.check_transports()?;
        self.check_certificates()?;
        if let Some(relay) = &self.relay {
            relay.check()?;
        }
        self.limits.check()
    }

    /// QUIC that was asked for by hand and can't be had with a secret.
    fn check_transports(&self) -> Result<()> {
        if self.secret.is_none() {
            return Ok(());
        }
        let fixed = self.boot.iter().filter_map(|addr| match addr {
            BootAddr::Static { addr, .. } => Some(("boot", addr)),
            _ => None,
        });
        let listen = self.listen.iter().map(|addr| ("listen", addr));
        let announce = self.announce.iter().map(|addr| ("announce", addr));
        match listen.chain(announce).chain(fixed).find(|(_, addr)| host::is_quic(addr)) {
            Some((field, addr)) => {
                let message = format!("{field}: {addr}: {}", host::NO_QUIC);
                Err(Error::new(ErrorKind::Config, message))
            }
            None => Ok(()),
        }
    }

    /// Whether `admit` and the certificate go together.
    fn check_certificates(&self) -> Result<()> {
        if self.admit.is_empty() {
            let of = [
                ("certificate", self.certificate.is_some()),
                ("revoked", self.revoked_file.is_some()),
            ];
            return match of.into_iter().find(|(_, given)| *given) {
                Some((field, _)) => {
                    let message = format!(
                        "{field}: it was given without `admit`, and so would count for nothing: \
                         give the id of the authority whose certificates are accepted too"
                    );
                    Err(Error::new(ErrorKind::Config, message))
                }
                None => Ok(()),
            };
        }
        if self.certificate.is_none() {
            let message = "certificate: there is none, and with `admit` this node needs one: \
                           `casm admit sign --ca FILE --peer ID` makes it, for the id of this \
                           node's key";
            return Err(Error::new(ErrorKind::Config, message));
        }
        if self.key.is_none() {
            let message = "key: there is none, and a certificate is for the id of one: give the \
                           key for whose id the certificate was made";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(())
    }
}

/// Limits on what a node spends on its peers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Established connections, both directions together. Default 512.
    ///
    /// A quarter of them, 128 at most, is kept for those that this node makes.
    /// When others have made half of the rest, no /24 or /48 of public addresses
    /// and no single address of another kind gets more than an eighth of it, and
    /// when it is full, a newcomer replaces one of those that hold most. Whoever
    /// finds no place may stay for one exchange of peers, 5 s at most: a twelfth
    /// of the rest, 32 at most, beyond this number.
    pub connections: u32,
    /// Established connections with one peer. Default 4.
    pub connections_per_peer: u32,
    /// Connections being set up, in each direction. Default 128. Of those that
    /// others make, no network gets more than an eighth when half of them are
    /// taken.
    pub pending: u32,
    /// Fraction of the machine's memory which this process may use before new
    /// connections are refused, above 0 and up to 1. Default 0.9.
    pub memory: f64,
    /// What capabilities may cost: the view that is served, and what is
    /// exported and connected to through [`Node::vat`](crate::Node::vat).
    pub rpc: rpc::Limits,
    /// What the cluster view may hold, and how strangers get into it.
    pub table: cluster::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_peer: 4,
            pending: 128,
            memory: 0.9,
            rpc: rpc::Limits::default(),
            table: cluster::Limits::default(),
        }
    }
}

impl Limits {
    fn check(&self) -> Result<()> {
        if !(self.memory > 0.0 && self.memory <= 1.0) {
            return Err(Error::config(
                "limits.memory",
                self.memory,
                "write a fraction of the machine's memory, above 0 and up to 1",
            ));
        }
        for (field, value) in [
            ("limits.connections", self.connections),
            ("limits.connections_per_peer", self.connections_per_peer),
            ("limits.pending", self.pending),
        ] {
            if value == 0 {
                return Err(Error::config(field, value, "write 1 or more"));
            }
        }
        self.table.check()?;
        self.rpc.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quic_by_hand_does_not_go_with_a_secret() {
        let quic = "/ip4/127.0.0.1/udp/4001/quic-v1";
        let of = |field: &str, addr: &str| {
            let builder = crate::Node::builder();
            let id = crate::PeerId::random();
            let builder = match field {
                "listen" => builder.listen(addr),
                "announce" => builder.announce(addr),
                _ => builder.boot([format!("{addr}/p2p/{id}")]),
            };
            builder.config().unwrap()
        };
        for field in ["listen", "announce", "boot"] {
            let mut config = of(field, quic);
            assert!(config.check().is_ok());
            config.secret = Some(Secret::from_bytes([7; 32]));
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let said = format!("{field}: {quic}");
            assert!(error.message().starts_with(&said), "{error}");
            assert!(error.message().contains("QUIC has no pre-shared key"), "{error}");
            let mut config = of(field, "/ip4/127.0.0.1/tcp/4001");
            config.secret = Some(Secret::from_bytes([7; 32]));
            assert!(config.check().is_ok());
        }
    }

    #[test]
    fn a_limit_out_of_range_is_named_with_its_value() {
        type Change = fn(&mut Limits);
        let bad: [(&str, Change); 14] = [
            ("limits.memory", |l| l.memory = f64::NAN),
            ("limits.connections", |l| l.connections = 0),
            ("limits.rpc.message_bytes", |l| l.rpc.message_bytes = 100),
            ("limits.rpc.held_bytes", |l| l.rpc.held_bytes = 5000),
            ("limits.rpc.queued_bytes", |l| l.rpc.queued_bytes = 5000),
            ("limits.rpc.calls", |l| l.rpc.calls = 0),
            ("limits.rpc.streams_per_peer", |l| l.rpc.streams_per_peer = 0),
            ("limits.rpc.idle", |l| l.rpc.idle = Duration::ZERO),
            ("limits.rpc.stall", |l| l.rpc.stall = Duration::ZERO),
            ("limits.rpc.call", |l| l.rpc.call = Duration::ZERO),
            ("limits.rpc.total_bytes", |l| l.rpc.total_bytes = 5000),
            ("limits.table.records", |l| l.table.records = 15),
            ("limits.table.bytes", |l| l.table.bytes = 1000),
            ("limits.table.remembered", |l| l.table.remembered = 0),
        ];
        assert!(Config::default().check().is_ok());
        for (field, change) in bad {
            let mut config = Config::default();
            change(&mut config.limits);
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(field), "{field}: {error}");
        }
    }
}
