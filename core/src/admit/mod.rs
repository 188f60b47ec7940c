//! Certificates of members: who may join is what an authority has signed.
//!
//! All of it is pure: time and randomness are arguments. [`Certificate`] is what a
//! peer shows, and [`Revocation`] what takes it back; [`Revoked`] is the set of
//! those that a node holds, [`Members`] all that it knows of who may be there.
//! [`gate`] is what two nodes say on a new connection, [`wire`] what members ask
//! each other, and [`answer`](talk::answer) what a node makes of that.
//!
//! An authority is an Ed25519 key, and is named by its peer id, which holds the
//! key. Times are seconds since 1970.

mod authority;
mod certificate;
mod envelope;
#[cfg(test)]
mod fixtures;
pub mod gate;
mod members;
mod refusal;
mod revocation;
mod revoked;
pub mod talk;
mod terms;
mod text;
#[cfg(test)]
mod vectors;
pub mod wire;

pub use authority::{MAX_AUTHORITIES, authority, check_authority};
pub use certificate::{Certificate, MAX_CERTIFICATE};
pub use members::{MAX_MEMBERS, Members, Revoking};
pub use refusal::{AdmitError, Refusal};
pub use revocation::{MAX_REVOCATION, Revocation};
pub use revoked::{Insert, MAX_REVOKED, Revoked, ShortId};
pub use terms::{MAX_LIFETIME, MAX_ROLE, MAX_ROLES, SKEW, Terms, is_role};

use std::time::{SystemTime, UNIX_EPOCH};

/// A time in the unit of certificates: seconds since 1970.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
