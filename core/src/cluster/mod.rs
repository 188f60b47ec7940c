//! The live, queryable picture of who is there.

mod record;

pub use record::Record;
