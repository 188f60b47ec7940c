//! Queries from plain values.

use crate::{Error, ErrorKind, Query, Result};
use casm::cluster::Select;

/// What to look for, in the strings that the command line has too:
/// `peer:ID`, `server:HEX`, `host:NAME`, `meta:KEY=VALUE`, `role:ROLE`; to match, also
/// `service:NAME` and `channel:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuerySpec {
    /// The value to match; not with `from`.
    pub matching: Option<String>,
    /// Whether values that begin like the one to match are found too.
    pub prefix: bool,
    /// The value to begin at.
    pub from: Option<String>,
    /// The last value.
    pub to: Option<String>,
    /// The most records.
    pub limit: Option<usize>,
    /// From higher values to lower ones.
    pub reverse: bool,
}

impl QuerySpec {
    /// The query.
    ///
    /// # Errors
    /// `Config` if a value is not of the form above; `Invalid` if the parts
    /// don't go together.
    pub fn build(&self) -> Result<Query> {
        let select = match (&self.matching, &self.from) {
            (Some(_), Some(_)) => {
                let message = "query: it has both a value to match and one to begin at: choose one";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            (Some(value), None) => Select::matching(value, self.prefix)?,
            (None, Some(value)) => Select::From(value.parse()?),
            (None, None) => Select::All,
        };
        if self.prefix && self.matching.is_none() {
            let message = "query: `prefix` is for a value to match, and there is none: add `match`";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let to = self.to.as_deref().map(str::parse).transpose()?;
        let query = Query { select, to, limit: self.limit, reverse: self.reverse };
        query.check()?;
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, Index};

    #[test]
    fn every_part_reaches_the_query() {
        let spec = QuerySpec {
            from: Some("host:a".into()),
            to: Some("host:b".into()),
            limit: Some(3),
            reverse: true,
            ..QuerySpec::default()
        };
        let query = Query::from(Index::host("a")).to(Index::host("b")).limit(3).reverse();
        assert_eq!(spec.build().unwrap(), query);
        let spec = QuerySpec {
            matching: Some("meta:role=w".into()),
            prefix: true,
            ..QuerySpec::default()
        };
        assert_eq!(spec.build().unwrap(), Query::matching(Index::meta("role", "w")).prefix());
        let service = |prefix, name: &str| {
            let matching = Some(format!("service:{name}"));
            QuerySpec { matching, prefix, ..QuerySpec::default() }.build().unwrap()
        };
        let role = QuerySpec { matching: Some("role:w".into()), ..QuerySpec::default() };
        assert_eq!(role.build().unwrap(), Query::role("w"));
        assert_eq!(service(false, "a"), Query::service("a"));
        assert_eq!(service(true, "a"), Query::matching(Index::new(Field::Meta, "svc.a")).prefix());
    }

    #[test]
    fn parts_that_do_not_go_together_are_named() {
        let some = |s: &str| Some(s.to_owned());
        for (spec, kind, said) in [
            (
                QuerySpec { matching: some("role=w"), ..Default::default() },
                ErrorKind::Config,
                "role=w",
            ),
            (
                QuerySpec { matching: some("host:a"), from: some("host:b"), ..Default::default() },
                ErrorKind::Invalid,
                "choose one",
            ),
            (QuerySpec { prefix: true, ..Default::default() }, ErrorKind::Invalid, "prefix"),
            (
                QuerySpec { from: some("host:a"), to: some("meta:b"), ..Default::default() },
                ErrorKind::Invalid,
                "one field",
            ),
        ] {
            let error = spec.build().unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(said), "{error}");
        }
    }
}
