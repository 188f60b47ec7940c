//! A Debian 13 in target/swift-trixie, which has Swift where this machine has none; and
//! Debian sid, which has a later one. They are made once, by debootstrap.

use crate::{languages::Program, shell};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A Debian that has Swift.
struct Debian {
    name: &'static str,
    packages: &'static str,
}

const TRIXIE: Debian = Debian {
    name: "trixie",
    packages: "swiftlang swiftlang-dev libc6-dev libstdc++-14-dev g++ git",
};

/// It moves: where it has another libstdc++ by now, this is to be changed.
const SID: Debian =
    Debian { name: "sid", packages: "swiftlang swiftlang-dev libc6-dev libstdc++-15-dev g++ git" };

/// Gets packages inside of the root folder `$1`. What is mounted there is so in
/// this process's own mount namespace only, and thus gone with it.
const INSTALL: &str = r#"
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp /etc/resolv.conf "$root/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive
# A copy of an archive may be older than its lists say that they hold.
chroot "$root" apt-get -o Acquire::Check-Valid-Until=false update -qq
chroot "$root" apt-get install -y -qq --no-install-recommends "$@"
chroot "$root" apt-get clean
"#;

/// The workspace in that Debian.
pub const WORKSPACE: &str = "/casm";
/// Where things are built, there.
pub const BUILD: &str = "/casm-build";

/// Runs a program in the folder `$4` inside of the root folder `$1`, which has the
/// workspace `$2` and the folder `$3` in which is built. The network is this process's
/// own, with a loopback interface and nothing else.
const RUN: &str = r#"
root=$1 workspace=$2 build=$3 folder=$4; shift 4
ip link set lo up
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root/casm" "$root/casm-build"
mount --bind "$workspace" "$root/casm"
mount --bind "$build" "$root/casm-build"
swift=/usr/libexec/swift
export HOME=/root PATH=$swift/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LD_LIBRARY_PATH=$swift/lib/swift/linux:$swift/lib/swift/host
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"#;

/// A program of the Debian, in a folder there, with this on the path of pkg-config.
pub fn program(
    root: &Path,
    build: &Path,
    folder: &str,
    name: &str,
    library: &str,
) -> Result<Command> {
    let mut command = unshare(&["--mount", "--net"], RUN);
    command.arg(root).arg(std::path::absolute(shell::workspace())?).arg(build);
    command.args([folder, name]).env("PKG_CONFIG_PATH", library);
    Ok(command)
}

/// A program that was made there, to run outside of it, with its own libraries.
pub fn program_of(root: &Path, program: PathBuf) -> Program {
    let machine = std::env::consts::ARCH;
    let folders =
        ["usr/libexec/swift/lib/swift/linux".into(), format!("usr/lib/{machine}-linux-gnu")];
    let folders = folders.map(|folder| root.join(folder).display().to_string()).join(":");
    // The loader has another name on each machine.
    let loader = match machine {
        "aarch64" => "lib/ld-linux-aarch64.so.1",
        _ => "lib64/ld-linux-x86-64.so.2",
    };
    let loader = root.join(loader).into_os_string();
    Program::new([loader, "--library-path".into(), folders.into(), program.into_os_string()])
}

/// The root folder of an environment that has Swift.
pub fn environment() -> Result<PathBuf> {
    made(&TRIXIE)
}

/// The root folder of one that has Swift 6.2 or later.
pub fn sid() -> Result<PathBuf> {
    made(&SID)
}

fn made(debian: &Debian) -> Result<PathBuf> {
    let Debian { name, packages } = debian;
    ensure!(
        cfg!(target_os = "linux") && shell::works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]),
        "Swift 6 is needed: install it (root on Linux gets an environment that has it)"
    );
    let root = std::path::absolute(shell::target().join(format!("swift-{name}")))?;
    // Written last: an environment without it was not finished.
    let made = root.join("casm-packages");
    if fs::read_to_string(&made).is_ok_and(|there| there == *packages) {
        return Ok(root);
    }
    shell::ensure_packages(&[("debootstrap", shell::works("debootstrap", &["--version"]))])?;
    eprintln!("making a Debian with Swift, once, in {}: 3 GB, a few minutes", root.display());
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    shell::run(
        Command::new("debootstrap").args(["--variant=minbase", name]).arg(&root).arg(mirror()?),
    )?;
    shell::run(unshare(&["--mount"], INSTALL).arg(&root).args(packages.split(' ')))?;
    fs::write(made, packages)?;
    Ok(root)
}

/// From where this machine gets its own Debian packages.
fn mirror() -> Result<String> {
    // Whose they are stands in the lists.
    shell::run(Command::new("apt-get").args(["update", "-qq"]))?;
    let sources = shell::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(CODENAME) $(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let mirror = sources.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        // Not its updates, which lie elsewhere.
        ["Debian", codename, mirror] if !codename.contains('-') => Some(mirror.to_owned()),
        _ => None,
    });
    mirror.context("no source of Debian's packages is known here: install Swift 6")
}

/// A shell script in namespaces of its own.
fn unshare(namespaces: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["--", "sh", "-euc", script, "casm"]);
    command
}
