//! The release workflow, read: it calls what is here, by the names that are here.

use super::{
    BUILT, PAGES, REPOSITORY,
    archive::{ABIS, Library},
    jars, platform,
};
use crate::kotlin::file_name;

const WORKFLOW: &str = include_str!("../../../../.github/workflows/release-kotlin.yml");

/// The platforms for which it builds, each with what it says to the command.
fn platforms() -> Vec<(String, String)> {
    let jobs = WORKFLOW.lines().filter_map(|line| line.trim().strip_prefix("- { name: "));
    let part = |job: &str, begin: &str, end: char| {
        let (_, rest) = job.split_once(begin).unwrap();
        rest.split(end).next().unwrap().to_owned()
    };
    jobs.map(|job| (part(job, "", ','), part(job, "args: \"", '"'))).collect()
}

/// The commands with which `xtask` is called: those over several lines too.
fn commands() -> Vec<Vec<String>> {
    let lines: Vec<_> = WORKFLOW.lines().map(str::trim).collect();
    let mut found = vec![];
    for (at, line) in lines.iter().enumerate() {
        let Some((_, first)) = line.split_once("cargo xtask ") else { continue };
        let more = lines[at + 1..].iter().take_while(|line| line.starts_with("--"));
        let line = [first].into_iter().chain(more.copied()).collect::<Vec<_>>().join(" ");
        found.push(line);
    }
    assert_eq!(found.len(), 2, "one that builds, and one that puts together");
    let all = platforms();
    let built = all.iter().map(|(_, args)| found[0].replace("${{ matrix.args }}", args));
    let lines: Vec<_> = built.chain([found[1].clone()]).collect();
    lines.iter().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The libraries that the last command is given by this option.
fn given(option: &str) -> Vec<Library> {
    let commands = commands();
    let last = commands.last().unwrap();
    let options = last.windows(2).filter(|words| words[0] == option);
    options.map(|words| words[1].parse().unwrap()).collect()
}

#[test]
fn its_commands_can_be_told() {
    for command in commands() {
        assert!(!command.iter().any(|word| word.contains("${{")), "{command:?}");
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        crate::parse(&words).unwrap();
    }
}

#[test]
fn every_platform_that_is_built_is_put_into_the_repository() {
    let platforms = platforms();
    assert!(platforms.iter().filter(|(name, _)| name.contains("-musl-")).count() == 2);
    for (name, args) in &platforms {
        match args.strip_prefix("--target ") {
            Some(target) => assert_eq!(&platform(target).unwrap(), name),
            None => assert!(args.is_empty() && !name.contains("-musl-"), "{name}: {args}"),
        }
    }
    let libraries = given("--library");
    let names = platforms.iter().map(|(name, _)| name);
    let mut given: Vec<_> = libraries.iter().map(|library| &library.platform).collect();
    let mut built: Vec<_> = names.collect();
    given.sort();
    built.sort();
    assert_eq!(given, built);
    // Where they come from is what is handed up, as it is named there.
    for Library { platform, file } in &libraries {
        let suffix = match platform.split('-').next() {
            Some("linux") => ".so",
            Some("darwin") => ".dylib",
            _ => ".dll",
        };
        let wanted = format!("given/library-{platform}/{}", file_name(suffix));
        assert_eq!(file.to_str(), Some(&*wanted));
    }
    assert!(WORKFLOW.contains("name: library-${{ matrix.name }}\n"));
    assert!(WORKFLOW.contains("with: { path: given }\n"));
    assert!(WORKFLOW.contains(&format!("path: target/{BUILT}/\n")));
    assert!(WORKFLOW.contains(&format!("path: target/{REPOSITORY}/\n")));
    // Those for musl are found there by their classifiers.
    let classifiers: Vec<_> = jars(libraries).into_iter().map(|jar| jar.classifier).collect();
    let musl = |processor| Some(format!("linux-musl-{processor}"));
    assert_eq!(classifiers, [None, musl("x86-64"), musl("aarch64")]);
}

#[test]
fn every_processor_of_androids_is_built_and_tells_nothing_of_where() {
    let libraries = given("--jni");
    assert!(libraries.iter().map(|library| &*library.platform).eq(ABIS));
    for Library { platform, file } in libraries {
        let wanted = format!("given/jni/{platform}/libcasm_uniffi.so");
        assert_eq!(file.to_str(), Some(&*wanted));
        assert!(WORKFLOW.contains(&format!("-t {platform}")), "{platform}");
    }
    assert!(WORKFLOW.contains("name: jni\n") && WORKFLOW.contains("--output-dir target/jni\n"));
    assert!(WORKFLOW.contains("path: target/jni/\n"));
    let flags = WORKFLOW.lines().find(|line| line.contains("RUSTFLAGS=")).unwrap();
    assert!(flags.contains(PAGES), "{flags}");
    for path in ["${CARGO_HOME:-$HOME/.cargo}=/cargo", "$PWD=/casm"] {
        assert!(flags.contains(&format!("--remap-path-prefix={path}")), "{path}: {flags}");
    }
}
