//! The program as `cargo xtask interop` runs it.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A running peer, killed when dropped. A test that waits in vain is ended by
/// its runner.
struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_casm-libp2p"))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { stdin: child.stdin.take(), child, lines }
    }

    fn tell(&mut self, command: &Value) {
        writeln!(self.stdin.as_ref().unwrap(), "{command}").unwrap();
    }

    /// The next event of this name.
    fn next(&mut self, name: &str) -> Value {
        loop {
            let line = self.lines.next().unwrap().unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_ne!(event["event"], "error", "{event}");
            if event["event"] == name {
                return event;
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Through one that is in nobody's mesh two others hear each other, what is new,
/// and the goodbye.
#[test]
fn peers_hear_each_other_also_through_a_lazy_one() {
    let mut middle = Peer::start(&["--lazy", "--observer"]);
    let addr = middle.next("listening")["addrs"][0].clone();
    let mut ends = [Peer::start(&["--meta", "role=one"]), Peer::start(&["--meta", "role=two"])];
    let ids = ends.each_mut().map(|end| {
        let id = end.next("listening")["peer"].clone();
        end.tell(&json!({"cmd": "connect", "addr": addr, "id": 1}));
        assert_eq!(end.next("reply")["id"], 1);
        id
    });
    let [one, two] = &mut ends;
    // The first to join is oneself.
    let joined = |end: &mut Peer, id: &Value| {
        while end.next("peer-joined")["record"]["peer"] != *id {}
    };
    joined(one, &ids[1]);
    joined(two, &ids[0]);
    one.tell(&json!({"cmd": "update", "meta": ["role=three"]}));
    assert_eq!(two.next("peer-updated")["record"]["meta"], json!({"role": "three"}));
    middle.tell(&json!({"cmd": "stats"}));
    assert_eq!(middle.next("reply")["mesh"], json!([]));
    one.stdin = None;
    let left = two.next("peer-left");
    assert_eq!((&left["peer"], &left["reason"]), (&ids[0], &"left".into()));
}
