//! The Rust generated from `core/schema/cluster.capnp`.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::all, clippy::unimplemented)]

#[rustfmt::skip]
#[path = "../../../core/schema/cluster_capnp.rs"]
pub mod cluster_capnp;
