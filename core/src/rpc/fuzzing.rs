//! Entrances for fuzzing, to what is not public.

use super::encoding::{Decoder, Encoding};

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
