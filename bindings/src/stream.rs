//! A source to pull from.

use crate::{Error, ErrorKind, Result, Source, ours::Ours, source::Pulled};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use tokio_util::sync::CancellationToken;

/// Items that are pulled, one caller at a time. Dropping it ends it.
pub struct Stream<S>(Ours<Live<S>>);

struct Live<S> {
    source: Mutex<Option<Pulled<S>>>,
    cancel: CancellationToken,
    dropped: AtomicU64,
    lost: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl<S: Source> Stream<S> {
    /// The most items that are taken at once.
    pub const BATCH: usize = 256;

    pub(crate) fn new(source: S, cancel: CancellationToken) -> Self {
        let (lost, dropped) = (source.lost(), AtomicU64::new(0));
        let source = Mutex::new(Some(Pulled::new(source)));
        Self(Ours::new(Live { source, cancel, dropped, lost }))
    }

    /// Waits for items, and gives those that are there. Empty when the stream
    /// is over or cancelled.
    ///
    /// # Errors
    /// `Busy` if another call is waiting; the source's; `Closed` in a forked child.
    pub async fn next_batch(&self) -> Result<Vec<S::Item>> {
        self.pulled().await?
    }

    /// The same, with what the source gives inside: its error may come only once, so
    /// that who is called off has to keep it. It can be a `Busy` too.
    ///
    /// # Errors
    /// `Busy` if another call is waiting; `Closed` in a forked child.
    pub async fn pulled(&self) -> Result<Result<Vec<S::Item>>> {
        let live = self.0.get()?;
        if live.cancel.is_cancelled() {
            return Ok(Ok(Vec::new()));
        }
        let mut taken = live.take()?;
        let Some(source) = &mut taken.source else { return Ok(Ok(Vec::new())) };
        let batch = tokio::select! {
            biased;
            () = live.cancel.cancelled() => Ok(Vec::new()),
            batch = source.next_batch(Self::BATCH) => batch,
        };
        let dropped = batch.iter().flatten().map(S::dropped).sum();
        live.dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok(batch)
    }

    /// Ends the stream, also for a call that is waiting.
    pub fn cancel(&self) {
        let Some(live) = self.0.mine() else { return };
        live.cancel.cancel();
        // What it comes from ends now, and not when a language collects this.
        drop(live.slot().take());
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.mine().is_none_or(|live| live.cancel.is_cancelled())
    }

    /// Whether it belongs to the parent of this process.
    pub fn is_foreign(&self) -> bool {
        self.0.mine().is_none()
    }

    /// How many items were lost because nobody took them in time.
    pub fn dropped(&self) -> u64 {
        let Some(live) = self.0.mine() else { return 0 };
        let lost = live.lost.as_ref().map_or(0, |lost| lost());
        live.dropped.load(Ordering::Relaxed) + lost
    }
}

impl<S: Source> Live<S> {
    fn slot(&self) -> MutexGuard<'_, Option<Pulled<S>>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the source out, so that no lock is held while it is waited for.
    fn take(&self) -> Result<Taken<'_, S>> {
        match self.slot().take() {
            Some(source) => Ok(Taken { stream: self, source: Some(source) }),
            // Cancelled meanwhile.
            None if self.cancel.is_cancelled() => Ok(Taken { stream: self, source: None }),
            None => Err(Error::new(
                ErrorKind::Busy,
                "another call is waiting for the next item of this stream: make a stream for each",
            )),
        }
    }
}

/// Puts the source back, also when the wait is called off.
struct Taken<'a, S: Source> {
    stream: &'a Live<S>,
    source: Option<Pulled<S>>,
}

impl<S: Source> Drop for Taken<'_, S> {
    fn drop(&mut self) {
        let mut slot = self.stream.slot();
        // Looked at under the lock: a cancel takes what is there.
        if !self.stream.cancel.is_cancelled() {
            *slot = self.source.take();
        }
    }
}
