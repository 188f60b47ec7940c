//! Heartbeats on the wire: one packed Cap'n Proto message each.
//!
//! Every field is decoded and checked here, before anything else sees it.
//! `addrs`: where the sender is reached.

mod addrs;

#[cfg(test)]
pub(in crate::cluster) mod tests;

pub use addrs::Addrs;

use super::reserved;
use crate::{Error, Result, pubsub::Verdict, schema::cluster_capnp::heartbeat};
use capnp::{ErrorKind, message, serialize_packed, text};
use std::{collections::BTreeMap, time::Duration};

/// What a node says of itself, and for how long it is to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The number of the node's instance.
    pub server: u64,
    /// How long the record is to be kept, from [`MIN_TTL`](Self::MIN_TTL) to
    /// [`MAX_TTL`](Self::MAX_TTL); `None` says that the node leaves.
    pub ttl: Option<Duration>,
    /// The name of the node's host.
    pub host: String,
    /// Meta fields, `key=value` each.
    pub meta: Vec<String>,
    /// When it was sent, since 1970 by the sender's clock, in whole
    /// milliseconds; `None` if it does not say (Go's nodes don't).
    pub sent_at: Option<Duration>,
    /// Where it is reached; empty if it does not say (Go's nodes don't).
    pub addrs: Addrs,
}

/// Why the bytes are not a heartbeat that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HeartbeatError {
    /// The bytes cannot be decoded.
    #[error("the message is malformed")]
    Malformed,
    /// The message is too large, packed, unpacked, or as its pointers count.
    #[error(
        "the message is larger than {} bytes ({} if it says when it was sent), or unpacks to more \
         than {} times as many, which may be {} in any case, and never more than {}",
        Heartbeat::MAX_LEN,
        Heartbeat::MAX_OURS,
        Heartbeat::UNPACKED_TIMES,
        Heartbeat::UNPACKED,
        Heartbeat::MAX_UNPACKED
    )]
    TooLarge,
    /// The host's name is too long.
    #[error("the host is longer than {} bytes", Heartbeat::MAX_HOST)]
    HostTooLong,
    /// There are too many meta fields.
    #[error("there are more than {} meta fields", Heartbeat::MAX_META)]
    MetaTooMany,
    /// One meta field, or all of them together, are too long.
    #[error("the meta fields are longer than {} bytes", Heartbeat::MAX_META_LEN)]
    MetaTooLong,
    /// There are too many addresses.
    #[error("there are more than {} addresses", Heartbeat::MAX_ADDRS)]
    AddrsTooMany,
    /// The addresses together are too long.
    #[error("the addresses are longer than {} bytes", Heartbeat::MAX_ADDRS_LEN)]
    AddrsTooLong,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A meta field has no `=`.
    #[error("a meta field has no `=`")]
    NotKeyValue,
}

impl HeartbeatError {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::HostTooLong => "host-too-long",
            Self::MetaTooMany => "meta-too-many",
            Self::MetaTooLong => "meta-too-long",
            Self::AddrsTooMany => "addrs-too-many",
            Self::AddrsTooLong => "addrs-too-long",
            Self::NotUtf8 => "not-utf8",
            Self::NotKeyValue => "not-key-value",
        }
    }

    /// What is malformed would make some nodes fail: who relays it is to blame.
    /// What is merely over our limits is not.
    pub(crate) const fn verdict(self) -> Verdict {
        match self {
            Self::Malformed => Verdict::Reject,
            _ => Verdict::Ignore,
        }
    }
}

impl From<capnp::Error> for HeartbeatError {
    fn from(error: capnp::Error) -> Self {
        match error.kind {
            ErrorKind::MessageTooLarge(_)
            | ErrorKind::MessageSizeOverflow
            | ErrorKind::ReadLimitExceeded => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}

impl Heartbeat {
    /// The shortest TTL.
    pub const MIN_TTL: Duration = Duration::from_secs(1);
    /// The longest TTL.
    pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
    /// The TTL where none is given.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(10);
    /// The longest message that is read, in bytes: Go's nodes never shed what
    /// their message held before, up to what pubsub carries.
    pub const MAX_LEN: usize = 1 << 20;
    /// The longest message of a node that says when it sent it, in bytes: ours do,
    /// and hold nothing but what they say.
    pub const MAX_OURS: usize = 16 << 10;
    /// The longest message after unpacking, and the most that its pointers may
    /// lead to, in bytes.
    pub const MAX_UNPACKED: usize = 2 << 20;
    /// How many times as long as packed it may be then: only runs of zeros unpack
    /// to more, which nobody sends, and little that was paid for would take much
    /// time.
    const UNPACKED_TIMES: usize = 8;
    /// As long it may be in any case.
    const UNPACKED: usize = 64 << 10;
    /// The longest host, in bytes.
    pub const MAX_HOST: usize = 255;
    /// The most meta fields.
    pub const MAX_META: usize = 64;
    /// The longest meta field, `=` included, and the longest sum of all, in
    /// bytes.
    pub const MAX_META_LEN: usize = 4096;
    /// The most addresses.
    pub const MAX_ADDRS: usize = 8;
    /// The longest sum of all addresses, in bytes.
    pub const MAX_ADDRS_LEN: usize = 512;

    /// The TTL that says goodbye, in milliseconds. Go's nodes drop such a
    /// record at once too.
    const LEAVE_MS: u32 = 1;
    /// How deep pointers may nest: the root, the list and its texts, with room
    /// for fields that a later schema may add.
    const NESTING: i32 = 8;

    /// Encodes the heartbeat.
    pub fn encode(&self) -> Vec<u8> {
        // A message that is reused would keep what it held before.
        let mut message = message::Builder::new_default();
        let mut root = message.init_root::<heartbeat::Builder<'_>>();
        root.set_ttl(
            self.ttl
                .map_or(Self::LEAVE_MS, |ttl| u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX)),
        );
        root.set_server(self.server);
        root.set_host(self.host.as_str());
        root.set_sent_at(
            self.sent_at.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX)),
        );
        let mut meta =
            root.reborrow().init_meta(u32::try_from(self.meta.len()).unwrap_or(u32::MAX));
        for (i, field) in (0..).zip(&self.meta) {
            meta.set(i, field.as_str());
        }
        self.addrs.write(root);
        let mut bytes = Vec::new();
        serialize_packed::write_message(&mut bytes, &message)
            .expect("writing to a vector does not fail");
        bytes
    }

    /// Decodes and checks the bytes of a heartbeat. The TTL is brought into the
    /// accepted range.
    ///
    /// # Errors
    /// The first reason found why it is not taken.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeartbeatError> {
        let beat = Self::read(Self::open(bytes)?.get_root()?)?;
        if beat.sent_at.is_some() && bytes.len() > Self::MAX_OURS {
            return Err(HeartbeatError::TooLarge);
        }
        Ok(beat)
    }

    fn open(
        bytes: &[u8],
    ) -> Result<message::Reader<capnp::serialize::OwnedSegments>, HeartbeatError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(HeartbeatError::TooLarge);
        }
        let mut options = message::ReaderOptions::new();
        let most = bytes.len().saturating_mul(Self::UNPACKED_TIMES);
        let most = most.clamp(Self::UNPACKED, Self::MAX_UNPACKED);
        options.traversal_limit_in_words(Some(most / 8)).nesting_limit(Self::NESTING);
        Ok(serialize_packed::read_message(bytes, options)?)
    }

    /// Says what of a message that was refused is over which limit.
    pub(in crate::cluster) fn excess(bytes: &[u8], error: HeartbeatError) -> String {
        type Measure = fn(heartbeat::Reader<'_>) -> capnp::Result<usize>;
        let measure = |measure: Measure| {
            let message = Self::open(bytes).ok()?;
            measure(message.get_root().ok()?).ok()
        };
        let (found, most) = match error {
            HeartbeatError::HostTooLong => (
                measure(|root| Ok(root.get_host()?.len())).map(|n| format!("a host of {n} bytes")),
                Self::MAX_HOST,
            ),
            HeartbeatError::MetaTooMany => (
                measure(|root| Ok(root.get_meta()?.len() as usize))
                    .map(|n| format!("{n} meta fields")),
                Self::MAX_META,
            ),
            HeartbeatError::MetaTooLong => (
                measure(|root| root.get_meta()?.iter().map(|field| Ok(field?.len())).sum())
                    .map(|n| format!("meta fields of {n} bytes")),
                Self::MAX_META_LEN,
            ),
            HeartbeatError::AddrsTooMany => (
                measure(|root| Ok(root.get_addrs()?.len() as usize))
                    .map(|n| format!("{n} addresses")),
                Self::MAX_ADDRS,
            ),
            HeartbeatError::AddrsTooLong => (
                measure(|root| root.get_addrs()?.iter().map(|addr| Ok(addr?.len())).sum())
                    .map(|n| format!("addresses of {n} bytes")),
                Self::MAX_ADDRS_LEN,
            ),
            HeartbeatError::TooLarge if bytes.len() > Self::MAX_LEN => {
                (Some(format!("{} bytes", bytes.len())), Self::MAX_LEN)
            }
            HeartbeatError::TooLarge if bytes.len() > Self::MAX_OURS => {
                let says = measure(|root| Ok(usize::from(root.get_sent_at() != 0)));
                (
                    says.filter(|says| *says != 0).map(|_| format!("{} bytes", bytes.len())),
                    Self::MAX_OURS,
                )
            }
            _ => (None, 0),
        };
        match found {
            Some(found) => format!("{found}, where {most} are the most"),
            None => error.to_string(),
        }
    }

    /// Takes a heartbeat out of a message that bounds what may be read of it.
    ///
    /// # Errors
    /// As of [`decode`](Self::decode).
    pub(in crate::cluster) fn read(root: heartbeat::Reader<'_>) -> Result<Self, HeartbeatError> {
        let ttl = match root.get_ttl() {
            0 => Some(Self::DEFAULT_TTL),
            Self::LEAVE_MS => None,
            ms => Some(Duration::from_millis(ms.into()).clamp(Self::MIN_TTL, Self::MAX_TTL)),
        };
        // All pointers are followed before any limit is applied: what is
        // malformed is rejected, whatever else is wrong with it.
        let (host, fields, addrs) = (root.get_host()?, root.get_meta()?, root.get_addrs()?);
        if host.len() > Self::MAX_HOST {
            return Err(HeartbeatError::HostTooLong);
        }
        let host = utf8(host)?;
        let mut room = Self::MAX_META_LEN;
        if fields.len() as usize > Self::MAX_META {
            return Err(HeartbeatError::MetaTooMany);
        }
        let mut meta = Vec::with_capacity(fields.len() as usize);
        for field in fields {
            let field = field?;
            room = room.checked_sub(field.len()).ok_or(HeartbeatError::MetaTooLong)?;
            let field = utf8(field)?;
            if !field.contains('=') {
                return Err(HeartbeatError::NotKeyValue);
            }
            meta.push(field);
        }
        let addrs = Addrs::read(addrs)?;
        let sent_at = match root.get_sent_at() {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        };
        Ok(Self { server: root.get_server(), ttl, host, meta, sent_at, addrs })
    }

    /// Checks a TTL that this node is to send.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) outside of 1 s to 24 h.
    pub fn check_ttl(ttl: Duration) -> Result<()> {
        if (Self::MIN_TTL..=Self::MAX_TTL).contains(&ttl) {
            return Ok(());
        }
        Err(Error::config("ttl", ttl, "write a duration from `1s` to `24h`"))
    }

    /// Checks a host that this node is to send.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if it is too long.
    pub fn check_host(host: &str) -> Result<()> {
        if host.len() <= Self::MAX_HOST {
            return Ok(());
        }
        let accepted = format!("it has {} bytes; write at most {}", host.len(), Self::MAX_HOST);
        Err(Error::config("host", shown(host), accepted))
    }

    /// Checks meta fields that this node is to send.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a key is empty, has a
    /// `=` or is the library's, or if they are too many or too long.
    pub fn check_meta(meta: &BTreeMap<String, String>) -> Result<()> {
        if meta.len() > Self::MAX_META {
            let accepted = format!("write at most {} fields", Self::MAX_META);
            return Err(Error::config("meta", format!("{} fields", meta.len()), accepted));
        }
        if let Some(key) = meta.keys().find(|key| key.is_empty() || key.contains('=')) {
            let accepted = "a key is not empty and has no `=`; write `key=value`";
            return Err(Error::config("meta", shown(key), accepted));
        }
        if let Some(key) = meta.keys().find(|key| reserved::is_reserved(key)) {
            let accepted = "keys that begin with `svc.`, `chan.` or `sem.` are for what the node \
                            offers, and kept by the library: choose another key";
            return Err(Error::config("meta", shown(key), accepted));
        }
        let len: usize = meta.iter().map(|(key, value)| key.len() + 1 + value.len()).sum();
        if len > Self::MAX_META_LEN {
            let accepted = format!(
                "write at most {} bytes in all, with one more than key and value for each field",
                Self::MAX_META_LEN
            );
            return Err(Error::config("meta", format!("{len} bytes"), accepted));
        }
        Ok(())
    }
}

fn utf8(text: text::Reader<'_>) -> Result<String, HeartbeatError> {
    text.to_string().map_err(|_| HeartbeatError::NotUtf8)
}

/// The beginning of a value, for an error message.
fn shown(value: &str) -> String {
    value.chars().take(64).collect()
}
