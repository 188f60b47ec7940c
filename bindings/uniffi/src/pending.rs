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
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    thread::{self, ThreadId},
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

/// A value that is there, or an error that comes once. Dropped, it goes back to where it
/// came from, or is closed.
pub(crate) type Given<T> = Box<dyn FnOnce() -> Result<T> + Send>;

/// A call in the background. It ends when this is dropped.
pub struct Pending<T: 'static> {
    what: &'static str,
    shared: Arc<Shared<T>>,
    running: Option<casm_bindings::Pending>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Is told when the state is no longer [`State::Leaves`].
    left: Condvar,
    told: Mutex<Told>,
}

enum State<T> {
    Runs(Waiting<Given<T>>),
    /// What was there is being dropped, by this thread: it goes back, and lets go of
    /// what it used. Others wait for that, so that they find it.
    Leaves(ThreadId),
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
        let mut state = self.shared.settled();
        let (kind, message) = match &*state {
            State::Over(_) => {
                let State::Over(result) = mem::replace(&mut *state, State::Taken) else {
                    unreachable!("it was over")
                };
                drop(state);
                return result.and_then(|given| given());
            }
            State::Taken => (ErrorKind::Closed, "its result was taken: begin another"),
            State::Runs(_) | State::Leaves(_) | State::Ended => {
                (ErrorKind::Busy, "it is not over: wait until `when_done` says so")
            }
        };
        Err(Error::new(kind, format!("{}: {message}", self.what)).into())
    }

    fn cancel(&self) {
        let state = self.shared.settled();
        match &*state {
            State::Taken | State::Over(Err(_)) | State::Leaves(_) => drop(state),
            State::Runs(_) | State::Ended | State::Over(Ok(_)) => {
                let error =
                    Error::new(ErrorKind::Cancelled, format!("{} was cancelled", self.what));
                self.shared.leaves(state, State::Over(Err(error.into())));
            }
        }
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
        let (state, told) = (Mutex::new(state), Mutex::new(told));
        Arc::new(Self { state, left: Condvar::new(), told })
    }

    /// The state, when nothing is leaving it, but for what this thread itself is dropping.
    fn settled(&self) -> MutexGuard<'_, State<T>> {
        let here = thread::current().id();
        let leaves =
            |state: &mut State<T>| matches!(state, State::Leaves(thread) if *thread != here);
        self.left.wait_while(lock(&self.state), leaves).unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what is there, without the lock, as that may do anything; `then` comes after it.
    fn leaves(&self, mut state: MutexGuard<'_, State<T>>, then: State<T>) {
        let left = mem::replace(&mut *state, State::Leaves(thread::current().id()));
        drop(state);
        // Also if it panics.
        let _settles = Settles(self, Some(then));
        drop(left);
    }

    /// It came to an end without a result.
    fn failed(&self, error: CasmError) {
        let mut state = lock(&self.state);
        let dropped = match &*state {
            State::Runs(_) | State::Ended => {
                Some(mem::replace(&mut *state, State::Over(Err(error))))
            }
            State::Over(_) | State::Taken | State::Leaves(_) => None,
        };
        drop(state);
        drop(dropped);
    }
}

struct Settles<'a, T>(&'a Shared<T>, Option<State<T>>);

impl<T> Drop for Settles<'_, T> {
    fn drop(&mut self) {
        if let Some(then) = self.1.take() {
            *lock(&self.0.state) = then;
        }
        self.0.left.notify_all();
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
        let state = lock(&self.0.state);
        if matches!(&*state, State::Runs(_)) {
            self.0.leaves(state, State::Ended);
        }
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

            /// The result, once. It doesn't wait for the call: `Busy` if that is not over,
            /// `Closed` if the result was taken. If another thread has just cancelled it,
            /// what was there is back when this returns.
            pub fn take(&self) -> Result<$result> {
                self.0.take()
            }

            /// Calls it off: when this returns, nothing is left of it here, and the
            /// result is a `Cancelled`. A value that is there and was not taken goes
            /// back, or is closed; a stream's error is for the next call. Does nothing
            /// if it failed otherwise, or the result was taken.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    };

    /// Says that it is on its way back, and is there when it is let.
    struct GoesBack {
        leaves: mpsc::Sender<()>,
        go: mpsc::Receiver<()>,
        back: Arc<AtomicBool>,
    }

    impl Drop for GoesBack {
        fn drop(&mut self) {
            let _ = self.leaves.send(());
            // Until it is told, or there is nobody to tell it.
            let _ = self.go.recv();
            self.back.store(true, Ordering::SeqCst);
        }
    }

    fn going(back: &Arc<AtomicBool>) -> (GoesBack, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((leaves, left), (goes, go)) = (mpsc::channel(), mpsc::channel());
        (GoesBack { leaves, go, back: back.clone() }, left, goes)
    }

    #[test]
    fn what_was_there_is_back_when_another_thread_hears_of_the_cancellation() {
        let back = Arc::new(AtomicBool::new(false));
        let (value, left, go) = going(&back);
        let given: Given<u32> = Box::new(move || {
            drop(value);
            Ok(1)
        });
        let pending = Pending::over("a call", Ok(given));
        thread::scope(|scope| {
            let (pending, back) = (&pending, &back);
            scope.spawn(|| pending.cancel());
            left.recv().unwrap();
            // A taker, and another who cancels.
            let (said, hears) = mpsc::channel();
            for takes in [true, false] {
                let said = said.clone();
                scope.spawn(move || {
                    let taken = if takes { pending.take() } else { Ok(0) };
                    pending.cancel();
                    let _ = said.send((taken, back.load(Ordering::SeqCst)));
                });
            }
            // While it is on its way nobody hears anything.
            let early = hears.recv_timeout(Duration::from_millis(100));
            drop(go);
            assert!(early.is_err(), "{early:?}");
            for _ in 0..2 {
                let (taken, back) = hears.recv().unwrap();
                assert!(back, "{taken:?}");
                assert!(matches!(taken, Err(CasmError::Cancelled(_)) | Ok(0)), "{taken:?}");
            }
        });
    }

    #[test]
    fn a_call_whose_time_is_over_has_let_go_of_everything_before_a_cancel_returns() {
        let back = Arc::new(AtomicBool::new(false));
        let (uses, left, go) = going(&back);
        let call: Waiting<Given<u32>> = Box::pin(async move {
            let _uses = uses;
            std::future::pending().await
        });
        let shared = Shared::new(State::Runs(call), false);
        let runs = Runs(shared.clone());
        // It is polled before it has anything.
        assert!(runs.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        let pending = Pending { what: "a call", shared, running: None };
        thread::scope(|scope| {
            scope.spawn(move || drop(runs));
            left.recv().unwrap();
            let (said, hears) = mpsc::channel();
            let (pending, back) = (&pending, &back);
            scope.spawn(move || {
                pending.cancel();
                let _ = said.send(back.load(Ordering::SeqCst));
            });
            let early = hears.recv_timeout(Duration::from_millis(100));
            drop(go);
            assert!(early.is_err(), "it uses something yet");
            assert!(hears.recv().unwrap());
        });
        assert!(matches!(pending.take(), Err(CasmError::Cancelled(_))));
    }

    #[test]
    fn what_is_dropped_may_call_it() {
        struct Calls(Arc<Mutex<Option<Arc<Pending<u32>>>>>);
        impl Drop for Calls {
            fn drop(&mut self) {
                let pending = lock(&self.0).take().unwrap();
                pending.cancel();
                assert!(matches!(pending.take(), Err(CasmError::Busy(_))));
            }
        }
        let own = Arc::new(Mutex::new(None));
        let value = Calls(own.clone());
        let given: Given<u32> = Box::new(move || {
            drop(value);
            Ok(1)
        });
        let pending = Arc::new(Pending::over("a call", Ok(given)));
        *lock(&own) = Some(pending.clone());
        pending.cancel();
        assert!(matches!(pending.take(), Err(CasmError::Cancelled(_))));
    }
}
