//! What streams: to iterate over, or to be called with.

use crate::{
    call::{Pending, block, spawn},
    driver,
    errors::OrRaise,
    events::Item,
    node::Node,
};
use casm_bindings::{Batch, Ended, Error, Listener, Monitor, Result, Source};
use pyo3::{prelude::*, types::PyList};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Events, changes, messages or found peers, one after the other. What nobody takes in
/// time is dropped, the oldest first if nothing else was asked, and counted.
///
/// Iterating blocks until there is one; it ends when the node is closed, or
/// the stream cancelled. A stream is cancelled when it is no longer used, and
/// at the end of a ``with``. It keeps its node alive.
#[pyclass(frozen, generic, weakref, module = "casm")]
pub(crate) struct Stream {
    items: Arc<dyn Pull>,
    came: Arc<Mutex<Came>>,
    node: Py<Node>,
    ended: Ended,
}

/// What came and was not taken yet. It is there for the next call if the one for which
/// it came is called off.
#[derive(Default)]
struct Came {
    items: VecDeque<Item>,
    /// Behind the items. Some sources tell it only once.
    failed: Option<Error>,
}

/// What the stream gives; outside of it the errors of the call alone.
type Items = Pin<Box<dyn Future<Output = Result<Result<Vec<Item>>>> + Send>>;

/// A stream of the facade, whatever it is of.
trait Pull: Send + Sync {
    fn pull(self: Arc<Self>) -> Items;
    fn cancel(&self);
    fn is_cancelled(&self) -> bool;
    fn is_foreign(&self) -> bool;
    fn dropped(&self) -> u64;
}

impl<S: Source<Item: Into<Item>>> Pull for casm_bindings::Stream<S> {
    fn pull(self: Arc<Self>) -> Items {
        Box::pin(async move {
            let items = self.pulled().await?;
            Ok(items.map(|items| items.into_iter().map(Into::into).collect()))
        })
    }

    fn cancel(&self) {
        casm_bindings::Stream::cancel(self);
    }

    fn is_cancelled(&self) -> bool {
        casm_bindings::Stream::is_cancelled(self)
    }

    fn is_foreign(&self) -> bool {
        casm_bindings::Stream::is_foreign(self)
    }

    fn dropped(&self) -> u64 {
        casm_bindings::Stream::dropped(self)
    }
}

impl Stream {
    pub(crate) fn new<S: Source<Item: Into<Item>>>(
        items: casm_bindings::Stream<S>,
        node: Py<Node>,
    ) -> Self {
        Self::that_ends(items, node, Ended::default())
    }

    /// The same, which says why it ended.
    pub(crate) fn that_ends<S: Source<Item: Into<Item>>>(
        items: casm_bindings::Stream<S>,
        node: Py<Node>,
        ended: Ended,
    ) -> Self {
        Self { items: Arc::new(items), came: Arc::default(), node, ended }
    }

    /// Does something with what came. No Python runs meanwhile: a finalizer that lets the
    /// interpreter's lock go could be waited for by who has that lock and waits here. In a
    /// forked child nothing has come: the lock may be held by a thread of the parent.
    fn came<T>(&self, what: impl FnOnce(&mut Came) -> T) -> T {
        match self.items.is_foreign() {
            true => what(&mut Came::default()),
            false => what(&mut lock(&self.came)),
        }
    }

    /// Waits for items, or an error, and leaves them there. False when the stream is
    /// over.
    fn fill(&self) -> impl Future<Output = Result<bool>> + Send + use<> {
        let (items, came) = (self.items.clone(), self.came.clone());
        async move {
            if items.is_foreign() {
                return items.pull().await.map(|_| false);
            }
            // Those of a call that was called off.
            if lock(&came).is_some() {
                return Ok(true);
            }
            let pulled = items.clone().pull().await?;
            let mut came = lock(&came);
            match pulled {
                Err(error) if items.is_cancelled() => return Err(error),
                // A cancel clears it afterwards.
                Ok(_) if items.is_cancelled() => return Ok(false),
                Ok(items) => came.items.extend(items),
                Err(error) => came.failed = Some(error),
            }
            Ok(came.is_some())
        }
    }
}

impl Came {
    fn is_some(&self) -> bool {
        !self.items.is_empty() || self.failed.is_some()
    }

    /// The next item, if one is there.
    fn next(&mut self) -> Result<Option<Item>> {
        match self.items.pop_front() {
            None => self.failed.take().map_or(Ok(None), Err),
            item => Ok(item),
        }
    }

    /// All items that are there, if any.
    fn all(&mut self) -> Result<VecDeque<Item>> {
        if self.items.is_empty() {
            return self.failed.take().map_or(Ok(VecDeque::new()), Err);
        }
        Ok(std::mem::take(&mut self.items))
    }
}

fn lock(came: &Mutex<Came>) -> MutexGuard<'_, Came> {
    came.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Stream {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.next(py, None)
    }

    /// The next item, or None when the stream is over.
    ///
    /// Raises:
    ///     TimeoutError: if there is none within ``timeout`` seconds.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            let next = self.came(Came::next);
            if let Some(item) = next.or_raise()? {
                match item.into_python(py)? {
                    Some(item) => return Ok(Some(item)),
                    None => continue,
                }
            }
            if !block(py, "waiting for the next item", self.fill(), timeout)? {
                return Ok(None);
            }
        }
    }

    /// Calls ``done`` with whether there are more items, when ``_take`` gives them.
    fn _more(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<Pending> {
        let dispatcher = self.node.get().dispatcher(py)?;
        spawn("waiting for the next item", &dispatcher, self.fill(), done, |py, more| {
            Ok(more.into_pyobject(py)?.to_owned().into_any().unbind())
        })
    }

    /// The items that are there.
    fn _take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let items = self.came(Came::all).or_raise()?;
        let items: PyResult<Vec<_>> =
            items.into_iter().filter_map(|item| item.into_python(py).transpose()).collect();
        PyList::new(py, items?)
    }

    /// How many items were lost because nobody took them in time.
    #[getter]
    fn dropped(&self) -> u64 {
        self.items.dropped()
    }

    /// Of the replies of ``call_all``: why they are over, when they are, ``"all"``,
    /// ``"limit"`` or ``"timeout"``.
    #[getter]
    fn ended(&self) -> Option<&'static str> {
        let taken = self.came(|came| came.items.is_empty());
        self.ended.get().filter(|_| taken)
    }

    /// Ends the stream, also for a thread that is waiting for it.
    fn cancel(&self) {
        self.items.cancel();
        let left = self.came(std::mem::take);
        // With no lock held.
        drop(left);
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyAny>) {
        self.cancel();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.items.cancel();
    }
}

/// A callback's subscription. It lasts until it is cancelled, or the node is
/// closed; a ``with`` cancels it at its end.
#[pyclass(frozen, weakref, module = "casm")]
pub(crate) struct Subscription(casm_bindings::Subscription);

impl From<casm_bindings::Subscription> for Subscription {
    fn from(subscription: casm_bindings::Subscription) -> Self {
        // `node.on_event(print)` is to go on though nobody keeps the result.
        Self(subscription.keep())
    }
}

#[pymethods]
impl Subscription {
    /// Counts a call that raised an exception on another thread.
    fn _count_failure(&self) {
        self.0.count_failure();
    }

    /// Calls the callback no more. A call that is running ends in its own time.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// How many items were lost because the callback was too slow: the oldest
    /// are dropped.
    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// How many calls of the callback raised an exception. Each is logged by
    /// the logger ``casm``.
    #[getter]
    fn failed(&self) -> u64 {
        self.0.failed()
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, _exc: &Bound<'_, PyAny>) {
        self.cancel();
    }
}

/// A Python function that is called with every item.
pub(crate) struct Callback(Py<PyAny>);

impl Callback {
    /// Checks that it can be called.
    pub(crate) fn new(callback: Bound<'_, PyAny>) -> PyResult<Self> {
        if callback.is_callable() {
            return Ok(Self(callback.unbind()));
        }
        let message = format!("callback: {} cannot be called", callback.repr()?);
        Err(pyo3::exceptions::PyTypeError::new_err(message))
    }
}

impl<T: Into<Item> + Send + 'static> Listener<T> for Callback {
    fn deliver(&self, batch: &mut Batch<T>) {
        // None while Python is shutting down: then nobody is there to be told.
        Python::try_attach(|py| {
            let items: PyResult<Vec<_>> =
                batch.filter_map(|item| item.into().into_python(py).transpose()).collect();
            let work = items.and_then(|items| {
                let delivery = Py::new(py, Delivery(batch.monitor()))?.into_any();
                Ok((delivery, self.0.clone_ref(py), PyList::new(py, items)?.into_any().unbind()))
            });
            match work {
                Ok(work) => driver::hand_over(work),
                Err(error) => error.write_unraisable(py, None),
            }
        });
    }
}

/// A batch on its way to a callback.
#[pyclass(frozen, module = "casm._casm")]
pub(crate) struct Delivery(Monitor);

#[pymethods]
impl Delivery {
    /// Whether nothing more is to be delivered.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Counts a call that raised an exception.
    fn count_failure(&self) {
        self.0.count_failure();
    }
}
