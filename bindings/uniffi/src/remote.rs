//! The views of other nodes.

use crate::{
    call::{count, guard, waits},
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

fn record(found: Option<casm_bindings::Record>) -> Option<Record> {
    found.map(Record::from)
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
}

waits! {
    impl RemoteView {
        /// The first record that a query finds.
        #[uniffi::method(default(timeout))]
        fn lookup / start_lookup(&self, query: Query, timeout: Option<f64>) -> Option<Record> {
            (self.0.lookup(query.build()?), timeout, record)
        }

        /// How many records a query finds.
        #[uniffi::method(default(timeout))]
        fn count / start_count(&self, query: Query, timeout: Option<f64>) -> u32 {
            (self.0.count(query.build()?), timeout, count)
        }

        /// The record of a peer.
        #[uniffi::method(default(timeout))]
        fn get / start_get(&self, peer: String, timeout: Option<f64>) -> Option<Record> {
            (self.0.get(peer), timeout, record)
        }
    }
}
