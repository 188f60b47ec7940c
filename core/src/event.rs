//! What happens to a node, and the bus that carries it to listeners.

use crate::{
    PeerInfo,
    bus::{Bus, Listener},
    cluster::Record,
    metrics::{ByLabel, Metrics},
    nat::Reachability,
};
use futures::{Stream, StreamExt};
use libp2p::{Multiaddr, PeerId};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The node listens at these addresses, each with its `/p2p/<id>`. Comes
    /// again when they change.
    Listening {
        /// The node's own id.
        peer: PeerId,
        /// All addresses at which it can be reached.
        addrs: Vec<Multiaddr>,
    },
    /// A peer came into the cluster view.
    PeerJoined {
        /// What it says of itself.
        record: Record,
    },
    /// A peer said something new: its host, meta, addresses, server number or roles
    /// changed. Another TTL alone is no news: it follows the size of the cluster.
    PeerUpdated {
        /// What it says of itself now.
        record: Record,
    },
    /// A peer is no longer in the cluster view.
    PeerLeft {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: LeaveReason,
    },
    /// Discovery found a peer. Told once of each peer and boot address, and
    /// again when it has an address that was not told.
    PeersFound {
        /// The boot address that led to it.
        source: String,
        /// The peer.
        peer: PeerInfo,
    },
    /// The peer-exchange view holds other peers than before.
    ViewChanged {
        /// The peers it holds now.
        peers: Vec<PeerId>,
    },
    /// The first connection to a peer was made.
    Connected {
        /// The peer.
        peer: PeerId,
    },
    /// The last connection to a peer was closed.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer is connected over a relay alone.
    Relayed {
        /// The peer.
        peer: PeerId,
    },
    /// A peer that was connected over a relay is connected directly.
    Direct {
        /// The peer.
        peer: PeerId,
    },
    /// Whether others can reach this node, or where, is another than it was.
    ReachabilityChanged {
        /// What is known now.
        reachability: Reachability,
    },
    /// This node's clock and those of its connected peers differ by more than a
    /// minute, for half a minute at least. Comes once, and again only after they
    /// have agreed. Nothing is accepted or refused because of it; but heartbeats
    /// are refused that are more than ten minutes ahead of a clock.
    ClockDiffers {
        /// How far the clocks of the peers are ahead of this node's, in
        /// milliseconds, as the median; negative if this node's is ahead.
        offset_ms: i64,
        /// The peers whose clocks were compared, one of each network. If it is
        /// one alone, either clock may be wrong.
        peers: Vec<PeerId>,
    },
    /// Another node that runs now uses this node's key: its machine or its data
    /// is a copy, and neither works as it should, since others see one peer.
    /// Comes once, at both, and again only after it was over for ten minutes.
    /// Give each node a key of its own.
    KeyShared {
        /// What the other node says of itself, under the same id.
        record: Record,
    },
    /// The listener was too slow: the oldest events were dropped.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// Why a peer is no longer in the cluster view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaveReason {
    /// It said goodbye.
    Left,
    /// Its TTL passed without a heartbeat.
    Expired,
    /// Peers that were connected to it say that it answers no more, and it did not
    /// contradict them: it crashed, or was cut off.
    Failed,
}

impl LeaveReason {
    /// The reason's name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}

/// Carries events to any number of listeners. Each has a bounded queue, whose
/// oldest events are dropped when it overflows. Clones share the listeners.
#[derive(Clone, Debug)]
pub(crate) struct EventBus {
    events: Bus<Event>,
    dropped: ByLabel,
}

impl EventBus {
    /// Events that a listener may lag behind before it loses the oldest.
    pub(crate) const CAPACITY: usize = 4096;

    /// A bus whose queue and whose losses show in the metrics.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let bus = Self { dropped: metrics.dropped.clone(), ..Self::default() };
        metrics.watch_queue("events", bus.events.depth());
        bus
    }

    pub(crate) fn emit(&self, event: Event) {
        self.events.send(event);
    }

    /// Ends it for all listeners, when nothing more can happen.
    pub(crate) fn close(&self) {
        self.events.close();
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events { events: self.events.listen(), dropped: self.dropped.clone() }
    }
}

impl Default for EventBus {
    fn default() -> Self {
        Self { events: Bus::new(Self::CAPACITY), dropped: ByLabel::default() }
    }
}

/// The events of a node, from the moment of subscribing: a
/// [`Stream`] that is over after the last event of a closed
/// node. Where some were lost it has [`Event::Dropped`]: whoever counts members by what
/// happens to them begins again with a [view](crate::Node::view), or follows a
/// [live query](crate::Node::subscribe), which does that by itself.
#[derive(Debug)]
pub struct Events {
    events: Listener<Event>,
    dropped: ByLabel,
}

impl Events {
    /// The next event, as of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        StreamExt::next(self).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        Poll::Ready(ready!(self.events.poll_next_unpin(cx)).map(|event| {
            event.unwrap_or_else(|count| {
                self.dropped.get_or_create(&[("queue", "events")]).inc_by(count);
                Event::Dropped { count }
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_slow_listener_loses_is_told_and_counted() {
        let metrics = Metrics::default();
        let bus = EventBus::new(&metrics);
        let mut events = bus.subscribe();
        let event = Event::Connected { peer: PeerId::random() };
        for _ in 0..EventBus::CAPACITY + 10 {
            bus.emit(event.clone());
        }
        let text = metrics.encode();
        let full = format!("casm_queue_depth{{queue=\"events\"}} {}\n", EventBus::CAPACITY);
        assert!(text.contains(&full), "{text}");
        assert_eq!(events.next().await.unwrap(), Event::Dropped { count: 10 });
        assert_eq!(events.next().await.unwrap(), event);
        let text = metrics.encode();
        assert!(text.contains("casm_dropped_total{queue=\"events\"} 10\n"), "{text}");
        // The metrics keep no closed bus open.
        drop(bus);
        while let Some(event) = events.next().await {
            assert!(matches!(event, Event::Connected { .. }));
        }
        assert!(metrics.encode().contains("casm_queue_depth{queue=\"events\"} 0\n"));
    }
}
