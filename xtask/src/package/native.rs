//! The native module of a package: how it is built, and what it must not hold.

use super::{Build, platform::host};
use crate::shell;
use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The newest glibc that a module may ask for: that of manylinux2014.
pub const GLIBC: (u32, u32) = (2, 17);

/// What a module for Linux is linked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Libc {
    Glibc,
    Musl,
}

/// The platform for which the most bytes are given. Elsewhere other linkers and
/// other C code make what they make.
const MEASURED: &str = "x86_64-unknown-linux-gnu";

/// Says how large the file is; fails if it is larger than `most` bytes, in what is
/// to be given to others.
pub fn size(file: &Path, build: &Build, most: u64) -> Result<()> {
    let here = host()?;
    size_of(file, &build.profile, build.target.as_ref().unwrap_or(&here), most)
}

/// The same, for a profile and a target.
pub fn size_of(file: &Path, profile: &str, target: &str, most: u64) -> Result<()> {
    let size = fs::metadata(file)?.len();
    println!("{}: {size} bytes", file.display());
    let held = profile == "dist" && target == MEASURED;
    ensure!(!held || size <= most, "{} has {size} bytes, {most} is the most", file.display());
    Ok(())
}

/// Fails if the module tells where it was built, or needs what not every system
/// has. `libc` is what it is to be linked with, on Linux.
pub fn inspect(module: &Path, libc: Option<Libc>) -> Result<()> {
    let bytes = fs::read(module).with_context(|| format!("{} cannot be read", module.display()))?;
    no_build_paths(module, &bytes)?;
    let Some(libc) = libc else { return Ok(()) };
    let newest = glibc(&bytes);
    match (libc, newest) {
        (Libc::Glibc, Some(version)) => {
            println!("needs glibc {}.{}", version.0, version.1);
            ensure!(
                version <= GLIBC,
                "{} needs glibc {version:?}, {GLIBC:?} is the newest that it may need",
                module.display()
            );
        }
        (Libc::Glibc, None) => bail!("{} is not linked with glibc", module.display()),
        (Libc::Musl, Some(_)) => bail!("{} is for musl, and needs glibc", module.display()),
        (Libc::Musl, None) => {}
    }
    // Of a module for another machine it says nothing.
    if let Ok(needed) = shell::output(Command::new("ldd").arg(module)) {
        ensure!(
            !needed.contains("libssl") && !needed.contains("libcrypto"),
            "{} needs a system's TLS library:\n{needed}",
            module.display()
        );
    }
    Ok(())
}

/// The newest version of glibc whose symbols the module asks for.
fn glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"GLIBC_";
    let found = bytes.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let versions = found.filter_map(|(at, _)| {
        let (major, rest) = number(&bytes[at + NAME.len()..])?;
        let (minor, _) = number(rest.strip_prefix(b".")?)?;
        Some((major, minor))
    });
    versions.max()
}

/// The number with which a text begins, and what is behind it.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

fn no_build_paths(file: &Path, bytes: &[u8]) -> Result<()> {
    for path in build_paths() {
        let path = path.to_string_lossy().into_owned();
        let found = bytes.windows(path.len()).position(|window| window == path.as_bytes());
        if let Some(at) = found {
            let text = &bytes[at..bytes.len().min(at + 120)];
            bail!("{} holds a build path: {:?}", file.display(), String::from_utf8_lossy(text));
        }
    }
    Ok(())
}

/// Has a build leave out the paths of this machine, and use these flags too. `libc` is
/// what the module is to be linked with, if it is one for Linux.
pub fn remap(build: &mut Command, libc: Option<Libc>, flags: &[&str]) {
    let names = ["cargo", "casm"];
    let paths = build_paths().into_iter().zip(names);
    let remapped =
        paths.map(|(path, name)| format!("--remap-path-prefix={}=/{name}", path.display()));
    let flags = libc.iter().map(|_| LINUX).chain(flags.iter().copied());
    let flags: Vec<_> = remapped.chain(flags.map(str::to_owned)).collect();
    build.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // Of the C code for TLS, the variants that take less room.
    build.env("AWS_LC_SYS_SMALL", "1");
    if cfg!(target_os = "linux") {
        build.env("CFLAGS", C_FLAGS.join(" "));
    }
}

/// How Rust is compiled for a module for Linux: it says of which data the address means
/// something, so that the linker may have what is alike of the rest once, as it has
/// functions.
const LINUX: &str = "-Cllvm-args=-addrsig";

/// How the C code for TLS is compiled.
const C_FLAGS: [&str; 3] = [
    // No panic passes through it: it calls back to none of ours.
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    // Else it has X25519 and Ed25519 twice, each with tables of 49 KB that don't
    // compress, for processors with and without ADX; handshakes take no longer
    // with a third variant, which has none.
    "-DMY_ASSEMBLER_IS_TOO_OLD_FOR_ADX_AVX2",
];

/// Cargo's home, and this workspace.
fn build_paths() -> [PathBuf; 2] {
    let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cargo");
    [env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from), shell::workspace()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number() {
        assert_eq!(glibc(b"\0GLIBC_2.9\0GLIBC_2.17\0GLIBC_2.2.5\0GLIBC_PRIVATE"), Some((2, 17)));
        assert_eq!(glibc(b"no symbol, GLIBC_"), None);
    }

    #[test]
    fn what_is_too_large_to_be_given_to_others_is_refused() {
        let file = shell::workspace().join("Cargo.toml");
        let size = fs::metadata(&file).unwrap().len();
        size_of(&file, "dist", MEASURED, size).unwrap();
        let error = size_of(&file, "dist", MEASURED, size - 1).unwrap_err().to_string();
        assert!(error.contains(&format!("{size} bytes")), "{error}");
        for (profile, target) in [("release", MEASURED), ("dist", "aarch64-apple-ios")] {
            size_of(&file, profile, target, 0).unwrap();
        }
    }

    #[test]
    fn a_path_of_this_machine_is_found() {
        let path = shell::workspace().join("core/src/lib.rs");
        let bytes = format!("\0\0{}\0", path.display());
        let error = no_build_paths(Path::new("module"), bytes.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("holds a build path"), "{error}");
        no_build_paths(Path::new("module"), b"/casm/core/src/lib.rs").unwrap();
    }
}
