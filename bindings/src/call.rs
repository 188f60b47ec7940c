//! Futures as blocking calls, and as calls with a callback.

use crate::{Dispatcher, Error, ErrorKind, Result, ours::Ours, runtime};
use futures::{FutureExt, future::BoxFuture};
use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
    thread::{self, Thread},
    time::{Duration, Instant},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a blocking call asks whether it is to be interrupted.
pub const CHECK_EVERY: Duration = Duration::from_millis(50);

/// Runs a future to its end on the calling thread.
///
/// `what` names the call in errors. `check` is called every [`CHECK_EVERY`];
/// its error ends the call.
///
/// # Errors
/// The future's; `Timeout`; what `check` gives; `Internal` if something
/// panicked.
pub fn block<T, E: From<Error>>(
    what: &str,
    future: impl Future<Output = Result<T>>,
    timeout: Option<Duration>,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<T, E> {
    let (mut result, mut interrupted) = (None, None);
    {
        let waiting = pin!(async { result = Some(future.await) });
        let mut goes_on = || check().map_err(|error| interrupted = Some(error)).is_ok();
        drive(what, waiting, timeout, &mut goes_on)?;
    }
    match (result, interrupted) {
        (Some(result), _) => result.map_err(E::from),
        (None, Some(error)) => Err(error),
        (None, None) => Err(timed_out(what, timeout).into()),
    }
}

/// Runs a future to its end, unless the time is over before, or `goes_on` says
/// no. Not generic: there would be a copy for each call of a binding.
fn drive(
    what: &str,
    mut future: Pin<&mut dyn Future<Output = ()>>,
    timeout: Option<Duration>,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<()> {
    let nodes = runtime::thread()?;
    if nodes.is_current() {
        let message = format!(
            "{what} was called on the thread of the nodes, which it would wait for: call it \
             from another, or in the background"
        );
        return Err(Error::new(ErrorKind::Internal, message));
    }
    let runtime = nodes.handle();
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut check_at = Instant::now() + CHECK_EVERY;
    let drive = || {
        // What it starts, and its timers, are of the runtime. This thread only waits, with
        // no timer there, which would wake that one.
        let _runtime = runtime.enter();
        while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            let now = Instant::now();
            let next = deadline.map_or(check_at, |at| at.min(check_at));
            if next > now {
                thread::park_timeout(next - now);
                continue;
            }
            if !goes_on() || deadline.is_some_and(|at| at <= Instant::now()) {
                return;
            }
            check_at = Instant::now() + CHECK_EVERY;
        }
    };
    let driven = catch_unwind(AssertUnwindSafe(drive));
    driven.map_err(|panic| panicked(what, &*panic))
}

/// Wakes a thread that waits in [`drive`].
struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a call that doesn't wait, and makes an error of a panic.
///
/// # Errors
/// The call's; `Internal` if it panicked.
pub fn guard<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(what, &*panic)))
}

/// A call that goes on in the background.
#[derive(Clone)]
pub struct Pending(Ours<Arc<Running>>);

impl Pending {
    /// Ends the call with `Cancelled`, unless it has ended already. When this returns,
    /// it uses nothing any more: another call may.
    pub fn cancel(&self) {
        if let Some(running) = self.0.mine() {
            let call = running.call().take();
            // The lock is free again: what is dropped may do anything, as on the runtime.
            let runtime = runtime::handle().ok();
            let _entered = runtime.as_ref().map(|runtime| runtime.enter());
            let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
            running.cancel.cancel();
        }
    }
}

struct Running {
    cancel: CancellationToken,
    /// None if it is over.
    call: Mutex<Option<BoxFuture<'static, Result<Value>>>>,
}

impl Running {
    /// Is held while the call is polled, which doesn't wait.
    fn call(&self) -> MutexGuard<'_, Option<BoxFuture<'static, Result<Value>>>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Value>> {
        let mut call = self.call();
        // It was called off, which is told.
        let Some(running) = call.as_mut() else { return Poll::Pending };
        let result = ready!(running.as_mut().poll(cx));
        let over = call.take();
        drop(call);
        drop(over);
        Poll::Ready(result)
    }
}

/// Whose call this runs: it is gone when this is.
struct Runs(Arc<Running>);

impl Drop for Runs {
    fn drop(&mut self) {
        let call = self.0.call().take();
        drop(call);
    }
}

/// A thread of this process that tells of calls which are over, in a language that
/// only wakes who waits for them. On a node's own thread they would be told after its
/// callbacks, and not while one of these waits for a call.
pub fn dispatcher_of_calls() -> &'static Dispatcher {
    &runtime::process().calls
}

/// Runs a future in the background, and tells its result to `done` on the
/// dispatcher's thread.
///
/// # Errors
/// `Io` if the runtime cannot be started; then `done` is not called.
pub fn spawn<T: Send + 'static>(
    what: &'static str,
    dispatcher: &Dispatcher,
    future: impl Future<Output = Result<T>> + Send + 'static,
    timeout: Option<Duration>,
    done: impl FnOnce(Result<T>) + Send + 'static,
) -> Result<Pending> {
    let future = Box::pin(async move { future.await.map(|value| Box::new(value) as Value) });
    let own = |value: Value| *value.downcast().expect("the future's own");
    start(what, dispatcher, future, timeout, Box::new(move |result| done(result.map(own))))
}

/// A value of some type.
type Value = Box<dyn Any + Send>;

/// The same, not generic: there would be a copy for each call of a binding.
fn start(
    what: &'static str,
    dispatcher: &Dispatcher,
    future: BoxFuture<'static, Result<Value>>,
    timeout: Option<Duration>,
    done: Box<dyn FnOnce(Result<Value>) + Send>,
) -> Result<Pending> {
    let call = Mutex::new(Some(future));
    let running = Arc::new(Running { cancel: CancellationToken::new(), call });
    let (runs, dispatcher) = (Runs(running.clone()), dispatcher.clone());
    runtime::handle()?.spawn(async move {
        let future = poll_fn(|cx| runs.0.poll(cx));
        let limit = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            biased;
            () = runs.0.cancel.cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, format!("{what} was cancelled")))
            }
            result = AssertUnwindSafe(future).catch_unwind() => {
                result.unwrap_or_else(|panic| Err(panicked(what, &*panic)))
            }
            () = limit => Err(timed_out(what, timeout)),
        };
        // Its time may be over: then nothing is left of it either.
        drop(runs);
        dispatcher.submit(Box::new(move || done(result)));
    });
    Ok(Pending(Ours::new(running)))
}

/// Cancels what waits for it when it is dropped.
pub(crate) type CancelOnDrop = DropGuard;

fn timed_out(what: &str, timeout: Option<Duration>) -> Error {
    let message = format!("{what}: not done within {:?}", timeout.unwrap_or_default());
    Error::new(ErrorKind::Timeout, message)
}

fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let text = (panic.downcast_ref::<&str>().copied())
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(ErrorKind::Internal, format!("{what} panicked: {text}; please report it"))
}
