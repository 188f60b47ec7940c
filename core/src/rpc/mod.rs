//! Capabilities over streams: Cap'n Proto RPC between nodes.
//!
//! From the wire up: `source`, `unpack`, `lz4` and `message` undo the layers of
//! an encoding, `encoding` puts them together; `outbound`, `ledger`, `flow` and
//! `budget` bound what a stream and all of them may cost, and `network` gives it to the RPC system as
//! its network; `connection` runs that on one stream, `thread` on all of them,
//! and [`Vat`] is what everybody else sees. `links` keeps connections for others.

mod budget;
mod connection;
mod encoding;
mod error;
mod flow;
#[doc(hidden)]
pub mod fuzzing;
mod ledger;
mod limits;
mod links;
mod lz4;
mod message;
mod metrics;
mod name;
mod network;
mod outbound;
mod source;
mod thread;
mod unpack;
mod vat;

pub(crate) use connection::{Kept, Room};
pub(crate) use encoding::Decoder;
#[cfg(test)]
pub(crate) use encoding::Encoder;
pub use encoding::Encoding;
pub use error::FrameError;
pub use limits::Limits;
pub(crate) use links::{Link, Links};
pub(crate) use vat::Exported;
pub use vat::{Export, Remote, Vat};

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tests_budget;
#[cfg(test)]
pub(crate) use vat::tests::TestVat;
