//! A node of an index's tree.
//!
//! Keys are not kept here but in the records, several cache misses away. What
//! is kept is what tells most of them apart: the beginning that all keys of a
//! node share, and of each key the eight bytes that follow ("poor man's
//! normalized keys" after prefix truncation: Graefe, Modern B-Tree Techniques,
//! 2011, sections 3.3 and 3.4). A node has no pointers to records, so that it
//! is copied with the ease of plain bytes when a snapshot holds the old one.

use super::slots::Slots;
use crate::cluster::record::Field;
use std::{cmp::Ordering, sync::Arc};

/// Entries that a node has at most; few in tests, for trees of several levels.
pub(in crate::cluster) const WIDTH: usize = if cfg!(test) { 8 } else { 64 };
/// A node with fewer entries is joined to one beside it if both fit in one.
const NARROW: usize = WIDTH / 4;
/// The longest shared beginning that is kept.
const MAX_SKIP: usize = 23;

/// A key of a record: the record's slot, and which of its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Id {
    pub(in crate::cluster) slot: u32,
    pub(in crate::cluster) nth: u16,
}

/// Where the keys are.
#[derive(Clone, Copy)]
pub(in crate::cluster) struct Keys<'a> {
    pub(in crate::cluster) slots: &'a Slots,
    pub(in crate::cluster) field: Field,
}

impl<'a> Keys<'a> {
    pub(in crate::cluster) fn key(self, id: Id) -> &'a [u8] {
        self.slots.get(id.slot).map_or(&[], |record| record.key(self.field, id.nth).as_bytes())
    }

    fn peer(self, id: Id) -> &'a str {
        self.slots.get(id.slot).map_or("", |record| record.peer_text())
    }
}

/// A place between the entries.
#[derive(Clone, Copy)]
pub(in crate::cluster) enum Edge<'k> {
    /// Before all entries with this key or a higher one.
    Before(&'k [u8]),
    /// After all entries with this key or a lower one.
    After(&'k [u8]),
    /// After all entries whose key begins like this or is lower.
    AfterPrefix(&'k [u8]),
    /// Before this very entry, whose key is given too.
    At(&'k [u8], Id),
    /// After all entries.
    End,
}

impl<'k> Edge<'k> {
    fn key(self) -> &'k [u8] {
        match self {
            Self::Before(key) | Self::After(key) | Self::AfterPrefix(key) | Self::At(key, _) => key,
            Self::End => &[],
        }
    }

    /// Whether an entry is on the lower side.
    fn is_after(self, id: Id, keys: Keys<'_>) -> bool {
        let key = keys.key(id);
        match self {
            Self::Before(edge) => key < edge,
            Self::After(edge) => key <= edge,
            Self::AfterPrefix(edge) => key <= edge || key.starts_with(edge),
            Self::At(edge, at) => match key.cmp(edge) {
                Ordering::Equal => keys.peer(id) < keys.peer(at),
                order => order.is_lt(),
            },
            Self::End => true,
        }
    }
}

/// A leaf, or, if it has children, an inner node: each entry is then the first
/// of the child's.
#[derive(Clone)]
pub(in crate::cluster) struct Node {
    len: u8,
    skip: u8,
    prefix: [u8; MAX_SKIP],
    heads: [u64; WIDTH],
    ids: [Id; WIDTH],
    pub(in crate::cluster) children: Vec<Child>,
}

#[derive(Clone)]
pub(in crate::cluster) struct Child {
    pub(in crate::cluster) node: Arc<Node>,
    /// Entries in all leaves below.
    pub(in crate::cluster) count: u32,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            len: 0,
            skip: 0,
            prefix: [0; MAX_SKIP],
            heads: [0; WIDTH],
            ids: [Id::default(); WIDTH],
            children: Vec::new(),
        }
    }
}

impl Node {
    pub(in crate::cluster) fn len(&self) -> usize {
        self.len.into()
    }

    pub(in crate::cluster) fn ids(&self) -> &[Id] {
        &self.ids[..self.len()]
    }

    pub(in crate::cluster) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// Entries in all leaves below, or in this one.
    pub(in crate::cluster) fn count(&self) -> u32 {
        if self.is_leaf() {
            self.len.into()
        } else {
            self.children.iter().map(|child| child.count).sum()
        }
    }

    /// The parent of two nodes, in their order.
    pub(in crate::cluster) fn above(nodes: [Arc<Self>; 2], keys: Keys<'_>) -> Self {
        let mut parent = Self { len: 2, ..Self::default() };
        for (id, node) in parent.ids.iter_mut().zip(&nodes) {
            *id = node.ids[0];
        }
        let children = nodes.into_iter().map(|node| Child { count: node.count(), node });
        parent.children = children.collect();
        parent.normalize(keys);
        parent
    }

    /// How many entries are on the lower side of an edge.
    pub(in crate::cluster) fn rank(&self, edge: Edge<'_>, keys: Keys<'_>) -> usize {
        if let Edge::End = edge {
            return self.len();
        }
        let (key, prefix) = (edge.key(), self.prefix());
        let shared = key.len().min(prefix.len());
        match key[..shared].cmp(&prefix[..shared]) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.len(),
            // The edge's key is the beginning of all others.
            Ordering::Equal if shared < prefix.len() => {
                return if let Edge::AfterPrefix(_) = edge { self.len() } else { 0 };
            }
            Ordering::Equal => {}
        }
        let low = head(key, shared, 0);
        let high = if let Edge::AfterPrefix(_) = edge { head(key, shared, 0xff) } else { low };
        let heads = &self.heads[..self.len()];
        let first = heads.partition_point(|head| *head < low);
        let equal = match heads[first..] {
            // The usual case, without looking farther.
            [] => 0,
            [head, ..] if head > high => 0,
            [_, next, ..] if next > high => 1,
            ref rest => rest.partition_point(|head| *head <= high),
        };
        let rest = &key[shared..];
        if rest.len() <= size_of::<u64>() {
            match edge {
                // A head is all that such an edge looks at. (It equals the edge's
                // also if the key is shorter, and the edge goes on with zeros: a
                // lower key.)
                Edge::AfterPrefix(_) => return first + equal,
                // Keys with the edge's head begin like the edge: as it doesn't end
                // with a zero, they are no shorter.
                Edge::Before(_) if rest.last().is_some_and(|last| *last != 0) => return first,
                _ => {}
            }
        }
        let equal = &self.ids[first..first + equal];
        first + equal.partition_point(|id| edge.is_after(*id, keys))
    }

    /// Which child an edge is in, given its rank here.
    pub(in crate::cluster) fn child_of(rank: usize) -> usize {
        rank.saturating_sub(1)
    }

    /// Puts an entry in. If the node was full, gives back its upper half.
    pub(in crate::cluster) fn insert(
        &mut self,
        id: Id,
        key: &[u8],
        keys: Keys<'_>,
    ) -> Option<Self> {
        let rank = self.rank(Edge::At(key, id), keys);
        if self.is_leaf() {
            return self.put(rank, id, None, keys);
        }
        let nth = Self::child_of(rank);
        let child = &mut self.children[nth];
        let node = Arc::make_mut(&mut child.node);
        let upper = node.insert(id, key, keys);
        child.count = node.count();
        let first = node.ids[0];
        if rank == 0 {
            self.set(0, first, keys);
        }
        let upper = upper?;
        let (first, count) = (upper.ids[0], upper.count());
        self.put(nth + 1, first, Some(Child { node: Arc::new(upper), count }), keys)
    }

    /// Takes an entry out, if it is there.
    pub(in crate::cluster) fn remove(&mut self, id: Id, key: &[u8], keys: Keys<'_>) {
        let rank = self.rank(Edge::At(key, id), keys);
        if self.is_leaf() {
            if self.ids().get(rank) == Some(&id) {
                self.take(rank);
            }
            return;
        }
        // The rank counts those before the entry: as the first of a child's it
        // is not among them.
        let nth = if self.ids().get(rank) == Some(&id) { rank } else { Self::child_of(rank) };
        let child = &mut self.children[nth];
        let node = Arc::make_mut(&mut child.node);
        node.remove(id, key, keys);
        child.count = node.count();
        if node.len == 0 {
            return self.take(nth);
        }
        let first = node.ids[0];
        let narrow = node.len() < NARROW;
        if self.ids[nth] != first {
            self.set(nth, first, keys);
        }
        if narrow {
            self.join(nth.saturating_sub(1), keys);
        }
    }

    /// Joins a child to the next one, if one node has room for both.
    fn join(&mut self, nth: usize, keys: Keys<'_>) {
        let Some(next) = self.children.get(nth + 1) else { return };
        if self.children[nth].node.len() + next.node.len() > WIDTH - NARROW {
            return;
        }
        let next = next.clone();
        self.take(nth + 1);
        let child = &mut self.children[nth];
        let node = Arc::make_mut(&mut child.node);
        let len = node.len();
        node.ids[len..len + next.node.len()].copy_from_slice(next.node.ids());
        node.len += next.node.len;
        node.children.extend_from_slice(&next.node.children);
        node.normalize(keys);
        child.count += next.count;
    }

    /// Puts an entry, and the child that it begins, in a place. If the node was
    /// full, gives back its upper half.
    fn put(&mut self, at: usize, id: Id, child: Option<Child>, keys: Keys<'_>) -> Option<Self> {
        if self.len() < WIDTH {
            self.put_in_room(at, id, child, keys);
            return None;
        }
        let half = WIDTH / 2;
        let mut upper = Self { len: (WIDTH - half) as u8, ..Self::default() };
        upper.ids[..WIDTH - half].copy_from_slice(&self.ids[half..]);
        self.len = half as u8;
        if !self.is_leaf() {
            upper.children = self.children.split_off(half);
        }
        self.normalize(keys);
        upper.normalize(keys);
        if at <= half {
            self.put_in_room(at, id, child, keys);
        } else {
            upper.put_in_room(at - half, id, child, keys);
        }
        Some(upper)
    }

    fn put_in_room(&mut self, at: usize, id: Id, child: Option<Child>, keys: Keys<'_>) {
        let len = self.len();
        self.ids.copy_within(at..len, at + 1);
        self.heads.copy_within(at..len, at + 1);
        self.len += 1;
        if let Some(child) = child {
            self.children.insert(at, child);
        }
        self.set(at, id, keys);
    }

    fn take(&mut self, at: usize) {
        let len = self.len();
        self.ids.copy_within(at + 1..len, at);
        self.heads.copy_within(at + 1..len, at);
        self.len -= 1;
        if !self.is_leaf() {
            self.children.remove(at);
        }
    }

    fn set(&mut self, at: usize, id: Id, keys: Keys<'_>) {
        self.ids[at] = id;
        let key = keys.key(id);
        if self.len > 1 && key.starts_with(self.prefix()) {
            self.heads[at] = head(key, self.skip.into(), 0);
        } else {
            self.normalize(keys);
        }
    }

    fn prefix(&self) -> &[u8] {
        &self.prefix[..self.skip.into()]
    }

    /// Finds the beginning that all keys share, and each one's next bytes.
    fn normalize(&mut self, keys: Keys<'_>) {
        let (Some(first), Some(last)) = (self.ids().first(), self.ids().last()) else { return };
        let (first, last) = (keys.key(*first), keys.key(*last));
        let shared = first.iter().zip(last).take(MAX_SKIP).take_while(|(a, b)| a == b).count();
        self.prefix[..shared].copy_from_slice(&first[..shared]);
        self.skip = shared as u8;
        for (head_of, id) in self.heads.iter_mut().zip(self.ids).take(self.len.into()) {
            *head_of = head(keys.key(id), shared, 0);
        }
    }
}

/// The eight bytes of a key that follow the first `skip`, as a number that
/// orders like them.
fn head(key: &[u8], skip: usize, padding: u8) -> u64 {
    let rest = key.get(skip..).unwrap_or(&[]);
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [padding; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}
