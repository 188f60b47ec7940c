//! What is due for one peer, and goes to it in as few frames as can be.

use super::{config, peer::Unwanted};
use crate::{
    gossip::{id::MessageId, wire::FrameBuilder},
    pubsub::signed::SignedMessage,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// What waits for one peer. Empty, it holds no memory.
#[derive(Default)]
pub(super) struct Outbox {
    subscriptions: VecDeque<(Arc<str>, bool)>,
    /// Links that are made, or taken back for so long.
    links: VecDeque<(Arc<str>, Option<Duration>)>,
    messages: VecDeque<SignedMessage>,
    bytes: usize,
    iwant: Vec<MessageId>,
    ihave: VecDeque<(Arc<str>, Vec<MessageId>)>,
    offered: usize,
    idontwant: Vec<MessageId>,
    /// Whether messages waited for what is not wanted to be said.
    held_back: bool,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.subscriptions.is_empty()
            && self.links.is_empty()
            && self.iwant.is_empty()
            && self.ihave.is_empty()
            && self.idontwant.is_empty()
    }

    /// The messages alone: all else is said anew on another connection.
    pub(super) fn messages(self) -> Self {
        Self { messages: self.messages, bytes: self.bytes, ..Self::default() }
    }

    /// Whether there are messages enough for a frame, so that waiting for more
    /// would only hold them up.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= config::FULL || self.messages.len() >= config::MANY
    }

    /// The last word on a topic counts.
    pub(super) fn subscription(&mut self, topic: &Arc<str>, joined: bool) {
        self.subscriptions.retain(|(of, _)| of != topic);
        self.subscriptions.push_back((topic.clone(), joined));
    }

    /// The last word on a link counts.
    pub(super) fn link(&mut self, topic: &Arc<str>, prune: Option<Duration>) {
        self.links.retain(|(of, _)| of != topic);
        self.links.push_back((topic.clone(), prune));
    }

    /// The peer itself made the link: nothing is left to say of it.
    pub(super) fn no_link(&mut self, topic: &str) {
        self.links.retain(|(of, _)| **of != *topic);
    }

    /// The peer wants no link: one that was not yet asked for is not asked for any
    /// more.
    pub(super) fn no_graft(&mut self, topic: &str) {
        self.links.retain(|(of, prune)| **of != *topic || prune.is_some());
    }

    /// Adds a message; gives back how many older ones had to go for it.
    #[must_use]
    pub(super) fn message(&mut self, message: SignedMessage) -> u64 {
        self.bytes += message.encoded().len();
        self.messages.push_back(message);
        let mut lost = 0;
        while self.messages.len() > config::MAX_OUTBOX
            || (self.bytes > config::MAX_OUTBOX_BYTES && self.messages.len() > 1)
        {
            let oldest = self.messages.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.encoded().len());
            lost += 1;
        }
        lost
    }

    /// Takes a message back that the peer turns out to have, unless there are too
    /// many to look through.
    pub(super) fn withdraw(&mut self, id: &MessageId) {
        if self.messages.len() > config::MANY {
            return;
        }
        let place = self.messages.iter().position(|message| message.id() == id);
        if let Some(message) = place.and_then(|place| self.messages.remove(place)) {
            self.bytes -= message.encoded().len();
        }
    }

    /// Whether so many bytes more had better wait.
    pub(super) fn is_crowded(&self, bytes: usize) -> bool {
        let full = self.bytes + bytes > config::CROWDED_BYTES && !self.messages.is_empty();
        full || self.messages.len() >= config::CROWDED
    }

    /// How many more ids can be asked for.
    pub(super) fn room_for_asking(&self) -> usize {
        config::MAX_OUTBOX_IDS.saturating_sub(self.iwant.len())
    }

    /// Asks for messages; gives back for how many there was no room.
    #[must_use]
    pub(super) fn iwant(&mut self, ids: &[MessageId]) -> u64 {
        let room = self.room_for_asking();
        self.iwant.extend(ids.iter().take(room).cloned());
        ids.len().saturating_sub(room) as u64
    }

    /// How many more ids can be offered.
    pub(super) fn room_for_offers(&self) -> usize {
        config::MAX_OUTBOX_IDS.saturating_sub(self.offered)
    }

    pub(super) fn ihave(&mut self, topic: &Arc<str>, ids: Vec<MessageId>) {
        if !ids.is_empty() {
            self.offered += ids.len();
            self.ihave.push_back((topic.clone(), ids));
        }
    }

    /// Says what is not wanted; whether there was room for it. (Of so many, the
    /// peer may as well send some.)
    #[must_use]
    pub(super) fn idontwant(&mut self, id: &MessageId) -> bool {
        let room = self.idontwant.len() < config::MAX_UNWANTED;
        if room {
            self.idontwant.push(id.clone());
        }
        room
    }

    /// Messages that wait.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The next frame, with no more than so many messages, if there is anything
    /// to say; and whether there are messages in it.
    pub(super) fn frame(
        &mut self,
        unwanted: &Unwanted,
        at_a_time: usize,
    ) -> Option<(Vec<u8>, bool)> {
        let mut frame = FrameBuilder::new();
        while let Some((topic, joined)) = self.subscriptions.front()
            && frame.subscription(*joined, topic)
        {
            self.subscriptions.pop_front();
        }
        // A link to a topic is made after the topic was joined.
        while self.subscriptions.is_empty()
            && let Some((topic, prune)) = self.links.front()
            && match prune {
                None => frame.graft(topic),
                Some(backoff) => frame.prune(topic, *backoff),
            }
        {
            self.links.pop_front();
        }
        let taken = frame.iwant(&self.iwant);
        drain(&mut self.iwant, taken);
        // Once: there may always be more to say.
        let hold_back = !self.idontwant.is_empty() && !self.held_back;
        self.held_back = false;
        let taken = frame.idontwant(&self.idontwant);
        drain(&mut self.idontwant, taken);
        while let Some((topic, ids)) = self.ihave.front_mut() {
            let taken = frame.ihave(topic, ids);
            self.offered -= taken;
            drain(ids, taken);
            if !ids.is_empty() {
                break;
            }
            self.ihave.pop_front();
        }
        let mut sent = 0;
        // What is not wanted is said before what takes its time.
        while sent < at_a_time
            && let Some(message) = self.messages.front()
        {
            if hold_back && message.encoded().len() >= config::LARGE {
                self.held_back = true;
                break;
            }
            if !unwanted.contains(message.id()) {
                if !frame.message(message) {
                    break;
                }
                sent += 1;
            }
            self.bytes -= message.encoded().len();
            self.messages.pop_front();
        }
        // Room that a burst took.
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        (!frame.is_empty()).then(|| (frame.finish(), sent > 0))
    }
}

/// Takes the first ones out; an empty list holds no memory.
fn drain(ids: &mut Vec<MessageId>, taken: usize) {
    ids.drain(..taken);
    if ids.is_empty() {
        *ids = Vec::new();
    }
}
