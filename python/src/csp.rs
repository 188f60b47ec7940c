//! Channels, select and semaphores.

use crate::{
    call::{Pending, block, detach, guard, seconds, spawn},
    errors::is_ours,
    node::Node,
};
use casm_bindings::Parcel as Received;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyByteArray, PyBytes, PyMemoryView},
};

/// A channel: values are handed from senders to receivers, each to one, at the
/// place of one node, its owner. A value is never received twice, and lost only
/// with a process.
///
/// Iterating receives, until the channel is closed and empty.
#[pyclass(frozen, weakref, module = "casm")]
pub(crate) struct Channel {
    channel: casm_bindings::Channel,
    node: Py<Node>,
}

/// Bytes, or what can be read as such.
pub(crate) struct Data(Vec<u8>);

impl<'py> FromPyObject<'_, 'py> for Data {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Self(bytes.as_bytes().to_vec()));
        }
        if let Ok(bytes) = value.cast::<PyByteArray>() {
            return Ok(Self(bytes.to_vec()));
        }
        // Through the stable ABI of Python 3.10 no buffer can be read.
        if let Ok(view) = value.cast::<PyMemoryView>() {
            return Ok(Self(view.call_method0("tobytes")?.extract()?));
        }
        let message = format!("a value is bytes, and not {}", value.get_type().name()?);
        Err(PyTypeError::new_err(message))
    }
}

/// The value of a parcel, which is nobody else's.
fn bytes(py: Python<'_>, parcel: &Received) -> Py<PyBytes> {
    PyBytes::new(py, &parcel.take().unwrap_or_default()).unbind()
}

/// A value on its way to a task that may be called off before it sees it: then the
/// next receiver gets it.
#[pyclass(frozen, module = "casm._casm")]
pub(crate) struct Parcel(Received);

#[pymethods]
impl Parcel {
    /// Takes the value out.
    fn take(&self, py: Python<'_>) -> Py<PyBytes> {
        bytes(py, &self.0)
    }

    /// Hands it on, as dropping this does.
    fn put_back(&self, py: Python<'_>) {
        detach(py, || self.0.put_back());
    }
}

impl Channel {
    pub(crate) fn new(channel: casm_bindings::Channel, node: Py<Node>) -> Self {
        Self { channel, node }
    }

    /// Sends a value if that need not wait, with the interpreter's lock, of which letting
    /// go takes several times as long; else it comes back.
    fn send_now(&self, value: Data) -> PyResult<Option<Vec<u8>>> {
        guard("send", || self.channel.send_now(value.0))
    }

    fn recv_now(&self, py: Python<'_>) -> PyResult<Option<Py<PyBytes>>> {
        let value = guard("recv", || self.channel.recv_now())?;
        Ok(value.map(|value| PyBytes::new(py, &value).unbind()))
    }
}

#[pymethods]
impl Channel {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.channel.name()
    }

    /// The id of the node whose it is.
    #[getter]
    fn owner(&self) -> &str {
        self.channel.owner()
    }

    /// How many values wait in it; None if it is another node's.
    #[getter]
    fn waiting(&self) -> Option<usize> {
        self.channel.waiting()
    }

    /// How many values of a channel elsewhere may be ours, or are and were not
    /// received yet: the next receivers here get them.
    #[getter]
    fn in_doubt(&self) -> usize {
        self.channel.in_doubt()
    }

    /// Whether the node from which it is used is closed.
    #[getter]
    fn _node_closed(&self) -> bool {
        self.node.get().facade().is_closed()
    }

    /// Sends a value of at most 1 MiB, and waits until there is room for it, or,
    /// at capacity 0, until it is received.
    ///
    /// Raises:
    ///     TimeoutError: after ``timeout`` seconds; it was not taken in, and will
    ///         not be.
    ///     ClosedError: if the channel is closed.
    ///     UnreachableError: if its owner can't be reached; whether the value was
    ///         taken in is not known if the message says so.
    #[pyo3(signature = (value, timeout=None))]
    fn send(&self, py: Python<'_>, value: Data, timeout: Option<f64>) -> PyResult<()> {
        let timeout = seconds("timeout", timeout)?;
        match self.send_now(value)? {
            Some(value) => block(py, "send", self.channel.send(value, timeout), None),
            None => Ok(()),
        }
    }

    /// Sends a value if that need not wait, and says if it did.
    fn _send_now(&self, value: Data, timeout: Option<f64>) -> PyResult<bool> {
        seconds("timeout", timeout)?;
        Ok(self.send_now(value)?.is_none())
    }

    #[pyo3(signature = (value, timeout, done))]
    fn _send(
        &self,
        py: Python<'_>,
        value: Data,
        timeout: Option<f64>,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let sent = self.channel.send(value.0, seconds("timeout", timeout)?);
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("send", &dispatcher, sent, done, |py, ()| Ok(py.None()))
    }

    /// Receives a value.
    ///
    /// Raises:
    ///     TimeoutError: if there is none within ``timeout`` seconds.
    ///     ClosedError: if the channel is closed and empty.
    ///     UnreachableError: if its owner can't be reached. A value that may have
    ///         been taken then is given to the next receiver here.
    #[pyo3(signature = (timeout=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyBytes>> {
        let timeout = seconds("timeout", timeout)?;
        if let Some(value) = self.recv_now(py)? {
            return Ok(value);
        }
        Ok(bytes(py, &block(py, "recv", self.channel.recv(timeout), None)?))
    }

    /// Receives a value if one is there.
    fn _recv_now(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyBytes>>> {
        seconds("timeout", timeout)?;
        self.recv_now(py)
    }

    #[pyo3(signature = (timeout, done))]
    fn _recv(&self, py: Python<'_>, timeout: Option<f64>, done: Py<PyAny>) -> PyResult<Pending> {
        let received = self.channel.recv(seconds("timeout", timeout)?);
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("recv", &dispatcher, received, done, |py, parcel| {
            Ok(Py::new(py, Parcel(parcel))?.into_any())
        })
    }

    /// Takes a value as a job, which comes back to the channel unless it is done:
    /// at least once. For jobs that must survive their worker.
    ///
    /// Raises:
    ///     TimeoutError, ClosedError, UnreachableError: as ``recv``.
    #[pyo3(signature = (timeout=None))]
    fn take(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Job> {
        let taken = self.channel.take(seconds("timeout", timeout)?);
        let job = block(py, "take", taken, None)?;
        Ok(Job { data: data(py, &job), job, node: self.node.clone_ref(py) })
    }

    #[pyo3(signature = (timeout, done))]
    fn _take(&self, py: Python<'_>, timeout: Option<f64>, done: Py<PyAny>) -> PyResult<Pending> {
        let taken = self.channel.take(seconds("timeout", timeout)?);
        let dispatcher = self.node.get().dispatcher(py)?;
        let node = self.node.clone_ref(py);
        spawn("take", &dispatcher, taken, done, |py, job| {
            Ok(Py::new(py, Job { data: data(py, &job), job, node })?.into_any())
        })
    }

    /// Closes it: sends fail from now on, and receivers get what is in it and then
    /// end. Its owner may, and others if it was made so.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        block(py, "close", self.channel.close(), timeout)
    }

    fn _close(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("close", &dispatcher, self.channel.close(), done, |py, ()| Ok(py.None()))
    }

    /// To receive from it in a ``select``.
    fn receiving(&self, py: Python<'_>) -> Branch {
        Branch { branch: self.channel.receiving(), node: self.node.clone_ref(py) }
    }

    /// To send this to it in a ``select``; it must be this node's own.
    fn sending(&self, py: Python<'_>, value: Data) -> Branch {
        Branch { branch: self.channel.sending(value.0), node: self.node.clone_ref(py) }
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyBytes>>> {
        match self.recv(py, None) {
            Ok(value) => Ok(Some(value)),
            Err(error) if !self.node.get().facade().is_closed() && is_closed(py, &error)? => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn __repr__(&self) -> String {
        format!("<Channel {} of {}>", self.channel.name(), self.channel.owner())
    }
}

fn is_closed(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    let closed = py.import("casm._errors")?.getattr("ClosedError")?;
    Ok(error.is_instance(py, &closed))
}

fn data(py: Python<'_>, job: &casm_bindings::ChannelJob) -> Py<PyBytes> {
    PyBytes::new(py, &job.data().unwrap_or_default()).unbind()
}

/// One thing that ``select`` may do.
#[pyclass(frozen, module = "casm")]
pub(crate) struct Branch {
    branch: casm_bindings::Branch,
    node: Py<Node>,
}

/// The branches, and the node from which they are used.
fn branches(
    py: Python<'_>,
    branches: Vec<Py<Branch>>,
) -> (Vec<casm_bindings::Branch>, Option<Py<Node>>) {
    let node = branches.first().map(|branch| branch.get().node.clone_ref(py));
    (branches.iter().map(|branch| branch.get().branch.clone()).collect(), node)
}

/// Does the first of some branches that can be done, and says which: its number,
/// and the value if it received one. If several can be done, one is chosen at
/// random; one that was not chosen has had no effect.
///
/// Channels that are closed and empty are passed over while there are others.
///
/// Raises:
///     TimeoutError: after ``timeout`` seconds.
///     ClosedError: if all channels are closed and empty, or one to be sent to is.
///     InvalidError: if there are no branches, or one sends to a channel elsewhere.
///     UnreachableError: if the owner of one can't be reached.
#[pyfunction]
#[pyo3(signature = (branches, timeout=None))]
pub(crate) fn select(
    py: Python<'_>,
    branches: Vec<Py<Branch>>,
    timeout: Option<f64>,
) -> PyResult<(usize, Option<Py<PyBytes>>)> {
    let (branches, _node) = self::branches(py, branches);
    let timeout = seconds("timeout", timeout)?;
    let selected = guard("select", || casm_bindings::select(branches, timeout))?;
    let (at, parcel) = block(py, "select", selected, None)?;
    Ok((at, parcel.map(|parcel| bytes(py, &parcel))))
}

/// The same for asyncio: calls ``done`` with the number and a parcel or None.
#[pyfunction]
#[pyo3(signature = (branches, timeout, done))]
pub(crate) fn _select(
    py: Python<'_>,
    branches: Vec<Py<Branch>>,
    timeout: Option<f64>,
    done: Py<PyAny>,
) -> PyResult<Pending> {
    let (branches, node) = self::branches(py, branches);
    let timeout = seconds("timeout", timeout)?;
    let selected = guard("select", || casm_bindings::select(branches, timeout))?;
    let node = node.ok_or_else(|| PyTypeError::new_err("select: no branches are given"))?;
    let dispatcher = node.get().dispatcher(py)?;
    spawn("select", &dispatcher, selected, done, |py, (at, parcel)| {
        let parcel = parcel.map(|parcel| Py::new(py, Parcel(parcel))).transpose()?;
        Ok((at, parcel).into_pyobject(py)?.into_any().unbind())
    })
}

/// A value that was taken as a job. It goes back to the head of the channel when it
/// is no longer used, at the end of a ``with`` in which it was not done, when the
/// connection to the channel's owner ends, or if that hears nothing for 10 s.
#[pyclass(frozen, weakref, module = "casm")]
pub(crate) struct Job {
    job: casm_bindings::ChannelJob,
    data: Py<PyBytes>,
    node: Py<Node>,
}

#[pymethods]
impl Job {
    /// The value.
    #[getter]
    fn data(&self, py: Python<'_>) -> Py<PyBytes> {
        self.data.clone_ref(py)
    }

    /// Whether it has gone back, or is ended.
    #[getter]
    fn lost(&self) -> bool {
        self.job.is_lost()
    }

    /// The job is done, and the value gone from the channel.
    ///
    /// Raises:
    ///     NotFoundError: if it has gone back, so that another may do it too.
    #[pyo3(signature = (timeout=None))]
    fn done(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        block(py, "done", self.job.done(), timeout)
    }

    fn _done(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("done", &dispatcher, self.job.done(), done, |py, ()| Ok(py.None()))
    }

    /// Gives it back, as dropping this does.
    fn _forget(&self, py: Python<'_>) {
        detach(py, || self.job.forget());
    }

    /// The value goes back to where it was.
    #[pyo3(signature = (timeout=None))]
    fn give_back(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        block(py, "give_back", self.job.give_back(), timeout)
    }

    fn _give_back(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("give_back", &dispatcher, self.job.give_back(), done, |py, ()| Ok(py.None()))
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyAny>) -> PyResult<()> {
        // What was done or lost is no longer ours to give.
        if self.job.is_lost() {
            return Ok(());
        }
        match block(py, "give_back", self.job.give_back(), None) {
            // It goes back all the same, and may have gone.
            Err(error) if is_ours(py, &error)? => Ok(()),
            other => other,
        }
    }
}

/// A semaphore: so many may hold a lease of it at a time.
#[pyclass(frozen, weakref, module = "casm")]
pub(crate) struct Semaphore {
    semaphore: casm_bindings::Semaphore,
    node: Py<Node>,
}

impl Semaphore {
    /// Hands one over that is made in the background.
    pub(crate) fn spawn(
        what: &'static str,
        node: &Bound<'_, Node>,
        made: impl Future<Output = casm_bindings::Result<casm_bindings::Semaphore>> + Send + 'static,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let (py, node) = (node.py(), node.clone().unbind());
        let dispatcher = node.get().dispatcher(py)?;
        spawn(what, &dispatcher, made, done, |py, semaphore| {
            Ok(Py::new(py, Self { semaphore, node })?.into_any())
        })
    }

    pub(crate) fn new(semaphore: casm_bindings::Semaphore, node: Py<Node>) -> Self {
        Self { semaphore, node }
    }
}

#[pymethods]
impl Semaphore {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.semaphore.name()
    }

    /// The id of the node whose it is.
    #[getter]
    fn owner(&self) -> &str {
        self.semaphore.owner()
    }

    /// Waits for a lease, in the order of asking.
    ///
    /// Raises:
    ///     TimeoutError: if none is free within ``timeout`` seconds.
    ///     ClosedError: if the semaphore is closed.
    ///     UnreachableError: if its owner can't be reached.
    #[pyo3(signature = (timeout=None))]
    fn acquire(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Lease> {
        let acquired = self.semaphore.acquire(seconds("timeout", timeout)?);
        let lease = block(py, "acquire", acquired, None)?;
        Ok(Lease { lease, node: self.node.clone_ref(py) })
    }

    #[pyo3(signature = (timeout, done))]
    fn _acquire(&self, py: Python<'_>, timeout: Option<f64>, done: Py<PyAny>) -> PyResult<Pending> {
        let acquired = self.semaphore.acquire(seconds("timeout", timeout)?);
        let dispatcher = self.node.get().dispatcher(py)?;
        let node = self.node.clone_ref(py);
        spawn("acquire", &dispatcher, acquired, done, |py, lease| {
            Ok(Py::new(py, Lease { lease, node })?.into_any())
        })
    }

    /// Closes it: nobody is granted anything any more. Its owner alone may.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detach(py, || guard("close", || self.semaphore.close()))
    }

    fn __repr__(&self) -> String {
        format!("<Semaphore {} of {}>", self.semaphore.name(), self.semaphore.owner())
    }
}

/// What is held of a semaphore, until it is released, or lost: it is renewed by
/// itself, and lost if its owner can't be reached for 10 s. A ``with`` releases it.
///
/// A process that was stopped meanwhile may still act as if it held it: give the
/// token to what the lease protects, which should refuse a lower one than it has
/// seen.
#[pyclass(frozen, weakref, module = "casm")]
pub(crate) struct Lease {
    lease: casm_bindings::Lease,
    node: Py<Node>,
}

#[pymethods]
impl Lease {
    /// Grows with every grant, also over a restart of the owner if that has
    /// ``data``.
    #[getter]
    fn token(&self) -> u64 {
        self.lease.token()
    }

    /// Whether it is not held any more.
    #[getter]
    fn lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Waits until it is not held any more.
    ///
    /// Raises:
    ///     TimeoutError: if it is held for longer than ``timeout`` seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait_lost(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        block(py, "wait_lost", self.lease.wait_lost(), timeout)
    }

    fn _wait_lost(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("wait_lost", &dispatcher, self.lease.wait_lost(), done, |py, ()| Ok(py.None()))
    }

    /// Gives it back. It doesn't wait.
    fn release(&self) {
        self.lease.release();
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyAny>) {
        self.release();
    }
}
