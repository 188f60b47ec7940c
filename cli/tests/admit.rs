//! `casm admit`: who may join, by certificates.

mod common;

use common::{casm, contract, finish, json_lines, stderr};
use serde_json::Value;
use std::process::Output;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A file's path and the id of its key.
    fn key(&self, command: &str, name: &str) -> (String, String) {
        let path = self.at(name);
        let made = line(&finish(&[command, "new", &path, "--json"]));
        (path, made["peer"].as_str().unwrap().to_owned())
    }
}

/// The one line of JSON, checked.
fn line(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    let text = String::from_utf8_lossy(&output.stdout);
    let [line] = text.lines().collect::<Vec<_>>()[..] else { panic!("not one line: {text}") };
    contract::checked(line)
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn an_authority_is_made_once_and_signs_certificates() {
    let files = Files::new();
    let (ca, authority) = files.key("admit", "CA.key");
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&ca).unwrap().mode() & 0o777, 0o600);
    }
    let again = finish(&["admit", "new", &ca]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("not overwritten"), "{}", stderr(&again));
    let printed = stdout(&finish(&["admit", "new", &files.at("other.key")]));
    assert!(printed.starts_with("12D3KooW") && printed.ends_with('\n'), "{printed}");

    let (_, peer) = files.key("key", "node.key");
    let cert = files.at("node.cert");
    let sign = ["admit", "sign", "--ca", &ca, "--peer", &peer];
    let text = stdout(&finish(&sign));
    assert!(text.starts_with("-----BEGIN CASM CERTIFICATE-----\n"), "{text}");
    std::fs::write(&cert, &text).unwrap();
    let shown = line(&finish(&["admit", "show", &cert, "--json"]));
    assert_eq!(
        (&shown["peer"], &shown["ca"]),
        (&Value::from(peer.clone()), &authority.clone().into())
    );
    assert_eq!((&shown["ns"], &shown["state"]), (&"casm".into(), &"valid".into()));
    assert_eq!(shown["roles"], serde_json::json!([]));
    let lives =
        |shown: &Value| shown["not_after"].as_u64().unwrap() - shown["issued"].as_u64().unwrap();
    assert_eq!(lives(&shown), 30 * 24 * 3600);
    assert!(shown.get("text").is_none());

    let more = ["--for", "2h", "--role", "worker", "--role", "admin", "--ns", "team/b"];
    let said = line(&finish(&[&sign[..], &more, &["--json"]].concat()));
    assert_eq!(said["roles"], serde_json::json!(["admin", "worker"]));
    assert_eq!((&said["ns"], lives(&said)), (&"team/b".into(), 7200));
    assert!(said["text"].as_str().unwrap().starts_with("-----BEGIN CASM CERTIFICATE-----\n"));
    assert_ne!(said["serial"], shown["serial"]);
    let ns = casm(&sign).env("CASM_NS", "by/name").output().unwrap();
    std::fs::write(files.at("named"), &ns.stdout).unwrap();
    let text = stdout(&finish(&["admit", "show", &files.at("named")]));
    for told in [&peer, &authority, "by/name", "valid", "roles      none"] {
        assert!(text.contains(told), "{text} doesn't say {told}");
    }

    // In the place of an older one, and of nothing else.
    let out = line(&finish(&[&sign[..], &["--role", "new", "--out", &cert, "--json"]].concat()));
    assert!(out.get("text").is_none());
    let replaced = line(&finish(&["admit", "show", &cert, "--json"]));
    assert_eq!((&replaced["serial"], &replaced["roles"][0]), (&out["serial"], &"new".into()));
    let over = finish(&[&sign[..], &["--out", &ca]].concat());
    assert_eq!(over.status.code(), Some(2));
    assert!(stderr(&over).contains(&ca) && stderr(&over).contains("not overwritten"));
    assert_eq!(line(&finish(&["key", "show", &ca, "--json"]))["peer"], authority.as_str());
    let nowhere = finish(&[&sign[..], &["--out", &files.at("no/such")]].concat());
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("make its directory"), "{}", stderr(&nowhere));
}

#[test]
fn revocations_are_printed_and_shown_with_others() {
    let files = Files::new();
    let (ca, authority) = files.key("admit", "CA.key");
    let peers = ["a", "b"].map(|name| files.key("key", name).1);
    let mut file = String::from("Who is out.\n");
    for peer in &peers {
        file += &stdout(&finish(&["admit", "revoke", "--ca", &ca, "--peer", peer]));
    }
    let path = files.at("revoked");
    std::fs::write(&path, &file).unwrap();
    let shown: Vec<_> = stdout(&finish(&["admit", "show", &path, "--json"]))
        .lines()
        .map(contract::checked)
        .collect();
    let of: Vec<_> = shown.iter().map(|line| line["peer"].as_str().unwrap()).collect();
    assert_eq!(of, peers);
    for line in &shown {
        assert_eq!((&line["ca"], &line["state"]), (&authority.clone().into(), &"valid".into()));
        let kept = line["until"].as_u64().unwrap() - line["at"].as_u64().unwrap();
        assert_eq!(kept, 366 * 24 * 3600 + 600);
    }
    let text = stdout(&finish(&["admit", "show", &path]));
    for told in [&peers[1], &authority, "revoked    "] {
        assert!(text.contains(told), "{text} doesn't say {told}");
    }
    let revoke = ["admit", "revoke", "--ca", &ca, "--peer", &peers[0], "--for", "30d", "--json"];
    let said = line(&finish(&revoke));
    assert_eq!(
        said["until"].as_u64().unwrap() - said["at"].as_u64().unwrap(),
        30 * 24 * 3600 + 600
    );
    assert!(said["text"].as_str().unwrap().starts_with("-----BEGIN CASM REVOCATION-----\n"));
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let files = Files::new();
    let (ca, _) = files.key("admit", "CA.key");
    let (node, peer) = files.key("key", "node.key");
    let foreign = files.at("foreign");
    assert!(finish(&["key", "new", &foreign, "--type", "secp256k1"]).status.success());
    let cert = files.at("cert");
    let sign = ["admit", "sign", "--ca", &ca, "--peer", &peer, "--out", &cert];
    assert!(finish(&sign).status.success());
    let whole = std::fs::read_to_string(&cert).unwrap();
    std::fs::write(files.at("cut"), &whole[..100]).unwrap();
    let changed = whole.replacen("\nC", "\nD", 1);
    std::fs::write(files.at("changed"), changed).unwrap();
    std::fs::write(files.at("long"), vec![b'x'; 5 << 20]).unwrap();
    let absent = files.at("absent");
    let with = |ca: &str, peer: &str, more: &[&str]| {
        let args = ["admit", "sign", "--ca", ca, "--peer", peer].map(String::from);
        args.into_iter().chain(more.iter().map(|arg| (*arg).to_owned())).collect::<Vec<_>>()
    };
    let show = |file: &str| ["admit", "show", file].map(String::from).to_vec();
    let many: Vec<String> = (0..17).map(|n| format!("--role=r{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (args, code, hints) in [
        (with(&absent, &peer, &[]), 1, ["casm admit new", &absent]),
        (with(&foreign, &peer, &[]), 2, ["casm admit new", &foreign]),
        (with(&cert, &peer, &[]), 2, ["libp2p private key", &cert]),
        (with(&ca, "nobody", &[]), 2, ["casm key show", "nobody"]),
        (with(&ca, &peer, &["--for", "400d"]), 2, ["366d at most", "400d"]),
        (with(&ca, &peer, &["--for", "30"]), 2, ["500ms, 10s or 5m", "30"]),
        (with(&ca, &peer, &["--role", "a b"]), 2, ["such as worker", "a b"]),
        (with(&ca, &peer, &many), 2, ["at most 16 roles", "17"]),
        (with(&ca, &peer, &["--ns", "a/../b"]), 2, ["team/service", "a/../b"]),
        (vec!["admit".into(), "revoke".into(), "--ca".into(), ca.clone()], 2, ["--peer", "ID"]),
        (show(&absent), 1, ["casm admit sign", &absent]),
        (show(&files.at("cut")), 2, ["it is cut", "casm admit sign"]),
        (show(&files.at("changed")), 2, ["it is", "changed"]),
        (show(&files.at("long")), 2, ["longer than", "long"]),
        (show(&node), 2, ["it holds none", &node]),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = finish(&args);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
        for hint in hints {
            assert!(message.contains(hint), "{args:?} doesn't say {hint}: {message}");
        }
        assert!(output.stdout.is_empty(), "{args:?} printed on stdout");
    }
    let output = finish(&["admit", "show", &absent, "--json"]);
    assert_eq!(json_lines(&output)[0]["kind"], "Io");
}
