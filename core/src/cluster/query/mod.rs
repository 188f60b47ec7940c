//! What to look for in a view. `range`: the keys of an index that it covers.

mod range;

pub(in crate::cluster) use range::{High, KeyRange};

use super::{
    record::{Field, Record, server_text},
    reserved,
};
use crate::{Error, ErrorKind, Result};
use libp2p::PeerId;
use std::{fmt, str::FromStr};

/// A field and a value in it (or the beginning of one, for prefixes). As text:
/// `host:abc`, `meta:role=worker`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Index {
    /// The field.
    pub field: Field,
    /// The value.
    pub key: String,
}

impl Index {
    /// A value, or the beginning of one, as the field's index has it.
    pub fn new(field: Field, key: impl Into<String>) -> Self {
        let mut key = key.into();
        if field == Field::Server {
            key.make_ascii_lowercase();
        }
        Self { field, key }
    }

    /// A peer.
    pub fn peer(peer: &PeerId) -> Self {
        Self::new(Field::Peer, peer.to_base58())
    }

    /// A server number.
    pub fn server(server: u64) -> Self {
        Self::new(Field::Server, server_text(server))
    }

    /// A host.
    pub fn host(host: impl Into<String>) -> Self {
        Self::new(Field::Host, host)
    }

    /// A role that is proven of the peer ([`Record::roles`]).
    pub fn role(role: impl Into<String>) -> Self {
        Self::new(Field::Role, role)
    }

    /// A meta field. With [`Query::prefix`], the value is the beginning of one.
    pub fn meta(key: impl fmt::Display, value: impl fmt::Display) -> Self {
        Self::new(Field::Meta, format!("{key}={value}"))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.field.name(), self.key)
    }
}

impl FromStr for Index {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, key) = text.split_once(':').unwrap_or((text, ""));
        match Field::ALL.into_iter().find(|field| field.name() == name) {
            Some(field) if text.contains(':') => Ok(Self::new(field, key)),
            _ => {
                let accepted = "write `peer:`, `server:`, `host:`, `meta:` or `role:` and a value, \
                                such as `meta:role=worker`; to match, `service:` or `channel:` and a name \
                                can be written too";
                Err(Error::config("query", text.chars().take(64).collect::<String>(), accepted))
            }
        }
    }
}

/// Where a query begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Select {
    /// Every record, in the order of the peers.
    #[default]
    All,
    /// The records with this value, or whose value begins like this.
    Match {
        /// The value.
        index: Index,
        /// Whether values that begin like this match too.
        prefix: bool,
    },
    /// The records from this value on, in the order of the field.
    From(Index),
}

impl Select {
    /// What is to be matched, from text: a value (`peer:ID`, `server:HEX`,
    /// `host:NAME`, `meta:KEY=VALUE`, `role:ROLE`), or a name that is offered
    /// (`service:NAME`, `channel:NAME`). With `prefix`, the value or name is the beginning of one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is none of these.
    pub fn matching(text: &str, prefix: bool) -> Result<Self> {
        match text.split_once(':') {
            Some(("service", name)) => Ok(Self::offered(reserved::SERVICE, name, prefix)),
            Some(("channel", name)) => Ok(Self::offered(reserved::CHANNEL, name, prefix)),
            _ => Ok(Self::Match { index: text.parse()?, prefix }),
        }
    }

    /// Those that offer this, whatever the field's value is.
    fn offered(key: &str, name: &str, prefix: bool) -> Self {
        let end = if prefix { "" } else { "=" };
        let index = Index::new(Field::Meta, format!("{key}{name}{end}"));
        Self::Match { index, prefix: true }
    }
}

/// What to look for in a view: where to begin, which way to go, and where to
/// end.
///
/// Values order by their bytes; records with the same value, by their peer ids
/// in base58. A record that is met under several of its meta fields or roles comes
/// once, where it is met first. Both ends of a range belong to it.
///
/// ```
/// use casm::cluster::{Index, Query};
/// let workers = Query::matching(Index::meta("role", "worker")).limit(10);
/// let hosts = Query::from(Index::host("a")).to(Index::host("b")).reverse();
/// assert!(hosts.check().is_ok() && workers.check().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// Where to begin.
    pub select: Select,
    /// Where to end: the last value that is included. It need not exist.
    pub to: Option<Index>,
    /// The most records to give.
    pub limit: Option<usize>,
    /// Whether to go from higher values to lower ones. `from` is then the
    /// highest value of a range, and `to` the lowest.
    pub reverse: bool,
}

impl Query {
    /// Every record.
    pub fn all() -> Self {
        Self::default()
    }

    /// The records with this value.
    pub fn matching(index: Index) -> Self {
        Self { select: Select::Match { index, prefix: false }, ..Self::default() }
    }

    /// The records of those of whom this role is proven ([`Record::roles`]).
    pub fn role(role: impl Into<String>) -> Self {
        Self::matching(Index::role(role))
    }

    /// The records of those that offer this service, in any version.
    pub fn service(name: &str) -> Self {
        let select = Select::offered(reserved::SERVICE, name, false);
        Self { select, ..Self::default() }
    }

    /// The records of those at whose place this channel is.
    pub fn channel(name: &str) -> Self {
        let select = Select::offered(reserved::CHANNEL, name, false);
        Self { select, ..Self::default() }
    }

    /// The records of those at whose place this semaphore is.
    pub(crate) fn semaphore(name: &str) -> Self {
        let select = Select::offered(reserved::SEMAPHORE, name, false);
        Self { select, ..Self::default() }
    }

    /// The records of those that relay for others.
    pub(crate) fn relays() -> Self {
        let select = Select::offered(reserved::NODE, "relay", false);
        Self { select, ..Self::default() }
    }

    /// The records from this value on.
    pub fn from(index: Index) -> Self {
        Self { select: Select::From(index), ..Self::default() }
    }

    /// Also the records whose value only begins like the one to match. Nothing
    /// changes for a query that matches no value.
    pub fn prefix(mut self) -> Self {
        if let Select::Match { prefix, .. } = &mut self.select {
            *prefix = true;
        }
        self
    }

    /// Up to this value, included.
    pub fn to(mut self, index: Index) -> Self {
        self.to = Some(index);
        self
    }

    /// At most so many records.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// From higher values to lower ones.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Checks that both ends are of one field. A query whose ends are not finds
    /// nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if they are not.
    pub fn check(&self) -> Result<()> {
        match (&self.select, &self.to) {
            (Select::Match { index: start, .. } | Select::From(start), Some(to))
                if start.field != to.field =>
            {
                let message = format!(
                    "query: it begins with `{start}` and ends with `{to}`: both must be of one field"
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether a record is among those that the query finds, its limit left
    /// aside.
    pub fn matches(&self, record: &Record) -> bool {
        let Some(range) = self.range() else { return false };
        (0..record.keys(range.field))
            .any(|nth| range.contains(record.key(range.field, nth).as_bytes()))
    }

    /// The range of keys that the query covers; `None` if it can find nothing.
    pub(in crate::cluster) fn range(&self) -> Option<KeyRange<'_>> {
        self.check().ok()?;
        let mut range = match &self.select {
            Select::All => {
                let field = self.to.as_ref().map_or(Field::Peer, |to| to.field);
                KeyRange { field, low: &[], high: High::None }
            }
            Select::Match { index, prefix } => {
                let key = index.key.as_bytes();
                let high = if *prefix { High::Prefix(key) } else { High::Included(key) };
                KeyRange { field: index.field, low: key, high }
            }
            Select::From(index) => {
                let key = index.key.as_bytes();
                if self.reverse {
                    let high = High::Included(key);
                    KeyRange { field: index.field, low: &[], high }
                } else {
                    KeyRange { field: index.field, low: key, high: High::None }
                }
            }
        };
        if let Some(to) = &self.to {
            range.end_at(to.key.as_bytes(), self.reverse);
        }
        (!range.is_empty()).then_some(range)
    }
}

impl FromStr for Query {
    type Err = Error;

    /// The records that match: see [`Select::matching`].
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self { select: Select::matching(text, false)?, ..Self::default() })
    }
}
