//! Which records of a view are wanted, and in what order.

use super::parse;
use casm::{
    Error, ErrorKind, Result,
    cluster::{Index, Query, Select},
};
use clap::Args;
use std::str::FromStr;

/// The options of a query.
#[derive(Args, Clone, Debug, Default)]
#[command(
    next_help_heading = "Query (FIELD is peer, server, host, meta (meta:role=worker) or role; \
                               to match, also service:NAME)"
)]
pub struct QueryArgs {
    /// Only records with this value
    #[arg(long = "match", value_name = "FIELD:VALUE", conflicts_with = "from")]
    matching: Option<Matching>,
    /// Also records whose value only begins so
    #[arg(long, requires = "matching")]
    prefix: bool,
    /// Only records from this value on, in the order of the field
    #[arg(long, value_name = "FIELD:VALUE")]
    from: Option<Index>,
    /// Only records up to this value, itself included
    #[arg(long, value_name = "FIELD:VALUE")]
    to: Option<Index>,
    /// At most so many records
    #[arg(long, value_name = "N", value_parser = parse::count)]
    limit: Option<usize>,
    /// From higher values to lower ones
    #[arg(long)]
    reverse: bool,
}

/// What is to be matched: a value, or a name that is offered.
#[derive(Clone, Debug)]
struct Matching(String);

impl Matching {
    fn select(&self, prefix: bool) -> Result<Select> {
        Select::matching(&self.0, prefix)
    }
}

impl FromStr for Matching {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let matching = Self(text.to_owned());
        matching.select(false).map(|_| matching)
    }
}

impl QueryArgs {
    /// The query.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if its ends are not of one field.
    pub fn query(&self) -> Result<Query> {
        let mut query = match (&self.matching, &self.from) {
            (Some(value), _) => Query { select: value.select(self.prefix)?, ..Query::all() },
            (None, Some(index)) => Query::from(index.clone()),
            (None, None) => Query::all(),
        };
        query.to = self.to.clone();
        query.limit = self.limit;
        query.reverse = self.reverse;
        query.check().map_err(|e| Error::new(ErrorKind::Config, e.message()))?;
        Ok(query)
    }
}
