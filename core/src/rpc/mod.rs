//! Capabilities over streams: Cap'n Proto RPC between nodes.

mod encoding;
mod error;
mod flow;
mod ledger;
mod limits;
mod lz4;
mod message;
mod network;
mod outbound;
mod source;
mod unpack;

pub use encoding::Encoding;
pub use limits::Limits;
