//! How gossipsub keeps its mesh: what the node sets, and the simulator's model
//! of dissemination follows.

use std::time::Duration;

/// Peers to whom a message is passed on whole. Each copy costs its receiver a
/// signature check, so that a mesh of six, as in Go, takes two and a half times
/// the processor time. What a small mesh leaves out, the offers to the other
/// peers bring within a second or three, and the exchanges of `cluster::sync`.
pub const DEGREE: usize = 3;
/// A node with fewer mesh links grafts some.
pub const LOW: usize = DEGREE - 1;
/// A node with more prunes some.
pub const HIGH: usize = DEGREE + 1;
/// How long a link that was pruned stays out. Gossipsub's default.
pub const BACKOFF: Duration = Duration::from_secs(60);
/// The fewest peers outside the mesh that are offered, once a second, what they
/// may lack.
pub const LAZY: usize = DEGREE;
/// The part of all peers outside the mesh that are, if it is more. Gossipsub's
/// default.
pub const LAZY_PART: f64 = 0.25;
