//! The views of other nodes.

use crate::{
    call::{Pending, guard, spawn},
    errors::{OrThrow, Result},
    port::{Shared, Work},
    query::QuerySpec,
    stream::Stream,
};
use casm_bindings::Record;
use napi_derive::napi;
use std::sync::Arc;

/// The view of another node, as it is there: each query is answered by that
/// node when it is asked.
#[napi]
pub struct RemoteView {
    view: casm_bindings::RemoteView,
    port: Arc<Shared>,
}

impl RemoteView {
    pub(crate) fn new(view: casm_bindings::RemoteView, port: Arc<Shared>) -> Self {
        Self { view, port }
    }
}

fn optional(record: Option<Record>) -> Work {
    Work { record: record.map(Into::into), ..Work::default() }
}

#[napi]
impl RemoteView {
    #[napi(getter)]
    pub fn peer(&self) -> &str {
        self.view.peer()
    }

    #[napi]
    pub fn iter(&self, query: QuerySpec) -> Result<Stream> {
        let records = guard("iter", || self.view.iter(query.build()?))?;
        Ok(Stream::new(records, self.port.clone()))
    }

    #[napi]
    pub fn lookup(&self, id: u32, query: QuerySpec) -> Result<Pending> {
        let query = query.build().or_throw()?;
        spawn("lookup", &self.port, id, self.view.lookup(query), optional)
    }

    #[napi]
    pub fn count(&self, id: u32, query: QuerySpec) -> Result<Pending> {
        let query = query.build().or_throw()?;
        spawn("count", &self.port, id, self.view.count(query), |count| Work {
            count: Some(count as f64),
            ..Work::default()
        })
    }

    #[napi]
    pub fn get(&self, id: u32, peer: String) -> Result<Pending> {
        spawn("get", &self.port, id, self.view.get(peer), optional)
    }
}
