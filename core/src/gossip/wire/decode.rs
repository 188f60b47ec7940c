//! Reads a frame.

use super::{
    MAX_BACKOFF, MAX_FRAME, MAX_IDS, MAX_MESSAGES, MAX_TOPIC, MAX_TOPICS, Malformed, MessageId,
    Prune, Rpc, SignedMessage, Subscription,
};
use crate::pubsub::fields::{Fields, Value};
use std::time::Duration;

impl Rpc {
    /// Decodes a frame, without its length. What is known is read, all else is
    /// skipped at every level: extensions of later versions, partial messages,
    /// the peers of a PRUNE, known fields with another kind of value.
    ///
    /// Memory is taken for what is kept only: some 4 MiB beside the frame's own
    /// bytes at most. Nothing is verified.
    ///
    /// # Errors
    /// If the frame is longer than [`MAX_FRAME`], or isn't protobuf.
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        if frame.len() > MAX_FRAME {
            return Err(Malformed);
        }
        let mut reader = Reader::default();
        for field in Fields(frame) {
            match field? {
                (1, Value::Bytes(subscription)) => reader.subscription(subscription)?,
                (2, Value::Bytes(message)) => reader.message(message)?,
                (3, Value::Bytes(control)) => reader.control(control)?,
                _ => {}
            }
        }
        Ok(reader.rpc)
    }
}

#[derive(Default)]
struct Reader {
    rpc: Rpc,
    /// Ids of all IHAVEs.
    offered: usize,
}

impl Reader {
    fn subscription(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut subscribe, mut name) = (false, None);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Number(number)) => subscribe = number != 0,
                (2, Value::Bytes(bytes)) => name = Some(bytes),
                _ => {}
            }
        }
        if let Some(topic) = self.topic(name, self.rpc.subscriptions.len()) {
            self.rpc.subscriptions.push(Subscription { subscribe, topic });
        }
        Ok(())
    }

    fn message(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.rpc.messages.len() == MAX_MESSAGES {
            refuse(&mut self.rpc.refused, "too-many");
            return Ok(());
        }
        match SignedMessage::decode(bytes) {
            Ok(message) => self.rpc.messages.push(message),
            // Whoever passed it on may read it.
            Err(error) => refuse(&mut self.rpc.refused, error.label()),
        }
        Ok(())
    }

    fn control(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        for field in Fields(bytes) {
            let (tag, Value::Bytes(bytes)) = field? else { continue };
            let rpc = &mut self.rpc;
            match tag {
                1 => self.ihave(bytes)?,
                2 => ids(bytes, &mut rpc.iwant, &mut rpc.refused)?,
                3 => self.graft(bytes)?,
                4 => self.prune(bytes)?,
                5 => ids(bytes, &mut rpc.idontwant, &mut rpc.refused)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn ihave(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut name, mut ids) = (None, Vec::new());
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => name = Some(bytes),
                (2, Value::Bytes(id)) => {
                    take_id(id, &mut ids, MAX_IDS - self.offered, &mut self.rpc.refused);
                }
                _ => {}
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        if let Some(topic) = self.topic(name, self.rpc.ihave.len()) {
            self.offered += ids.len();
            self.rpc.ihave.push((topic, ids));
        }
        Ok(())
    }

    fn graft(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut name = None;
        for field in Fields(bytes) {
            if let (1, Value::Bytes(bytes)) = field? {
                name = Some(bytes);
            }
        }
        let topic = self.topic(name, self.rpc.graft.len());
        self.rpc.graft.extend(topic);
        Ok(())
    }

    fn prune(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut name, mut backoff) = (None, None);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => name = Some(bytes),
                (3, Value::Number(seconds)) => backoff = Some(Duration::from_secs(seconds)),
                _ => {}
            }
        }
        if let Some(topic) = self.topic(name, self.rpc.prune.len()) {
            let backoff = backoff.map(|backoff| backoff.min(MAX_BACKOFF));
            self.rpc.prune.push(Prune { topic, backoff });
        }
        Ok(())
    }

    /// A topic's name, unless there are as many already as are taken.
    fn topic(&mut self, name: Option<&[u8]>, have: usize) -> Option<String> {
        let reason = match name.map(str::from_utf8) {
            _ if have == MAX_TOPICS => "too-many",
            Some(Ok(name)) if name.len() <= MAX_TOPIC => return Some(name.to_owned()),
            Some(Ok(_)) => "too-large",
            _ => "malformed",
        };
        refuse(&mut self.rpc.refused, reason);
        None
    }
}

type Refused = Vec<(&'static str, u32)>;

/// The ids of an IWANT or an IDONTWANT.
fn ids(bytes: &[u8], to: &mut Vec<MessageId>, refused: &mut Refused) -> Result<(), Malformed> {
    for field in Fields(bytes) {
        if let (1, Value::Bytes(id)) = field? {
            take_id(id, to, MAX_IDS, refused);
        }
    }
    Ok(())
}

fn take_id(id: &[u8], to: &mut Vec<MessageId>, most: usize, refused: &mut Refused) {
    match MessageId::from_wire(id) {
        _ if to.len() >= most => refuse(refused, "too-many"),
        Some(id) => to.push(id),
        None => refuse(refused, "bad-id"),
    }
}

fn refuse(refused: &mut Refused, reason: &'static str) {
    match refused.iter_mut().find(|(other, _)| *other == reason) {
        Some((_, count)) => *count += 1,
        None => refused.push((reason, 1)),
    }
}
