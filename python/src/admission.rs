//! Whom a node takes: its lists, and certificates. A base of `Node`, so that each file stays short.

use crate::{call::detach, errors::OrRaise, service::Data};
use casm_bindings::{Result, guard};
use pyo3::{exceptions::PyTypeError, prelude::*};

/// One peer id, or several.
pub(crate) struct Ids(Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Ids {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(one) = given.extract::<String>() {
            return Ok(Self(vec![one]));
        }
        let refused = |what: &Bound<'py, PyAny>| {
            let kind = what.get_type().name()?;
            Err(PyTypeError::new_err(format!("give peer ids, which are str, and no {kind}")))
        };
        let Ok(items) = given.try_iter() else { return refused(&given) };
        let mut ids = Vec::new();
        for item in items {
            let item = item?;
            match item.extract() {
                Ok(id) => ids.push(id),
                Err(_) => return refused(&item),
            }
        }
        Ok(Self(ids))
    }
}

impl Ids {
    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// What a node has of calls that say whom it takes.
#[pyclass(frozen, subclass, module = "casm._casm")]
pub(crate) struct Admission {
    node: casm_bindings::Node,
}

impl Admission {
    pub(crate) fn new(node: casm_bindings::Node) -> Self {
        Self { node }
    }

    /// Many ids take a while, in which others shall run.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        what: &str,
        call: impl FnOnce(&casm_bindings::Node) -> Result<T> + Send,
    ) -> PyResult<T> {
        detach(py, || guard(what, || call(&self.node))).or_raise()
    }
}

#[pymethods]
impl Admission {
    /// Takes these peers too. With the first one there is an allow list, and who is
    /// not on it gets no connection and no answer, and is in no view. This node itself
    /// is always taken. ``ids`` is a peer id, or several; here and below.
    ///
    /// Raises:
    ///     AddressError: if one is no peer id.
    ///     ConfigError: above 65536 ids; then nothing is changed.
    fn allow(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        self.run(py, "allow", |node| node.allow(&ids.0))
    }

    /// Takes peers off the allow list. When the last one has gone, nobody is taken:
    /// ``allow_all`` takes everybody. Without an allow list it does nothing.
    fn disallow(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        self.run(py, "disallow", |node| node.disallow(&ids.0))
    }

    /// Does without an allow list: everybody is taken who is not denied.
    fn allow_all(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, "allow_all", casm_bindings::Node::allow_all)
    }

    /// Puts these in the place of the allow list, in one step: none of them means
    /// that nobody is taken. Raises as ``allow``.
    fn set_allowed(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        self.run(py, "set_allowed", |node| node.set_allowed(&ids.0))
    }

    /// Doesn't take these peers any more, whether they are allowed or not: their
    /// connections are closed, and they leave the view, with the reason ``left``.
    ///
    /// Raises:
    ///     AddressError: if one is no peer id.
    ///     ConfigError: if this node is among them, or above 65536 ids; then nothing
    ///         is changed.
    fn deny(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        self.run(py, "deny", |node| node.deny(&ids.0))
    }

    /// Takes peers off the deny list. They come back by themselves.
    fn undeny(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        self.run(py, "undeny", |node| node.undeny(&ids.0))
    }

    /// Puts these in the place of the deny list, in one step. Raises as ``deny``.
    fn set_denied(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        self.run(py, "set_denied", |node| node.set_denied(&ids.0))
    }

    /// The allow list, in the order of the ids; ``None`` if there is none and
    /// everybody is taken.
    fn allowed(&self, py: Python<'_>) -> PyResult<Option<Vec<String>>> {
        self.run(py, "allowed", casm_bindings::Node::allowed)
    }

    /// The deny list, in the order of the ids.
    fn denied(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.run(py, "denied", casm_bindings::Node::denied)
    }
    /// Puts another certificate, as its file has it, in the place of this node's,
    /// before that one ends. Connections go on.
    ///
    /// Raises:
    ///     ConfigError: if it is not acceptable; then the old one stays.
    ///     InvalidError: if the node was started without ``admit``.
    fn renew(&self, py: Python<'_>, certificate: Data) -> PyResult<()> {
        let certificate = Vec::from(certificate);
        self.run(py, "renew", |node| node.renew(&certificate))
    }

    /// Puts out those whose certificates these revocations, as a file has them, take
    /// back: here and wherever members are. Returns how many were new here.
    ///
    /// Raises:
    ///     ConfigError: if one is not acceptable.
    ///     InvalidError: if the node was started without ``admit``.
    fn revoke(&self, py: Python<'_>, revocations: Data) -> PyResult<usize> {
        let revocations = Vec::from(revocations);
        self.run(py, "revoke", |node| node.revoke(&revocations))
    }
}
