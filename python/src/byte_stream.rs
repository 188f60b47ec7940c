//! Byte streams, for `casm/_streams.py` and `casm/_aio_streams.py`, which make of
//! them what Python has for files and sockets.

use crate::{
    call::{Pending, block, detach, guard, spawn},
    driver,
    node::{Node, dispatcher_of},
    stream::Subscription,
};
use casm_bindings::{Batch, Listener};
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};
use std::sync::{Mutex, PoisonError};

/// A stream of bytes to and from a peer. If it is no longer used before it was
/// closed, it is reset.
#[pyclass(frozen, weakref, module = "casm._casm")]
pub(crate) struct RawStream(pub(crate) casm_bindings::ByteStream);

#[pymethods]
impl RawStream {
    #[getter]
    fn peer(&self) -> &str {
        self.0.peer()
    }

    #[getter]
    fn protocol(&self) -> &str {
        self.0.protocol()
    }

    /// Whether it is over: closed, reset, or its node closed.
    #[getter]
    fn closed(&self) -> bool {
        self.0.is_closed()
    }

    /// What is there, ``most`` bytes at most; empty at the end.
    #[pyo3(signature = (most, timeout=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let piece = block(py, "read", self.0.read(most), timeout)?;
        Ok(PyBytes::new(py, &piece.into_vec()))
    }

    fn _read(&self, py: Python<'_>, most: usize, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = dispatcher_of(py, self.0.node())?;
        spawn("read", &dispatcher, self.0.read(most), done, |py, piece| {
            Ok(Py::new(py, Piece(Mutex::new(Some(piece))))?.into_any())
        })
    }

    /// Writes all of ``data``, which is not copied if it is ``bytes``.
    #[pyo3(signature = (data, timeout=None))]
    fn write(&self, py: Python<'_>, data: Data, timeout: Option<f64>) -> PyResult<()> {
        block(py, "write", self.0.write(data), timeout)
    }

    fn _write(&self, py: Python<'_>, data: Data, done: Py<PyAny>) -> PyResult<Pending> {
        self.unit(py, "write", self.0.write(data), done)
    }

    /// Ends what is written. Reading goes on.
    #[pyo3(signature = (timeout=None))]
    fn close_write(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        block(py, "close_write", self.0.close_write(), timeout)
    }

    fn _close_write(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        self.unit(py, "close_write", self.0.close_write(), done)
    }

    /// Ends what is written, and reads no more.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        block(py, "close", self.0.close(), timeout)
    }

    /// Ends it at once.
    fn reset(&self, py: Python<'_>) {
        detach(py, || self.0.reset());
    }
}

impl RawStream {
    fn unit(
        &self,
        py: Python<'_>,
        what: &'static str,
        call: impl Future<Output = casm_bindings::Result<()>> + Send + 'static,
        done: Py<PyAny>,
    ) -> PyResult<Pending> {
        let dispatcher = dispatcher_of(py, self.0.node())?;
        spawn(what, &dispatcher, call, done, |py, ()| Ok(py.None()))
    }
}

/// What was read, on its way to a task that may be called off before it sees it: then
/// the next one reads it.
#[pyclass(frozen, module = "casm._casm")]
pub(crate) struct Piece(Mutex<Option<casm_bindings::Piece>>);

impl Piece {
    fn out(&self) -> Option<casm_bindings::Piece> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Piece {
    /// Takes the bytes out.
    fn take<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = self.out().map(casm_bindings::Piece::into_vec);
        PyBytes::new(py, &bytes.unwrap_or_default())
    }

    /// Leaves them to the next one who reads, as dropping this does.
    fn put_back(&self) {
        drop(self.out());
    }
}

/// Bytes to write: `bytes` as they are, or a copy of what may change.
pub(crate) struct Data(PyBackedBytes);

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<'py> FromPyObject<'_, 'py> for Data {
    type Error = PyErr;

    fn extract(data: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned().into()));
        }
        if let Ok(bytes) = data.cast::<PyByteArray>() {
            return Ok(Self(bytes.to_owned().into()));
        }
        let view = match data.cast::<PyString>() {
            Ok(_) => None,
            Err(_) => PyMemoryView::from(&data).ok(),
        };
        let Some(view) = view else {
            let kind = data.get_type().name()?;
            let message =
                format!("data: {kind} is not accepted: write bytes, a bytearray or a memoryview");
            return Err(PyTypeError::new_err(message));
        };
        let bytes = view.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        Ok(Self(bytes.into()))
    }
}

/// A Python function that is called with every stream that a peer opens.
struct OnStream(Py<PyAny>);

/// Calls ``callback`` with the streams of a protocol that peers open, on the thread of
/// the callbacks.
#[pyfunction]
pub(crate) fn on_stream(
    node: &Bound<'_, Node>,
    protocol: &str,
    callback: Py<PyAny>,
) -> PyResult<Subscription> {
    let (py, node) = (node.py(), node.get());
    node.start_thread(py)?;
    let listener = OnStream(callback);
    guard("on_stream", || node.facade().on_stream(protocol, listener)).map(Subscription::from)
}

impl Listener<casm_bindings::ByteStream> for OnStream {
    fn deliver(&self, batch: &mut Batch<casm_bindings::ByteStream>) {
        // None while Python is shutting down: then nobody is there to be told, and
        // the streams are reset.
        Python::try_attach(|py| {
            for stream in batch {
                let work = Py::new(py, RawStream(stream)).and_then(|stream| {
                    let arguments = (stream,).into_pyobject(py)?.into_any().unbind();
                    Ok((py.None(), self.0.clone_ref(py), arguments))
                });
                match work {
                    Ok(work) => driver::hand_over(work),
                    Err(error) => error.write_unraisable(py, None),
                }
            }
        });
    }
}
