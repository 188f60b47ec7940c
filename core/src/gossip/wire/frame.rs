//! Makes frames.

use super::{MessageId, SignedMessage};
use crate::pubsub::fields::{field_len, write_field, write_number};
use prost::encoding::encode_varint;
use std::time::Duration;

/// Bytes of a frame with more than one message, its length included.
///
/// rust-libp2p's nodes take 64 KiB, and count what they have read of the next
/// frame, up to 8 KiB, as part of this one (0.50).
const FRAME: usize = 56 * 1024;
/// Bytes of subscriptions and control in a frame: rust-libp2p's nodes take 16 KiB.
const CONTROL: usize = 15_000;
/// Messages in a frame: rust-libp2p's nodes take 500.
const MESSAGES: usize = 500;
/// Ids that need not be sent, in a frame: Go's nodes skip those above 10.
const UNWANTED: usize = 10;
/// What precedes a field shorter than 2 MiB takes this much at most.
const HEADER: usize = 4;
/// What precedes the control message, and in it the lists of ids that are asked
/// for and need not be sent.
const HEADERS: usize = 3 * HEADER;

/// Makes one frame, within what other implementations take. What does not fit
/// is for the next one; in an empty frame there is room for anything once.
///
/// # Examples
/// ```
/// use casm::gossip::wire::{FrameBuilder, Rpc};
///
/// let mut frame = FrameBuilder::new();
/// assert!(frame.subscription(true, "casm") && frame.graft("casm"));
/// let frame = frame.finish();
/// assert_eq!(frame[0] as usize, frame.len() - 1);
/// assert_eq!(Rpc::decode(&frame[1..]).unwrap().graft, ["casm"]);
/// ```
#[derive(Debug, Default)]
pub struct FrameBuilder {
    subscriptions: Vec<u8>,
    messages: Vec<SignedMessage>,
    /// Bytes of the messages' fields.
    published: usize,
    /// IHAVEs, GRAFTs and PRUNEs.
    control: Vec<u8>,
    iwant: Vec<u8>,
    idontwant: Vec<u8>,
    unwanted: usize,
}

impl FrameBuilder {
    /// An empty frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that a topic is joined, or left. `false` if that does not fit.
    pub fn subscription(&mut self, subscribe: bool, topic: &str) -> bool {
        let mut entry = Vec::with_capacity(2 + field_len(topic.len()));
        write_number(1, subscribe.into(), &mut entry);
        write_field(2, topic.as_bytes(), &mut entry);
        let fits = field_len(entry.len()) <= self.room();
        if fits {
            write_field(1, &entry, &mut self.subscriptions);
        }
        fits
    }

    /// Takes the peer into the mesh of a topic. `false` if that does not fit.
    pub fn graft(&mut self, topic: &str) -> bool {
        let mut entry = Vec::with_capacity(field_len(topic.len()));
        write_field(1, topic.as_bytes(), &mut entry);
        self.entry(3, &entry)
    }

    /// Takes the peer out of the mesh of a topic, where it is not to GRAFT for
    /// this long (told in seconds, rounded up). `false` if that does not fit.
    pub fn prune(&mut self, topic: &str, backoff: Duration) -> bool {
        let seconds = backoff.as_secs() + u64::from(backoff.subsec_nanos() > 0);
        let mut entry = Vec::with_capacity(field_len(topic.len()) + 11);
        write_field(1, topic.as_bytes(), &mut entry);
        write_number(3, seconds, &mut entry);
        self.entry(4, &entry)
    }

    /// Offers messages of a topic. How many of them fit.
    pub fn ihave(&mut self, topic: &str, ids: &[MessageId]) -> usize {
        let name = field_len(topic.len());
        let Some(room) = self.room().checked_sub(HEADER + name) else { return 0 };
        let count = fitting(ids, room);
        if count > 0 {
            let mut entry = Vec::with_capacity(name + count * field_len(MessageId::MAX_LEN));
            write_field(1, topic.as_bytes(), &mut entry);
            write_ids(2, &ids[..count], &mut entry);
            write_field(1, &entry, &mut self.control);
        }
        count
    }

    /// Asks for messages. How many of them fit.
    pub fn iwant(&mut self, ids: &[MessageId]) -> usize {
        let count = fitting(ids, self.room());
        write_ids(1, &ids[..count], &mut self.iwant);
        count
    }

    /// Says which messages need not be sent. How many of them fit.
    pub fn idontwant(&mut self, ids: &[MessageId]) -> usize {
        let ids = &ids[..ids.len().min(UNWANTED - self.unwanted)];
        let count = fitting(ids, self.room());
        write_ids(1, &ids[..count], &mut self.idontwant);
        self.unwanted += count;
        count
    }

    /// Adds a message. `false` if it does not fit; one that is longer than other
    /// frames may be gets a frame of its own.
    pub fn message(&mut self, message: &SignedMessage) -> bool {
        let len = field_len(message.encoded().len());
        let fits = self.messages.len() < MESSAGES && len <= self.left();
        let fits = fits || self.is_empty();
        if fits {
            self.messages.push(message.clone());
            self.published += len;
        }
        fits
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.controlling() == 0
    }

    /// The frame with its length before it, as it is written to a stream.
    pub fn finish(self) -> Vec<u8> {
        let mut control = self.control;
        for (tag, ids) in [(2, self.iwant), (5, self.idontwant)] {
            if !ids.is_empty() {
                write_field(tag, &ids, &mut control);
            }
        }
        let around = if control.is_empty() { 0 } else { field_len(control.len()) };
        let len = self.subscriptions.len() + self.published + around;
        let mut frame = Vec::with_capacity(HEADER + len);
        encode_varint(len as u64, &mut frame);
        frame.extend_from_slice(&self.subscriptions);
        for message in &self.messages {
            write_field(2, message.encoded(), &mut frame);
        }
        if !control.is_empty() {
            write_field(3, &control, &mut frame);
        }
        frame
    }

    fn entry(&mut self, tag: u32, entry: &[u8]) -> bool {
        let fits = field_len(entry.len()) <= self.room();
        if fits {
            write_field(tag, entry, &mut self.control);
        }
        fits
    }

    /// Bytes of subscriptions and control.
    fn controlling(&self) -> usize {
        self.subscriptions.len() + self.control.len() + self.iwant.len() + self.idontwant.len()
    }

    /// Bytes that are left.
    fn left(&self) -> usize {
        (FRAME - HEADER - HEADERS).saturating_sub(self.published + self.controlling())
    }

    /// Bytes that are left for subscriptions and control.
    fn room(&self) -> usize {
        (CONTROL - HEADERS).saturating_sub(self.controlling()).min(self.left())
    }
}

/// How many of these ids fit.
fn fitting(ids: &[MessageId], mut room: usize) -> usize {
    let fits = |id: &&MessageId| match room.checked_sub(field_len(id.as_bytes().len())) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    ids.iter().take_while(fits).count()
}

fn write_ids(tag: u32, ids: &[MessageId], to: &mut Vec<u8>) {
    for id in ids {
        write_field(tag, id.as_bytes(), to);
    }
}
