use super::*;
use crate::vectors;
use proptest::prelude::*;
use prost::Message as _;

/// A message as protobuf has it, to change it, and to compare encodings.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Raw {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) from: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) data: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) seqno: Option<Vec<u8>>,
    #[prost(string, optional, tag = "4")]
    pub(crate) topic: Option<String>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(crate) signature: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) key: Option<Vec<u8>>,
}

impl Raw {
    pub(crate) fn of(message: &SignedMessage) -> Self {
        Self::decode(message.encoded()).unwrap()
    }

    /// The bytes with this changed.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut changed = self.clone();
        change(&mut changed);
        changed.encode_to_vec()
    }
}

fn sign(key: &Keypair) -> SignedMessage {
    SignedMessage::sign(key, "casm", 7, b"data").unwrap()
}

/// Decodes and verifies.
fn check(bytes: &[u8], keys: &Keys) -> Result<(), SignedError> {
    SignedMessage::decode(bytes)?.verify(keys)
}

#[test]
fn a_signed_message_verifies_and_a_changed_one_does_not() {
    let (key, keys) = (Keypair::generate_ed25519(), Keys::default());
    let message = sign(&key);
    assert_eq!(message.verify(&keys), Ok(()));
    assert_eq!((message.source(), message.seq()), (key.public().to_peer_id(), 7));
    assert_eq!((message.topic(), message.data()), ("casm", &b"data"[..]));
    let id = [key.public().to_peer_id().to_bytes(), 7_u64.to_be_bytes().into()].concat();
    assert_eq!(message.id().as_bytes(), id);

    let raw = Raw::of(&message);
    for (error, changed) in [
        (SignedError::Signature, raw.with(|raw| raw.data.as_mut().unwrap()[0] ^= 1)),
        (SignedError::Signature, raw.with(|raw| raw.data = None)),
        (SignedError::Signature, raw.with(|raw| raw.seqno = Some(vec![8; 8]))),
        (SignedError::Signature, raw.with(|raw| raw.topic = Some("other".into()))),
        (SignedError::Signature, raw.with(|raw| raw.signature = Some(vec![1]))),
    ] {
        let changed = SignedMessage::decode(&changed).unwrap();
        assert_eq!(changed.verify(&keys), Err(error), "{changed:?}");
        assert_ne!(changed, message);
    }
}

#[test]
fn what_cannot_be_a_message_is_refused_with_its_reason() {
    let inline = Raw::of(&sign(&vectors::key("ed25519-1")));
    let rsa = Raw::of(&sign(&vectors::key("rsa")));
    let other = Keypair::generate_ed25519().public().encode_protobuf();
    // SHA-256, with more bytes than that has.
    let long = [&[0x12, 64][..], &[7; 64]].concat();
    // With the longer header of the data, one byte too many.
    let much = MAX_MESSAGE - inline.encoded_len() + 3;
    for (error, reason, bytes) in [
        (SignedError::Malformed, "malformed", inline.encode_to_vec()[..20].to_vec()),
        (SignedError::Source, "bad-source", vec![]),
        (SignedError::Source, "bad-source", inline.with(|raw| raw.from = None)),
        (SignedError::Source, "bad-source", inline.with(|raw| raw.from = Some(vec![]))),
        (SignedError::Source, "bad-source", inline.with(|raw| raw.from = Some(vec![0; 30]))),
        (SignedError::Source, "bad-source", inline.with(|raw| raw.from = Some(long))),
        (SignedError::SequenceNumber, "bad-sequence-number", inline.with(|raw| raw.seqno = None)),
        (
            SignedError::SequenceNumber,
            "bad-sequence-number",
            inline.with(|raw| raw.seqno = Some(vec![0; 7])),
        ),
        (
            SignedError::SequenceNumber,
            "bad-sequence-number",
            inline.with(|raw| raw.seqno = Some(vec![0; 9])),
        ),
        (SignedError::Topic, "malformed", inline.with(|raw| raw.topic = None)),
        (SignedError::Topic, "malformed", inline.with(|raw| raw.topic = Some("x".repeat(1025)))),
        (SignedError::Topic, "malformed", [inline.encode_to_vec(), vec![0x22, 1, 0xff]].concat()),
        (SignedError::Unsigned, "bad-signature", inline.with(|raw| raw.signature = None)),
        (SignedError::Unsigned, "bad-signature", inline.with(|raw| raw.signature = Some(vec![]))),
        (SignedError::Key, "bad-signature", inline.with(|raw| raw.key = Some(other.clone()))),
        (SignedError::Key, "bad-signature", rsa.with(|raw| raw.key = None)),
        (SignedError::Key, "bad-signature", rsa.with(|raw| raw.key = Some(other))),
        (SignedError::TooLarge, "too-large", inline.with(|raw| raw.data = Some(vec![0; much]))),
        (SignedError::TooLarge, "too-large", inline.with(|raw| raw.data = Some(vec![0; 1 << 21]))),
        (SignedError::TooLarge, "too-large", rsa.with(|raw| raw.key = Some(vec![0; 1 << 20]))),
    ] {
        assert_eq!(check(&bytes, &Keys::default()), Err(error));
        assert_eq!(error.label(), reason);
    }
}

#[test]
fn the_longest_message_is_as_long_as_a_frame_may_be() {
    let key = vectors::key("ed25519-1");
    let sign = |len| SignedMessage::sign(&key, "casm", 7, &vec![1; len]);
    // The header of the data is two bytes longer here than in an empty one.
    let most = MAX_MESSAGE - sign(0).unwrap().encoded().len() - 2;
    let message = sign(most).unwrap();
    assert_eq!(message.encoded().len(), MAX_MESSAGE);
    assert_eq!(check(message.encoded(), &Keys::default()), Ok(()));
    let error = sign(most + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    let error = SignedMessage::sign(&key, &"x".repeat(MAX_TOPIC + 1), 7, b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

#[test]
fn what_is_signed_is_the_message_without_signature_and_key() {
    for key in vectors::KEY_TYPES.map(vectors::key) {
        for (topic, data) in [("", vec![]), ("casm", vec![7; 3]), ("casm", vec![7; 300_000])] {
            let message = SignedMessage::sign(&key, topic, 7, &data).unwrap();
            let raw = Raw::of(&message);
            assert_eq!(raw.encode_to_vec(), message.encoded());
            let unsigned = raw.with(|raw| (raw.signature, raw.key) = (None, None));
            let signed = &message.0.bytes[..message.0.signed as usize];
            assert_eq!(signed, [PREFIX, &unsigned].concat());
            assert_eq!(raw.key.is_some(), key.public().encode_protobuf().len() > MAX_INLINE_KEY);
            let Raw { from, data, seqno, topic, signature, key } = raw;
            let (from, data, seqno) = (from.unwrap(), data.unwrap(), seqno.unwrap());
            let (topic, signature) = (topic.unwrap(), signature.unwrap());
            let again =
                SignedMessage::new(&from, &data, &seqno, &topic, &signature, key.as_deref());
            assert_eq!(again.as_ref(), Ok(&message));
        }
    }
}

/// As Go's nodes publish no data: rust-libp2p and we write an empty field.
#[test]
fn a_message_without_data_stays_as_it_was_signed() {
    let (key, keys) = (vectors::key("ed25519-1"), Keys::default());
    let mut raw = Raw { data: None, signature: None, ..Raw::of(&sign(&key)) };
    let signed = [PREFIX, &raw.encode_to_vec()].concat();
    raw.signature = Some(key.sign(&signed).unwrap());
    let message = SignedMessage::decode(&raw.encode_to_vec()).unwrap();
    assert_eq!((message.verify(&keys), message.data()), (Ok(()), &b""[..]));
    assert_eq!(message.encoded(), raw.encode_to_vec());
    let empty = raw.with(|raw| raw.data = Some(vec![]));
    assert_eq!(check(&empty, &keys), Err(SignedError::Signature));
}

#[test]
fn there_is_one_encoding() {
    for name in vectors::KEY_TYPES {
        let key = vectors::key(name);
        let message = sign(&key);
        let raw = Raw::of(&message);
        let plain = message.encoded();
        let with_key = raw.with(|raw| raw.key = Some(key.public().encode_protobuf()));
        let empty = if raw.key.is_none() { &[6 << 3 | 2, 0][..] } else { &[] };
        // Other numbers, and known ones that hold no bytes.
        let unknown =
            [7 << 3 | 2, 1, 0xff, 1 << 3, 1, 2 << 3 | 5, 0, 0, 0, 0, 9 << 3 | 3, 9 << 3 | 4];
        // A length that takes more bytes than it needs.
        let mut long = plain.to_vec();
        long.splice(1..2, [plain[1] | 0x80, 0]);
        for other in [
            with_key,
            [plain, empty].concat(),
            [&unknown, plain, &unknown].concat(),
            [plain, plain].concat(),
            [&raw.with(|raw| raw.data = Some(b"first".to_vec()))[..], plain].concat(),
            long,
        ] {
            let decoded = SignedMessage::decode(&other).unwrap();
            assert_eq!(decoded.encoded(), plain, "{name}");
            assert_eq!((&decoded, decoded.verify(&Keys::default())), (&message, Ok(())));
        }
    }
}

#[test]
fn a_clone_shares_the_bytes() {
    let message = sign(&vectors::key("ed25519-1"));
    assert_eq!(message.encoded().as_ptr(), message.clone().encoded().as_ptr());
    assert_eq!(size_of::<SignedMessage>(), size_of::<usize>());
}

#[test]
fn a_key_that_is_kept_makes_no_other_message_good() {
    let (key, keys) = (Keypair::generate_ecdsa(), Keys::default());
    let raw = Raw::of(&sign(&key));
    let verify = |bytes: &[u8]| check(bytes, &keys);
    assert_eq!(verify(&raw.encode_to_vec()), Ok(()));
    assert_eq!(verify(&raw.with(|raw| raw.key = None)), Err(SignedError::Key));

    let inline = Raw::of(&sign(&Keypair::generate_ed25519()));
    assert_eq!(verify(&inline.encode_to_vec()), Ok(()));
    let forged = inline.with(|raw| raw.seqno = Some(vec![8; 8]));
    assert_eq!(verify(&forged), Err(SignedError::Signature));
    let other = inline.with(|inline| inline.key = raw.key.clone());
    assert_eq!(verify(&other), Err(SignedError::Key));
}

#[test]
fn messages_of_go_nodes_verify() {
    let Some(folder) = std::env::var_os("CASM_GOLDEN") else {
        return println!("skipped: CASM_GOLDEN is not set");
    };
    let keys = Keys::default();
    for (file, seq) in [
        ("pubsub-message-0.bin", 0x18ea_8940_15c0_b7d2_u64),
        ("pubsub-message-1.bin", 0x18ea_8940_15c0_b7d3),
    ] {
        let bytes = std::fs::read(std::path::Path::new(&folder).join(file)).unwrap();
        let message = SignedMessage::decode(&bytes).unwrap();
        assert_eq!(message.verify(&keys), Ok(()));
        // What Go's nodes write is the one encoding.
        assert_eq!(message.encoded(), bytes);
        assert_eq!(
            message.source().to_string(),
            "12D3KooWDcrd1KztSpK1YeBUAxMdCkgkqUskqe6FxXq6FQFbeKsG"
        );
        assert_eq!((message.seq(), message.topic()), (seq, "casm"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_message_comes_back_as_it_was_signed(
        name in prop::sample::select(&vectors::KEY_TYPES[..3]), topic in "\\PC{0,40}", seq: u64,
        data in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let message = SignedMessage::sign(&vectors::key(name), &topic, seq, &data).unwrap();
        let decoded = SignedMessage::decode(message.encoded()).unwrap();
        prop_assert_eq!(&decoded, &message);
        prop_assert_eq!(decoded.verify(&Keys::default()), Ok(()));
        prop_assert_eq!((decoded.topic(), decoded.seq(), decoded.data()), (&topic[..], seq, &data[..]));
    }

    #[test]
    fn damaged_bytes_never_panic_and_never_pass_for_another_message(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let message = sign(&vectors::key("ed25519-1"));
        let mut bytes = message.encoded().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let Ok(decoded) = SignedMessage::decode(&bytes) else { return Ok(()) };
        let good = decoded.verify(&Keys::default()).is_ok();
        prop_assert_eq!(good, decoded == message);
        let again = SignedMessage::decode(decoded.encoded());
        prop_assert_eq!(again, Ok(decoded));
    }
}
