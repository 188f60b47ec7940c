//! How a module for Linux is linked: what is alike lies side by side, so that it
//! compresses well, and functions of the same instructions are one, since nothing
//! here tells functions apart by their addresses. So is data that is the same and of
//! which the compiler says that its address means nothing: tables of methods above all.
//! A twentieth of a package is saved by that.

use crate::shell;
use anyhow::{Result, ensure};
use std::{fs, path::Path, process::Command};

/// zig's linker can do it, but zig has no options for it. zig tells, however, how
/// it calls its linker, and lets others call it: it is called once more, with the
/// options.
fn script(python: &Path, target: &str) -> String {
    format!(
        r#"#!/bin/sh
said=$(ZIG_VERBOSE_LINK=1 "$CC_{variable}" "$@" 2>&1) || {{ printf '%s\n' "$said" >&2; exit 1; }}
# Before, it may have linked what stands for the C library.
link=$(printf '%s\n' "$said" | sed -n 's/^ld\.lld //p' | tail -n 1)
[ -n "$link" ] || {{ printf 'zig tells no call of its linker: %s\n' "$said" >&2; exit 1; }}
# Unquoted: zig separates the arguments by spaces.
exec '{python}' -m ziglang ld.lld $link --bp-compression-sort=both --icf=all
"#,
        variable = target.replace('-', "_"),
        python = python.display(),
    )
}

/// Has a build through zig link so. `python` is the interpreter that has zig.
pub fn sort(build: &mut Command, python: &Path, target: &str) -> Result<()> {
    let file = shell::target().join("package").join(format!("link-{target}.sh"));
    ensure!(
        !file.to_string_lossy().contains(|c: char| c.is_whitespace() || "'*?[".contains(c)),
        "{} has a space, a quote or a wildcard in its path, with which zig's linker cannot be \
         called again: build in another folder, or set CARGO_TARGET_DIR",
        file.display()
    );
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&file, script(python, target))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    let variable = format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase());
    build.env(variable, file);
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_linker_is_called_again_as_zig_called_it() {
        let run = |said: &str| {
            let mut link = Command::new("sh");
            link.arg("-c").arg(script(Path::new("echo"), "some-target")).args(["link", said]);
            shell::output(link.env("CC_some_target", "printf"))
        };
        let called = run("ar unwind.a\nld.lld libc.so\nld.lld -shared a.o\n").unwrap();
        assert_eq!(
            called.trim(),
            "-m ziglang ld.lld -shared a.o --bp-compression-sort=both --icf=all"
        );
        // Else a package would be larger, and nobody told why.
        run("ar unwind.a\n").unwrap_err();
    }
}
