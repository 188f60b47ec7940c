//! Packages for other languages: built, checked, and tried where nothing else is
//! installed.
//!
//! - `python`, `node`, `kotlin`: the packages; `swift`: the library for that of Swift
//! - `platform`: the platforms of the npm packages
//! - `native`: how the native module in them is built, and what it must not hold
//! - `linker`: how it is linked on Linux
//! - `quickstart`: two programs of a package find each other

mod kotlin;
mod linker;
mod native;
mod node;
mod platform;
mod python;
mod quickstart;
mod swift;

pub use node::npm_installed;
pub use python::wheel_built;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    language: Language,
}

#[derive(Subcommand)]
enum Language {
    /// A wheel and a source distribution.
    Python(python::Args),
    /// An npm package, and one with the native module for this platform.
    Node(node::Args),
    /// The library for Swift: an XCFramework, and for Linux an artifact bundle and a
    /// tarball.
    Swift(swift::Args),
    /// JARs with the native library inside and an AAR, in a Maven repository.
    Kotlin(kotlin::Args),
}

pub fn run(args: &Args) -> Result<()> {
    match &args.language {
        Language::Python(args) => python::package(args),
        Language::Node(args) => node::package(args),
        Language::Swift(args) => swift::package(args),
        Language::Kotlin(args) => kotlin::package(args),
    }
}

/// What every language asks of a build.
#[derive(clap::Args)]
struct Build {
    /// The profile to build with; `release` takes a quarter of the time of
    /// `dist`.
    #[arg(long, default_value = "dist")]
    profile: String,
    /// The Rust target to build for, if not this machine's.
    #[arg(long)]
    target: Option<String>,
}

/// The tools that build and inspect, from PyPI. On Linux zig links, against a
/// glibc that is older than this machine's.
const TOOLS: &[&str] = if cfg!(target_os = "linux") {
    &[
        "maturin==1.*",
        "cargo-zigbuild==0.24.*",
        "ziglang==0.17.*",
        "auditwheel==6.*",
        "zopfli==0.4.*",
    ]
} else {
    &["maturin==1.*", "zopfli==0.4.*"]
};

/// The interpreter of the environment that holds the tools, and the search path
/// on which they find each other.
fn tools() -> Result<(PathBuf, OsString)> {
    let python = crate::python::venv("package", TOOLS)?;
    let path = beside(&python);
    Ok((python, path))
}

/// The search path, with the folder of this program first.
fn beside(program: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(Path::to_path_buf).into_iter();
    std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap_or(path)
}

/// An empty folder of this name in the folder of what is built.
fn fresh(name: &str) -> Result<PathBuf> {
    let folder = crate::shell::target().join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The one file in a folder whose name ends so.
fn only(folder: &Path, end: &str) -> Result<PathBuf> {
    let files: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    match &files[..] {
        [one] => Ok(one.clone()),
        _ => bail!("{} should hold one file {end}: {files:?}", folder.display()),
    }
}
