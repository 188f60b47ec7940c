//! `casm pipe`: bytes from one program to another.
#![cfg(unix)]

mod common;

use common::{PATIENCE, Running, casm, finish, stderr};
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Instant,
};

const OWN: [&str; 4] = ["--ns", "test", "--listen", "/ip4/127.0.0.1/tcp/0"];

fn pipe(args: &[&str]) -> Command {
    let mut command = casm(&[&["pipe"], args, &OWN].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One that accepts, and what is to be given to `--peer`.
fn accept(args: &[&str]) -> (Child, String) {
    let mut child = pipe(&[&["accept", "/x/1"], args].concat()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let addr = line.rsplit_once("--peer ").unwrap().1.trim_end_matches('`').to_owned();
    (child, addr)
}

/// Sends this, and gives what comes back once both are over.
fn ends(mut child: Child, sends: &[u8]) -> (bool, Vec<u8>) {
    let mut stdin = child.stdin.take().unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(sends).unwrap());
        child.stdout.take().unwrap().read_to_end(&mut received).unwrap();
    });
    (child.wait().unwrap().success(), received)
}

#[test]
fn bytes_go_both_ways_to_their_end() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let (there, addr) = {
            let mut command = casm(&["pipe", "accept", "/x/1", "--boot", "none", "--ns", "test"]);
            command.args(["--listen", listen]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let line = BufReader::new(child.stderr.take().unwrap()).lines().next();
            let line = line.unwrap().unwrap();
            let addr = line.rsplit_once("--peer ").unwrap().1.trim_end_matches('`').to_owned();
            (child, addr)
        };
        let here = pipe(&["open", "/x/1", "--boot", "none", "--peer", &addr]).spawn().unwrap();
        let (question, answer) = (vec![b'q'; 3 << 20], b"an\0swer".to_vec());
        let (here, there) = std::thread::scope(|scope| {
            let there = scope.spawn(|| ends(there, &answer));
            (ends(here, &question), there.join().unwrap())
        });
        assert!(here == (true, answer), "{listen}: {}", here.1.len());
        assert!(there == (true, question), "{listen}: {}", there.1.len());
    }
}

/// Neither names the other: the cluster does.
#[test]
fn the_first_member_that_takes_it_is_found() {
    let mut hub = Running::node("none", &[]);
    let (_, boot) = hub.listening();
    let (there, _) = accept(&["--boot", &boot]);
    let here = pipe(&["open", "/x/1", "--boot", &boot, "--wait", "60s"]).spawn().unwrap();
    let (here, there) = std::thread::scope(|scope| {
        let there = scope.spawn(|| ends(there, b"pong"));
        (ends(here, b"ping"), there.join().unwrap())
    });
    assert_eq!(here, (true, b"pong".to_vec()));
    assert_eq!(there, (true, b"ping".to_vec()));
}

#[test]
fn what_cannot_be_opened_is_told() {
    let open =
        |args: &[&str]| finish(&[&["pipe", "open"], args, &OWN, &["--boot", "none"]].concat());
    for (args, status, said) in [
        (&["/casm/x", "--peer", "/ip4/127.0.0.1/tcp/1"][..], 2, "not for programs"),
        (&["/x/1", "--wait", "100ms"], 1, "nobody was seen"),
        (&["/x/1", "--peer", "/ip4/127.0.0.1/tcp/1", "--wait", "300ms"], 1, "/ip4/127.0.0.1/tcp/1"),
        (&["/x/1", "--peer", "nobody"], 2, "/p2p/"),
    ] {
        let start = Instant::now();
        let output = open(args);
        assert!(start.elapsed() < PATIENCE);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
    // Who takes something else.
    let (mut there, addr) = accept(&["--boot", "none"]);
    let output = open(&["/y/1", "--peer", &addr, "--wait", "300ms"]);
    assert!(stderr(&output).contains("does not speak /y/1"), "{}", stderr(&output));
    // A peer that is killed ends it with an error, as long as this end is open.
    let mut here = pipe(&["open", "/x/1", "--boot", "none", "--peer", &addr]).spawn().unwrap();
    let mut stdin = here.stdin.take().unwrap();
    stdin.write_all(b"x").unwrap();
    let mut byte = [0];
    there.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    there.kill().unwrap();
    there.wait().unwrap();
    let output = here.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("broke"), "{}", stderr(&output));
}
