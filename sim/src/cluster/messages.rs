//! Which node has seen which heartbeat, as far as gossip remembers.

use std::{collections::VecDeque, time::Duration};

/// A heartbeat's number in the simulation.
pub type Id = u64;

/// A heartbeat on its way.
pub struct Message {
    pub source: usize,
    pub seq: u64,
    sent: Duration,
    /// When each node got it, or will if nothing overtakes the copy under way.
    arrivals: Vec<Arrival>,
    missing: usize,
}

#[derive(Clone, Copy)]
enum Arrival {
    Never,
    UnderWay(Duration),
    Seen(Duration),
}

/// The latest heartbeats of all nodes.
#[derive(Default)]
pub struct Messages {
    first: Id,
    latest: VecDeque<Message>,
}

impl Messages {
    /// For how long a copy can still be asked for, and a little more.
    const KEPT: Duration = Duration::from_secs(10);

    /// A new heartbeat, which its source has seen.
    pub fn send(&mut self, source: usize, seq: u64, nodes: usize, now: Duration) -> Id {
        while self.latest.front().is_some_and(|oldest| oldest.sent + Self::KEPT < now) {
            self.latest.pop_front();
            self.first += 1;
        }
        let mut arrivals = vec![Arrival::Never; nodes];
        arrivals[source] = Arrival::Seen(now);
        self.latest.push_back(Message { source, seq, sent: now, arrivals, missing: nodes - 1 });
        self.first + self.latest.len() as Id - 1
    }

    pub fn get(&self, id: Id) -> Option<&Message> {
        self.latest.get(usize::try_from(id.checked_sub(self.first)?).ok()?)
    }

    fn get_mut(&mut self, id: Id) -> Option<&mut Message> {
        self.latest.get_mut(usize::try_from(id.checked_sub(self.first)?).ok()?)
    }

    /// Notes that a copy is under way. False if it would bring nothing, since
    /// another one is there before it.
    pub fn expect(&mut self, id: Id, node: usize, at: Duration) -> bool {
        let Some(message) = self.get_mut(id) else { return false };
        match message.arrivals[node] {
            Arrival::Seen(_) => false,
            Arrival::UnderWay(earlier) if earlier <= at => false,
            _ => {
                message.arrivals[node] = Arrival::UnderWay(at);
                true
            }
        }
    }

    /// Notes that a copy has come. False if it is not the first one.
    pub fn see(&mut self, id: Id, node: usize, now: Duration) -> bool {
        let Some(message) = self.get_mut(id) else { return false };
        if let Arrival::Seen(_) = message.arrivals[node] {
            return false;
        }
        message.arrivals[node] = Arrival::Seen(now);
        message.missing -= 1;
        true
    }

    /// Those that a node has got since then, and that somebody lacks.
    pub fn told_of(&self, node: usize, since: Duration) -> impl Iterator<Item = Id> {
        let latest = self.latest.iter().enumerate();
        latest.filter_map(move |(nth, message)| match message.arrivals[node] {
            Arrival::Seen(at) if message.missing > 0 && at >= since => Some(self.first + nth as Id),
            _ => None,
        })
    }

    pub fn has_seen(&self, id: Id, node: usize) -> bool {
        self.get(id).is_none_or(|message| matches!(message.arrivals[node], Arrival::Seen(_)))
    }

    /// A node that starts anew has seen nothing.
    pub fn forget(&mut self, node: usize) {
        for message in &mut self.latest {
            if let Arrival::Seen(_) = message.arrivals[node] {
                message.missing += 1;
            }
            message.arrivals[node] = Arrival::Never;
        }
    }
}
