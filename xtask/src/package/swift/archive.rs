//! Static libraries: what they are for, as their objects say.

use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    env::consts,
    fs,
    path::{Path, PathBuf},
};

const ARCHIVE: &[u8] = b"!<arch>\n";
const MACH_O_64: &[u8] = &[0xcf, 0xfa, 0xed, 0xfe];
const MACH_O_32: &[u8] = &[0xce, 0xfa, 0xed, 0xfe];
const UNIVERSAL: &[u8] = &[0xca, 0xfe, 0xba, 0xbe];
const ELF: &[u8] = b"\x7fELF";

/// Where a library runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum System {
    Ios,
    IosSimulator,
    MacOs,
    Linux,
}

/// For which processor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Arch {
    Arm64,
    X86_64,
}

impl Arch {
    /// As Apple calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// As Linux and Swift call it there.
    pub fn triple(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }

    /// The numbers of the processor and of its kind, in a Mach-O file.
    pub fn cpu(self) -> (u32, u32) {
        match self {
            Self::Arm64 => (0x0100_000c, 0),
            Self::X86_64 => (0x0100_0007, 3),
        }
    }
}

/// A static library for one system and one processor.
#[derive(Debug)]
pub struct Library {
    pub file: PathBuf,
    pub system: System,
    pub arch: Arch,
    pub bytes: Vec<u8>,
}

impl Library {
    /// # Errors
    /// If it is no static library, or one for none of the systems and processors.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let (system, arch) = identify(&bytes).with_context(|| file.display().to_string())?;
        Ok(Self { file: file.into(), system, arch, bytes })
    }

    /// Whether programs with it run on this machine.
    pub fn runs_here(&self) -> bool {
        let system = match self.system {
            System::MacOs => "macos",
            System::Linux => "linux",
            System::Ios | System::IosSimulator => return false,
        };
        system == consts::OS && self.arch.triple().starts_with(consts::ARCH)
    }
}

/// What its objects say, which must agree. Some Mach-O objects, as those of assembly,
/// don't say for which system they are.
fn identify(bytes: &[u8]) -> Result<(System, Arch)> {
    ensure!(
        !bytes.starts_with(UNIVERSAL),
        "it is for several processors: give the library of each (`lipo -thin`)"
    );
    let (mut systems, mut arches) = (BTreeSet::new(), BTreeSet::new());
    for member in members(bytes)? {
        if member.starts_with(ELF) {
            systems.insert(System::Linux);
            arches.insert(elf(member)?);
        } else if member.starts_with(MACH_O_64) {
            let (arch, system) = mach_o(member)?;
            arches.insert(arch);
            systems.extend(system);
        } else {
            ensure!(!member.starts_with(MACH_O_32), "it has objects for 32 bits");
        }
    }
    let one = |what: &str, several: String| format!("its objects are for {what}: {several}");
    let arch = match arches.iter().collect::<Vec<_>>()[..] {
        [arch] => *arch,
        [] => bail!("it has no object for Apple's systems or for Linux"),
        _ => bail!(one("several processors", format!("{arches:?}"))),
    };
    match systems.iter().collect::<Vec<_>>()[..] {
        [system] => Ok((*system, arch)),
        [] => bail!("none of its objects says for which of Apple's systems it is"),
        _ => bail!(one("several systems", format!("{systems:?}"))),
    }
}

/// The files in an archive, without those of the archive itself.
fn members(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut rest = bytes.strip_prefix(ARCHIVE).context("it is no static library (`!<arch>`)")?;
    let mut members = vec![];
    while !rest.is_empty() {
        let (header, behind) = rest.split_at_checked(60).context("it ends within a header")?;
        let text = |from: usize, to: usize| {
            std::str::from_utf8(&header[from..to]).map(str::trim_end).unwrap_or_default()
        };
        ensure!(&header[58..] == b"`\n", "a header in it is damaged");
        let size = text(48, 58);
        let size: usize = size.parse().with_context(|| format!("a size in it is {size:?}"))?;
        let (member, behind) =
            behind.split_at_checked(size).context("it ends within one of its files")?;
        // What follows begins at an even place.
        rest = if size % 2 == 1 { behind.get(1..).unwrap_or_default() } else { behind };
        let name = text(0, 16);
        // BSD has long names in front of the file.
        let (name, member) = match name.strip_prefix("#1/").and_then(|n| n.parse().ok()) {
            Some(length) => {
                let parts = member.split_at_checked(length);
                let (name, member) = parts.context("a name in it is longer than its file")?;
                (std::str::from_utf8(name).unwrap_or_default().trim_end_matches('\0'), member)
            }
            None => (name, member),
        };
        let index = ["/", "//", "/SYM64/"].contains(&name) || name.starts_with("__.SYMDEF");
        if !index {
            members.push(member);
        }
    }
    Ok(members)
}

fn elf(object: &[u8]) -> Result<Arch> {
    match object.get(18..20) {
        Some([62, 0]) => Ok(Arch::X86_64),
        Some([183, 0]) => Ok(Arch::Arm64),
        machine => bail!("it has an object for the processor {machine:?} of Linux"),
    }
}

fn mach_o(object: &[u8]) -> Result<(Arch, Option<System>)> {
    let word = |at: usize| -> Result<u32> {
        let bytes = object.get(at..at + 4).context("one of its objects is cut off")?;
        Ok(u32::from_le_bytes(bytes.try_into()?))
    };
    // What the high byte says of the kind doesn't matter.
    let cpu = (word(4)?, word(8)? & 0x00ff_ffff);
    let arch = [Arch::Arm64, Arch::X86_64].into_iter().find(|arch| arch.cpu() == cpu);
    let arch = arch.with_context(|| format!("it has an object for the processor {cpu:x?}"))?;
    let (count, mut at) = (word(16)?, 32);
    for _ in 0..count {
        let (command, size) = (word(at)?, word(at + 4)?);
        let system = match command {
            // LC_BUILD_VERSION
            0x32 => Some(match word(at + 8)? {
                1 => System::MacOs,
                2 => System::Ios,
                7 => System::IosSimulator,
                platform => bail!("it is for the platform {platform}, which is not known here"),
            }),
            // LC_VERSION_MIN_MACOSX and LC_VERSION_MIN_IPHONEOS
            0x24 => Some(System::MacOs),
            0x25 if arch == Arch::X86_64 => Some(System::IosSimulator),
            0x25 => Some(System::Ios),
            _ => None,
        };
        if system.is_some() {
            return Ok((arch, system));
        }
        at += usize::try_from(size)?.max(8);
    }
    Ok((arch, None))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An archive of these files; names of 8 letters and more stand as BSD has them.
    pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = ARCHIVE.to_vec();
        for (name, file) in files {
            let (short, long) = match name.len() {
                0..8 => ((*name).to_owned(), ""),
                length => (format!("#1/{length}"), *name),
            };
            let size = file.len() + long.len();
            bytes.extend(format!("{short:<16}{:<32}{size:<10}`\n", 0).bytes());
            bytes.extend(long.bytes().chain(file.iter().copied()));
            bytes.extend([b'\n'].iter().take(size % 2));
        }
        bytes
    }

    /// An object for Apple's systems, of a platform if it says so.
    pub fn object(arch: Arch, platform: Option<u32>) -> Vec<u8> {
        let (cpu, kind) = arch.cpu();
        let mut words = vec![0xfeed_facf, cpu, kind, 1, 1, 8, 0, 0, 0x2, 24, 0, 0, 0, 0];
        if let Some(platform) = platform {
            words[4] = 2;
            words.extend([0x32, 24, platform, 0x000d_0000, 0, 0]);
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// A library for one of Apple's systems.
    pub fn apple(arch: Arch, platform: u32) -> Vec<u8> {
        let (object, other) = (object(arch, Some(platform)), object(arch, None));
        archive(&[("__.SYMDEF SORTED", b"x"), ("asm.o", &other), ("casm-uniffi.o", &object)])
    }

    pub fn linux(machine: u8) -> Vec<u8> {
        let mut object = b"\x7fELF\x02\x01\x01".to_vec();
        object.resize(18, 0);
        object.extend([machine, 0]);
        archive(&[("/", b"index"), ("//", b"names"), ("/0", &object)])
    }

    #[test]
    fn a_library_says_what_it_is_for() {
        for (library, is) in [
            (apple(Arch::Arm64, 1), (System::MacOs, Arch::Arm64)),
            (apple(Arch::Arm64, 2), (System::Ios, Arch::Arm64)),
            (apple(Arch::X86_64, 7), (System::IosSimulator, Arch::X86_64)),
            (linux(62), (System::Linux, Arch::X86_64)),
            (linux(183), (System::Linux, Arch::Arm64)),
        ] {
            assert_eq!(identify(&library).unwrap(), is);
        }
    }

    #[test]
    fn what_is_no_library_or_for_what_is_not_known_is_refused() {
        let mac = object(Arch::Arm64, Some(1));
        let cut = apple(Arch::Arm64, 1);
        let cases: [(&[u8], &str); 12] = [
            (b"not an archive", "no static library"),
            (b"", "no static library"),
            (b"!<thin>\n", "no static library"),
            (&[0xca, 0xfe, 0xba, 0xbe, 0, 0], "several processors: give"),
            (b"!<arch>\n", "no object"),
            (&archive(&[("a.txt", b"text")]), "no object"),
            (&archive(&[("a.o", &object(Arch::Arm64, None))]), "none of its objects says"),
            // Apple's other systems.
            (&apple(Arch::Arm64, 3), "the platform 3"),
            (&linux(40), "processor Some([40, 0])"),
            (&archive(&[("a", &mac), ("b", &object(Arch::X86_64, Some(1)))]), "several processors"),
            (&archive(&[("a", &mac), ("b", &object(Arch::Arm64, Some(2)))]), "several systems"),
            (&cut[..cut.len() - 2], "ends within"),
        ];
        for (bytes, said) in cases {
            let error = format!("{:#}", identify(bytes).unwrap_err());
            assert!(error.contains(said), "{said}: {error}");
        }
        // Wherever it is cut off, it is refused or whole.
        for length in 0..cut.len() {
            let _ = identify(&cut[..length]);
        }
    }
}
