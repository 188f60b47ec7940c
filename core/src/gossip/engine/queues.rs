//! What waits on a topic to be checked: that of each forwarding peer in a queue
//! of its own, taken in turn. Who floods waits for himself.

use super::{checks::CheckId, peer::PeerKey};
use std::collections::{BTreeMap, VecDeque};

/// A message that waits in a peer's queue. It may wait in those of others too,
/// and be gone when its turn comes.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) check: CheckId,
    pub(super) bytes: usize,
}

/// The queues of one topic. An empty one is not there.
#[derive(Default)]
pub(super) struct Queues {
    of: BTreeMap<PeerKey, VecDeque<Waiting>>,
    turns: VecDeque<PeerKey>,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn push(&mut self, key: PeerKey, waiting: Waiting) {
        let queue = self.of.entry(key).or_default();
        if queue.is_empty() {
            self.turns.push_back(key);
        }
        queue.push_back(waiting);
    }

    /// What is next of the peer whose turn it is: the turn stays its own until
    /// [`pass`](Self::pass).
    pub(super) fn next(&mut self) -> Option<(PeerKey, Waiting)> {
        let key = *self.turns.front()?;
        let queue = self.of.get_mut(&key)?;
        let next = queue.pop_front()?;
        if queue.is_empty() {
            self.of.remove(&key);
            self.turns.pop_front();
        }
        Some((key, next))
    }

    /// The peer has had its turn.
    pub(super) fn pass(&mut self, key: PeerKey) {
        if self.turns.front() == Some(&key) {
            self.turns.rotate_left(1);
        }
    }

    /// How many messages of a peer wait.
    pub(super) fn len(&self, key: PeerKey) -> usize {
        self.of.get(&key).map_or(0, VecDeque::len)
    }

    /// Takes out what came last from a peer.
    pub(super) fn pop_last(&mut self, key: PeerKey) -> Option<Waiting> {
        let queue = self.of.get_mut(&key)?;
        let last = queue.pop_back();
        if queue.is_empty() {
            self.remove(key);
        }
        last
    }

    /// Takes out all of a peer.
    pub(super) fn remove(&mut self, key: PeerKey) -> VecDeque<Waiting> {
        self.turns.retain(|turn| *turn != key);
        self.of.remove(&key).unwrap_or_default()
    }

    /// Takes out all.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (PeerKey, Waiting)> + use<> {
        let Self { of, .. } = std::mem::take(self);
        of.into_iter().flat_map(|(key, queue)| queue.into_iter().map(move |next| (key, next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(n: u64) -> Waiting {
        Waiting { check: CheckId(n), bytes: 1 }
    }

    #[test]
    fn peers_have_their_turns_however_much_they_bring() {
        let mut queues = Queues::default();
        (0..100).for_each(|n| queues.push(PeerKey(1), waiting(n)));
        (100..103).for_each(|n| queues.push(PeerKey(2), waiting(n)));
        let mut order = Vec::new();
        while let Some((key, next)) = queues.next() {
            queues.pass(key);
            order.push(next.check.0);
        }
        assert_eq!(order[..8], [0, 100, 1, 101, 2, 102, 3, 4]);
        assert!(order.len() == 103 && queues.is_empty() && queues.turns.is_empty());
    }

    #[test]
    fn what_is_taken_out_leaves_no_turn() {
        let mut queues = Queues::default();
        for n in 0..4 {
            queues.push(PeerKey(1), waiting(n));
            queues.push(PeerKey(2), waiting(10 + n));
        }
        assert_eq!(queues.pop_last(PeerKey(1)).map(|last| last.check), Some(CheckId(3)));
        assert_eq!((queues.len(PeerKey(1)), queues.remove(PeerKey(1)).len()), (3, 3));
        assert!(queues.pop_last(PeerKey(1)).is_none());
        (0..4).for_each(|_| assert!(queues.pop_last(PeerKey(2)).is_some()));
        assert!(queues.next().is_none() && queues.turns.is_empty());
        queues.push(PeerKey(3), waiting(5));
        assert_eq!(queues.take().map(|(key, _)| key).collect::<Vec<_>>(), [PeerKey(3)]);
        assert!(queues.is_empty() && queues.turns.is_empty());
    }
}
