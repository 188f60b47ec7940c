//! The tasks that belong to a node: they end when it closes, and closing waits
//! for them.

use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    future::Future,
    panic::Location,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Spawns tasks that live as long as their owner. Clones share the tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    token: CancellationToken,
    tasks: TaskTracker,
    running: Running,
}

impl Scope {
    /// A scope that ends with this one, and can end before it. Its tasks are
    /// waited for by this one's [`close`](Self::close) too.
    pub(crate) fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tasks: self.tasks.clone(),
            running: self.running.clone(),
        }
    }

    /// A scope that ends with this one, and can be closed before it, which waits
    /// for its own tasks alone. This one's [`close`](Self::close) waits for them too.
    #[track_caller]
    pub(crate) fn part(&self) -> Self {
        let part = Self {
            token: self.token.child_token(),
            tasks: TaskTracker::new(),
            running: self.running.clone(),
        };
        let ending = part.clone();
        self.spawn_graceful(async move { ending.ended().await });
        part
    }

    /// Starts a task, which is dropped at its next await when the scope ends.
    #[track_caller]
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.start(Box::pin(task), true, Location::caller());
    }

    /// Starts a task that looks at [`cancelled`](Self::cancelled) itself, to
    /// finish what it has begun.
    #[track_caller]
    pub(crate) fn spawn_graceful(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.start(Box::pin(task), false, Location::caller());
    }

    /// Does what blocks where that disturbs nobody. The end of the scope waits for
    /// it, also when nobody waits any more for what it gives; `None` if it panics.
    #[track_caller]
    pub(crate) fn block<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Option<T>> + use<T, W> {
        let (token, noted) = (self.tasks.token(), self.running.note(Location::caller()));
        let (give, done) = oneshot::channel();
        blocking(Box::new(move || {
            let _held = (token, noted);
            // Who asked may have gone.
            let _ = give.send(work());
        }));
        async move { done.await.ok() }
    }

    /// Each type of a task would have some kilobytes of tokio's code made for it:
    /// here there is one.
    fn start(
        &self,
        task: BoxFuture<'static, ()>,
        dropped_at_end: bool,
        started: &'static Location<'static>,
    ) {
        let token = self.token.clone();
        let noted = self.running.note(started);
        self.tasks.spawn(async move {
            let _noted = noted;
            if dropped_at_end {
                token.run_until_cancelled_owned(task).await;
            } else {
                task.await;
            }
        });
    }

    /// Tells every task to end, and doesn't wait.
    pub(crate) fn cancel(&self) {
        self.token.cancel();
    }

    /// Does that when what is given back is dropped.
    pub(crate) fn cancel_on_drop(&self) -> DropGuard {
        self.token.clone().drop_guard()
    }

    /// Whether the scope has been told to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the scope is told to end.
    pub(crate) async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// The same, for one who doesn't hold the scope.
    pub(crate) fn cancelled_owned(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.token.clone().cancelled_owned()
    }

    /// Where the tasks that run were started.
    pub(crate) fn running(&self) -> Vec<String> {
        self.running.with(|running| running.values().map(|at| at.to_string()).collect())
    }

    /// Waits until the scope has been told to end, and every task has ended.
    pub(crate) async fn ended(&self) {
        self.token.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Tells every task to end and waits for that, `grace` at most. False if
    /// some task was still running then.
    pub(crate) async fn close(&self, grace: Duration) -> bool {
        self.token.cancel();
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}

/// As tasks of a scope: not generic.
fn blocking(work: Box<dyn FnOnce() + Send>) {
    drop(tokio::task::spawn_blocking(work));
}

/// Where the tasks that run were started, for the message of a close that
/// fails.
#[derive(Clone, Debug, Default)]
struct Running(Arc<Mutex<Noted>>);

type Noted = BTreeMap<u64, &'static Location<'static>>;

impl Running {
    /// Notes a task until what is given back is dropped.
    fn note(&self, started: &'static Location<'static>) -> Note {
        let id = self.with(|running| {
            let id = running.last_key_value().map_or(0, |(id, _)| id + 1);
            running.insert(id, started);
            id
        });
        Note { id, running: self.clone() }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Noted) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A task that runs.
struct Note {
    id: u64,
    running: Running,
}

impl Drop for Note {
    fn drop(&mut self) {
        self.running.with(|running| running.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_part_is_closed_alone_and_with_its_whole() {
        const GRACE: Duration = Duration::from_secs(5);
        let whole = Scope::default();
        let (first, second) = (whole.part(), whole.part());
        for scope in [&whole, &first, &second] {
            scope.spawn(pending());
        }
        assert!(first.close(GRACE).await);
        assert!(!whole.is_cancelled() && !second.is_cancelled());
        // What is left is the whole's own task, the second part's, and the wait for it.
        while whole.running().len() > 3 {
            tokio::task::yield_now().await;
        }
        assert!(whole.close(GRACE).await && whole.running().is_empty());
    }
}
