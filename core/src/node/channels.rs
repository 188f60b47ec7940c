//! The channels and semaphores of a node.

use super::Node;
use crate::{
    DEFAULT_TIMEOUT, Error, ErrorKind, PeerId, Result,
    cluster::{Cluster, Query, reserved},
    csp::{Around, Channel, ChannelOptions, Offered, QUIET, Semaphore, What},
    deadline::within,
    name::check_name,
    record::unix_nanos,
    target::{Connector, Target},
};
use futures::{FutureExt, future::BoxFuture};
use std::time::Duration;
use tokio::{sync::OnceCell, time::Instant};

impl Node {
    /// A channel of this node, which others open by its name: 1 to 48 of `A-Z a-z
    /// 0-9 . _ -`. If it is here and open already, that one. It lives until it is
    /// closed or the node is, and stands in the node's record until nothing can be
    /// had of it any more.
    ///
    /// # Errors
    /// `TooLarge` if the record has no room for it; `Config` if the name or the
    /// capacity is not acceptable, or the channel is here with other options;
    /// `Closed` after the node has closed.
    pub fn channel(&self, name: &str, options: ChannelOptions) -> Result<Channel> {
        self.0.csp.channel(name, options)
    }

    /// A channel of another node, to which it connects as
    /// [`connect`](Self::connect) does. With no owner, of the one member in whose
    /// record it stands. It takes 10 s at most ([`DEFAULT_TIMEOUT`]).
    ///
    /// # Errors
    /// `NotFound` if that node, or no member, has a channel of this name, or no
    /// address of the node is known; `Invalid` if several have, who are named;
    /// `Unreachable` if it can't be reached; `Timeout`; `Config` if the name is not
    /// acceptable; `Paused`; `Closed`.
    pub async fn open_channel(
        &self,
        name: &str,
        owner: impl Into<Option<Target>>,
    ) -> Result<Channel> {
        self.open_channel_within(name, owner, DEFAULT_TIMEOUT).await
    }

    /// The same, with another limit: `None` is none for connecting, and a node that
    /// is connected has 10 s.
    ///
    /// # Errors
    /// As of [`open_channel`](Self::open_channel).
    pub async fn open_channel_within(
        &self,
        name: &str,
        owner: impl Into<Option<Target>>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Channel> {
        check_name("channel", name)?;
        let opened = async {
            let owner = self.whose(owner.into()).await?;
            self.0.csp.open_channel(name, owner).await
        };
        within(timeout.into(), || format!("the channel `{name}` was not opened"), opened).await
    }

    /// A semaphore of this node, of which so many leases are given at a time, 1 to
    /// 1,048,576; others open it by its name, which is as that of a channel. If it
    /// is here and open already, that one.
    ///
    /// A new one grants nothing while leases of one before it may be believed in: up
    /// to 12 s after one of its name was closed, and, if the node has data by which it
    /// knows that it had semaphores in an earlier run, for 12 s from its start.
    ///
    /// # Errors
    /// `Config` if the name or the number is not acceptable, or the semaphore is
    /// here with another; `TooLarge` if the node's record has no room for it; `Io` if
    /// the node's data cannot be used; `Closed`.
    pub async fn semaphore(&self, name: &str, permits: usize) -> Result<Semaphore> {
        // Once is enough: what a semaphore has given, the next of its name goes on
        // from.
        let Tokens { first, started } = &self.0.tokens;
        let first = first.get_or_try_init(|| self.0.store.next_token(unix_nanos()));
        let (first, had_some) = *first.await?;
        // What they have granted may be believed in.
        let quiet = had_some.then(|| *started + QUIET);
        self.0.csp.semaphore(name, permits, (first, quiet))
    }

    /// A semaphore of another node, which is reached as that of a channel is.
    ///
    /// # Errors
    /// As of [`open_channel`](Self::open_channel).
    pub async fn open_semaphore(
        &self,
        name: &str,
        owner: impl Into<Option<Target>>,
    ) -> Result<Semaphore> {
        self.open_semaphore_within(name, owner, DEFAULT_TIMEOUT).await
    }

    /// The same, with another limit, as that of a channel.
    ///
    /// # Errors
    /// As of [`open_channel`](Self::open_channel).
    pub async fn open_semaphore_within(
        &self,
        name: &str,
        owner: impl Into<Option<Target>>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Semaphore> {
        check_name("semaphore", name)?;
        let opened = async {
            let owner = self.whose(owner.into()).await?;
            self.0.csp.open_semaphore(name, owner).await
        };
        within(timeout.into(), || format!("the semaphore `{name}` was not opened"), opened).await
    }

    /// Connects to the owner that is said.
    async fn whose(&self, owner: Option<Target>) -> Result<Option<PeerId>> {
        match owner {
            Some(owner) => self.0.connector.reach(owner).await.map(Some),
            None => Ok(None),
        }
    }
}

/// What semaphores of this node begin with.
pub(super) struct Tokens {
    /// A number that none of them has given in an earlier run, and whether there was
    /// one then.
    first: OnceCell<(u64, bool)>,
    started: Instant,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { first: OnceCell::new(), started: Instant::now() }
    }
}

/// The node, as far as channels need it.
pub(super) struct Surroundings {
    pub(super) connector: Connector,
    pub(super) cluster: Cluster,
}

impl Around for Surroundings {
    fn reach(&self, peer: PeerId) -> BoxFuture<'static, Result<()>> {
        let connector = self.connector.clone();
        let reached = async move {
            connector.connect(peer).await.map(drop).map_err(|error| match error.kind() {
                // It has been there, and may come back: not what `NotFound` says of
                // what it has.
                ErrorKind::NotFound => Error::new(ErrorKind::Unreachable, error.message()),
                _ => error,
            })
        };
        reached.boxed()
    }

    fn offer(&self, what: What, name: &str) -> Result<Offered> {
        let prefix = match what {
            What::Channel => reserved::CHANNEL,
            What::Semaphore => reserved::SEMAPHORE,
        };
        Ok(Box::new(self.cluster.offer(&what.to_string(), prefix, name, "1")?))
    }

    fn owners(&self, what: What, name: &str) -> Vec<PeerId> {
        let query = match what {
            What::Channel => Query::channel(name),
            What::Semaphore => Query::semaphore(name),
        };
        self.cluster.view().iter(query).map(|record| record.peer()).collect()
    }
}
