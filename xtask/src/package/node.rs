//! The npm packages: `casm-p2p`, which is the same everywhere, and for each
//! platform one that holds the native module. npm installs that of its platform.

use super::{
    Build, fresh, linker, native,
    native::Libc,
    platform::{PACKAGE, PLATFORMS, Platform, host},
    quickstart, tools,
};
use crate::{node, shell};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    build: Build,
    /// Build the native module, which takes longest, and no package.
    #[arg(long)]
    module_only: bool,
}

/// Where the packages are put, in the folder of what is built: the tarballs, and
/// a folder for each.
const PACKAGES: &str = "npm";

/// The native module in the package of a platform.
const MODULE: &str = "casm.node";

/// The most bytes of the native module.
const MODULE_MOST: u64 = 11_500_000;

/// What lies beside the code in every package.
const PAPERS: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

fn tarball(out: &Path, package: &str) -> PathBuf {
    out.join(format!("{package}-{}.tgz", env!("CARGO_PKG_VERSION")))
}

/// A project of this name under target in which the packages are installed that
/// were packaged last for this machine, and their tarballs.
pub fn npm_installed(name: &str) -> Result<(PathBuf, [PathBuf; 2])> {
    let platform = Platform::of(&host()?)?;
    let out = shell::target().join(PACKAGES);
    let tarballs = [tarball(&out, &platform.package()), tarball(&out, PACKAGE)];
    ensure!(
        tarballs.iter().all(|file| file.exists()),
        "there are no npm packages: run `cargo xtask package node` first"
    );
    let project = fresh(name)?;
    let path = env::var_os("PATH").unwrap_or_default();
    install(&project, platform, &tarballs, &path)?;
    Ok((project, tarballs))
}

pub fn package(args: &Args) -> Result<()> {
    let Build { profile, target } = &args.build;
    let here = host()?;
    let platform = Platform::of(target.as_ref().unwrap_or(&here))?;
    let module = build(platform, profile)?;
    if args.module_only {
        return Ok(());
    }
    let out = fresh(PACKAGES)?;

    let everywhere = out.join(PACKAGE);
    let manifest = lay_out(&everywhere)?;
    let own = out.join(platform.package());
    lay_out_platform(&own, platform, &manifest, &module)?;
    let tarballs = [pack(&own, &out)?, pack(&everywhere, &out)?];

    let module = own.join(MODULE);
    native::size(&module, &args.build, MODULE_MOST)?;
    native::inspect(&module, platform.libc())?;
    if platform.target == here {
        try_out(platform, &tarballs)?;
    }
    Ok(())
}

/// Builds the native module. On Linux zig links it, against an old glibc.
fn build(platform: &Platform, profile: &str) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    let target = platform.target;
    if let Some(libc) = platform.libc() {
        let (python, path) = tools()?;
        linker::sort(&mut cargo, &python, target)?;
        cargo.env("PATH", path).arg("zigbuild").arg("--target");
        match libc {
            Libc::Glibc => {
                cargo.arg(format!("{target}.{}.{}", native::GLIBC.0, native::GLIBC.1));
                native::remap(&mut cargo, Some(libc), &[]);
            }
            Libc::Musl => {
                cargo.arg(target);
                // A module that is loaded uses the musl of whoever loads it.
                native::remap(&mut cargo, Some(libc), &["-Ctarget-feature=-crt-static"]);
            }
        }
    } else {
        cargo.args(["build", "--target", target]);
        native::remap(&mut cargo, None, &[]);
    }
    cargo.args(["--locked", "--lib", "-p", "casm-node", "--features", "lean"]);
    cargo.args(["--profile", profile]);
    shell::run(&mut cargo)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(shell::target().join(target).join(folder).join(node::library()))
}

/// Lays out the package that is the same everywhere; gives its manifest.
fn lay_out(folder: &Path) -> Result<Value> {
    node::compile(&folder.join("dist"))?;
    let mut manifest = node::manifest()?;
    let version = manifest["version"].clone();
    ensure!(
        version == env!("CARGO_PKG_VERSION"),
        "node/package.json has version {version}, the workspace {}",
        env!("CARGO_PKG_VERSION")
    );
    // Published at the same time, and of no use at another version.
    for platform in &PLATFORMS {
        manifest["optionalDependencies"][platform.package()] = version.clone();
    }
    if let Some(manifest) = manifest.as_object_mut() {
        manifest.remove("devDependencies");
    }
    fs::copy(shell::workspace().join("node/README.md"), folder.join("README.md"))?;
    finish(folder, &manifest)?;
    Ok(manifest)
}

/// Lays out the package of one platform.
fn lay_out_platform(
    folder: &Path,
    platform: &Platform,
    manifest: &Value,
    module: &Path,
) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(module, folder.join(MODULE))
        .with_context(|| format!("{} cannot be copied", module.display()))?;
    let name = platform.package();
    let text = format!(
        "# {name}\n\nThe native module of [{PACKAGE}](https://www.npmjs.com/package/{PACKAGE}) \
         for {}. Install `{PACKAGE}`: npm adds the package of its platform.\n",
        platform.name
    );
    fs::write(folder.join("README.md"), text)?;
    let mut own = platform.requirements();
    own["name"] = json!(name);
    own["description"] = json!(format!("The native module of {PACKAGE} for {}", platform.name));
    own["main"] = json!(MODULE);
    own["files"] = json!([MODULE, PAPERS[0], PAPERS[1]]);
    for same in ["version", "license", "repository", "engines"] {
        own[same] = manifest[same].clone();
    }
    finish(folder, &own)
}

fn finish(folder: &Path, manifest: &Value) -> Result<()> {
    for paper in PAPERS {
        fs::copy(shell::workspace().join(paper), folder.join(paper))?;
    }
    let text = serde_json::to_string_pretty(manifest)?;
    Ok(fs::write(folder.join("package.json"), text + "\n")?)
}

/// Makes the tarball of a package, and checks what is in it.
fn pack(folder: &Path, out: &Path) -> Result<PathBuf> {
    let mut pack = node::npm()?;
    pack.current_dir(folder).args(["pack", "--json", "--pack-destination"]).arg(out);
    let said: Value = serde_json::from_str(&shell::output(&mut pack)?)?;
    let packed = &said[0];
    let files: Vec<_> = packed["files"]
        .as_array()
        .context("npm pack tells no files")?
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("package.json"))?)?;
    check_files(&manifest, &files)?;
    let name = manifest["name"].as_str().context("a package has a name")?;
    let tarball = tarball(out, name);
    println!("{}: {} bytes", tarball.display(), fs::metadata(&tarball)?.len());
    Ok(tarball)
}

/// Whether a package holds what its manifest promises, and nothing that no
/// program asks for.
fn check_files(manifest: &Value, files: &[&str]) -> Result<()> {
    let mut promised = vec![&manifest["main"], &manifest["types"]];
    let mut open = vec![&manifest["exports"]];
    while let Some(value) = open.pop() {
        match value.as_object() {
            Some(more) => open.extend(more.values()),
            None => promised.push(value),
        }
    }
    for path in promised.into_iter().filter_map(Value::as_str) {
        let path = path.trim_start_matches("./");
        ensure!(files.contains(&path), "{}: {path} is not in the package", manifest["name"]);
    }
    for file in files {
        let code = [".js", ".mjs", ".d.ts", ".d.mts"].iter().any(|end| file.ends_with(end));
        let wanted = [MODULE, "README.md", "package.json"].contains(file)
            || PAPERS.contains(file)
            || file.starts_with("dist/") && code;
        ensure!(wanted, "{}: {file} is in the package, of no use to anyone", manifest["name"]);
    }
    ensure!(
        PAPERS.iter().all(|paper| files.contains(paper)),
        "{}: a license is missing",
        manifest["name"]
    );
    Ok(())
}

/// Installs the tarballs, and nothing else, into an empty project.
fn install(
    project: &Path,
    platform: &Platform,
    tarballs: &[PathBuf],
    path: &OsString,
) -> Result<()> {
    fs::write(project.join("package.json"), r#"{ "name": "empty", "version": "1.0.0" }"#)?;
    let mut install = node::npm()?;
    // Offline: the packages of other platforms may not be published yet.
    install.args(["install", "--offline", "--no-audit", "--no-fund", "--cache"]);
    install.arg(project.join("cache")).args(tarballs).current_dir(project).env("PATH", path);
    shell::run(&mut install)?;
    let module = project.join("node_modules").join(platform.package()).join(MODULE);
    ensure!(module.exists(), "npm installed no {}", module.display());
    Ok(())
}

/// Installs the tarballs into an empty project where no compiler is found, and
/// uses them there.
fn try_out(platform: &Platform, tarballs: &[PathBuf]) -> Result<()> {
    let project = fresh("npm-empty")?;
    let path = search_path(&project)?;
    install(&project, platform, tarballs, &path)?;
    println!("types:");
    node::check_types(&project)?;
    println!("quickstart, as ESM and as CJS:");
    let esm = quickstart::snippet("node/README.md", "js")?;
    let import = "import { Node } from 'casm-p2p'\n";
    let body = esm.strip_prefix(import).context("the quickstart begins with its import")?;
    let cjs = format!("const {{ Node }} = require('casm-p2p')\n;(async () => {{{body}}})()\n");
    let place = quickstart::Place::new()?;
    let node = which("node")?;
    let programs = [("quickstart.mjs", esm), ("quickstart.cjs", cjs)].map(|(name, text)| {
        let file = project.join(name);
        fs::write(&file, text)?;
        let mut program = place.command(&node, &path);
        program.arg(file);
        Ok(program)
    });
    quickstart::meet(programs.into_iter().collect::<Result<_>>()?)?;
    ends(&project, &node, &path)?;
    without_module(platform, &project, &node)
}

/// Programs that close nothing end at once. How a module ends depends on how it
/// was linked, so that this is tried with the packaged one too.
fn ends(project: &Path, node: &Path, path: &OsString) -> Result<()> {
    const PROGRAM: &str = "\
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { version } from 'casm-p2p'
const never = `
  const { Node } = require('casm-p2p'), { options } = require('casm-p2p/testing')
  const { Worker, isMainThread, parentPort } = require('node:worker_threads')
  Node.start(options()).then(async node => {
    node.on('event', () => {})
    node.waitFor(9).catch(() => {})
    if (!isMainThread) return parentPort.postMessage('runs')
    const worker = new Worker(__filename)
    await new Promise(resolve => worker.once('message', resolve))
    if (process.argv[2]) await worker.terminate()
    process.exit()
  })`
import { writeFileSync } from 'node:fs'
writeFileSync('never.cjs', never)
for (let attempt = 0; attempt < 50; attempt++) {
  const args = attempt % 2 ? ['never.cjs', 'terminate'] : ['never.cjs']
  const { status, signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 })
  if (status !== 0) throw new Error(`attempt ${attempt} ended with ${status} ${signal}: ${stderr}`)
}
console.log('casm-p2p', version, 'works from', createRequire(import.meta.url).resolve('casm-p2p'))
";
    fs::write(project.join("ends.mjs"), PROGRAM)?;
    shell::run(Command::new(node).arg("ends.mjs").current_dir(project).env("PATH", path))
}

/// Without the package of its platform, the error says what to do.
fn without_module(platform: &Platform, project: &Path, node: &Path) -> Result<()> {
    fs::remove_dir_all(project.join("node_modules").join(platform.package()))?;
    let mut load = Command::new(node);
    let done = load.current_dir(project).args(["-e", "require('casm-p2p')"]).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        !done.status.success()
            && said.contains(&platform.package())
            && said.contains("Install again"),
        "without its native module the package says: {said}"
    );
    Ok(())
}

/// A search path on which there are Node.js and npm, and no compiler.
fn search_path(project: &Path) -> Result<OsString> {
    let folder = project.join("bin");
    fs::create_dir_all(&folder)?;
    #[cfg(unix)]
    for program in ["node", "npm"] {
        std::os::unix::fs::symlink(which(program)?, folder.join(program))?;
    }
    #[cfg(windows)]
    return Ok(env::var_os("PATH").unwrap_or_default());
    #[cfg(unix)]
    return Ok(folder.into());
}

/// Where a program is.
fn which(program: &str) -> Result<PathBuf> {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
        .with_context(|| format!("there is no {program}: install it"))?
        .canonicalize()
        .map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_holds_what_it_promises_and_nothing_else() {
        let manifest = json!({
            "name": "some", "main": "./dist/a.js",
            "exports": { ".": { "import": { "default": "./dist/a.mjs" } } }
        });
        let good = ["LICENSE-MIT", "LICENSE-APACHE", "dist/a.js", "dist/a.mjs", "package.json"];
        check_files(&manifest, &good).unwrap();
        for missing in 0..4 {
            let files: Vec<_> = good.iter().copied().filter(|f| *f != good[missing]).collect();
            check_files(&manifest, &files).unwrap_err();
        }
        check_files(&manifest, &[&good[..], &["dist/a.ts.map"]].concat()).unwrap_err();
    }
}
