//! How a service is served, and how one is called.

use super::{Headers, wire};
use crate::{
    Error, Result, Target,
    admit::MAX_ROLES,
    cluster::{Query, Roles},
    name,
};
use std::time::Duration;

/// The longest timeout: what the wire has room for, 49 days.
const MAX_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64);

/// How a service is served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeOptions {
    /// What the record says of it, beside its name. A name like that of a
    /// service; default `1`.
    pub version: String,
    /// Requests that are worked on at once; more are answered `busy`. At least 1,
    /// default 64.
    pub max_inflight: usize,
    /// Whether the record says that it is served. One that is not said is found by
    /// who names this node. Default true.
    pub listed: bool,
    /// Who may call it: those of whom one of these roles is proven
    /// ([`Record::roles`](crate::Record::roles)), and this node itself. If there are none,
    /// everybody. At most 16.
    pub allow: Vec<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { version: "1".into(), max_inflight: 64, listed: true, allow: Vec::new() }
    }
}

impl ServeOptions {
    /// With this version.
    #[must_use]
    pub fn version(self, version: impl Into<String>) -> Self {
        Self { version: version.into(), ..self }
    }

    /// With so many requests at once.
    #[must_use]
    pub fn max_inflight(self, max_inflight: usize) -> Self {
        Self { max_inflight, ..self }
    }

    /// Whether the record says it.
    #[must_use]
    pub fn listed(self, listed: bool) -> Self {
        Self { listed, ..self }
    }

    /// Only for callers of whom this role is proven, and for this node itself; several:
    /// any of them suffices. Other callers fail as
    /// [`NotFound`](crate::ErrorKind::NotFound), and ask the next member. Without
    /// membership certificates no role is proven of anybody: then it is for this node
    /// alone.
    #[must_use]
    pub fn allow(mut self, role: impl Into<String>) -> Self {
        self.allow.push(role.into());
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.allow.len() > MAX_ROLES {
            let accepted = format!("write at most {} roles", MAX_ROLES);
            return Err(Error::config("allow", format!("{} roles", self.allow.len()), accepted));
        }
        self.allow.iter().try_for_each(|role| Roles::check_role("allow", role))?;
        name::check_name("version", &self.version)?;
        if self.max_inflight == 0 {
            return Err(Error::config("max_inflight", 0, "write 1 or more"));
        }
        Ok(())
    }
}

/// How a service is called.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// How long to wait at most; `Some(None)`: without a limit. Default: 10 s for
    /// an answer, no limit for a stream of parts. Up to 49 days.
    pub timeout: Option<Option<Duration>>,
    /// Whom to ask; the one, and nobody else. It is connected to as by
    /// [`Node::connect`](crate::Node::connect).
    pub peer: Option<Target>,
    /// Which members may be asked; its limit and order don't matter.
    pub matching: Option<Query>,
    /// What goes along with the request.
    pub headers: Headers,
    /// Whether to wait until somebody serves it. Default false.
    pub wait: bool,
    /// Whether it may be worked on twice: then another member is asked also if
    /// the connection is lost when it may have begun. Default false.
    pub idempotent: bool,
    /// The most replies, of a call to all. Default: no limit.
    pub limit: Option<usize>,
}

impl CallOptions {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for so long at most.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { timeout: Some(timeout.into()), ..self }
    }

    /// Asks this peer, and nobody else.
    #[must_use]
    pub fn peer(self, peer: impl Into<Target>) -> Self {
        Self { peer: Some(peer.into()), ..self }
    }

    /// Asks only those that a query finds.
    #[must_use]
    pub fn matching(self, query: Query) -> Self {
        Self { matching: Some(query), ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(key.into(), value.into());
        self
    }

    /// Waits until somebody serves it.
    #[must_use]
    pub fn wait(self) -> Self {
        Self { wait: true, ..self }
    }

    /// May be worked on twice.
    #[must_use]
    pub fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// Takes so many replies at most.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        if let Some(query) = &self.matching {
            query.check()?;
        }
        if let Some(Some(timeout)) = self.timeout
            && !(Duration::from_millis(1)..=MAX_TIMEOUT).contains(&timeout)
        {
            let accepted = "write a time from 1 ms to 49 days, or none";
            return Err(Error::config("timeout", timeout, accepted));
        }
        wire::check_headers(&self.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_is_out_of_range_is_named() {
        let serve = ServeOptions::default();
        assert!(serve.check().is_ok() && serve.clone().version("2.1-rc").check().is_ok());
        let bad = [
            (serve.clone().version("a b").check(), "version"),
            (serve.clone().version("").check(), "version"),
            (serve.clone().max_inflight(0).check(), "max_inflight"),
            (ServeOptions::default().allow("a b").check(), "allow"),
            (ServeOptions::default().allow("").check(), "allow"),
            ((0..17).fold(serve.clone(), |o, n| o.allow(n.to_string())).check(), "allow"),
            (CallOptions::new().timeout(Duration::ZERO).check(), "timeout"),
            (CallOptions::new().timeout(MAX_TIMEOUT * 2).check(), "timeout"),
        ];
        for (result, field) in bad {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().starts_with(field), "{error}");
        }
        assert!(CallOptions::new().timeout(None).check().is_ok());
    }
}
