//! Snapshots of the records of all peers, and how they are looked up.
//!
//! - `slots`: the records; `tree` and `index`: their order by a field
//! - `goodbyes`: those of peers that have left
//! - `view`: a snapshot, and what can be asked of it; `hits`: what a query finds in it

mod goodbyes;
mod hits;
mod index;
mod slots;
mod tree;
mod view;

pub(in crate::cluster) use goodbyes::{Goodbye, Goodbyes};
pub(in crate::cluster) use hits::Pages;
pub(in crate::cluster) use view::{Proof, Snapshot};
pub use view::{Signed, View};
