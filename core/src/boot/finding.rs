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
const UNSURVEYED: &str = "unsurveyed";
const UNANSWERED: &str = "unanswered";
const FAILED: &str = "failed";

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
        self.note(sent, error, UNSENT, "nothing can be sent there");
        if let (true, Some(why)) = (self.is_silent() && self.is_sent(), expected) {
            self.fails(UNANSWERED, why);
        }
    }

    /// Tells if surveys come to nothing: what became of the last one. That nobody
    /// answers is no trouble. It is another one than [`asked`](Self::asked) tells
    /// of: a source may be searched in both ways.
    pub(crate) fn surveyed(&self, sent: bool, error: Option<io::Error>) {
        self.note(sent, error, UNSURVEYED, "nothing can be sent to its multicast group");
    }

    fn note(&self, sent: bool, error: Option<io::Error>, cause: &'static str, what: &str) {
        if sent {
            self.state.sent.store(true, Ordering::Relaxed);
            self.is_over(cause);
        }
        if let (true, Some(error)) = (self.is_silent() && !self.is_sent(), error) {
            self.fails(cause, format_args!("{what}: {error}"));
        }
    }

    fn is_sent(&self) -> bool {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Whether nobody has answered, and somebody could have.
    fn is_silent(&self) -> bool {
        !self.state.heard.load(Ordering::Relaxed) && self.state.begun.elapsed() >= Self::SILENCE
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

/// What a search by a discovery of the program has come to so far. A discovery
/// works if one gives no error: if it ends so, or is called off after it has
/// found somebody.
pub(super) struct Told {
    troubles: Troubles,
    subject: String,
    failed: bool,
    came_to: bool,
}

impl Told {
    pub(super) const fn new(troubles: Troubles, subject: String) -> Self {
        Self { troubles, subject, failed: false, came_to: false }
    }

    /// The search, of which is told.
    pub(super) fn of(self, mut search: Finding) -> Finding {
        let mut told = Some(self);
        futures::stream::poll_fn(move |cx| {
            let next = std::task::ready!(search.poll_next_unpin(cx));
            match (&next, &mut told) {
                (Some(Err(error)), Some(told)) => {
                    told.failed = true;
                    told.troubles.fails(&told.subject, FAILED, error);
                }
                (_, Some(told)) => told.came_to = true,
                (_, None) => {}
            }
            if next.is_none() {
                told = None;
            }
            next.into()
        })
        .boxed()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if self.came_to && !self.failed {
            self.troubles.works(&self.subject);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, PeerId};
    use futures::stream;

    #[tokio::test]
    async fn a_discovery_works_when_a_search_ends_without_an_error() {
        let troubles = Troubles::default();
        let peer = || Ok(Found::new("x", PeerInfo { id: PeerId::random(), addrs: Vec::new() }));
        let error = || Err(Error::new(ErrorKind::Io, "no"));
        let of = |name: &str, results: Vec<Result<Found>>| {
            Told::new(troubles.clone(), name.into()).of(stream::iter(results).boxed())
        };
        let count = || troubles.count().get();
        // An error and a peer, again and again: it fails, and so it stays.
        for _ in 0..2 {
            let _: Vec<_> = of("one", vec![error(), peer(), error(), peer()]).collect().await;
            assert_eq!(count(), 1);
        }
        // What another comes to is nothing to it.
        let _: Vec<_> = of("other", vec![peer()]).collect().await;
        assert_eq!(count(), 1);
        // Called off before it has come to anything.
        drop(of("one", vec![peer()]));
        assert_eq!(count(), 1);
        drop(of("one", vec![peer(), error()]).next().await);
        assert_eq!(count(), 0);
        drop(of("one", vec![error()]).next().await);
        assert_eq!(count(), 1);
        let _: Vec<_> = of("one", Vec::new()).collect().await;
        assert_eq!(count(), 0);
    }
}
