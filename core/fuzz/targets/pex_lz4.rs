//! The LZ4 layer of peer exchange: what the reference decoder accepts comes out
//! the same, unless a block is larger than the limit, and comes out the same in
//! pieces of any size; what was compressed comes back.
#![no_main]

use casm::rpc::fuzzing;
use libfuzzer_sys::fuzz_target;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::io::{Read, Write};

/// As the largest block of a round.
const MAX_BLOCK: usize = 2048 + 64 * 1024;
/// The format before frames, which the reference reads too: no peer writes it.
const LEGACY: [u8; 4] = 0x184C_2102u32.to_le_bytes();
/// No input of a fuzzer gives more: a byte stands for 255 at most.
const MOST: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let [piece, mode, bytes @ ..] = data else { return };
    let piece = usize::from(*piece);

    let (out, end) = fuzzing::decompress(bytes, bytes.len(), MAX_BLOCK);
    assert_eq!(fuzzing::decompress(bytes, piece, MAX_BLOCK), (out.clone(), end));
    let mut reference = Vec::new();
    let whole = FrameDecoder::new(bytes).take(MOST).read_to_end(&mut reference);
    if bytes.starts_with(&LEGACY) {
        assert_eq!((&out[..], end), (&[][..], "bad-lz4-header"));
    } else if whole.is_ok() && end != "too-large" {
        // The reference ends with the first frame, or goes on as this does.
        assert!(out.starts_with(&reference), "{} bytes, not {}", out.len(), reference.len());
    }

    let block_mode = if mode & 1 == 0 { BlockMode::Independent } else { BlockMode::Linked };
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(block_mode)
        .block_checksums(mode & 2 != 0)
        .content_checksum(mode & 4 != 0);
    let mut frame = FrameEncoder::with_frame_info(info, Vec::new());
    // Flushed now and then: a frame of several blocks.
    for part in bytes.chunks(1 + usize::from(*mode)) {
        frame.write_all(part).expect("a vector takes all");
        frame.flush().expect("a vector takes all");
    }
    let frame = frame.finish().expect("a vector takes all");
    let (out, end) = fuzzing::decompress(&frame, piece, MAX_BLOCK);
    assert_eq!((&out[..], end), (bytes, "end"));
});
