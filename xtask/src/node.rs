//! The Node.js package: its tests, and what they need.

use crate::{languages::Program, package, python, shell};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs the tests of the package, with the native module of the dev profile.
///
/// `workspace` says that the whole workspace's tests were built just now: then
/// the module is built with their features, and so needs no dependency anew.
pub fn test(workspace: bool) -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--lib"]);
    build.args(if workspace { &["--workspace", "--tests"][..] } else { &["-p", "casm-node"] });
    shell::run(&mut build)?;
    let folder = stage(&shell::target().join("debug"))?;
    // One example works with its like in Python.
    let python = python::stage(workspace)?;
    let tests = shell::workspace().join("node/tests");
    copy(&tests, &folder.join("tests"), |name| name.ends_with(".mjs"))?;
    lay_out_types(&folder.join("tests"))?;
    let sources = folder.join("example-sources");
    copy(&shell::workspace().join("node/examples"), &sources, |name| name.ends_with(".ts"))?;
    let config = sources.join("tsconfig.json");
    configure(&config, &["*.ts"], Some(&folder.join("examples")))?;
    shell::run(tsc()?.arg("-p").arg(config))?;
    // Those across languages have a program in Rust too.
    let program = format!("debug/examples/across{}", env::consts::EXE_SUFFIX);
    let mut across = shell::cargo();
    across.args(["build", "--locked", "--example", "across"]);
    across.args(if workspace { &["--workspace", "--tests"][..] } else { &["-p", "casm-bindings"] });
    shell::run(&mut across)?;

    let mut files: Vec<_> = fs::read_dir(folder.join("tests"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    shell::run(
        Command::new("node")
            .current_dir(&folder)
            .env("CASM_SOURCE", shell::workspace())
            .env("CASM_PYTHON", python::venv("bare", &[])?)
            .env("CASM_ACROSS", shell::target().join(program))
            .env("PYTHONPATH", python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // A test that fails leaves its nodes open: that ends all the same.
            .args(["--test", "--test-reporter=spec", "--test-force-exit"])
            .arg("--test-timeout=600000")
            .args(files),
    )
}

/// The member for the tests across languages, with the native module that is built
/// already.
pub fn across() -> Result<Program> {
    let folder = std::path::absolute(stage(&shell::target().join("debug"))?)?;
    copy(&shell::workspace().join("node/tests"), &folder.join("tests"), |name| {
        name.ends_with(".mjs")
    })?;
    Ok(Program::new(["node".into(), folder.join("tests/across.mjs")]))
}

/// Whether strict programs, ESM and CJS, agree with the types of the package
/// that is installed in this project.
pub fn check_types(project: &Path) -> Result<()> {
    let configs = lay_out_types(project)?;
    configs.iter().try_for_each(|config| shell::run(tsc()?.arg("-p").arg(config)))
}

/// A program that uses every type, as ESM and as CJS; gives back the compiler's
/// configurations for them.
fn lay_out_types(folder: &Path) -> Result<Vec<PathBuf>> {
    let program = shell::workspace().join("node/tests/types.ts");
    let module = |module| {
        let file = format!("types.{module}");
        fs::copy(&program, folder.join(&file))?;
        let config = folder.join(format!("tsconfig.{module}.json"));
        configure(&config, &[&file], None)?;
        Ok(config)
    };
    ["cts", "mts"].into_iter().map(module).collect()
}

/// What npm needs for the peers of the benchmarks.
const PEERS: [&str; 9] = [
    "@chainsafe/libp2p-noise@17",
    "@chainsafe/libp2p-quic@2",
    "@chainsafe/libp2p-yamux@8",
    "@libp2p/gossipsub@17",
    "@libp2p/identify@4",
    "@libp2p/tcp@11",
    "@number0/iroh@1",
    "libp2p@3",
    "zeromq@6",
];

/// A script of node/bench, in a project that has the npm package that was built
/// last; for a peer, also those with which it is compared.
pub fn bench(script: &str, peer: bool) -> Result<Command> {
    let (project, tarballs) = package::npm_installed("npm-bench")?;
    let scripts = project.join("bench");
    copy(&shell::workspace().join("node/bench"), &scripts, |_| true)?;
    // A project of its own: in ours npm would ask the registry for all that our
    // package depends on.
    fs::write(scripts.join("package.json"), r#"{ "private": true }"#)?;
    if peer {
        let mut install = npm()?;
        install.current_dir(&scripts).args(["install", "--no-save", "--no-audit", "--no-fund"]);
        shell::run(install.arg("--prefer-offline").args(PEERS))?;
    }
    let mut node = Command::new("node");
    node.env("CASM_TARBALLS", env::join_paths(tarballs)?).arg(scripts.join(script));
    Ok(node)
}

/// Lays the package out under target/node, as an installation would, with the
/// native module of this folder of target; gives back the folder in which the
/// package is found.
pub fn stage(built: &Path) -> Result<PathBuf> {
    let folder = shell::target().join("node");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let package = folder.join("node_modules/casm-p2p");
    compile(&package.join("dist"))?;
    fs::copy(shell::workspace().join("node/package.json"), package.join("package.json"))?;
    let library = built.join(library());
    fs::copy(&library, package.join("casm.node"))
        .with_context(|| format!("{} cannot be copied", library.display()))?;
    // What lies here is ESM, and no package of its own.
    fs::write(folder.join("package.json"), r#"{ "private": true, "type": "module" }"#)?;
    Ok(folder)
}

/// The native module's file name, as cargo gives it.
pub fn library() -> String {
    format!("{}casm_node{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX)
}

/// What npm is told of the package.
pub fn manifest() -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(shell::workspace().join("node/package.json"))?)?)
}

/// Compiles the TypeScript layer into this folder: one file for `require`, since
/// each that Node.js has to find takes as long as all that is in it.
pub fn compile(dist: &Path) -> Result<()> {
    let node = shell::workspace().join("node");
    shell::run(tsc()?.arg("-p").arg(&node).arg("--outDir").arg(dist))?;
    let bundle = |args: &[&str]| {
        let mut esbuild = Command::new("node");
        esbuild.arg(node.join("node_modules/esbuild/bin/esbuild")).current_dir(&node);
        esbuild.args(["--platform=node", "--target=node20", "--log-level=warning"]).args(args);
        shell::run(esbuild.arg(format!("--outdir={}", dist.display())))
    };
    let version = format!("--define:PACKAGE_VERSION={}", manifest()?["version"]);
    let cjs = ["--bundle", "--format=cjs", "--external:./index.js", &version];
    bundle(&[&["ts/index.ts", "ts/testing.ts", "ts/whole.ts"], &cjs[..]].concat())?;
    bundle(&["index=ts/run.mts", "ts/testing.mts", "--format=esm", "--out-extension:.js=.mjs"])
}

/// npm, which on Windows is a script.
pub fn npm() -> Result<Command> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    ensure!(
        shell::works("node", &["--version"]) && shell::works(npm, &["--version"]),
        "Node.js 20 or later, with npm, is needed: install it"
    );
    Ok(Command::new(npm))
}

/// The TypeScript compiler; what the package is built with is installed if it is
/// not there.
fn tsc() -> Result<Command> {
    let node = shell::workspace().join("node");
    let lock = fs::read_to_string(node.join("package-lock.json"))?;
    let installed = node.join("node_modules/.casm-lock");
    if !fs::read_to_string(&installed).is_ok_and(|there| there == lock) {
        shell::run(npm()?.current_dir(&node).args(["ci", "--ignore-scripts"]))?;
        fs::write(installed, lock)?;
    }
    let mut tsc = Command::new("node");
    tsc.arg(node.join("node_modules/typescript/bin/tsc"));
    Ok(tsc)
}

/// A configuration for strict programs that use the package.
fn configure(file: &Path, programs: &[&str], out: Option<&Path>) -> Result<()> {
    let mut options = json!({
        "target": "es2022",
        "lib": ["es2023", "esnext.disposable"],
        "module": "node16",
        "strict": true,
        "noUncheckedIndexedAccess": true,
        "exactOptionalPropertyTypes": true,
        "noEmit": out.is_none(),
        "types": ["node"],
        "typeRoots": [shell::workspace().join("node/node_modules/@types")],
    });
    if let Some(out) = out {
        options["outDir"] = json!(out);
    }
    let config = json!({ "compilerOptions": options, "include": programs });
    Ok(fs::write(file, config.to_string())?)
}

/// Copies the files of a folder whose names are wanted.
fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        if path.is_file() && wanted(&name) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
