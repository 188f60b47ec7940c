//! What to look for.

use crate::errors::OrRaise;
use casm_bindings::{Index, QuerySpec};
use pyo3::prelude::*;

/// What to look for in a view: where to begin, which way to go, and where to
/// end. Values are written ``peer:ID``, ``server:HEX``, ``host:NAME``,
/// ``meta:KEY=VALUE`` or ``role:ROLE``; to match, also ``service:NAME``.
#[pyclass(frozen, eq, module = "casm")]
#[derive(Clone, PartialEq)]
pub(crate) struct Query {
    spec: QuerySpec,
}

impl Query {
    fn checked(spec: QuerySpec) -> PyResult<Self> {
        spec.build().or_raise()?;
        Ok(Self { spec })
    }

    fn matching(index: &Index) -> Self {
        Self { spec: QuerySpec { matching: Some(index.to_string()), ..QuerySpec::default() } }
    }
}

/// The query of a call: none is all, and a string is a value to match.
#[derive(FromPyObject)]
pub(crate) enum QueryArg {
    #[pyo3(transparent, annotation = "Query")]
    Query(Py<Query>),
    #[pyo3(transparent, annotation = "str")]
    Match(String),
}

/// The query of a call, with its `limit` and `reverse`.
pub(crate) fn query(
    query: Option<QueryArg>,
    limit: Option<usize>,
    reverse: Option<bool>,
) -> PyResult<casm_bindings::Query> {
    let mut spec = match query {
        Some(QueryArg::Query(query)) => query.get().spec.clone(),
        Some(QueryArg::Match(text)) => QuerySpec { matching: Some(text), ..QuerySpec::default() },
        None => QuerySpec::default(),
    };
    spec.limit = limit.or(spec.limit);
    spec.reverse = reverse.unwrap_or(spec.reverse);
    spec.build().or_raise()
}

#[pymethods]
impl Query {
    /// Every record.
    #[staticmethod]
    fn all() -> Self {
        Self { spec: QuerySpec::default() }
    }

    /// The records with this value.
    #[staticmethod]
    fn r#match(value: String) -> PyResult<Self> {
        Self::checked(QuerySpec { matching: Some(value), ..QuerySpec::default() })
    }

    /// The records whose meta field ``key`` has this value.
    #[staticmethod]
    fn match_meta(key: &str, value: &str) -> Self {
        Self::matching(&Index::meta(key, value))
    }

    /// The records of this host.
    #[staticmethod]
    fn match_host(host: &str) -> Self {
        Self::matching(&Index::host(host))
    }

    /// The record of this peer.
    #[staticmethod]
    fn match_peer(peer: &str) -> PyResult<Self> {
        Ok(Self::matching(&Index::peer(&casm_bindings::peer_id(peer).or_raise()?)))
    }

    /// The records with this server number.
    #[staticmethod]
    fn match_server(server: u64) -> Self {
        Self::matching(&Index::server(server))
    }

    /// The records of those of whom this role is proven.
    #[staticmethod]
    fn role(role: &str) -> Self {
        Self::matching(&Index::role(role))
    }

    /// The records of those that offer this service, in any version.
    #[staticmethod]
    fn service(name: &str) -> PyResult<Self> {
        Self::r#match(format!("service:{name}"))
    }

    /// The records whose value begins like this.
    #[staticmethod]
    fn prefix(value: String) -> PyResult<Self> {
        Self::checked(QuerySpec { matching: Some(value), prefix: true, ..QuerySpec::default() })
    }

    /// The records from this value on, in the order of the field.
    #[staticmethod]
    fn from_(value: String) -> PyResult<Self> {
        Self::checked(QuerySpec { from: Some(value), ..QuerySpec::default() })
    }

    /// The same, up to this value, included.
    fn to(&self, value: String) -> PyResult<Self> {
        Self::checked(QuerySpec { to: Some(value), ..self.spec.clone() })
    }

    /// The same, with at most so many records.
    fn limit(&self, limit: usize) -> Self {
        Self { spec: QuerySpec { limit: Some(limit), ..self.spec.clone() } }
    }

    /// The same, from higher values to lower ones.
    fn reverse(&self) -> Self {
        Self { spec: QuerySpec { reverse: true, ..self.spec.clone() } }
    }

    fn __repr__(&self) -> String {
        let spec = &self.spec;
        let mut text = match (&spec.matching, &spec.from) {
            (Some(value), _) if spec.prefix => format!("Query.prefix({value:?})"),
            (Some(value), _) => format!("Query.match({value:?})"),
            (None, Some(value)) => format!("Query.from_({value:?})"),
            (None, None) => "Query.all()".to_owned(),
        };
        if let Some(to) = &spec.to {
            text += &format!(".to({to:?})");
        }
        if let Some(limit) = spec.limit {
            text += &format!(".limit({limit})");
        }
        if spec.reverse {
            text += ".reverse()";
        }
        text
    }
}
