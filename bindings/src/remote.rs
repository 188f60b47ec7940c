//! The views of other nodes.

use crate::{Node, Query, Record, Result, Source, Stream, options::Peer, ours::Ours, peer_id};
use casm::RemoteRecords;
use std::future::Future;

/// The view of another node, as it is there: each query is answered by that
/// node when it is asked. Clones share a connection.
#[derive(Clone)]
pub struct RemoteView {
    node: Node,
    peer: String,
    view: Ours<casm::RemoteView>,
}

impl RemoteView {
    /// The id of the node whose view it is.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The first record that a query finds.
    pub fn lookup(
        &self,
        query: Query,
    ) -> impl Future<Output = Result<Option<Record>>> + Send + use<> {
        let view = self.view.clone();
        self.node.run(|_| async move { view.get()?.lookup(&query).await })
    }

    /// The record of a peer.
    pub fn get(&self, peer: String) -> impl Future<Output = Result<Option<Record>>> + Send + use<> {
        let view = self.view.clone();
        self.node.run(|_| async move { view.get()?.get(&peer_id(&peer)?).await })
    }

    /// How many records a query finds.
    pub fn count(&self, query: Query) -> impl Future<Output = Result<usize>> + Send + use<> {
        let view = self.view.clone();
        self.node.run(|_| async move { view.get()?.count(&query).await })
    }

    /// The records that a query finds, as they come.
    ///
    /// # Errors
    /// `Closed`; `Invalid` if the query's ends are of different fields.
    pub fn iter(&self, query: Query) -> Result<Stream<Records>> {
        query.check()?;
        // Fails if the node is closed.
        self.node.view()?;
        let records = Records(self.view.get()?.iter(query));
        Ok(Stream::new(records, self.node.closing()?.child_token()))
    }
}

impl Node {
    /// The view of a peer, to which it connects as [`connect`](Self::connect)
    /// does.
    pub fn view_of<P: Into<Peer>>(
        &self,
        peer: P,
    ) -> impl Future<Output = Result<RemoteView>> + Send + use<P> {
        let (this, peer) = (self.clone(), peer.into());
        self.run(|node| async move {
            let view = node.view_of(peer.target()?).await?;
            Ok(RemoteView { peer: view.peer().to_base58(), view: Ours::new(view), node: this })
        })
    }
}

/// Records of another node's view.
pub struct Records(RemoteRecords);

impl Source for Records {
    type Item = Record;

    async fn next(&mut self) -> Option<Result<Record>> {
        self.0.next().await
    }
}
