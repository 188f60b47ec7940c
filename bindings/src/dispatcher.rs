//! The thread on which a node's callbacks run.

use std::{
    fmt,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

/// Something to do on the dispatcher's thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs one after the other on one thread: its own, which is started with
/// the first job, one that the binding [drives](Self::driven), or one that has
/// a loop of its own, to which they are [posted](Self::posting). It ends when
/// the last clone is dropped. No lock is held while a job runs, so that a job
/// may call anything.
///
/// Its queue needs no bound of its own: a subscription has at most one batch in it, a
/// call one result, and a service no more requests than it may have in flight, whose
/// bytes count as long as they wait.
#[derive(Clone, Debug, Default)]
pub struct Dispatcher(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    jobs: Mutex<Option<Way>>,
    status: Arc<Status>,
}

/// How a job comes to its thread.
#[derive(Clone)]
enum Way {
    Queue(Sender<Job>),
    Post(Arc<dyn Fn(Job) -> bool + Send + Sync>),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue(_) => "Queue",
            Self::Post(_) => "Post",
        })
    }
}

#[derive(Debug, Default)]
struct Status {
    stopped: AtomicBool,
    busy: AtomicBool,
}

/// Gives the jobs of a dispatcher to the thread that runs them.
#[derive(Debug)]
pub struct Driver {
    jobs: Receiver<Job>,
    status: Arc<Status>,
}

impl Driver {
    /// Waits for the next job; `None` when there will be no more. Whoever asks
    /// again is through with the last one.
    pub fn next_job(&self) -> Option<Job> {
        self.status.busy.store(false, Ordering::SeqCst);
        let job = self.jobs.recv().ok()?;
        // Busy first: whoever stops looks at it afterwards.
        self.status.busy.store(true, Ordering::SeqCst);
        if self.status.stopped.load(Ordering::SeqCst) {
            self.status.busy.store(false, Ordering::SeqCst);
            return None;
        }
        Some(job)
    }
}

impl Dispatcher {
    /// A dispatcher whose jobs run on a thread of the caller's: one that a
    /// language made, and can end in its own way.
    pub fn driven() -> (Self, Driver) {
        let (sender, jobs) = mpsc::channel();
        let dispatcher = Self::default();
        *dispatcher.jobs() = Some(Way::Queue(sender));
        let status = dispatcher.0.status.clone();
        (dispatcher, Driver { jobs, status })
    }

    /// A dispatcher whose jobs are given to a language that runs them on a
    /// thread with a loop of its own, in the order in which they come. `post`
    /// gives false when that loop has ended; it is called with no lock held.
    pub fn posting(post: impl Fn(Job) -> bool + Send + Sync + 'static) -> Self {
        let dispatcher = Self::default();
        *dispatcher.jobs() = Some(Way::Post(Arc::new(post)));
        dispatcher
    }

    /// Runs a job after those before it. False if the dispatcher has been
    /// stopped; then the job is dropped.
    pub fn submit(&self, job: Job) -> bool {
        if self.is_stopped() {
            return false;
        }
        let mut jobs = self.jobs();
        match jobs.clone() {
            Some(Way::Queue(queue)) => return queue.send(job).is_ok(),
            Some(Way::Post(post)) => {
                drop(jobs);
                return post(job);
            }
            None => {}
        }
        let (sender, receiver) = mpsc::channel();
        let driver = Driver { jobs: receiver, status: self.0.status.clone() };
        let thread = thread::Builder::new().name("casm-callbacks".into());
        if let Err(error) = thread.spawn(move || run(&driver)) {
            tracing::error!(%error, "the thread for callbacks cannot be started");
            return false;
        }
        let sent = sender.send(job).is_ok();
        *jobs = Some(Way::Queue(sender));
        sent
    }

    /// Keeps a value that is dropped on the dispatcher's thread: what it refers to may be
    /// of a language that does whatever it likes then.
    pub fn keep<T: Send + 'static>(&self, value: T) -> Kept<T> {
        Kept { value: Some(value), dispatcher: self.clone() }
    }

    /// Whether it runs no more jobs.
    pub fn is_stopped(&self) -> bool {
        self.0.status.stopped.load(Ordering::SeqCst)
    }

    /// Runs no more jobs. The one that is running goes on.
    pub fn stop(&self) {
        self.0.status.stopped.store(true, Ordering::SeqCst);
        // The thread ends when it finds its queue closed.
        self.jobs().take();
    }

    /// Waits until no job is running, if that is soon.
    pub(crate) fn wait_idle(&self, timeout: Duration) {
        let start = Instant::now();
        while self.0.status.busy.load(Ordering::SeqCst) && start.elapsed() < timeout {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Option<Way>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that is dropped on a dispatcher's thread; if that has ended, where it is.
#[derive(Debug)]
pub struct Kept<T: Send + 'static> {
    /// Until it is dropped.
    value: Option<T>,
    dispatcher: Dispatcher,
}

impl<T: Send> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: Send> Drop for Kept<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        self.dispatcher.submit(Box::new(move || drop(value)));
    }
}

fn run(driver: &Driver) {
    while let Some(job) = driver.next_job() {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a callback panicked; the next ones are called");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_in_order_on_one_thread_and_a_panic_ends_none_of_them() {
        let dispatcher = Dispatcher::default();
        let (sender, receiver) = mpsc::channel();
        for n in 0..10 {
            let sender = sender.clone();
            dispatcher.submit(Box::new(move || {
                sender.send((n, thread::current().id())).unwrap();
                assert_ne!(n, 3, "a panic that is to be caught");
            }));
        }
        let got: Vec<_> = receiver.iter().take(10).collect();
        assert!(got.iter().map(|(n, _)| *n).eq(0..10));
        assert!(got.iter().all(|(_, thread)| *thread == got[0].1));
    }

    #[test]
    fn the_thread_ends_when_the_last_clone_is_dropped() {
        let dispatcher = Dispatcher::default();
        let (held, ended) = mpsc::channel::<()>();
        dispatcher.submit(Box::new(move || {
            thread_local!(static HELD: std::cell::RefCell<Option<Sender<()>>> = const { std::cell::RefCell::new(None) });
            HELD.set(Some(held));
        }));
        drop(dispatcher.clone());
        drop(dispatcher);
        // The sender goes with the thread.
        assert!(
            ended
                .recv_timeout(Duration::from_secs(30))
                .is_err_and(|e| e == mpsc::RecvTimeoutError::Disconnected)
        );
    }

    #[test]
    fn what_is_kept_is_dropped_on_the_thread() {
        struct Tells(Sender<thread::ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.0.send(thread::current().id()).unwrap();
            }
        }
        let (sender, receiver) = mpsc::channel();
        let dispatcher = Dispatcher::default();
        let ask = sender.clone();
        dispatcher.submit(Box::new(move || ask.send(thread::current().id()).unwrap()));
        let its = receiver.recv().unwrap();
        drop(dispatcher.keep(Tells(sender.clone())));
        assert_eq!(receiver.recv(), Ok(its));
        dispatcher.stop();
        drop(dispatcher.keep(Tells(sender)));
        assert_eq!(receiver.recv(), Ok(thread::current().id()));
    }

    #[test]
    fn a_driven_dispatcher_starts_no_thread_and_ends_with_its_last_clone() {
        let (dispatcher, driver) = Dispatcher::driven();
        let (sender, receiver) = mpsc::channel();
        assert!(dispatcher.submit(Box::new(move || sender.send(thread::current().id()).unwrap())));
        drop(dispatcher);
        driver.next_job().unwrap()();
        assert_eq!(receiver.recv(), Ok(thread::current().id()));
        assert!(driver.next_job().is_none());
    }

    #[test]
    fn jobs_are_posted_in_order_until_the_dispatcher_is_stopped() {
        let posted = Arc::new(Mutex::new(Vec::new()));
        let loops = posted.clone();
        let dispatcher = Dispatcher::posting(move |job| {
            loops.lock().unwrap().push(job);
            true
        });
        let (sender, receiver) = mpsc::channel();
        for n in 0..3 {
            let sender = sender.clone();
            assert!(dispatcher.submit(Box::new(move || sender.send(n).unwrap())));
        }
        posted.lock().unwrap().drain(..).for_each(|job| job());
        assert!(receiver.try_iter().eq(0..3));
        dispatcher.stop();
        assert!(!dispatcher.submit(Box::new(|| {})));
        assert!(posted.lock().unwrap().is_empty());
    }

    #[test]
    fn a_stopped_dispatcher_runs_nothing_more() {
        let dispatcher = Dispatcher::default();
        let (go, wait) = mpsc::channel::<()>();
        let (sender, receiver) = mpsc::channel();
        dispatcher.submit(Box::new({
            let sender = sender.clone();
            move || {
                sender.send(0).unwrap();
                wait.recv().unwrap();
            }
        }));
        dispatcher.submit(Box::new({
            let sender = sender.clone();
            move || sender.send(1).unwrap()
        }));
        assert_eq!(receiver.recv(), Ok(0));
        dispatcher.stop();
        go.send(()).unwrap();
        assert!(!dispatcher.submit(Box::new(move || sender.send(2).unwrap())));
        // Every sender is gone once the thread is through with its queue.
        assert_eq!(receiver.iter().count(), 0);
    }
}
