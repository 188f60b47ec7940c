//! CASM for Node.js: the types of the facade, translated. The package around
//! this module is in `ts/`.
//!
//! - `port`: the way into a JavaScript thread
//! - `call`, `errors`: how a call waits, and what it throws
//! - `node`, `options`, `key`, `secret`: the node and what it is told
//! - `view`, `records`, `remote`, `query`, `items`: what a node knows, and what
//!   happens to it
//! - `byte_stream`: what is read and written
//! - `topic`: topics
//! - `stream`: the same to pull, and to be called with
//! - `service`: services, served and called
//! - `log`, `bench`: log records; synthetic data for measurements and tests

// napi registers nothing in a test build (which lints look at), so that there
// nothing seems to be used.
#![cfg_attr(test, allow(dead_code))]

mod bench;
mod byte_stream;
mod call;
mod csp;
mod errors;
mod items;
mod key;
mod log;
mod node;
mod options;
mod port;
mod query;
mod reach;
mod records;
mod remote;
mod secret;
mod service;
mod stream;
mod topic;
mod view;

/// The version of this module, which is that of its package.
#[napi_derive::napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
