//! One node: the production types that decide when it speaks, and whom it suspects.

use casm::{
    PeerId,
    cluster::{Relied, Stretch, Suspicion},
};
use std::time::Duration;

pub struct Node {
    pub suspicion: Suspicion,
    pub stretch: Stretch,
    pub relied: Relied,
    pub next_beat: Duration,
    /// Messages with suspicions that it has published.
    pub said: u64,
    /// When it looks after its suspicions.
    pub wakes: Option<Duration>,
    /// Whether it hears what others say of others, and counts.
    pub observes: bool,
    /// When it crashed last, the number of its last heartbeat then, and whether its host
    /// did.
    pub crashed: Option<(Duration, u16)>,
    pub host_down: bool,
    /// Whether it answers no pings.
    pub mute: bool,
    /// How often it says again that it lives, a second later.
    pub again: u32,
    /// Counts its starts and ends.
    pub run: u32,
}

impl Node {
    pub fn new(id: PeerId) -> Self {
        Self {
            suspicion: Suspicion::new(id, false, Duration::ZERO),
            stretch: Stretch::new(Duration::from_secs(10), Some(150)),
            relied: Relied::default(),
            next_beat: Duration::MAX,
            said: 0,
            wakes: None,
            observes: false,
            crashed: None,
            host_down: false,
            mute: false,
            again: 0,
            run: 0,
        }
    }
}
