//! Capabilities over streams: Cap'n Proto RPC between nodes.

mod encoding;
mod error;
mod lz4;
mod message;
mod source;
mod unpack;

pub use encoding::Encoding;
