//! Which records of a view are wanted, and in what order.

use super::parse;
use casm::{
    Error, ErrorKind, Result,
    cluster::{Index, Query},
};
use clap::Args;

/// The options of a query.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Query (FIELD is peer, server, host or meta: meta:role=worker)")]
pub struct QueryArgs {
    /// Only records with this value
    #[arg(long = "match", value_name = "FIELD:VALUE", conflicts_with = "from")]
    matching: Option<Index>,
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

impl QueryArgs {
    /// The query.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if its ends are not of one field.
    pub fn query(&self) -> Result<Query> {
        let mut query = match (&self.matching, &self.from) {
            (Some(index), _) => Query::matching(index.clone()),
            (None, Some(index)) => Query::from(index.clone()),
            (None, None) => Query::all(),
        };
        if self.prefix {
            query = query.prefix();
        }
        query.to = self.to.clone();
        query.limit = self.limit;
        query.reverse = self.reverse;
        query.check().map_err(|e| Error::new(ErrorKind::Config, e.message()))?;
        Ok(query)
    }
}
