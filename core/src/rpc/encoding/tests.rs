use super::*;
use proptest::prelude::*;

const MAX: usize = 64 * 1024;

fn text(message: &Message) -> String {
    message.get_root::<capnp::text::Reader>().unwrap().to_string().unwrap()
}

fn encoded(encoding: Encoding, texts: &[String]) -> Vec<u8> {
    let (mut encoder, mut bytes) = (Encoder::new(encoding), Vec::new());
    for text in texts {
        let mut message = Builder::new_default();
        message.set_root::<capnp::text::Owned>(text.as_str()).unwrap();
        encoder.encode(&message, &mut bytes).unwrap();
    }
    bytes
}

/// Feeds the bytes in pieces, and gives what came out, and the first error.
fn decoded(
    encoding: Encoding,
    bytes: &[u8],
    piece: usize,
    max: usize,
) -> (Vec<String>, Option<FrameError>) {
    let (mut decoder, mut texts) = (Decoder::new(encoding, max), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => texts.push(text(&message)),
                Ok(None) => break,
                Err(error) => return (texts, Some(error)),
            }
        }
    }
    (texts, decoder.end().err())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn messages_come_back_whatever_the_pieces(
        texts in prop::collection::vec("[ab\0]{0,300}", 1..8),
        piece in 1usize..700,
    ) {
        for encoding in Encoding::ALL {
            let bytes = encoded(encoding, &texts);
            let (back, error) = decoded(encoding, &bytes, piece, MAX);
            prop_assert_eq!(&back, &texts);
            prop_assert_eq!(error, None);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600), flip in 0usize..200) {
        for encoding in Encoding::ALL {
            let mut good = encoded(encoding, &["x".repeat(200)]);
            if let Some(byte) = good.get_mut(flip) {
                *byte ^= 1 << (flip % 8);
            }
            for bytes in [&bytes, &good] {
                let mut decoder = Decoder::new(encoding, MAX);
                decoder.push(bytes);
                while let Ok(Some(message)) = decoder.next() {
                    let _ = message.get_root::<capnp::text::Reader>();
                }
            }
        }
    }
}

#[test]
fn every_message_is_complete_at_once() {
    for encoding in Encoding::ALL {
        let (mut encoder, mut decoder) = (Encoder::new(encoding), Decoder::new(encoding, MAX));
        for n in 0..50 {
            let mut message = Builder::new_default();
            message.set_root::<capnp::text::Owned>(n.to_string().as_str()).unwrap();
            let mut bytes = Vec::new();
            encoder.encode(&message, &mut bytes).unwrap();
            decoder.push(&bytes);
            let back = decoder.next().unwrap().expect("flushed with its message");
            assert_eq!(text(&back), n.to_string(), "{encoding:?}");
        }
        let mut end = Vec::new();
        encoder.finish(&mut end).unwrap();
        decoder.push(&end);
        assert!(decoder.next().unwrap().is_none());
        assert_eq!(decoder.end(), Ok(()));
    }
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_table() {
    for encoding in Encoding::ALL {
        let bytes = encoded(encoding, &["x".repeat(2 * MAX)]);
        assert_eq!(decoded(encoding, &bytes, 4096, MAX).1, Some(FrameError::TooLarge));
        let fits = encoded(encoding, &["x".repeat(MAX - 100)]);
        assert_eq!(decoded(encoding, &fits, 4096, MAX).1, None, "{encoding:?}");
    }
    let table = [u32::MAX.to_le_bytes(), 1u32.to_le_bytes()].concat();
    assert_eq!(decoded(Encoding::Plain, &table, 8, MAX).1, Some(FrameError::Segments));
}

#[test]
fn zeros_are_not_messages_without_end() {
    // Blocks that are within the limit of a message.
    let framed = |bytes: &[u8]| {
        let info = FrameInfo::new().block_size(BlockSize::Max64KB);
        let mut frames = FrameEncoder::with_frame_info(info, Vec::new());
        frames.write_all(bytes).unwrap();
        frames.finish().unwrap()
    };
    for encoding in Encoding::ALL {
        let zeros = vec![0; 1 << 20];
        let bytes = if encoding.is_compressed() { framed(&zeros) } else { zeros };
        assert_eq!(decoded(encoding, &bytes, 9999, MAX), (vec![], Some(FrameError::Empty)));
    }
}

#[test]
fn a_declared_size_reserves_nothing() {
    let mut decoder = Decoder::new(Encoding::Plain, 1 << 40);
    decoder.push(&[0u32.to_le_bytes(), 0x0fff_ffffu32.to_le_bytes()].concat());
    assert!(decoder.next().unwrap().is_none());
    assert!(decoder.assembler.allocated() <= 1 << 14);
}

#[test]
fn a_decompression_bomb_is_refused() {
    // 16 MiB of zeros in one block of 64 KiB.
    let block = lz4_flex::block::compress(&vec![0; 16 << 20]);
    let mut bytes = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    bytes.extend((block.len() as u32).to_le_bytes());
    bytes.extend(block);
    assert_eq!(decoded(Encoding::Lz4, &bytes, 9999, MAX).1, Some(FrameError::TooLarge));
}

#[test]
fn linked_blocks_and_checksums_of_other_writers_are_read() {
    let texts: Vec<_> = (0..40).map(|n| format!("{n} {}", "the same again ".repeat(500))).collect();
    for (mode, sums) in
        [(BlockMode::Linked, true), (BlockMode::Linked, false), (BlockMode::Independent, true)]
    {
        let info = FrameInfo::new()
            .block_size(BlockSize::Max64KB)
            .block_mode(mode)
            .block_checksums(sums)
            .content_checksum(sums);
        let mut frames = FrameEncoder::with_frame_info(info, Vec::new());
        frames.write_all(&encoded(Encoding::Packed, &texts)).unwrap();
        let bytes = frames.finish().unwrap();
        let (back, error) = decoded(Encoding::PackedLz4, &bytes, 1000, MAX);
        assert_eq!((back, error), (texts.clone(), None));
    }
}

#[test]
fn a_frame_from_before_the_format_is_refused() {
    // A stored block of ten bytes, which readers of that format take.
    let bytes = [&0x184C_2102u32.to_le_bytes()[..], &(1u32 << 31 | 10).to_le_bytes(), &[1; 10]];
    let end = decoded(Encoding::Lz4, &bytes.concat(), 5, MAX);
    assert_eq!(end, (vec![], Some(FrameError::Lz4Header)));
}

/// The length of the head of the frames that are written here.
const LZ4_HEAD: usize = 7;

#[test]
fn a_stream_that_ends_inside_a_message_is_told_from_one_that_ends() {
    for encoding in Encoding::ALL {
        let bytes = encoded(encoding, &["hello".into()]);
        assert_eq!(decoded(encoding, &[], 3, MAX), (vec![], None));
        for end in 1..bytes.len() {
            let (messages, error) = decoded(encoding, &bytes[..end], 3, MAX);
            // Behind the head of an LZ4 frame nothing need follow.
            let may_end = encoding.is_compressed() && end == LZ4_HEAD;
            if messages.is_empty() && !may_end {
                assert_eq!(error, Some(FrameError::Truncated), "{encoding:?}, {end} bytes");
            }
        }
    }
}
