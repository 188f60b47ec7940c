//! Test vectors of signed peer records.

use super::*;
use crate::vectors::{KEY_TYPES, bytes, compare, hex, key, list, number, peer, text, texts};
use serde_json::{Value, json};

/// The first sequence number: nanoseconds since 1970.
const SEQ: u64 = 1_700_000_000_000_000_000;

fn addrs() -> Vec<Multiaddr> {
    ["/ip4/10.0.0.1/tcp/4001", "/ip6/fd00::1/udp/4001/quic-v1"]
        .map(|addr| addr.parse().unwrap())
        .into()
}

fn payload(peer: PeerId, seq: u64, addrs: &[Vec<u8>]) -> Vec<u8> {
    let addresses = addrs.iter().map(|a| AddressProto { multiaddr: a.clone() }).collect();
    PeerRecordProto { peer_id: peer.to_bytes(), seq, addresses }.encode_to_vec()
}

fn vector(name: &str, key_name: &str, record: &SignedRecord, payload: &[u8]) -> Value {
    json!({
        "name": name,
        "key": key_name,
        "peer": record.peer().to_base58(),
        "seq": record.seq().to_string(),
        "addrs": record.info().addrs.iter().map(Multiaddr::to_string).collect::<Vec<_>>(),
        "payload": hex(payload),
        "hex": hex(record.envelope()),
    })
}

fn records() -> Vec<Value> {
    let binary: Vec<_> = addrs().iter().map(Multiaddr::to_vec).collect();
    let mut vectors: Vec<_> = (SEQ..)
        .zip(KEY_TYPES)
        .map(|(seq, name)| {
            let record = SignedRecord::sign(&key(name), &addrs(), seq).unwrap();
            vector(&format!("by {name}"), name, &record, &payload(peer(name), seq, &binary))
        })
        .collect();
    let name = "ed25519-1";
    let nowhere = SignedRecord::sign(&key(name), &[], SEQ).unwrap();
    vectors.push(vector("no address", name, &nowhere, &payload(peer(name), SEQ, &[])));
    let unknown = [vec![0xe4, 0x0f, 0x01, b'x'], binary[0].clone()]; // code 2020 first
    let unknown = payload(peer(name), SEQ, &unknown);
    let sealed = seal(&key(name), DOMAIN, PAYLOAD_TYPE, unknown.clone()).unwrap();
    let record = SignedRecord::decode(&sealed).unwrap();
    vectors.push(vector("an unknown address is skipped", name, &record, &unknown));
    vectors
}

fn refused() -> Vec<Value> {
    let signer = key("ed25519-1");
    let good = payload(peer("ed25519-1"), SEQ, &[]);
    let sealed = |domain, payload_type: &[u8], payload: &[u8]| {
        seal(&signer, domain, payload_type, payload.to_vec()).unwrap()
    };
    let mut flipped = sealed(DOMAIN, PAYLOAD_TYPE, &good);
    *flipped.last_mut().unwrap() ^= 1;
    let others = payload(peer("ed25519-2"), SEQ, &[]);
    [
        ("a wrong signature", flipped),
        ("signed for another domain", sealed("casm-boot-record", PAYLOAD_TYPE, &good)),
        ("another type of payload", sealed(DOMAIN, b"/libp2p/routing-state-record", &good)),
        ("another's record", sealed(DOMAIN, PAYLOAD_TYPE, &others)),
        ("no peer record", sealed(DOMAIN, PAYLOAD_TYPE, b"\xff\xff")),
        ("no envelope", b"\xff\xff\xff".to_vec()),
    ]
    .map(|(name, envelope)| {
        let reason = SignedRecord::decode(&envelope).unwrap_err().label();
        json!({"name": name, "reason": reason, "hex": hex(envelope)})
    })
    .into()
}

#[test]
fn vectors_of_records() {
    let about = "Signed peer records. hex: the envelope; payload: the protobuf inside. seq is in \
                 nanoseconds since 1970.";
    let made = json!({"about": about, "records": records(), "refused": refused()});
    let file = compare("record.json", &made);
    for vector in list(&file, "records") {
        let record = SignedRecord::decode(&bytes(vector, "hex")).unwrap();
        assert_eq!(record.peer().to_base58(), text(vector, "peer"));
        assert_eq!(record.seq(), number(vector, "seq"));
        let addrs: Vec<_> = record.info().addrs.iter().map(Multiaddr::to_string).collect();
        assert_eq!(addrs, texts(vector, "addrs"));
        let (payload, _) = open(record.envelope(), DOMAIN, PAYLOAD_TYPE).unwrap();
        assert_eq!(payload, bytes(vector, "payload"));
    }
    for vector in list(&file, "refused") {
        let error = SignedRecord::decode(&bytes(vector, "hex")).unwrap_err();
        assert_eq!(error.label(), text(vector, "reason"), "{}", vector["name"]);
    }
}
