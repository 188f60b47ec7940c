//! Runs the fuzz targets of core/fuzz with libFuzzer.

use crate::{sancov, shell};
use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

#[derive(clap::Args)]
pub struct Args {
    /// The targets to run; all of them if none is named.
    targets: Vec<String>,
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 10)]
    pub seconds: u32,
    /// The seed of libFuzzer's choices; it is printed, 0 takes a random one.
    #[arg(long, default_value_t = 0)]
    seed: u32,
}

impl Args {
    /// Every target, this long each.
    pub fn all(seconds: u32) -> Self {
        Self { targets: vec![], seconds, seed: 0 }
    }
}

/// Targets that run at once, if there are as many processors.
const AT_ONCE: usize = 2;
/// A target that needs longer than this for one input has failed.
const SECONDS_PER_INPUT: u32 = 5;
/// A target that takes more memory than this has failed.
const MEMORY_MB: u32 = 512;
/// Inputs are tried up to this size, unless core/fuzz/Cargo.toml says how long
/// the longest ones of a target are: above every limit that a decoder has.
const MAX_LEN: u64 = 8192;

pub fn run(args: &Args) -> Result<()> {
    shell::ensure_packages(&[("g++", shell::works("c++", &["--version"]))])?;
    let targets = targets()?;
    let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
    for name in &args.targets {
        ensure!(names.contains(&&**name), "there is no fuzz target {name:?}, only {names:?}");
    }
    build(&names)?;
    let wanted = |target: &&Target| args.targets.is_empty() || args.targets.contains(&target.name);
    let queue = Mutex::new(targets.iter().filter(wanted));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    // Each keeps one processor busy.
    let at_once = thread::available_parallelism().map_or(1, |n| n.get().min(AT_ONCE));
    let failed: Vec<&str> = thread::scope(|scope| {
        let worker = || {
            let mut failed = vec![];
            while let Some(target) = next() {
                println!("fuzz: {} for {} s", target.name, args.seconds);
                if let Err(error) = fuzz(target, args) {
                    eprintln!("{error:#}");
                    failed.push(target.name.as_str());
                }
            }
            failed
        };
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(worker)).collect();
        let failed = workers.into_iter().map(|worker| worker.join());
        failed.flat_map(|failed| failed.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    ensure!(failed.is_empty(), "fuzz targets failed: {}", failed.join(", "));
    println!("fuzz: nothing found");
    Ok(())
}

struct Target {
    name: String,
    /// Bytes of the longest inputs.
    longest: u64,
}

/// The targets in core/fuzz.
fn targets() -> Result<Vec<Target>> {
    let metadata =
        shell::output(shell::cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let fuzz = packages
        .iter()
        .find(|package| package["name"] == "casm-fuzz")
        .context("the workspace has no package casm-fuzz")?;
    let targets = fuzz["targets"].as_array().into_iter().flatten();
    let names = targets.filter(|t| t["kind"][0] == "example").filter_map(|t| t["name"].as_str());
    let names: Vec<_> = names.collect();
    let longest = fuzz["metadata"]["longest"].as_object().into_iter().flatten();
    for (name, _) in longest {
        ensure!(names.contains(&name.as_str()), "core/fuzz has no target {name:?}, only {names:?}");
    }
    let longest = |name: &str| fuzz["metadata"]["longest"][name].as_u64().unwrap_or(MAX_LEN);
    let target = |name: &str| Target { name: name.to_owned(), longest: longest(name) };
    Ok(names.into_iter().map(target).collect())
}

fn build(targets: &[&str]) -> Result<()> {
    let mut command = shell::cargo();
    // Out of the whole workspace and not of one package: so the dependencies
    // have the features with which `cargo test --workspace` compiled them.
    command.args(["build", "--workspace", "--locked"]);
    for target in targets {
        command.args(["--example", target]);
    }
    command.args(sancov::profile());
    command.env("RUSTC_WRAPPER", env::current_exe()?).env(sancov::SWITCH, "1");
    shell::run(&mut command)
}

fn fuzz(target: &Target, args: &Args) -> Result<()> {
    let Target { name: target, longest } = target;
    let base = shell::target().join("fuzz");
    let artifacts = base.join("artifacts").join(target);
    let corpus = base.join("corpus").join(target);
    fs::create_dir_all(&artifacts)?;
    fs::create_dir_all(&corpus)?;
    let mut command = Command::new(shell::target().join("debug/examples").join(target));
    command.arg(&corpus).args(seeds(target)).args([
        format!("-artifact_prefix={}/", artifacts.display()),
        format!("-max_total_time={}", args.seconds),
        format!("-seed={}", args.seed),
        format!("-timeout={SECONDS_PER_INPUT}"),
        format!("-rss_limit_mb={MEMORY_MB}"),
        format!("-max_len={longest}"),
        "-print_final_stats=1".into(),
    ]);
    // libFuzzer writes a line for each thing that it learns: shown only when
    // it found something.
    let output = command.output().with_context(|| format!("fuzz: {target} cannot be run"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{log}");
        bail!("fuzz: {target} failed: {}; its input is in {}", output.status, artifacts.display());
    }
    let summary = |line: &&str| {
        ["INFO: Seed", "Done "].iter().any(|start| line.starts_with(start)) || line.contains("DONE")
    };
    for line in log.lines().filter(summary) {
        println!("fuzz: {target}: {line}");
    }
    Ok(())
}

/// Folders of inputs to begin with: the target's own, and what Go nodes sent.
fn seeds(target: &str) -> Vec<PathBuf> {
    let own = shell::workspace().join("core/fuzz/seeds").join(target);
    let golden = env::var_os("CASM_GOLDEN").map(PathBuf::from);
    golden.into_iter().chain([own]).filter(|path: &PathBuf| Path::is_dir(path)).collect()
}
