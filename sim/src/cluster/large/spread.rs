//! How a message gets from node to node: the links of the mesh, and what offers bring
//! to who missed it there.

use super::super::mesh::Mesh;
use crate::rng::mix;
use casm::mesh::LAZY;
use rand::{RngExt, rngs::Xoshiro256PlusPlus};
use std::time::Duration;

/// The longest way that is looked at, in milliseconds; what takes longer is left to the
/// exchanges.
const LONGEST: usize = 8192;
/// What a node takes to verify a message before it passes it on.
const VERIFY: u32 = 1;
/// Which offers are made of a message: at the ticks between these ages of it.
const OFFERED: std::ops::Range<u32> = 100..3300;
const TICK: u32 = 1000;

/// What a packet takes at least between two nodes, in milliseconds: 1 to 50.
pub fn delay(a: usize, b: usize) -> u32 {
    let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
    1 + (mix(pair) % 50) as u32
}

/// A packet's way, this time.
pub fn way(a: usize, b: usize, rng: &mut Xoshiro256PlusPlus) -> Duration {
    Duration::from_millis(u64::from(delay(a, b))).mul_f64(rng.random_range(1.0..1.5))
}

/// Who can hear whom, and what gets lost on the way.
pub struct Net<'a> {
    pub mesh: &'a Mesh,
    pub up: &'a [bool],
    pub part: &'a [u8],
    /// The chance of a copy on a link, of an offer, a request and an answer to be lost.
    pub loss: f64,
    /// The chance of a message to be lost at a receiver, whatever its copies.
    pub receive_loss: f64,
}

/// Copies that were sent, and that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    pub sent: u64,
    pub came: u64,
}

/// Spreads messages, one after the other.
pub struct Spread {
    steps: Vec<Vec<(u32, u32)>>,
    /// In which message a node got a copy last, and when.
    seen: Vec<(u32, u32)>,
    nth: u32,
}

impl Spread {
    pub fn new(nodes: usize) -> Self {
        Self { steps: vec![Vec::new(); LONGEST], seen: vec![(0, 0); nodes], nth: 0 }
    }

    /// Who gets a message of this source, and after how many milliseconds, in the order
    /// of that. The source isn't among them.
    pub fn of(
        &mut self,
        source: usize,
        net: &Net<'_>,
        copies: &mut Copies,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<(u32, u32)> {
        self.nth += 1;
        let mut got = Vec::with_capacity(net.up.len());
        self.steps[0].push((source as u32, source as u32));
        self.flood(0, net, copies, &mut got, rng);
        // Whoever an offer reaches passes the message on, and offers it itself.
        for _ in 0..4 {
            let first = self.offer(source, net, copies, rng);
            let Some(first) = first else { break };
            self.flood(first, net, copies, &mut got, rng);
        }
        got.sort_unstable();
        got.retain(|(_, node)| *node as usize != source);
        got
    }

    fn flood(
        &mut self,
        first: usize,
        net: &Net<'_>,
        copies: &mut Copies,
        got: &mut Vec<(u32, u32)>,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        let mut idle = 0;
        for at in first..LONGEST {
            // No way over one link is longer.
            idle += 1;
            if idle > 100 && first == 0 {
                break;
            }
            let mut step = std::mem::take(&mut self.steps[at]);
            for (node, from) in step.drain(..) {
                idle = 0;
                copies.came += u64::from(node != from);
                let (node, from) = (node as usize, from as usize);
                if self.seen[node].0 == self.nth {
                    continue;
                }
                self.seen[node] = (self.nth, at as u32);
                if node != from && net.receive_loss > 0.0 && rng.random_bool(net.receive_loss) {
                    // It has it by no other way either.
                    self.seen[node].1 = u32::MAX;
                    continue;
                }
                got.push((at as u32, node as u32));
                for peer in net.mesh.of(node).iter().copied().filter(|peer| *peer != from) {
                    copies.sent += 1;
                    let lost = net.loss > 0.0 && rng.random_bool(net.loss);
                    if lost || !net.up[peer] || net.part[peer] != net.part[node] {
                        continue;
                    }
                    if self.seen[peer].0 == self.nth {
                        copies.came += 1;
                        continue;
                    }
                    let delay = delay(node, peer);
                    let there = at as u32 + VERIFY + delay + rng.random_range(0..=delay / 2);
                    if let Some(step) = self.steps.get_mut(there as usize) {
                        step.push((peer as u32, node as u32));
                    }
                }
            }
            self.steps[at] = step;
        }
    }

    /// Those whom the mesh left out ask for it when it is offered to them. The first time
    /// at which one gets it.
    fn offer(
        &mut self,
        source: usize,
        net: &Net<'_>,
        copies: &mut Copies,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Option<usize> {
        let mut first = None;
        for node in 0..net.up.len() {
            let lacks = self.seen[node].0 != self.nth && net.up[node];
            if !lacks || net.part[node] != net.part[source] {
                continue;
            }
            let offers = net.mesh.connected(node).iter().filter_map(|peer| {
                let (nth, at) = self.seen[*peer];
                if nth != self.nth || at == u32::MAX || !net.up[*peer] {
                    return None;
                }
                let outside = net.mesh.connected(*peer).len() - net.mesh.of(*peer).len();
                if net.mesh.of(*peer).contains(&node) {
                    return None;
                }
                let chance = (LAZY as f64 / outside.max(LAZY) as f64) * (1.0 - net.loss).powi(3);
                let phase = (mix(*peer as u64) % u64::from(TICK)) as u32;
                let earliest = at + OFFERED.start;
                let tick = earliest + (phase + TICK - earliest % TICK) % TICK;
                let mut ticks = (tick..at + OFFERED.end).step_by(TICK as usize);
                let tick = ticks.find(|_| rng.random_bool(chance))?;
                Some((tick + 3 * delay(node, *peer), *peer))
            });
            let Some((at, peer)) = offers.min() else { continue };
            copies.sent += 1;
            if let Some(step) = self.steps.get_mut(at as usize) {
                step.push((node as u32, peer as u32));
                first = Some(first.unwrap_or(usize::MAX).min(at as usize));
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(nodes: usize) -> (Mesh, Xoshiro256PlusPlus) {
        let mut rng = crate::rng::stream(1, 0, 0);
        let mut mesh = Mesh::new(nodes);
        for (a, peers) in super::super::links::links(nodes, 8, &mut rng).iter().enumerate() {
            peers.iter().filter(|b| **b > a).for_each(|b| mesh.connect(a, *b));
        }
        for second in 0..10 {
            (0..nodes).for_each(|n| mesh.maintain(n, Duration::from_secs(second), &mut rng));
        }
        (mesh, rng)
    }

    #[test]
    fn all_get_what_is_sent_within_a_second_and_with_losses_within_a_few() {
        let (mesh, mut rng) = mesh(300);
        for (loss, longest) in [(0.0, 1000), (0.1, 8000)] {
            let (up, part) = (vec![true; 300], vec![0; 300]);
            let net = Net { mesh: &mesh, up: &up, part: &part, loss, receive_loss: 0.0 };
            let (mut spread, mut copies) = (Spread::new(300), Copies::default());
            let mut missed = 0;
            for source in 0..100 {
                let got = spread.of(source, &net, &mut copies, &mut rng);
                assert!(got.is_sorted() && got.iter().all(|(_, node)| *node as usize != source));
                assert!(got.last().unwrap().0 < longest, "{:?}", got.last());
                missed += 299 - got.len();
            }
            assert!(missed as f64 <= 100.0 * 299.0 * loss / 1000.0, "{missed}");
            assert!(copies.came <= copies.sent && copies.came >= 299 * 100 - missed as u64);
        }
    }

    #[test]
    fn nothing_gets_to_who_is_down_or_in_another_part() {
        let (mesh, mut rng) = mesh(100);
        let up: Vec<_> = (0..100).map(|node| node % 10 != 0).collect();
        let part: Vec<_> = (0..100).map(|node| u8::from(node >= 50)).collect();
        let net = Net { mesh: &mesh, up: &up, part: &part, loss: 0.2, receive_loss: 0.0 };
        let (mut spread, mut copies) = (Spread::new(100), Copies::default());
        for source in (1..50).filter(|node| node % 10 != 0) {
            for (_, node) in spread.of(source, &net, &mut copies, &mut rng) {
                assert!(up[node as usize] && part[node as usize] == 0);
            }
        }
    }
}
