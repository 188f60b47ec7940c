//! The channels and semaphores of a node.

use super::Node;
use crate::{
    Error, ErrorKind, PeerId, Result,
    csp::{Around, Channel, ChannelOptions, Offered, Semaphore, What},
    host::Host,
    pex,
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

    /// A channel of another node, to which there is a connection, or of which peer
    /// exchange knows where it is.
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

    /// A semaphore of another node, which is reached as that of a channel is.
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
    /// Where others are, if the node exchanges peers.
    pub(super) addresses: Option<pex::Addresses>,
}

impl Around for Surroundings {
    fn reach(&self, peer: PeerId) -> BoxFuture<'static, Result<()>> {
        let (host, addresses) = (self.host.clone(), self.addresses.clone());
        let reached = async move {
            if host.is_connected(&peer) {
                return Ok(());
            }
            if let Some(addresses) = addresses
                && let Some(known) = addresses.of(&peer).await
            {
                return host.reach(&known).await;
            }
            let message = format!(
                "there is no connection to {peer}, and nobody has told where it is: connect to it \
                 first"
            );
            Err(Error::new(ErrorKind::Unreachable, message))
        };
        reached.boxed()
    }

    fn offer(&self, _: What, _: &str) -> Result<Offered> {
        Ok(Box::new(()))
    }

    fn owners(&self, _: What, _: &str) -> Vec<PeerId> {
        Vec::new()
    }
}
