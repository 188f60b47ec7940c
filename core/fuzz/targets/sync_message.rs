//! The frames of an exchange of heartbeats: what is read keeps its limits, is
//! the same when it is written again, and can be compared with any table.
#![no_main]

use casm::cluster::{
    Table,
    sync_fuzzing::{self as sync, Frame, Item},
};
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;

/// Ids in a frame, and bytes of a header and of a frame of ranges.
const MAX_IDS: usize = 4096;
const MAX_HEADER: usize = 1024;
const MAX_RANGES: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let (frames, _) = sync::frames(data);
    let (mut rest, mut ranges) = (data, Vec::new());
    for (frame, written, len) in frames {
        let (read, left) = rest.split_at(len);
        rest = left;
        match frame {
            // May have said what this node skips.
            Frame::Header(_) => {
                assert!(read.len() <= 5 + MAX_HEADER);
                assert_eq!(sync::frames(&written).0[0].0, frame);
                continue;
            }
            Frame::Ranges(said) => {
                assert!(said.len() <= MAX_RANGES);
                ranges.push(said);
            }
            Frame::Wanted(ids) => assert!(ids.len() <= MAX_IDS),
            Frame::Handed(_, message) => assert!(message.len() <= Table::MAX_SIGNED),
            Frame::End { .. } => {}
        }
        assert_eq!(read, written);
    }
    // Without what frames them too: most inputs are no frames.
    ranges.push(data.to_vec());
    for (n, opens) in [(0, false), (100, true), (400, false), (400, true)] {
        let items = items(n);
        let ids: HashSet<u64> = items.iter().map(|(id, _)| *id).collect();
        for said in [&ranges[..], &ranges[ranges.len() - 1..]] {
            let found = sync::compare(&items, opens, said.iter().map(|said| &said[..]));
            assert!(found.hand.len() <= items.len());
            assert!(found.hand.iter().all(|id| ids.contains(id)));
            // Each is a byte at least, of a frame or of all.
            assert!(found.want.len() <= 2 * data.len());
        }
    }
});

/// Items of which every other begins as many do.
fn items(n: u64) -> Vec<Item> {
    let id = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 2 * 20);
    (0..n).map(|n| (id(n), 1_767_225_600_000_000_000 + n)).collect()
}
