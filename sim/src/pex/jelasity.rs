//! The rules to compare with: the generic protocol of Jelasity et al. (ACM TOCS
//! 25(3), 2007), push-pull with random partners, and Go's variant of it.

use super::policy::{Contacts, Policy};
use rand::{
    Rng, RngExt,
    seq::{IndexedRandom, SliceRandom},
};

/// A descriptor: a node, and its age.
type Item = (u32, u32);

/// The generic protocol with its parameters H (healer) and S (swapper).
pub struct Generic {
    size: usize,
    healer: usize,
    swapper: usize,
}

impl Generic {
    pub fn healer(size: usize) -> Self {
        Self { size, healer: size / 2, swapper: 0 }
    }

    pub fn swapper(size: usize) -> Self {
        Self { size, healer: 0, swapper: size / 2 }
    }

    pub fn blind(size: usize) -> Self {
        Self { size, healer: 0, swapper: 0 }
    }

    /// Orders the view (shuffled, the H oldest last) and takes what is sent:
    /// the own descriptor, and the first c/2 - 1 of the view.
    fn buffer(&self, own: u32, view: &mut [Item], rng: &mut impl Rng) -> Vec<Item> {
        view.shuffle(rng);
        let mut oldest: Vec<usize> = (0..view.len()).collect();
        oldest.sort_by_key(|&i| std::cmp::Reverse(view[i].1));
        oldest.truncate(self.healer);
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for (i, &item) in view.iter().enumerate() {
            if oldest.contains(&i) { back.push(item) } else { front.push(item) }
        }
        front.extend(back);
        view.copy_from_slice(&front);
        let mut buffer = vec![(own, 0)];
        buffer.extend(view.iter().take(self.size / 2 - 1));
        buffer
    }

    fn select(&self, own: u32, view: &mut Vec<Item>, received: &[Item], rng: &mut impl Rng) {
        for &(peer, age) in received.iter().filter(|(peer, _)| *peer != own) {
            match view.iter_mut().find(|(p, _)| *p == peer) {
                Some(known) => known.1 = known.1.min(age),
                None => view.push((peer, age)),
            }
        }
        for _ in 0..self.healer.min(view.len().saturating_sub(self.size)) {
            let oldest = view.iter().enumerate().max_by_key(|(_, item)| item.1).map(|(i, _)| i);
            view.remove(oldest.expect("more than size entries"));
        }
        view.drain(..self.swapper.min(view.len().saturating_sub(self.size)));
        while view.len() > self.size {
            view.swap_remove(rng.random_range(0..view.len()));
        }
    }
}

impl Policy for Generic {
    type Node = Vec<Item>;

    fn node(&self, _: u32, _: u64, known: &[u32], _: &mut impl Rng) -> Self::Node {
        known.iter().take(self.size).map(|&n| (n, 0)).collect()
    }

    fn tick(&self, node: &mut Self::Node, out: &mut Contacts, rng: &mut impl Rng) {
        node.iter_mut().for_each(|item| item.1 += 1);
        out.rounds.extend(node.choose(rng).map(|item| item.0));
        out.lonely = node.is_empty();
    }

    fn exchange(
        &self,
        (caller, a): (u32, &mut Self::Node),
        (callee, b): (u32, &mut Self::Node),
        _: bool,
        rng: &mut impl Rng,
    ) {
        let pushed = self.buffer(caller, a, rng);
        let pulled = self.buffer(callee, b, rng);
        self.select(callee, b, &pushed, rng);
        self.select(caller, a, &pulled, rng);
    }

    // The published protocol forgets nobody for not answering.
    fn failed(&self, _: &mut Self::Node, _: u32, _: &mut impl Rng) {}

    fn alive(&self, _: &mut Self::Node, _: u32, _: &mut impl Rng) {}

    fn told(&self) -> usize {
        self.size / 2 - 1
    }

    fn deceive(&self, node: &mut Self::Node, liar: u32, told: &[u32], _: bool, rng: &mut impl Rng) {
        let received: Vec<Item> = told.iter().chain([&liar]).map(|&n| (n, 0)).collect();
        // A liar is not a node that it lies to, so no number is the own one.
        self.select(u32::MAX, node, &received, rng);
    }

    fn view(&self, node: &Self::Node, out: &mut Vec<u32>) {
        out.extend(node.iter().map(|item| item.0));
    }
}

/// What Go's CASM does, with its default parameters.
pub struct Go {
    size: usize,
}

impl Go {
    const SWAP: usize = 10;
    const PROTECT: usize = 5;
    const DECAY: f64 = 0.005;

    pub fn new(size: usize) -> Self {
        Self { size }
    }

    /// The youngest shuffled, then the oldest few; the own record beside them.
    fn buffer(&self, own: u32, view: &[Item], rng: &mut impl Rng) -> Vec<Item> {
        let mut sorted = view.to_vec();
        sorted.sort_by_key(|item| item.1);
        let young = sorted.len().saturating_sub(Self::PROTECT);
        sorted[..young].shuffle(rng);
        sorted.truncate(self.size / 2 - 1);
        sorted.push((own, 0));
        sorted
    }

    fn select(&self, own: u32, view: &mut Vec<Item>, received: &[Item], rng: &mut impl Rng) {
        for &(peer, hop) in received.iter().filter(|(peer, _)| *peer != own) {
            match view.iter_mut().find(|(p, _)| *p == peer) {
                Some(known) => known.1 = known.1.min(hop),
                None => view.push((peer, hop)),
            }
        }
        view.drain(..Self::SWAP.min(view.len().saturating_sub(self.size)));
        view.sort_by_key(|item| item.1);
        let mut old = view.split_off(view.len() - Self::PROTECT.min(view.len()));
        for _ in 0..(view.len() + old.len()).saturating_sub(self.size) {
            if rng.random_bool(Self::DECAY) {
                old.pop();
            }
        }
        view.shuffle(rng);
        view.truncate(self.size - old.len());
        view.append(&mut old);
        view.iter_mut().for_each(|item| item.1 += 1);
    }
}

impl Policy for Go {
    type Node = Vec<Item>;

    fn node(&self, _: u32, _: u64, known: &[u32], _: &mut impl Rng) -> Self::Node {
        known.iter().take(self.size).map(|&n| (n, 1)).collect()
    }

    fn tick(&self, node: &mut Self::Node, out: &mut Contacts, rng: &mut impl Rng) {
        out.rounds.extend(node.choose(rng).map(|item| item.0));
        out.lonely = node.is_empty();
    }

    fn exchange(
        &self,
        (caller, a): (u32, &mut Self::Node),
        (callee, b): (u32, &mut Self::Node),
        _: bool,
        rng: &mut impl Rng,
    ) {
        let pushed = self.buffer(caller, a, rng);
        let pulled = self.buffer(callee, b, rng);
        self.select(callee, b, &pushed, rng);
        self.select(caller, a, &pulled, rng);
    }

    fn failed(&self, _: &mut Self::Node, _: u32, _: &mut impl Rng) {}

    fn alive(&self, _: &mut Self::Node, _: u32, _: &mut impl Rng) {}

    fn told(&self) -> usize {
        self.size / 2 - 1
    }

    fn deceive(&self, node: &mut Self::Node, liar: u32, told: &[u32], _: bool, rng: &mut impl Rng) {
        let mut received: Vec<Item> = told.iter().map(|&n| (n, 1)).collect();
        received.push((liar, 0));
        self.select(u32::MAX, node, &received, rng);
    }

    fn view(&self, node: &Self::Node, out: &mut Vec<u32>) {
        out.extend(node.iter().map(|item| item.0));
    }
}
