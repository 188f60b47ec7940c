//! How a node is started in the background and closed at the end, and what its
//! methods share.

use super::Node;
use crate::{
    admission::Admission,
    call::{Pending, block, detach, guard, spawn},
    config::Config,
    driver,
    stream::{Callback, Stream, Subscription},
};
use casm_bindings::Dispatcher;
use pyo3::{prelude::*, types::PyCFunction};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How long leaving may take at the end of a program that closed nothing.
const AT_EXIT: Duration = Duration::from_millis(300);

const STARTING: &str = "starting a node";

/// Closes what is open before Python shuts down.
pub(crate) fn close_at_exit(py: Python<'_>) -> PyResult<()> {
    /// The process in which that is arranged; a forked child is another.
    static ARRANGED: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    if ARRANGED.load(Ordering::SeqCst) == process {
        return Ok(());
    }
    let close = PyCFunction::new_closure(py, None, None, |args, _| {
        detach(args.py(), || casm_bindings::at_exit(AT_EXIT));
    })?;
    py.import("casm._exit")?.call_method1("register", (close,))?;
    ARRANGED.store(process, Ordering::SeqCst);
    Ok(())
}

/// Starts a node in the background, and calls ``done`` with it, or with it and
/// its events from the first on.
#[pyfunction]
#[pyo3(signature = (config, done, events=false))]
pub(crate) fn start(
    py: Python<'_>,
    config: &Config,
    done: Py<PyAny>,
    events: bool,
) -> PyResult<Pending> {
    close_at_exit(py)?;
    let (dispatcher, driver) = Dispatcher::driven();
    driver::start(py, driver)?;
    let made = |node| Node { node, driver: Mutex::default() }.whole();
    if !events {
        let node = casm_bindings::Node::start(config.options.clone(), dispatcher.clone());
        return spawn(STARTING, &dispatcher, node, done, move |py, node| {
            Ok(Py::new(py, made(node))?.into_any())
        });
    }
    let node = casm_bindings::Node::start_with_events(config.options.clone(), dispatcher.clone());
    spawn(STARTING, &dispatcher, node, done, move |py, (node, events)| {
        let node = Py::new(py, made(node))?;
        let events = Stream::new(events.stream(), node.clone_ref(py));
        Ok((node, events).into_pyobject(py)?.into_any().unbind())
    })
}

impl Node {
    /// Starts a node, and the thread of its callbacks if there is one.
    pub(super) fn begin(
        py: Python<'_>,
        config: &Config,
        on_event: Option<Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        close_at_exit(py)?;
        let (dispatcher, driver) = Dispatcher::driven();
        let (options, driver) = (config.options.clone(), Mutex::new(Some(driver)));
        let Some(callback) = on_event.map(Callback::new).transpose()? else {
            let node = casm_bindings::Node::start(options, dispatcher);
            return Ok(Self { node: block(py, STARTING, node, None)?, driver }.whole());
        };
        let node = casm_bindings::Node::start_with_events(options, dispatcher);
        let (node, events) = block(py, STARTING, node, None)?;
        let this = Self { node, driver };
        this.start_thread(py)?;
        guard("on_event", || events.tell(&this.node, callback)).map(Subscription::from)?;
        Ok(this.whole())
    }

    /// With what its base has of it.
    fn whole(self) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Admission::new(self.node.clone())).add_subclass(self)
    }

    /// A call in the background that gives nothing back.
    pub(super) fn unit(
        &self,
        py: Python<'_>,
        what: &'static str,
        call: impl Future<Output = casm_bindings::Result<()>> + Send + 'static,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        spawn(what, &self.dispatcher(py)?, call, done, |py, ()| Ok(py.None()))
    }

    /// A callback, and a thread for it to run on.
    pub(crate) fn callback(
        &self,
        py: Python<'_>,
        callback: Bound<'_, PyAny>,
    ) -> PyResult<Callback> {
        let callback = Callback::new(callback)?;
        self.start_thread(py)?;
        Ok(callback)
    }

    pub(crate) fn start_thread(&self, py: Python<'_>) -> PyResult<()> {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        driver.map_or(Ok(()), |driver| driver::start(py, driver))
    }

    /// Where results are told.
    pub(crate) fn dispatcher(&self, py: Python<'_>) -> PyResult<Dispatcher> {
        self.start_thread(py)?;
        dispatcher_of(py, &self.node)
    }

    pub(crate) fn facade(&self) -> &casm_bindings::Node {
        &self.node
    }
}

/// Where results of a node whose thread is started are told. Those of a closed node
/// need a thread too.
pub(crate) fn dispatcher_of(py: Python<'_>, node: &casm_bindings::Node) -> PyResult<Dispatcher> {
    if let Some(dispatcher) = node.dispatcher() {
        return Ok(dispatcher);
    }
    let (dispatcher, driver) = Dispatcher::driven();
    driver::start(py, driver)?;
    Ok(dispatcher)
}
