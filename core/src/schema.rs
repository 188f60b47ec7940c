//! The Rust generated from `core/schema/*.capnp` by `cargo xtask codegen`.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::all, clippy::unimplemented)]

#[rustfmt::skip]
#[path = "../schema/boot_capnp.rs"]
pub mod boot_capnp;
#[rustfmt::skip]
#[path = "../schema/chan_capnp.rs"]
pub mod chan_capnp;
#[rustfmt::skip]
#[path = "../schema/cluster_capnp.rs"]
pub mod cluster_capnp;
#[rustfmt::skip]
#[path = "../schema/csp_capnp.rs"]
pub mod csp_capnp;
#[rustfmt::skip]
#[path = "../schema/pex_capnp.rs"]
pub mod pex_capnp;
#[rustfmt::skip]
#[path = "../schema/service_capnp.rs"]
pub mod service_capnp;
