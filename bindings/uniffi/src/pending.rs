//! Calls in the background: begun, told of when they are over, and called off.

use crate::{
    byte_stream::ByteStream,
    call::Waiting,
    csp::{Channel, Job, Lease, Selected, Semaphore},
    errors::{CasmError, Result},
    items::{Change, Event, Message, PeerFound, PeerReply, Record},
    listener::ListenerError,
    node::Node,
    remote::RemoteView,
    service::Answer,
    view::View,
};
use casm_bindings::{Error, ErrorKind, dispatcher_of_calls, spawn};
use std::{
    future::{Future, poll_fn},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

/// Is told that a call in the background is over. It should do no more than wake who
/// waits for that: the thread on which it is called is the same for all nodes. What it
/// throws is logged.
#[uniffi::export(with_foreign)]
pub trait Done: Send + Sync {
    /// The call is over: its result can be taken.
    fn done(&self) -> Result<(), ListenerError>;
}

/// A value that is there. Dropped, it goes back to where it came from, or is closed.
pub(crate) type Given<T> = Box<dyn FnOnce() -> T + Send>;

/// A call in the background. It ends when this is dropped.
pub struct Pending<T: 'static> {
    what: &'static str,
    shared: Arc<Shared<T>>,
    running: Option<casm_bindings::Pending>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    told: Mutex<Told>,
}

enum State<T> {
    Runs(Waiting<Given<T>>),
    /// Why will be said in a moment.
    Ended,
    Over(Result<Given<T>>),
    Taken,
}

#[derive(Default)]
struct Told {
    over: bool,
    waiting: Vec<Arc<dyn Done>>,
}

impl<T> Pending<T> {
    /// Begins a call, that has this long.
    pub(crate) fn begin(
        what: &'static str,
        call: impl Future<Output = casm_bindings::Result<Given<T>>> + Send + 'static,
        timeout: Option<Duration>,
    ) -> Self {
        let shared = Shared::new(State::Runs(Box::pin(call)), false);
        let (runs, ends) = (Runs(shared.clone()), Ends(shared.clone()));
        let call = poll_fn(move |cx| runs.poll(cx));
        let running = spawn(what, dispatcher_of_calls(), call, timeout, move |result| {
            if let Err(error) = result {
                ends.0.failed(error.into());
            }
        });
        let running =
            running.map_err(|error| *lock(&shared.state) = State::Over(Err(error.into())));
        Self { what, shared, running: running.ok() }
    }

    /// One that is over.
    pub(crate) fn over(what: &'static str, result: Result<Given<T>>) -> Self {
        Self { what, shared: Shared::new(State::Over(result), true), running: None }
    }

    fn when_done(&self, done: Arc<dyn Done>) {
        let mut told = lock(&self.shared.told);
        if !told.over {
            return told.waiting.push(done);
        }
        drop(told);
        tell(&*done);
    }

    fn take(&self) -> Result<T> {
        let mut state = lock(&self.shared.state);
        let (kind, message) = match &*state {
            State::Over(_) => {
                let State::Over(result) = mem::replace(&mut *state, State::Taken) else {
                    unreachable!("it was over")
                };
                drop(state);
                return result.map(|given| given());
            }
            State::Taken => (ErrorKind::Closed, "its result was taken: begin another"),
            State::Runs(_) | State::Ended => {
                (ErrorKind::Busy, "it is not over: wait until `when_done` says so")
            }
        };
        Err(Error::new(kind, format!("{}: {message}", self.what)).into())
    }

    fn cancel(&self) {
        let mut state = lock(&self.shared.state);
        // What is dropped of it may do anything.
        let dropped = match &*state {
            State::Taken | State::Over(Err(_)) => None,
            State::Runs(_) | State::Ended | State::Over(Ok(_)) => {
                let error =
                    Error::new(ErrorKind::Cancelled, format!("{} was cancelled", self.what));
                Some(mem::replace(&mut *state, State::Over(Err(error.into()))))
            }
        };
        drop(state);
        drop(dropped);
        if let Some(running) = &self.running {
            running.cancel();
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> Shared<T> {
    fn new(state: State<T>, over: bool) -> Arc<Self> {
        let told = Told { over, waiting: Vec::new() };
        Arc::new(Self { state: Mutex::new(state), told: Mutex::new(told) })
    }

    /// It came to an end without a result.
    fn failed(&self, error: CasmError) {
        let mut state = lock(&self.state);
        let dropped = match &*state {
            State::Runs(_) | State::Ended => {
                Some(mem::replace(&mut *state, State::Over(Err(error))))
            }
            State::Over(_) | State::Taken => None,
        };
        drop(state);
        drop(dropped);
    }
}

/// What runs the call. The call is in the state, so that who cancels it can be sure
/// that nothing is left of it.
struct Runs<T>(Arc<Shared<T>>);

impl<T> Runs<T> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<casm_bindings::Result<()>> {
        let mut state = lock(&self.0.state);
        let State::Runs(call) = &mut *state else { return Poll::Ready(Ok(())) };
        let result = ready!(call.as_mut().poll(cx)).map_err(CasmError::from);
        let call = mem::replace(&mut *state, State::Over(result));
        drop(state);
        drop(call);
        Poll::Ready(Ok(()))
    }
}

impl<T> Drop for Runs<T> {
    /// Its time is over, or it panicked, or it has ended.
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if !matches!(&*state, State::Runs(_)) {
            return;
        }
        let call = mem::replace(&mut *state, State::Ended);
        drop(state);
        drop(call);
    }
}

/// Tells that the call is over when it is dropped, also by a thread that ends.
struct Ends<T>(Arc<Shared<T>>);

impl<T> Drop for Ends<T> {
    fn drop(&mut self) {
        let message = "the thread that tells of calls cannot be started, or has ended";
        self.0.failed(Error::new(ErrorKind::Io, message).into());
        let mut told = lock(&self.0.told);
        told.over = true;
        let waiting = mem::take(&mut told.waiting);
        drop(told);
        waiting.iter().for_each(|done| tell(&**done));
    }
}

pub(crate) fn tell(done: &dyn Done) {
    if let Err(error) = done.done() {
        tracing::warn!(target: "casm::bindings", %error, "who is told that a call is over failed");
    }
}

/// What these locks guard is whole at every moment at which a panic could strike. The
/// state's is held while the call is polled, which doesn't wait.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a call in the background may give. Public as far as the compiler wants it:
/// nobody can name it elsewhere.
pub trait Gives: Sized + 'static {
    /// Such a call, as it is exported.
    type Pending;

    fn exported(pending: Pending<Self>) -> Arc<Self::Pending>;
}

/// Objects that are exported cannot be generic.
macro_rules! pendings {
    ($($name:ident => $result:ty,)+) => {$(
        /// A call in the background, which began with this. It is called off when
        /// nobody holds this any more.
        #[derive(uniffi::Object)]
        pub struct $name(Pending<$result>);

        impl Gives for $result {
            type Pending = $name;

            fn exported(pending: Pending<Self>) -> Arc<$name> {
                Arc::new($name(pending))
            }
        }

        #[uniffi::export]
        impl $name {
            /// Has this told, once, that the call is over: on a thread of the library,
            /// or before this returns if it is over already.
            pub fn when_done(&self, done: Arc<dyn Done>) {
                self.0.when_done(done);
            }

            /// The result, once. It doesn't wait: `Busy` if the call is not over,
            /// `Closed` if the result was taken.
            pub fn take(&self) -> Result<$result> {
                self.0.take()
            }

            /// Calls it off: when this returns, nothing is left of it here, and the
            /// result is a `Cancelled`. A value that is there and was not taken goes
            /// back, or is closed. Does nothing if it failed, or the result was taken.
            pub fn cancel(&self) {
                self.0.cancel();
            }
        }
    )+};
}

pendings! {
    PendingUnit => (),
    PendingNode => Node,
    PendingView => View,
    PendingRemoteView => RemoteView,
    PendingPeer => String,
    PendingPeers => Vec<String>,
    PendingNumber => u32,
    PendingBytes => Vec<u8>,
    PendingByteStream => ByteStream,
    PendingChannel => Channel,
    PendingJob => Job,
    PendingSelected => Selected,
    PendingSemaphore => Semaphore,
    PendingLease => Lease,
    PendingAnswer => Answer,
    PendingMaybeRecord => Option<Record>,
    PendingMaybeEvent => Option<Event>,
    PendingMaybeChange => Option<Change>,
    PendingMaybeFound => Option<PeerFound>,
    PendingMaybeMessage => Option<Message>,
    PendingMaybeReply => Option<PeerReply>,
    PendingMaybeBytes => Option<Vec<u8>>,
}
