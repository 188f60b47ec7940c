//! What a set of rules must say to be simulated.

use rand::Rng;

/// The rules that nodes follow. Nodes are numbered from 0.
pub trait Policy: Sync {
    /// What a node remembers.
    type Node: Send;

    /// A node that knows these peers.
    fn node(&self, id: u32, seed: u64, known: &[u32], rng: &mut impl Rng) -> Self::Node;

    /// A cycle begins for a node: whom does it contact?
    fn tick(&self, node: &mut Self::Node, out: &mut Contacts, rng: &mut impl Rng);

    /// A node exchanges records with another that it has reached; `boot` if
    /// discovery named it.
    fn exchange(
        &self,
        caller: (u32, &mut Self::Node),
        callee: (u32, &mut Self::Node),
        boot: bool,
        rng: &mut impl Rng,
    );

    /// A node could not reach another.
    fn failed(&self, node: &mut Self::Node, peer: u32, rng: &mut impl Rng);

    /// A node has reached another.
    fn alive(&self, node: &mut Self::Node, peer: u32, rng: &mut impl Rng);

    /// What a hostile node tells: as many of its like as may be told.
    fn told(&self) -> usize;

    /// A node is told, by a hostile one, only of hostile ones. `asked` if it
    /// asked.
    fn deceive(
        &self,
        node: &mut Self::Node,
        liar: u32,
        told: &[u32],
        asked: bool,
        rng: &mut impl Rng,
    );

    /// The peers in a node's view.
    fn view(&self, node: &Self::Node, out: &mut Vec<u32>);
}

/// Whom a node contacts in a cycle.
#[derive(Debug, Default)]
pub struct Contacts {
    /// To exchange records.
    pub rounds: Vec<u32>,
    /// To see whether they live.
    pub probes: Vec<u32>,
    /// It knows nobody to ask.
    pub lonely: bool,
}

impl Contacts {
    pub fn clear(&mut self) {
        self.rounds.clear();
        self.probes.clear();
        self.lonely = false;
    }
}
