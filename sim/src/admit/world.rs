//! All nodes, and what happens to them.

use super::{
    Args,
    node::{Asked, Node, key, unix},
};
use crate::{cluster::graph::Graph, rng};
use anyhow::{Context, Result};
use casm::{Keypair, PeerId, admit::Revocation, jobs::News};
use rand::{RngExt, rngs::Xoshiro256PlusPlus, seq::index};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    rc::Rc,
    time::Duration,
};

/// When something is revoked: connections are made, and compared, long before.
pub const REVOKED: Duration = Duration::from_secs(10);
/// After that all nodes restart, one after the other in this time; each is away for
/// the time after it.
const RESTARTS: Duration = Duration::from_secs(30);
const OVER: f64 = 20.0;
const AWAY: Duration = Duration::from_secs(5);
/// When revocations are compared again after that has failed, as in a node.
const AGAIN: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(120);

/// What was counted.
#[derive(Default)]
pub struct Outcome {
    /// From the revocation until a node that was up then has all of it.
    pub reached: Vec<Duration>,
    /// From the start of a node that was away then.
    pub late: Vec<Duration>,
    /// Restarts, and those after which a node lacked what it knew.
    pub restarts: u64,
    pub forgot: u64,
    /// Connections that were refused since one end was revoked.
    pub shut_out: u64,
    pub questions: u64,
    pub bytes: u64,
}

/// What happens to a node.
#[derive(Clone)]
enum Event {
    Start,
    Stop,
    Revoke,
    /// A question comes.
    Ask {
        from: usize,
        run: u32,
        asked: Rc<Asked>,
        frame: Rc<Vec<u8>>,
    },
    /// An answer, or none, to a question of this run.
    Answer {
        from: usize,
        run: u32,
        asked: Rc<Asked>,
        frame: Option<Rc<Vec<u8>>>,
    },
    /// It compares again.
    Again {
        with: usize,
        run: u32,
    },
}

/// In the order of their times, and then of their numbers.
struct Due(Duration, u64, usize, Event);

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

pub struct World {
    ca: Keypair,
    graph: Graph,
    /// The last one is revoked.
    nodes: Vec<Node>,
    places: HashMap<PeerId, usize>,
    revocations: Vec<Revocation>,
    /// When each node came to have all of them.
    knows: Vec<Option<Duration>>,
    /// Since when each node is up.
    since: Vec<Duration>,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    rng: Xoshiro256PlusPlus,
    outcome: Outcome,
}

impl World {
    /// # Errors
    /// If a key cannot sign.
    pub fn new(args: &Args) -> Result<Self> {
        let mut rng = rng::stream(args.seed, 0, 0);
        let ca = key(&mut rng);
        let namespace = "orchard".parse()?;
        let count = args.nodes + 1;
        let graph = Graph::new(count, args.degree, &mut rng);
        let nodes = (0..count)
            .map(|_| Node::new(&ca, &namespace, &mut rng))
            .collect::<casm::Result<Vec<_>>>()?;
        let places = nodes.iter().enumerate().map(|(nth, node)| (node.id, nth)).collect();
        let revoked = nodes[args.nodes].id;
        let others = (1..args.revocations).map(|_| key(&mut rng).public().to_peer_id());
        let peers: Vec<PeerId> = std::iter::once(revoked).chain(others).collect();
        let revocations = peers
            .into_iter()
            .map(|peer| Revocation::sign(&ca, peer, unix(REVOKED)))
            .collect::<casm::Result<Vec<_>>>()?;
        let mut world = Self {
            ca,
            graph,
            nodes,
            places,
            revocations,
            knows: vec![None; count],
            since: vec![Duration::ZERO; count],
            queue: BinaryHeap::new(),
            serial: 0,
            rng,
            outcome: Outcome::default(),
        };
        world.plan(args);
        Ok(world)
    }

    /// Some are away when something is revoked, and come while it spreads or after; one
    /// of the others is where that is done. Later all restart.
    fn plan(&mut self, args: &Args) {
        let away = (args.away * args.nodes as f64) as usize;
        let away = index::sample(&mut self.rng, args.nodes, away).into_vec();
        for node in 0..=args.nodes {
            let range = if away.contains(&node) { 10.0..15.0 } else { 0.0..1.0 };
            let at = Duration::from_secs_f64(self.rng.random_range(range));
            self.push(at, node, Event::Start);
        }
        let here: Vec<usize> = (0..args.nodes).filter(|node| !away.contains(node)).collect();
        let at = here[self.rng.random_range(0..here.len())];
        self.push(REVOKED, at, Event::Revoke);
        for node in 0..args.nodes {
            let later = Duration::from_secs_f64(self.rng.random_range(0.0..OVER));
            self.push(RESTARTS + later, node, Event::Stop);
            self.push(RESTARTS + later + AWAY, node, Event::Start);
        }
    }

    /// Lets all of it happen.
    ///
    /// # Errors
    /// If a node says what another one does not accept.
    pub fn run(mut self) -> Result<Outcome> {
        while let Some(Reverse(Due(now, _, node, event))) = self.queue.pop() {
            if now > END {
                break;
            }
            self.on(now, node, event).with_context(|| format!("node {node} at {now:?}"))?;
        }
        Ok(self.outcome)
    }

    fn on(&mut self, now: Duration, node: usize, event: Event) -> Result<()> {
        match event {
            Event::Start => self.start(now, node)?,
            Event::Stop => {
                for peer in self.nodes[node].peers.clone() {
                    self.part(node, peer);
                }
                self.nodes[node].stop();
            }
            Event::Revoke => {
                let news = self.nodes[node].revoke(now, &self.revocations)?;
                self.news(now, node, &news);
            }
            Event::Ask { from, run, asked, frame } => {
                let up = self.nodes[node].peers.contains(&from);
                let answer = if up { Some(self.answer(now, node, from, &frame)?) } else { None };
                let at = now + self.graph.delay(node, from, &mut self.rng);
                self.push(at, from, Event::Answer { from: node, run, asked, frame: answer });
            }
            Event::Answer { from, run, asked, frame } if run == self.nodes[node].run => {
                let peer = self.nodes[from].id;
                let connected = self.nodes[node].peers.contains(&from);
                match frame {
                    Some(frame) => {
                        let news = self.nodes[node].heard(now, peer, &asked, &frame)?;
                        self.news(now, node, &news);
                    }
                    None if asked.compares && connected => {
                        self.push(now + AGAIN, node, Event::Again { with: from, run });
                    }
                    None => {}
                }
                self.nodes[node].done(&peer);
                self.ask(now, node);
            }
            Event::Again { with, run } if run == self.nodes[node].run => {
                if self.nodes[node].peers.contains(&with) {
                    let peer = self.nodes[with].id;
                    self.nodes[node].compare(peer);
                    self.ask(now, node);
                }
            }
            // Of an earlier run.
            Event::Answer { .. } | Event::Again { .. } => {}
        }
        Ok(())
    }

    fn start(&mut self, now: Duration, node: usize) -> Result<()> {
        self.nodes[node].start(now)?;
        self.since[node] = now;
        if now > RESTARTS {
            self.outcome.restarts += 1;
            // Before it is connected with anybody.
            let forgot = self.knows[node].is_some() && !self.has_all(node);
            self.outcome.forgot += u64::from(forgot);
        }
        for link in self.graph.links(node).to_vec() {
            if self.nodes[link.to].up {
                self.meet(now, node, link.to);
            }
        }
        Ok(())
    }

    /// Two nodes connect, if each is a member to the other.
    fn meet(&mut self, now: Duration, one: usize, other: usize) {
        let [a, b] = self.nodes.get_disjoint_mut([one, other]).expect("two nodes");
        if a.meets(now, b).is_err() || b.meets(now, a).is_err() {
            self.outcome.shut_out += 1;
            return;
        }
        a.connected(other, b.id);
        b.connected(one, a.id);
        self.ask(now, one);
        self.ask(now, other);
    }

    fn part(&mut self, one: usize, other: usize) {
        let ids = [self.nodes[one].id, self.nodes[other].id];
        self.nodes[one].disconnected(other, &ids[1]);
        self.nodes[other].disconnected(one, &ids[0]);
    }

    fn answer(
        &mut self,
        now: Duration,
        node: usize,
        from: usize,
        frame: &[u8],
    ) -> Result<Rc<Vec<u8>>> {
        let peer = self.nodes[from].id;
        let (answer, news) = self.nodes[node].answer(now, peer, frame)?;
        self.news(now, node, &news);
        self.outcome.bytes += answer.len() as u64;
        Ok(Rc::new(answer))
    }

    /// What is new is passed on, and who is revoked is put out.
    fn news(&mut self, now: Duration, node: usize, news: &News) {
        if news.is_empty() {
            return;
        }
        let ids: Vec<PeerId> =
            self.nodes[node].peers.iter().map(|peer| self.nodes[*peer].id).collect();
        self.nodes[node].pass_on(news, &ids);
        for revoked in &news.revoked {
            let place = self.places.get(&revoked.peer()).copied();
            if let Some(place) = place.filter(|place| self.nodes[node].peers.contains(place)) {
                self.part(node, place);
            }
        }
        if self.knows[node].is_none() && self.has_all(node) {
            self.knows[node] = Some(now);
            let last = self.nodes.len() - 1;
            match self.since[node] {
                _ if node == last => {}
                since if since > REVOKED => self.outcome.late.push(now - since),
                _ => self.outcome.reached.push(now - REVOKED),
            }
        }
        self.ask(now, node);
    }

    fn has_all(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.members.revoked().len() == self.revocations.len()
            && self.revocations.iter().all(|revoked| node.has(&self.ca, &revoked.peer()))
    }

    /// Has a node ask what it can. A stream is opened in one round trip.
    fn ask(&mut self, now: Duration, node: usize) {
        for (peer, asked) in self.nodes[node].questions() {
            let to = self.places[&peer];
            let frame = Rc::new(asked.ask.frame());
            self.outcome.questions += 1;
            self.outcome.bytes += frame.len() as u64;
            let way = |world: &mut Self, from, to| world.graph.delay(from, to, &mut world.rng);
            let at = now + way(self, node, to) + way(self, to, node) + way(self, node, to);
            let (run, asked) = (self.nodes[node].run, Rc::new(asked));
            self.push(at, to, Event::Ask { from: node, run, asked, frame });
        }
    }

    fn push(&mut self, at: Duration, node: usize, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse(Due(at, self.serial, node, event)));
    }
}
