//! Test vectors of private clusters: secrets, and sealed datagrams.

use super::{
    packet::{Body, Packet, PacketError},
    seal::{NONCE, Nonce, Seal, Seals},
};
use crate::{
    Namespace, Secret,
    vectors::{bytes, compare, hex, key, list, peer, text},
};
use serde_json::{Value, json};

const ABOUT: &str = "Private clusters. secrets: a pre-shared key (hex), the files that hold it, and its \
                     fingerprint. packets: hex is the datagram that seals the envelope with the \
                     nonce; key and id: what is derived of secret and namespace. refused: why who \
                     holds the secret of secrets and looks for the namespace refuses a datagram.";

/// A known one, whose fingerprint other stacks have in their tests.
const SECRET: &str = "6189c5cf0b87fb800c1a9feeda73c6ab5e998db48fb9e6a978575c770ceef683";
const BASE64: &str = "YYnFzwuH+4AMGp/u2nPGq16ZjbSPueapeFdcdwzu9oM=";

fn secret() -> Secret {
    Secret::from_bytes(bytes(&json!({"": SECRET}), "").try_into().unwrap())
}

fn secrets() -> Vec<Value> {
    let head = "/key/swarm/psk/1.0.0/\n";
    let binary = [format!("{head}/bin/\n").into_bytes(), bytes(&json!({"": SECRET}), "")].concat();
    let files = [
        ("base16", format!("{head}/base16/\n{SECRET}\n").into_bytes()),
        ("base64", format!("{head}/base64/\n{BASE64}\n").into_bytes()),
        ("bin", binary),
    ];
    let files = files.map(|(encoding, file)| json!({"encoding": encoding, "file": hex(file)}));
    vec![json!({"secret": SECRET, "fingerprint": secret().fingerprint(), "files": files})]
}

/// Not random, as that of a real one must be.
fn nonce(n: u8) -> Nonce {
    std::array::from_fn(|i| n.wrapping_add(i as u8))
}

fn envelope(namespace: &str, body: Body) -> Vec<u8> {
    let namespace = Namespace::new(namespace).unwrap();
    Packet::new(peer("ed25519-1"), namespace, body).sign(&key("ed25519-1"), 0).unwrap()
}

fn packets() -> Vec<Value> {
    let addrs = vec!["/ip4/10.0.0.1/tcp/4001".parse().unwrap()];
    let bodies = [Body::Request, Body::Survey { distance: 22 }, Body::Response { addrs }];
    let mut vectors = Vec::new();
    for (n, body) in bodies.into_iter().enumerate() {
        for namespace in ["casm", "zürich/東京"] {
            let (name, nonce) = (body.name(), nonce(16 * n as u8));
            let sealed_for = Namespace::new(namespace).unwrap();
            let derived: [u8; 36] = secret().derive(&[b"casm-boot", namespace.as_bytes()]);
            let envelope = envelope(namespace, body.clone());
            vectors.push(json!({
                "name": format!("a {name} for {namespace}"),
                "secret": SECRET,
                "namespace": namespace,
                "key": hex(&derived[..32]),
                "id": hex(&derived[32..]),
                "nonce": hex(nonce),
                "envelope": hex(&envelope),
                "hex": hex(Seal::new(&secret(), &sealed_for).close(&envelope, nonce)),
            }));
        }
    }
    vectors
}

/// What a member refuses, of whatever reason.
fn judge(datagram: &[u8]) -> Result<Packet, PacketError> {
    let mut node = Seals::new(secret());
    node.of(&Namespace::default());
    let opened = node.open(datagram)?;
    let packet = Packet::decode(&opened.envelope)?;
    if packet.namespace == opened.namespace { Ok(packet) } else { Err(PacketError::SealNamespace) }
}

fn refused() -> Vec<Value> {
    let namespace = |name| Namespace::new(name).unwrap();
    let seal = Seal::new(&secret(), &namespace("casm"));
    let request = envelope("casm", Body::Request);
    let good = seal.close(&request, nonce(0));
    assert!(judge(&good).is_ok());
    let changed = |at: usize| {
        let mut changed = good.clone();
        changed[at] ^= 1;
        changed
    };
    let foreign = Seal::new(&Secret::from_bytes([1; 32]), &namespace("casm"));
    let elsewhere = Seal::new(&secret(), &namespace("casm/other"));
    let mut forged = foreign.close(&request, nonce(0));
    forged[..8].copy_from_slice(&good[..8]);
    [
        ("not sealed", request.clone()),
        ("sealed with another secret", foreign.close(&request, nonce(0))),
        ("sealed for another namespace", elsewhere.close(&request, nonce(0))),
        ("sealed with another secret, under the id of this one", forged),
        ("another nonce", changed(8)),
        ("a changed bit", changed(good.len() - 20)),
        ("a changed tag", changed(good.len() - 1)),
        ("another version", changed(3)),
        ("cut after the nonce", good[..8 + NONCE].to_vec()),
        (
            "a packet of another namespace inside",
            seal.close(&envelope("b", Body::Request), nonce(0)),
        ),
        ("a wrong signature inside", {
            let mut request = request;
            *request.last_mut().unwrap() ^= 1;
            seal.close(&request, nonce(0))
        }),
        ("sealed twice", seal.close(&good, nonce(1))),
    ]
    .map(|(name, datagram)| {
        let reason = judge(&datagram).unwrap_err().label();
        json!({"name": name, "namespace": "casm", "reason": reason, "hex": hex(datagram)})
    })
    .into()
}

#[test]
fn vectors_of_sealed_datagrams() {
    let made = json!({
        "about": ABOUT,
        "secrets": secrets(),
        "packets": packets(),
        "refused": refused(),
    });
    let file = compare("sealed.json", &made);
    for vector in list(&file, "secrets") {
        for file in list(vector, "files") {
            let secret = Secret::parse(&bytes(file, "file")).unwrap();
            assert_eq!(secret.fingerprint(), text(vector, "fingerprint"));
            assert_eq!(text(vector, "secret"), SECRET);
        }
    }
    for vector in list(&file, "packets") {
        let mut node = Seals::new(secret());
        node.of(&text(vector, "namespace").parse().unwrap());
        let opened = node.open(&bytes(vector, "hex")).unwrap();
        assert_eq!(opened.envelope, bytes(vector, "envelope"));
        assert_eq!(opened.nonce.to_vec(), bytes(vector, "nonce"));
        assert_eq!(opened.namespace.as_str(), text(vector, "namespace"));
    }
    for vector in list(&file, "refused") {
        let reason = judge(&bytes(vector, "hex")).unwrap_err();
        assert_eq!(reason.label(), text(vector, "reason"), "{}", vector["name"]);
    }
}
