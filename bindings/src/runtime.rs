//! The thread on which all nodes of a process run.

use crate::{Dispatcher, Result, ids::Ids, log::LogQueue, node::Registry};
use casm::{NodeThread, process::PerProcess};
use once_cell::sync::OnceCell;
use std::sync::atomic::AtomicUsize;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// What belongs to one process.
#[derive(Default)]
pub(crate) struct Process {
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
}

/// What belongs to this process.
pub(crate) fn process() -> &'static Process {
    static PROCESSES: PerProcess<Process> = PerProcess::new();
    PROCESSES.get()
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
