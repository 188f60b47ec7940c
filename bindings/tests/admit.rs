//! Certificates through the facade: what files hold, and what doesn't go together.

use casm::admit::{Certificate, Revocation, Terms};
use casm_bindings::{
    Dispatcher, ErrorKind, Event, Keypair, Node, Options, PeerId, Query, Result, block,
    generate_key,
};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    block("the test", future, Some(PATIENCE), || Ok(()))
}

fn start(options: Options) -> Result<Node> {
    wait(Node::start(options, Dispatcher::default()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn id(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

/// The file of a certificate with this role, signed so many seconds ago: of a peer's the
/// one that was signed last counts.
fn signed(ca: &Keypair, peer: PeerId, role: &str, ago: u64) -> Vec<u8> {
    let issued = now() - ago;
    let terms = Terms {
        peer,
        namespace: "orchard".parse().unwrap(),
        roles: vec![role.into()],
        not_before: issued,
        not_after: issued + 3600,
        issued,
        serial: [7; 16],
    };
    Certificate::sign(ca, terms).unwrap().to_text().into_bytes()
}

/// Of a node whose certificate is given as bytes.
fn member(ca: &Keypair, role: &str) -> Options {
    let key = generate_key().unwrap();
    Options {
        namespace: Some("orchard".into()),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec!["none".into()]),
        admit: vec![id(ca).to_base58()],
        certificate: Some(signed(ca, id(&key), role, 10)),
        key: Some(key),
        ..Options::default()
    }
}

/// A file of this test, which is removed at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("casm-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_certificate_is_a_file_or_what_one_holds_and_is_renewed_and_taken_back() {
    let ca = generate_key().unwrap();
    let (ours, theirs) = (member(&ca, "boss"), member(&ca, "worker"));
    let other = id(theirs.key.as_ref().unwrap());
    let file = Temporary::new("certificate", theirs.certificate.as_ref().unwrap());
    let theirs = Options { certificate: None, certificate_file: Some(file.0.clone()), ..theirs };
    let (node, member) = (start(ours).unwrap(), start(theirs).unwrap());
    wait(node.connect(member.addrs().unwrap())).unwrap();
    wait(node.wait_for(Query::role("worker"), 1)).unwrap();
    member.renew(&signed(&ca, other, "chief", 0)).unwrap();
    wait(node.wait_for(Query::role("chief"), 1)).unwrap();

    let refused = member.renew(&signed(&ca, id(&ca), "chief", 0)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
    let events = node.events().unwrap();
    let revocation = Revocation::sign(&ca, other, now()).unwrap().to_text();
    assert_eq!(node.revoke(revocation.as_bytes()).unwrap(), 1);
    assert_eq!(node.revoke(revocation.as_bytes()).unwrap(), 0);
    let left = |event: &Event| matches!(event, Event::PeerLeft { peer, .. } if *peer == other);
    while !wait(events.next_batch()).unwrap().iter().any(left) {}
    assert_eq!(node.view().unwrap().count(&Query::role("chief")), 0);

    for node in [node, member] {
        wait(node.close(None, false)).unwrap();
        for closed in [node.renew(b"").unwrap_err(), node.revoke(b"").unwrap_err()] {
            assert_eq!(closed.kind(), ErrorKind::Closed);
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let ca = generate_key().unwrap();
    let file = Temporary::new("both", b"");
    let both = Options { certificate_file: Some(file.0.clone()), ..member(&ca, "worker") };
    let no_key = Options { key: None, ..member(&ca, "worker") };
    let none = Options { certificate: None, ..member(&ca, "worker") };
    let open = Options { admit: vec![], ..member(&ca, "worker") };
    for (options, said) in
        [(both, "not both"), (no_key, "key:"), (none, "certificate:"), (open, "admit")]
    {
        let error = start(options).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.message().contains(said), "{error}");
    }
    let bare = Options { admit: vec![], certificate: None, ..member(&ca, "worker") };
    let node = start(bare).unwrap();
    let own = node.id().parse().unwrap();
    for refused in [node.renew(&signed(&ca, own, "worker", 0)), node.revoke(b"").map(drop)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
