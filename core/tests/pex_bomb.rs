//! What rounds that are decompression bombs can make a node hold. Alone in its
//! process, so that it can measure.

#![cfg(target_os = "linux")]

use casm::pex::fuzzing::Pull;
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
use std::io::Write;

/// Rounds that a node answers at the same time.
const ROUNDS: usize = 32;

/// 64 MiB of one byte, in as few bytes as LZ4 can.
fn bomb(byte: u8, size: BlockSize) -> Vec<u8> {
    let info = FrameInfo::new().block_size(size);
    let mut frame = FrameEncoder::with_frame_info(info, Vec::new());
    frame.write_all(&vec![byte; 64 << 20]).unwrap();
    frame.finish().unwrap()
}

/// The most memory that this process has had in RAM, in KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn bombs_cost_as_much_memory_as_is_said() {
    // Zeros are empty messages, 0xff is packed data without end, and 5 a
    // message that never ends; in small blocks, and in blocks that are refused.
    let bombs: Vec<Vec<u8>> = [0, 0xff, 5]
        .into_iter()
        .flat_map(|byte| [BlockSize::Max64KB, BlockSize::Max4MB].map(|size| bomb(byte, size)))
        .collect();
    let sizes: Vec<usize> = bombs.iter().map(Vec::len).collect();
    // Begins the peak anew: what they were made of doesn't count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let mut held = Vec::new();
    let mut refused = Vec::new();
    for bomb in &bombs {
        for _ in 0..ROUNDS {
            let mut pull = Pull::default();
            let end = bomb.chunks(8 << 10).find_map(|piece| pull.push(piece).err());
            refused.push(end.expect("it is refused before its end"));
            held.push(pull);
        }
    }
    let grown = peak() - before;
    refused.dedup();
    println!(
        "64 MiB in {sizes:?} bytes, {} rounds held at once: {grown} KiB more at the peak, {} KiB a \
         round; refused: {refused:?}",
        held.len(),
        grown / held.len()
    );
    assert!(grown < held.len() * 512, "{grown} KiB for {} rounds", held.len());
}
