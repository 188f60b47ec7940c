//! One node.

use super::message::id;
use casm::{
    PeerId,
    gossip::engine::Engine,
    pex::{self, keeper::Keeper},
};
use rand::{Rng, RngExt, seq::index};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Peers that a node knows of, as many as in a view of peer exchange.
const VIEW: usize = 31;

/// A node, while it is up or not.
pub struct Node {
    pub id: PeerId,
    pub hostile: Option<Hostile>,
    /// Counts its starts: what was meant for an earlier life is too late.
    pub life: u32,
    pub up: Option<Up>,
    /// When it was up so far; the last may go on.
    pub times: Vec<(Duration, Duration)>,
}

/// What a node does that passes nothing on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// It offers what it has, and gives it to nobody.
    Promises,
    /// It doesn't offer it either.
    Silent,
}

/// A node that is up.
pub struct Up {
    pub engine: Engine,
    pub keeper: Keeper,
    /// Members that it knows of: random ones, as peer exchange brings them.
    pub view: Vec<PeerId>,
    /// Its connections, by the place of the peer.
    pub links: BTreeMap<usize, Link>,
    /// Peers that it takes no connection with, and until when.
    pub refused: HashMap<usize, Duration>,
    /// When its engine is to be called.
    pub due: Duration,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub connection: u64,
    /// What a frame takes at least.
    pub delay: Duration,
    /// When the last frame to the peer arrives: none overtakes another.
    pub last: Duration,
}

impl Up {
    /// A node that starts, and is nowhere connected.
    pub fn new(engine: Engine, place: usize, nodes: usize, min: usize, rng: &mut impl Rng) -> Self {
        let mut config = pex::Config::default();
        let spare = config.max_connections - config.min_connections;
        (config.min_connections, config.max_connections) = (min, min + spare);
        let others = index::sample(rng, nodes - 1, VIEW.min(nodes - 1)).into_iter();
        Self {
            engine,
            keeper: Keeper::new(&config),
            view: others.map(|other| id(other + usize::from(other >= place))).collect(),
            links: BTreeMap::new(),
            refused: HashMap::new(),
            due: Duration::MAX,
        }
    }

    /// Whether this is its connection with a peer.
    pub fn has(&self, with: usize, connection: u64) -> bool {
        self.links.get(&with).is_some_and(|link| link.connection == connection)
    }

    /// Whether it takes no connection with a peer.
    pub fn refuses(&self, peer: usize, now: Duration) -> bool {
        self.refused.get(&peer).is_some_and(|until| *until > now)
    }
}

/// From 50 to 150 % of a time.
pub fn jittered(rng: &mut impl Rng, time: Duration) -> Duration {
    time.mul_f64(rng.random_range(0.5..1.5))
}
