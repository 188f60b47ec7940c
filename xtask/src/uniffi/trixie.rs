//! A Debian 13 in target/swift-trixie, which has Swift where this machine has
//! none. It is made once, by debootstrap.

use crate::shell;
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PACKAGES: &str = "swiftlang swiftlang-dev libc6-dev libstdc++-14-dev g++ git";

/// Gets packages inside of the root folder `$1`. What is mounted there is so in
/// this process's own mount namespace only, and thus gone with it.
const INSTALL: &str = r#"
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp /etc/resolv.conf "$root/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive
chroot "$root" apt-get update -qq
chroot "$root" apt-get install -y -qq --no-install-recommends "$@"
chroot "$root" apt-get clean
"#;

/// Runs the tests of the package `$2` inside of the root folder `$1`. The
/// network is this process's own, with a loopback interface and nothing else.
const TEST: &str = r#"
root=$1 package=$2
ip link set lo up
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root/casm"
mount --bind "$package" "$root/casm"
swift=/usr/libexec/swift/lib/swift
export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LD_LIBRARY_PATH=$swift/linux:$swift/host
exec chroot "$root" sh -c 'cd /casm && exec swift test --disable-sandbox --disable-swift-testing'
"#;

/// Runs the tests of a Swift package.
pub fn swift_test(package: &Path) -> Result<()> {
    let root = environment()?;
    shell::run(unshare(&["--mount", "--net"], TEST).arg(root).arg(package))
}

/// The root folder of an environment that has Swift.
fn environment() -> Result<PathBuf> {
    ensure!(
        cfg!(target_os = "linux") && shell::works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]),
        "Swift 6 is needed: install it (root on Linux gets an environment that has it)"
    );
    let root = std::path::absolute(shell::target().join("swift-trixie"))?;
    // Written last: an environment without it was not finished.
    let made = root.join("casm-packages");
    if fs::read_to_string(&made).is_ok_and(|there| there == PACKAGES) {
        return Ok(root);
    }
    shell::ensure_packages(&[("debootstrap", shell::works("debootstrap", &["--version"]))])?;
    eprintln!("making a Debian with Swift, once, in {}: 3 GB, a few minutes", root.display());
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    shell::run(
        Command::new("debootstrap").args(["--variant=minbase", "trixie"]).arg(&root).arg(mirror()?),
    )?;
    shell::run(unshare(&["--mount"], INSTALL).arg(&root).args(PACKAGES.split(' ')))?;
    fs::write(made, PACKAGES)?;
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
