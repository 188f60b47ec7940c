//! What the test vectors in `docs/spec/vectors` share: the keys, and how a file
//! is compared with what the code makes.
//!
//! Each part of the wire format makes its own file beside its code
//! (`vectors.rs` in `boot`, `cluster`, `pex` and so on), in both directions:
//! what the code encodes must be what the file has, byte for byte, and what the
//! file has must decode to what the file says it means. `CASM_WRITE_VECTORS=1`
//! writes the files anew, for when the format was changed on purpose.

use crate::{Keypair, PeerId};
use libp2p::identity::{ecdsa, secp256k1};
use serde_json::{Value, json};
use std::{fmt::Write, path::PathBuf};

/// The keys that sign vectors, by name.
pub(crate) const KEYS: [&str; 7] =
    ["ed25519-1", "ed25519-2", "ed25519-3", "ed25519-4", "secp256k1", "ecdsa", "rsa"];
/// One key of each type.
pub(crate) const KEY_TYPES: [&str; 4] = ["ed25519-1", "secp256k1", "ecdsa", "rsa"];

const RSA: &[u8] = include_bytes!("../tests/data/rsa-2048.pk8");

/// The 32 bytes from which a key is made; an RSA key cannot be made so.
fn seed(name: &str) -> Option<[u8; 32]> {
    match name {
        "rsa" => None,
        "secp256k1" | "ecdsa" => Some([7; 32]),
        _ => Some([name.strip_prefix("ed25519-").unwrap().parse().unwrap(); 32]),
    }
}

/// A key by its name.
pub(crate) fn key(name: &str) -> Keypair {
    match (name, seed(name)) {
        ("secp256k1", Some(mut seed)) => {
            let secret = secp256k1::SecretKey::try_from_bytes(&mut seed).unwrap();
            secp256k1::Keypair::from(secret).into()
        }
        ("ecdsa", Some(seed)) => {
            ecdsa::Keypair::from(ecdsa::SecretKey::try_from_bytes(seed).unwrap()).into()
        }
        (_, Some(seed)) => Keypair::ed25519_from_bytes(seed).unwrap(),
        (_, None) => Keypair::rsa_from_pkcs8(&mut RSA.to_vec()).unwrap(),
    }
}

/// The peer of a key.
pub(crate) fn peer(name: &str) -> PeerId {
    key(name).public().to_peer_id()
}

/// Bytes as the files have them.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The bytes of a field.
pub(crate) fn bytes(of: &Value, field: &str) -> Vec<u8> {
    let text = text(of, field);
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The text of a field.
pub(crate) fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {of}"))
}

/// A number that a file has as text, because it may be larger than JSON's are.
pub(crate) fn number(of: &Value, field: &str) -> u64 {
    text(of, field).parse().unwrap()
}

/// The list of a field, which must not be empty.
pub(crate) fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    let list = of[field].as_array().unwrap_or_else(|| panic!("no list `{field}` in {of}"));
    assert!(!list.is_empty(), "`{field}` is empty");
    list
}

/// The texts of a field.
pub(crate) fn texts(of: &Value, field: &str) -> Vec<String> {
    of[field].as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect()
}

/// Compares a file with what the code makes (or writes it), and gives what the
/// file has.
pub(crate) fn compare(name: &str, made: &Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/vectors").join(name);
    let made_text = format!("{made:#}\n");
    if std::env::var_os("CASM_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &made_text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let file: Value = serde_json::from_str(&text).unwrap();
    for (field, there) in file.as_object().unwrap() {
        let none = Vec::new();
        let pairs =
            there.as_array().into_iter().flatten().zip(made[field].as_array().unwrap_or(&none));
        for (there, made) in pairs {
            assert_eq!(there, made, "{name}: in `{field}`, the code makes another one");
        }
    }
    assert!(
        text == made_text,
        "{name} is not what the code makes: if the format was changed on purpose, \
         `CASM_WRITE_VECTORS=1 cargo test -p casm-p2p --lib vectors`"
    );
    file
}

#[test]
fn vectors_of_keys() {
    let entries: Vec<_> = KEYS
        .iter()
        .map(|name| {
            let (key, id) = (key(name), peer(name));
            let mut entry = json!({
                "name": name,
                "type": key.key_type().to_string(),
                "public_key": hex(key.public().encode_protobuf()),
                "peer": id.to_base58(),
                "peer_bytes": hex(id.to_bytes()),
            });
            match seed(name) {
                Some(seed) => {
                    entry["seed"] = hex(seed).into();
                    entry["private_key"] = hex(key.to_protobuf_encoding().unwrap()).into();
                }
                None => entry["pkcs8"] = hex(RSA).into(),
            }
            entry
        })
        .collect();
    let about = "Keys that sign the other vectors; they protect nothing. seed: the 32 bytes of the \
                 private key. private_key, public_key: libp2p's protobuf encoding.";
    let file = compare("keys.json", &json!({"about": about, "keys": entries}));
    for entry in list(&file, "keys") {
        let key = match entry["private_key"].as_str() {
            Some(_) => Keypair::from_protobuf_encoding(&bytes(entry, "private_key")).unwrap(),
            None => Keypair::rsa_from_pkcs8(&mut bytes(entry, "pkcs8")).unwrap(),
        };
        assert_eq!(key.public().encode_protobuf(), bytes(entry, "public_key"));
        let id = PeerId::from_bytes(&bytes(entry, "peer_bytes")).unwrap();
        assert_eq!((id, id.to_base58().as_str()), (key.public().to_peer_id(), text(entry, "peer")));
    }
}
