//! For which processor a library for Linux or Android is, and how its segments lie: pages
//! of 16 KiB, which newer devices have, load only what is aligned to them.

use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};

/// The largest page.
pub const PAGE: u64 = 16_384;

/// `PT_LOAD`: a segment that is loaded.
const LOAD: u32 = 1;

/// A processor: as JNA or Android calls it, its number in a library (`e_machine`), and
/// whether it has 64 bits.
type Processor = (&'static str, u16, bool);

const PROCESSORS: [Processor; 8] = [
    ("x86-64", 62, true),
    ("x86_64", 62, true),
    ("aarch64", 183, true),
    ("arm64-v8a", 183, true),
    ("arm", 40, false),
    ("armeabi-v7a", 40, false),
    ("x86", 3, false),
    ("riscv64", 243, true),
];

/// Fails if the library is for another processor than this, as JNA or Android calls it,
/// or pages of 16 KiB cannot load it.
pub fn check(library: &Path, processor: &str) -> Result<()> {
    let bytes =
        fs::read(library).with_context(|| format!("{} cannot be read", library.display()))?;
    let known = PROCESSORS.map(|(name, ..)| name).join(", ");
    let (_, machine, wide) = PROCESSORS
        .into_iter()
        .find(|(name, ..)| *name == processor)
        .with_context(|| format!("{processor:?} is no processor that is known: {known}"))?;
    let found =
        built_for(&bytes).with_context(|| format!("{} is no such library", library.display()))?;
    ensure!(
        found == (machine, wide),
        "{} is not for {processor}, but for machine {} with {} bits: is it another's library?",
        library.display(),
        found.0,
        if found.1 { 64 } else { 32 }
    );
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

/// The number of the processor that a library is for, and whether that has 64 bits.
fn built_for(bytes: &[u8]) -> Option<(u16, bool)> {
    let wide = wide(bytes)?;
    let machine = bytes.get(18..20)?.try_into().ok()?;
    Some((u16::from_le_bytes(machine), wide))
}

/// Whether it is a library of 64 bits or of 32, as every processor of Android's and
/// Linux's has it: the lowest byte first.
fn wide(bytes: &[u8]) -> Option<bool> {
    match bytes.get(..6)? {
        [0x7f, b'E', b'L', b'F', 1, 1] => Some(false),
        [0x7f, b'E', b'L', b'F', 2, 1] => Some(true),
        _ => None,
    }
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

/// The segments that are loaded.
fn loaded(bytes: &[u8]) -> Option<Vec<Segment>> {
    let wide = wide(bytes)?;
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

    /// A library for this processor, which pages of this size load.
    pub fn library_for(processor: &str, page: u64) -> Vec<u8> {
        let (_, machine, wide) =
            PROCESSORS.into_iter().find(|(name, ..)| *name == processor).unwrap();
        let mut bytes = library(wide, 0, 0, page);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes
    }

    #[test]
    fn a_library_for_another_processor_is_refused() {
        let file = std::env::temp_dir().join(format!("casm-elf-{}.so", std::process::id()));
        for (processor, machine, wide) in PROCESSORS {
            fs::write(&file, library_for(processor, PAGE)).unwrap();
            for (asked, of, bits) in PROCESSORS {
                let checked = check(&file, asked);
                if (of, bits) == (machine, wide) {
                    checked.unwrap();
                } else {
                    let error = checked.unwrap_err().to_string();
                    assert!(error.contains(&format!("not for {asked}")), "{error}");
                    assert!(error.contains(&format!("machine {machine} ")), "{error}");
                }
            }
        }
        let error = check(&file, "sparc").unwrap_err().to_string();
        assert!(error.contains("sparc") && error.contains("aarch64"), "{error}");
        // The number of one, with the bits of another.
        let mut mixed = library(false, 0, 0, PAGE);
        mixed[18] = 62;
        fs::write(&file, mixed).unwrap();
        check(&file, "x86-64").unwrap_err();
        fs::remove_file(file).unwrap();
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
            assert_eq!(built_for(&whole[..end]).is_some(), end >= 20, "{end} bytes of it");
        }
        assert_eq!(loaded(b"MZ and something"), None);
        assert_eq!(built_for(b"MZ and something, more than 20"), None);
    }
}
