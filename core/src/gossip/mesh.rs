//! How gossip keeps its mesh: what the engine is told, and the simulator's model
//! of dissemination follows.

use std::time::Duration;

/// Peers to whom a message is passed on whole, half as many as in Go: each copy
/// beyond the first is traffic for nothing. What a small mesh leaves out, the
/// offers to the other peers bring within a second or three, and the exchanges of
/// `cluster::sync`.
pub const DEGREE: usize = 3;
/// A node with fewer mesh links grafts some.
pub const LOW: usize = DEGREE - 1;
/// A node with as many takes no further ones from who connected to it, and with more
/// it prunes some. Links are asked for by who has too few: where they meet, as at a
/// static boot peer, there are more than elsewhere.
pub const HIGH: usize = 8;
/// How long a link that was pruned stays out. Gossipsub's default.
pub const BACKOFF: Duration = Duration::from_secs(60);
/// Peers outside the mesh that are offered, once a second, what they may lack.
pub const LAZY: usize = DEGREE;
/// As many more of those whose links were refused: they may have too few.
pub const REFUSED: usize = 32;
