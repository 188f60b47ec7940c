//! The packages for Kotlin and Java: a JAR with the native libraries inside, an AAR for
//! Android, and what Maven Central wants beside them.
//!
//! - `archive`: what is in the JARs and in the AAR
//! - `elf`: whether a library is for its processor, and pages of 16 KiB can load it
//! - `tried`: a project that has nothing but the package
//! - `url`: where the repository is, for Maven
//! - `workflow`: that the release workflow calls all this as it is

mod archive;
mod elf;
mod tried;
mod url;
#[cfg(test)]
mod workflow;

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
    /// platform as JNA calls it, such as `linux-aarch64`. Can be given several times; one
    /// for musl, `linux-musl-aarch64`, is for a JAR of its own, of that classifier.
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

/// The most bytes of the native library: that of Node.js has 11.5 MB at most, and this
/// one has each call that waits twice.
const LIBRARY_MOST: u64 = 12_000_000;

/// Where a library is put that was built, in the folder of what is built.
const BUILT: &str = "kotlin-package/library";

/// How the platforms begin whose libraries are linked with musl: those are in JARs of
/// their own, since JNA looks for both in the same place.
const MUSL: &str = "linux-musl-";

/// How the library is linked, where it is for Linux.
const PAGES: &str = "-Clink-arg=-Wl,-z,max-page-size=16384";

pub fn package(args: &Args) -> Result<()> {
    let here = host()?;
    let target = args.build.target.as_ref().unwrap_or(&here);
    let libraries = match &args.library[..] {
        [] => vec![build(target, args)?],
        libraries => given(libraries, libc)?,
    };
    // Android has a C library of its own.
    let jni = given(&args.jni, |_| None)?;
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

    let pom = out.join("casm.pom");
    fs::write(&pom, manifest("casm", "jar"))?;
    for Jar { classifier, libraries } in jars(libraries) {
        let name = classifier.as_deref().unwrap_or("all");
        let file = out.join(format!("casm-{name}.jar"));
        archive::jar(&classes, &libraries, &file)?;
        archive::check_jar(&file, &libraries)?;
        let pom = pom.clone();
        deploy(&project, &Artifact { pom, file, classifier, sources: &sources, docs: &docs })?;
    }

    if !jni.is_empty() {
        let (file, pom) = (out.join("casm.aar"), out.join("casm-android.pom"));
        archive::aar(&classes, &jni, &file)?;
        fs::write(&pom, manifest("casm-android", "aar"))?;
        deploy(
            &project,
            &Artifact { pom, file, classifier: None, sources: &sources, docs: &docs },
        )?;
    }
    if args.library.is_empty() && *target == here && !here.ends_with("-musl") {
        tried::try_out(&project)?;
    }
    Ok(())
}

/// Libraries that were built elsewhere: what is given to others tells no more of where
/// than what is built here, and needs no newer system.
fn given(libraries: &[Library], libc: impl Fn(&str) -> Option<Libc>) -> Result<Vec<Library>> {
    for Library { platform, file } in libraries {
        native::inspect(file, libc(platform))?;
    }
    Ok(libraries.to_vec())
}

/// What a library for this platform is linked with.
fn libc(platform: &str) -> Option<Libc> {
    match platform {
        _ if platform.starts_with(MUSL) => Some(Libc::Musl),
        _ if platform.starts_with("linux-") => Some(Libc::Glibc),
        _ => None,
    }
}

/// A JAR that is to be made, and what is in it.
#[derive(Debug)]
struct Jar {
    classifier: Option<String>,
    libraries: Vec<Library>,
}

/// One JAR with all libraries, and one for each that is linked with musl.
fn jars(libraries: Vec<Library>) -> Vec<Jar> {
    let is_musl = |library: &Library| library.platform.starts_with(MUSL);
    let (musl, libraries): (Vec<_>, _) = libraries.into_iter().partition(is_musl);
    let all = Jar { classifier: None, libraries };
    let musl = musl.into_iter().map(|Library { platform, file }| {
        let inside = platform.replacen(MUSL, "linux-", 1);
        let libraries = vec![Library { platform: inside, file }];
        Jar { classifier: Some(platform), libraries }
    });
    let all = Some(all).filter(|jar| !jar.libraries.is_empty());
    all.into_iter().chain(musl).collect()
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
    maven.arg(format!("-Durl={}", url::of(&repository))).arg("-DrepositoryId=casm");
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
                native::remap(&mut cargo, Some(libc), &[PAGES]);
            }
            Libc::Musl => {
                cargo.arg(target);
                native::remap(&mut cargo, Some(libc), &["-Ctarget-feature=-crt-static", PAGES]);
            }
        }
    } else {
        cargo = shell::cargo();
        cargo.args(["rustc", "--target", target]);
        native::remap(&mut cargo, None, &[]);
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
    let file = fresh(BUILT)?.join(kotlin::file_name(suffix));
    fs::copy(&built, &file).with_context(|| format!("{} cannot be copied", built.display()))?;
    native::size(&file, &args.build, LIBRARY_MOST)?;
    native::inspect(&file, libc)?;
    Ok(Library { platform: platform(target)?, file })
}

/// A platform, as JNA looks for it; it knows nothing of different C libraries, which we
/// tell apart.
fn platform(target: &str) -> Result<String> {
    let system = match target {
        _ if target.ends_with("-linux-musl") => MUSL.trim_end_matches('-'),
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
            ("aarch64-unknown-linux-musl", "linux-musl-aarch64"),
            ("aarch64-apple-darwin", "darwin-aarch64"),
            ("x86_64-pc-windows-msvc", "win32-x86-64"),
        ];
        for (target, wanted) in platforms {
            assert_eq!(platform(target).unwrap(), wanted);
        }
        platform("aarch64-apple-ios").unwrap_err();
    }

    #[test]
    fn a_library_for_musl_is_in_a_jar_of_its_own() {
        let library = |platform: &str| format!("{platform}=lib").parse::<Library>().unwrap();
        let names = |jars: Vec<Jar>| -> Vec<_> {
            let inside = |jar: &Jar| -> Vec<_> {
                jar.libraries.iter().map(|library| library.platform.clone()).collect()
            };
            jars.iter().map(|jar| (jar.classifier.clone(), inside(jar))).collect()
        };
        let musl = (Some("linux-musl-aarch64".to_owned()), vec!["linux-aarch64".to_owned()]);
        let all = ["linux-aarch64", "linux-musl-aarch64", "win32-x86-64"].map(library);
        let whole = (None, vec!["linux-aarch64".to_owned(), "win32-x86-64".to_owned()]);
        assert_eq!(names(jars(all.to_vec())), [whole, musl.clone()]);
        assert_eq!(names(jars(vec![library("linux-musl-aarch64")])), [musl]);
    }

    #[test]
    fn a_library_from_elsewhere_is_inspected() {
        let file = env::temp_dir().join(format!("casm-given-{}.so", std::process::id()));
        let asked = |platform: &str, bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            let library = Library { platform: platform.to_owned(), file: file.clone() };
            given(&[library], libc).map(|given| given.len()).map_err(|error| error.to_string())
        };
        let (old, newer) = (b"\0GLIBC_2.17\0".as_slice(), b"\0GLIBC_2.38\0".as_slice());
        assert_eq!(asked("linux-x86-64", old), Ok(1));
        assert!(asked("linux-x86-64", newer).unwrap_err().contains("needs glibc"));
        assert!(asked("linux-musl-x86-64", old).unwrap_err().contains("is for musl"));
        assert_eq!(asked("linux-musl-x86-64", b"\0"), Ok(1));
        // Those for Android too.
        let path = shell::workspace().join("core/src/lib.rs").display().to_string();
        for platform in ["win32-x86-64", "arm64-v8a"] {
            let error = asked(platform, path.as_bytes()).unwrap_err();
            assert!(error.contains("holds a build path"), "{error}");
        }
        fs::remove_file(file).unwrap();
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
