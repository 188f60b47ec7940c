//! A thread on which nodes run as a whole.

use crate::{Error, ErrorKind, Result};
use std::{fmt, thread::ThreadId};
use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc,
    task::LocalSet,
};

type Job = Box<dyn FnOnce() + Send>;

/// A thread with a runtime of its own, on which nodes can run as a whole
/// ([`NodeBuilder::on`](crate::NodeBuilder::on)), one or many.
///
/// On a runtime of several threads a call goes from one to another a few times on its
/// way, and each time takes longer than what is done there. Here it goes to this thread
/// and back. In return what its nodes do takes one processor at most, but for signatures
/// of messages when many come. Callbacks of Rust run on it, and must not block.
///
/// Clones are the same thread. It ends when the last one is dropped and the nodes on it
/// are closed and dropped.
#[derive(Clone)]
pub struct NodeThread {
    id: ThreadId,
    runtime: Handle,
    /// One for each node: they need no bound.
    jobs: mpsc::UnboundedSender<Job>,
}

impl NodeThread {
    /// Starts a thread of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system gives no thread, or nothing to wait with for its
    /// sockets.
    pub fn start(name: &str) -> Result<Self> {
        let refused = |e: std::io::Error| {
            let message = format!("the thread of nodes cannot be started: {e}");
            Error::new(ErrorKind::Io, message).with_source(e)
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let handle = runtime.handle().clone();
        let (jobs, mut receive) = mpsc::unbounded_channel::<Job>();
        let run = move || {
            LocalSet::new().block_on(&runtime, async {
                while let Some(job) = receive.recv().await {
                    job();
                }
            });
            // What blocks may go on for as long as it likes: nobody waits for this thread.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run).map_err(refused)?;
        Ok(Self { id: thread.thread().id(), runtime: handle, jobs })
    }

    /// Its runtime: what is spawned there runs on this thread. While the thread works
    /// on something long, so do all its nodes.
    pub fn handle(&self) -> &Handle {
        &self.runtime
    }

    /// Whether this is that thread: it must not wait for itself.
    pub fn is_current(&self) -> bool {
        std::thread::current().id() == self.id
    }

    /// Runs something on the thread that may start tasks which stay there. False if the
    /// thread has ended.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.jobs.send(Box::new(job)).is_ok()
    }
}

impl fmt::Debug for NodeThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeThread").finish_non_exhaustive()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{Node, service::CallOptions};
    use std::{fs, time::Duration};

    /// How many threads of this process have this name.
    fn threads(name: &str) -> usize {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|comm| comm.trim_end() == name).count()
    }

    async fn node(thread: &NodeThread) -> Node {
        let node = Node::builder().namespace("thread").listen("/ip4/127.0.0.1/tcp/0");
        node.boot(["none"]).on(thread).start().await.unwrap()
    }

    /// The vat had a thread of its own, and each call went there and back.
    #[tokio::test(flavor = "multi_thread")]
    async fn nodes_run_on_it_as_a_whole_and_it_ends_with_them() {
        let thread = NodeThread::start("of-nodes").unwrap();
        let (a, b) = (node(&thread).await, node(&thread).await);
        let _serving = a
            .serve("where", |_| async {
                let name = std::thread::current().name().map(str::to_owned);
                Ok::<_, String>(name.unwrap_or_default().into_bytes())
            })
            .unwrap();
        b.connect(a.addrs().remove(0)).await.unwrap();
        let options = CallOptions::new().wait().timeout(Duration::from_secs(30));
        let answer = b.call_with("where", b"", options).await.unwrap();
        assert_eq!(*answer.data, *b"of-nodes");
        assert_eq!(threads("of-nodes"), 1);

        a.close().await.unwrap();
        b.close().await.unwrap();
        drop((a, b, thread));
        let ended = async {
            while threads("of-nodes") > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends");
    }
}
