//! Peer exchange: the random, self-healing overlay.
//!
//! `view` is the state and its rules; `codec` and `round` turn it into bytes
//! and back; `network` says what counts as one network; `keeper` decides on
//! connections; `store` makes it last; `service`, `task` and `exchange` do the
//! I/O.

mod codec;
#[cfg(test)]
mod codec_tests;
mod config;
mod error;
mod exchange;
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod keeper;
mod network;
mod round;
mod service;
mod store;
mod task;
#[cfg(test)]
mod vectors;
#[doc(hidden)]
pub mod view;

pub use config::Config;
pub use error::RoundError;
pub(crate) use service::{Addresses, Env, Pex};
pub(crate) use store::Store;
pub use store::{ClockFound, last_clock, last_seq};
