//! What each node knows of each other one: for every pair the number of the last
//! heartbeat, in two bytes; and, if the cluster is small, the table of a real node beside
//! that, which decides then.

use super::super::member::EPOCH;
use casm::{
    Multiaddr, PeerId,
    cluster::{
        Addrs, Arrival, Detector, Difference, Heartbeat, Known, Knows, Limits, Now, Roles, Table,
        Via, server_of,
    },
};
use std::time::Duration;

/// Marks a peer that was removed, and which number it had then.
const GONE: u16 = 1 << 15;

/// What each says of where it is.
const ADDRS: [&str; 4] = [
    "/ip4/192.0.2.17/tcp/4001",
    "/ip4/192.0.2.17/udp/4001/quic-v1",
    "/ip6/2001:db8::17/tcp/4001",
    "/ip6/2001:db8::17/udp/4001/quic-v1",
];

/// A heartbeat that was sent.
#[derive(Clone, Copy)]
pub struct Beat {
    pub sent: Duration,
    pub ttl: Duration,
    /// How many have it as the last one.
    holders: u32,
}

impl Beat {
    pub fn seq(&self) -> u64 {
        EPOCH + self.sent.as_nanos() as u64
    }
}

/// What all nodes know.
pub struct Views {
    pub now: Duration,
    pub probation: Duration,
    ids: Vec<PeerId>,
    /// By source.
    beats: Vec<Vec<Beat>>,
    /// By source, and by who knows of it: the number of the last heartbeat.
    known: Vec<Vec<u16>>,
    /// How many are in the view of each, itself included.
    count: Vec<usize>,
    /// Where a node may lack the last heartbeat of a source: a bit for each.
    behind: Vec<Vec<u64>>,
    /// Since when a node runs, and since when it has ever been there.
    started: Vec<Duration>,
    first: Vec<Duration>,
    tables: Vec<Table>,
    says: Vec<Heartbeat>,
}

/// A node's id, in which its place stands.
fn id(place: usize) -> PeerId {
    // A SHA-256 multihash, as the ids of ECDSA and RSA keys are.
    let mut bytes = [7; 34];
    bytes[..2].copy_from_slice(&[0x12, 32]);
    bytes[2..10].copy_from_slice(&crate::rng::mix(place as u64).to_be_bytes());
    bytes[10..18].copy_from_slice(&(place as u64).to_be_bytes());
    PeerId::from_bytes(&bytes).expect("a multihash")
}

fn table(id: PeerId, place: usize, probation: Duration) -> Table {
    let mut limits = Limits::default();
    limits.probation = probation;
    Table::new(id, limits, Detector::default(), place as u64)
}

/// Whose id it is.
pub fn place(id: &PeerId) -> usize {
    let digest = id.as_ref().digest();
    u64::from_be_bytes(digest[8..16].try_into().expect("eight bytes")) as usize
}

impl Views {
    pub fn new(nodes: usize, real: bool, probation: Duration) -> Self {
        let ids: Vec<_> = (0..nodes).map(id).collect();
        let table = |place| table(ids[place], place, probation);
        let tables = (0..if real { nodes } else { 0 }).map(table).collect();
        let addrs: Vec<Multiaddr> =
            ADDRS.iter().map(|addr| addr.parse().expect("an address")).collect();
        let says = |(place, id)| Heartbeat {
            server: server_of(id),
            ttl: Some(Heartbeat::DEFAULT_TTL),
            host: format!("host-{place}"),
            meta: vec!["role=worker".into()],
            sent_at: Some(Duration::from_nanos(EPOCH)),
            addrs: Addrs::told(&addrs),
        };
        Self {
            now: Duration::ZERO,
            probation,
            says: ids.iter().enumerate().map(says).collect(),
            ids,
            beats: vec![Vec::new(); nodes],
            known: vec![vec![0; nodes]; nodes],
            count: vec![0; nodes],
            behind: vec![vec![0; nodes.div_ceil(64)]; nodes],
            started: vec![Duration::ZERO; nodes],
            first: vec![Duration::MAX; nodes],
            tables,
        }
    }

    pub fn id(&self, node: usize) -> PeerId {
        self.ids[node]
    }

    /// The bytes of what a node says of itself.
    pub fn said_len(&self, node: usize) -> usize {
        self.says[node].encode().len()
    }

    pub fn count(&self, node: usize) -> usize {
        self.count[node]
    }

    pub fn of(&self, node: usize) -> View<'_> {
        View { views: self, node }
    }

    pub fn beat(&self, source: usize, k: u16) -> Beat {
        self.beats[source][usize::from(k) - 1]
    }

    pub fn started(&self, node: usize) -> Duration {
        self.started[node]
    }

    /// The number of the last heartbeat of a node, 0 if there is none.
    pub fn last(&self, source: usize) -> u16 {
        self.beats[source].len() as u16
    }

    /// The number that a node has in its view of a source.
    pub fn in_view(&self, node: usize, source: usize) -> Option<u16> {
        let known = self.known[source][node];
        (known != 0 && known & GONE == 0).then_some(known)
    }

    /// The number that a node had last in its view of a source, which it may have removed.
    pub fn had(&self, node: usize, source: usize) -> u16 {
        self.known[source][node] & !GONE
    }

    /// A node starts, and knows of nobody.
    pub fn start(&mut self, node: usize) {
        (self.started[node], self.count[node]) = (self.now, 0);
        for source in 0..self.ids.len() {
            if let Some(k) = self.in_view(node, source) {
                self.beats[source][usize::from(k) - 1].holders -= 1;
            }
            self.known[source][node] = 0;
            if self.last(source) > 0 {
                self.lacks(node, source);
            }
        }
        if let Some(table) = self.tables.get_mut(node) {
            *table = self::table(self.ids[node], node, self.probation);
        }
    }

    /// A node says that it lives.
    pub fn speak(&mut self, node: usize, ttl: Duration) -> u16 {
        self.first[node] = self.first[node].min(self.now);
        self.beats[node].push(Beat { sent: self.now, ttl, holders: 0 });
        let k = self.last(node);
        self.says[node].ttl = Some(ttl);
        self.note(node, node, k);
        let seq = self.beat(node, k).seq();
        if let Some(table) = self.tables.get_mut(node) {
            table.insert_own(clock(self.now), seq, (&self.says[node], b"s"), Roles::NONE);
            table.take_differences();
        }
        k
    }

    /// A heartbeat comes to a node. Whether that takes it.
    pub fn take(&mut self, node: usize, source: usize, k: u16, via: Via) -> bool {
        if k <= self.had(node, source) {
            return false;
        }
        let Beat { ttl, .. } = self.beat(source, k);
        if let Some(table) = self.tables.get_mut(node) {
            self.says[source].ttl = Some(ttl);
            let (peer, seq) = (self.ids[source], self.beats[source][usize::from(k) - 1].seq());
            let (beat, roles) = (&self.says[source], Roles::NONE);
            let arrival = Arrival { peer, seq, from: peer, beat, signed: b"s", via, roles };
            let taken = table.insert(clock(self.now), arrival).is_accepted();
            table.take_differences();
            if !taken {
                return false;
            }
        }
        self.note(node, source, k);
        true
    }

    fn note(&mut self, node: usize, source: usize, k: u16) {
        match self.in_view(node, source) {
            Some(old) => self.beats[source][usize::from(old) - 1].holders -= 1,
            None => self.count[node] += 1,
        }
        self.known[source][node] = k;
        self.beats[source][usize::from(k) - 1].holders += 1;
        if k == self.last(source) {
            self.behind[node][source / 64] &= !(1 << (source % 64));
        }
    }

    /// A node has not got a source's last heartbeat.
    pub fn lacks(&mut self, node: usize, source: usize) {
        self.behind[node][source / 64] |= 1 << (source % 64);
    }

    /// Of which sources two nodes may not have the same heartbeat.
    pub fn differ(&self, a: usize, b: usize) -> Vec<usize> {
        let words = self.behind[a].iter().zip(&self.behind[b]).enumerate();
        let mut differ = Vec::new();
        for (nth, (a, b)) in words {
            let mut bits = a | b;
            while bits != 0 {
                differ.push(nth * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
        differ
    }

    /// Takes a peer for gone, if nothing newer is known of it.
    pub fn fail(&mut self, node: usize, peer: &PeerId, seq: u64) -> bool {
        let source = place(peer);
        let failed = match self.tables.get_mut(node) {
            Some(table) => {
                let failed = table.fail(self.now, peer, seq);
                table.take_differences();
                failed
            }
            None => {
                let known = self.in_view(node, source);
                node != source && known.is_some_and(|k| self.beat(source, k).seq() == seq)
            }
        };
        if failed {
            self.forget(node, source);
        }
        failed
    }

    fn forget(&mut self, node: usize, source: usize) {
        if let Some(k) = self.in_view(node, source) {
            self.beats[source][usize::from(k) - 1].holders -= 1;
            self.known[source][node] |= GONE;
            self.count[node] -= 1;
        }
    }

    /// The time of a heartbeat is over: who has no later one, and removes its source.
    pub fn expire(&mut self, source: usize, k: u16, up: &[bool]) -> Vec<usize> {
        if !self.tables.is_empty() || self.beat(source, k).holders == 0 {
            return Vec::new();
        }
        let has = |node: &usize| *node != source && self.known[source][*node] == k && up[*node];
        let gone: Vec<_> = (0..self.ids.len()).filter(has).collect();
        gone.iter().for_each(|node| self.forget(*node, source));
        gone
    }

    /// Whom a real table removes by now.
    pub fn expired(&mut self, node: usize) -> Vec<usize> {
        let Some(table) = self.tables.get_mut(node) else { return Vec::new() };
        table.expire(self.now);
        let left = table.take_differences().into_iter().filter_map(|difference| match difference {
            Difference::Left(record, _) => Some(place(&record.peer())),
            _ => None,
        });
        let left: Vec<_> = left.collect();
        left.iter().for_each(|source| self.forget(node, *source));
        left
    }

    /// How many of the established a node has, itself among them: `old` are so in the view
    /// of who runs for as long.
    pub fn established(&self, node: usize, old: usize) -> usize {
        if let Some(table) = self.tables.get(node) {
            return table.held().established;
        }
        let long = self.now.saturating_sub(self.started[node]) >= self.probation;
        if long { old.min(self.count[node]).max(1) } else { 1 }
    }

    /// Whether a source has been there for long, in the view of a node.
    pub fn is_established(&self, node: usize, source: usize) -> bool {
        let since = self.started[node].max(self.first[source]);
        let ttl = self.beats[source].last().map_or(Duration::ZERO, |beat| beat.ttl);
        node == source || self.now.saturating_sub(since) >= self.probation.max(ttl)
    }

    /// Whether a node's real table has the same of a source.
    #[cfg(test)]
    pub fn agree(&self, node: usize, source: usize) -> bool {
        let seq = |known: Option<Known>| known.map(|known| known.seq);
        let table = &self.tables[node];
        table.len() == self.count[node]
            && seq(table.known(&self.ids[source])) == seq(self.sparse(node, source))
    }

    fn sparse(&self, node: usize, source: usize) -> Option<Known> {
        let seq = self.beat(source, self.in_view(node, source)?).seq();
        let established = self.is_established(node, source);
        Some(Known { seq, answers: true, established })
    }
}

/// What one node knows.
pub struct View<'a> {
    views: &'a Views,
    node: usize,
}

impl Knows for View<'_> {
    fn known(&self, peer: &PeerId) -> Option<Known> {
        match self.views.tables.get(self.node) {
            Some(table) => table.known(peer),
            None => self.views.sparse(self.node, place(peer)),
        }
    }

    fn records(&self) -> usize {
        self.views.count[self.node]
    }

    fn probation(&self) -> Duration {
        self.views.probation
    }
}

fn clock(now: Duration) -> Now {
    Now { elapsed: now, unix_nanos: EPOCH + now.as_nanos() as u64 }
}
