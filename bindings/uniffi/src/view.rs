//! A snapshot of the cluster.

#![expect(clippy::len_without_is_empty, reason = "a package makes that of `len`")]

use crate::{
    call::{count, guard},
    errors::Result,
    items::Record,
    query::Query,
};
use casm_bindings::peer_id;

/// A snapshot of the cluster: it stays as it was.
#[derive(uniffi::Object)]
pub struct View(casm_bindings::View);

impl From<casm_bindings::View> for View {
    fn from(view: casm_bindings::View) -> Self {
        Self(view)
    }
}

#[uniffi::export]
impl View {
    /// How many records it holds.
    pub fn len(&self) -> u32 {
        count(self.0.len())
    }

    /// The records that a query finds, in its order.
    #[uniffi::method(default(query))]
    pub fn iter(&self, query: Query) -> Result<Vec<Record>> {
        guard("iter", || {
            let query = query.build()?;
            Ok(self.0.refs(&query).cloned().map(Record::from).collect())
        })
    }

    /// The first record that a query finds.
    pub fn lookup(&self, query: Query) -> Result<Option<Record>> {
        guard("lookup", || Ok(self.0.lookup(&query.build()?).map(Record::from)))
    }

    /// How many records a query finds.
    pub fn count(&self, query: Query) -> Result<u32> {
        guard("count", || Ok(count(self.0.count(&query.build()?))))
    }

    /// The record of a peer.
    pub fn get(&self, peer: String) -> Result<Option<Record>> {
        guard("get", || Ok(self.0.get(&peer_id(&peer)?).map(Record::from)))
    }
}
