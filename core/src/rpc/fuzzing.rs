//! Entrances for fuzzing, to what is not public.

use super::{
    encoding::{Decoder, Encoding},
    lz4::Deframer,
    source::Source,
};

/// The largest message that is accepted, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Reads bytes as messages of an encoding, in pieces of a size. Gives the
/// messages' sizes in words, and what ended it.
pub fn messages(encoding: Encoding, bytes: &[u8], piece: usize) -> (Vec<usize>, &'static str) {
    let mut decoder = Decoder::new(encoding, MAX_MESSAGE);
    let mut sizes = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => sizes.push(message.size_in_words()),
                Ok(None) => break,
                Err(error) => return (sizes, error.label()),
            }
        }
    }
    (sizes, decoder.end().err().map_or("end", |error| error.label()))
}

/// Decompresses LZ4 frames that come in pieces of a size, blocks of `max_block`
/// bytes at most. Gives what came out until then, and what ended it.
pub fn decompress(bytes: &[u8], piece: usize, max_block: usize) -> (Vec<u8>, &'static str) {
    let mut deframer = Deframer::new(max_block);
    let mut whole = Vec::new();
    // One by one: an error takes with it what was pulled in the same call.
    let mut some = [0; 1];
    for piece in bytes.chunks(piece.max(1)) {
        deframer.input().push(piece);
        loop {
            match deframer.pull(&mut some) {
                Ok(0) => break,
                Ok(n) => whole.extend_from_slice(&some[..n]),
                Err(error) => return (whole, error.label()),
            }
        }
    }
    (whole, "end")
}
