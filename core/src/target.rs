//! Whom to connect to, and how: over a connection that is there, else where
//! somebody said, where the peer's record says, or where peer exchange says that
//! it is.
//!
//! Nothing is dialled because a record came, but only for who calls. What a
//! record says is hearsay as all that others tell: it is judged and paid for as
//! that is (`dials`, `host/heard`).

use crate::{Error, ErrorKind, Multiaddr, PeerId, PeerInfo, Result, cluster::Record, host::Host};
use futures::future::BoxFuture;
use libp2p::multiaddr::Protocol;
use std::{
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

/// A peer to connect to. Whatever takes a peer takes what can be made into one
/// of these: an id, a record, a [`PeerInfo`] or a multiaddr.
///
/// As text it is a peer id or a multiaddr.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A peer, at the addresses in its record, or those that peer exchange has.
    Peer(PeerId),
    /// A peer at these addresses, or, if none of them answers, as `Peer`.
    Info(PeerInfo),
    /// A member of the cluster: as `Peer`, also if its record has gone from the
    /// view since.
    Record(Record),
    /// Whoever answers at an address. If it ends in `/p2p/<id>`, that peer, as
    /// `Info`.
    Addr(Multiaddr),
}

impl Target {
    /// The peer's id, if it is known before it answers.
    pub fn id(&self) -> Option<PeerId> {
        match self {
            Self::Peer(id) => Some(*id),
            Self::Info(info) => Some(info.id),
            Self::Record(record) => Some(record.peer()),
            Self::Addr(addr) => match addr.iter().last() {
                Some(Protocol::P2p(id)) => Some(id),
                _ => None,
            },
        }
    }
}

impl From<PeerId> for Target {
    fn from(id: PeerId) -> Self {
        Self::Peer(id)
    }
}

impl From<PeerInfo> for Target {
    fn from(info: PeerInfo) -> Self {
        Self::Info(info)
    }
}

impl From<Record> for Target {
    fn from(record: Record) -> Self {
        Self::Record(record)
    }
}

impl From<Multiaddr> for Target {
    fn from(addr: Multiaddr) -> Self {
        Self::Addr(addr)
    }
}

impl<T: Clone + Into<Self>> From<&T> for Target {
    fn from(target: &T) -> Self {
        target.clone().into()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Peer(id) => id.fmt(f),
            Self::Info(info) => info.id.fmt(f),
            Self::Record(record) => f.write_str(record.peer_text()),
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    /// # Errors
    /// `Address` if it is neither a peer id nor a multiaddr.
    fn from_str(text: &str) -> Result<Self> {
        let target = match text.starts_with('/') {
            true => text.parse().map(Self::Addr).ok(),
            false => text.parse().map(Self::Peer).ok(),
        };
        target.ok_or_else(|| {
            let shown: String = text.chars().take(100).collect();
            let message = format!(
                "{shown:?} is no peer: write its id, such as 12D3KooW…, or an address, such as \
                 /ip4/10.0.0.7/tcp/4001/p2p/12D3KooW…"
            );
            Error::new(ErrorKind::Address, message)
        })
    }
}

/// Finds addresses of a peer, by hearsay.
pub(crate) type Whereabouts =
    Arc<dyn Fn(PeerId) -> BoxFuture<'static, Vec<Multiaddr>> + Send + Sync>;

/// Where peers may be.
struct Known {
    /// What their records say.
    record: Whereabouts,
    /// What peer exchange says of those that it keeps in mind; it has judged that.
    exchange: Whereabouts,
}

/// Connects to peers for who calls. Clones share it.
#[derive(Clone)]
pub(crate) struct Connector {
    host: Host,
    known: Arc<OnceLock<Known>>,
}

impl Connector {
    /// One that knows of no addresses but those it is given, and what peers said
    /// while they were connected.
    pub(crate) fn new(host: Host) -> Self {
        Self { host, known: Arc::default() }
    }

    /// Tells where to look for peers: in their records and in peer exchange.
    pub(crate) fn find_with(&self, record: Whereabouts, exchange: Whereabouts) {
        // Once, when the node starts.
        let _ = self.known.set(Known { record, exchange });
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The same of whom it may be this node itself, which needs no connection.
    ///
    /// # Errors
    /// As of [`connect`](Self::connect), but for that.
    pub(crate) async fn reach(&self, target: impl Into<Target>) -> Result<PeerId> {
        let target = target.into();
        match target.id() {
            Some(id) if id == self.host.id() => Ok(id),
            _ => self.connect(target).await,
        }
    }

    /// Connects to a peer, unless it is connected already, and says who it is.
    ///
    /// # Errors
    /// `NotFound` if no address of it is known that makes sense here,
    /// `Unreachable` if none answers; `Address` if all that were given are of
    /// QUIC, the cluster is private, and no other is known; `Invalid` if it is this
    /// node itself; `Paused`; `Closed`.
    pub(crate) async fn connect(&self, target: impl Into<Target>) -> Result<PeerId> {
        let target = target.into();
        let Some(id) = target.id() else {
            let Target::Addr(addr) = target else { unreachable!("all others have an id") };
            return self.host.connect_addr(addr).await;
        };
        if self.host.is_closed() {
            return Err(Error::closed("node"));
        }
        self.host.life().check()?;
        if id == self.host.id() {
            let message = format!("{id} is this node itself: name another peer");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if self.host.is_connected(&id) {
            return Ok(id);
        }
        let mut tried = Tried::default();
        let configured = match &target {
            Target::Info(info) => info.addrs.clone(),
            Target::Addr(addr) => {
                let addr: Multiaddr =
                    addr.iter().take_while(|part| *part != Protocol::P2p(id)).collect();
                Some(addr).filter(|addr| !addr.is_empty()).into_iter().collect()
            }
            Target::Peer(_) | Target::Record(_) => Vec::new(),
        };
        if !configured.is_empty() {
            let info = PeerInfo { id, addrs: configured };
            if tried.ends(self.host.connect(&info).await)? {
                return Ok(id);
            }
        }
        let given = match target {
            Target::Record(record) => record.addrs(),
            _ => Vec::new(),
        };
        let known = self.known.get();
        let mut addrs = match known {
            Some(known) => (known.record)(id).await,
            None => Vec::new(),
        };
        given.into_iter().for_each(|addr| {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        });
        if tried.ends(self.host.reach_told(&PeerInfo { id, addrs }).await)? {
            return Ok(id);
        }
        let addrs = match known {
            Some(known) => (known.exchange)(id).await,
            None => Vec::new(),
        };
        if !addrs.is_empty() && tried.ends(self.host.reach(&PeerInfo { id, addrs }).await)? {
            return Ok(id);
        }
        Err(tried.why(id))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("own", &self.host.id()).finish_non_exhaustive()
    }
}

/// What came of the attempts so far.
#[derive(Default)]
struct Tried(Vec<Error>);

impl Tried {
    /// Whether there is nothing more to do.
    ///
    /// # Errors
    /// What makes further attempts pointless.
    fn ends(&mut self, attempt: Result<()>) -> Result<bool> {
        match attempt {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::Paused) => {
                Err(error)
            }
            Err(error) => {
                let said = self.0.iter().any(|before| before.message() == error.message());
                // That there was nothing to try is no news.
                if error.kind() != ErrorKind::NotFound && !said {
                    self.0.push(error);
                }
                Ok(false)
            }
        }
    }

    fn why(self, id: PeerId) -> Error {
        if self.0.is_empty() {
            let message = format!(
                "no address of {id} is known that makes sense here: it is not connected, and \
                 neither its record nor peer exchange has one; give one, such as \
                 /ip4/10.0.0.7/tcp/4001/p2p/{id}"
            );
            return Error::new(ErrorKind::NotFound, message);
        }
        // Of what was given none could be dialled at all, and nothing else is known.
        let kind = match self.0.iter().all(|error| error.kind() == ErrorKind::Address) {
            true => ErrorKind::Address,
            false => ErrorKind::Unreachable,
        };
        let all: Vec<&str> = self.0.iter().map(Error::message).collect();
        Error::new(kind, all.join("; then: "))
    }
}

#[cfg(test)]
mod tests;
