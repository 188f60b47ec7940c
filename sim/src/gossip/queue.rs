//! What happens next.

use casm::gossip::engine::CheckId;
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// Something that happens. Nodes are given by their places; what is meant for
/// one life of a node, or for one connection, says which, and comes to nothing
/// after it.
#[derive(Debug)]
pub enum Event {
    /// A node starts.
    Start(usize),
    /// A node crashes.
    Crash(usize),
    /// It looks after its connections.
    Care(usize, u32),
    /// The engine of a node wants to be called.
    Wake(usize, u32),
    /// A connection that a node makes is there, or not.
    Dialled { from: usize, life: u32, to: usize },
    /// A node learns that a connection is gone.
    Gone { at: usize, connection: u64, with: usize },
    /// The frame that was under way to a peer is written.
    Sent { at: usize, connection: u64, to: usize },
    /// A frame arrives.
    Arrived { at: usize, connection: u64, from: usize, frame: Vec<u8> },
    /// A signature is checked.
    Checked(usize, u32, CheckId),
    /// A message is published.
    Publish,
}

/// Events in the order of their times, and of when they were added.
#[derive(Default)]
pub struct Queue {
    order: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    /// The events, at places that are used again.
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    added: u64,
}

impl Queue {
    pub fn push(&mut self, at: Duration, event: Event) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.events.push(None);
                self.events.len() - 1
            }
        };
        self.events[place] = Some(event);
        self.order.push(Reverse((at, self.added, place)));
        self.added += 1;
    }

    pub fn pop(&mut self) -> Option<(Duration, Event)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        Some((at, self.events[place].take()?))
    }

    /// How many there were.
    pub fn added(&self) -> u64 {
        self.added
    }
}
