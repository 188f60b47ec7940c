//! Test vectors of certificates, revocations, and what members tell each other.

use super::{
    Certificate, MAX_LIFETIME, Members, Refusal, Revocation, Revoked, Terms,
    fixtures::{DAY, NOW, peer as someone, revocation},
    gate::{Hello, MAX_HELLO},
    talk::shown,
    wire::{Answer, Ask, MAX_MESSAGE, unframe},
};
use crate::{
    Namespace, PeerId, record,
    vectors::{bytes, compare, hex, key, list, number, peer, text, texts},
};
use serde_json::{Value, json};

const ABOUT: &str = "Certificates of members. ca: the key that signs; times are seconds since 1970. \
                     hex: the envelope, or the frame; payload: the protobuf inside; text: the file. \
                     sets: the ids of these revocations, in order, and their digest. checks: why a \
                     node of this namespace, which takes these authorities and holds these \
                     revocations, does not take the certificate for one of the peer's at this time; \
                     `ok` if it does. refused: why bytes are not what they are read as.";

const CA: &str = "ed25519-1";

fn terms(key: &str) -> Terms {
    Terms {
        peer: peer(key),
        namespace: Namespace::default(),
        roles: vec![],
        not_before: NOW,
        not_after: NOW + 30 * DAY,
        issued: NOW,
        serial: std::array::from_fn(|n| n as u8),
    }
}

fn signed() -> Vec<(&'static str, &'static str, Terms)> {
    let roles = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
    vec![
        ("without a role", CA, terms("ed25519-3")),
        (
            "with roles, which are put in order",
            CA,
            Terms { roles: roles(&["worker", "büro", "admin"]), ..terms("ed25519-3") },
        ),
        ("of a secp256k1 key", CA, terms("secp256k1")),
        ("of an RSA key", CA, terms("rsa")),
        (
            "by another authority, for another namespace",
            "ed25519-2",
            Terms { namespace: Namespace::new("zürich/東京").unwrap(), ..terms("ed25519-4") },
        ),
        (
            "as long as can be, and from later on",
            CA,
            Terms {
                not_before: NOW + DAY,
                not_after: NOW + MAX_LIFETIME,
                serial: [0; 16],
                ..terms("ed25519-4")
            },
        ),
    ]
}

fn certificates() -> Vec<Value> {
    let vector = |(name, ca, terms): (&str, &str, Terms)| {
        let certificate = Certificate::sign(&key(ca), terms).unwrap();
        json!({
            "name": name,
            "ca": ca,
            "peer": certificate.peer().to_base58(),
            "namespace": certificate.namespace(),
            "roles": certificate.roles(),
            "not_before": certificate.not_before().to_string(),
            "not_after": certificate.not_after().to_string(),
            "issued": certificate.issued().to_string(),
            "serial": hex(certificate.serial()),
            "payload": hex(certificate.terms().encode()),
            "hex": hex(certificate.encoded()),
            "text": certificate.to_text(),
        })
    };
    signed().into_iter().map(vector).collect()
}

fn revocations() -> Vec<Value> {
    let kept = |days| NOW + days * DAY;
    [
        ("kept as long as can be", CA, "ed25519-3", None),
        ("kept for a month", CA, "ed25519-4", Some(kept(30))),
        ("by another authority", "ed25519-2", "rsa", None),
    ]
    .map(|(name, ca, of, until)| {
        let signed = match until {
            Some(until) => Revocation::sign_until(&key(ca), peer(of), NOW, until),
            None => Revocation::sign(&key(ca), peer(of), NOW),
        };
        let signed = signed.unwrap();
        json!({
            "name": name,
            "ca": ca,
            "peer": signed.peer().to_base58(),
            "at": signed.at().to_string(),
            "until": signed.until().to_string(),
            "id": hex(signed.id().to_be_bytes()),
            "hex": hex(signed.encoded()),
            "text": signed.to_text(),
        })
    })
    .into()
}

fn cas() -> Vec<PeerId> {
    vec![peer(CA), peer("ed25519-2")]
}

fn set(revocations: &[Revocation]) -> Revoked {
    let mut set = Revoked::default();
    for revocation in revocations {
        set.insert(revocation.clone(), NOW, &cas()).unwrap();
    }
    set
}

fn ids(ids: &[u64]) -> Vec<String> {
    ids.iter().map(|id| hex(id.to_be_bytes())).collect()
}

fn sets() -> Vec<Value> {
    let (first, later) = (revocation(someone(1), NOW - 5), revocation(someone(1), NOW));
    let others = [revocation(someone(2), NOW), revocation(someone(3), NOW)];
    [
        ("none", vec![]),
        ("one", vec![first.clone()]),
        ("of a peer the last one counts", vec![later.clone(), first]),
        ("three", [&[later][..], &others].concat()),
    ]
    .map(|(name, revocations)| {
        let set = set(&revocations);
        json!({
            "name": name,
            "revocations": revocations.iter().map(|r| hex(r.encoded())).collect::<Vec<_>>(),
            "ids": ids(&set.ids()),
            "digest": hex(set.digest()),
        })
    })
    .into()
}

/// What a node makes of a certificate that a peer shows.
fn judge(check: &Value) -> &'static str {
    let cas = texts(check, "cas").iter().map(|id| super::authority(id).unwrap()).collect();
    let namespace = Namespace::new(text(check, "namespace")).unwrap();
    let own = Terms { namespace: namespace.clone(), ..terms("ed25519-1") };
    let own = Certificate::sign(&key(text(check, "own_ca")), own).unwrap();
    let mut members = Members::new(cas, namespace, own).unwrap();
    let now = number(check, "now");
    for revocation in texts(check, "revocations") {
        let revocation = Revocation::decode(&bytes(&json!({"": revocation}), "")).unwrap();
        members.revoke(revocation, now).unwrap();
    }
    let peer = text(check, "peer").parse().unwrap();
    let certificate = Certificate::decode(&bytes(check, "certificate")).unwrap();
    shown(&mut members, &peer, certificate, now).map_or_else(Refusal::label, |_| "ok")
}

fn checks() -> Vec<Value> {
    let member = peer("ed25519-3");
    let certificate = Certificate::sign(&key(CA), terms("ed25519-3")).unwrap();
    let later = Terms { issued: NOW + 1, ..terms("ed25519-3") };
    let later = Certificate::sign(&key(CA), later).unwrap();
    let revoked = [revocation(member, NOW)];
    let by_other = [Revocation::sign(&key("ed25519-2"), member, NOW).unwrap()];
    let (one, both) = (vec![peer(CA)], cas());
    let end = NOW + 30 * DAY + 600;
    let begin = NOW - 600;
    let base = |name: &str, now: u64| {
        json!({
            "name": name, "now": now.to_string(), "namespace": "casm", "own_ca": CA,
            "cas": [one[0].to_base58()], "revocations": [], "peer": member.to_base58(),
            "certificate": hex(certificate.encoded()),
        })
    };
    let with = |name: &str, field: &str, value: Value| {
        let mut check = base(name, NOW);
        check[field] = value;
        check
    };
    let taken_back = |name: &str, by: &[Revocation], certificate: &Certificate| {
        let mut check = base(name, NOW);
        check["cas"] = both.iter().map(ToString::to_string).collect();
        check["revocations"] = by.iter().map(|r| hex(r.encoded())).collect();
        check["certificate"] = hex(certificate.encoded()).into();
        check
    };
    let mut foreign = with("another authority", "cas", json!([both[1].to_base58()]));
    foreign["own_ca"] = "ed25519-2".into();
    let mut checks = vec![
        base("good", NOW),
        base("the first second", begin),
        base("a second before", begin - 1),
        base("the last second", end),
        base("a second after", end + 1),
        foreign,
        with("another namespace", "namespace", "casm/b".into()),
        with("another's", "peer", peer("ed25519-4").to_base58().into()),
        taken_back("revoked", &revoked, &certificate),
        taken_back("signed after it was revoked", &revoked, &later),
        taken_back("revoked by another authority", &by_other, &certificate),
    ];
    for check in &mut checks {
        check["reason"] = judge(check).into();
    }
    checks
}

fn messages() -> (Value, Value, Value) {
    let certificate = Certificate::sign(&key(CA), terms("ed25519-3")).unwrap();
    let hello = Hello { certificate: certificate.clone() }.frame();
    let revocation = revocation(someone(1), NOW);
    let held = set(std::slice::from_ref(&revocation));
    let full = Ask {
        want: vec![peer("ed25519-3"), peer("rsa")],
        digest: held.digest(),
        held: Some(held.ids()),
        from: 1,
        renewed: vec![certificate.clone()],
        revocations: vec![revocation.clone()],
    };
    let bare = Ask { digest: Revoked::default().digest(), ..Ask::default() };
    let asks = [("all of it", full), ("a comparison begins", bare)].map(|(name, ask)| {
        json!({
            "name": name,
            "want": ask.want.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "digest": hex(ask.digest),
            "held": ask.held.as_deref().map(ids),
            "from": hex(ask.from.to_be_bytes()),
            "renewed": ask.renewed.iter().map(|c| hex(c.encoded())).collect::<Vec<_>>(),
            "revocations": ask.revocations.iter().map(|r| hex(r.encoded())).collect::<Vec<_>>(),
            "hex": hex(ask.frame()),
        })
    });
    let full = Answer {
        certificates: vec![certificate.clone()],
        digest: held.digest(),
        revocations: vec![revocation],
        lacking: vec![1, u64::MAX - 1],
        next: Some(u64::MAX),
    };
    let bare = Answer { digest: held.digest(), ..Answer::default() };
    let answers = [("all of it", full), ("nothing but the digest", bare)].map(|(name, answer)| {
        json!({
            "name": name,
            "certificates":
                answer.certificates.iter().map(|c| hex(c.encoded())).collect::<Vec<_>>(),
            "digest": hex(answer.digest),
            "revocations": answer.revocations.iter().map(|r| hex(r.encoded())).collect::<Vec<_>>(),
            "lacking": ids(&answer.lacking),
            "next": answer.next.map(|id| hex(id.to_be_bytes())),
            "hex": hex(answer.frame()),
        })
    });
    let hello = json!([{
        "name": "a certificate", "certificate": hex(certificate.encoded()), "hex": hex(hello),
    }]);
    (hello, json!(asks), json!(answers))
}

/// Why bytes are refused as what they are said to be.
fn refuse(kind: &str, bytes: &[u8]) -> Option<&'static str> {
    let framed = |longest| match unframe(bytes, longest) {
        Ok(Some((message, []))) => Ok(message),
        Ok(_) => panic!("it is cut, or goes on"),
        Err(error) => Err(error),
    };
    let error = match kind {
        "certificate" => Certificate::decode(bytes).err(),
        "revocation" => Revocation::decode(bytes).err(),
        "hello" => framed(MAX_HELLO).and_then(Hello::decode).err(),
        "ask" => framed(MAX_MESSAGE).and_then(Ask::decode).err(),
        "answer" => framed(MAX_MESSAGE).and_then(Answer::decode).err(),
        other => panic!("what is {other}?"),
    };
    error.map(super::AdmitError::label)
}

fn refused() -> Vec<Value> {
    const DOMAIN: &str = "casm-admit-certificate";
    const TYPE: &[u8] = b"/casm/admit/certificate";
    let sealed = |by: &str, domain: &str, kind: &[u8], payload: Vec<u8>| {
        record::seal(&key(by), domain, kind, payload).unwrap()
    };
    let good = terms("ed25519-3");
    let of = |change: fn(&mut Terms)| {
        let mut terms = good.clone();
        change(&mut terms);
        sealed(CA, DOMAIN, TYPE, terms.encode())
    };
    let certificate = of(|_| ());
    assert_eq!(refuse("certificate", &certificate), None);
    let revocation = revocation(someone(1), NOW).encoded().to_vec();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let digest = [&[2 << 3 | 2, 32][..], &[0; 32]].concat();
    let framed = |message: &[&[u8]]| super::wire::frame(&message.concat());
    let forged =
        flipped(&Hello { certificate: Certificate::decode(&certificate).unwrap() }.frame());
    let mut roles = good.encode();
    roles.extend([3 << 3 | 2, 3, b'a', b' ', b'b']);
    [
        ("certificate", "a wrong signature", flipped(&certificate)),
        (
            "certificate",
            "for another domain",
            sealed(CA, "libp2p-peer-record", TYPE, good.encode()),
        ),
        ("certificate", "another type", sealed(CA, DOMAIN, b"/casm/admit/x", good.encode())),
        ("certificate", "a revocation", revocation.clone()),
        ("certificate", "by a secp256k1 key", sealed("secp256k1", DOMAIN, TYPE, good.encode())),
        ("certificate", "by an RSA key", sealed("rsa", DOMAIN, TYPE, good.encode())),
        ("certificate", "a field more", [&certificate[..], &[9 << 3, 0]].concat()),
        ("certificate", "cut", certificate[..certificate.len() - 1].to_vec()),
        ("certificate", "too long", vec![0; 2049]),
        ("certificate", "more than 366 days", of(|t| t.not_after = NOW + MAX_LIFETIME + 1)),
        ("certificate", "signed long before it ends", of(|t| t.issued = NOW - MAX_LIFETIME)),
        ("certificate", "ends before it begins", of(|t| t.not_after = t.not_before)),
        ("certificate", "roles not in order", of(|t| t.roles = vec!["b".into(), "a".into()])),
        ("certificate", "a role twice", of(|t| t.roles = vec!["a".into(), "a".into()])),
        ("certificate", "17 roles", of(|t| t.roles = (10..27).map(|n| n.to_string()).collect())),
        ("certificate", "a role of 65 bytes", of(|t| t.roles = vec!["x".repeat(65)])),
        ("certificate", "a space in a role", sealed(CA, DOMAIN, TYPE, roles)),
        ("certificate", "no known field", sealed(CA, DOMAIN, TYPE, vec![9 << 3, 0])),
        ("certificate", "no payload", sealed(CA, DOMAIN, TYPE, vec![])),
        ("revocation", "a wrong signature", flipped(&revocation)),
        ("revocation", "a certificate", certificate),
        ("hello", "a forged certificate", forged),
        ("hello", "no certificate", framed(&[&[1 << 3, 1]])),
        ("hello", "too long, by its length", vec![0x81, 0x14]),
        ("ask", "no digest", framed(&[])),
        ("ask", "a forged revocation", framed(&[&digest, &[5 << 3 | 2, 1, 0]])),
        ("ask", "ids of 7 bytes", framed(&[&digest, &[3 << 3 | 2, 7], &[0; 7]])),
        ("ask", "a length that is not in its shortest form", vec![0x80, 0]),
        ("answer", "a digest of 31 bytes", framed(&[&[2 << 3 | 2, 31], &[0; 31]])),
        ("ask", "an id twice", framed(&[&digest, &[3 << 3 | 2, 16], &[0; 16]])),
        (
            "ask",
            "an id before the first",
            framed(&[&digest, &[3 << 3 | 2, 8], &[0; 8], &[6 << 3, 1]]),
        ),
        ("answer", "65 ids", framed(&[&digest, &[4 << 3 | 2, 0x88, 4], &[0; 520]])),
    ]
    .map(|(kind, name, bytes)| {
        let reason = refuse(kind, &bytes).unwrap_or_else(|| panic!("{name} is taken"));
        json!({"kind": kind, "name": name, "reason": reason, "hex": hex(bytes)})
    })
    .into()
}

#[test]
fn vectors_of_certificates() {
    let (hellos, asks, answers) = messages();
    let made = json!({
        "about": ABOUT,
        "certificates": certificates(),
        "revocations": revocations(),
        "sets": sets(),
        "checks": checks(),
        "hellos": hellos,
        "asks": asks,
        "answers": answers,
        "refused": refused(),
    });
    let file = compare("admit.json", &made);
    for vector in list(&file, "certificates") {
        let certificate = Certificate::decode(&bytes(vector, "hex")).unwrap();
        assert_eq!(Certificate::parse(text(vector, "text").as_bytes()).unwrap(), certificate);
        assert_eq!(certificate.ca(), peer(text(vector, "ca")));
        assert_eq!(certificate.peer().to_base58(), text(vector, "peer"));
        assert_eq!(certificate.namespace(), text(vector, "namespace"));
        assert_eq!(certificate.roles(), texts(vector, "roles"));
        assert_eq!(certificate.not_before(), number(vector, "not_before"));
        assert_eq!(certificate.not_after(), number(vector, "not_after"));
        assert_eq!(certificate.issued(), number(vector, "issued"));
        assert_eq!(certificate.serial()[..], bytes(vector, "serial"));
        assert_eq!(certificate.terms().encode(), bytes(vector, "payload"));
    }
    for vector in list(&file, "revocations") {
        let revocation = Revocation::decode(&bytes(vector, "hex")).unwrap();
        let parsed = Revocation::parse(text(vector, "text").as_bytes()).unwrap();
        assert_eq!(parsed, std::slice::from_ref(&revocation));
        assert_eq!(revocation.ca(), peer(text(vector, "ca")));
        assert_eq!(revocation.peer().to_base58(), text(vector, "peer"));
        assert_eq!(revocation.at(), number(vector, "at"));
        assert_eq!(revocation.until(), number(vector, "until"));
        assert_eq!(revocation.id().to_be_bytes()[..], bytes(vector, "id"));
    }
    for vector in list(&file, "sets") {
        let revocations = texts(vector, "revocations")
            .into_iter()
            .map(|revocation| Revocation::decode(&bytes(&json!({"": revocation}), "")).unwrap());
        let set = set(&revocations.collect::<Vec<_>>());
        assert_eq!(ids(&set.ids()), texts(vector, "ids"));
        assert_eq!(set.digest()[..], bytes(vector, "digest"));
    }
    for vector in list(&file, "checks") {
        assert_eq!(judge(vector), text(vector, "reason"), "{}", vector["name"]);
    }
    for vector in list(&file, "hellos") {
        let frame = bytes(vector, "hex");
        let hello = Hello::decode(unframe(&frame, MAX_HELLO).unwrap().unwrap().0).unwrap();
        assert_eq!(hello.certificate.encoded(), bytes(vector, "certificate"));
    }
    for vector in list(&file, "asks") {
        let frame = bytes(vector, "hex");
        let ask = Ask::decode(unframe(&frame, MAX_MESSAGE).unwrap().unwrap().0).unwrap();
        let want: Vec<_> = ask.want.iter().map(ToString::to_string).collect();
        assert_eq!(want, texts(vector, "want"));
        assert_eq!(ask.digest[..], bytes(vector, "digest"));
        assert_eq!(json!(ask.held.as_deref().map(ids)), vector["held"]);
        assert_eq!(ask.from.to_be_bytes()[..], bytes(vector, "from"));
        let renewed: Vec<_> = ask.renewed.iter().map(|c| hex(c.encoded())).collect();
        assert_eq!(renewed, texts(vector, "renewed"));
        let told: Vec<_> = ask.revocations.iter().map(|r| hex(r.encoded())).collect();
        assert_eq!(told, texts(vector, "revocations"));
    }
    for vector in list(&file, "answers") {
        let frame = bytes(vector, "hex");
        let answer = Answer::decode(unframe(&frame, MAX_MESSAGE).unwrap().unwrap().0).unwrap();
        let told: Vec<_> = answer.certificates.iter().map(|c| hex(c.encoded())).collect();
        assert_eq!(told, texts(vector, "certificates"));
        assert_eq!(answer.digest[..], bytes(vector, "digest"));
        let told: Vec<_> = answer.revocations.iter().map(|r| hex(r.encoded())).collect();
        assert_eq!(told, texts(vector, "revocations"));
        assert_eq!(ids(&answer.lacking), texts(vector, "lacking"));
        assert_eq!(json!(answer.next.map(|id| hex(id.to_be_bytes()))), vector["next"]);
    }
    for vector in list(&file, "refused") {
        let reason = refuse(text(vector, "kind"), &bytes(vector, "hex"));
        assert_eq!(reason, Some(text(vector, "reason")), "{}", vector["name"]);
    }
}
