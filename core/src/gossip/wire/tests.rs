mod hostile;
mod others;
mod round_trip;

use super::*;
use crate::pubsub::fields::write_field;
use std::sync::LazyLock;

/// Fields of a message, one after the other.
fn fields(of: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, value) in of {
        write_field(*tag, value, &mut bytes);
    }
    bytes
}

fn id(n: u64) -> MessageId {
    MessageId::new(&crate::vectors::peer("ed25519-1").to_bytes(), n.to_be_bytes())
}

fn ids(n: u64) -> Vec<MessageId> {
    (0..n).map(id).collect()
}

fn message(seq: u64, len: usize) -> SignedMessage {
    static KEY: LazyLock<crate::Keypair> = LazyLock::new(|| crate::vectors::key("ed25519-1"));
    SignedMessage::sign(&KEY, "casm", seq, &vec![7; len]).unwrap()
}

/// What a frame holds, whose length must be right.
fn content(frame: &[u8]) -> &[u8] {
    let (len, content) = unsigned_varint::decode::usize(frame).unwrap();
    assert_eq!(content.len(), len);
    content
}

fn decode(frame: FrameBuilder) -> Rpc {
    Rpc::decode(content(&frame.finish())).unwrap()
}
