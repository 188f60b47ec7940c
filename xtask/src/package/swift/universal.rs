//! One library for several processors, as Apple's tools write it: a header that says
//! where each lies, in the other byte order than everything else, and they themselves.

use super::archive::Library;
use anyhow::{Context, Result, ensure};

/// Each begins at a multiple of this power of 2, as objects of 64 bits want it.
const ALIGN: u32 = 3;

/// Those of one system, in the order of their processors' numbers. One is as it is.
///
/// # Errors
/// If two are for the same processor, or all together are too large.
pub fn universal(libraries: &[&Library]) -> Result<Vec<u8>> {
    let mut libraries = libraries.to_vec();
    libraries.sort_by_key(|library| library.arch.cpu());
    for pair in libraries.windows(2) {
        ensure!(
            pair[0].arch != pair[1].arch,
            "{} and {} are both for {} on {:?}: give one of them",
            pair[0].file.display(),
            pair[1].file.display(),
            pair[0].arch.name(),
            pair[0].system
        );
    }
    if let [one] = libraries[..] {
        return Ok(one.bytes.clone());
    }
    let align = 1_usize << ALIGN;
    let mut places = vec![];
    let mut end = 8 + 20 * libraries.len();
    for library in &libraries {
        let begin = end.next_multiple_of(align);
        end = begin + library.bytes.len();
        places.push((begin, library));
    }
    let mut words = vec![0xcafe_babe, u32::try_from(libraries.len())?];
    for (begin, library) in &places {
        let (cpu, kind) = library.arch.cpu();
        let large = "the library for all processors has more than 4 GiB";
        let begin = u32::try_from(*begin).context(large)?;
        words.extend([cpu, kind, begin, u32::try_from(library.bytes.len()).context(large)?, ALIGN]);
    }
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    for (begin, library) in places {
        bytes.resize(begin, 0);
        bytes.extend(&library.bytes);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{
        super::archive::{Arch, System, tests::apple},
        *,
    };

    fn library(arch: Arch) -> Library {
        let file = format!("{}.a", arch.name()).into();
        Library { file, system: System::MacOs, arch, bytes: apple(arch, 1) }
    }

    #[test]
    fn every_processor_finds_its_own() {
        let (arm, intel) = (library(Arch::Arm64), library(Arch::X86_64));
        let bytes = universal(&[&intel, &arm]).unwrap();
        assert_eq!(bytes, universal(&[&arm, &intel]).unwrap());
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4)), (0xcafe_babe, 2));
        for (at, library) in [(8, &intel), (28, &arm)] {
            assert_eq!((word(at), word(at + 4)), library.arch.cpu());
            let (begin, size) = (word(at + 8) as usize, word(at + 12) as usize);
            assert_eq!((begin % 8, word(at + 16)), (0, 3));
            assert_eq!(bytes[begin..begin + size], library.bytes);
        }
        // Nothing lies behind the last.
        assert_eq!((word(28 + 8) + word(28 + 12)) as usize, bytes.len());
    }

    #[test]
    fn one_is_as_it_is_and_two_for_the_same_are_refused() {
        let (arm, other) = (library(Arch::Arm64), library(Arch::Arm64));
        assert_eq!(universal(&[&arm]).unwrap(), arm.bytes);
        let error = universal(&[&arm, &other]).unwrap_err().to_string();
        assert!(error.contains("both for arm64 on MacOs"), "{error}");
    }
}
