//! A snapshot of the cluster.

use crate::{call::guard, errors::Result, query::QuerySpec};
use casm_bindings::Record;
use napi::bindgen_prelude::BigInt;
use napi_derive::napi;

/// Records, of which JavaScript reads what it wants to know. A number past the
/// end reads as nothing.
#[napi]
pub struct Records(Vec<Record>);

impl From<Vec<Record>> for Records {
    fn from(records: Vec<Record>) -> Self {
        Self(records)
    }
}

impl From<Record> for Records {
    fn from(record: Record) -> Self {
        Self(vec![record])
    }
}

#[napi]
impl Records {
    #[napi(getter)]
    pub fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn peer(&self, n: u32) -> Option<&str> {
        self.at(n).map(Record::peer_text)
    }

    #[napi]
    pub fn server(&self, n: u32) -> Option<BigInt> {
        self.at(n).map(|record| record.server().into())
    }

    #[napi]
    pub fn seq(&self, n: u32) -> Option<BigInt> {
        self.at(n).map(|record| record.seq().into())
    }

    /// In milliseconds.
    #[napi]
    pub fn ttl(&self, n: u32) -> Option<f64> {
        self.at(n).map(|record| record.ttl().as_secs_f64() * 1000.0)
    }

    #[napi]
    pub fn host(&self, n: u32) -> Option<&str> {
        self.at(n).map(Record::host)
    }

    /// Keys and values, by turns.
    #[napi]
    pub fn meta(&self, n: u32) -> Option<Vec<&str>> {
        let record = self.at(n)?;
        Some(record.meta().iter().flat_map(|(key, value)| [key, value]).collect())
    }
}

impl Records {
    fn at(&self, n: u32) -> Option<&Record> {
        self.0.get(usize::try_from(n).ok()?)
    }
}

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
            Ok(Records(self.0.refs(&query).cloned().collect()))
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
