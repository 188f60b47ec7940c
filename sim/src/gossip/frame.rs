//! What is in a frame: the fields of gossipsub's protobuf
//! (<https://github.com/libp2p/specs/blob/master/pubsub/gossipsub/gossipsub-v1.2.md>),
//! as far as the model has to know them.

use rand::{Rng, RngExt};

/// Fields of an RPC.
const PUBLISH: u64 = 2;
const CONTROL: u64 = 3;
/// Fields of its control part.
const IHAVE: u64 = 1;
const IWANT: u64 = 2;
const IDONTWANT: u64 = 5;

/// What a frame holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub messages: u64,
    /// The bytes of messages, and those of all.
    pub message_bytes: u64,
    pub bytes: u64,
    /// Ids that are asked for.
    pub asked: u64,
}

/// Looks into a frame.
pub fn content(frame: &[u8]) -> Content {
    let mut content = Content { bytes: frame.len() as u64, ..Content::default() };
    for field in fields(body(frame)) {
        match field.number {
            PUBLISH => {
                content.messages += 1;
                content.message_bytes += field.whole.len() as u64;
            }
            CONTROL => {
                let asks = fields(field.value).filter(|part| part.number == IWANT);
                content.asked += asks.map(|ask| fields(ask.value).count() as u64).sum::<u64>();
            }
            _ => {}
        }
    }
    content
}

/// How many messages are in a frame without its length.
pub fn messages(body: &[u8]) -> u64 {
    fields(body).filter(|field| field.number == PUBLISH).count() as u64
}

/// What a frame's receiver decodes: the frame without its length.
pub fn body(frame: &[u8]) -> &[u8] {
    varint(frame).map_or(&[], |(_, rest)| rest)
}

/// What is dropped on the way. Subscriptions, GRAFT and PRUNE are not: each
/// side would believe something else for ever, which TCP does not do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drops {
    /// The chance of each message, offer and request.
    pub loss: f64,
    /// Messages, all of them.
    pub messages: bool,
    /// Offers, all of them.
    pub offers: bool,
}

impl Drops {
    /// What is left of a frame, without its length.
    pub fn apply(self, frame: &[u8], rng: &mut impl Rng) -> Vec<u8> {
        let mut left = Vec::with_capacity(frame.len());
        for field in fields(body(frame)) {
            match field.number {
                PUBLISH if self.messages || rng.random_bool(self.loss) => {}
                CONTROL => {
                    let mut control = Vec::with_capacity(field.value.len());
                    for part in fields(field.value) {
                        let may = matches!(part.number, IHAVE | IWANT | IDONTWANT);
                        let all = self.offers && part.number == IHAVE;
                        if !(all || may && rng.random_bool(self.loss)) {
                            control.extend_from_slice(part.whole);
                        }
                    }
                    if !control.is_empty() {
                        put_bytes(&mut left, CONTROL, &control);
                    }
                }
                _ => left.extend_from_slice(field.whole),
            }
        }
        left
    }
}

/// Writes a field.
fn put_bytes(to: &mut Vec<u8>, number: u64, value: &[u8]) {
    put_varint(to, number << 3 | 2);
    put_varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

struct Field<'a> {
    number: u64,
    /// With its tag and length.
    whole: &'a [u8],
    value: &'a [u8],
}

/// The fields of a protobuf message of our own making, all of which have a
/// length.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        let (tag, rest) = varint(bytes)?;
        let (len, rest) = varint(rest)?;
        let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        let whole = &bytes[..bytes.len() - rest.len()];
        bytes = rest;
        Some(Field { number: tag >> 3, whole, value })
    })
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    fn frame() -> Vec<u8> {
        let mut ask = vec![];
        put_bytes(&mut ask, 1, b"one id");
        put_bytes(&mut ask, 1, b"another");
        let mut control = vec![];
        put_bytes(&mut control, IHAVE, b"offer");
        put_bytes(&mut control, IWANT, &ask);
        put_bytes(&mut control, 3, b"graft");
        let mut rpc = vec![];
        put_bytes(&mut rpc, 1, b"subscription");
        put_bytes(&mut rpc, PUBLISH, &[7; 300]);
        put_bytes(&mut rpc, CONTROL, &control);
        let mut frame = vec![];
        put_varint(&mut frame, rpc.len() as u64);
        [frame, rpc].concat()
    }

    #[test]
    fn a_frame_is_looked_into() {
        let frame = frame();
        let content = content(&frame);
        assert_eq!((content.messages, content.message_bytes), (1, 303));
        assert_eq!((content.asked, content.bytes), (2, frame.len() as u64));
    }

    #[test]
    fn what_is_dropped_leaves_the_rest() {
        let (frame, rng) = (frame(), &mut rng::stream(1, 0, 0));
        let left = |drops: Drops, rng: &mut _| drops.apply(&frame, rng);
        assert_eq!(left(Drops::default(), rng), body(&frame));
        let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|w| w == part);
        let all = left(Drops { loss: 1.0, ..Drops::default() }, rng);
        assert!(has(&all, b"subscription") && has(&all, b"graft"));
        assert!(!has(&all, b"offer") && !has(&all, b"one id") && !has(&all, &[7; 300]));
        let messages = left(Drops { messages: true, ..Drops::default() }, rng);
        assert!(has(&messages, b"offer") && !has(&messages, &[7; 300]));
        let silent = left(Drops { messages: true, offers: true, ..Drops::default() }, rng);
        assert!(!has(&silent, b"offer") && has(&silent, b"another"));
    }
}
