//! Nodes with certificates: `--admit`, `--certificate` and `--revoked`, whose files are
//! read again when they change.
#![cfg(unix)]

mod common;

use common::{Running, casm, finish, json_lines, stderr};
use std::{fs, process::Output};

const LISTEN: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

/// An authority, and the files of its members.
struct Cluster {
    dir: tempfile::TempDir,
    authority: String,
}

impl Cluster {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut this = Self { dir, authority: String::new() };
        this.authority = this.made("admit", "CA.key");
        this
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes a key, and gives its id.
    fn made(&self, command: &str, name: &str) -> String {
        let made = json_lines(&finish(&[command, "new", &self.at(name), "--json"])).remove(0);
        made["peer"].as_str().unwrap().to_owned()
    }

    /// Signs a certificate for the cluster of the tests into `NAME.cert`.
    fn sign(&self, name: &str, peer: &str, more: &[&str]) {
        let (ca, cert) = (self.at("CA.key"), self.at(&format!("{name}.cert")));
        let args = ["admit", "sign", "--ca", &ca, "--peer", peer, "--ns", "test", "--out", &cert];
        let signed = finish(&[&args, more].concat());
        assert!(signed.status.success(), "{}", stderr(&signed));
    }

    /// A member's key and certificate. Gives its id.
    fn member(&self, name: &str, roles: &[&str]) -> String {
        let peer = self.made("key", &format!("{name}.key"));
        let roles: Vec<_> = roles.iter().flat_map(|role| ["--role", role]).collect();
        self.sign(name, &peer, &roles);
        peer
    }

    /// What makes a command that member.
    fn options(&self, name: &str) -> Vec<String> {
        let [key, cert] = ["key", "cert"].map(|kind| self.at(&format!("{name}.{kind}")));
        ["--admit", &self.authority, "--key", &key, "--certificate", &cert].map(Into::into).into()
    }

    fn node(&self, name: &str, boot: &str, more: &[&str]) -> Running {
        let options = self.options(name);
        let options = options.iter().map(String::as_str).chain(more.iter().copied());
        Running::node(boot, &options.collect::<Vec<_>>())
    }

    /// Runs a command as that member.
    fn finish(&self, name: &str, args: &[&str]) -> Output {
        let mut command = casm(args);
        command.args(["--ns", "test"]).args(LISTEN).args(self.options(name)).output().unwrap()
    }
}

#[test]
fn members_see_each_other_and_files_that_change_change_who_they_are() {
    let cluster = Cluster::new();
    let (a_id, b_id) = (cluster.member("a", &[]), cluster.member("b", &[]));
    let revoked = cluster.at("revoked");
    fs::write(&revoked, "").unwrap();
    let mut a = cluster.node("a", "none", &["--revoked", &revoked]);
    let (_, a_addr) = a.listening();
    let mut stranger = Running::node(&a_addr, &[]);
    let (stranger_id, _) = stranger.listening();
    let mut b = cluster.node("b", &a_addr, &[]);
    let joined = a.joined(&b_id);
    assert_eq!(joined["record"]["roles"], serde_json::json!([]));
    b.joined(&a_id);

    // Another certificate in the place of the file has another role, which all see.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    cluster.sign("b", &b_id, &["--role", "worker"]);
    a.wait_for("its role", |l| {
        l["event"] == "peer-updated" && l["record"]["roles"] == serde_json::json!(["worker"])
    });
    cluster.member("looker", &[]);
    let found = cluster.finish(
        "looker",
        &["ls", "--match", "role:worker", "--json", "--wait", "3s", "--boot", &a_addr],
    );
    let found = json_lines(&found).remove(0);
    let peers: Vec<_> = found["records"].as_array().unwrap().iter().map(|r| &r["peer"]).collect();
    assert_eq!(peers, [&serde_json::json!(b_id)]);

    let ca = cluster.at("CA.key");
    let taken_back = finish(&["admit", "revoke", "--ca", &ca, "--peer", &b_id]);
    fs::write(&revoked, &taken_back.stdout).unwrap();
    a.wait_for("it is put out", |l| l["event"] == "peer-left" && l["peer"] == *b_id);
    let joined = |line: &serde_json::Value| {
        line["event"] == "peer-joined" && line["record"]["peer"] == *stranger_id
    };
    assert!(!a.seen().iter().any(joined));
}

#[test]
fn a_service_for_a_role_is_for_who_has_it_in_its_certificate() {
    let cluster = Cluster::new();
    for (name, roles) in [("server", &[][..]), ("admin", &["admin"]), ("guest", &["guest"])] {
        cluster.member(name, roles);
    }
    let mut args: Vec<String> = ["serve", "--json", "--boot", "none", "--ns", "test", "work"]
        .into_iter()
        .chain(["--allow-role", "admin"])
        .chain(LISTEN)
        .map(Into::into)
        .collect();
    args.extend(cluster.options("server"));
    args.extend(["--", "cat"].map(Into::into));
    let mut server = Running::start(casm(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    let (_, addr) = server.listening();
    let call = ["call", "work", "hello", "--boot", "none", "--peer", &addr];
    let told = cluster.finish("admin", &call);
    assert_eq!(
        (told.status.code(), &told.stdout[..]),
        (Some(0), &b"hello"[..]),
        "{}",
        stderr(&told)
    );
    let told = cluster.finish("guest", &call);
    assert_eq!(told.status.code(), Some(1));
    assert!(stderr(&told).contains("with the role `admin`"), "{}", stderr(&told));
}

#[test]
fn what_does_not_go_together_is_told_before_a_node_starts() {
    let cluster = Cluster::new();
    cluster.member("a", &[]);
    cluster.member("b", &[]);
    let (a_key, a_cert, b_cert) = (cluster.at("a.key"), cluster.at("a.cert"), cluster.at("b.cert"));
    let cut = cluster.at("cut.cert");
    fs::write(&cut, &fs::read(&a_cert).unwrap()[..100]).unwrap();
    let absent = cluster.at("absent");
    let admit = ["--admit", &cluster.authority];
    for (more, code, hint) in [
        (vec!["--admit", "worker-7"], 2, "casm admit new"),
        (vec!["--certificate", &a_cert], 2, "without `admit`"),
        (vec!["--cert", &a_cert], 2, "without `admit`"),
        (vec!["--cert", &a_cert, "--certificate", &a_cert], 2, "cannot be used with"),
        ([&admit[..], &["--key", &a_key]].concat(), 2, "casm admit sign"),
        ([&admit[..], &["--certificate", &a_cert]].concat(), 2, "key: there is none"),
        ([&admit[..], &["--key", &a_key, "--certificate", &b_cert]].concat(), 2, "is for the peer"),
        ([&admit[..], &["--key", &a_key, "--certificate", &cut]].concat(), 2, "it is cut"),
        ([&admit[..], &["--key", &a_key, "--certificate", &absent]].concat(), 1, "casm admit sign"),
        (
            [&admit[..], &["--key", &a_key, "--certificate", &a_cert, "--revoked", &absent]]
                .concat(),
            1,
            "casm admit revoke",
        ),
        // For the cluster `casm`.
        (
            [&admit[..], &["--ns", "casm"], &["--key", &a_key, "--certificate", &a_cert]].concat(),
            2,
            "--ns casm",
        ),
    ] {
        let ns = if more.contains(&"--ns") { &[][..] } else { &["--ns", "test"] };
        let output = finish(&[&["run", "--boot", "none"], ns, &LISTEN, &more].concat());
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {message}");
        assert!(message.contains(hint), "{hint}: {message}");
    }
    // An empty name is one that cannot be read, and no leave to be open.
    for (name, value) in [("CASM_ADMIT", "worker-7"), ("CASM_CERTIFICATE", ""), ("CASM_CERT", "")] {
        let mut node = casm(&["run", "--boot", "none"]);
        let output = node.env(name, value).output().unwrap();
        assert!(!output.status.success(), "{name}={value:?}: {}", stderr(&output));
    }
}
