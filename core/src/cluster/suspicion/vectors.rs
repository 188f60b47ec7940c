//! Test vectors of suspicions.

use super::{Suspect, Suspects};
use crate::{
    pubsub::{
        Verdict,
        fields::{write_field, write_number},
    },
    vectors::{bytes, compare, hex, list, number, peer, text},
};
use serde_json::{Value, json};

const ABOUT: &str = "What is published on the topic of suspicions. hex: the data of the pubsub \
                     message. written: false: a later version may write it so.";

fn entry(suspects: &Suspects, written: bool, data: &[u8]) -> Value {
    let each = |suspect: &Suspect| json!({"peer": suspect.peer.to_base58(), "seq": suspect.seq.to_string()});
    let said: Vec<_> = suspects.0.iter().map(each).collect();
    json!({"suspects": said, "written": written, "hex": hex(data)})
}

fn some() -> Suspects {
    let numbers = [("ed25519-1", 5), ("ecdsa", 0x18ea_8940_15c0_b7d2), ("rsa", u64::MAX)];
    Suspects(numbers.map(|(name, seq)| Suspect { peer: peer(name), seq }).into())
}

fn messages() -> Vec<Value> {
    let (none, all) = (Suspects::default(), some());
    let mut later = all.encode();
    write_field(9, b"later", &mut later);
    vec![
        entry(&none, true, &none.encode()),
        entry(&all, true, &all.encode()),
        entry(&all, false, &later),
    ]
}

fn refused() -> Vec<Value> {
    let one = |write: &dyn Fn(&mut Vec<u8>)| {
        let (mut inner, mut out) = (Vec::new(), Vec::new());
        write(&mut inner);
        write_field(1, &inner, &mut out);
        out
    };
    let id = peer("ed25519-1").to_bytes();
    let many = Suspects(vec![Suspect { peer: peer("ed25519-1"), seq: 1 }; Suspects::MAX + 1]);
    [
        ("no number", one(&|out| write_field(1, &id, out))),
        ("no peer", one(&|out| write_number(2, 1, out))),
        ("a peer id that is none", one(&|out| {
            write_field(1, b"peer", out);
            write_number(2, 1, out);
        })),
        ("a field twice", one(&|out| {
            write_field(1, &id, out);
            write_number(2, 1, out);
            write_number(2, 1, out);
        })),
        ("65 suspicions", many.encode()),
        ("8 KiB and a byte", vec![0; Suspects::MAX_LEN + 1]),
    ]
    .map(|(name, data)| {
        let error = Suspects::decode(&data).unwrap_err();
        json!({"name": name, "reason": error.label(), "verdict": verdict(error.verdict()), "hex": hex(data)})
    })
    .into()
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Ignore => "ignore",
        Verdict::Reject => "reject",
    }
}

#[test]
fn vectors_of_suspicions() {
    let made = json!({"about": ABOUT, "messages": messages(), "refused": refused()});
    let file = compare("suspect.json", &made);
    for vector in list(&file, "messages") {
        let said = Suspects::decode(&bytes(vector, "hex")).unwrap();
        let told = vector["suspects"].as_array().unwrap();
        let told = told.iter().map(|one| Suspect {
            peer: text(one, "peer").parse().unwrap(),
            seq: number(one, "seq"),
        });
        assert_eq!(said.0, told.collect::<Vec<_>>());
        assert_eq!(said.encode() == bytes(vector, "hex"), vector["written"] == true);
    }
    for vector in list(&file, "refused") {
        let error = Suspects::decode(&bytes(vector, "hex")).unwrap_err();
        assert_eq!(error.label(), text(vector, "reason"), "{}", vector["name"]);
        assert_eq!(verdict(error.verdict()), text(vector, "verdict"), "{}", vector["name"]);
    }
}
