//! Writes Cap'n Proto segments in the packed encoding, with the segment table
//! in front (<https://capnproto.org/encoding.html#packing>).
//!
//! The library packs only whole messages that it built itself, which have no
//! room for words that nothing refers to.

/// Packs a message of these segments, whose lengths are multiples of 8.
pub(super) fn pack(segments: &[&[u8]]) -> Vec<u8> {
    let count = segments.len() as u32;
    let mut table: Vec<u8> = count.wrapping_sub(1).to_le_bytes().into();
    for segment in segments {
        table.extend(((segment.len() / 8) as u32).to_le_bytes());
    }
    table.resize(table.len().next_multiple_of(8), 0);
    // Readers take the first word, the rest of the table and the segments
    // apart, and some refuse a run that goes across.
    let (first, rest) = table.split_at(8);
    let mut out = Vec::new();
    for part in [first, rest, &segments.concat()] {
        pack_words(part.as_chunks::<8>().0, &mut out);
    }
    out
}

fn pack_words(mut words: &[[u8; 8]], out: &mut Vec<u8>) {
    while let [word, rest @ ..] = words {
        words = rest;
        let tag = word.iter().rev().fold(0u8, |tag, &byte| (tag << 1) | u8::from(byte != 0));
        out.push(tag);
        out.extend(word.iter().filter(|&&byte| byte != 0));
        let run = match tag {
            0x00 => words.iter().take(255).take_while(|w| **w == [0; 8]).count(),
            // Words that packing would not shorten follow as they are.
            0xff => words.iter().take(255).take_while(|w| zeros(w) <= 1).count(),
            _ => continue,
        };
        out.push(run as u8);
        let (copied, rest) = words.split_at(run);
        if tag == 0xff {
            out.extend_from_slice(copied.as_flattened());
        }
        words = rest;
    }
}

fn zeros(word: &[u8; 8]) -> usize {
    word.iter().filter(|&&byte| byte == 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::{message::ReaderOptions, message::ReaderSegments, serialize_packed};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_library_unpacks_what_was_packed(
            words in prop::collection::vec(
                prop_oneof![Just([0u8; 8]), Just([7; 8]), any::<[u8; 8]>(), Just([1, 0, 2, 0, 0, 0, 0, 3])],
                1..700,
            ),
            split in 0usize..700,
        ) {
            let (a, b) = words.split_at(split.min(words.len()));
            let packed = pack(&[a.as_flattened(), b.as_flattened()]);
            let message =
                serialize_packed::read_message(&mut &packed[..], ReaderOptions::new()).unwrap();
            let segments = message.into_segments();
            prop_assert_eq!(segments.get_segment(0).unwrap(), a.as_flattened());
            prop_assert_eq!(segments.get_segment(1).unwrap(), b.as_flattened());
        }
    }
}
