//! Packages for other languages: built, checked, and tried where nothing else is
//! installed.

use crate::{python, shell};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(clap::Args)]
pub struct Args {
    /// The language.
    language: Language,
    /// The profile to build with; `release` takes a quarter of the time of
    /// `dist`.
    #[arg(long, default_value = "dist")]
    profile: String,
    /// The Rust target to build for, if not this machine's.
    #[arg(long)]
    target: Option<String>,
    /// What the wheel is to run on, as maturin names it.
    #[arg(long, default_value = if cfg!(target_os = "linux") { "manylinux2014" } else { "off" })]
    compatibility: String,
    /// Leave the source distribution out.
    #[arg(long)]
    no_sdist: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    /// A wheel and a source distribution.
    Python,
}

pub fn run(args: &Args) -> Result<()> {
    match args.language {
        Language::Python => wheel(args),
    }
}

/// The wheel that was packaged last.
pub fn wheel_built() -> Result<PathBuf> {
    only(&shell::target().join("wheels"), "whl")
}

/// The most bytes of a wheel: a figure that users see before anything else.
const WHEEL_MOST: u64 = 4 << 20;

fn wheel(args: &Args) -> Result<()> {
    let linux = cfg!(target_os = "linux");
    let mut tools = vec!["maturin==1.*"];
    if linux {
        tools.extend(["ziglang==0.17.*", "auditwheel==6.*"]);
    }
    let python = python::venv("package", &tools)?;
    let out = shell::target().join("wheels");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let maturin = |command: &str| {
        let mut maturin = Command::new(&python);
        maturin.current_dir(shell::workspace().join("python")).env_remove("RUSTFLAGS");
        maturin.env("CARGO_ENCODED_RUSTFLAGS", remap()).args(["-m", "maturin", command]);
        // maturin looks for what zig is in the environment that it is run from.
        maturin.env("PATH", beside(&python)).arg("--out").arg(&out);
        maturin
    };
    let mut build = maturin("build");
    build.args(["--locked", "--profile", &args.profile, "--compatibility", &args.compatibility]);
    build.args(["--compression-level", "9"]);
    if linux {
        build.arg("--zig");
    }
    if let Some(target) = &args.target {
        build.args(["--target", target]);
    }
    shell::run(&mut build)?;
    if !args.no_sdist {
        shell::run(&mut maturin("sdist"))?;
    }
    let wheel = only(&out, "whl")?;
    let size = fs::metadata(&wheel)?.len();
    println!("{}: {size} bytes", wheel.display());
    ensure!(
        args.profile != "dist" || size <= WHEEL_MOST,
        "the wheel has {size} bytes, {WHEEL_MOST} is the most"
    );
    inspect(&python, &wheel)?;
    if args.target.is_none() {
        try_out(&wheel)?;
    }
    Ok(())
}

/// What the native module needs, and what it must not hold.
fn inspect(python: &Path, wheel: &Path) -> Result<()> {
    let unpacked = shell::target().join("wheels/unpacked");
    let unpack = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])";
    shell::run(Command::new(python).args(["-c", unpack]).arg(wheel).arg(&unpacked))?;
    let package = unpacked.join("casm");
    let module = fs::read_dir(&package)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "so" || e == "pyd"))
        .context("the wheel holds no native module")?;
    for file in ["py.typed", "_casm.pyi", "aio.py"] {
        ensure!(package.join(file).exists(), "the wheel has no {file}");
    }
    println!("{}: {} bytes", module.display(), fs::metadata(&module)?.len());
    no_build_paths(&module)?;
    if cfg!(target_os = "linux") {
        let report =
            shell::output(Command::new(python).args(["-m", "auditwheel", "show"]).arg(wheel))?;
        println!("{}", report.trim());
        if let Ok(needed) = shell::output(Command::new("ldd").arg(&module)) {
            ensure!(
                !needed.contains("libssl") && !needed.contains("libcrypto"),
                "the module needs a system's TLS library:\n{needed}"
            );
        }
    }
    Ok(())
}

/// Fails if the file tells where it was built.
pub fn no_build_paths(file: &Path) -> Result<()> {
    let bytes = fs::read(file)?;
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

/// Flags that take the paths of this machine out of what is built.
pub fn remap() -> String {
    let names = ["cargo", "casm"];
    let flags = build_paths().into_iter().zip(names);
    flags
        .map(|(path, name)| format!("--remap-path-prefix={}=/{name}", path.display()))
        .collect::<Vec<_>>()
        .join("\u{1f}")
}

/// Cargo's home, and this workspace.
fn build_paths() -> [PathBuf; 2] {
    let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cargo");
    [env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from), shell::workspace()]
}

/// Installs the wheel into an empty environment where no compiler is found, and
/// lets two nodes find each other there.
fn try_out(wheel: &Path) -> Result<()> {
    // The exits are tried here too: how a thread is unwound when Python ends it
    // depends on how the module was linked.
    const PROGRAM: &str = "\
import casm, casm.testing, pathlib, subprocess, sys
assert str(pathlib.Path(casm.__file__)).startswith(sys.prefix), casm.__file__
with casm.testing.cluster(2, meta={'role': 'worker'}) as nodes:
    found = list(nodes[0].view().iter('meta:role=worker'))
    assert len(found) == 2, found
never_closed = '''
import casm, casm.testing, threading
node = casm.Node(**casm.testing.options())
node.on_event(lambda event: None)
threading.Thread(target=node.wait_for, args=(9,), daemon=True).start()
threading.Thread(target=node.events().next, daemon=True).start()
casm._casm.bench_events(node, 10**9, lambda event: None)
'''
for attempt in range(50):
    subprocess.run([sys.executable, '-c', never_closed], check=True, timeout=60)
print('casm', casm.__version__, 'works from', casm.__file__)
";
    let empty = python::new_venv(&shell::target().join("venv/empty"))?;
    shell::run(
        Command::new(&empty)
            .env("PATH", empty.parent().context("it is in a folder")?)
            .args(["-m", "pip", "install", "-q", "--no-index", "--no-deps"])
            .arg(wheel),
    )?;
    let elsewhere = env::temp_dir();
    shell::run(
        Command::new(&empty).current_dir(elsewhere).env_remove("PYTHONPATH").args(["-c", PROGRAM]),
    )
}

/// The search path, with the folder of this program first.
fn beside(program: &Path) -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(Path::to_path_buf).into_iter();
    env::join_paths(folders.chain(env::split_paths(&path))).unwrap_or(path)
}

/// The one file in a folder with this extension.
fn only(folder: &Path, extension: &str) -> Result<PathBuf> {
    let files: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    match &files[..] {
        [one] => Ok(one.clone()),
        _ => bail!("{} should hold one .{extension}: {files:?}", folder.display()),
    }
}
