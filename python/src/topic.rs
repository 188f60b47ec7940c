//! Topics.

use crate::{
    call::{Pending, block, guard, seconds, spawn},
    errors::OrRaise,
    node::Node,
    query::{QueryArg, query},
    stream::{Stream, Subscription},
};
use casm_bindings::{SubscribeSpec, TopicSpec, id_text};
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBytes, PyMemoryView, PyString},
};

/// A message of a topic.
#[pyclass(frozen, eq, module = "casm")]
#[derive(PartialEq)]
pub(crate) struct Message(casm_bindings::Message);

impl From<casm_bindings::Message> for Message {
    fn from(message: casm_bindings::Message) -> Self {
        Self(message)
    }
}

#[pymethods]
impl Message {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("source", "seq", "data")
    }

    /// The peer id of who published it: the signature is this peer's.
    #[getter]
    fn source<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::new(py, &id_text(&self.0.source()))
    }

    /// Its number: no other message of this source has it. Numbers have gaps.
    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq()
    }

    /// What was published.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.data())
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.data(py)
    }

    fn __repr__(&self) -> String {
        let (source, bytes) = (id_text(&self.0.source()), self.0.data().len());
        format!("Message(source={source:?}, seq={}, {bytes} bytes)", self.seq())
    }
}

/// Bytes of a call, in any of Python's forms.
pub(crate) struct Data(PyBackedBytes);

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<'py> FromPyObject<'_, 'py> for Data {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = given.extract() {
            return Ok(Self(bytes));
        }
        if given.is_instance_of::<PyMemoryView>() {
            let bytes = given.py().get_type::<PyBytes>().call1((given,))?;
            return Ok(Self(bytes.extract()?));
        }
        let name = given.get_type().name()?;
        let message = format!("a {name} is not accepted: give bytes, a bytearray or a memoryview");
        Err(PyTypeError::new_err(message))
    }
}

/// A handle of a topic. All handles of a topic in one node share it; it is left
/// with the last of them and of their subscriptions, or with the node.
#[pyclass(frozen, weakref, module = "casm")]
pub(crate) struct Topic {
    topic: casm_bindings::Topic,
    node: Py<Node>,
}

impl Topic {
    pub(crate) fn open(
        node: &Bound<'_, Node>,
        name: &str,
        exact: bool,
        max_data: Option<usize>,
        accept: Option<QueryArg>,
    ) -> PyResult<Self> {
        let accept = accept.map(|accept| query(Some(accept), None, None)).transpose()?;
        let spec = TopicSpec { exact, max_data, accept };
        let topic = guard("topic", || node.get().facade().topic(name, spec))?;
        Ok(Self { topic, node: node.clone().unbind() })
    }
}

#[pymethods]
impl Topic {
    /// The topic's name, as it was given.
    #[getter]
    fn name(&self) -> &str {
        self.topic.name()
    }

    /// What gossip calls it: ``/casm/1.0.0/<namespace>/topic/<name>``, or its
    /// exact name.
    #[getter]
    fn full_name(&self) -> &str {
        self.topic.full_name()
    }

    /// Publishes, and returns to how many peers the message was sent; they hand it
    /// on. 0 is no error. Waits while the node's own queues are full.
    ///
    /// Raises:
    ///     TooLargeError: above the topic's ``max_data``.
    ///     TimeoutError: if they are so for ``timeout`` seconds, or 10; nothing was
    ///         sent.
    #[pyo3(signature = (data, timeout=None))]
    fn publish(&self, py: Python<'_>, data: Data, timeout: Option<f64>) -> PyResult<usize> {
        let timeout = seconds("timeout", timeout)?;
        block(py, "publish", self.topic.publish(data, timeout), None)
    }

    fn _publish(&self, py: Python<'_>, data: Data, done: Py<PyAny>) -> PyResult<Pending> {
        let call = self.topic.publish(data, None);
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("publish", &dispatcher, call, done, |py, peers| {
            Ok(peers.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// What comes from now on, to iterate over. ``queue`` messages may wait, 1024
    /// if nothing else is said; ``full`` is which are lost when more come:
    /// ``drop_oldest`` or ``drop_newest``. The node's own messages come with
    /// ``echo`` alone.
    #[pyo3(signature = (*, queue=None, full=None, echo=false))]
    fn subscribe(
        &self,
        py: Python<'_>,
        queue: Option<usize>,
        full: Option<String>,
        echo: bool,
    ) -> PyResult<Stream> {
        let spec = SubscribeSpec { queue, full, echo };
        let messages = guard("subscribe", || self.topic.subscribe(&spec))?;
        Ok(Stream::new(messages, self.node.clone_ref(py)))
    }

    /// Calls ``callback(message)`` with what comes from now on; see ``subscribe``.
    #[pyo3(signature = (callback, *, queue=None, full=None, echo=false))]
    fn on_message(
        &self,
        py: Python<'_>,
        callback: Bound<'_, PyAny>,
        queue: Option<usize>,
        full: Option<String>,
        echo: bool,
    ) -> PyResult<Subscription> {
        let spec = SubscribeSpec { queue, full, echo };
        let callback = self.node.get().callback(py, callback)?;
        guard("on_message", || self.topic.on_message(&spec, callback)).map(Subscription::from)
    }

    /// The ids of the connected peers that have joined the topic.
    fn peers(&self) -> PyResult<Vec<String>> {
        self.topic.peers().or_raise()
    }

    /// Waits until ``n`` connected peers have joined the topic, and returns their
    /// ids.
    ///
    /// Raises:
    ///     TimeoutError: if that takes longer than ``timeout`` seconds.
    #[pyo3(signature = (n, timeout=None))]
    fn wait_for_peers(
        &self,
        py: Python<'_>,
        n: usize,
        timeout: Option<f64>,
    ) -> PyResult<Vec<String>> {
        block(py, "wait_for_peers", self.topic.wait_for_peers(n), timeout)
    }

    fn _wait_for_peers(&self, py: Python<'_>, n: usize, done: Py<PyAny>) -> PyResult<Pending> {
        let call = self.topic.wait_for_peers(n);
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("wait_for_peers", &dispatcher, call, done, |py, peers| {
            Ok(peers.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Lets the handle go, as the end of a ``with`` does; others, and
    /// subscriptions, go on.
    fn close(&self) {
        self.topic.close();
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        format!("<Topic {:?}>", self.topic.full_name())
    }
}
