//! The way into a JavaScript thread: the main one, or that of a worker.
//!
//! Jobs of any thread are queued here, and one wake-up of the JavaScript thread
//! takes all that are there. Nothing of JavaScript's is held outside of that
//! thread: a job leaves its result under a number, and the TypeScript layer
//! knows whom that number is for.

use crate::{
    byte_stream::ByteStream,
    csp::{NativeChannel, NativeJob, NativeLease, NativeParcel, NativeSemaphore},
    errors::Fault,
    items::Items,
    log::LogLine,
    node::Node,
    records::Records,
    remote::RemoteView,
    service::Request,
    stream::Subscription,
    view::View,
};
use casm_bindings::{Dispatcher, Job, close_all};
use napi::{
    Env, Status,
    bindgen_prelude::{Function, Uint8Array},
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Something for the TypeScript layer to do: for the call or the subscription
/// of this number.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct Work {
    pub id: u32,
    pub error: Option<Fault>,
    pub items: Option<Items>,
    pub node: Option<Node>,
    pub subscription: Option<Subscription>,
    pub view: Option<View>,
    pub remote: Option<RemoteView>,
    pub record: Option<Records>,
    pub text: Option<String>,
    pub stream: Option<ByteStream>,
    pub streams: Option<Vec<ByteStream>>,
    pub texts: Option<Vec<String>>,
    pub count: Option<f64>,
    pub request: Option<Request>,
    pub data: Option<Uint8Array>,
    pub headers: Option<BTreeMap<String, String>>,
    pub logs: Option<Vec<LogLine>>,
    pub channel: Option<NativeChannel>,
    pub parcel: Option<NativeParcel>,
    pub job: Option<NativeJob>,
    pub semaphore: Option<NativeSemaphore>,
    pub lease: Option<NativeLease>,
}

thread_local! {
    /// What the jobs that run on this thread want to be done.
    static WORK: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
}

/// Leaves work to the thread that runs the job that calls this.
pub(crate) fn hand_over(work: Work) {
    WORK.with_borrow_mut(|list| list.push(work));
}

/// Weak: it does not keep the program alive. One wake-up in its queue is
/// enough, whatever comes before it is handled.
type Wake = ThreadsafeFunction<(), (), Vec<Work>, Status, false, true, 1>;

/// How long leaving may take when a thread ends that closed nothing.
const AT_END: Duration = Duration::from_millis(100);

/// The way into the thread that made it.
#[napi]
pub struct Port(pub(crate) Arc<Shared>);

#[derive(Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    nodes: Mutex<Vec<casm_bindings::Node>>,
}

/// What is in it is bounded as for any [`Dispatcher`].
#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// None when the thread is ending.
    wake: Option<Wake>,
}

#[napi]
impl Port {
    /// A way to have `deliver` called, on this thread, with all that there is
    /// to do.
    #[napi(constructor)]
    pub fn new(env: Env, deliver: Function<'_, Vec<Work>, ()>) -> napi::Result<Self> {
        let shared = Arc::new(Shared::default());
        let weak = Arc::downgrade(&shared);
        let wake = deliver
            .build_threadsafe_function::<()>()
            .callee_handled::<false>()
            .weak::<true>()
            .max_queue_size::<1>()
            .build_callback(move |_| {
                Ok(weak.upgrade().map(|shared| shared.run()).unwrap_or_default())
            })?;
        shared.queue().wake = Some(wake);
        // Hooks run last to first: this one before that which ends the wake-up.
        env.add_env_cleanup_hook(shared.clone(), |shared| shared.close(AT_END))?;
        Ok(Self(shared))
    }

    /// Ends the nodes of this thread, with a goodbye to their clusters if that
    /// is done in `timeout` milliseconds. Nothing is delivered any more.
    #[napi]
    pub fn close(&self, timeout: u32) {
        self.0.close(Duration::from_millis(timeout.into()));
    }
}

impl Shared {
    /// A dispatcher whose jobs run on the JavaScript thread.
    pub(crate) fn dispatcher(self: &Arc<Self>) -> Dispatcher {
        let port = Arc::downgrade(self);
        Dispatcher::posting(move |job| port.upgrade().is_some_and(|port| port.post(job)))
    }

    /// Has this node closed when the thread ends.
    pub(crate) fn add(&self, node: &casm_bindings::Node) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|node| !node.is_closed());
        nodes.push(node.clone());
    }

    fn post(&self, job: Job) -> bool {
        let mut queue = self.queue();
        let Some(wake) = &queue.wake else { return false };
        // Under the lock, so that `close` can be sure of no call after it.
        match wake.call((), ThreadsafeFunctionCallMode::NonBlocking) {
            // It is full: the thread was woken already, and is still to look.
            Status::Ok | Status::QueueFull => {
                queue.jobs.push(job);
                true
            }
            _ => false,
        }
    }

    /// Runs what is there, on the JavaScript thread, and gives what is to be
    /// done in JavaScript.
    fn run(&self) -> Vec<Work> {
        let jobs = mem::take(&mut self.queue().jobs);
        for job in jobs {
            // A job that panics leaves no work, and the next is done.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
        WORK.take()
    }

    fn close(&self, timeout: Duration) {
        // Dropped when the lock is free again.
        let ended = mem::take(&mut *self.queue());
        drop(ended);
        let nodes = mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        close_all(&nodes, timeout);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
