//! Every command ends at the first signal, from its first moment on.
#![cfg(target_os = "linux")]

mod common;

use common::{PATIENCE, Running, eventually, isolated, stuck, takes_over, without_loopback};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Whether a process has the program `casm` in it, and not yet what starts it.
fn is_casm(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(common::CASM))
}

/// The commands that make a node, or wait for packets.
const LONG: [&[&str]; 7] = [
    &["run", "--json"],
    &["ls", "--json", "--wait", "5m"],
    &["demo", "--json", "--for", "5m"],
    &["discover", "find", "--json", "--timeout", "5m"],
    &["discover", "listen", "--json"],
    &["discover", "emit", "request", "--json", "--wait", "5m", "--boot", "/ip4/127.0.0.1/udp/9"],
    &["discover", "find", "--json", "--timeout", "5m", "--boot", "/ip4/10.1.0.0/udp/8822/cidr/16"],
];

/// Sends one signal, and waits for the end: by the signal itself, or by a code
/// that is not the one for programs that were too slow.
fn ends(mut program: Running, signal: &str, number: i32, what: &str) {
    program.signal(signal);
    let status = program.end();
    assert!(is_in_time(status, number), "{what}: {status}: {}", program.log());
}

fn is_in_time(status: ExitStatus, signal: i32) -> bool {
    status.code().is_some_and(|code| code != 130) || status.signal() == Some(signal)
}

#[test]
fn commands_that_take_signals_over_end_at_the_first() {
    for args in LONG {
        for network in [without_loopback, isolated] {
            for (signal, number) in [("INT", 2), ("TERM", 15)] {
                let program = Running::start(network(args));
                let what = format!("{args:?} at SIG{signal}");
                eventually("it takes signals over", || takes_over(program.pid()));
                ends(program, signal, number, &what);
            }
        }
    }
}

#[test]
fn commands_end_by_a_signal_at_any_moment() {
    let mut seed = 7_u64;
    for round in 0..4 {
        for args in LONG.iter().chain(&[&["doctor"][..], &["completions", "zsh"]]) {
            let mut program = Running::start(without_loopback(args));
            eventually("it has begun, or is over", || is_casm(program.pid()) || program.is_over());
            // A moment that is another one each time, of the first 40 ms.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            thread::sleep(Duration::from_micros(seed >> 33 & 0xffff) * round / 5);
            if !program.is_over() {
                ends(program, "TERM", 15, &format!("{args:?} in round {round}"));
            }
        }
    }
}

/// What reads a key waits as long as the file is a pipe that nobody writes to.
#[test]
fn commands_that_read_a_key_end_while_they_read() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    let key = key.to_str().unwrap();
    for args in [
        &["run", "--key", key][..],
        &["ls", "--key", key],
        &["doctor", "--key", key],
        &["key", "show", key],
        &["discover", "find", "--key", key],
        &["discover", "listen", "--key", key],
        &["discover", "emit", "survey", "--key", key],
    ] {
        let program = Running::start(isolated(args));
        eventually("it reads the key", || is_casm(program.pid()) && opens(program.pid()));
        ends(program, "INT", 2, &format!("{args:?}"));
    }
}

/// Whether a thread of a process waits for the other end of a named pipe.
fn opens(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().any(|task| {
        fs::read_to_string(task.path().join("syscall"))
            .is_ok_and(|call| OPENS.contains(&call.split(' ').next().unwrap_or_default()))
    })
}

/// The numbers of `openat` and `open`, on this processor.
#[cfg(target_arch = "x86_64")]
const OPENS: &[&str] = &["257", "2"];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[&str] = &["56"];

#[test]
fn commands_whose_output_nobody_reads_end_at_the_first_signal() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let key = key.to_str().unwrap();
    assert!(common::finish(&["key", "new", key]).status.success());
    for args in [
        &["key", "show", key][..],
        &["doctor"],
        &["completions", "zsh"],
        &["ls", "--wait", "0s"],
        &["discover", "emit", "request", "--boot", "/ip4/127.0.0.1/udp/9", "--wait", "0s"],
        &["demo", "--nodes", "1", "--for", "0s"],
    ] {
        let (stdout, _reader) = stuck::stream();
        let mut command = isolated(args);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        let mut program = command.spawn().unwrap();
        eventually("it waits for its reader", || {
            assert!(program.try_wait().unwrap().is_none(), "{args:?} is over");
            has_thread(program.id(), "casm-stdout")
        });
        let kill = Command::new("kill").arg(program.id().to_string()).status().unwrap();
        assert!(kill.success());
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = program.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                program.kill().unwrap();
                panic!("{args:?} does not end");
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert!(is_in_time(status, 15), "{args:?}: {status}");
    }
}

fn has_thread(pid: u32, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().any(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    })
}
