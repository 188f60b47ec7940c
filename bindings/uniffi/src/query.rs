//! What to look for.

use casm_bindings::QuerySpec;

/// What to look for, in strings: `peer:ID`, `server:HEX`, `host:NAME`,
/// `meta:KEY=VALUE`, `role:ROLE`. All records if nothing is said.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub struct Query {
    /// The value to match; not with `from`.
    #[uniffi(default)]
    pub matching: Option<String>,
    /// Whether values that begin like the one to match are found too.
    #[uniffi(default)]
    pub prefix: bool,
    /// The value to begin at.
    #[uniffi(default)]
    pub from: Option<String>,
    /// The last value.
    #[uniffi(default)]
    pub to: Option<String>,
    /// The most records.
    #[uniffi(default)]
    pub limit: Option<u32>,
    /// From higher values to lower ones.
    #[uniffi(default)]
    pub reverse: bool,
}

impl Query {
    pub(crate) fn build(self) -> casm_bindings::Result<casm_bindings::Query> {
        let spec = QuerySpec {
            matching: self.matching,
            prefix: self.prefix,
            from: self.from,
            to: self.to,
            limit: self.limit.map(|limit| limit as usize),
            reverse: self.reverse,
        };
        spec.build()
    }
}
