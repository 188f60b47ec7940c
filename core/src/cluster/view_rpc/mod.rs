//! The cluster view over RPC: a node serves its own as the capability `view`,
//! in every encoding, and queries those of others.
//!
//! `wire` turns queries and records into Cap'n Proto and back; `proof` checks who
//! said what a record says; `position` goes on with a query where it was left, on
//! a newer snapshot.

mod client;
mod position;
mod proof;
mod server;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod wire;

pub use client::{RemoteRecords, RemoteView};
pub(crate) use server::serve;

/// The name of the capability.
const NAME: &str = "view";
