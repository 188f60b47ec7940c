//! What is given on the command line, and what is refused with a word on what to
//! write instead.

mod common;

use common::{finish, json_lines, stderr};
use serde_json::Value;

#[test]
fn bad_usage_says_what_to_write_instead() {
    for (args, hint) in [
        (&["run", "--boot", "nonsense"][..], "127.0.0.1/udp/8822"),
        (&["run", "--boot", "/ip4/10.0.0.0/udp/8822/cidr/129"], "cidr"),
        (&["run", "--boot", "none,auto"], "none"),
        (&["run", "--ns", "a/../b"], "team/service"),
        (&["run", "--ns", ""], "team/service"),
        (&["run", "--ns", &"x".repeat(129)], "128"),
        (&["run", "--meta", "role"], "role=worker"),
        (&["run", "--meta", "=x"], "role=worker"),
        (&["run", "--ttl", "10"], "10s"),
        (&["run", "--ttl", "0s"], "at least 1s"),
        (&["run", "--ttl", "25h"], "at most 24h"),
        (&["run", "--power", "lower"], "`normal` or `low`"),
        (&["run", "--pace", "slow"], "`auto` or `fixed`"),
        (&["run", "--budget", "0"], "1 to 100000"),
        (&["run", "--budget", "many"], "1 to 100000"),
        (&["run", "--pex-tick", "1ms"], "5m, or off"),
        (&["run", "--pex-tick", "25h"], "at most 24h"),
        (&["run", "--listen", "127.0.0.1:80"], "/ip4/0.0.0.0/tcp/4001"),
        (&["run", "--announce", "203.0.113.7:4001"], "/ip4/203.0.113.7/tcp/4001"),
        (&["run", "--announce", "/ip4/203.0.113.7/tcp/0"], "port that is mapped"),
        (&["discover", "listen", "--boot", "none", "--announce", "/ip4/0.0.0.0/tcp/1"], "takes it"),
        (&["run", "--announce-only"], "announce_only"),
        (&["run", "--boot", "none", "--relay-circuits", "4"], "give --relay"),
        (&["run", "--boot", "none", "--relay", "--relay-reservations", "0"], "relay.reservations"),
        (&["run", "--boot", "none", "--relay", "--relay-circuits", "4097"], "1 to 4096"),
        (&["run", "--boot", "none", "--relay", "--relay-bytes", "1"], "relay.circuit_bytes"),
        (&["run", "--boot", "none", "--relay", "--relay-time", "9s"], "relay.circuit_time"),
        (&["run", "--relay", "--relay-time", "9"], "500ms, 10s or 5m"),
        (&["run", "--table-limit", "4096"], "records=4096"),
        (&["run", "--table-limit", "records=64,probation=10"], "500ms, 10s or 5m"),
        (&["run", "--table-limit", "records=15"], "limits.table.records"),
        (&["run", "--view", "0s"], "10ms"),
        (&["run", "--metrics", "nowhere"], "metrics"),
        (&["demo", "--nodes", "0"], "1..=32"),
        (&["ls", "--match", "colour:red"], "meta:role=worker"),
        (&["ls", "--match", "host"], "meta:role=worker"),
        (&["ls", "--prefix"], "--match"),
        (&["ls", "--from", "role:a", "--to", "meta:b"], "both must be of one field"),
        (&["ls", "--match", "host:a", "--from", "host:b"], "cannot be used with"),
        (&["ls", "--from", "host:a", "--to", "peer:b"], "both must be of one field"),
        (&["ls", "--limit", "0"], "1 or more"),
        (&["discover", "emit", "survey", "--boot", "/ip4/127.0.0.1/udp/8822"], "multicast/eth0"),
        (&["discover", "emit", "request", "--boot", "none"], "ports/32"),
        (&["discover", "emit", "response"], "/ip4/10.0.0.1/tcp/4001"),
        (&["discover", "emit", "response", "--listen", "/ip4/127.0.0.1/tcp/0"], "tcp/4001"),
        (&["discover", "emit", "response", "--listen", "/ip4/0.0.0.0/tcp/4001"], "tcp/4001"),
        (&["serve", "x", "--boot", "none", "--allow-role", "a b", "--", "cat"], "without spaces"),
        (&["completions", "cobol"], "bash"),
        (&["watch"], "terminal"),
        (&["nothing"], "--help"),
    ] {
        let output = finish(args);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(message.contains(hint), "{args:?} doesn't say {hint}: {message}");
        assert!(output.stdout.is_empty(), "{args:?} printed on stdout");
    }
}

#[test]
fn a_failure_is_a_line_of_json_too() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    let output = finish(&["run", "--json", "--key", absent.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output);
    assert_eq!((&lines[0]["event"], &lines[0]["kind"]), (&"error".into(), &"Io".into()));
    for told in [lines[0]["message"].as_str().unwrap(), &stderr(&output)] {
        assert!(told.contains(absent.to_str().unwrap()) && told.contains("casm key new"), "{told}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let addr = format!("/ip4/127.0.0.1/tcp/{port}");
    let output = finish(&["run", "--json", "--boot", "none", "--listen", &addr]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let lines = json_lines(&output);
    assert_eq!(lines[0]["kind"], "Bind");
    assert!(lines[0]["message"].as_str().unwrap().contains(&port.to_string()), "{lines:?}");
}

#[test]
fn a_key_file_is_made_once_shown_and_private() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["ed25519", "secp256k1", "ecdsa"] {
        let path = dir.path().join(kind);
        let path = path.to_str().unwrap();
        let made = json_lines(&finish(&["key", "new", path, "--type", kind, "--json"])).remove(0);
        assert_eq!((&made["event"], &made["type"]), (&Value::from("key"), &kind.into()));
        let shown = json_lines(&finish(&["key", "show", path, "--json"])).remove(0);
        assert_eq!(made, shown);
        let text = finish(&["key", "show", path]);
        let peer = made["peer"].as_str().unwrap();
        assert_eq!(String::from_utf8_lossy(&text.stdout), format!("{peer}\n"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
        let before = std::fs::read(path).unwrap();
        let again = finish(&["key", "new", path]);
        assert_eq!(again.status.code(), Some(2));
        assert!(stderr(&again).contains(path) && stderr(&again).contains("not overwritten"));
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    let garbage = dir.path().join("garbage");
    std::fs::write(&garbage, "not a key").unwrap();
    let output = finish(&["key", "show", garbage.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("casm key new"), "{}", stderr(&output));
}

#[test]
fn the_file_of_a_secret_is_made_once_and_private_and_a_bad_one_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let path = at("swarm.key");
    let made = json_lines(&finish(&["key", "secret", &path, "--json"])).remove(0);
    assert_eq!((&made["event"], &made["path"]), (&Value::from("secret"), &path.clone().into()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
    let before = std::fs::read_to_string(&path).unwrap();
    let again = finish(&["key", "secret", &path]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains(&path) && stderr(&again).contains("not overwritten"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    let other = finish(&["key", "secret", &at("other")]);
    let fingerprint = String::from_utf8_lossy(&other.stdout).trim().to_owned();
    assert!(fingerprint.len() == 32 && made["fingerprint"] != fingerprint.as_str());

    let digits = before.lines().nth(2).unwrap();
    std::fs::write(at("cut"), &before[..60]).unwrap();
    std::fs::write(at("foreign"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    for (given, code, hint) in [
        (at("cut"), 2, "fewer than 32 bytes"),
        (at("foreign"), 2, "/key/swarm/psk/1.0.0/"),
        (at("absent"), 1, "casm key secret"),
        (digits.to_owned(), 2, "the secret itself"),
        (before.clone(), 2, "the secret itself"),
    ] {
        for command in [&["run", "--boot", "none"][..], &["ls"], &["discover", "find"], &["doctor"]]
        {
            let output = finish(&[command, &["--secret", &given]].concat());
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{command:?}: {message}");
            assert!(message.contains(hint), "{message}");
            assert!(!message.contains(&digits[..12]), "{message}");
        }
    }
    let mut empty = common::casm(&["run", "--boot", "none"]);
    let output = empty.env("CASM_SECRET_FILE", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let quic = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let output = finish(&[&["run", "--boot", "none", "--secret", &path][..], &quic].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("QUIC has no pre-shared key"), "{}", stderr(&output));
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = finish(&["completions", shell]);
        assert!(output.status.success());
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(script.contains("discover") && script.contains("metrics"), "{shell}");
    }
}

#[test]
fn help_and_version_are_there() {
    let version = finish(&["--version"]);
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    assert_eq!(text.trim(), format!("casm {}", env!("CARGO_PKG_VERSION")));
    for command in ["demo", "run", "ls", "watch", "discover", "key", "doctor", "completions"] {
        assert!(finish(&[command, "--help"]).status.success());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_doctor_looks_at_a_machine_with_loopback_alone() {
    let output = common::isolated(&["doctor", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = json_lines(&output);
    let status = |name: &str| {
        let line = lines.iter().find(|l| l["name"] == name);
        line.unwrap_or_else(|| panic!("no {name} in {lines:#?}"))["status"].as_str().unwrap()
    };
    assert_eq!(status("loopback"), "ok");
    assert_eq!(status("interface lo"), "ok");
    assert_eq!(status("network"), "warn");
    assert_eq!(status("boot ports"), "ok");
    assert_eq!(status("clock"), "ok");
    assert_eq!(status("reachability"), "ok");
    for line in &lines {
        assert_eq!(line["advice"].is_string(), line["status"] != "ok", "{line}");
    }
}

#[test]
fn the_doctor_tells_whether_others_reach_this_machine() {
    let listen = ["--boot", "none", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let told = |args: &[&str]| {
        let output = finish(&[&["doctor", "--json"][..], &listen, args].concat());
        let mut lines = json_lines(&output).into_iter();
        let line = lines.find(|line| line["name"] == "reachability").unwrap();
        (line["status"].to_string(), line["message"].to_string(), line["advice"].to_string())
    };
    let announce = ["--announce", "/ip4/203.0.113.7/tcp/4001"];
    for wait in [&[][..], &["--wait", "1m"]] {
        let (status, message, _) = told(&[&announce[..], wait].concat());
        assert_eq!(status, "\"ok\"", "{message}");
        assert!(message.contains("public: /ip4/203.0.113.7/tcp/4001 (announced)"), "{message}");
    }
    let (status, message, _) = told(&[]);
    assert_eq!(status, "\"ok\"", "{message}");
    assert!(message.contains("unknown") && message.contains("--wait"), "{message}");
    let (status, message, advice) = told(&["--wait", "10ms"]);
    assert_eq!(status, "\"warn\"", "{message}");
    assert!(message.contains("unknown") && advice.contains("--upnp"), "{message} {advice}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_doctor_tells_what_cannot_work() {
    let output = common::isolated_after("true", &["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let lines = json_lines(&output);
    let failed =
        |l: &Value| l["status"] == "fail" && l["advice"].as_str().unwrap().contains("lo up");
    assert!(lines.iter().any(failed), "{lines:#?}");
}
