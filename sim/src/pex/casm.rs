//! CASM's own rules: the production view, with a few bytes for a record.

use super::policy::{Contacts, Policy};
use crate::rng::mix;
use casm::pex::view::{Gossip, Origin, Params, Record, View};
use rand::Rng;
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hash, Hasher},
    marker::PhantomData,
};

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

/// A record of so few bytes.
pub trait Small: Record<Id = u32> + Send + 'static {
    /// The record of a node.
    fn of(id: u32, networks: &Networks) -> Self;

    /// The same in the hands of who is connected with the node.
    fn met(self) -> Self {
        self
    }
}

impl Small for Number {
    fn of(id: u32, _: &Networks) -> Self {
        Self(id)
    }
}

/// A node's number, the network that it says it is in, and the one that it is in,
/// which shows once it was met.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    id: u32,
    claimed: u32,
    network: u32,
    met: bool,
}

impl Record for Located {
    type Id = u32;

    fn id(&self) -> u32 {
        self.id
    }

    fn seq(&self) -> u64 {
        0
    }

    fn networks(&self) -> impl Iterator<Item = impl Hash> {
        std::iter::once(self.claimed).chain(self.met.then_some(self.network))
    }

    fn learn(&mut self, other: &Self) -> bool {
        let new = other.met && !self.met;
        self.met |= other.met;
        new
    }
}

impl Small for Located {
    fn of(id: u32, networks: &Networks) -> Self {
        let claimed = networks.claimed_by(id);
        Self { id, claimed, network: networks.of(id), met: false }
    }

    fn met(self) -> Self {
        Self { met: true, ..self }
    }
}

/// Which node is in which network.
#[derive(Clone, Copy, Debug)]
pub struct Networks {
    honest: u32,
    hostile: u32,
    /// The hostile nodes.
    from: u32,
    to: u32,
    /// Whether those name networks in which they are not.
    lying: bool,
}

impl Networks {
    fn new(args: &super::Args) -> Self {
        let hostile = super::scenario::hostile_ids(args);
        let (from, to) = (hostile.start as u32, hostile.end as u32);
        let hostile = args.hostile_networks.unwrap_or(to - from).max(1);
        Self {
            honest: args.networks.unwrap_or(u32::MAX).max(1),
            hostile,
            from,
            to,
            lying: args.lying,
        }
    }

    /// Each liar says that it is in another one.
    fn claimed_by(&self, id: u32) -> u32 {
        let lies = self.lying && (self.from..self.to).contains(&id);
        if lies { u32::MAX / 2 - id } else { self.of(id) }
    }

    /// Those of the hostile are the last.
    fn of(&self, id: u32) -> u32 {
        if (self.from..self.to).contains(&id) {
            u32::MAX - id % self.hostile
        } else {
            id % self.honest
        }
    }
}

/// The node's secret: a stand-in for the keyed hash of the real node.
#[derive(Clone, Copy, Debug)]
pub struct Secret(u64);

impl Secret {
    pub fn new(key: u64) -> Self {
        Self(key)
    }
}

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

/// CASM's rules, for records of this kind.
pub struct Casm<R> {
    params: Params,
    networks: Networks,
    records: PhantomData<fn() -> R>,
}

impl<R: Small> Casm<R> {
    pub fn new(args: &super::Args) -> Self {
        let params = Params {
            max_view: args.view,
            rounds: args.rounds,
            probes: args.probes,
            ..Params::default()
        };
        Self { params, networks: Networks::new(args), records: PhantomData }
    }

    fn record(&self, id: u32) -> R {
        R::of(id, &self.networks)
    }
}

/// A node: its view, and whom it has met.
pub struct Node<R: Record> {
    view: View<R, Secret>,
    met: BTreeSet<u32>,
}

impl<R: Small> Node<R> {
    fn merge(&mut self, origin: Origin, sender: R, mut told: Vec<Gossip<R>>, rng: &mut impl Rng) {
        self.met.insert(sender.id());
        for gossip in told.iter_mut().filter(|gossip| self.met.contains(&gossip.record.id())) {
            gossip.record = gossip.record.clone().met();
        }
        self.view.merge(origin, sender.met(), told, rng);
    }
}

impl<R: Small> Policy for Casm<R> {
    type Node = Node<R>;

    fn node(&self, id: u32, seed: u64, known: &[u32], rng: &mut impl Rng) -> Self::Node {
        let mut view = View::new(id, self.params, Secret(mix(seed ^ mix(id.into()))));
        view.restore(known.iter().map(|&n| self.record(n)), [], rng);
        Node { view, met: BTreeSet::new() }
    }

    fn tick(&self, node: &mut Self::Node, out: &mut Contacts, rng: &mut impl Rng) {
        let plan = node.view.tick(rng);
        out.lonely = plan.is_empty();
        out.rounds.extend(plan.rounds.iter().chain(&plan.retries).map(Record::id));
        out.probes.extend(plan.probes.iter().map(Record::id));
    }

    fn exchange(
        &self,
        (caller, a): (u32, &mut Self::Node),
        (callee, b): (u32, &mut Self::Node),
        boot: bool,
        rng: &mut impl Rng,
    ) {
        let (pushed, pulled) = (a.view.tell(rng), b.view.tell(rng));
        let origin = if boot { Origin::Boot } else { Origin::Pulled };
        a.merge(origin, self.record(callee), pulled, rng);
        b.merge(Origin::Pushed, self.record(caller), pushed, rng);
    }

    fn failed(&self, node: &mut Self::Node, peer: u32, rng: &mut impl Rng) {
        node.view.failed(peer, rng);
    }

    fn alive(&self, node: &mut Self::Node, peer: u32, rng: &mut impl Rng) {
        node.met.insert(peer);
        node.view.met(peer, |record| *record = record.clone().met());
        node.view.alive(peer, rng);
    }

    fn told(&self) -> usize {
        self.params.told()
    }

    fn deceive(
        &self,
        node: &mut Self::Node,
        liar: u32,
        told: &[u32],
        asked: bool,
        rng: &mut impl Rng,
    ) {
        let told = told.iter().map(|&n| Gossip { record: self.record(n), hop: 1 }).collect();
        let origin = if asked { Origin::Pulled } else { Origin::Pushed };
        node.merge(origin, self.record(liar), told, rng);
    }

    fn view(&self, node: &Self::Node, out: &mut Vec<u32>) {
        out.extend(node.view.iter().map(|g| g.record.id()));
    }
}
