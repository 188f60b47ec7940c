//! The packages for Kotlin and Java: a JAR with the native libraries inside, an AAR for
//! Android, and what Maven Central wants beside them.
//!
//! - `archive`: what is in the JARs and in the AAR
//! - `elf`: whether pages of 16 KiB can load a library
//! - `tried`: a project that has nothing but the package

mod archive;
mod elf;
mod tried;

use super::{Build, fresh, linker, native, native::Libc, platform::host, tools};
use crate::{kotlin, shell};
use anyhow::{Context, Result, ensure};
use archive::Library;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    build: Build,
    /// A native library for the JAR, `PLATFORM=FILE`, instead of building any: the
    /// platform as JNA calls it, such as `linux-aarch64`. Can be given several times.
    #[arg(long, conflicts_with_all = ["profile", "target"])]
    library: Vec<Library>,
    /// A native library for the AAR, `ABI=FILE`, such as `arm64-v8a=libcasm.so`. Can be
    /// given several times; without any, no AAR is made.
    #[arg(long)]
    jni: Vec<Library>,
}

/// The group of the artifacts.
const GROUP: &str = "io.github.wetware";

/// The repository of what is packaged, in the folder of what is built.
pub const REPOSITORY: &str = "maven";

/// The most bytes of the native library: that of Node.js has 10 MB at most, and this one
/// has each call that waits twice.
const LIBRARY_MOST: u64 = 10_500_000;

/// What the library is linked with, where it is for Linux.
const PAGES: &str = "-Clink-arg=-Wl,-z,max-page-size=16384";

pub fn package(args: &Args) -> Result<()> {
    let here = host()?;
    let target = args.build.target.as_ref().unwrap_or(&here);
    let musl = args.library.is_empty() && target.ends_with("-musl");
    let libraries = match &args.library[..] {
        [] => vec![build(target, args)?],
        given => given.to_vec(),
    };
    let project = kotlin::lay_out()?;
    let mut maven = kotlin::maven(&project)?;
    shell::run(maven.args(["clean", "compile", "dokka:javadocJar"]))?;

    let version = env!("CARGO_PKG_VERSION");
    let out = fresh("kotlin-package/out")?;
    let (classes, made) = (project.join("target/classes"), project.join("target"));
    let docs = made.join(format!("casm-{version}-javadoc.jar"));
    ensure!(docs.exists(), "Dokka has made no {}", docs.display());
    let sources = out.join("sources.jar");
    archive::plain_jar(&[project.join("src/main/kotlin"), project.join("generated")], &sources)?;
    fresh(REPOSITORY)?;

    let jar = out.join("casm.jar");
    archive::jar(&classes, &libraries, &jar)?;
    archive::check_jar(&jar, &libraries)?;
    let pom = out.join("casm.pom");
    fs::write(&pom, manifest("casm", "jar"))?;
    // The other C library is for who asks for it.
    let classifier = musl.then(|| format!("linux-musl-{}", processor(target)));
    deploy(&project, &Artifact { pom, file: jar, classifier, sources: &sources, docs: &docs })?;

    if !args.jni.is_empty() {
        let (file, pom) = (out.join("casm.aar"), out.join("casm-android.pom"));
        archive::aar(&classes, &args.jni, &file)?;
        fs::write(&pom, manifest("casm-android", "aar"))?;
        deploy(
            &project,
            &Artifact { pom, file, classifier: None, sources: &sources, docs: &docs },
        )?;
    }
    if args.library.is_empty() && *target == here {
        tried::try_out(&project)?;
    }
    Ok(())
}

/// The POM of an artifact.
fn manifest(artifact: &str, packaging: &str) -> String {
    const POM: &str = include_str!("pom.xml");
    const PROJECT: &str = include_str!("../../../../kotlin/pom.xml");
    // As it is compiled and tested.
    let used = |name: &str| {
        let (_, rest) = PROJECT.split_once(&format!("<artifactId>{name}</artifactId>"))?;
        let (_, rest) = rest.split_once("<version>")?;
        rest.split_once("</version>").map(|(version, _)| version)
    };
    let jna_type = if packaging == "aar" { "\n      <type>aar</type>" } else { "" };
    POM.replace("@ARTIFACT@", artifact)
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@PACKAGING@", packaging)
        .replace("@COROUTINES@", used("kotlinx-coroutines-core").unwrap_or_default())
        .replace("@JNA@", used("jna").unwrap_or_default())
        .replace("@JNA_TYPE@", jna_type)
}

/// What goes into the repository at once.
struct Artifact<'a> {
    pom: PathBuf,
    file: PathBuf,
    classifier: Option<String>,
    sources: &'a Path,
    docs: &'a Path,
}

/// Puts an artifact into the repository in target, with checksums, as it would go to
/// Maven Central.
fn deploy(project: &Path, artifact: &Artifact<'_>) -> Result<()> {
    let repository = std::path::absolute(shell::target().join(REPOSITORY))?;
    let mut maven = kotlin::maven(project)?;
    maven.arg("org.apache.maven.plugins:maven-deploy-plugin:3.1.4:deploy-file");
    let option = |name: &str, path: &Path| format!("-D{name}={}", path.display());
    maven.arg(format!("-Durl=file://{}", repository.display())).arg("-DrepositoryId=casm");
    maven.arg(option("pomFile", &std::path::absolute(&artifact.pom)?));
    maven.arg(option("file", &std::path::absolute(&artifact.file)?));
    match &artifact.classifier {
        Some(classifier) => {
            maven.arg(format!("-Dclassifier={classifier}"));
        }
        None => {
            maven.arg(option("sources", &std::path::absolute(artifact.sources)?));
            maven.arg(option("javadoc", &std::path::absolute(artifact.docs)?));
        }
    }
    shell::run(&mut maven)
}

/// Builds the native library for a target. On Linux zig links it, against an old glibc,
/// for pages of up to 16 KiB.
fn build(target: &str, args: &Args) -> Result<Library> {
    let profile = &args.build.profile;
    let mut cargo;
    let libc = match target {
        _ if target.ends_with("-linux-gnu") => Some(Libc::Glibc),
        _ if target.ends_with("-linux-musl") => Some(Libc::Musl),
        _ => None,
    };
    if let Some(libc) = libc {
        let (python, path) = tools()?;
        let program = python.with_file_name("cargo-zigbuild");
        cargo = shell::cargo();
        let plain = cargo.get_envs().map(|(name, value)| (name.to_owned(), value.map(Into::into)));
        let plain: Vec<(_, Option<std::ffi::OsString>)> = plain.collect();
        cargo = Command::new(program);
        cargo.current_dir(shell::workspace()).env("PATH", path).arg("rustc").arg("--target");
        for (name, value) in plain {
            match value {
                Some(value) => cargo.env(name, value),
                None => cargo.env_remove(name),
            };
        }
        linker::sort(&mut cargo, &python, target)?;
        match libc {
            Libc::Glibc => {
                cargo.arg(format!("{target}.{}.{}", native::GLIBC.0, native::GLIBC.1));
                native::remap(&mut cargo, &[PAGES]);
            }
            Libc::Musl => {
                cargo.arg(target);
                native::remap(&mut cargo, &["-Ctarget-feature=-crt-static", PAGES]);
            }
        }
    } else {
        cargo = shell::cargo();
        cargo.args(["rustc", "--target", target]);
        native::remap(&mut cargo, &[]);
    }
    // Alone: beside the crate's other types it would not be optimised as a whole.
    cargo.args(["--locked", "-p", "casm-uniffi", "--lib", "--features", "lean"]);
    cargo.args(["--crate-type", "cdylib"]);
    shell::run(cargo.args(["--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let (prefix, suffix) = match target {
        _ if target.contains("windows") => ("", ".dll"),
        _ if target.contains("apple") => ("lib", ".dylib"),
        _ => ("lib", ".so"),
    };
    let built = shell::target().join(target).join(folder);
    let built = built.join(format!("{prefix}casm_uniffi{suffix}"));
    let file = fresh("kotlin-package/library")?.join(kotlin::file_name(suffix));
    fs::copy(&built, &file).with_context(|| format!("{} cannot be copied", built.display()))?;
    native::size(&file, &args.build, LIBRARY_MOST)?;
    native::inspect(&file, libc)?;
    Ok(Library { platform: platform(target)?, file })
}

/// A platform, as JNA looks for it. It knows nothing of different C libraries.
fn platform(target: &str) -> Result<String> {
    let system = match target {
        _ if target.contains("-linux-") => "linux",
        _ if target.contains("-apple-darwin") => "darwin",
        _ if target.contains("-windows-") => "win32",
        _ => anyhow::bail!("there is no JAR for {target:?}"),
    };
    Ok(format!("{system}-{}", processor(target)))
}

fn processor(target: &str) -> &str {
    match target.split('-').next().unwrap_or_default() {
        "x86_64" => "x86-64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jna_finds_the_library_of_its_platform() {
        let platforms = [
            ("x86_64-unknown-linux-gnu", "linux-x86-64"),
            ("aarch64-unknown-linux-musl", "linux-aarch64"),
            ("aarch64-apple-darwin", "darwin-aarch64"),
            ("x86_64-pc-windows-msvc", "win32-x86-64"),
        ];
        for (target, wanted) in platforms {
            assert_eq!(platform(target).unwrap(), wanted);
        }
        platform("aarch64-apple-ios").unwrap_err();
    }

    #[test]
    fn maven_central_finds_all_that_it_asks_for() {
        for (artifact, packaging) in [("casm", "jar"), ("casm-android", "aar")] {
            let pom = manifest(artifact, packaging);
            assert!(!pom.contains('@'), "{pom}");
            let fields = [
                "groupId",
                "artifactId",
                "version",
                "packaging",
                "name",
                "description",
                "url",
                "license",
                "developer",
                "connection",
                "developerConnection",
                "scm",
            ];
            for field in fields {
                assert!(pom.contains(&format!("<{field}>")), "{field}: {pom}");
            }
            assert!(pom.contains(&format!("<groupId>{GROUP}</groupId>")));
            assert!(!pom.contains("<version></version>"), "{pom}");
            assert_eq!(pom.contains("<type>aar</type>"), packaging == "aar");
            assert_eq!(pom.matches("<dependency>").count(), 2, "coroutines and JNA alone");
        }
    }

    #[test]
    fn the_projects_have_the_version_of_the_workspace() {
        let version = format!("<version>{}</version>", env!("CARGO_PKG_VERSION"));
        assert!(include_str!("../../../../kotlin/pom.xml").contains(&version));
    }
}
