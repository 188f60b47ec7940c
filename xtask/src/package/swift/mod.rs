//! The library for the Swift package: an XCFramework for Apple's systems, an artifact
//! bundle and a tarball for Linux.
//!
//! - `archive`: what a static library is for
//! - `universal`, `xcframework`: those for Apple's systems, laid out
//! - `linux`: those for Linux
//! - `release`: each in one file, and its checksum in the manifests
//! - `consumer`: an empty package that depends on ours

mod archive;
mod consumer;
mod linux;
mod release;
mod universal;
mod xcframework;

use super::{fresh, native, platform::host};
use crate::shell;
use anyhow::{Context, Result, ensure};
use archive::{Library, System};
use consumer::Swift;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(clap::Args)]
pub struct Args {
    /// The profile to build with; `dev` takes the least time, and `dist` is what is
    /// given to others.
    #[arg(long, default_value = "dist")]
    profile: String,
    /// A Rust target to build for, instead of this machine's, or of all of Apple's on a
    /// Mac. Can be given several times.
    #[arg(long)]
    target: Vec<String>,
    /// A static library to package, instead of building any: for what it is, it says
    /// itself. Can be given several times; those for the processors of one of Apple's
    /// systems become one.
    #[arg(long, conflicts_with_all = ["profile", "target"])]
    library: Vec<PathBuf>,
    /// Lay everything out, and pack nothing into archives.
    #[arg(long)]
    unpacked: bool,
    /// Write the checksums of what is packaged into the manifests, for a release.
    #[arg(long, conflicts_with = "unpacked")]
    pin: bool,
    /// Which Swift tries it out, in an empty package that depends on a tag.
    #[arg(long, value_enum, default_value = "any")]
    swift: Swift,
    /// Package nothing, and try out what is published of this version.
    #[arg(long)]
    published: bool,
}

/// The module that is in the library, for Swift.
const MODULE: &str = "CasmFFIC";

/// The library in a package.
const LIBRARY: &str = "libcasm.a";

/// The most bytes of the library, stripped. It has 32.5 MB: with what a linker leaves out,
/// and all by which it puts the rest together.
const LIBRARY_MOST: u64 = 34_000_000;

/// What is built on a Mac.
const APPLE: [&str; 5] = [
    "aarch64-apple-ios",
    "aarch64-apple-ios-sim",
    "x86_64-apple-ios",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
];

/// The manifests of the package; the second knows bundles as well.
const MANIFESTS: [&str; 2] = ["Package.swift", "Package@swift-6.2.swift"];

/// Where everything is put, in the folder of what is built.
const OUT: &str = "swift";

pub fn package(args: &Args) -> Result<()> {
    if args.published {
        return consumer::try_published();
    }
    let files = if args.library.is_empty() { build(args)? } else { args.library.clone() };
    let libraries: Vec<_> = files.iter().map(|file| Library::read(file)).collect::<Result<_>>()?;
    let headers = Headers::read()?;
    let (apple, linux): (Vec<_>, Vec<_>) =
        libraries.into_iter().partition(|library| library.system != System::Linux);
    if !apple.is_empty() {
        let framework = fresh(&format!("{OUT}/{MODULE}.xcframework"))?;
        xcframework::write(&framework, &apple, &headers)?;
        args.packed(&framework, "zip", &[("xcframeworkChecksum", &MANIFESTS)])?;
    }
    if !linux.is_empty() {
        let bundle = fresh(&format!("{OUT}/{MODULE}.artifactbundle"))?;
        linux::bundle(&bundle, &linux, &headers)?;
        args.packed(&bundle, "zip", &[("bundleChecksum", &MANIFESTS[1..])])?;
        for library in &linux {
            let folder = fresh(&format!("{OUT}/{}", linux::name(library.arch)))?;
            linux::installed(&folder, library, &headers)?;
            args.packed(&folder, "tar.gz", &[])?;
        }
    }
    if linux.iter().chain(&apple).any(Library::runs_here) {
        return consumer::try_out(args.swift);
    }
    println!("not tried out: none of the libraries is for this machine");
    Ok(())
}

impl Args {
    /// Packs a folder beside it, and writes the checksum where it belongs, as is asked.
    fn packed(&self, folder: &Path, end: &str, pins: &[(&str, &[&str])]) -> Result<()> {
        if self.unpacked {
            return Ok(());
        }
        let mut out = folder.as_os_str().to_owned();
        out.push(format!(".{end}"));
        let checksum = release::pack(folder, Path::new(&out))?;
        for (name, manifests) in pins.iter().filter(|_| self.pin) {
            for manifest in *manifests {
                release::pin(&shell::workspace().join(manifest), name, &checksum)?;
            }
        }
        Ok(())
    }
}

/// Builds the libraries, and gives where they are, stripped.
fn build(args: &Args) -> Result<Vec<PathBuf>> {
    let targets = match &args.target[..] {
        [] if cfg!(target_os = "macos") => APPLE.map(str::to_owned).to_vec(),
        [] => vec![host()?],
        given => given.to_vec(),
    };
    let mut libraries = vec![];
    for target in targets {
        let mut cargo = shell::cargo();
        native::remap(&mut cargo, None, &[]);
        // Alone: beside the crate's other types it would not be optimised as a whole.
        cargo.args(["rustc", "--locked", "-p", "casm-uniffi", "--lib"]);
        cargo.args(["--crate-type", "staticlib", "--profile", &args.profile, "--target", &target]);
        // What the package's manifest says.
        cargo.env("IPHONEOS_DEPLOYMENT_TARGET", "16.0").env("MACOSX_DEPLOYMENT_TARGET", "13.0");
        shell::run(&mut cargo)?;
        let folder = if args.profile == "dev" { "debug" } else { &args.profile };
        let built = shell::target().join(&target).join(folder).join("libcasm_uniffi.a");
        let library = fresh(&format!("{OUT}/stripped/{target}"))?.join(LIBRARY);
        strip(&built, &library)?;
        native::size_of(&library, &args.profile, &target, LIBRARY_MOST)?;
        // Where it was built must not be in it; what is for debugging has it.
        if args.profile != "dev" {
            native::inspect(&library, None)?;
        }
        libraries.push(library);
    }
    Ok(libraries)
}

/// A copy without what is for debuggers alone.
fn strip(library: &Path, copy: &Path) -> Result<()> {
    let options: &[&str] =
        if cfg!(target_os = "macos") { &["-S", "-x"] } else { &["--strip-unneeded"] };
    let before =
        fs::metadata(library).with_context(|| format!("{} is not there", library.display()))?.len();
    shell::run(Command::new("strip").args(options).arg("-o").arg(copy).arg(library))?;
    ensure!(fs::metadata(copy)?.len() > 0, "{} is empty", copy.display());
    println!("{}: {before} bytes before it was stripped", library.display());
    Ok(())
}

/// What describes the library to Swift and to C.
struct Headers {
    header: String,
    module_map: String,
}

impl Headers {
    /// As they lie in the Swift package.
    fn read() -> Result<Self> {
        let read = |name: &str| {
            let file = shell::workspace().join("swift/Sources").join(MODULE).join(name);
            fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))
        };
        Ok(Self { header: read(&format!("{MODULE}.h"))?, module_map: read("module.modulemap")? })
    }

    /// Writes them into a folder of the module's name, in this folder.
    fn write(&self, folder: &Path) -> Result<()> {
        let folder = folder.join(MODULE);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{MODULE}.h")), &self.header)?;
        fs::write(folder.join("module.modulemap"), &self.module_map)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Headers {
        pub fn some() -> Self {
            let module_map = format!("module {MODULE} {{\n    header \"{MODULE}.h\"\n}}\n");
            Self { header: "int casm(void);\n".into(), module_map }
        }
    }

    /// An empty folder for a test.
    pub fn place(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("casm-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Libraries, written into a folder and read.
    pub fn libraries(place: &Path, given: &[(&str, Vec<u8>)]) -> Vec<Library> {
        let read = |(name, bytes): &(&str, Vec<u8>)| {
            let file = place.join(name);
            fs::write(&file, bytes).unwrap();
            Library::read(&file).unwrap()
        };
        given.iter().map(read).collect()
    }

    /// The files in a folder and in its folders, by name.
    pub fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![];
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read(path).unwrap()));
            }
        }
        files.sort();
        files
    }

    #[test]
    fn the_release_workflow_builds_and_publishes_everything() {
        const WORKFLOW: &str = include_str!("../../../../.github/workflows/release-swift.yml");
        let line = WORKFLOW.lines().find(|line| line.contains("rustup target add")).unwrap();
        // That of the Mac which builds is there.
        let missing: Vec<_> = APPLE.iter().filter(|target| !line.contains(**target)).collect();
        assert_eq!(missing, [&"aarch64-apple-darwin"]);
        for file in ["xcframework.zip", "artifactbundle.zip"] {
            assert!(WORKFLOW.contains(&format!("target/{OUT}/{MODULE}.{file}")), "{file}");
        }
        assert!(WORKFLOW.contains(&format!("target/{OUT}/casm-*.tar.gz")));
        // Its tag starts none of the others.
        let folder = shell::workspace().join(".github/workflows");
        let mut others = 0;
        for file in fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.starts_with("release-") && name != "release-swift.yml" {
                let run = format!(
                    "gh workflow run {name} --ref \"v${{{{ steps.tag.outputs.version }}}}\""
                );
                assert!(WORKFLOW.contains(&run), "{run}");
                others += 1;
            }
        }
        assert!(others >= 3);
        for command in WORKFLOW.lines().filter_map(|line| line.split("cargo xtask ").nth(1)) {
            let words: Vec<_> = command.split(' ').take_while(|word| *word != "\"$@\"").collect();
            crate::parse(&words).unwrap();
        }
    }

    #[test]
    fn what_is_packaged_can_be_told() {
        let told = |words: &[&str]| crate::parse(&[&["package", "swift"], words].concat());
        told(&["--profile", "dev", "--target", "a", "--target", "b"]).unwrap();
        told(&["--library", "a.a", "--library", "b.a", "--pin", "--swift", "sid"]).unwrap();
        assert!(told(&["--unpacked", "--pin"]).is_err());
        assert!(told(&["--library", "a.a", "--target", "b"]).is_err());
    }
}
