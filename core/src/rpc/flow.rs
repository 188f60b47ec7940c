//! Flow control of streaming calls.
//!
//! A stream of calls goes on while little of it is unanswered and little waits
//! to be written. What may be unanswered is shared by all the streams of a
//! connection, but each may always have one message under way, so that none
//! stops because others are stalled.

use super::outbound::Outbound;
use capnp::{Error, capability::Promise};
use capnp_rpc::{FlowController, OutgoingMessage};
use futures::{StreamExt, channel::mpsc, stream::FuturesUnordered};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Unanswered bytes of all streams of one connection.
const SHARED_WINDOW: usize = 512 << 10;
/// Unanswered bytes of one stream, at most.
const WINDOW: usize = 32 << 10;

/// Decides when a stream of calls may go on.
pub(super) struct Flow {
    outbound: Rc<Outbound>,
    window: Rc<Window>,
    acks: mpsc::UnboundedSender<(usize, Promise<(), Error>)>,
}

struct Window {
    streams: Rc<Cell<usize>>,
    in_flight: Cell<usize>,
    failed: RefCell<Option<Error>>,
    changed: Notify,
}

impl Flow {
    /// A controller, and what must be polled for it. `streams` counts those of
    /// the same connection.
    pub(super) fn new(
        outbound: Rc<Outbound>,
        streams: Rc<Cell<usize>>,
    ) -> (Self, impl Future<Output = Result<(), Error>>) {
        streams.set(streams.get() + 1);
        let window = Rc::new(Window {
            streams,
            in_flight: Cell::new(0),
            failed: RefCell::new(None),
            changed: Notify::new(),
        });
        // Holds what is in flight, which the window bounds.
        let (acks, incoming) = mpsc::unbounded();
        let driver = drive(window.clone(), incoming, outbound.stall());
        (Self { outbound, window, acks }, driver)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.streams.set(self.streams.get().saturating_sub(1));
    }
}

impl Window {
    fn is_open(&self) -> bool {
        let share = SHARED_WINDOW / self.streams.get().max(1);
        self.in_flight.get() <= share.min(WINDOW)
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) -> Result<(), Error> {
        loop {
            let changed = self.changed.notified();
            if let Some(error) = &*self.failed.borrow() {
                return Err(error.clone());
            }
            if done(self) {
                return Ok(());
            }
            changed.await;
        }
    }
}

/// Waits for the answers.
async fn drive(
    window: Rc<Window>,
    mut incoming: mpsc::UnboundedReceiver<(usize, Promise<(), Error>)>,
    stall: Duration,
) -> Result<(), Error> {
    let mut acks = FuturesUnordered::new();
    let mut open = true;
    // When nothing was awaited yet, or an answer came.
    let mut progress = Instant::now();
    while open || !acks.is_empty() {
        tokio::select! {
            ack = incoming.next(), if open => match ack {
                Some((bytes, ack)) => {
                    if acks.is_empty() {
                        progress = Instant::now();
                    }
                    acks.push(async move { (bytes, ack.await) });
                }
                None => open = false,
            },
            Some((bytes, result)) = acks.next(), if !acks.is_empty() => {
                progress = Instant::now();
                window.in_flight.set(window.in_flight.get().saturating_sub(bytes));
                if let Err(error) = result {
                    window.failed.borrow_mut().get_or_insert(error);
                }
                window.changed.notify_waiters();
            }
            () = sleep_until(progress + stall), if !acks.is_empty() => {
                let late = Error::overloaded(format!(
                    "the receiver answered no call of the stream for {stall:?}: it is given up"
                ));
                window.failed.borrow_mut().get_or_insert(late);
                window.changed.notify_waiters();
                return Ok(());
            }
        }
    }
    Ok(())
}

impl FlowController for Flow {
    fn send(
        &mut self,
        message: Box<dyn OutgoingMessage>,
        ack: Promise<(), Error>,
    ) -> Promise<(), Error> {
        let bytes = message.size_in_words().saturating_mul(8);
        // It goes out now, whatever the window: its number is already taken.
        let _ = message.send();
        self.window.in_flight.set(self.window.in_flight.get().saturating_add(bytes));
        let _ = self.acks.unbounded_send((bytes, ack)); // fails after the connection
        let (window, outbound) = (self.window.clone(), self.outbound.clone());
        Promise::from_future(async move {
            window.until(Window::is_open).await?;
            outbound.gate(bytes).await
        })
    }

    fn wait_all_acked(&mut self) -> Promise<(), Error> {
        let window = self.window.clone();
        Promise::from_future(async move { window.until(|w| w.in_flight.get() == 0).await })
    }
}
