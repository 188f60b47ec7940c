//! What to look for.

use casm_bindings::Query;
use napi_derive::napi;

/// What to look for, in strings: `peer:ID`, `server:HEX`, `host:NAME`,
/// `meta:KEY=VALUE`, `role:ROLE`.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct QuerySpec {
    pub matching: Option<String>,
    pub prefix: Option<bool>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub limit: Option<u32>,
    pub reverse: Option<bool>,
}

impl QuerySpec {
    pub(crate) fn build(self) -> casm_bindings::Result<Query> {
        let spec = casm_bindings::QuerySpec {
            matching: self.matching,
            prefix: self.prefix.unwrap_or_default(),
            from: self.from,
            to: self.to,
            limit: self.limit.map(|limit| limit as usize),
            reverse: self.reverse.unwrap_or_default(),
        };
        spec.build()
    }
}
