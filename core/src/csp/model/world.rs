//! Nodes, links and the clock.

use super::*;
use actors::Actor;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A channel: its node, and which it is there.
pub(super) type Place = (usize, usize);
/// Who uses it from where.
pub(super) type PartyKey = (usize, Place);

#[derive(Debug)]
pub(super) enum Event {
    ToOwner(usize, u64, Request<V>),
    ToParty(usize, u64, Reply<V>),
    OwnerLearns(usize),
    PartyLearns(usize),
    Connected(PartyKey, bool),
    /// A party joins over a connection that it has given up before.
    LateJoin(PartyKey),
    Leaves(Place, u64, Conn),
    /// An actor does something next.
    Act(usize),
    /// The deadline of what an actor does, counted.
    Late(usize, u64),
    Cut,
    Partition(usize, bool),
    Crash(usize),
    Heal,
    Drain(Place),
    Close(Place),
}

/// A connection of a party.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) party: PartyKey,
    pub(super) conn: Option<Conn>,
    pub(super) epoch: u64,
    pub(super) cut: bool,
    /// What came after a message that was lost is lost too.
    pub(super) lost: [bool; 2],
    /// When the last message of each direction arrives.
    pub(super) last: [Duration; 2],
}

/// Who waits for an operation at an owner.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waits {
    Actor { actor: usize, serial: u64, branch: usize },
    Call { link: usize, call: u64 },
}

pub(super) struct Owned {
    pub(super) channel: Channel<V, Turn>,
    pub(super) epoch: u64,
    pub(super) waits: HashMap<owner::Op, Waits>,
    /// Values in leases, to know what a confirmation was about.
    pub(super) leased: HashMap<u64, u64>,
}

pub(super) struct Remote {
    pub(super) party: Party<V, Turn>,
    pub(super) id: PartyId,
    pub(super) link: Option<usize>,
    pub(super) waits: HashMap<party::Op, (usize, u64, usize)>,
    /// Jobs that are being ended: their values, and whether they are done.
    pub(super) finishing: HashMap<party::Op, (u64, bool)>,
}

pub(super) struct World {
    pub(super) rng: ChaCha8Rng,
    pub(super) planted: Planted,
    pub(super) now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: HashMap<u64, Event>,
    next: u64,
    pub(super) alive: Vec<bool>,
    pub(super) apart: BTreeSet<usize>,
    pub(super) owned: BTreeMap<Place, Owned>,
    pub(super) remotes: BTreeMap<PartyKey, Remote>,
    pub(super) links: Vec<Link>,
    pub(super) actors: Vec<Actor>,
    pub(super) effects: VecDeque<effects::Pending>,
    pub(super) values: BTreeMap<u64, check::Fate>,
    pub(super) wrong: Vec<String>,
    pub(super) healed: bool,
    pub(super) doubts: u64,
}

impl World {
    pub(super) fn new(seed: u64, planted: Planted) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let nodes = rng.random_range(2..=4);
        let mut world = Self {
            planted,
            now: Duration::from_secs(1),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next: 0,
            alive: vec![true; nodes],
            apart: BTreeSet::new(),
            owned: BTreeMap::new(),
            remotes: BTreeMap::new(),
            links: Vec::new(),
            actors: Vec::new(),
            effects: VecDeque::new(),
            values: BTreeMap::new(),
            wrong: Vec::new(),
            healed: false,
            doubts: 0,
            rng,
        };
        let selects = world.rng.random_bool(0.3);
        let capacities = if selects { [0; 4] } else { [0, 0, 1, 3] };
        for node in 0..nodes {
            for which in 0..world.rng.random_range(1..=2) {
                let capacity = capacities[world.rng.random_range(0..4)];
                let limits = owner::Limits { capacity, ..owner::Limits::default() };
                let owned = Owned {
                    channel: Channel::new(limits),
                    epoch: world.rng.random(),
                    waits: HashMap::new(),
                    leased: HashMap::new(),
                };
                world.owned.insert((node, which), owned);
            }
        }
        world.hire(selects);
        world.trouble();
        world.after(Duration::from_secs(60), Event::Heal);
        world
    }

    /// What goes wrong, and when.
    fn trouble(&mut self) {
        for _ in 0..self.rng.random_range(0..=6) {
            let at = self.ms(0, 40_000);
            self.after(at, Event::Cut);
        }
        for _ in 0..self.rng.random_range(0..=2) {
            let (node, at, long) = (self.node(), self.ms(0, 30_000), self.ms(100, 25_000));
            self.after(at, Event::Partition(node, true));
            self.after(at + long, Event::Partition(node, false));
        }
        if self.rng.random_bool(0.3) {
            let (node, at) = (self.node(), self.ms(0, 30_000));
            self.after(at, Event::Crash(node));
        }
        if self.rng.random_bool(0.3) {
            let places: Vec<_> = self.owned.keys().copied().collect();
            let place = places[self.rng.random_range(0..places.len())];
            let at = self.ms(0, 50_000);
            self.after(at, Event::Close(place));
        }
    }

    pub(super) fn node(&mut self) -> usize {
        self.rng.random_range(0..self.alive.len())
    }

    pub(super) fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.rng.random_range(least * 1000..=most * 1000))
    }

    pub(super) fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
    }

    pub(super) fn run(&mut self) {
        let end = Duration::from_secs(400);
        let mut steps = 0;
        while self.wrong.is_empty() {
            let event = self.queue.peek().map(|Reverse(first)| first.0);
            let ticks = self.owned.values().filter_map(|owned| owned.channel.next_tick());
            let ticks = ticks.chain(self.remotes.values().filter_map(|r| r.party.next_tick()));
            let tick = ticks.min();
            let Some(next) = event.into_iter().chain(tick).min().filter(|at| *at < end) else {
                break;
            };
            steps += 1;
            if steps > 60_000 {
                let (o, r): (Vec<_>, Vec<_>) = (
                    self.owned.values().map(|o| o.channel.next_tick()).collect(),
                    self.remotes.values().map(|o| o.party.next_tick()).collect(),
                );
                self.wrong.push(format!("it spins at {:?}: {o:?} {r:?}", self.now));
                break;
            }
            self.now = self.now.max(next);
            if event == Some(next) {
                let Some(Reverse((_, id))) = self.queue.pop() else { break };
                if let Some(event) = self.events.remove(&id) {
                    self.happen(event);
                }
            } else {
                self.tick();
            }
            self.settle();
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let places: Vec<_> = self.owned.keys().copied().collect();
        for place in places {
            self.at_owner(place, |owned, out| {
                if due(owned.channel.next_tick()) {
                    owned.channel.tick(now, out);
                }
            });
        }
        let keys: Vec<_> = self.remotes.keys().copied().collect();
        for key in keys {
            self.at_party(key, |remote, out| {
                if due(remote.party.next_tick()) {
                    remote.party.tick(now, out);
                }
            });
        }
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if std::env::var_os("CASM_CSP_LOG").is_some() {
            println!("{:?} {}", self.now, text());
        }
    }

    fn happen(&mut self, event: Event) {
        self.note(|| format!("{event:?}"));
        match event {
            Event::ToOwner(link, call, request) => {
                if self.arrives(link, 0) {
                    self.asked(link, call, request);
                }
            }
            Event::ToParty(link, call, reply) => {
                let key = self.links[link].party;
                if self.arrives(link, 1) && self.is_current(link) {
                    let now = self.now;
                    self.at_party(key, |remote, out| remote.party.reply(now, call, reply, out));
                }
            }
            Event::OwnerLearns(link) => self.owner_learns(link),
            Event::PartyLearns(link) => {
                if self.is_current(link) {
                    let (key, now) = (self.links[link].party, self.now);
                    self.at_party(key, |remote, out| {
                        remote.link = None;
                        remote.party.disconnected(now, out);
                    });
                }
            }
            Event::Connected(key, works) => self.connected(key, works),
            Event::LateJoin(key) => self.late_join(key),
            Event::Leaves(place, epoch, conn) => {
                let now = self.now;
                self.at_owner(place, |owned, out| {
                    if owned.epoch == epoch {
                        owned.channel.leave(now, conn, out);
                    }
                });
            }
            Event::Act(actor) => self.act(actor),
            Event::Late(actor, serial) => self.late(actor, serial),
            Event::Cut => {
                let open: Vec<_> = (0..self.links.len()).filter(|l| !self.links[*l].cut).collect();
                if !open.is_empty() {
                    let link = open[self.rng.random_range(0..open.len())];
                    self.cut(link);
                }
            }
            Event::Partition(node, apart) => self.partition(node, apart),
            Event::Crash(node) => self.crash(node),
            Event::Heal => self.heal(),
            Event::Drain(place) => self.drain(place),
            Event::Close(place) => {
                let now = self.now;
                self.at_owner(place, |owned, out| {
                    owned.channel.close(now, out);
                });
            }
        }
    }

    fn is_current(&self, link: usize) -> bool {
        self.remotes.get(&self.links[link].party).is_some_and(|r| r.link == Some(link))
    }

    /// Whether a message gets through: some do for a while after a cut.
    fn arrives(&mut self, link: usize, direction: usize) -> bool {
        let lost = self.links[link].cut && self.rng.random_bool(0.6);
        let link = &mut self.links[link];
        link.lost[direction] |= lost;
        !link.lost[direction]
    }

    pub(super) fn transmit(&mut self, link: usize, direction: usize, event: Event) {
        let slow = self.rng.random_bool(0.05);
        let wait = if slow { self.ms(1, 7000) } else { self.ms(0, 30) };
        let at = (self.now + wait).max(self.links[link].last[direction]);
        self.links[link].last[direction] = at;
        self.at(at, event);
    }

    pub(super) fn cut(&mut self, link: usize) {
        if std::mem::replace(&mut self.links[link].cut, true) {
            return;
        }
        let (owner, party) = (self.ms(0, 3000), self.ms(0, 3000));
        self.after(owner, Event::OwnerLearns(link));
        self.after(party, Event::PartyLearns(link));
    }

    fn owner_learns(&mut self, link: usize) {
        let Link { party: (_, place), conn, epoch, .. } = self.links[link];
        let now = self.now;
        self.at_owner(place, |owned, out| {
            if let Some(conn) = conn.filter(|_| owned.epoch == epoch) {
                owned.channel.leave(now, conn, out);
            }
        });
    }

    fn reachable(&self, (node, (owner, _)): PartyKey) -> bool {
        self.alive[owner] && !self.apart.contains(&owner) && !self.apart.contains(&node)
    }

    fn connected(&mut self, key: PartyKey, works: bool) {
        let works = works && self.reachable(key);
        let Some(id) = self.remotes.get(&key).map(|remote| remote.id) else { return };
        let now = self.now;
        if !works {
            self.at_party(key, |remote, out| {
                remote.party.connect_failed(now, Fault::Unreachable, out);
            });
            return;
        }
        let joined = self.at_owner(key.1, |owned, out| {
            let known = owned.channel.knows(&id);
            (owned.channel.join(now, id, out), owned.epoch, known)
        });
        let Some((conn, epoch, known)) = joined else { return };
        let link = self.links.len();
        let party = key;
        let (lost, last) = ([false; 2], [self.now; 2]);
        self.links.push(Link { party, conn, epoch, cut: false, lost, last });
        self.at_party(key, |remote, out| {
            remote.link = Some(link);
            remote.party.connected(now, epoch, known, out);
        });
        if !self.healed && self.rng.random_bool(0.15) {
            let late = self.ms(0, 2000);
            self.after(late, Event::LateJoin(key));
        }
    }

    fn late_join(&mut self, key: PartyKey) {
        let Some(id) = self.remotes.get(&key).map(|remote| remote.id) else { return };
        let now = self.now;
        let joined =
            self.at_owner(key.1, |owned, out| (owned.channel.join(now, id, out), owned.epoch));
        if let Some((Some(conn), epoch)) = joined {
            let wait = self.ms(0, 1000);
            self.after(wait, Event::Leaves(key.1, epoch, conn));
        }
    }

    pub(super) fn connect(&mut self, key: PartyKey) {
        let works = self.reachable(key);
        let wait = if works { self.ms(1, 60) } else { self.ms(10, 3000) };
        self.after(wait, Event::Connected(key, works));
    }

    fn partition(&mut self, node: usize, apart: bool) {
        if !apart || self.healed {
            self.apart.remove(&node);
            return;
        }
        self.apart.insert(node);
        for link in 0..self.links.len() {
            let (from, (to, _)) = self.links[link].party;
            if from == node || to == node {
                self.cut(link);
            }
        }
    }

    fn crash(&mut self, node: usize) {
        self.alive[node] = false;
        self.crash_actors(node);
        self.remotes.retain(|(of, _), _| *of != node);
        let places: Vec<_> = self.owned.keys().filter(|(of, _)| *of == node).copied().collect();
        for place in places {
            self.owned.remove(&place);
        }
        for link in 0..self.links.len() {
            let (from, (to, _)) = self.links[link].party;
            if from == node || to == node {
                self.cut(link);
            }
        }
    }

    /// All is well from now on, and everything is emptied.
    fn heal(&mut self) {
        self.healed = true;
        self.apart.clear();
        for place in self.owned.keys().copied().collect::<Vec<_>>() {
            let (drain, close) = (self.ms(0, 10_000), self.ms(40_000, 60_000));
            self.after(drain, Event::Drain(place));
            self.after(close, Event::Close(place));
        }
    }
}
