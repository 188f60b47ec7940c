//! CASM's own rules: the production view, with a few bytes for a record.

use super::policy::{Contacts, Policy};
use crate::rng::mix;
use casm::pex::view::{Gossip, Origin, Params, Record, View};
use rand::Rng;
use std::hash::{BuildHasher, Hasher};

/// A node's number is all there is to know of it.
#[derive(Clone, Copy, Debug)]
pub struct Number(u32);

impl Record for Number {
    type Id = u32;

    fn id(&self) -> u32 {
        self.0
    }

    fn seq(&self) -> u64 {
        0
    }
}

/// The node's secret: a stand-in for the keyed hash of the real node.
#[derive(Clone, Copy, Debug)]
pub struct Secret(u64);

impl BuildHasher for Secret {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer(self.0)
    }
}

/// Hashes numbers only.
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = mix(self.0 ^ u64::from(number));
    }
}

/// CASM's rules.
pub struct Casm(Params);

impl Casm {
    pub fn new(args: &super::Args) -> Self {
        Self(Params {
            max_view: args.view,
            rounds: args.rounds,
            probes: args.probes,
            ..Params::default()
        })
    }
}

impl Policy for Casm {
    type Node = View<Number, Secret>;

    fn node(&self, id: u32, seed: u64, known: &[u32], rng: &mut impl Rng) -> Self::Node {
        let mut view = View::new(id, self.0, Secret(mix(seed ^ mix(id.into()))));
        view.restore(known.iter().map(|&n| Number(n)), [], rng);
        view
    }

    fn tick(&self, node: &mut Self::Node, out: &mut Contacts, rng: &mut impl Rng) {
        let plan = node.tick(rng);
        out.lonely = plan.is_empty();
        out.rounds.extend(plan.rounds.iter().chain(&plan.retries).map(|n| n.0));
        out.probes.extend(plan.probes.iter().map(|n| n.0));
    }

    fn exchange(
        &self,
        (caller, a): (u32, &mut Self::Node),
        (callee, b): (u32, &mut Self::Node),
        boot: bool,
        rng: &mut impl Rng,
    ) {
        let (pushed, pulled) = (a.tell(rng), b.tell(rng));
        let origin = if boot { Origin::Boot } else { Origin::Pulled };
        a.merge(origin, Number(callee), pulled, rng);
        b.merge(Origin::Pushed, Number(caller), pushed, rng);
    }

    fn failed(&self, node: &mut Self::Node, peer: u32, rng: &mut impl Rng) {
        node.failed(peer, rng);
    }

    fn alive(&self, node: &mut Self::Node, peer: u32, rng: &mut impl Rng) {
        node.alive(peer, rng);
    }

    fn told(&self) -> usize {
        self.0.told()
    }

    fn deceive(
        &self,
        node: &mut Self::Node,
        liar: u32,
        told: &[u32],
        asked: bool,
        rng: &mut impl Rng,
    ) {
        let told = told.iter().map(|&n| Gossip { record: Number(n), hop: 1 }).collect();
        let origin = if asked { Origin::Pulled } else { Origin::Pushed };
        node.merge(origin, Number(liar), told, rng);
    }

    fn view(&self, node: &Self::Node, out: &mut Vec<u32>) {
        out.extend(node.iter().map(|g| g.record.0));
    }
}
