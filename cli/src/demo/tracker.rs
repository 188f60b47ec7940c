//! What the nodes of a demo have told so far. Pure: it is fed lines and times.

use crate::json::{Line, RecordLine, Said};
use std::{collections::BTreeMap, time::Duration};

/// What all nodes have told.
#[derive(Debug)]
pub struct Tracker {
    nodes: Vec<NodeState>,
}

/// What one node has told.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// Its id, once it listens.
    pub peer: Option<String>,
    /// Who it sees, itself left aside.
    pub others: BTreeMap<String, RecordLine>,
    /// When it first saw another.
    pub first_peer: Option<Duration>,
    /// When it first saw all of them.
    pub full_view: Option<Duration>,
    /// When another first answered it.
    pub first_answer: Option<Duration>,
    /// What that one said.
    pub answer: Option<String>,
}

impl Tracker {
    /// Nothing has been told yet.
    pub fn new(nodes: usize) -> Self {
        Self { nodes: vec![NodeState::default(); nodes] }
    }

    /// Takes what a node says, and when, from the moment it was started.
    pub fn take(&mut self, node: usize, line: &Line, at: Duration) {
        let wanted = self.nodes.len() - 1;
        let Some(state) = self.nodes.get_mut(node) else { return };
        match line {
            Line::Listening { peer, .. } => state.peer = Some(peer.clone()),
            Line::PeerJoined { record } | Line::PeerUpdated { record } => state.see(record),
            Line::PeerLeft { peer, .. } => {
                state.others.remove(peer);
            }
            Line::Reply { peer: Some(peer), said: Said::Text(text), .. }
                if state.peer.as_ref() != Some(peer) =>
            {
                state.first_answer.get_or_insert(at);
                state.answer.get_or_insert_with(|| text.clone());
            }
            Line::View { records, .. } => {
                state.others.clear();
                records.iter().for_each(|record| state.see(record));
            }
            _ => (),
        }
        if !state.others.is_empty() {
            state.first_peer.get_or_insert(at);
        }
        if state.peer.is_some() && state.others.len() >= wanted {
            state.full_view.get_or_insert(at);
        }
    }

    /// Each node's state.
    pub fn nodes(&self) -> &[NodeState] {
        &self.nodes
    }

    /// How many nodes see all others now.
    pub fn full(&self) -> usize {
        self.nodes.iter().filter(|node| node.others.len() + 1 == self.nodes.len()).count()
    }

    /// Whether every node sees all others now, and was answered by one of them.
    pub fn is_complete(&self) -> bool {
        let alone = self.nodes.len() == 1;
        let done =
            |node: &NodeState| node.full_view.is_some() && (alone || node.first_answer.is_some());
        self.nodes.iter().all(done) && self.full() == self.nodes.len()
    }

    /// How it went.
    pub fn summary(&self) -> Line {
        let ms = |t: Option<Duration>| t.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        Line::Summary {
            nodes: self.nodes.len(),
            complete: self.is_complete(),
            first_peer_ms: self.nodes.iter().map(|node| ms(node.first_peer)).collect(),
            full_view_ms: self.nodes.iter().map(|node| ms(node.full_view)).collect(),
            first_answer_ms: self.nodes.iter().map(|node| ms(node.first_answer)).collect(),
        }
    }
}

impl NodeState {
    fn see(&mut self, record: &RecordLine) {
        if self.peer.as_ref() != Some(&record.peer) {
            self.others.insert(record.peer.clone(), record.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(peer: &str) -> Line {
        Line::Listening { peer: peer.into(), addrs: Vec::new() }
    }

    fn joined(peer: &str) -> Line {
        let record = RecordLine {
            peer: peer.into(),
            server: String::new(),
            seq: "1".into(),
            ttl_ms: 1,
            host: String::new(),
            meta: BTreeMap::new(),
            addrs: Vec::new(),
            services: Default::default(),
            channels: Vec::new(),
            roles: Vec::new(),
            verified: true,
        };
        Line::PeerJoined { record }
    }

    fn answered(peer: &str) -> Line {
        Line::Reply {
            peer: Some(peer.into()),
            headers: BTreeMap::new(),
            said: Said::Text("hello".into()),
        }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_is_complete_when_every_node_sees_all_others_and_was_answered() {
        let mut tracker = Tracker::new(3);
        for (node, peer) in ["a", "b", "c"].into_iter().enumerate() {
            tracker.take(node, &listening(peer), MS);
            tracker.take(node, &joined(peer), MS);
        }
        assert_eq!(tracker.full(), 0);
        for (node, seen) in [(0, "b"), (0, "c"), (1, "a"), (1, "c"), (2, "a")] {
            tracker.take(node, &joined(seen), 5 * MS);
        }
        assert!(!tracker.is_complete());
        tracker.take(2, &joined("b"), 7 * MS);
        for (node, peer) in [(0, "b"), (1, "c"), (2, "c")] {
            assert!(!tracker.is_complete());
            tracker.take(node, &answered(peer), 8 * MS);
        }
        // It answered itself.
        assert!(!tracker.is_complete());
        tracker.take(2, &answered("a"), 9 * MS);
        assert!(tracker.is_complete());
        assert_eq!(
            tracker.summary(),
            Line::Summary {
                nodes: 3,
                complete: true,
                first_peer_ms: vec![Some(5); 3],
                full_view_ms: vec![Some(5), Some(5), Some(7)],
                first_answer_ms: vec![Some(8), Some(8), Some(9)],
            }
        );
    }

    #[test]
    fn a_peer_that_left_is_missed() {
        let mut tracker = Tracker::new(2);
        for (node, own, other) in [(0, "a", "b"), (1, "b", "a")] {
            tracker.take(node, &listening(own), MS);
            tracker.take(node, &joined(other), MS);
            tracker.take(node, &answered(other), MS);
        }
        assert!(tracker.is_complete());
        let left = Line::PeerLeft { peer: "b".into(), reason: "expired".into() };
        tracker.take(0, &left, 2 * MS);
        assert!(!tracker.is_complete());
    }
}
