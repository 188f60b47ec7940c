//! The channels and semaphores of a node.

use super::Node;
use crate::{
    PeerId, PeerInfo, Result,
    csp::{Around, Channel, ChannelOptions, Offered, Semaphore, What},
    host::Host,
    record::unix_nanos,
};
use futures::{FutureExt, future::BoxFuture};

impl Node {
    /// A channel of this node, which others open by its name: 1 to 48 of `A-Z a-z
    /// 0-9 . _ -`. If it is here and open already, that one. It lives until it is
    /// closed or the node is.
    ///
    /// # Errors
    /// `Config` if the name or the capacity is not acceptable, or the channel is
    /// here with other options; `Closed` after the node has closed.
    pub fn channel(&self, name: &str, options: ChannelOptions) -> Result<Channel> {
        self.0.csp.channel(name, options)
    }

    /// A channel of another node, to which there must be a connection.
    ///
    /// # Errors
    /// `NotFound` if that node has no channel of this name; `Unreachable` if it
    /// can't be reached; `Config` if the name is not acceptable; `Closed`.
    pub async fn open_channel(&self, name: &str, owner: PeerId) -> Result<Channel> {
        self.0.csp.open_channel(name, Some(owner)).await
    }

    /// A semaphore of this node, of which so many leases are given at a time, 1 to
    /// 1,048,576; others open it by its name, which is as that of a channel. If it
    /// is here and open already, that one.
    ///
    /// # Errors
    /// `Config` if the name or the number is not acceptable, or the semaphore is
    /// here with another; `Io` if the node's data cannot be used; `Closed`.
    pub async fn semaphore(&self, name: &str, permits: usize) -> Result<Semaphore> {
        // Once is enough: what a semaphore has given, the next of its name goes on
        // from.
        let next = self.0.tokens.get_or_try_init(|| self.0.store.next_token(unix_nanos()));
        self.0.csp.semaphore(name, permits, *next.await?)
    }

    /// A semaphore of another node, to which there must be a connection.
    ///
    /// # Errors
    /// As of [`open_channel`](Self::open_channel).
    pub async fn open_semaphore(&self, name: &str, owner: PeerId) -> Result<Semaphore> {
        self.0.csp.open_semaphore(name, Some(owner)).await
    }
}

/// The node, as far as channels need it.
pub(super) struct Surroundings {
    pub(super) host: Host,
}

impl Around for Surroundings {
    fn reach(&self, peer: PeerId) -> BoxFuture<'static, Result<()>> {
        let host = self.host.clone();
        async move { host.connect(&PeerInfo { id: peer, addrs: Vec::new() }).await }.boxed()
    }

    fn offer(&self, _: What, _: &str) -> Result<Offered> {
        Ok(Box::new(()))
    }

    fn owners(&self, _: What, _: &str) -> Vec<PeerId> {
        Vec::new()
    }
}
