//! The thread on which all nodes of a process run.

use crate::{Dispatcher, Result, ids::Ids, log::LogQueue, node::Registry};
use casm::NodeThread;
use once_cell::{race::OnceBox, sync::OnceCell};
use std::sync::atomic::AtomicUsize;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// What belongs to one process. A forked child has none of its parent's
/// threads, so it gets one of its own; the parent's is left as it is, because
/// its locks may be held by threads that don't exist in the child.
#[derive(Default)]
pub(crate) struct Process {
    pid: u32,
    thread: OnceCell<NodeThread>,
    pub(crate) nodes: Registry,
    /// Nodes that were dropped, and are leaving by themselves.
    pub(crate) leaving: TaskTracker,
    pub(crate) ids: Ids,
    pub(crate) log: OnceCell<LogQueue>,
    /// Tells of calls that are over.
    pub(crate) calls: Dispatcher,
    /// Threads on their way back into the language.
    pub(crate) reentries: AtomicUsize,
    child: OnceBox<Process>,
}

/// The first process that used this library. Its descendants are linked to it;
/// the list has no lock that a fork could leave locked.
static FIRST: OnceBox<Process> = OnceBox::new();

/// What belongs to this process.
pub(crate) fn process() -> &'static Process {
    let pid = std::process::id();
    let new = || Box::new(Process { pid, ..Process::default() });
    let mut process = FIRST.get_or_init(new);
    while let Some(child) = process.child.get() {
        process = child;
    }
    if process.pid == pid { process } else { process.child.get_or_init(new) }
}

/// The thread of this process, which the first call starts: a node is seldom busy, and a
/// call that stays on one thread wakes no other on its way.
///
/// # Errors
/// `Io` if it cannot be started.
pub(crate) fn thread() -> Result<&'static NodeThread> {
    process().thread.get_or_try_init(|| NodeThread::start("casm"))
}

/// Its runtime.
///
/// # Errors
/// As of [`thread`].
pub(crate) fn handle() -> Result<&'static Handle> {
    thread().map(NodeThread::handle)
}
