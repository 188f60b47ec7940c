//! Connects the RPC system to one stream, in any encoding, with bounds on all
//! that its peer can make it hold.

use super::{
    budget::{Account, Part},
    encoding::{Decoder, Encoding},
    flow::Flow,
    ledger::{Admission, Ledger},
    limits::RATE,
    message::Message,
    metrics::RpcMetrics,
    outbound::Outbound,
    thread::Local,
};
use capnp::{
    Error, any_pointer,
    capability::Promise,
    message::{Builder, HeapAllocator, ReaderSegments},
};
use capnp_rpc::{
    Connection, FlowController, IncomingMessage, OutgoingMessage, VatNetwork,
    rpc_capnp::{exception, message},
    rpc_twoparty_capnp::Side,
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, FutureExt, future::LocalBoxFuture};
use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Bytes that are read at once.
const READ: usize = 8 * 1024;

/// Bytes that are charged for what the RPC system keeps for each call.
const CALL: usize = 1024;

/// The network of two vats that one stream connects.
pub(super) struct Network {
    side: Side,
    /// Until the RPC system accepts it.
    connection: Option<Rc<Shared>>,
    weak: Weak<Shared>,
    outbound: Rc<Outbound>,
    driver: futures::future::Shared<LocalBoxFuture<'static, ()>>,
}

impl Network {
    /// A network over a stream. `side` is this end's.
    pub(super) fn new<S>(stream: S, encoding: Encoding, side: Side, local: &Local) -> Self
    where
        S: AsyncRead + AsyncWrite + 'static,
    {
        let (reader, writer) = stream.split();
        let Local { limits, metrics, budget, .. } = local;
        let account = budget.account();
        let outbound = Rc::new(Outbound::new(encoding, limits, metrics, account.clone()));
        let (dropped, on_drop) = oneshot::channel();
        let connection = Rc::new(Shared {
            side,
            outbound: outbound.clone(),
            ledger: RefCell::new(Ledger::new(limits)),
            held: Rc::new(Cell::new(0)),
            streams: Rc::new(Cell::new(0)),
            metrics: metrics.clone(),
            held_limit: limits.held_bytes,
            idle: limits.idle,
            stall: limits.stall,
            call: limits.call,
            account: account.clone(),
            reading: RefCell::new(Some(Box::new(Reading {
                stream: Box::new(reader),
                decoder: Decoder::new(encoding, limits.message_bytes),
                buffer: vec![0; READ],
                part: Part::new(account),
                waited: Duration::ZERO,
                arrived: 0,
            }))),
            _dropped: dropped,
        });
        let (pumped, end) = (outbound.clone(), End(Rc::downgrade(&connection)));
        let driver = async move {
            let _end = end;
            pumped.pump(writer).await;
            // The RPC system tells its callers first.
            let _ = on_drop.await;
        };
        Self {
            side,
            weak: Rc::downgrade(&connection),
            connection: Some(connection),
            outbound,
            driver: driver.boxed_local().shared(),
        }
    }

    /// What waits to be written.
    pub(super) fn outbound(&self) -> Rc<Outbound> {
        self.outbound.clone()
    }
}

/// Lets go of the stream when the RPC system is dropped, though there be
/// capabilities left that keep the connection's other parts.
struct End(Weak<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.outbound.fail(Error::disconnected("the connection has ended".into()));
            drop(shared.reading.borrow_mut().take());
        }
    }
}

impl VatNetwork<Side> for Network {
    fn connect(&mut self, host: Side) -> Option<Box<dyn Connection<Side>>> {
        if host == self.side {
            return None;
        }
        self.weak.upgrade().map(|shared| Box::new(Stream(shared)) as _)
    }

    fn accept(&mut self) -> Promise<Box<dyn Connection<Side>>, Error> {
        match self.connection.take() {
            Some(shared) => Promise::ok(Box::new(Stream(shared)) as _),
            None => Promise::from_future(std::future::pending()),
        }
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), Error> {
        Promise::from_future(self.driver.clone().map(Ok))
    }
}

/// One connection, as all its users see it.
struct Shared {
    side: Side,
    outbound: Rc<Outbound>,
    ledger: RefCell<Ledger>,
    /// Bytes of messages that were received and are still in use.
    held: Rc<Cell<usize>>,
    /// Streaming calls under way.
    streams: Rc<Cell<usize>>,
    metrics: RpcMetrics,
    held_limit: usize,
    idle: Duration,
    stall: Duration,
    call: Duration,
    /// All that the stream holds.
    account: Rc<Account>,
    reading: RefCell<Option<Box<Reading>>>,
    _dropped: oneshot::Sender<()>,
}

struct Reading {
    stream: Box<dyn AsyncRead + Unpin>,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// What the decoder holds, and what is charged for calls.
    part: Part,
    /// How long the rest of a message that has arrived in part was waited for, and
    /// how many bytes of it came meanwhile.
    waited: Duration,
    arrived: u64,
}

impl Reading {
    /// How long the rest of a message may still take, if one has arrived in part:
    /// the bytes of it are held as long as it is not whole.
    fn left(&self, stall: Duration) -> Option<Duration> {
        let most = stall.saturating_add(Duration::from_secs(self.arrived / RATE));
        (!self.decoder.is_between()).then(|| most.saturating_sub(self.waited))
    }

    /// The next message has not begun to arrive, as far as is known.
    fn is_whole(&mut self) {
        (self.waited, self.arrived) = (Duration::ZERO, 0);
    }
}

impl Shared {
    /// The next message for the RPC system; `None` at the end of the stream.
    async fn receive(&self, reading: &mut Reading) -> Result<Option<Received>, Error> {
        loop {
            self.outbound.readable().await?;
            let next = reading.decoder.next().inspect_err(|e| self.metrics.end(e.label()))?;
            if let Some(message) = next {
                reading.is_whole();
                self.measure(reading);
                let received = Received::new(message, &self.held, &self.account);
                let full = self.held.get() > self.held_limit || self.account.is_over();
                let root = received.message.get_root::<message::Reader>()?;
                if let message::Abort(abort) = root.which()? {
                    let why = abort?.get_reason()?.to_string().unwrap_or_default();
                    return Err(Error::disconnected(format!("the peer ended the stream: {why}")));
                }
                let admission = self.ledger.borrow_mut().incoming(root, full);
                match admission.inspect_err(|_| self.metrics.end("bad-message"))? {
                    Admission::Pass => return Ok(Some(received)),
                    Admission::Refuse { answer, release } => self.refuse(answer, &release),
                }
                continue;
            }
            self.measure(reading);
            if !reading.decoder.is_between() && self.account.is_over() {
                self.metrics.end("over-budget");
                // At once, before others are ended for what this one holds.
                reading.decoder = Decoder::new(Encoding::Plain, 0);
                reading.part.set(0);
                let why = "there is no room for a message: send it again later";
                return Err(Error::overloaded(why.into()));
            }
            let (left, begun) = (reading.left(self.stall), Instant::now());
            let read = timeout(self.idle, reading.stream.read(&mut reading.buffer));
            let n = tokio::select! {
                biased;
                error = self.outbound.ended() => return Err(error),
                () = self.overdue() => {
                    self.metrics.end("call-too-long");
                    let why = format!("a call took longer than {:?}", self.call);
                    return Err(Error::disconnected(why));
                }
                () = sleep(left.unwrap_or_default()), if left.is_some() => {
                    self.metrics.end("message-too-slow");
                    return Err(Error::disconnected("the rest of a message did not come".into()));
                }
                read = read => match read {
                    Ok(read) => read.map_err(|e| Error::disconnected(e.to_string()))?,
                    Err(_) if self.is_idle() => {
                        self.metrics.end("idle");
                        return Err(Error::disconnected("nothing happened on the stream".into()));
                    }
                    Err(_) => continue,
                },
            };
            if n == 0 {
                reading.decoder.end().inspect_err(|e| self.metrics.end(e.label()))?;
                return Ok(None);
            }
            if left.is_some() {
                reading.waited = reading.waited.saturating_add(begun.elapsed());
                reading.arrived = reading.arrived.saturating_add(n as u64);
            }
            reading.decoder.push(reading.buffer.get(..n).unwrap_or_default());
        }
    }

    /// Brings the account up to date.
    fn measure(&self, reading: &mut Reading) {
        let calls = self.ledger.borrow().calls().saturating_mul(CALL);
        reading.part.set(reading.decoder.held().saturating_add(calls));
    }

    /// Waits until a call has been under way for too long.
    async fn overdue(&self) {
        loop {
            let oldest = self.ledger.borrow_mut().oldest();
            match oldest {
                None => std::future::pending().await,
                Some(since) if since.elapsed() >= self.call => return,
                Some(since) => match since.checked_add(self.call) {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                },
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.ledger.borrow().under_way() == 0 && self.outbound.queued() == 0
    }

    /// Answers a call that the RPC system doesn't get.
    fn refuse(&self, answer: u32, release: &[u32]) {
        self.metrics.refuse("overloaded");
        let mut message = Builder::new_default();
        let mut ret = message.init_root::<message::Builder>().init_return();
        ret.set_answer_id(answer);
        ret.set_release_param_caps(false);
        let mut error = ret.init_exception();
        error.set_type(exception::Type::Overloaded);
        error.set_reason("too many calls, bytes or capabilities: try again later");
        self.outbound.push(&message);
        for &id in release {
            let mut message = Builder::new_default();
            let mut release = message.init_root::<message::Builder>().init_release();
            release.set_id(id);
            release.set_reference_count(1);
            self.outbound.push(&message);
        }
    }
}

/// What ends a stream, as all its open calls are told: they may have begun, and
/// `overloaded` says of a call that it has not.
fn ended(error: Error) -> Error {
    match error.kind {
        capnp::ErrorKind::Overloaded => Error::disconnected(error.extra),
        _ => error,
    }
}

/// A handle of a connection.
struct Stream(Rc<Shared>);

impl Connection<Side> for Stream {
    fn get_peer_vat_id(&self) -> Side {
        match self.0.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    fn new_outgoing_message(&mut self, first_segment_word_size: u32) -> Box<dyn OutgoingMessage> {
        let words = if first_segment_word_size == 0 { 64 } else { first_segment_word_size };
        let allocator = HeapAllocator::new().first_segment_words(words.min(1024));
        Box::new(Outgoing { message: Builder::new(allocator), shared: self.0.clone() })
    }

    fn receive_incoming_message(&mut self) -> Promise<Option<Box<dyn IncomingMessage>>, Error> {
        let weak = Rc::downgrade(&self.0);
        let Some(mut reading) = self.0.reading.borrow_mut().take() else {
            return Promise::err(Error::failed("the stream is being read already".into()));
        };
        let shared = self.0.clone();
        Promise::from_future(async move {
            let received = shared.receive(&mut reading).await.map_err(ended);
            drop(shared);
            if let Some(shared) = weak.upgrade() {
                *shared.reading.borrow_mut() = Some(reading);
            }
            Ok(received?.map(|message| Box::new(message) as _))
        })
    }

    fn new_stream(&mut self) -> (Box<dyn FlowController>, Promise<(), Error>) {
        let (flow, driver) = Flow::new(self.0.outbound.clone(), self.0.streams.clone());
        (Box::new(flow), Promise::from_future(driver))
    }

    fn shutdown(&mut self, _: capnp::Result<()>) -> Promise<(), Error> {
        self.0.outbound.close();
        let outbound = self.0.outbound.clone();
        Promise::from_future(async move {
            outbound.closed().await;
            Ok(())
        })
    }
}

/// A message that was received, counted as long as it is in use.
struct Received {
    message: Message,
    bytes: usize,
    held: Rc<Cell<usize>>,
    account: Rc<Account>,
}

impl Received {
    fn new(message: Message, held: &Rc<Cell<usize>>, account: &Rc<Account>) -> Self {
        let segments = message.get_segments();
        let bytes = (0..segments.len() as u32)
            .filter_map(|id| segments.get_segment(id))
            .map(<[u8]>::len)
            .sum();
        held.set(held.get().saturating_add(bytes));
        account.add(bytes);
        Self { message, bytes, held: held.clone(), account: account.clone() }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(self.bytes));
        self.account.sub(self.bytes);
    }
}

impl IncomingMessage for Received {
    fn get_body(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.message.get_root()
    }
}

/// A message to be sent.
struct Outgoing {
    message: Builder<HeapAllocator>,
    shared: Rc<Shared>,
}

impl OutgoingMessage for Outgoing {
    fn get_body(&mut self) -> capnp::Result<any_pointer::Builder<'_>> {
        self.message.get_root()
    }

    fn get_body_as_reader(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.message.get_root_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), Error>, Rc<Builder<HeapAllocator>>) {
        let Self { message, shared } = *self;
        let noted =
            message.get_root_as_reader().and_then(|root| shared.ledger.borrow_mut().outgoing(root));
        match noted {
            Ok(()) => shared.outbound.push(&message),
            Err(error) => shared.outbound.fail(ended(error)),
        }
        let outbound = shared.outbound.clone();
        let sent = async move { outbound.drained().await };
        (Promise::from_future(sent), Rc::new(message))
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.message
    }

    fn size_in_words(&self) -> usize {
        self.message.size_in_words()
    }
}
