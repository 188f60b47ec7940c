//! Snapshots of the records of all peers, and how they are looked up.
//!
//! - `slots`: the records; `tree` and `index`: their order by a field
//! - `view`: a snapshot, and what can be asked of it

mod index;
mod slots;
mod tree;
mod view;

pub(in crate::cluster) use view::{Proof, Snapshot};
pub use view::{Signed, View};
