//! The requests of a service that wait for a thread of the language's.

use crate::{Node, Request, Result, ServeSpec, Serving, ours::Ours, runtime};
use futures::future::BoxFuture;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

/// How long a thread that is one too many waits for a request.
const IDLE: Duration = Duration::from_secs(10);
/// How long a thread that was woken may take until it asks: a language may have it do
/// other things first. Then another is woken.
const COMES_WITHIN: Duration = Duration::from_millis(20);

/// The requests of a service, for threads that ask for one after the other.
///
/// At most as many wait as the service may have in flight, since one that waits
/// holds its place. One whose answer nobody waits for any more is not given out.
/// They come in their order, unless the oldest has waited for more than half of its
/// time: then there are more than can be answered, and the newest comes first, which
/// can be answered in time. So what is done is of use to somebody, however many ask.
pub struct Requests(Ours<Arc<Shared>>);

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    /// The most threads.
    most: usize,
    idle: Duration,
    me: Weak<Self>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Request>,
    threads: usize,
    idle: usize,
    /// When one was woken that has not asked yet.
    woken: Option<Instant>,
    /// Whether somebody looks if it comes.
    watched: bool,
    over: bool,
}

/// A request, for the thread that asked.
pub struct Given {
    /// The request.
    pub request: Request,
    /// Whether to start a thread that asks too: there is none that waits.
    pub start: bool,
}

/// What there is for a thread that asks.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it comes")]
pub enum Next {
    /// A request.
    Given(Given),
    /// Nothing now: [wait](Requests::wait).
    Wait,
    /// The thread is to end: there will be no more.
    End,
}

/// That a thread was woken for a request, for its next question.
#[must_use]
pub struct Woken(());

impl Requests {
    fn new(most: usize, idle: Duration) -> Self {
        // The one that is started with it.
        let queue = Queue { threads: 1, ..Queue::default() };
        Self(Ours::new(Arc::new_cyclic(|me| Shared {
            queue: Mutex::new(queue),
            more: Condvar::new(),
            most,
            idle,
            me: me.clone(),
        })))
    }

    /// Waits for a request. `None` if the thread that asks is to end: there will be no
    /// more, or others wait too and there is not enough to do. In a forked child, too.
    pub fn next(&self) -> Option<Given> {
        let mut woken = None;
        loop {
            match self.try_next(woken) {
                Next::Given(given) => return Some(given),
                Next::Wait => woken = Some(self.wait()?),
                Next::End => return None,
            }
        }
    }

    /// A request, if one is there. For a language with a lock round whatever runs: a
    /// thread that asks with that lock never has a request for which it waits for the
    /// lock, and takes one after the other without letting go of it.
    pub fn try_next(&self, woken: Option<Woken>) -> Next {
        self.0.mine().map_or(Next::End, |shared| shared.try_next(woken))
    }

    /// Waits until one may be there, without any lock of the language's. `None` as of
    /// [`next`](Self::next).
    pub fn wait(&self) -> Option<Woken> {
        self.0.mine()?.wait()
    }

    /// A thread that was to be started was not.
    pub fn not_started(&self) {
        if let Some(shared) = self.0.mine() {
            shared.lock().threads -= 1;
        }
    }
}

impl Shared {
    fn try_next(&self, woken: Option<Woken>) -> Next {
        let mut queue = self.lock();
        if woken.is_some() {
            queue.woken = None;
        }
        while let Some(request) = queue.take() {
            if request.is_cancelled() {
                // With no lock held: who hears of it may ask again.
                drop(queue);
                drop(request);
                queue = self.lock();
                continue;
            }
            let start = queue.idle == 0 && !queue.is_coming() && queue.threads < self.most;
            queue.threads += usize::from(start);
            self.wake(&mut queue);
            return Next::Given(Given { request, start });
        }
        if queue.over { Next::End } else { Next::Wait }
    }

    fn wait(&self) -> Option<Woken> {
        let mut queue = self.lock();
        queue.idle += 1;
        if queue.waiting.is_empty() && !queue.over {
            if queue.idle == 1 {
                queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = self.more.wait_timeout(queue, self.idle);
                let timed_out;
                (queue, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
                if timed_out.timed_out() && queue.waiting.is_empty() && queue.idle > 1 {
                    queue.idle -= 1;
                    queue.threads -= 1;
                    // Should it have been this one: who is woken for nothing does no harm.
                    queue.woken = None;
                    return None;
                }
            }
        }
        queue.idle -= 1;
        queue.woken = Some(Instant::now());
        Some(Woken(()))
    }

    /// Wakes a thread, if requests wait and none is on its way to them: that one wakes
    /// the next. So a thread that is quick takes them all, and those that would only get
    /// into its way sleep.
    fn wake(&self, queue: &mut Queue) {
        if queue.waiting.is_empty() || queue.idle == 0 {
            return;
        }
        if !queue.is_coming() {
            queue.woken = Some(Instant::now());
            self.more.notify_one();
        }
        if !queue.watched
            && let Ok(runtime) = runtime::handle()
        {
            queue.watched = true;
            let watch: BoxFuture<'static, ()> = Box::pin(watch(self.me.clone()));
            runtime.spawn(watch);
        }
    }

    fn push(&self, request: Request) {
        let mut queue = self.lock();
        queue.waiting.push_back(request);
        self.wake(&mut queue);
    }

    fn shed(&self) {
        let dead = self.lock().shed();
        drop(dead);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes another thread when one that was woken doesn't come, as long as requests wait.
async fn watch(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(COMES_WITHIN).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut queue = shared.lock();
        if queue.waiting.is_empty() {
            queue.watched = false;
            return;
        }
        shared.wake(&mut queue);
    }
}

impl Queue {
    fn is_coming(&self) -> bool {
        self.woken.is_some_and(|at| at.elapsed() < COMES_WITHIN)
    }

    /// Takes out those of the oldest whose answers nobody waits for.
    fn shed(&mut self) -> Vec<Request> {
        let mut dead = Vec::new();
        while let Some(request) = self.waiting.pop_front_if(|request| request.is_cancelled()) {
            dead.push(request);
        }
        dead
    }

    fn take(&mut self) -> Option<Request> {
        match self.waiting.front()?.is_late() {
            false => self.waiting.pop_front(),
            true => self.waiting.pop_back(),
        }
    }
}

/// Puts requests into the queue. With this it ends; those that wait are given out.
struct Desk(Arc<Shared>);

impl Drop for Desk {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.more.notify_all();
    }
}

/// Has requests dropped that nobody waits for, when one is called off or answered.
struct Gone(Weak<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.shed();
        }
    }
}

impl Node {
    /// Serves a service, in parts if `stream` says so, on up to so many threads that
    /// take the requests: one, and those that this is told to start.
    ///
    /// # Errors
    /// As [`Node::serve`].
    pub fn serve_on_threads(
        &self,
        name: &str,
        spec: ServeSpec,
        stream: bool,
        most: usize,
    ) -> Result<(Serving, Requests)> {
        let requests = Requests::new(most, IDLE);
        let shared = requests.0.get()?.clone();
        let (gone, desk) = (Arc::downgrade(&shared), Desk(shared));
        let tell = move |request| desk.0.push(request);
        let serving = self.serve_until(name, spec, stream, tell, move || Gone(gone.clone()))?;
        Ok((serving, requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallSpec, Dispatcher, Options, block};
    use std::{sync::mpsc, thread};

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

    /// A language may do anything in a thread that it lets back in.
    #[test]
    fn a_thread_that_was_woken_and_does_not_ask_holds_no_request_up() {
        let options = Options {
            namespace: Some("requests".into()),
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            boot: Some(vec!["none".into()]),
            ..Options::default()
        };
        let start = Node::start(options, Dispatcher::default());
        let node = block("start", start, PATIENCE, || Ok::<_, crate::Error>(())).unwrap();
        let (_serving, requests) =
            node.serve_on_threads("echo", ServeSpec::default(), false, 2).unwrap();
        let requests = Arc::new(requests);
        let (comes, came) = mpsc::channel();
        let threads = [(); 2].map(|()| {
            let (requests, comes, (go, wait)) = (requests.clone(), comes.clone(), mpsc::channel());
            thread::spawn(move || {
                let woken = requests.wait();
                comes.send(go).unwrap();
                let _: () = wait.recv().unwrap();
                if let Next::Given(given) = requests.try_next(woken) {
                    given.request.answer(given.request.take_data());
                }
            })
        });
        while requests.0.mine().unwrap().lock().idle < 2 {
            thread::yield_now();
        }
        let call = node.call("echo".into(), b"x".to_vec(), CallSpec::default());
        let called =
            thread::spawn(move || block("call", call, PATIENCE, || Ok::<_, crate::Error>(())));
        let stuck = came.recv_timeout(Duration::from_secs(60)).expect("one is woken");
        let other = came.recv_timeout(Duration::from_secs(60)).expect("another is woken");
        other.send(()).unwrap();
        assert_eq!(called.join().unwrap().unwrap().data, b"x");
        stuck.send(()).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        let close = node.close(None, false);
        block("close", close, PATIENCE, || Ok::<_, crate::Error>(())).unwrap();
    }
}
