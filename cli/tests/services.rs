//! `casm serve`, `casm call` and `casm services`.
#![cfg(unix)]

mod common;

use common::{Running, casm, json_lines, stderr};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    io::Write,
    path::Path,
    process::{Output, Stdio},
    thread,
};

const NODE: [&str; 4] = ["--ns", "test", "--listen", "/ip4/127.0.0.1/tcp/0"];

fn serve(more: &[&str], command: &[&str]) -> (Running, String) {
    serve_at("none", more, command)
}

fn serve_at(boot: &str, more: &[&str], command: &[&str]) -> (Running, String) {
    let mut args = vec!["serve", "--json", "--boot", boot];
    args.extend(NODE);
    args.extend(more);
    args.push("--");
    args.extend(command);
    let mut running = Running::start(casm(&args));
    let (_, addr) = running.listening();
    (running, addr)
}

fn ask(boot: &str, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = casm(args);
    command.args(NODE).args(["--boot", boot]);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // One that reads nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn a_service_for_a_role_is_not_for_those_without_a_certificate() {
    let (_server, addr) = serve(&["work", "--allow-role", "admin", "--allow-role", "eu"], &["cat"]);
    let told = ask("none", &["call", "work", "x", "--peer", &addr], b"");
    assert_eq!((told.status.code(), &told.stdout[..]), (Some(1), &b""[..]));
    assert!(stderr(&told).contains("with the role `admin` or `eu`"), "{}", stderr(&told));
}

#[test]
fn a_command_answers_what_is_asked() {
    let (_server, addr) = serve(&["shout", "--service-version", "2"], &["tr", "a-z", "A-Z"]);
    let told = ask(&addr, &["call", "shout", "hello"], b"");
    assert_eq!(
        (told.status.code(), &told.stdout[..]),
        (Some(0), &b"HELLO"[..]),
        "{}",
        stderr(&told)
    );
    let told = ask(&addr, &["call", "shout", "-"], b"from stdin\n");
    assert_eq!(told.stdout, b"FROM STDIN\n", "{}", stderr(&told));
    let told = ask(&addr, &["call", "shout", "x", "--json"], b"");
    assert_eq!(json_lines(&told), [json!({"event": "reply", "text": "X"})]);
    let told = ask(&addr, &["call", "shout", "-", "--json"], b"\xff\xfe");
    assert_eq!(json_lines(&told), [json!({"event": "reply", "base64": "//4="})]);
    // The address leads to one peer, which alone is asked.
    let told = ask("none", &["call", "shout", "x", "--peer", &addr], b"");
    assert_eq!(told.stdout, b"X", "{}", stderr(&told));

    let told = ask(&addr, &["call", "shout", "x", "--all", "--wait", "2s", "--json"], b"");
    let lines = json_lines(&told);
    let [reply, ended] = &lines[..] else { panic!("{lines:?}") };
    assert!(addr.ends_with(reply["peer"].as_str().unwrap()), "{reply}");
    assert_eq!((&reply["text"], ended), (&json!("X"), &json!({"event": "ended", "reason": "all"})));

    let told = ask(&addr, &["services", "--wait", "2s", "--json"], b"");
    let lines = json_lines(&told);
    let services = lines[0]["services"].as_array().unwrap();
    assert_eq!(
        (services.len(), &services[0]["name"], &services[0]["version"]),
        (1, &json!("shout"), &json!("2"))
    );
    let told = ask(&addr, &["services", "--wait", "2s"], b"");
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.starts_with("SERVICE") && text.contains("shout"), "{text}");
}

#[test]
fn a_command_that_fails_is_told_and_what_it_says_steers_no_terminal() {
    let (_server, addr) = serve(&["fail"], &["sh", "-c", r#"printf '\033[2Jbroken' >&2; exit 3"#]);
    let told = ask(&addr, &["call", "fail"], b"");
    let error = stderr(&told);
    assert_eq!(told.status.code(), Some(1));
    assert!(error.contains("exit status: 3: \\u{1b}[2Jbroken"), "{error}");
    assert!(!error.contains('\u{1b}'));
    let told = ask(&addr, &["call", "nobody", "--wait", "1s", "--json"], b"");
    assert_eq!((told.status.code(), &json_lines(&told)[0]["kind"]), (Some(1), &json!("NotFound")));
    let told = ask(&addr, &["call", "a b", "--wait", "10ms"], b"");
    assert_eq!(told.status.code(), Some(2), "{}", stderr(&told));
}

#[test]
fn parts_are_printed_as_they_come() {
    let (_server, addr) = serve(&["count", "--parts"], &["seq", "1", "30000"]);
    let told = ask(&addr, &["call", "count", "--parts"], b"");
    let expected: String = (1..=30_000).map(|n| format!("{n}\n")).collect();
    assert!(told.stdout == expected.as_bytes(), "{} {}", told.stdout.len(), stderr(&told));
}

#[test]
fn a_caller_that_goes_ends_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", file.display());
    let (mut server, addr) = serve(&["stuck"], &["sh", "-c", &script]);
    let told = ask(&addr, &["call", "stuck", "--timeout", "2s"], b"");
    assert!(stderr(&told).contains("no answer within"), "{}", stderr(&told));
    let pid = std::fs::read_to_string(&file).unwrap();
    let pid = pid.trim().parse().unwrap();
    let end = std::time::Instant::now() + common::PATIENCE;
    while common::runs(pid) {
        assert!(std::time::Instant::now() < end, "the command goes on");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    server.signal("INT");
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
}

#[test]
fn what_a_command_has_started_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    // The shell waits for another process, which a signal to the shell leaves alone.
    let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
    let (mut server, addr) = serve(&["stuck"], &["sh", "-c", &script]);
    let told = ask(&addr, &["call", "stuck", "--timeout", "2s"], b"");
    assert!(stderr(&told).contains("no answer within"), "{}", stderr(&told));
    let pid = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    common::eventually("what the command started is ended", || !common::runs(pid));
    server.signal("INT");
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
}

#[test]
fn who_is_asked_can_be_chosen_and_headers_come_along() {
    let zone = |zone| format!("zone={zone}");
    let command = ["sh", "-c", r#"printf '%s' "$CASM_REQUEST_HEADERS""#];
    let (_eu, addr) = serve(&["who", "--meta", &zone("eu")], &command);
    let (_us, us) = serve_at(&addr, &["who", "--meta", &zone("us")], &["printf", "us"]);
    let asks = |more: &[&str]| ask(&addr, &[&["call", "who", "--json"], more].concat(), b"");
    let told = asks(&["--where", "meta:zone=us"]);
    assert_eq!(json_lines(&told), [json!({"event": "reply", "text": "us"})], "{}", stderr(&told));
    let headers = ["--header", "trace=a=b", "--header", "with=\"quotes\""];
    let told = asks(&[&["--where", "meta:zone=eu"], &headers[..]].concat());
    let wanted = r#"{"trace":"a=b","with":"\"quotes\""}"#;
    assert_eq!(json_lines(&told), [json!({"event": "reply", "text": wanted})], "{}", stderr(&told));
    let told = asks(&["--where", "meta:zone=nowhere", "--wait", "3s"]);
    assert_eq!((told.status.code(), &json_lines(&told)[0]["kind"]), (Some(1), &json!("NotFound")));

    let all = ["--all", "--wait", "3s"];
    let told = asks(&all);
    let lines = json_lines(&told);
    let [first, second, ended] = &lines[..] else { panic!("{lines:?} {}", stderr(&told)) };
    let mut texts = [first, second].map(|reply| reply["text"].as_str().unwrap().to_owned());
    texts.sort();
    assert_eq!((texts, &ended["reason"]), (["us".into(), "{}".into()], &json!("all")));
    let told = asks(&[&all[..], &["--where", "meta:zone=us"]].concat());
    let lines = json_lines(&told);
    assert!(lines.len() == 2 && us.ends_with(lines[0]["peer"].as_str().unwrap()), "{lines:?}");
    let told = asks(&[&all[..], &["--limit", "1"]].concat());
    let lines = json_lines(&told);
    assert_eq!((lines.len(), &lines[1]["reason"]), (2, &json!("limit")), "{lines:?}");
}

/// A command that says that it works, and waits until it is told to go on.
fn slow(dir: &Path) -> String {
    let [works, go_on] = ["works", "go-on"].map(|name| dir.join(name).display().to_string());
    format!("touch {works}; while [ ! -e {go_on} ]; do sleep 0.1; done; printf done")
}

#[test]
fn an_interrupted_server_answers_what_it_works_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, addr) = serve(&["slow", "--ttl", "1h"], &["sh", "-c", &slow(dir.path())]);
    let peer = addr.rsplit('/').next().unwrap().to_owned();
    let mut member = Running::node(&addr, &[]);
    let serves =
        |line: &Value| line["record"]["services"].as_object().is_some_and(|all| !all.is_empty());
    let served = Cell::new(serves(&member.joined(&peer)));
    let asked = thread::spawn({
        let addr = addr.clone();
        move || ask(&addr, &["call", "slow", "--timeout", "1m"], b"")
    });
    common::eventually("the command works", || dir.path().join("works").exists());
    server.signal("INT");
    // Its record says first that it serves no more.
    member.wait_for("a record without services", |line| {
        line["record"]["peer"] == peer && served.replace(serves(line)) && !serves(line)
    });
    std::fs::write(dir.path().join("go-on"), "").unwrap();
    let told = asked.join().unwrap();
    assert_eq!(told.stdout, b"done", "{}", stderr(&told));
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
    left(&mut member, &peer);
}

#[test]
fn a_server_whose_command_goes_on_says_goodbye_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, addr) = serve(&["slow", "--ttl", "1h"], &["sh", "-c", &slow(dir.path())]);
    let peer = addr.rsplit('/').next().unwrap().to_owned();
    let mut member = Running::node(&addr, &[]);
    member.joined(&peer);
    let asked = thread::spawn({
        let addr = addr.clone();
        move || ask(&addr, &["call", "slow", "--timeout", "1m"], b"")
    });
    common::eventually("the command works", || dir.path().join("works").exists());
    server.signal("INT");
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
    assert!(!server.log().contains("took too long"), "{}", server.log());
    left(&mut member, &peer);
    let told = asked.join().unwrap();
    assert_eq!(told.status.code(), Some(1), "{}", stderr(&told));
}

/// A member hears that a peer has gone, which is not kept until its record expires.
fn left(member: &mut Running, peer: &str) {
    let gone =
        member.wait_for("a goodbye", |line| line["event"] == "peer-left" && line["peer"] == peer);
    assert_eq!(gone["reason"], "left");
}
