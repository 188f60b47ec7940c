//! The wheel and the source distribution.

use super::{Build, fresh, linker, native, native::Libc, only, platform::host, quickstart, tools};
use crate::{python, shell};
use anyhow::{Context, Result, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    build: Build,
    /// What the wheel is to run on, as maturin names it.
    #[arg(long, default_value = if cfg!(target_os = "linux") { "manylinux2014" } else { "off" })]
    compatibility: String,
    /// Leave the source distribution out.
    #[arg(long)]
    no_sdist: bool,
}

impl Args {
    /// What the module is linked with.
    fn libc(&self) -> Option<Libc> {
        let musl = self.compatibility.starts_with("musl");
        cfg!(target_os = "linux").then_some(if musl { Libc::Musl } else { Libc::Glibc })
    }
}

/// Where the distributions are put, in the folder of what is built.
const WHEELS: &str = "wheels";

/// The most bytes of a wheel, a figure that users see before anything else: 4.5 MiB.
const WHEEL_MOST: u64 = 4_718_592;

/// The wheel that was packaged last.
pub fn wheel_built() -> Result<PathBuf> {
    only(&shell::target().join(WHEELS), ".whl").context("run `cargo xtask package python` first")
}

pub fn package(args: &Args) -> Result<()> {
    let (python, path) = tools()?;
    let out = fresh(WHEELS)?;
    let maturin = |command: &str| {
        let mut maturin = Command::new(&python);
        maturin.current_dir(shell::workspace().join("python"));
        native::remap(&mut maturin, args.libc(), &[]);
        maturin.args(["-m", "maturin", command]).env("PATH", &path).arg("--out").arg(&out);
        maturin
    };
    let Build { profile, target } = &args.build;
    let mut build = maturin("build");
    build.args(["--locked", "--profile", profile, "--compatibility", &args.compatibility]);
    build.args(["--compression-level", "9", "--features", "lean"]);
    if cfg!(target_os = "linux") {
        build.arg("--zig");
        linker::sort(&mut build, &python, target.as_ref().unwrap_or(&host()?))?;
    }
    if let Some(target) = target {
        build.args(["--target", target]);
    }
    shell::run(&mut build)?;
    if !args.no_sdist {
        shell::run(&mut maturin("sdist"))?;
        resolves(&python, &only(&out, ".tar.gz")?)?;
    }
    let wheel = only(&out, ".whl")?;
    if profile == "dist" {
        squeeze(&python, &wheel)?;
    }
    native::size(&wheel, &args.build, WHEEL_MOST)?;
    inspect(&python, &wheel, args)?;
    if target.is_none() {
        try_out(&wheel)?;
    }
    Ok(())
}

/// Compresses what is in the wheel with more patience, as any reader of wheels
/// understands it.
fn squeeze(python: &Path, wheel: &Path) -> Result<()> {
    const PROGRAM: &str = "\
import os, sys, zipfile
import zopfli.zlib

class Compressor:
    def __init__(self):
        self.data = b''
    def compress(self, data):
        self.data += data
        return b''
    def flush(self):
        # Without the two bytes of zlib in front, and its checksum.
        # In as many blocks as it likes: of 15 the module takes 11 KB more.
        return zopfli.zlib.compress(self.data, numiterations=10, blocksplittingmax=0)[2:-4]

zipfile._get_compressor = lambda *_: Compressor()
wheel, squeezed = sys.argv[1], sys.argv[1] + '.squeezed'
with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(squeezed, 'w') as new:
    for item in old.infolist():
        new.writestr(item, old.read(item), zipfile.ZIP_DEFLATED)
assert zipfile.ZipFile(squeezed).testzip() is None
os.replace(squeezed, wheel)
";
    shell::run(Command::new(python).args(["-c", PROGRAM]).arg(wheel))
}

/// The source distribution has all crates that are in this repository: it is
/// unpacked, and Cargo finds what its packages depend on.
fn resolves(python: &Path, sources: &Path) -> Result<()> {
    let unpacked = shell::target().join(WHEELS).join("source");
    let unpack = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    shell::run(Command::new(python).args(["-c", unpack]).arg(sources).arg(&unpacked))?;
    let manifest = only(&unpacked, "")?.join("python/Cargo.toml");
    let mut cargo = shell::cargo();
    cargo.args(["tree", "--offline", "--quiet", "--depth", "1", "--manifest-path"]);
    shell::run(cargo.arg(manifest))
}

/// What the wheel must hold, and what it must not.
fn inspect(python: &Path, wheel: &Path, args: &Args) -> Result<()> {
    let unpacked = shell::target().join(WHEELS).join("unpacked");
    let unpack = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])";
    shell::run(Command::new(python).args(["-c", unpack]).arg(wheel).arg(&unpacked))?;
    let package = unpacked.join("casm");
    let module = only(&package, if cfg!(windows) { ".pyd" } else { ".so" })?;
    for file in ["py.typed", "_casm.pyi", "aio.py"] {
        ensure!(package.join(file).exists(), "the wheel has no {file}");
    }
    println!("{}: {} bytes", module.display(), fs::metadata(&module)?.len());
    native::inspect(&module, args.libc())?;
    if cfg!(target_os = "linux") {
        let report =
            shell::output(Command::new(python).args(["-m", "auditwheel", "show"]).arg(wheel))?;
        println!("{}", report.trim());
    }
    Ok(())
}

/// Installs the wheel into an empty environment where no compiler is found, and
/// lets programs run there.
fn try_out(wheel: &Path) -> Result<()> {
    // How a thread is unwound when Python ends it depends on how the module was
    // linked, so that the exits are tried here too.
    const PROGRAM: &str = "\
import casm, casm.testing, pathlib, subprocess, sys
assert str(pathlib.Path(casm.__file__)).startswith(sys.prefix), casm.__file__
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
    let path = empty.parent().context("it is in a folder")?.as_os_str();
    shell::run(
        Command::new(&empty)
            .env("PATH", path)
            .args(["-m", "pip", "install", "-q", "--no-index", "--no-deps"])
            .arg(wheel),
    )?;
    let place = quickstart::Place::new()?;
    let snippet = quickstart::snippet("python/README.md", "python")?;
    let programs = [(), ()].map(|()| {
        let mut program = place.command(&empty, path);
        program.env_remove("PYTHONPATH").env("PYTHONUNBUFFERED", "1").args(["-c", &snippet]);
        program
    });
    quickstart::meet(programs.into())?;
    shell::run(
        Command::new(&empty)
            .current_dir(env::temp_dir())
            .env("PATH", path)
            .env_remove("PYTHONPATH")
            .args(["-c", PROGRAM]),
    )
}
