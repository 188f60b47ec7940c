//! Channels and semaphores: values and turns that are handed from one to another
//! at the place of one node.
//!
//! `owner` is a channel where it is, and `party` one who uses it from elsewhere;
//! both are pure, as `semaphore/owner` is, and `ticket` is what a select shows them.
//! Around them: `local` and `remote` with a clock and those who wait, `link` and
//! `server` with the wire between, `service` with all of a node by their names.
//! [`Channel`], [`select`] and [`Semaphore`] are what everybody sees.

mod around;
mod channel;
mod clock;
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod links;
mod local;
mod member;
mod metrics;
#[cfg(test)]
mod model;
mod owner;
mod parcel;
mod party;
mod remote;
mod select;
mod semaphore;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod ticket;
mod value;
mod waiting;

pub(crate) use around::{Around, Offered, What};
pub use channel::{Channel, Job};
#[doc(hidden)]
pub use parcel::Parcel;
#[doc(hidden)]
pub use select::select_parcel;
pub use select::{Branch, MAX_BRANCHES, select};
pub(crate) use semaphore::QUIET;
pub use semaphore::{Lease, Semaphore};
pub(crate) use service::Csp;
pub use service::{ChannelOptions, MAX_CAPACITY, MAX_PERMITS};
pub use value::MAX_VALUE;
