//! Roles that are proven of others.

use super::Node;
use crate::{PeerId, Result};

impl Node {
    /// What [`roles_of`](super::NodeBuilder::roles_of) says of these peers may have
    /// changed: for tests.
    ///
    /// # Errors
    /// `Closed`.
    #[doc(hidden)]
    pub async fn roles_changed(&self, peers: impl IntoIterator<Item = PeerId>) -> Result<()> {
        self.0.cluster.roles_changed(peers.into_iter().collect()).await
    }
}
