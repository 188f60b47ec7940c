//! The least rate of an exchange: a partner that is slower is given up.

use super::wire::SyncError;
use futures::{AsyncRead, AsyncWrite};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Bytes that an exchange must move in a second, both ways together, after its
/// first moments.
const RATE: f64 = (16 << 10) as f64;
const FIRST: Duration = Duration::from_secs(5);

/// Counts what an exchange moves. Clones count together.
#[derive(Clone, Default)]
pub(super) struct Meter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    excused_ms: AtomicU64,
}

impl Meter {
    /// A stream whose bytes are counted.
    pub(super) fn on<S>(&self, stream: S) -> Metered<S> {
        Metered { stream, counts: self.0.clone() }
    }

    /// Doesn't blame the partner for a time in which this node waits.
    pub(super) fn excuse(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.excused_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Waits for something that takes so long at most, for which the partner is
    /// not to blame.
    pub(super) async fn pardon<T>(&self, most: Duration, wait: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        self.excuse(most);
        let done = wait.await;
        let left = most.saturating_sub(begun.elapsed());
        let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.0.excused_ms.fetch_sub(ms, Ordering::Relaxed);
        done
    }

    /// An exchange that ends when it is too slow.
    pub(super) async fn limit<T>(
        &self,
        exchange: impl Future<Output = Result<T, SyncError>>,
    ) -> Result<T, SyncError> {
        tokio::select! {
            biased;
            done = exchange => done,
            () = self.too_slow() => Err(SyncError::Slow),
        }
    }

    async fn too_slow(&self) {
        let begun = Instant::now();
        loop {
            let excused = Duration::from_millis(self.0.excused_ms.load(Ordering::Relaxed));
            let moved = self.0.bytes.load(Ordering::Relaxed) as f64;
            let earned = Duration::try_from_secs_f64(moved / RATE).unwrap_or(FIRST);
            let due = begun + FIRST + excused + earned;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

/// A stream whose bytes are counted.
pub(super) struct Metered<S> {
    stream: S,
    counts: Arc<Counts>,
}

impl<S> Metered<S> {
    fn count(&self, n: usize) {
        self.counts.bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, bytes))?;
        self.count(n);
        Poll::Ready(Ok(n))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.count(n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
