//! All nodes, and what happens to them.

use super::{
    Args,
    node::{Known, Node},
};
use crate::rng;
use casm::{
    PeerId,
    pex::view::{Gossip, Origin},
    slots::Prefix,
};
use rand::{Rng, RngExt, rngs::Xoshiro256PlusPlus};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    net::Ipv4Addr,
    time::Duration,
};

/// When honest nodes begin to come.
const PREPARED: Duration = Duration::from_secs(10);
/// How often the keeper looks.
const CARE: Duration = Duration::from_secs(1);
/// Connections with honest nodes that a node is to have, if there are so many.
const WANTED: usize = 8;

/// What became of it.
pub struct Outcome {
    pub met: Vec<Duration>,
    pub connected: Vec<Duration>,
    pub components: usize,
    pub seed: AtSeed,
    pub dials_without_room: u64,
}

/// What the seed has, and has done.
#[derive(Default)]
pub struct AtSeed {
    pub honest: usize,
    pub hostile: usize,
    pub outbound: usize,
    pub replaced: u64,
    pub guests: u64,
    pub honest_refused: u64,
    pub hostile_refused: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A node starts.
    Start(usize),
    /// A node, or a hostile identity, looks for one to connect to.
    Search(usize, usize),
    /// The first packet of a connection arrives.
    Arrive(u64),
    /// A handshake is over.
    Established(u64),
    /// A connection is closed, at both ends.
    Closed(u64),
    /// A node, the first, has exchanged peers with the second.
    Exchanged(usize, usize),
    /// Guests may have to go.
    Due(usize),
    Tick(usize),
    Care(usize),
}

/// Why somebody dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Search,
    Keeper,
    Round,
}

struct Connection {
    from: usize,
    to: usize,
    why: Why,
    established: bool,
    /// Whether both ends count it.
    counted: bool,
}

pub struct World<'a> {
    args: &'a Args,
    rng: Xoshiro256PlusPlus,
    now: Duration,
    /// The seed first.
    nodes: Vec<Node>,
    places: HashMap<PeerId, usize>,
    hostile: Vec<PeerId>,
    connections: HashMap<u64, Connection>,
    last: u64,
    queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    events: u64,
    seed: AtSeed,
    dials_without_room: u64,
}

impl<'a> World<'a> {
    pub fn new(args: &'a Args) -> Self {
        let mut rng = rng::stream(args.seed, 0, 0);
        let mut world = Self {
            args,
            now: Duration::ZERO,
            nodes: Vec::new(),
            places: HashMap::new(),
            hostile: (0..args.hostile).map(|_| id(&mut rng)).collect(),
            connections: HashMap::new(),
            last: 0,
            queue: BinaryHeap::new(),
            events: 0,
            seed: AtSeed::default(),
            dials_without_room: 0,
            rng,
        };
        for i in 0..=args.nodes {
            let id = id(&mut world.rng);
            let part = i.saturating_sub(1) as f64 / args.nodes as f64;
            let start = if i == 0 { Duration::ZERO } else { PREPARED + args.over.mul_f64(part) };
            world.nodes.push(Node::new(id, args.connections, world.rng.next_u64(), start));
            world.places.insert(id, i);
            world.push(start, Event::Start(i));
        }
        for i in 0..args.hostile {
            let who = world.nodes.len() + i;
            for target in 0..=args.spread {
                let to = if target == 0 { 0 } else { world.rng.random_range(0..=args.nodes) };
                let at = world.nodes[to].started + jittered(&mut world.rng, args.again);
                world.push(at, Event::Search(who, to));
            }
        }
        world
    }

    pub fn run(mut self) -> Outcome {
        let end = PREPARED + self.args.over + self.args.rest;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.on(event);
        }
        let is = |which: &dyn Fn(&Connection) -> bool| {
            self.connections.values().filter(|c| c.established && which(c)).count()
        };
        self.seed.outbound = is(&|c| c.from == 0);
        self.seed.honest = is(&|c| c.to == 0 && self.is_honest(c.from));
        self.seed.hostile = is(&|c| c.to == 0 && !self.is_honest(c.from));
        let newcomers = || self.nodes.iter().skip(1);
        Outcome {
            met: newcomers().filter_map(|node| Some(node.met? - node.started)).collect(),
            connected: newcomers().filter_map(|node| Some(node.full? - node.started)).collect(),
            components: self.components(),
            seed: self.seed,
            dials_without_room: self.dials_without_room,
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Start(i) => {
                if i > 0 {
                    self.nodes[i].searching = true;
                    self.on(Event::Search(i, 0));
                }
                self.on(Event::Tick(i));
                self.push(self.now + CARE, Event::Care(i));
            }
            Event::Search(who, to) => self.dial(who, to, Why::Search),
            Event::Arrive(id) => self.arrive(id),
            Event::Established(id) => self.establish(id),
            Event::Closed(id) => self.close(id),
            Event::Exchanged(a, b) => self.exchanged(a, b),
            Event::Due(i) => {
                self.nodes[i].due = None;
                for id in self.nodes[i].slots.due(self.now) {
                    self.seed.guests += u64::from(i == 0);
                    self.closing(id);
                }
                self.due(i);
            }
            Event::Tick(i) => self.tick(i),
            Event::Care(i) => {
                self.keep(i);
                self.push(self.now + CARE, Event::Care(i));
            }
        }
    }

    fn tick(&mut self, i: usize) {
        let plan = self.nodes[i].view.tick(&mut self.rng);
        for record in plan.rounds.iter().chain(&plan.retries) {
            self.ask(i, record.0);
        }
        for record in &plan.probes {
            if !self.nodes[i].connected.contains_key(&record.0) {
                self.dial(i, self.places[&record.0], Why::Keeper);
            }
        }
        let pause = self.nodes[i].next_tick(&mut self.rng);
        self.push(self.now + pause, Event::Tick(i));
    }

    /// Exchanges peers, now or when there is a connection.
    fn ask(&mut self, i: usize, peer: PeerId) {
        if !self.nodes[i].asking.insert(peer) {
            return;
        }
        let to = self.places[&peer];
        if self.nodes[i].connected.contains_key(&peer) {
            let delay = self.delay() * 4;
            self.push(self.now + delay, Event::Exchanged(i, to));
        } else {
            self.dial(i, to, Why::Round);
        }
    }

    fn keep(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let view: Vec<PeerId> = node.view.iter().map(|g| g.record.0).collect();
        let connected: BTreeSet<PeerId> = node.connected.keys().copied().collect();
        let work = node.keeper.work(&view, &connected, node.slots.room(), self.now, &mut self.rng);
        for peer in work.dial {
            self.dial(i, self.places[&peer], Why::Keeper);
        }
        for peer in work.close {
            let of = |c: &Connection| {
                let ends = [c.from, c.to];
                c.established && ends.contains(&i) && ends.contains(&self.places[&peer])
            };
            let all = self.connections.iter().filter(|(_, c)| of(c));
            let mut ids: Vec<u64> = all.map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids.into_iter().for_each(|id| self.closing(id));
        }
    }

    fn dial(&mut self, from: usize, to: usize, why: Why) {
        self.last += 1;
        let id = self.last;
        if let Some(node) = self.nodes.get_mut(from)
            && node.slots.outgoing(id).is_err()
        {
            self.dials_without_room += 1;
            return self.failed(from, to, why);
        }
        self.connections
            .insert(id, Connection { from, to, why, established: false, counted: false });
        let delay = self.delay();
        self.push(self.now + delay, Event::Arrive(id));
    }

    fn arrive(&mut self, id: u64) {
        let Some(&Connection { from, to, .. }) = self.connections.get(&id) else { return };
        let prefix = self.prefix(from);
        match self.nodes[to].slots.incoming(id, prefix) {
            Ok(()) => {
                let delay = self.delay() * 4;
                self.push(self.now + delay, Event::Established(id));
            }
            Err(_) => self.refused(id),
        }
    }

    fn establish(&mut self, id: u64) {
        let Some(&Connection { from, to, why, .. }) = self.connections.get(&id) else { return };
        let (prefix, peer, now) = (self.prefix(from), self.peer(from), self.now);
        let Ok(admitted) = self.nodes[to].slots.inbound(id, peer, prefix, now) else {
            return self.refused(id);
        };
        self.due(to);
        if let Some(victim) = admitted.instead {
            self.seed.replaced += u64::from(to == 0);
            self.closing(victim);
        }
        let rtt = self.delay() * 2;
        self.nodes[to].slots.answered(id, rtt);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.established = true;
        }
        let other = self.nodes[to].id;
        let Some(node) = self.nodes.get_mut(from) else { return };
        if node.slots.outbound(id, other, now).is_err() {
            return self.closing(id);
        }
        node.slots.answered(id, rtt);
        if why == Why::Search {
            (node.searching, _) = (false, node.found());
        } else {
            node.keeper.opened(other);
            node.view.alive(other, &mut self.rng);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.counted = true;
        }
        for (i, peer) in [(from, other), (to, peer)] {
            *self.nodes[i].connected.entry(peer).or_default() += 1;
            self.look(i);
            let waits = self.nodes[i].asking.remove(&peer);
            let few = self.nodes[i].view.len() < WANTED && !self.nodes[i].view.contains(peer);
            if waits || few {
                self.ask(i, peer);
            }
        }
    }

    fn refused(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let Connection { from, to, why, .. } = connection;
        if to == 0 {
            let honest = self.is_honest(from);
            self.seed.honest_refused += u64::from(honest);
            self.seed.hostile_refused += u64::from(!honest);
        }
        for end in [from, to] {
            if let Some(node) = self.nodes.get_mut(end) {
                node.slots.closed(id);
            }
        }
        self.failed(from, to, why);
    }

    fn failed(&mut self, from: usize, to: usize, why: Why) {
        let again = self.args.again;
        let Some(node) = self.nodes.get_mut(from) else {
            let at = self.now + jittered(&mut self.rng, again);
            return self.push(at, Event::Search(from, to));
        };
        if why == Why::Search {
            let pause = node.next_search(&mut self.rng);
            return self.push(self.now + pause, Event::Search(from, to));
        }
        let peer = self.nodes[to].id;
        let node = &mut self.nodes[from];
        node.asking.remove(&peer);
        node.keeper.failed(peer, self.now, &mut self.rng);
        node.view.failed(peer, &mut self.rng);
    }

    /// One side gives a connection up.
    fn closing(&mut self, id: u64) {
        let delay = self.delay();
        self.push(self.now + delay, Event::Closed(id));
    }

    fn close(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let Connection { from, to, counted, .. } = connection;
        for (end, other) in [(from, to), (to, from)] {
            let peer = self.peer(other);
            let Some(node) = self.nodes.get_mut(end) else {
                let at = self.now + jittered(&mut self.rng, self.args.again);
                self.push(at, Event::Search(end, other));
                continue;
            };
            node.slots.closed(id);
            let Some(n) = node.connected.get_mut(&peer).filter(|_| counted) else { continue };
            *n -= 1;
            if *n > 0 {
                continue;
            }
            node.connected.remove(&peer);
            node.keeper.lost(peer, self.now, &mut self.rng);
            if node.connected.is_empty() && end > 0 && !node.searching {
                node.searching = true;
                let pause = jittered(&mut self.rng, Duration::from_millis(50));
                self.push(self.now + pause, Event::Search(end, 0));
            }
        }
    }

    fn exchanged(&mut self, a: usize, b: usize) {
        let (id_a, id_b) = (self.nodes[a].id, self.nodes[b].id);
        self.nodes[a].asking.remove(&id_b);
        if !self.nodes[a].connected.contains_key(&id_b) {
            return;
        }
        let rng = &mut self.rng;
        let (told_a, told_b) = (self.nodes[a].view.tell(rng), self.nodes[b].view.tell(rng));
        let origin = if self.nodes[a].view.is_empty() { Origin::Boot } else { Origin::Pulled };
        let others = |told: Vec<Gossip<Known>>, own: PeerId| {
            told.into_iter()
                .filter(|g| g.record.0 != own)
                .map(|g| Gossip { hop: g.hop.max(1), ..g })
                .collect::<Vec<_>>()
        };
        self.nodes[a].view.merge(origin, Known(id_b), others(told_b, id_a), rng);
        self.nodes[b].view.merge(Origin::Pushed, Known(id_a), others(told_a, id_b), rng);
        for (i, peer) in [(a, id_b), (b, id_a)] {
            let now = self.now;
            let node = &mut self.nodes[i];
            node.met.get_or_insert(now);
            node.slots.exchanged(&peer, now);
            self.due(i);
            self.keep(i);
        }
    }

    /// Takes note of a node that has connections enough.
    fn look(&mut self, i: usize) {
        let (now, wanted) = (self.now, WANTED.min(self.args.nodes));
        let node = &mut self.nodes[i];
        if node.full.is_none() && node.connected.len() >= wanted {
            node.full = Some(now);
        }
    }

    fn due(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let Some(due) = node.slots.next_due().map(|due| due.max(self.now)) else { return };
        if node.due.is_none_or(|set| due < set) {
            node.due = Some(due);
            self.push(due, Event::Due(i));
        }
    }

    fn components(&self) -> usize {
        let mut links: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for c in self.connections.values().filter(|c| c.established && self.is_honest(c.from)) {
            links.entry(c.from).or_default().push(c.to);
            links.entry(c.to).or_default().push(c.from);
        }
        let (mut seen, mut components) = (BTreeSet::new(), 0);
        for start in 0..self.nodes.len() {
            if !seen.insert(start) {
                continue;
            }
            components += 1;
            let mut stack = vec![start];
            while let Some(i) = stack.pop() {
                let near = links.get(&i).into_iter().flatten().copied();
                stack.extend(near.filter(|other| seen.insert(*other)).collect::<Vec<_>>());
            }
        }
        components
    }

    fn is_honest(&self, i: usize) -> bool {
        i < self.nodes.len()
    }

    fn peer(&self, i: usize) -> PeerId {
        match self.nodes.get(i) {
            Some(node) => node.id,
            None => self.hostile[i - self.nodes.len()],
        }
    }

    /// Honest nodes have networks of their own; hostile ones share some.
    fn prefix(&self, i: usize) -> Prefix {
        let network = match i.checked_sub(self.nodes.len()) {
            None => 0x2000_0000 + ((i as u32) << 8),
            Some(hostile) => 0x4000_0000 + (((hostile % self.args.networks) as u32) << 8),
        };
        std::net::IpAddr::V4(Ipv4Addr::from_bits(network)).into()
    }

    /// How long a packet takes.
    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(1_000..50_000))
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((at, self.events, event)));
    }
}

fn jittered(rng: &mut impl Rng, pause: Duration) -> Duration {
    pause.mul_f64(rng.random_range(0.5..1.5))
}

fn id(rng: &mut impl Rng) -> PeerId {
    let mut digest = [0; 32];
    rng.fill_bytes(&mut digest);
    // A SHA-256 multihash, as the ids of ECDSA and RSA keys are.
    PeerId::from_bytes(&[&[0x12, 32][..], &digest].concat()).expect("a multihash")
}
