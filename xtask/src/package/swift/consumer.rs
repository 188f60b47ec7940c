//! The Swift package as its users get it: an empty package depends on a tag of it, by
//! the address of a repository, and its program is run.

use super::{MODULE, OUT, linux};
use crate::{
    shell,
    swift::{toolchain::is_here, trixie},
    uniffi,
};
use anyhow::{Result, ensure};
use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where it is published.
const PUBLISHED: &str = env!("CARGO_PKG_REPOSITORY");

/// Another static library with a module, on a Mac: its headers lie as most have theirs.
const OTHER: [(&str, &str); 3] = [
    ("include/other.h", "int other(void);\n"),
    ("include/module.modulemap", "module Other { header \"other.h\" export * }\n"),
    ("other.c", "int other(void) { return 1; }\n"),
];

const USES: &str = "\
import Casm

func node(_ boot: String) async throws -> Node {
    try await Node.start(Config(listen: [\"/ip4/127.0.0.1/tcp/0\"], boot: [boot]))
}

public func meet() async throws -> Int {
    let first = try await node(\"none\")
    let second = try await node(try first.addrs()[0])
    let view = try await second.waitFor(2, timeout: .seconds(60))
    try await second.close()
    try await first.close()
    return view.count
}
";

const MAIN: &str = "import Uses\n\nprint(\"sees\", try await meet())\n";

/// Which Swift tries it out.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Swift {
    /// That of this machine, or that of Debian 13 where there is none.
    Any,
    /// That of Debian sid, which takes artifact bundles.
    Sid,
    /// None.
    None,
}

/// Tries out what lies in the folder of what is built.
pub fn try_out(swift: Swift) -> Result<()> {
    let root = match swift {
        Swift::None => return Ok(()),
        Swift::Any if is_here() => None,
        Swift::Any => Some(trixie::environment()?),
        Swift::Sid => Some(trixie::sid()?),
    };
    let place = Place::new(root)?;
    repository(&place.folder)?;
    let address = format!("file://{}/casm", place.seen);
    place.lay_out(&address)?;
    place.meet(Some(&place.installed()?))
}

/// Tries out what is published, with the Swift of this machine. On Linux before 6.2 its
/// tarball is installed, and on the path of pkg-config.
pub fn try_published() -> Result<()> {
    let place = Place::new(None)?;
    place.lay_out(PUBLISHED)?;
    place.meet(None)
}

/// A repository with what is committed here, and with what was packaged where the
/// manifests look for it first; tagged.
fn repository(place: &Path) -> Result<()> {
    let casm = place.join("casm");
    let git = || {
        let mut git = Command::new("git");
        git.current_dir(&casm).args(["-c", "user.name=casm", "-c", "user.email=casm@localhost"]);
        git
    };
    shell::run(Command::new("git").args(["clone", "-q"]).arg(shell::workspace()).arg(&casm))?;
    for kind in ["xcframework", "artifactbundle"] {
        let name = format!("{OUT}/{MODULE}.{kind}");
        let made = shell::target().join(&name);
        if made.exists() {
            uniffi::copy(&made, &casm.join("target").join(&name))?;
        }
    }
    // The libraries are large.
    shell::run(git().args(["-c", "core.compression=0", "add", "--force", "target"]))?;
    shell::run(git().args(["commit", "-qm", "What was packaged"]))?;
    shell::run(git().args(["tag", "--force", VERSION]))
}

/// Where the empty package is.
struct Place {
    folder: PathBuf,
    /// The same, as Swift sees it.
    seen: String,
    /// The root folder of the Debian whose Swift it is.
    root: Option<PathBuf>,
}

impl Place {
    fn new(root: Option<PathBuf>) -> Result<Self> {
        let folder = fs::canonicalize(super::fresh(&format!("{OUT}/consumer"))?)?;
        let seen = match root {
            Some(_) => trixie::BUILD.to_owned(),
            None => folder.display().to_string(),
        };
        Ok(Self { folder, seen, root })
    }

    /// Writes the empty package. On a Mac it has another static XCFramework as well.
    fn lay_out(&self, address: &str) -> Result<()> {
        let empty = self.folder.join("empty");
        let mut uses = USES.to_owned();
        let (mut target, mut dependency) = ("", "");
        if cfg!(target_os = "macos") {
            other(&empty)?;
            target = ".binaryTarget(name: \"Other\", path: \"Other.xcframework\"),";
            dependency = "\"Other\", ";
            uses = format!("import Other\n{uses}\npublic let one = other()\n");
        }
        let manifest = format!(
            "// swift-tools-version: 6.0\n\
             import PackageDescription\n\n\
             let package = Package(\n\
             name: \"Empty\",\n\
             platforms: [.iOS(.v16), .macOS(.v13)],\n\
             products: [.library(name: \"Uses\", targets: [\"Uses\"])],\n\
             dependencies: [.package(url: \"{address}\", exact: \"{VERSION}\")],\n\
             targets: [\n{target}\n\
             .target(name: \"Uses\", dependencies: [{dependency}\
             .product(name: \"Casm\", package: \"casm\")]),\n\
             .executableTarget(name: \"Empty\", dependencies: [\"Uses\"]),\n\
             ]\n)\n"
        );
        for (file, text) in [
            ("Package.swift", manifest.as_str()),
            ("Sources/Uses/Uses.swift", &uses),
            ("Sources/Empty/main.swift", MAIN),
        ] {
            write(&empty.join(file), text)?;
        }
        Ok(())
    }

    /// Unpacks the tarball for this machine, where there is one; gives where pkg-config
    /// finds what is in it, as Swift sees that.
    fn installed(&self) -> Result<String> {
        for arch in linux::ARCHES.iter().filter(|arch| arch.triple().starts_with(ARCH)) {
            let made = shell::target().join(OUT).join(linux::name(*arch));
            if made.exists() {
                uniffi::copy(&made, &self.folder.join("installed"))?;
            }
        }
        Ok(format!("{}/installed/lib/pkgconfig", self.seen))
    }

    /// Builds the empty package, and runs its program: two nodes meet.
    fn meet(&self, pkg_config: Option<&str>) -> Result<()> {
        let (empty, seen) = (format!("{}/empty", self.seen), &self.seen);
        let mut swift = match &self.root {
            Some(root) => {
                let path = pkg_config.unwrap_or_default();
                let mut swift = trixie::program(root, &self.folder, &empty, "swift", path)?;
                // It would set up a sandbox of its own otherwise, in which it can't.
                swift.args(["run", "--disable-sandbox"]);
                swift
            }
            None => {
                let mut swift = Command::new("swift");
                swift.current_dir(empty).arg("run");
                swift.envs(pkg_config.map(|path| ("PKG_CONFIG_PATH", path)));
                swift
            }
        };
        // What it remembers of a tag of this name elsewhere is another's.
        swift.args(["--cache-path", &format!("{seen}/cache")]);
        swift.args(["--security-path", &format!("{seen}/security"), "Empty"]);
        eprintln!("trying out the Swift package in an empty one, as it is committed");
        let said = shell::output(&mut swift)?;
        ensure!(said.contains("sees 2"), "the nodes of the empty package did not meet: {said}");
        if cfg!(target_os = "macos") {
            // Xcode puts the headers of all frameworks together.
            for destination in ["platform=macOS", "generic/platform=iOS Simulator"] {
                let mut xcode = Command::new("xcodebuild");
                xcode.current_dir(self.folder.join("empty")).args(["build", "-scheme", "Uses"]);
                xcode.args(["-destination", destination, "-derivedDataPath"]);
                shell::run(xcode.arg(self.folder.join("xcode")))?;
            }
        }
        println!("the Swift package works in an empty one: {}", said.trim());
        Ok(())
    }
}

/// Writes the other framework: for this Mac, and for the simulator.
fn other(empty: &Path) -> Result<()> {
    let source = empty.join("other");
    for (file, text) in OTHER {
        write(&source.join(file), text)?;
    }
    let mut create = Command::new("xcodebuild");
    create.arg("-create-xcframework").current_dir(&source);
    for (sdk, arches) in [("macosx", ["arm64", "x86_64"]), ("iphonesimulator", ["arm64", "x86_64"])]
    {
        let (object, library) = (format!("{sdk}.o"), format!("{sdk}/libother.a"));
        fs::create_dir_all(source.join(sdk))?;
        let mut clang = Command::new("xcrun");
        clang.current_dir(&source).args(["--sdk", sdk, "clang", "-c", "other.c", "-o", &object]);
        shell::run(clang.args(arches.iter().flat_map(|arch| ["-arch", arch])))?;
        let mut archive = Command::new("libtool");
        shell::run(archive.current_dir(&source).args(["-static", "-o", &library, &object]))?;
        create.args(["-library", &library, "-headers", "include"]);
    }
    shell::run(create.args(["-output", "../Other.xcframework"]))
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text)?;
    Ok(())
}
