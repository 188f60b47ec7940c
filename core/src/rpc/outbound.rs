//! The bytes that wait to be written on a stream: counted, and with two marks.
//! At the lower one streaming calls stop, at the upper one reading.

use super::{
    budget::Account,
    encoding::{Encoder, Encoding},
    limits::{Limits, RATE},
    metrics::RpcMetrics,
};
use capnp::message::{Allocator, Builder};
use futures::{AsyncWrite, AsyncWriteExt};
use prometheus_client::metrics::gauge::Gauge;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    io,
    rc::Rc,
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout},
};

/// For how long the last bytes of a stream may take.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// After so long, what is expected and not queued does not come.
const LOST: Duration = Duration::from_millis(10);

/// What waits to be written on one stream.
pub(super) struct Outbound {
    inner: RefCell<Inner>,
    changed: Notify,
    /// Bytes of answers that were let through and are not queued yet.
    expected: Cell<usize>,
    gate: usize,
    limit: usize,
    stall: Duration,
}

struct Inner {
    encoder: Encoder,
    /// Encoded, and not yet in the writer's hands.
    pending: Vec<u8>,
    /// All that is encoded and not yet written.
    queued: usize,
    /// All that ever was encoded.
    pushed: u64,
    /// The same of all streams.
    gauge: Gauge,
    account: Rc<Account>,
    /// The most that ever waited.
    peak: usize,
    state: State,
    /// Streaming calls that wait to be let through, the longest waiting first,
    /// with the bytes that each is expected to add.
    gated: VecDeque<(usize, oneshot::Sender<()>)>,
}

#[derive(Clone, Debug)]
enum State {
    Open,
    Closing,
    Done,
    Failed(capnp::Error),
}

impl Outbound {
    pub(super) fn new(
        encoding: Encoding,
        limits: &Limits,
        metrics: &RpcMetrics,
        account: Rc<Account>,
    ) -> Self {
        Self {
            inner: RefCell::new(Inner {
                encoder: Encoder::new(encoding),
                pending: Vec::new(),
                queued: 0,
                pushed: 0,
                gauge: metrics.queued.clone(),
                account,
                peak: 0,
                state: State::Open,
                gated: VecDeque::new(),
            }),
            changed: Notify::new(),
            expected: Cell::new(0),
            gate: limits.gate(),
            limit: limits.queued_bytes,
            stall: limits.stall,
        }
    }

    /// Queues a message, unless the stream is closing.
    pub(super) fn push<A: Allocator>(&self, message: &Builder<A>) {
        let mut inner = self.inner.borrow_mut();
        if !matches!(inner.state, State::Open) {
            return;
        }
        let Inner { encoder, pending, .. } = &mut *inner;
        let before = pending.len();
        let encoded = encoder.encode(message, pending);
        inner.add(before);
        let added = inner.pending.len().saturating_sub(before);
        drop(inner);
        self.expected.set(self.expected.get().saturating_sub(added));
        match encoded {
            Ok(()) => self.changed.notify_waiters(),
            Err(error) => self.fail(error.into()),
        }
    }

    /// Writes what is queued, until the stream is closed or fails.
    pub(super) async fn pump(&self, mut writer: impl AsyncWrite + Unpin) {
        if let Err(error) = self.write_all(&mut writer).await {
            self.fail(capnp::Error::disconnected(format!("the stream cannot be written: {error}")));
        } else {
            self.inner.borrow_mut().state = State::Done;
            self.changed.notify_waiters();
        }
    }

    async fn write_all(&self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        // How far the peer is behind with what waits for it: a few bytes now and then
        // are no reason to hold many.
        let mut behind = Duration::ZERO;
        loop {
            let changed = self.changed.notified();
            let (chunk, closing) = self.take()?;
            if !chunk.is_empty() {
                let mut rest = &chunk[..];
                while !rest.is_empty() {
                    let (left, begun) = (self.stall.saturating_sub(behind), Instant::now());
                    let n = self.patiently(writer.write(rest), left).await?;
                    let taken = Duration::from_secs_f64(n as f64 / RATE as f64);
                    behind = (behind + begun.elapsed()).saturating_sub(taken);
                    rest = rest.get(n..).unwrap_or_default();
                    if n == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    self.written(n);
                }
            } else if closing {
                self.patiently(writer.close(), self.stall).await?;
                return Ok(());
            } else {
                behind = Duration::ZERO;
                self.patiently(writer.flush(), self.stall).await?;
                if self.let_through() {
                    // Those let through may have nothing to send any more:
                    // the next ones get their turn then.
                    tokio::task::yield_now().await;
                } else {
                    changed.await;
                }
            }
        }
    }

    /// What there is to write, and whether it is the last.
    fn take(&self) -> io::Result<(Vec<u8>, bool)> {
        let mut inner = self.inner.borrow_mut();
        match &inner.state {
            State::Open => Ok((std::mem::take(&mut inner.pending), false)),
            State::Closing => Ok((std::mem::take(&mut inner.pending), true)),
            State::Done => Ok((Vec::new(), true)),
            State::Failed(error) => Err(io::Error::other(error.to_string())),
        }
    }

    async fn patiently<T>(
        &self,
        io: impl Future<Output = io::Result<T>>,
        most: Duration,
    ) -> io::Result<T> {
        let closing = async {
            loop {
                let changed = self.changed.notified();
                if !matches!(self.inner.borrow().state, State::Open) {
                    return;
                }
                changed.await;
            }
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the peer takes too few bytes");
        tokio::pin!(io);
        tokio::select! {
            done = timeout(most, &mut io) => done.map_err(late)?,
            () = closing => timeout(most.min(CLOSE_GRACE), &mut io).await.map_err(late)?,
        }
    }

    fn written(&self, n: usize) {
        let mut inner = self.inner.borrow_mut();
        let left = inner.queued.saturating_sub(n);
        inner.set_queued(left);
        drop(inner);
        self.let_through();
        self.changed.notify_waiters();
    }

    /// Lets as many streaming calls through as there is room for. True if there
    /// was one.
    fn let_through(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        let mut expected = inner.queued;
        let mut any = false;
        while expected < self.gate {
            let Some((bytes, waiting)) = inner.gated.pop_front() else { break };
            if waiting.send(()).is_ok() {
                any = true;
                expected = expected.saturating_add(bytes.max(1));
            }
        }
        any
    }

    /// Waits until a streaming call may send its next message, of about that
    /// many bytes.
    ///
    /// # Errors
    /// When the stream is closing or has failed.
    pub(super) async fn gate(&self, bytes: usize) -> capnp::Result<()> {
        let turn = {
            let mut inner = self.inner.borrow_mut();
            inner.check()?;
            if inner.queued < self.gate && inner.gated.is_empty() {
                return Ok(());
            }
            let (send, turn) = oneshot::channel();
            inner.gated.push_back((bytes, send));
            turn
        };
        self.changed.notify_waiters();
        turn.await.map_err(|_| capnp::Error::disconnected("the stream is closed".into()))
    }

    /// Waits until there is room for a request or an answer of so many bytes: of
    /// several that are ready, few are in memory twice.
    ///
    /// # Errors
    /// When the stream is closing or has failed.
    pub(super) async fn room(&self, bytes: usize) -> capnp::Result<()> {
        loop {
            let changed = self.changed.notified();
            let queued = {
                let inner = self.inner.borrow();
                inner.check()?;
                inner.queued
            };
            if queued + self.expected.get() <= self.gate {
                self.expected.set(self.expected.get() + bytes);
                return Ok(());
            }
            tokio::select! {
                () = changed => {}
                // What was let through was called off, and is never queued.
                () = sleep(LOST), if queued == 0 => self.expected.set(0),
            }
        }
    }

    /// Keeps room for an answer of so many bytes, if there is some.
    ///
    /// # Errors
    /// When the stream is closing or has failed.
    pub(super) fn try_room(&self, bytes: usize) -> capnp::Result<bool> {
        let inner = self.inner.borrow();
        inner.check()?;
        let free = inner.queued + self.expected.get() <= self.gate;
        if free {
            self.expected.set(self.expected.get() + bytes);
        }
        Ok(free)
    }

    /// What room was kept for does not come.
    pub(super) fn not_expected(&self, bytes: usize) {
        if bytes > 0 {
            self.expected.set(self.expected.get().saturating_sub(bytes));
            self.changed.notify_waiters();
        }
    }

    /// All that ever was queued, in bytes.
    pub(super) fn pushed(&self) -> u64 {
        self.inner.borrow().pushed
    }

    /// Waits until so much of all that ever was queued is written.
    ///
    /// # Errors
    /// When the stream has failed before.
    pub(super) async fn written_to(&self, mark: u64) -> capnp::Result<()> {
        loop {
            let changed = self.changed.notified();
            {
                let inner = self.inner.borrow();
                if let State::Failed(error) = &inner.state {
                    return Err(error.clone());
                }
                if inner.pushed.saturating_sub(inner.queued as u64) >= mark {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Waits until so little is queued that the stream may be read.
    ///
    /// # Errors
    /// When the stream is closing or has failed.
    pub(super) async fn readable(&self) -> capnp::Result<()> {
        loop {
            let changed = self.changed.notified();
            {
                let inner = self.inner.borrow();
                inner.check()?;
                let over = inner.queued > 0 && inner.account.is_over();
                if inner.queued <= self.limit && !over {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Waits until the stream is closing or has failed.
    pub(super) async fn ended(&self) -> capnp::Error {
        loop {
            let changed = self.changed.notified();
            if let Err(error) = self.inner.borrow().check() {
                return error;
            }
            changed.await;
        }
    }

    /// Lets the stream end when all that is queued has been written.
    pub(super) fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        if matches!(inner.state, State::Open) {
            let Inner { encoder, pending, .. } = &mut *inner;
            let before = pending.len();
            let finished = encoder.finish(pending);
            inner.add(before);
            inner.gated.clear();
            inner.state = match finished {
                Ok(()) => State::Closing,
                Err(error) => State::Failed(error.into()),
            };
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Ends the stream now.
    pub(super) fn fail(&self, error: capnp::Error) {
        let mut inner = self.inner.borrow_mut();
        inner.pending = Vec::new();
        inner.set_queued(0);
        inner.gated.clear();
        inner.state = State::Failed(error);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Waits until all that is queued now, and perhaps more, has been written.
    ///
    /// # Errors
    /// When the stream has failed before.
    pub(super) async fn drained(&self) -> capnp::Result<()> {
        loop {
            let changed = self.changed.notified();
            match &*self.inner.borrow() {
                Inner { state: State::Failed(error), .. } => return Err(error.clone()),
                Inner { queued: 0, .. } => return Ok(()),
                _ => (),
            }
            changed.await;
        }
    }

    /// Waits until everything is written, or never will be.
    pub(super) async fn closed(&self) {
        loop {
            let changed = self.changed.notified();
            if matches!(self.inner.borrow().state, State::Done | State::Failed(_)) {
                return;
            }
            changed.await;
        }
    }

    /// For how long the peer may make no progress.
    pub(super) fn stall(&self) -> Duration {
        self.stall
    }

    /// Bytes that wait now.
    pub(super) fn queued(&self) -> usize {
        self.inner.borrow().queued
    }

    /// The most bytes that ever waited.
    pub(super) fn peak(&self) -> usize {
        self.inner.borrow().peak
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.set_queued(0);
    }
}

impl Inner {
    fn add(&mut self, before: usize) {
        let added = self.pending.len().saturating_sub(before);
        self.pushed += added as u64;
        self.set_queued(self.queued + added);
        self.peak = self.peak.max(self.queued);
    }

    fn set_queued(&mut self, queued: usize) {
        // Far below 2^63 each.
        self.gauge.inc_by(queued as i64 - self.queued as i64);
        self.account.sub(self.queued);
        self.account.add(queued);
        self.queued = queued;
    }

    fn check(&self) -> capnp::Result<()> {
        match &self.state {
            State::Open => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::Closing | State::Done => {
                Err(capnp::Error::disconnected("the stream is closed".into()))
            }
        }
    }
}
