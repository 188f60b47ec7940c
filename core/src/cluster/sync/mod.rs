//! Anti-entropy: two nodes compare what they know, and hand each other the
//! signed heartbeats that the other lacks or has older ones of. A newcomer has
//! the whole picture in a round trip, and a view never depends on gossip's mesh
//! alone.
//!
//! - `items`: what a node has, in few bytes; `sums`: what it sums up to (pure)
//! - `ranges`: what is said of ranges of them; `reconcile`: how two nodes find by
//!   how much they differ (pure)
//! - `wire`: the frames of an exchange (pure)
//! - `heard`: what of peers that are gone nobody is asked for again (pure)
//! - `clocks`: how far this node's clock is from others'
//! - `budgets`: how often, and how much; `greetings`: with whom soon (pure)
//! - `meter`: who is too slow; `places`: who is served at a time
//! - `exchange`: one exchange, on any stream; `taking`: what it brings
//! - `service`: whom to exchange with, and when
//! - `goodbyes`: hands on at once who has left
//!
//! Spoken as `/casm/1.0.0/<namespace>/sync/2`, which Go's nodes don't know. What
//! is handed over is the pubsub message as its source signed it: it is verified,
//! and enters the table, as if it had come by gossip.

mod budgets;
mod clocks;
mod exchange;
pub mod fuzzing;
#[cfg(test)]
mod goodbye_tests;
mod goodbyes;
mod greetings;
mod heard;
#[cfg(test)]
mod hostile_tests;
mod items;
mod meter;
mod places;
mod ranges;
mod reconcile;
#[cfg(test)]
mod reconcile_tests;
mod service;
mod sums;
mod taking;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod wire;

pub use items::{Items, short_id};
pub use reconcile::Compared;
pub use service::PAUSE;
pub(crate) use service::{Spacing, start};
