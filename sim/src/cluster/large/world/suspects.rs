//! What nodes notice of their neighbours, and what they say and do about it.

use super::{CLOSES, DIAL, Event, PING, SECOND, World};
use crate::cluster::large::{
    spread::{delay, way},
    views::place,
    world::What,
};
use casm::cluster::{Action, Noticed, Suspect, Suspects, Via};
use rand::{
    RngExt,
    seq::{IndexedRandom, index},
};
use std::time::Duration;

impl World<'_> {
    /// Whether a peer answers pings and takes connections.
    pub(super) fn answers(&self, node: usize, peer: usize) -> bool {
        self.reaches(node, peer) && !self.nodes[peer].mute
    }

    pub(super) fn note(&mut self, node: usize, peer: usize, sign: Noticed) {
        if self.up[node] {
            let id = self.views.id(peer);
            self.nodes[node].suspicion.note(self.now, id, sign, &self.views.of(node));
            self.act(node);
        }
    }

    /// Does what its suspicions make necessary.
    pub(super) fn act(&mut self, node: usize) {
        if !self.up[node] {
            return;
        }
        let now = self.now;
        for action in self.nodes[node].suspicion.act(now, &self.views.of(node)) {
            match action {
                Action::Dial(peer) => {
                    let peer = place(&peer);
                    let is_refused = !self.up[peer] && !self.nodes[peer].host_down;
                    let answers = self.answers(node, peer) || is_refused;
                    let takes = if answers { way(node, peer, &mut self.rng) * 4 } else { DIAL };
                    self.push(now + takes, Event::Dialled(node, peer));
                }
                Action::Ask(_) => {
                    let asked = self.links[node].iter().filter(|peer| self.reaches(node, **peer));
                    if let Some(takes) = asked.map(|peer| delay(node, *peer)).min() {
                        let takes = Duration::from_millis(3 * u64::from(takes));
                        self.push(now + takes, Event::Answered(node, now));
                    } else {
                        // Nobody is there: looked again as long as that is so.
                        self.push(now + PING, Event::Answered(node, Duration::ZERO));
                    }
                }
                Action::Say(suspects) => self.accuse(node, &suspects),
                Action::Remove(peer, seq) => {
                    let source = place(&peer);
                    if !self.asks(node, source) && self.views.fail(node, &peer, seq) {
                        self.removed(node, source, true);
                    }
                }
            }
        }
        let next = self.nodes[node].suspicion.next();
        let next = next.map(|next| next.max(now + Duration::from_millis(1)));
        if let Some(next) = next.filter(|next| self.nodes[node].wakes.is_none_or(|at| *next < at)) {
            self.nodes[node].wakes = Some(next);
            self.push(next, Event::Wake(node));
        }
    }

    /// Whether one of those whom a node asks before it removes a peer has a later heartbeat
    /// of that, which it takes.
    pub(super) fn asks(&mut self, node: usize, source: usize) -> bool {
        for _ in 0..self.args.options.asks {
            let Some(peer) = self.mesh.connected(node).choose(&mut self.rng).copied() else {
                return false;
            };
            let lost = self.args.receive_loss;
            let lost = lost > 0.0 && self.rng.random_bool(lost);
            let theirs = self.views.in_view(peer, source).unwrap_or(0);
            let ours = self.views.in_view(node, source).unwrap_or(u16::MAX);
            if !lost && self.answers(node, peer) && theirs > ours {
                let age = self.now.saturating_sub(self.views.beat(source, theirs).sent);
                self.take(node, source, theirs, Via::Exchange(age));
                return true;
            }
        }
        false
    }

    pub(super) fn accuse(&mut self, node: usize, suspects: &Suspects) {
        self.nodes[node].said += 1;
        self.tally.accusations += 1;
        let seq = self.nodes[node].said;
        let accused: Vec<_> = suspects.0.iter().map(|suspect| place(&suspect.peer)).collect();
        let data = suspects.encode();
        let len = data.len();
        let what = What::Suspects { seq, data: data.into(), accused: accused.into() };
        self.publish(node, what, len);
    }

    /// Somebody removed a source, on suspicion or since its time was over.
    pub(super) fn removed(&mut self, node: usize, source: usize, suspected: bool) {
        if !self.nodes[node].observes {
            return;
        }
        let reaches = self.reaches(node, source);
        let started = self.views.started(source);
        // Who has not heard of it since then drops what it said before it was down, which
        // counts as news of that for a while.
        let is_news = |crashed: Duration, last: u16| {
            started > crashed
                && self.now.saturating_sub(started) < 10 * SECOND
                && self.views.had(node, source) <= last
        };
        match self.nodes[source].crashed {
            Some((at, last)) if !self.up[source] || is_news(at, last) => {
                self.tally.detected(self.now - at, suspected);
            }
            _ if reaches => self.tally.false_drops += 1,
            _ => self.tally.parted.push(self.now.saturating_sub(self.parted)),
        }
    }

    /// A liar accuses as many as it may.
    pub(super) fn lie(&mut self, node: usize) {
        let n = self.args.nodes;
        let whom = index::sample(&mut self.rng, n, Suspects::MAX.min(n - 1));
        let suspects = whom.into_iter().filter(|peer| *peer != node).filter_map(|peer| {
            let k = self.views.in_view(node, peer)?;
            Some(Suspect { peer: self.views.id(peer), seq: self.views.beat(peer, k).seq() })
        });
        let suspects = Suspects(suspects.collect());
        self.accuse(node, &suspects);
        self.push(self.now + SECOND, Event::Lie(node));
    }

    pub fn lies(&mut self, node: usize) {
        let at = self.now + SECOND.mul_f64(self.rng.random());
        self.push(at, Event::Lie(node));
    }

    /// For a while a node answers no pings and takes no connections, but is heard.
    pub fn mute(&mut self, node: usize) {
        self.nodes[node].mute = true;
        for nth in 0..self.links[node].len() {
            let peer = self.links[node][nth];
            let mut pinged = self.now + PING.mul_f64(self.rng.random());
            while pinged + PING < self.now + CLOSES {
                self.push(pinged + PING / 2, Event::Late(peer, node));
                self.push(pinged + PING, Event::Silent(peer, node));
                pinged += 2 * PING;
            }
        }
    }

    /// A neighbour answers no more.
    pub(super) fn lose(&mut self, node: usize, peer: usize) {
        let pinged = self.now + PING.mul_f64(self.rng.random());
        self.push(pinged + PING / 2, Event::Late(node, peer));
        self.push(pinged + PING, Event::Silent(node, peer));
        self.push(pinged + CLOSES, Event::Close(node, peer));
    }

    /// The chance of a dial to fail: it has no time for a second packet.
    pub(super) fn dial_lost(&self) -> f64 {
        1.0 - (1.0 - self.args.loss).powi(2)
    }

    /// When, in the whole cluster, the next ping counts as not answered: it, or its answer,
    /// was lost three times, since TCP sends it again after 0.3, 0.9 and 2.1 s.
    pub(super) fn lost_after(&mut self) -> Duration {
        let connections = self.links.iter().map(Vec::len).sum::<usize>() as f64 / 2.0;
        let rate = connections / PING.as_secs_f64() * self.dial_lost().powi(3);
        if rate == 0.0 {
            return Duration::from_secs(1 << 30);
        }
        let uniform: f64 = self.rng.random_range(f64::EPSILON..1.0);
        Duration::from_secs_f64(-uniform.ln() / rate)
    }

    pub(super) fn lose_ping(&mut self) {
        let node = self.rng.random_range(0..self.args.nodes);
        let chosen = self.links[node].choose(&mut self.rng).copied();
        if let Some(peer) = chosen.filter(|peer| self.reaches(node, *peer)) {
            self.tally.pings_lost += 1;
            self.note(node, peer, Noticed::Late);
            self.note(node, peer, Noticed::Silent);
            self.push(self.now + PING, Event::Answers(node, peer));
        }
        let pause = self.lost_after();
        self.push(self.now + pause, Event::Lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::large::{BEGIN, checked, tally::Tally, tests::args};

    #[test]
    fn a_peer_that_is_back_is_dropped_falsely_by_who_has_heard_of_it_since() {
        let (args, time) = checked(&args("--nodes 40 --scenario steady --tables 0")).unwrap();
        let mut world = World::new(&args, BEGIN + time);
        world.crash(0, false);
        world.set_time(world.now + SECOND);
        world.start(0);
        world.beat(0);
        let (last, heard, not) = (world.views.last(0), 1, 2);
        world.take(heard, 0, last, Via::Gossip);
        assert_eq!(world.views.had(heard, 0), last);
        assert!(world.views.had(not, 0) < last);
        for (node, counted) in [(not, (1, 0)), (heard, (1, 1))] {
            let k = world.views.in_view(node, 0).unwrap();
            let (id, seq) = (world.views.id(0), world.views.beat(0, k).seq());
            assert!(world.views.fail(node, &id, seq));
            world.removed(node, 0, true);
            let Tally { detections, false_drops, .. } = &world.tally;
            assert_eq!((detections.len(), *false_drops), counted, "node {node}");
        }
    }
}
