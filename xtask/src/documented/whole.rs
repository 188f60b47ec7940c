//! Commands of `casm` that are shown whole, run as they are shown: in a network
//! and a folder of their own, where nothing of theirs gets out, beside a node to ask.

use crate::shell;
use anyhow::{Result, ensure};
use std::{path::Path, process::Command};

/// Gets the program, and then its arguments as they are shown. A command that
/// asks a node has one where the pages say that it is; one that goes on until it
/// is ended is ended after some seconds, and must say that all was well.
const SCRIPT: &str = r#"
set -e
casm="$(realpath "$1")"; shift
folder="$(mktemp -d)"; cd "$folder"
for name in $(env | sed -n 's/^\(CASM_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
while [ "$1" = -e ]; do export "$2"; shift 2; done
ip link set lo up
out="$(mktemp)"
trap 'kill $node 2>/dev/null || true; rm -rf "$out" "$folder"' EXIT
# Where one is asked for, it is there.
case "$*" in run*swarm.key*) "$casm" key secret swarm.key ;; esac
case "$*" in run*denied.txt*) : >denied.txt ;; esac
case "$*" in run*members.txt*)
  "$casm" key new member.key --json | sed 's/.*"peer":"\([^"]*\)".*/\1/' >members.txt ;;
esac
until_it_listens() {
  for _ in $(seq 600); do
    grep -q listening "$out" && return
    kill -0 "$node" || return 1
    sleep 0.1
  done
  return 1
}
case "$1" in
run|sub)
  "$casm" "$@" --json >"$out" & node=$!
  until_it_listens
  kill "$node"; wait "$node"
  ;;
*)
  "$casm" run --json --ns demo --boot none --listen /ip4/127.0.0.1/tcp/4001 >"$out" & node=$!
  until_it_listens
  timeout 60 "$casm" "$@" </dev/null
  ;;
esac
"#;

/// Runs a command; gives back whether it was whole: its last option may leave
/// its value to the reader, as a command does its subcommand.
pub fn run(command: &str, casm: &Path) -> Result<bool> {
    let (env, args) = split(command);
    let is_open = |said: &str| {
        said.contains("a value is required for")
            || said.contains("requires a subcommand")
            || said.contains("<COMMAND>")
    };
    if args.first() == Some(&"watch") {
        // It needs a terminal; its own tests give it one.
        return Ok(false);
    }
    let mut unshare = Command::new("unshare");
    if !shell::works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]) {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "sh", "-c", SCRIPT, "sh"]).arg(casm);
    for variable in env {
        unshare.args(["-e", variable]);
    }
    eprintln!("+ casm {}", args.join(" "));
    let output = unshare.args(&args).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() || is_open(&said), "`{command}` failed: {said}");
    Ok(output.status.success())
}

/// The variables and the arguments that the program gets, of a command that
/// names it: `casm ls`, or `docker run -e CASM_NS=x IMAGE casm run`.
fn split(command: &str) -> (Vec<&str>, Vec<&str>) {
    let words: Vec<&str> = command.split(' ').collect();
    let at = words.iter().position(|word| *word == "casm").unwrap_or(0);
    let before = words[..at].windows(2).filter(|pair| pair[0] == "-e");
    (before.map(|pair| pair[1]).collect(), words[at + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_gets_is_behind_its_name() {
        assert_eq!(split("casm ls --wait 2s"), (vec![], vec!["ls", "--wait", "2s"]));
        let command =
            "docker run -p 1:1 -e CASM_ANNOUNCE=/a -e CASM_NS=b worker casm run --ns demo";
        let expected = (vec!["CASM_ANNOUNCE=/a", "CASM_NS=b"], vec!["run", "--ns", "demo"]);
        assert_eq!(split(command), expected);
    }
}
