//! A node's configuration, from plain values.

use crate::{Error, ErrorKind, Keypair, Multiaddr, PeerId, PeerInfo, Record, Result, Secret};
use casm::{DEFAULT_TIMEOUT, NodeBuilder, RelayLimits, Target, admit::Certificate, config::Limits};
use rand::{TryRng, rngs::SysRng};
use std::{collections::BTreeMap, fmt::Display, path::PathBuf, str::FromStr, time::Duration};

/// The variable that says where to look for peers, when the program does not.
const BOOT: &str = "CASM_BOOT";
/// The variable that says where others reach the node, which who starts the
/// program knows rather than who wrote it.
const ANNOUNCE: &str = "CASM_ANNOUNCE";
/// The variable that names the file of the cluster's secret, when the program gives
/// none.
const SECRET_FILE: &str = "CASM_SECRET_FILE";
/// What to write for a peer id.
const PEER_ID: &str = "write one such as 12D3KooW…";

/// What a node can be told before it starts. What is left out has core's
/// default.
#[derive(Clone, Default)]
pub struct Options {
    /// The cluster to join.
    pub namespace: Option<String>,
    /// Where to listen.
    pub listen: Vec<String>,
    /// Where to look for peers. If it is left out, the variable `CASM_BOOT`
    /// (divided by commas) says it.
    pub boot: Option<Vec<String>>,
    /// Where to answer those who look, beside what `boot` implies.
    pub serve: Vec<String>,
    /// Where others reach this node behind a port mapping. If there are none, the
    /// variable `CASM_ANNOUNCE` (divided by commas) says it.
    pub announce: Vec<String>,
    /// Whether nothing but `announce` is told.
    pub announce_only: bool,
    /// The name of this host.
    pub host: Option<String>,
    /// What others may know and query of this node.
    pub meta: BTreeMap<String, String>,
    /// How long others keep its record without hearing from it.
    pub ttl: Option<Duration>,
    /// Whether to look on only.
    pub observer: bool,
    /// The folder of what it remembers.
    pub data: Option<PathBuf>,
    /// The longest pause between two exchanges of peers.
    pub pex_tick: Option<Duration>,
    /// How much the node does of itself: `normal` or `low`.
    pub power: Option<String>,
    /// Whether the TTL grows with the cluster: `auto` or `fixed`.
    pub pace: Option<String>,
    /// How many heartbeats the whole cluster may send in a second.
    pub budget: Option<u32>,
    /// Limits on what is spent on peers.
    pub limits: LimitOptions,
    /// Its identity.
    pub key: Option<Keypair>,
    /// The file of its identity; not with `key`.
    pub key_file: Option<PathBuf>,
    /// The pre-shared key of a private cluster.
    pub secret: Option<Secret>,
    /// The file of it; not with `secret`. If there is neither, the variable
    /// `CASM_SECRET_FILE` says it.
    pub secret_file: Option<PathBuf>,
    /// The ids of the peers that are taken, and no others. Empty: everybody.
    pub allow: Vec<String>,
    /// The ids of peers that are not taken, whether they are allowed or not.
    pub deny: Vec<String>,
    /// The ids of the authorities whose certificates make a member. Empty: none is
    /// needed.
    pub admit: Vec<String>,
    /// This node's certificate, as a file has it.
    pub certificate: Option<Vec<u8>>,
    /// The file of it, which is read again when it changes; not with `certificate`.
    pub certificate_file: Option<PathBuf>,
    /// A file of revocations, which is read again when it changes.
    pub revoked: Option<PathBuf>,
    /// Whether this node relays for peers that can't be reached otherwise.
    pub relay: bool,
    /// How much it relays; only with `relay`.
    pub relay_limits: Option<RelayLimitOptions>,
    /// Whether it uses relays when it can't be reached itself.
    pub use_relays: Option<bool>,
    /// Whether it asks the network's gateway to let others in.
    pub upnp: bool,
}

/// How much a relay gives; see [`RelayLimits`].
#[derive(Clone, Copy, Default)]
pub struct RelayLimitOptions {
    /// Peers that may be reached over this node.
    pub reservations: Option<u32>,
    /// Connections that are relayed at once.
    pub circuits: Option<u32>,
    /// Bytes that one may carry both ways together.
    pub circuit_bytes: Option<u64>,
    /// How long one may last.
    pub circuit_time: Option<Duration>,
}

/// Limits on what is spent on peers; see [`Limits`].
#[derive(Clone, Copy, Default)]
pub struct LimitOptions {
    /// Established connections.
    pub connections: Option<u32>,
    /// Established connections with one peer.
    pub connections_per_peer: Option<u32>,
    /// Connections being set up, in each direction.
    pub pending: Option<u32>,
    /// Fraction of the machine's memory which the process may use before new
    /// connections are refused.
    pub memory: Option<f64>,
    /// What capabilities may cost.
    pub rpc: RpcLimitOptions,
    /// What the cluster view may hold.
    pub table: TableLimitOptions,
}

/// Limits on what the cluster view may hold; see [`Limits`].
#[derive(Clone, Copy, Default)]
pub struct TableLimitOptions {
    /// Records.
    pub records: Option<usize>,
    /// Bytes of memory, as estimated.
    pub bytes: Option<usize>,
    /// Departed peers whose sequence numbers are remembered.
    pub remembered: Option<usize>,
    /// How long a stranger must have been there to be established.
    pub probation: Option<Duration>,
}

/// Limits on what RPC may cost; see [`Limits`].
#[derive(Clone, Copy, Default)]
pub struct RpcLimitOptions {
    /// Bytes of one message that is received.
    pub message_bytes: Option<usize>,
    /// Bytes of the calls that a stream has brought and that are not answered.
    pub held_bytes: Option<usize>,
    /// Bytes that wait to be written on a stream.
    pub queued_bytes: Option<usize>,
    /// Bytes of all streams together.
    pub total_bytes: Option<usize>,
    /// Calls that a stream has brought and that are not finished.
    pub calls: Option<usize>,
    /// Capabilities that a stream exports, and that it imports.
    pub capabilities: Option<usize>,
    /// Streams that one peer may have open.
    pub streams_per_peer: Option<usize>,
    /// Streams that all peers together may have open.
    pub streams: Option<usize>,
    /// For how long a stream may be idle.
    pub idle: Option<Duration>,
    /// For how long the peer may take none of the bytes that wait for it.
    pub stall: Option<Duration>,
    /// How long a call that a stream has brought may take.
    pub call: Option<Duration>,
}

/// Puts what is given in the place of the defaults.
macro_rules! set {
    ($limits:expr, $given:expr, $($field:ident),+) => {
        $($limits.$field = $given.$field.unwrap_or($limits.$field);)+
    };
}

impl RelayLimitOptions {
    fn limits(self) -> RelayLimits {
        let mut limits = RelayLimits::default();
        set!(limits, self, reservations, circuits, circuit_bytes, circuit_time);
        limits
    }
}

impl LimitOptions {
    fn limits(self, mut limits: Limits) -> Limits {
        set!(limits, self, connections, connections_per_peer, pending, memory);
        set!(limits.rpc, self.rpc, message_bytes, held_bytes, queued_bytes, total_bytes);
        set!(limits.rpc, self.rpc, calls, capabilities);
        set!(limits.rpc, self.rpc, streams_per_peer, streams, idle, stall, call);
        set!(limits.table, self.table, records, bytes, remembered, probation);
        limits
    }
}

impl Options {
    /// The same, ready to start.
    ///
    /// # Errors
    /// `Config` if options don't go together. What is wrong with one alone
    /// shows when the node is started.
    pub(crate) fn builder(self) -> Result<NodeBuilder> {
        let mut builder = casm::Node::builder().observer(self.observer).serve(self.serve);
        // First: what is set beside it stays.
        if let Some(power) = &self.power {
            builder = builder.power(power.parse()?);
        }
        if let Some(namespace) = self.namespace {
            builder = builder.namespace(namespace);
        }
        for addr in self.listen {
            builder = builder.listen(addr);
        }
        let announce = Some(self.announce).filter(|given| !given.is_empty());
        for addr in announce.or_else(|| list_of_environment(ANNOUNCE)).unwrap_or_default() {
            builder = builder.announce(addr);
        }
        builder = builder.announce_only(self.announce_only);
        if let Some(boot) = self.boot.or_else(|| list_of_environment(BOOT)) {
            builder = builder.boot(boot);
        }
        if let Some(host) = self.host {
            builder = builder.host(host);
        }
        for (key, value) in self.meta {
            builder = builder.meta(key, value);
        }
        if let Some(ttl) = self.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(pace) = &self.pace {
            builder = builder.pace(pace.parse()?);
        }
        if let Some(budget) = self.budget {
            builder = builder.budget(budget);
        }
        if let Some(data) = self.data {
            builder = builder.data(data);
        }
        if let Some(tick) = self.pex_tick {
            builder = builder.pex_tick(tick);
        }
        let limits = self.limits.limits(builder.limits_so_far());
        builder = builder.limits(limits);
        match (self.key, self.key_file) {
            (Some(_), Some(file)) => {
                return Err(Error::config("key_file", file, "give `key` or `key_file`, not both"));
            }
            (Some(key), None) => builder = builder.key(key),
            (None, Some(file)) => builder = builder.key_file(file),
            // A certificate is for a key that there is: core says so.
            (None, None) if !self.admit.is_empty() => {}
            (None, None) => builder = builder.key(generate_key()?),
        }
        let of_environment = || std::env::var_os(SECRET_FILE).map(PathBuf::from);
        match (self.secret, self.secret_file) {
            (Some(_), Some(file)) => {
                let accepted = "give `secret` or `secret_file`, not both";
                return Err(Error::config("secret_file", file, accepted));
            }
            (Some(secret), None) => builder = builder.secret(secret),
            // An empty name is one that cannot be read: a cluster that was to be
            // private must not be open by a slip.
            (None, file) => {
                if let Some(file) = file.or_else(of_environment) {
                    builder = builder.secret_file(file);
                }
            }
        }
        builder = builder.allow(peer_ids("allow", &self.allow)?);
        builder = builder.deny(peer_ids("deny", &self.deny)?);
        builder = builder.admit(peer_ids("admit", &self.admit)?);
        match (self.certificate, self.certificate_file) {
            (Some(_), Some(file)) => {
                let accepted = "give `certificate` or `certificate_file`, not both";
                return Err(Error::config("certificate_file", file.display(), accepted));
            }
            (Some(bytes), None) => builder = builder.certificate(Certificate::parse(&bytes)?),
            (None, Some(file)) => builder = builder.certificate_file(file),
            (None, None) => {}
        }
        if let Some(file) = self.revoked {
            builder = builder.revoked_file(file);
        }
        builder = match (self.relay, self.relay_limits) {
            (false, Some(_)) => {
                let accepted = "`relay_limits` are given, and of no use without: write true";
                return Err(Error::config("relay", false, accepted));
            }
            (true, Some(limits)) => builder.relay_limits(limits.limits()),
            (relay, None) => builder.relay(relay),
        };
        Ok(builder.use_relays(self.use_relays.unwrap_or(true)).upnp(self.upnp))
    }
}

fn list_of_environment(name: &str) -> Option<Vec<String>> {
    let text = std::env::var(name).ok()?;
    let addrs: Vec<_> = text.split(',').map(str::trim).filter(|s| !s.is_empty()).collect();
    (!addrs.is_empty()).then(|| addrs.into_iter().map(Into::into).collect())
}

/// A fresh ed25519 key.
///
/// Its bytes come from the system: the generators that libraries keep per
/// thread are copied by a fork, and so two children would have one identity.
///
/// # Errors
/// `Io` if the system has no random bytes.
pub fn generate_key() -> Result<Keypair> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|e| {
        let message = format!("no key can be made: the system gives no random bytes: {e}");
        Error::new(ErrorKind::Io, message).with_source(e)
    })?;
    let message = "an ed25519 key cannot be made of 32 bytes";
    Keypair::ed25519_from_bytes(seed)
        .map_err(|e| Error::new(ErrorKind::Internal, message).with_source(e))
}

/// A time span in seconds.
///
/// # Errors
/// `Config` if it is not a number from 0 up.
pub fn duration(field: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::config(field, seconds, "write a time span from 0 up"))
}

/// How long a call waits, from seconds: nothing said is [`DEFAULT_TIMEOUT`], and
/// infinity no limit.
///
/// # Errors
/// `Config` if it is negative, not a number, or longer than a time can be.
pub fn time_limit(field: &str, seconds: Option<f64>) -> Result<Option<Duration>> {
    match seconds {
        None => Ok(Some(DEFAULT_TIMEOUT)),
        Some(f64::INFINITY) => Ok(None),
        Some(seconds) => duration(field, seconds).map(Some),
    }
}

/// A peer id in base58.
///
/// # Errors
/// `Address` if it is none.
pub fn peer_id(text: &str) -> Result<PeerId> {
    parse("peer id", text, PEER_ID)
}

/// Peer ids in base58, given to what is named.
///
/// # Errors
/// `Address` if one is none.
pub(crate) fn peer_ids(of: &str, texts: &[String]) -> Result<Vec<PeerId>> {
    let what = format!("{of}: peer id");
    texts.iter().map(|text| parse(&what, text, PEER_ID)).collect()
}

/// Whom to connect to.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Addresses that end in `/p2p/<id>`, an id and addresses, an id alone, or one
    /// address alone.
    Named(Vec<String>),
    /// A member, where its record says.
    Record(Record),
}

impl Peer {
    /// The peer in core's terms.
    ///
    /// # Errors
    /// `Address` if a text cannot be parsed, or if they don't name exactly one
    /// peer.
    pub(crate) fn target(self) -> Result<Target> {
        match self {
            Self::Named(texts) => match &texts[..] {
                [one] if one.starts_with('/') && !one.contains("/p2p/") => {
                    Ok(multiaddr(one)?.into())
                }
                _ => peer_info(&texts).map(Target::Info),
            },
            Self::Record(record) => Ok(record.into()),
        }
    }
}

impl From<Vec<String>> for Peer {
    fn from(texts: Vec<String>) -> Self {
        Self::Named(texts)
    }
}

impl From<&str> for Peer {
    fn from(text: &str) -> Self {
        Self::Named(vec![text.into()])
    }
}

impl From<String> for Peer {
    fn from(text: String) -> Self {
        Self::Named(vec![text])
    }
}

fn peer_info(texts: &[String]) -> Result<PeerInfo> {
    let mut id = None;
    let mut addrs = Vec::new();
    for text in texts {
        let (addr, named) = match text.rsplit_once("/p2p/") {
            Some((addr, named)) if !named.contains('/') => (addr, Some(named)),
            _ if text.starts_with('/') => (text.as_str(), None),
            _ => ("", Some(text.as_str())),
        };
        if !addr.is_empty() {
            addrs.push(multiaddr(addr)?);
        }
        let named = named.map(peer_id).transpose()?;
        if let Some(named) = named
            && *id.get_or_insert(named) != named
        {
            let message = format!("address {text:?}: it names another peer than those before it");
            return Err(Error::new(ErrorKind::Address, message));
        }
    }
    let id = id.ok_or_else(|| {
        let message =
            format!("addresses {texts:?}: none names the peer: end one with /p2p/<peer id>");
        Error::new(ErrorKind::Address, message)
    })?;
    Ok(PeerInfo { id, addrs })
}

fn multiaddr(text: &str) -> Result<Multiaddr> {
    parse("address", text, "write one such as /ip4/10.0.0.1/tcp/4001/p2p/12D3KooW…")
}

fn parse<T: FromStr<Err: Display>>(what: &str, text: &str, accepted: &str) -> Result<T> {
    text.parse().map_err(|e| {
        let shown: String = text.chars().take(200).collect();
        Error::new(ErrorKind::Address, format!("{what} {shown:?}: {e}; {accepted}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_read_from_its_addresses() {
        let id = Keypair::generate_ed25519().public().to_peer_id();
        let other = Keypair::generate_ed25519().public().to_peer_id();
        let info = peer_info(&[format!("/ip4/10.0.0.1/tcp/1/p2p/{id}")]).unwrap();
        assert_eq!((info.id, info.addrs.len()), (id, 1));
        assert_eq!(info.addrs[0].to_string(), "/ip4/10.0.0.1/tcp/1");
        let info = peer_info(&[id.to_string(), "/ip4/10.0.0.1/tcp/1".into()]).unwrap();
        assert_eq!((info.id, info.addrs.len()), (id, 1));
        for (addrs, said) in [
            (vec!["/ip4/10.0.0.1/tcp/1".to_owned()], "none names the peer"),
            (vec![], "none names the peer"),
            (vec!["nonsense".into()], "nonsense"),
            (vec!["/ip4/x".into()], "/ip4/x"),
            (vec![id.to_string(), other.to_string()], "another peer"),
        ] {
            let error = peer_info(&addrs).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Address);
            assert!(error.message().contains(said), "{error}");
        }
    }

    #[test]
    fn a_time_span_is_a_number_from_0_up() {
        assert_eq!(duration("ttl", 1.5).unwrap(), Duration::from_millis(1500));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(duration("ttl", bad).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
