//! Who uses the channels: senders, receivers, workers, selects.

use super::*;
use world::{Event, PartyKey, Place, Waits, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Send,
    Receive,
    Work,
    Select,
    /// Receives until the channel is closed.
    Drain,
}

#[derive(Debug)]
pub(super) struct Actor {
    node: usize,
    job: Job,
    places: Vec<Place>,
    left: u32,
    /// Counts what it does.
    serial: u64,
    doing: Option<Doing>,
    working: Option<Working>,
}

#[derive(Debug)]
struct Doing {
    turn: Turn,
    branches: Vec<Branch>,
    late: bool,
}

#[derive(Debug)]
struct Branch {
    place: Place,
    remote: bool,
    /// What it sends.
    value: Option<u64>,
    op: Option<u64>,
    ended: bool,
}

/// A job that is being done.
#[derive(Debug)]
struct Working {
    place: Place,
    remote: bool,
    lease: u64,
    value: u64,
}

impl World {
    pub(super) fn hire(&mut self, selects: bool) {
        let places: Vec<_> = self.owned.keys().copied().collect();
        for _ in 0..self.rng.random_range(3..=9) {
            let node = self.node();
            let own = places.iter().filter(|place| place.0 == node).count();
            let job = match self.rng.random_range(0..10) {
                _ if selects => Job::Select,
                0..4 => Job::Send,
                4..6 => Job::Receive,
                6..7 => Job::Work,
                _ => Job::Select,
            };
            let many = if job == Job::Select { 3 } else { 1 };
            let many = self.rng.random_range(1..=many).max(usize::from(own == 0));
            let places = (0..many).map(|_| places[self.rng.random_range(0..places.len())]);
            let places = places.collect();
            self.employ(node, job, places);
        }
    }

    fn employ(&mut self, node: usize, job: Job, places: Vec<Place>) {
        let left = if job == Job::Drain { u32::MAX } else { self.rng.random_range(1..=8) };
        let (serial, doing, working) = (0, None, None);
        self.actors.push(Actor { node, job, places, left, serial, doing, working });
        let start = self.ms(0, 2000);
        self.after(start, Event::Act(self.actors.len() - 1));
    }

    pub(super) fn drain(&mut self, place: Place) {
        if self.alive[place.0] {
            self.employ(place.0, Job::Drain, vec![place]);
        }
    }

    pub(super) fn crash_actors(&mut self, node: usize) {
        for actor in self.actors.iter_mut().filter(|actor| actor.node == node) {
            (actor.left, actor.doing, actor.working) = (0, None, None);
        }
    }

    /// The next thing that an actor does.
    pub(super) fn act(&mut self, at: usize) {
        if let Some(working) = self.actors[at].working.take() {
            return self.finish(at, working);
        }
        let actor = &mut self.actors[at];
        if actor.left == 0 || actor.doing.is_some() {
            return;
        }
        actor.left -= 1;
        actor.serial += 1;
        let (node, job, serial) = (actor.node, actor.job, actor.serial);
        let places = actor.places.clone();
        let turn = if job == Job::Select { Turn::shared() } else { Turn::default() };
        let mut branches = Vec::new();
        for place in places {
            let remote = place.0 != node;
            let sends = match job {
                Job::Send => true,
                Job::Select => !remote && self.rng.random_bool(0.5),
                _ => false,
            };
            let value = sends.then(|| self.new_value(node, place));
            branches.push(Branch { place, remote, value, op: None, ended: false });
        }
        let many = branches.len();
        let deadline = (job != Job::Drain && self.rng.random_bool(0.6)).then(|| self.ms(0, 9000));
        self.actors[at].doing = Some(Doing { turn: turn.clone(), branches, late: false });
        if let Some(wait) = deadline {
            self.after(wait, Event::Late(at, serial));
        }
        let take = job == Job::Work;
        for branch in 0..many {
            if turn.is_done() {
                break;
            }
            self.start(at, serial, branch, take, deadline);
            // Whoever is served at once has an effect that says so.
            if job != Job::Select {
                break;
            }
        }
        self.settle_select(at, serial);
    }

    fn start(&mut self, at: usize, serial: u64, branch: usize, take: bool, wait: Option<Duration>) {
        let Some(doing) = &self.actors[at].doing else { return };
        let (turn, now) = (doing.turn.clone(), self.now);
        let Branch { place, remote, value, .. } = doing.branches[branch];
        let node = self.actors[at].node;
        let select = self.actors[at].job == Job::Select;
        // A select has one deadline for all.
        let deadline = wait.filter(|_| !select).map(|wait| now + wait);
        let waits = Waits::Actor { actor: at, serial, branch };
        if remote {
            let key = (node, place);
            self.remote(key);
            let op = self.at_party(key, |remote, out| match value {
                Some(value) => remote.party.send(now, V(value), deadline, out),
                None => remote.party.receive(now, take, turn, deadline, out),
            });
            let Some(op) = op else { return };
            self.note_op(at, branch, op);
            if let Some(remote) = self.remotes.get_mut(&key) {
                remote.waits.insert(op, (at, serial, branch));
            }
            return;
        }
        match value {
            Some(value) => {
                let tried =
                    self.at_owner(place, |owned, out| owned.channel.send(now, V(value), turn, out));
                match tried {
                    Some(Tried::Waits(op)) => {
                        self.note_op(at, branch, op);
                        self.wait(place, op, waits);
                    }
                    Some(Tried::Done(how)) => self.actor_sent(at, serial, branch, how),
                    None => (),
                }
            }
            None => {
                let way = if take { Way::Take } else { Way::Plain };
                let tried =
                    self.at_owner(place, |owned, out| owned.channel.receive(now, way, turn, out));
                match tried {
                    Some(Tried::Waits(op)) => {
                        self.note_op(at, branch, op);
                        self.wait(place, op, waits);
                    }
                    Some(Tried::Done(Ok(given))) => self.actor_given(at, serial, branch, given),
                    Some(Tried::Done(Err(why))) => self.actor_ended(at, serial, branch, why),
                    None => (),
                }
            }
        }
    }

    fn note_op(&mut self, at: usize, branch: usize, op: u64) {
        if let Some(doing) = &mut self.actors[at].doing {
            doing.branches[branch].op = Some(op);
        }
    }

    fn remote(&mut self, key: PartyKey) {
        if !self.remotes.contains_key(&key) {
            let peer = libp2p::PeerId::random();
            let id = PartyId { peer, number: self.rng.random() };
            let party = Party::new(self.rng.random());
            let (waits, finishing) = (HashMap::new(), HashMap::new());
            let remote = world::Remote { party, id, link: None, waits, finishing };
            self.remotes.insert(key, remote);
        }
    }

    /// The deadline of what an actor does has passed, or it is called off.
    pub(super) fn late(&mut self, at: usize, serial: u64) {
        if self.actors[at].serial != serial {
            return;
        }
        let cancel = self.rng.random_bool(0.3);
        let select = self.actors[at].job == Job::Select;
        let Some(doing) = &mut self.actors[at].doing else { return };
        if !select && doing.branches[0].remote && !cancel {
            // The party sees to it.
            return;
        }
        if !select && doing.branches[0].remote {
            if let Some(value) = doing.branches[0].value {
                self.fate(value).unknown = true;
            }
            return self.end(at);
        }
        doing.late = true;
        // What is on its way to a receiver is called back.
        for branch in 0..doing.branches.len() {
            self.cancel_branch(at, branch, true);
        }
        self.settle_select(at, serial);
    }

    /// Ends a select whose time has passed, if it isn't reserved; or one that has
    /// nothing to wait for.
    fn settle_select(&mut self, at: usize, serial: u64) {
        let actor = &mut self.actors[at];
        if actor.serial != serial {
            return;
        }
        let Some(doing) = &mut actor.doing else { return };
        let over = doing.late || doing.branches.iter().all(|branch| branch.ended);
        if over && doing.turn.leave() {
            self.end(at);
        }
    }

    /// Calls a branch off.
    fn cancel_branch(&mut self, at: usize, branch: usize, sends_only: bool) {
        let (node, now) = (self.actors[at].node, self.now);
        let Some(doing) = &mut self.actors[at].doing else { return };
        let Branch { place, remote, value, op, .. } = doing.branches[branch];
        let Some(op) = op else { return };
        if remote {
            if sends_only {
                return;
            }
            self.at_party((node, place), |remote, out| {
                remote.waits.remove(&op);
                remote.party.cancel(now, op, out);
            });
            return;
        }
        if value.is_some() {
            let cancelled = self.at_owner(place, |owned, out| {
                let cancelled = owned.channel.cancel_send(now, op, out).is_some();
                if cancelled {
                    owned.waits.remove(&op);
                }
                cancelled
            });
            if cancelled == Some(true)
                && let Some(doing) = &mut self.actors[at].doing
            {
                doing.branches[branch].ended = true;
            }
        } else if !sends_only || self.actors[at].job != Job::Select {
            self.at_owner(place, |owned, out| {
                owned.channel.cancel_receive(now, op, out);
                owned.waits.remove(&op);
            });
        }
    }

    /// What an actor did is over, well or not.
    fn end(&mut self, at: usize) {
        let many = self.actors[at].doing.as_ref().map_or(0, |doing| doing.branches.len());
        for branch in 0..many {
            self.cancel_branch(at, branch, false);
        }
        self.actors[at].doing = None;
        self.actors[at].serial += 1;
        let pause = match self.actors[at].job {
            Job::Drain => Duration::ZERO,
            _ => self.ms(0, 1500),
        };
        self.after(pause, Event::Act(at));
    }

    fn is_doing(&self, at: usize, serial: u64) -> bool {
        self.actors[at].serial == serial && self.actors[at].doing.is_some()
    }

    fn branch_over(&mut self, at: usize, serial: u64, branch: usize) {
        if let Some(doing) = &mut self.actors[at].doing {
            doing.branches[branch].ended = true;
            if self.actors[at].job == Job::Select {
                return self.settle_select(at, serial);
            }
        }
        self.end(at);
    }

    pub(super) fn actor_sent(&mut self, at: usize, serial: u64, branch: usize, how: Sent) {
        if !self.is_doing(at, serial) {
            return;
        }
        let Some(doing) = &self.actors[at].doing else { return };
        let Some(value) = doing.branches[branch].value else { return };
        if how == Sent::Accepted {
            self.fate(value).sent = true;
            self.end(at);
        } else {
            self.branch_over(at, serial, branch);
        }
    }

    pub(super) fn actor_ended(&mut self, at: usize, serial: u64, branch: usize, why: Ended) {
        if self.is_doing(at, serial) {
            if self.actors[at].job == Job::Drain && why == Ended::Closed {
                self.actors[at].left = 0;
            }
            self.branch_over(at, serial, branch);
        }
    }

    pub(super) fn actor_given(&mut self, at: usize, serial: u64, branch: usize, given: Given<V>) {
        let place = match &self.actors[at].doing {
            Some(doing) if self.actors[at].serial == serial => doing.branches[branch].place,
            _ => return self.wrong.push(format!("{given:?} is for nobody")),
        };
        match given.lease {
            Some(lease) => self.work(at, place, false, lease, given.value.0),
            None => self.received(given.value.0),
        }
        self.end(at);
    }

    pub(super) fn actor_done(
        &mut self,
        at: usize,
        serial: u64,
        branch: usize,
        outcome: Outcome<V>,
    ) {
        if !self.is_doing(at, serial) {
            return;
        }
        let Some(doing) = &self.actors[at].doing else { return };
        let Branch { place, value, .. } = doing.branches[branch];
        match outcome {
            Outcome::Received(value) => self.received(value.0),
            Outcome::Taken { lease, value } => self.work(at, place, true, lease, value.0),
            Outcome::Sent => {
                if let Some(value) = value {
                    self.fate(value).sent = true;
                }
            }
            Outcome::Failed(why) => {
                if let Some(value) = value {
                    self.fate(value).unknown |= why == Fault::Unknown;
                }
                if why != Fault::Unknown {
                    return self.branch_over(at, serial, branch);
                }
            }
            Outcome::Finished(_) | Outcome::Closed { .. } | Outcome::Opened => (),
        }
        self.end(at);
    }

    pub(super) fn actor_looks(&mut self, turn: &Turn) {
        use crate::csp::ticket::Ticket;
        let now = self.now;
        let is = |doing: &Doing| doing.turn.is(turn);
        let of = |actor: &Actor| actor.doing.as_ref().is_some_and(is);
        let Some(at) = self.actors.iter().position(of) else { return };
        let (node, serial) = (self.actors[at].node, self.actors[at].serial);
        let Some(doing) = &self.actors[at].doing else { return };
        let places: Vec<_> = doing.branches.iter().map(|b| (b.place, b.remote)).collect();
        for (place, remote) in places {
            if remote {
                self.at_party((node, place), |remote, out| remote.party.look(now, out));
            } else {
                self.at_owner(place, |owned, out| owned.channel.look(now, out));
            }
        }
        // What waits to be told comes first: it may have been served just now.
        self.settle_select(at, serial);
    }

    fn work(&mut self, at: usize, place: Place, remote: bool, lease: u64, value: u64) {
        self.fate(value).taken = true;
        self.actors[at].working = Some(Working { place, remote, lease, value });
    }

    /// A job that was ended elsewhere.
    pub(super) fn finished(&mut self, value: u64, done: bool, outcome: &Outcome<V>) {
        match outcome {
            Outcome::Finished(true) if done => self.fate(value).done += 1,
            Outcome::Failed(_) if done => self.fate(value).maybe_done = true,
            _ => (),
        }
    }

    fn finish(&mut self, at: usize, working: Working) {
        let Working { place, remote, lease, value } = working;
        let (node, now) = (self.actors[at].node, self.now);
        let done = self.rng.random_bool(0.7);
        self.after(Duration::from_millis(5), Event::Act(at));
        if remote {
            self.at_party((node, place), |remote, out| {
                let op = remote.party.finish(now, lease, done, None, out);
                remote.finishing.insert(op, (value, done));
            });
            return;
        }
        let was = self.at_owner(place, |owned, out| match done {
            true => owned.channel.confirm(now, Who::Local, lease, out),
            false => owned.channel.give_back(now, Who::Local, lease, out),
        });
        if done && was == Some(true) {
            self.fate(value).done += 1;
        }
    }

    pub(super) fn who_waits(&self) -> Vec<String> {
        let waits = |a: &&Actor| a.doing.is_some() && self.alive[a.node];
        self.actors.iter().filter(waits).map(|actor| format!("{actor:?}")).collect()
    }
}
