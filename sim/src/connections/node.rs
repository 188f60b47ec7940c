//! One honest node: the production code, and who it is connected to.

use crate::pex::Secret;
use casm::{
    PeerId,
    pex::{
        self,
        keeper::Keeper,
        view::{Params, Record, View},
    },
    slots::{Sizes, Slots},
};
use rand::{Rng, RngExt};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A peer that is told of: the simulator knows where it is.
#[derive(Clone, Copy, Debug)]
pub struct Known(pub PeerId);

impl Record for Known {
    type Id = PeerId;

    fn id(&self) -> PeerId {
        self.0
    }

    fn seq(&self) -> u64 {
        0
    }
}

/// As the first pause of peer exchange, and the longest.
const PEX: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// As a node's search: pauses after a failure, and between searches.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
const ALONE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// An honest node.
pub struct Node {
    pub id: PeerId,
    pub slots: Slots<u64, Secret>,
    pub view: View<Known, Secret>,
    pub keeper: Keeper,
    pub started: Duration,
    /// Connections with each peer.
    pub connected: BTreeMap<PeerId, usize>,
    /// Whom it asks for an exchange, or waits to be connected to for that.
    pub asking: BTreeSet<PeerId>,
    /// Whether it looks for the seed, and how often that failed.
    pub searching: bool,
    failures: usize,
    pause: Duration,
    /// When guests may have to go next.
    pub due: Option<Duration>,
    pub met: Option<Duration>,
    pub full: Option<Duration>,
}

impl Node {
    pub fn new(id: PeerId, connections: u32, secret: u64, started: Duration) -> Self {
        let sizes = Sizes::new(connections, 4, 128);
        Self {
            id,
            slots: Slots::new(sizes, Secret::new(secret)),
            view: View::new(id, Params::default(), Secret::new(secret)),
            keeper: Keeper::new(&pex::Config::default()),
            started,
            connected: BTreeMap::new(),
            asking: BTreeSet::new(),
            searching: false,
            failures: 0,
            pause: PEX.0,
            due: None,
            met: None,
            full: None,
        }
    }

    /// The pause until the next tick of peer exchange.
    pub fn next_tick(&mut self, rng: &mut impl Rng) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PEX.1);
        pause.mul_f64(rng.random_range(0.5..1.0))
    }

    /// The pause before it looks for the seed again.
    pub fn next_search(&mut self, rng: &mut impl Rng) -> Duration {
        let (search, retry) = (self.failures / 4, self.failures % 4);
        self.failures += 1;
        let pause = RETRIES
            .get(retry)
            .copied()
            .unwrap_or_else(|| ALONE.0.saturating_mul(2 << search.min(8)).min(ALONE.1));
        pause.mul_f64(rng.random_range(0.5..1.5))
    }

    /// It has a peer.
    pub fn found(&mut self) {
        self.failures = 0;
    }
}
