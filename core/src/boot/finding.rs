//! What a search is told, and what it gives.

use super::turns::Turns;
use crate::{Error, PeerInfo, Result, scope::Scope};
use futures::{StreamExt, stream::BoxStream};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// The peers that a search finds, as it finds them. Dropping it ends the
/// search.
pub type Finding = BoxStream<'static, Result<Found>>;

/// A peer that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The boot address that led to it, or the name of a discovery.
    pub source: String,
    /// The peer.
    pub peer: PeerInfo,
}

/// How long to search.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FindOptions {
    /// End after this many different peers.
    pub limit: usize,
    /// End after this time; `None`: go on until the limit is reached.
    pub timeout: Option<Duration>,
    /// Is told how far crawls have come.
    pub progress: Option<watch::Sender<Progress>>,
}

impl Default for FindOptions {
    /// Without end: until the stream is dropped.
    fn default() -> Self {
        Self { limit: usize::MAX, timeout: None, progress: None }
    }
}

impl FindOptions {
    /// Ends after this many different peers.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Ends after this time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Tells this channel how far crawls have come.
    pub fn progress(mut self, progress: watch::Sender<Progress>) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// How far a crawl has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The boot address that is crawled.
    pub source: String,
    /// Which time the addresses are gone through, from 1.
    pub round: u64,
    /// Requests sent in this round.
    pub sent: u64,
    /// Addresses to ask in each round.
    pub total: u64,
    /// Answers, in all rounds.
    pub answers: u64,
}

/// Where one source of a search puts what it finds.
#[derive(Clone)]
pub(crate) struct PeerSink {
    source: Arc<str>,
    found: mpsc::Sender<Result<Found>>,
    progress: Option<watch::Sender<Progress>>,
}

impl PeerSink {
    pub(crate) async fn found(&self, peer: PeerInfo) {
        // Nobody listening ends the search soon enough.
        let _ = self.found.send(Ok(Found { source: self.source.to_string(), peer })).await;
    }

    /// Gives the peer whose turn it is; waits for ever if there is none. If this
    /// is dropped before it is done, nothing was given.
    pub(super) async fn found_first<K: PartialEq>(&self, peers: &Turns<K, PeerInfo>) {
        match peers.first() {
            Some(peer) => self.found(peer.clone()).await,
            None => std::future::pending().await,
        }
    }

    pub(crate) async fn error(&self, error: Error) {
        let _ = self.found.send(Err(error)).await;
    }

    /// Waits until nobody wants more.
    pub(crate) async fn closed(&self) {
        self.found.closed().await;
    }

    pub(crate) fn progress(&self, round: u64, sent: u64, total: u64, answers: u64) {
        if let Some(progress) = &self.progress {
            let source = self.source.to_string();
            progress.send_replace(Progress { source, round, sent, total, answers });
        }
    }
}

/// Runs a search as a task of the scope, which ends when the stream is dropped.
pub(crate) fn spawn<F>(
    scope: &Scope,
    source: &str,
    options: &FindOptions,
    search: impl FnOnce(PeerSink) -> F,
) -> Finding
where
    F: Future<Output = ()> + Send + 'static,
{
    // Short: what waits here waits its turn no more.
    const QUEUE: usize = 4;
    let (found, mut results) = mpsc::channel(QUEUE);
    let progress = options.progress.clone();
    let sink = PeerSink { source: source.into(), found: found.clone(), progress };
    let search = search(sink);
    scope.spawn(async move {
        tokio::select! {
            () = search => {}
            () = found.closed() => {}
        }
    });
    futures::stream::poll_fn(move |cx| results.poll_recv(cx)).boxed()
}
