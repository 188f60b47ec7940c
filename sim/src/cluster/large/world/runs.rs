//! Nodes that start and end, and connections that do.

use super::{BUDGET, Event, SECOND, TTL, World};
use crate::cluster::large::spread::way;
use casm::cluster::{Noticed, Stretch, Suspicion};
use rand::RngExt;
use std::time::Duration;

impl World<'_> {
    /// A node starts, and knows of nobody.
    pub(super) fn start(&mut self, node: usize) {
        self.up[node] = true;
        self.views.start(node);
        let (id, now) = (self.views.id(node), self.now);
        let state = &mut self.nodes[node];
        state.run += 1;
        state.suspicion = Suspicion::new(id, false, now);
        state.relied = Default::default();
        state.stretch = Stretch::new(TTL, BUDGET);
        state.wakes = None;
        self.beat(node);
        for nth in 0..self.links[node].len() {
            let peer = self.links[node][nth];
            if self.reaches(node, peer) {
                self.connect(node, peer);
            }
        }
        self.mesh.maintain(node, now, &mut self.rng);
        self.exchange_later(node);
    }

    /// A node that stops and starts, by turns.
    pub fn stop_at(&mut self, node: usize, stop: Duration, start: Duration) {
        self.push(stop, Event::Stop(node));
        self.push(start, Event::Start(node));
    }

    /// Its process ends, or its host.
    pub fn crash(&mut self, node: usize, host: bool) {
        self.up[node] = false;
        let last = self.views.last(node);
        let state = &mut self.nodes[node];
        (state.crashed, state.host_down) = (Some((self.now, last)), host);
        state.run += 1;
        self.tally.crashes += 1;
        self.mesh.forget(node);
        self.tally.counts(&mut self.nodes[node].suspicion);
        for nth in 0..self.links[node].len() {
            let peer = self.links[node][nth];
            if host {
                self.lose(peer, node);
            } else {
                let at = self.now + way(node, peer, &mut self.rng);
                self.push(at, Event::Broken(peer, node));
            }
        }
    }

    /// The nodes are in two parts that don't reach each other; or in one again.
    pub fn part(&mut self, part: impl Fn(usize) -> u8) {
        self.parted = self.now;
        let before = self.part.clone();
        self.part = (0..self.args.nodes).map(part).collect();
        for node in 0..self.args.nodes {
            for nth in 0..self.links[node].len() {
                let peer = self.links[node][nth];
                let (was, is) = (before[node] == before[peer], self.part[node] == self.part[peer]);
                if was && !is {
                    self.lose(node, peer);
                } else if !was && is && node < peer {
                    let at = self.now + 10 * SECOND.mul_f64(self.rng.random());
                    self.push(at, Event::Connect(node, peer));
                }
            }
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        for (node, peer) in [(a, b), (b, a)] {
            self.mesh.disconnect(node, peer);
            self.note(node, peer, Noticed::Here);
        }
        self.mesh.connect(a, b);
        self.exchange(a, b);
    }
}
