//! The tasks that belong to a node: they end when it closes, and closing waits
//! for them.

use std::{future::Future, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Spawns tasks that live as long as their owner. Clones share the tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Scope {
    /// A scope that ends with this one, and can end before it. Its tasks are
    /// waited for by this one's [`close`](Self::close) too.
    pub(crate) fn child(&self) -> Self {
        Self { token: self.token.child_token(), tasks: self.tasks.clone() }
    }

    /// Starts a task, which is dropped at its next await when the scope ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        self.tasks.spawn(async move {
            token.run_until_cancelled_owned(task).await;
        });
    }

    /// Starts a task that looks at [`cancelled`](Self::cancelled) itself, to
    /// finish what it has begun.
    pub(crate) fn spawn_graceful(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Tells every task to end, and doesn't wait.
    pub(crate) fn cancel(&self) {
        self.token.cancel();
    }

    /// Whether the scope has been told to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the scope is told to end.
    pub(crate) async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Tells every task to end and waits for that, `grace` at most. False if
    /// some task was still running then.
    pub(crate) async fn close(&self, grace: Duration) -> bool {
        self.token.cancel();
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}
