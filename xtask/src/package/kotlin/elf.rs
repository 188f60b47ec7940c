//! How the segments of a library for Linux or Android lie: pages of 16 KiB, which newer
//! devices have, load only what is aligned to them.

use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};

/// The largest page.
pub const PAGE: u64 = 16_384;

/// `PT_LOAD`: a segment that is loaded.
const LOAD: u32 = 1;

/// Fails if pages of 16 KiB cannot load the library, or it is none for `machine`.
pub fn check(library: &Path) -> Result<()> {
    let bytes =
        fs::read(library).with_context(|| format!("{} cannot be read", library.display()))?;
    let segments =
        loaded(&bytes).with_context(|| format!("{} is no such library", library.display()))?;
    ensure!(!segments.is_empty(), "{} has nothing that is loaded", library.display());
    for segment in segments {
        ensure!(
            segment.fits(),
            "{} has a segment that pages of 16 KiB cannot load: {segment:?}; link it with \
             `-z max-page-size=16384`",
            library.display()
        );
    }
    println!("{}: its segments fit pages of 16 KiB", library.display());
    Ok(())
}

/// A segment: where it is in the file and in memory, and what both are aligned to.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    offset: u64,
    address: u64,
    align: u64,
}

impl Segment {
    fn fits(&self) -> bool {
        self.align >= PAGE && self.address % PAGE == self.offset % PAGE
    }
}

/// The segments that are loaded, of a library of 32 or 64 bits, as every processor of
/// Android's and Linux's has it: the lowest byte first.
fn loaded(bytes: &[u8]) -> Option<Vec<Segment>> {
    let wide = match bytes.get(..6)? {
        [0x7f, b'E', b'L', b'F', 1, 1] => false,
        [0x7f, b'E', b'L', b'F', 2, 1] => true,
        _ => return None,
    };
    let number = |at: u64, long: bool| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let many = if long { 8 } else { 4 };
        let bytes = bytes.get(at..at.checked_add(many)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    // Where the table is, and in it: a segment's offset, its address, what it is aligned to.
    let (table, sizes, fields) = if wide { (32, 54, [8, 16, 48]) } else { (28, 42, [4, 8, 28]) };
    let begin = number(table, wide)?;
    let sizes = number(sizes, false)?;
    let (size, count) = (sizes & 0xffff, sizes >> 16);
    let mut segments = vec![];
    for n in 0..count {
        let at = begin.checked_add(n * size)?;
        if number(at, false)? == u64::from(LOAD) {
            let [offset, address, align] = fields.map(|field| number(at.checked_add(field)?, wide));
            segments.push(Segment { offset: offset?, address: address?, align: align? });
        }
    }
    Some(segments)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A library with one segment, of 64 bits or of 32.
    pub fn library(wide: bool, offset: u64, address: u64, align: u64) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1]);
        let mut put = |at: usize, value: u64, many: usize| {
            bytes[at..at + many].copy_from_slice(&value.to_le_bytes()[..many]);
        };
        let long = if wide { 8 } else { 4 };
        let (table, sizes, fields, size) =
            if wide { (32, 54, [8, 16, 48], 56) } else { (28, 42, [4, 8, 28], 32) };
        put(table, 64, long);
        put(sizes, size, 2);
        put(sizes + 2, 1, 2);
        put(64, u64::from(LOAD), 4);
        for (field, value) in fields.into_iter().zip([offset, address, align]) {
            put(64 + field, value, long);
        }
        bytes
    }

    #[test]
    fn a_library_for_pages_of_4_kib_is_refused() {
        for wide in [false, true] {
            let read = |offset, address, align| {
                loaded(&library(wide, offset, address, align)).unwrap().pop().unwrap()
            };
            assert!(read(0x4000, 0x8000, 0x4000).fits());
            assert!(read(0x4010, 0x1_8010, 0x1_0000).fits());
            assert!(!read(0x4000, 0x8000, 0x1000).fits(), "aligned to less");
            assert!(!read(0x1000, 0x8000, 0x4000).fits(), "elsewhere in the file");
        }
    }

    #[test]
    fn what_is_no_library_is_no_library() {
        let whole = library(true, 0, 0, 0);
        for end in 0..120 {
            assert_eq!(loaded(&whole[..end]), None, "{end} bytes of it");
        }
        assert_eq!(loaded(b"MZ and something"), None);
    }
}
