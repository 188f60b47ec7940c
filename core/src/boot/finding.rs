//! What a search is told, and what it gives.

use super::{desk::Desk, turns::Turns};
use crate::{Error, PeerInfo, Result, trouble::Troubles};
use futures::{StreamExt, stream::BoxStream};
use std::{
    fmt,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

/// What may be wrong with a source: causes of trouble.
const UNSENT: &str = "unsent";
const UNANSWERED: &str = "unanswered";

/// A boot address, as users read of it.
pub(crate) fn subject(source: &str) -> String {
    format!("the boot address {source}")
}

/// The peers that a search finds, as it finds them. Dropping it ends the
/// search.
pub type Finding = BoxStream<'static, Result<Found>>;

/// A peer that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The boot address that led to it, or the name of a discovery.
    pub source: String,
    /// The peer.
    pub peer: PeerInfo,
}

impl Found {
    /// A peer that a discovery of this name has found.
    pub fn new(source: impl Into<String>, peer: PeerInfo) -> Self {
        Self { source: source.into(), peer }
    }
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
#[non_exhaustive]
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
    state: Arc<State>,
}

/// What a search of one source has come to so far.
struct State {
    troubles: Troubles,
    /// The source, as users read of it.
    subject: String,
    begun: Instant,
    /// Whether anything could be sent.
    sent: AtomicBool,
    /// Whether anybody was found.
    heard: AtomicBool,
}

impl PeerSink {
    /// After this time in which nobody answers, something is wrong.
    const SILENCE: Duration = Duration::from_secs(10);

    /// The source doesn't work now.
    pub(crate) fn fails(&self, cause: &'static str, why: impl fmt::Display) {
        self.state.troubles.fails(&self.state.subject, cause, why);
    }

    /// This is no longer what is wrong with the source.
    pub(crate) fn is_over(&self, cause: &'static str) {
        self.state.troubles.is_over(&self.state.subject, cause);
    }

    /// Tells if questions come to nothing: what became of the last ones, and
    /// whether somebody should answer them.
    pub(crate) fn asked(&self, sent: bool, error: Option<io::Error>, expected: Option<String>) {
        let state = &self.state;
        if sent {
            state.sent.store(true, Ordering::Relaxed);
            self.is_over(UNSENT);
        }
        if state.heard.load(Ordering::Relaxed) || state.begun.elapsed() < Self::SILENCE {
            return;
        }
        match (state.sent.load(Ordering::Relaxed), error, expected) {
            (false, Some(error), _) => {
                self.fails(UNSENT, format_args!("nothing can be sent there: {error}"));
            }
            (true, _, Some(why)) => self.fails(UNANSWERED, why),
            _ => {}
        }
    }

    pub(crate) async fn found(&self, peer: PeerInfo) {
        if !self.state.heard.swap(true, Ordering::Relaxed) {
            self.is_over(UNANSWERED);
        }
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
    desk: &Desk,
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
    let state = Arc::new(State {
        troubles: desk.metrics.troubles.clone(),
        subject: subject(source),
        begun: Instant::now(),
        sent: AtomicBool::new(false),
        heard: AtomicBool::new(false),
    });
    let sink = PeerSink { source: source.into(), found: found.clone(), progress, state };
    let search = search(sink);
    desk.scope.spawn(async move {
        tokio::select! {
            () = search => {}
            () = found.closed() => {}
        }
    });
    futures::stream::poll_fn(move |cx| results.poll_recv(cx)).boxed()
}
