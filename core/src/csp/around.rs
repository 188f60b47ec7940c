//! What channels and semaphores need of the node that they are in.

use crate::Result;
use futures::future::BoxFuture;
use libp2p::PeerId;
use std::fmt;

/// What stands in the record of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Channel,
    Semaphore,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Channel => "channel",
            Self::Semaphore => "semaphore",
        })
    }
}

/// What ends with it: that something stands in the node's record.
pub(crate) type Offered = Box<dyn Send + Sync>;

/// The node around.
pub(crate) trait Around: Send + Sync + 'static {
    /// Connects to a peer, if it is not connected.
    fn reach(&self, peer: PeerId) -> BoxFuture<'static, Result<()>>;

    /// Says in the node's record that this is here, until what it gives is dropped.
    ///
    /// # Errors
    /// `TooLarge` if the record has no room for it.
    fn offer(&self, what: What, name: &str) -> Result<Offered>;

    /// Those in whose records this is, as far as it is known here.
    fn owners(&self, what: What, name: &str) -> Vec<PeerId>;
}
