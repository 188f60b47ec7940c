//! Nodes of which one has a clock that is ahead, by libfaketime: who is told of
//! it, and what the doctor says afterwards.
#![cfg(target_os = "linux")]

mod common;

use common::{Running, eventually, isolated, json_lines, node};
use serde_json::Value;
use std::process::Command;

/// Has a program see a clock that is ahead, such as by `+11m`. What measures
/// time from some moment on is as ever. False where libfaketime is not
/// installed, which is a failure in CI.
fn set_ahead(command: &mut Command, by: &str) -> bool {
    // The program of that name would stay between this process and the node.
    let print = ["-m", "-f", "+0", "printenv", "LD_PRELOAD"];
    let Ok(library) = Command::new("faketime").args(print).output() else {
        assert!(std::env::var_os("CI").is_none(), "faketime is not installed");
        println!("skipped: faketime is not installed");
        return false;
    };
    command.env("LD_PRELOAD", String::from_utf8(library.stdout).unwrap().trim());
    command.env("FAKETIME", by).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    true
}

const TOLD: &str = "set it, best by NTP";

/// Two nodes, the first of which has its clock right, after both were told and
/// have compared their clocks twice more.
fn told(by: &str, ms: i64, data: &str) -> Option<[Running; 2]> {
    let mut right = Running::node("none", &["-v"]);
    let (right_id, addr) = right.listening();
    let mut ahead = node(&addr, &["-v", "--data", data]);
    if !set_ahead(&mut ahead, by) {
        return None;
    }
    let mut ahead = Running::start(ahead);
    let (ahead_id, _) = ahead.listening();
    // Who is ahead sees the other, and is not seen.
    ahead.joined(&right_id);
    for (node, other, offset) in [(&mut right, &ahead_id, ms), (&mut ahead, &right_id, -ms)] {
        let line = node.wait_for_event("clock-differs");
        let found = line["offset_ms"].as_i64().unwrap();
        assert!(found.abs_diff(offset) < 30_000, "{found} ms, not {offset}");
        assert_eq!(line["peers"], serde_json::json!([other]));
        let said = node.logged("this node's clock is");
        let way = if offset > 0 { "behind" } else { "ahead of" };
        let whose = format!("{way} that of its peer: one of the two is wrong; {TOLD}");
        assert!(said.contains(&whose), "{said}");
    }
    for node in [&right, &ahead] {
        let compared = || node.log().matches("heartbeats were exchanged").count();
        let before = compared();
        eventually("two more exchanges", || compared() >= before + 2);
    }
    for node in [&mut right, &mut ahead] {
        assert_eq!(node.log().matches(TOLD).count(), 1, "{}", node.log());
        let again = |line: &&Value| line["event"] == "clock-differs";
        assert_eq!(node.seen().iter().filter(again).count(), 1);
    }
    let refused = "heartbeats are not taken: they are more than 10 min ahead";
    assert_eq!(right.log().matches(refused).count(), 1, "{}", right.log());
    let joins = |line: &Value| line["event"] == "peer-joined" && line["record"]["peer"] == ahead_id;
    assert!(!right.seen().iter().any(joins));
    for node in [&mut ahead, &mut right] {
        node.signal("TERM");
        assert_eq!(node.end().code(), Some(0), "{}", node.log());
    }
    Some([right, ahead])
}

/// What the doctor says of the clock, as status and message, with a clock that
/// is ahead by this.
fn doctor(by: &str, data: &str) -> Vec<(String, String)> {
    let mut doctor = isolated(&["doctor", "--json", "--data", data]);
    assert!(set_ahead(&mut doctor, by));
    let lines = json_lines(&doctor.output().unwrap());
    // What a time service of this machine says is another matter.
    let ours = |line: &&Value| {
        let of_clock = line["name"] == "clock" || line["name"] == "sequence";
        of_clock && !line["message"].as_str().unwrap().contains("synchronized by NTP")
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines.iter().filter(ours).map(|line| (text(&line["status"]), text(&line["message"]))).collect()
}

#[test]
fn a_clock_eleven_minutes_ahead_is_told_once_at_both_ends_and_by_the_doctor() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    if told("+11m", 660_000, data).is_none() {
        return;
    }
    let found = doctor("+11m", data);
    let warns = |(status, message): &(String, String)| {
        status == "warn" && message.contains("ahead of that of its peer: one of the two is wrong")
    };
    assert!(found.iter().any(warns), "{found:#?}");
}

#[test]
fn after_a_run_thirty_days_ahead_the_doctor_is_content_when_the_clock_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    if told("+30d", 30 * 86_400_000, data).is_none() {
        return;
    }
    let found = doctor("+0", data);
    assert!(found.iter().all(|(status, _)| status == "ok"), "{found:#?}");
    assert!(found.iter().any(|(_, said)| said.contains("has been set back since")), "{found:#?}");
    let found = doctor("+30d", data);
    assert!(found.iter().any(|(status, _)| status == "warn"), "{found:#?}");
}
