//! A snapshot of the cluster.

use crate::{call::guard, errors::Result, query::QuerySpec, records::Records};
use napi_derive::napi;

/// A snapshot of the cluster: it stays as it was.
#[napi]
pub struct View(casm_bindings::View);

impl From<casm_bindings::View> for View {
    fn from(view: casm_bindings::View) -> Self {
        Self(view)
    }
}

#[napi]
impl View {
    #[napi(getter)]
    pub fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn iter(&self, query: QuerySpec) -> Result<Records> {
        guard("iter", || {
            let query = query.build()?;
            Ok(self.0.refs(&query).cloned().collect::<Vec<_>>().into())
        })
    }

    #[napi]
    pub fn lookup(&self, query: QuerySpec) -> Result<Option<Records>> {
        guard("lookup", || Ok(self.0.lookup(&query.build()?).map(Records::from)))
    }

    #[napi]
    pub fn count(&self, query: QuerySpec) -> Result<u32> {
        guard("count", || Ok(u32::try_from(self.0.count(&query.build()?)).unwrap_or(u32::MAX)))
    }

    #[napi]
    pub fn get(&self, peer: String) -> Result<Option<Records>> {
        guard("get", || Ok(self.0.get(&casm_bindings::peer_id(&peer)?).map(Records::from)))
    }
}
