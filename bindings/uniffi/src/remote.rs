//! The views of other nodes.

use crate::{
    call::{block, count, guard},
    errors::Result,
    items::Record,
    query::Query,
    stream::RecordStream,
};

/// The view of another node, as it is there: each query is answered by that
/// node when it is asked.
#[derive(uniffi::Object)]
pub struct RemoteView(casm_bindings::RemoteView);

impl From<casm_bindings::RemoteView> for RemoteView {
    fn from(view: casm_bindings::RemoteView) -> Self {
        Self(view)
    }
}

#[uniffi::export]
impl RemoteView {
    /// The id of the node whose view it is.
    pub fn peer(&self) -> String {
        self.0.peer().to_owned()
    }

    /// The records that a query finds, as they come.
    #[uniffi::method(default(query))]
    pub fn iter(&self, query: Query) -> Result<RecordStream> {
        guard("iter", || self.0.iter(query.build()?)).map(RecordStream::from)
    }

    /// The first record that a query finds.
    #[uniffi::method(default(timeout))]
    pub fn lookup(&self, query: Query, timeout: Option<f64>) -> Result<Option<Record>> {
        Ok(block("lookup", self.0.lookup(query.build()?), timeout)?.map(Record::from))
    }

    /// How many records a query finds.
    #[uniffi::method(default(timeout))]
    pub fn count(&self, query: Query, timeout: Option<f64>) -> Result<u32> {
        block("count", self.0.count(query.build()?), timeout).map(count)
    }

    /// The record of a peer.
    #[uniffi::method(default(timeout))]
    pub fn get(&self, peer: String, timeout: Option<f64>) -> Result<Option<Record>> {
        Ok(block("get", self.0.get(peer), timeout)?.map(Record::from))
    }
}
