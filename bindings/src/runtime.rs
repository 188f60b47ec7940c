//! The tokio runtime that all nodes of a process share.

use crate::{Dispatcher, Error, ErrorKind, Result, log::LogQueue, node::Registry};
use once_cell::{race::OnceBox, sync::OnceCell};
use std::{num::NonZero, sync::atomic::AtomicUsize, thread};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::TaskTracker;

/// Threads of the runtime: a node is seldom busy, and a host process has other
/// things to do with its cores.
const MOST_THREADS: usize = 4;

/// What belongs to one process. A forked child has none of its parent's
/// threads, so it gets one of its own; the parent's is left as it is, because
/// its locks may be held by threads that don't exist in the child.
#[derive(Default)]
pub(crate) struct Process {
    pid: u32,
    runtime: OnceCell<Runtime>,
    pub(crate) nodes: Registry,
    /// Nodes that were dropped, and are leaving by themselves.
    pub(crate) leaving: TaskTracker,
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

/// The runtime of this process, which the first call makes.
///
/// # Errors
/// `Io` if its threads cannot be started.
pub(crate) fn handle() -> Result<&'static Handle> {
    let runtime = process().runtime.get_or_try_init(|| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Builder::new_multi_thread()
            .worker_threads(cores.min(MOST_THREADS))
            .thread_name("casm")
            .enable_all()
            .build()
    });
    runtime.map(Runtime::handle).map_err(|e| {
        let message = format!("the threads of the runtime cannot be started: {e}");
        Error::new(ErrorKind::Io, message).with_source(e)
    })
}
