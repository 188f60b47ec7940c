//! Connections to the services of other nodes: one stream to each, for all calls.

use super::{
    EXPORTED, Headers, NAME, Reply,
    attempt::Attempt,
    wire::{self as form, Failure},
};
use crate::{
    Error, ErrorKind, PeerId, Result,
    rpc::{self, Remote, Room, Vat},
    schema::service_capnp::{service, services},
    scope::Scope,
};
use capnp::{capability::FromClientHook, private::capability::ClientHook};
use capnp_rpc::new_client;
use futures::FutureExt as _;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep},
};

/// Services of one node whose objects are kept.
const KEPT: usize = 64;
/// Bytes of parts of one call that may wait: a sender that waits for answers has a
/// window of 32 or 64 KiB.
const WAITING: usize = 256 << 10;

/// What is asked, of one or of many.
pub(super) struct Question {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
    pub(super) headers: Headers,
    pub(super) deadline: Option<Instant>,
}

impl Question {
    /// How long the answer may take, in the words of the wire.
    fn timeout_ms(&self) -> u32 {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        // Not a part of a millisecond less: the caller's deadline is the first to pass.
        let ms = |left: Duration| {
            u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
        };
        self.deadline.map_or(0, |at| ms(left(at)))
    }
}

/// Why there is no answer, and whether the request may have been worked on.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: Error,
    pub(super) begun: bool,
    /// Whether it was not waited for, and may be reached yet.
    pub(super) slow: bool,
}

impl Lost {
    /// It was not reached.
    pub(super) fn unreached(error: Error) -> Self {
        Self { error, begun: false, slow: false }
    }
}

/// A part, or the end.
pub(super) enum Item {
    Part(Vec<u8>),
    End(Result<()>),
}

/// The connections.
pub(super) struct Links {
    vat: Vat,
    links: rpc::Links<Remote<Client>>,
}

impl Links {
    pub(super) fn new(vat: Vat, scope: &Scope) -> Self {
        Self { links: rpc::Links::new(&vat, scope.clone(), Handle::current()), vat }
    }

    pub(super) fn vat(&self) -> &Vat {
        &self.vat
    }

    /// Asks a peer; gives what it answers.
    pub(super) async fn call(
        &self,
        peer: PeerId,
        question: Arc<Question>,
        attempt: Attempt,
    ) -> Result<Result<Reply, Failure>, Lost> {
        let call = move |client: Client, wire| async move { client.call(&question, wire).await };
        self.with(peer, attempt.patience, call).await
    }

    /// Asks a peer for parts, and hands them on.
    pub(super) async fn stream(
        &self,
        peer: PeerId,
        question: Arc<Question>,
        to: mpsc::Sender<Item>,
        attempt: Attempt,
    ) -> Result<Result<Reply, Failure>, Lost> {
        let patience = attempt.patience;
        let stream = move |client: Client, wire| async move {
            client.stream(&question, to, attempt, wire).await
        };
        self.with(peer, patience, stream).await
    }

    /// Asks a peer, unless it takes longer than so until it can be.
    async fn with<F, Fut>(
        &self,
        peer: PeerId,
        patience: Option<Duration>,
        work: F,
    ) -> Result<Result<Reply, Failure>, Lost>
    where
        F: FnOnce(Client, Wire) -> Fut + Send + 'static,
        Fut: Future<Output = capnp::Result<Result<Reply, Failure>>> + 'static,
    {
        let begun = Arc::new(Begun::default());
        let asked = async {
            let remote = self.link(peer).await.map_err(Lost::unreached)?;
            let wire = begun.clone();
            // The error is looked at here, and not as others would.
            let asked = remote
                .with_room(move |client, room| work(client, Wire { room, begun: wire }).map(Ok));
            match asked.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(lost(&peer, error, begun.is_begun())),
                Err(error) => Err(Lost { error, begun: begun.is_begun(), slow: false }),
            }
            .map_err(|lost| self.unless_paused(&peer, lost))
        };
        let mut asked = pin!(asked);
        let Some(patience) = patience else { return asked.await };
        tokio::select! {
            biased;
            result = &mut asked => return result,
            () = sleep(patience) => {}
        }
        if begun.give_up() {
            let message = format!("{peer} could not be asked within {patience:?}");
            let error = Error::new(ErrorKind::Unreachable, message);
            return Err(Lost { error, begun: false, slow: true });
        }
        asked.await
    }

    /// A connection that a pause has ended.
    fn unless_paused(&self, peer: &PeerId, lost: Lost) -> Lost {
        if lost.error.kind() != ErrorKind::Unreachable || self.vat.connector().host().life().is_up()
        {
            return lost;
        }
        let error = match lost.begun {
            true => {
                let message = format!(
                    "this node was paused before {peer} had answered: it may have been done"
                );
                Error::new(ErrorKind::Paused, message).with_source(lost.error)
            }
            false => Error::paused(),
        };
        Lost { error, ..lost }
    }

    /// The connection to a peer, which the first call makes.
    async fn link(&self, peer: PeerId) -> Result<Remote<Client>> {
        let vat = self.vat.clone();
        let make = || async move {
            vat.connector().connect(peer).await?;
            vat.connect_as(peer, NAME, EXPORTED).await.map_err(|e| unserved(peer, e))
        };
        self.links.link(peer, make).await
    }
}

/// What it means that a peer that is connected does not take calls.
fn unserved(peer: PeerId, error: Error) -> Error {
    match error.kind() {
        // It serves nothing, not even that it doesn't.
        ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("{peer} serves no services"))
        }
        _ => error,
    }
}

/// What an error of the RPC system means.
fn lost(peer: &PeerId, error: capnp::Error, begun: bool) -> Lost {
    let (kind, begun) = match error.kind {
        capnp::ErrorKind::Disconnected => (ErrorKind::Unreachable, begun),
        capnp::ErrorKind::Overloaded => (ErrorKind::Busy, false),
        _ => (ErrorKind::Protocol, begun),
    };
    let error = Error::new(kind, format!("{peer}: {error}")).with_source(error);
    Lost { error, begun, slow: false }
}

/// Whether a request is sent, or given up before: either, and for good.
#[derive(Debug, Default)]
struct Begun(AtomicU8);

impl Begun {
    const NEITHER: u8 = 0;
    const SENT: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn turn(&self, to: u8) -> bool {
        self.0.compare_exchange(Self::NEITHER, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Whether it may be sent.
    fn begin(&self) -> bool {
        self.turn(Self::SENT)
    }

    /// Whether it was not sent, and never will be.
    fn give_up(&self) -> bool {
        self.turn(Self::GIVEN_UP)
    }

    fn is_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Self::SENT
    }
}

/// The way to a peer, for one request.
struct Wire {
    room: Room,
    begun: Arc<Begun>,
}

impl Wire {
    /// Waits until there is room for so many bytes, which are sent then.
    async fn begin(&self, bytes: usize) -> capnp::Result<()> {
        self.room.wait(bytes).await?;
        match self.begun.begin() {
            true => Ok(()),
            false => Err(capnp::Error::failed("it was given up".into())),
        }
    }
}

/// The services of another node. Clones share what is kept of them. Lives on the
/// vat's thread.
#[derive(Clone)]
pub(super) struct Client {
    services: services::Client,
    kept: Rc<RefCell<HashMap<String, service::Client>>>,
}

impl FromClientHook for Client {
    fn new(hook: Box<dyn ClientHook>) -> Self {
        Self { services: services::Client::new(hook), kept: Rc::default() }
    }

    fn into_client_hook(self) -> Box<dyn ClientHook> {
        self.services.into_client_hook()
    }

    fn as_client_hook(&self) -> &dyn ClientHook {
        self.services.as_client_hook()
    }
}

impl Client {
    async fn call(self, question: &Question, wire: Wire) -> capnp::Result<Result<Reply, Failure>> {
        wire.begin(question.data.len()).await?;
        let mut request = self.service(&question.name).call_request();
        let mut params = request.get();
        params.set_request(&question.data);
        params.set_timeout_ms(question.timeout_ms());
        let headers = params.init_headers(form::count(&question.headers));
        form::write_headers(&question.headers, headers);
        let answer = async {
            let response = request.send().promise.await?;
            form::read_answer(response.get()?.get_answer()?)
        };
        self.unless_broken(&question.name, answer.await)
    }

    async fn stream(
        self,
        question: &Question,
        to: mpsc::Sender<Item>,
        attempt: Attempt,
        wire: Wire,
    ) -> capnp::Result<Result<Reply, Failure>> {
        wire.begin(question.data.len()).await?;
        let mut request = self.service(&question.name).stream_request();
        let mut params = request.get();
        params.set_request(&question.data);
        params.set_timeout_ms(question.timeout_ms());
        let any = Rc::<Cell<bool>>::default();
        let waiting = Rc::default();
        params.set_parts(new_client(Taker { to, any: any.clone(), waiting, attempt }));
        let headers = params.init_headers(form::count(&question.headers));
        form::write_headers(&question.headers, headers);
        let answer = async {
            let response = request.send().promise.await?;
            form::read_answer(response.get()?.get_answer()?)
        };
        let answer = self.unless_broken(&question.name, answer.await);
        let not_begun = match &answer {
            Ok(Ok(_)) => false,
            Ok(Err(failure)) => !failure.kind.begun(),
            Err(error) => error.kind == capnp::ErrorKind::Overloaded,
        };
        if any.get() && not_begun {
            // Whatever it says: the parts were handed on already.
            return Err(capnp::Error::failed(
                "it sent parts, and says that it didn't begin".into(),
            ));
        }
        answer
    }

    /// The object of a service: one that is kept, or a new one.
    fn service(&self, name: &str) -> service::Client {
        let mut kept = self.kept.borrow_mut();
        if let Some(service) = kept.get(name) {
            return service.clone();
        }
        let mut request = self.services.get_request();
        request.get().set_name(name);
        let service = request.send().pipeline.get_service();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(name.to_owned(), service.clone());
        service
    }

    /// An object that gave an error may be of no more use.
    fn unless_broken<T>(&self, name: &str, result: capnp::Result<T>) -> capnp::Result<T> {
        if result.is_err() {
            self.kept.borrow_mut().remove(name);
        }
        result
    }
}

/// Takes parts. While nobody reads them, it answers none.
struct Taker {
    to: mpsc::Sender<Item>,
    /// Whether one came.
    any: Rc<Cell<bool>>,
    /// Bytes of those that wait until they are read.
    waiting: Rc<Cell<usize>>,
    attempt: Attempt,
}

/// A part that waits until it is read.
struct Waiting(Rc<Cell<usize>>, usize);

impl Waiting {
    /// A part more, unless they have too many bytes.
    fn add(waiting: &Rc<Cell<usize>>, bytes: usize) -> Option<Self> {
        let all = waiting.get() + bytes;
        (all <= WAITING).then(|| {
            waiting.set(all);
            Self(waiting.clone(), bytes)
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(self.1));
    }
}

impl service::parts::Server for Taker {
    async fn part(self: Rc<Self>, params: service::parts::PartParams) -> capnp::Result<()> {
        let part = params.get()?.get_data()?;
        if part.len() > form::MAX_PART {
            return Err(capnp::Error::failed("a part has more than 64 KiB".into()));
        }
        let Some(_waiting) = Waiting::add(&self.waiting, part.len()) else {
            let why = "parts of more than 256 KiB were sent before one of them was answered";
            return Err(capnp::Error::failed(why.into()));
        };
        let part = part.to_vec();
        // Not kept while it waits.
        drop(params);
        let gone = |_| capnp::Error::failed("nobody takes the parts any more".into());
        if !self.any.replace(true) {
            self.attempt.first();
        }
        self.to.send(Item::Part(part)).await.map_err(gone)
    }

    async fn end(
        self: Rc<Self>,
        _: service::parts::EndParams,
        _: service::parts::EndResults,
    ) -> capnp::Result<()> {
        // Behind those that wait for room.
        let gone = |_| capnp::Error::failed("nobody takes the parts any more".into());
        self.to.reserve().await.map(drop).map_err(gone)
    }
}

#[cfg(test)]
mod tests;
