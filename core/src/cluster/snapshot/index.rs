//! The ordered index of one field: a persistent B+tree of slots, whose keys are
//! in the records. A clone is a snapshot that later changes leave alone.

use super::{
    slots::Slots,
    tree::{Edge, Id, Keys, Node},
};
use crate::cluster::{
    query::{High, KeyRange},
    record::{Field, Record},
};
use std::sync::Arc;

/// The keys of one field, in the order of the keys and then of the peers.
#[derive(Clone)]
pub(in crate::cluster) struct Ordered {
    field: Field,
    root: Arc<Node>,
}

impl Ordered {
    pub(in crate::cluster) fn new(field: Field) -> Self {
        Self { field, root: Arc::default() }
    }

    fn keys<'a>(&self, slots: &'a Slots) -> Keys<'a> {
        Keys { slots, field: self.field }
    }

    /// Puts in all keys of the record in a slot.
    pub(in crate::cluster) fn insert(&mut self, slot: u32, slots: &Slots) {
        let keys = self.keys(slots);
        let Some(record) = slots.get(slot) else { return };
        for nth in 0..record.keys(self.field) {
            let id = Id { slot, nth };
            let upper = Arc::make_mut(&mut self.root).insert(id, keys.key(id), keys);
            if let Some(upper) = upper {
                let lower = std::mem::take(&mut self.root);
                self.root = Arc::new(Node::above([lower, Arc::new(upper)], keys));
            }
        }
    }

    /// Takes out all keys of the record in a slot, which must still be there.
    pub(in crate::cluster) fn remove(&mut self, slot: u32, slots: &Slots) {
        let keys = self.keys(slots);
        let Some(record) = slots.get(slot) else { return };
        for nth in 0..record.keys(self.field) {
            let id = Id { slot, nth };
            Arc::make_mut(&mut self.root).remove(id, keys.key(id), keys);
            if let [only] = &self.root.children[..] {
                self.root = only.node.clone();
            }
        }
    }

    /// The entries of a range, from its lower end or from its upper one.
    pub(in crate::cluster) fn range(
        &self,
        range: KeyRange<'_>,
        reverse: bool,
        slots: &Slots,
    ) -> Cursor<'_> {
        let keys = self.keys(slots);
        let mut start = Cursor::new(reverse);
        let (low, high) = (Edge::Before(range.low), high_edge(&range));
        let (start_edge, end_edge) = if reverse { (high, low) } else { (low, high) };
        let from = start.seek(&self.root, start_edge, keys);
        let to = rank(&self.root, end_edge, keys);
        start.left = if reverse { from.saturating_sub(to) } else { to.saturating_sub(from) };
        start
    }

    /// The entries that [`range`](Self::range) has still to give after one of them, of
    /// which so many are left.
    pub(in crate::cluster) fn after(
        &self,
        last: Id,
        left: usize,
        reverse: bool,
        slots: &Slots,
    ) -> Cursor<'_> {
        let keys = self.keys(slots);
        let mut rest = Cursor::new(reverse);
        rest.seek(&self.root, Edge::At(keys.key(last), last), keys);
        if !reverse {
            rest.left = 1;
            rest.next();
        }
        rest.left = left;
        rest
    }

    /// The first record of a range from its lower end, and its slot.
    pub(in crate::cluster) fn first<'a>(
        &self,
        range: KeyRange<'_>,
        slots: &'a Slots,
    ) -> Option<(u32, &'a Record)> {
        let keys = self.keys(slots);
        let mut start = Cursor::new(false);
        start.left = 1;
        start.seek(&self.root, Edge::Before(range.low), keys);
        let id = start.next()?;
        let record = slots.get(id.slot)?;
        range.contains(record.key(self.field, id.nth).as_bytes()).then_some((id.slot, record))
    }
}

/// What lies just after all keys of the range.
fn high_edge<'q>(range: &KeyRange<'q>) -> Edge<'q> {
    match range.high {
        High::None => Edge::End,
        High::Included(high) => Edge::After(high),
        High::Prefix(prefix) => Edge::AfterPrefix(prefix),
    }
}

/// How many entries of a tree are before an edge.
fn rank(root: &Node, edge: Edge<'_>, keys: Keys<'_>) -> usize {
    if let Edge::End = edge {
        return root.count() as usize;
    }
    Cursor::new(false).seek(root, edge, keys)
}

/// Levels of a tree. Nodes have a quarter of [`WIDTH`](super::node::WIDTH)
/// children and more, all but a few, so that 2^32 entries fit.
const HEIGHT: usize = 12;

/// Goes over entries.
pub(in crate::cluster) struct Cursor<'a> {
    /// From the root to a leaf: a node, and which of its children is next in
    /// the path; in the leaf, the entry before which the cursor stands.
    path: [Option<(&'a Node, usize)>; HEIGHT],
    depth: usize,
    left: usize,
    reverse: bool,
}

impl<'a> Cursor<'a> {
    fn new(reverse: bool) -> Self {
        Self { path: [None; HEIGHT], depth: 0, left: 0, reverse }
    }

    /// How many entries are left.
    pub(in crate::cluster) fn left(&self) -> usize {
        self.left
    }

    /// Stands before the first entry after an edge. Gives back how many are
    /// before.
    fn seek(&mut self, root: &'a Node, edge: Edge<'_>, keys: Keys<'_>) -> usize {
        let (mut node, mut before) = (root, 0);
        self.depth = 0;
        loop {
            let rank = node.rank(edge, keys);
            let Some(place) = self.path.get_mut(self.depth) else { return before };
            if node.is_leaf() {
                *place = Some((node, rank));
                return before + rank;
            }
            let nth = Node::child_of(rank);
            before += node.children[..nth].iter().map(|child| child.count as usize).sum::<usize>();
            *place = Some((node, nth));
            self.depth += 1;
            node = &node.children[nth].node;
        }
    }

    /// Goes to the next leaf in the cursor's direction.
    fn turn_page(&mut self) -> Option<(&'a Node, usize)> {
        loop {
            self.depth = self.depth.checked_sub(1)?;
            let (node, nth) = self.path[self.depth].as_mut()?;
            let next = if self.reverse { nth.checked_sub(1) } else { Some(*nth + 1) };
            if let Some((next, child)) = next.and_then(|n| Some((n, node.children.get(n)?))) {
                *nth = next;
                let mut node: &'a Node = &child.node;
                loop {
                    self.depth += 1;
                    let end = if self.reverse { node.len() } else { 0 };
                    let place = self.path.get_mut(self.depth)?;
                    if node.is_leaf() {
                        *place = Some((node, end));
                        return *place;
                    }
                    let nth = if self.reverse { end - 1 } else { 0 };
                    *place = Some((node, nth));
                    node = &node.children[nth].node;
                }
            }
        }
    }
}

impl Iterator for Cursor<'_> {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        self.left = self.left.checked_sub(1)?;
        let (mut leaf, mut at) = self.path.get(self.depth).copied()??;
        if at == if self.reverse { 0 } else { leaf.len() } {
            (leaf, at) = self.turn_page()?;
        }
        let (entry, then) = if self.reverse { (at - 1, at - 1) } else { (at, at + 1) };
        self.path[self.depth] = Some((leaf, then));
        leaf.ids().get(entry).copied()
    }
}
