use super::{
    super::{
        fixtures::*,
        gate::{Hello, MAX_HELLO},
    },
    *,
};
use proptest::prelude::*;

fn ask() -> Ask {
    Ask {
        want: vec![peer(1), peer(2)],
        digest: [1; 32],
        held: Some(vec![1, u64::MAX]),
        from: 1,
        renewed: vec![certificate(peer(3))],
        revocations: vec![revocation(peer(4), NOW)],
    }
}

fn an_answer() -> Answer {
    Answer {
        certificates: vec![certificate(peer(1))],
        digest: [2; 32],
        revocations: vec![revocation(peer(4), NOW)],
        lacking: vec![7],
        next: Some(8),
    }
}

/// The message of a frame.
fn message(frame: &[u8], longest: usize) -> Vec<u8> {
    let (message, rest) = unframe(frame, longest).unwrap().unwrap();
    assert!(rest.is_empty());
    message.to_vec()
}

#[test]
fn what_is_said_is_heard() {
    for ask in [ask(), Ask::default(), Ask { held: Some(vec![]), ..Ask::default() }] {
        assert_eq!(Ask::decode(&message(&ask.frame(), MAX_MESSAGE)), Ok(ask));
    }
    for answer in [an_answer(), Answer::default()] {
        assert_eq!(Answer::decode(&message(&answer.frame(), MAX_MESSAGE)), Ok(answer));
    }
    let hello = Hello { certificate: certificate(peer(1)) };
    assert_eq!(Hello::decode(&message(&hello.frame(), MAX_HELLO)), Ok(hello));
}

#[test]
fn the_longest_messages_fit() {
    let ids = |most: usize| (0..most as u64).collect::<Vec<_>>();
    let mut terms = terms(peer(1));
    terms.roles = (10..26).map(|n| format!("{n}{}", "x".repeat(62))).collect();
    let certificate = sign(terms);
    let revocations = vec![revocation(peer(4), NOW); MAX_ITEMS];
    let ask = Ask {
        want: vec![peer(1); MAX_ITEMS],
        digest: [0; 32],
        held: Some(ids(MAX_REVOKED)),
        from: 0,
        renewed: vec![certificate.clone(); MAX_ITEMS],
        revocations: revocations.clone(),
    };
    assert_eq!(Ask::decode(&message(&ask.frame(), MAX_MESSAGE)), Ok(ask));
    let answer = Answer {
        certificates: vec![certificate; MAX_ITEMS],
        digest: [0; 32],
        revocations,
        lacking: ids(MAX_ITEMS),
        next: Some(u64::MAX),
    };
    assert_eq!(Answer::decode(&message(&answer.frame(), MAX_MESSAGE)), Ok(answer));
    // As long as each item may be.
    const LONGEST: usize =
        (super::super::MAX_CERTIFICATE + super::super::MAX_REVOCATION + 8 + 8) * MAX_ITEMS;
    const { assert!(LONGEST + 8 * MAX_REVOKED < MAX_MESSAGE) };
}

#[test]
fn what_is_too_much_is_refused() {
    let refused = |ask: Ask| Ask::decode(&message(&ask.frame(), MAX_MESSAGE)).unwrap_err();
    let many = AdmitError::Malformed("it has too many of a field");
    let want = vec![peer(1); MAX_ITEMS + 1];
    assert_eq!(refused(Ask { want, ..Ask::default() }), many);
    let revocations = vec![revocation(peer(4), NOW); MAX_ITEMS + 1];
    assert_eq!(refused(Ask { revocations: revocations.clone(), ..Ask::default() }), many);
    let ids = AdmitError::Malformed("it has too many ids");
    assert_eq!(refused(Ask { held: Some(vec![0; MAX_REVOKED + 1]), ..Ask::default() }), ids);
    let refused =
        |answer: Answer| Answer::decode(&message(&answer.frame(), MAX_MESSAGE)).unwrap_err();
    assert_eq!(refused(Answer { revocations, ..Answer::default() }), many);
    let certificates = vec![certificate(peer(1)); MAX_ITEMS + 1];
    assert_eq!(refused(Answer { certificates, ..Answer::default() }), many);
    assert_eq!(refused(Answer { lacking: vec![0; MAX_ITEMS + 1], ..Answer::default() }), ids);
    let mebibyte = vec![0x7a; 1 << 20];
    assert_eq!(Ask::decode(&mebibyte), Err(AdmitError::TooLarge));
    assert_eq!(Answer::decode(&mebibyte), Err(AdmitError::TooLarge));
    assert_eq!(Hello::decode(&mebibyte), Err(AdmitError::TooLarge));
    assert_eq!(Hello::decode(&[0x7a; MAX_HELLO + 1]), Err(AdmitError::TooLarge));
}

#[test]
fn what_is_cut_forged_or_makes_no_sense_is_refused() {
    let hello = Hello { certificate: certificate(peer(1)) }.frame();
    // Whose last field is a revocation.
    let ask = Ask { from: 0, ..ask() }.frame();
    let answer = an_answer().frame();
    for frame in [&hello, &ask, &answer] {
        for cut in 0..frame.len() {
            assert_eq!(unframe(&frame[..cut], MAX_MESSAGE), Ok(None), "cut at {cut}");
        }
    }
    // A frame of two bytes of length each. Whatever ends between two fields may be
    // one that says less.
    for cut in 0..hello.len() - 2 {
        assert!(Hello::decode(&hello[2..][..cut]).is_err(), "cut at {cut}");
    }
    for cut in 0..ask.len() - 2 {
        let _ = Ask::decode(&ask[2..][..cut]);
    }
    let forged = |frame: &[u8]| {
        let mut message = frame[2..].to_vec();
        *message.last_mut().unwrap() ^= 1;
        message
    };
    assert_eq!(Hello::decode(&forged(&hello)), Err(AdmitError::Signature));
    assert_eq!(Ask::decode(&forged(&ask)), Err(AdmitError::Signature));
    let digest = [&[2 << 3 | 2, 32][..], &[0; 32]].concat();
    let with = |more: &[u8]| [&digest[..], more].concat();
    assert!(Ask::decode(&digest).is_ok() && Answer::decode(&digest).is_ok());
    assert!(Ask::decode(&with(&[99 & 0x7f, 0])).is_err(), "a group that nobody began");
    assert!(Ask::decode(&with(&[15 << 3, 1])).is_ok(), "an unknown field");
    let another = AdmitError::Malformed("a field is of another kind");
    for (message, error) in [
        (vec![], AdmitError::Malformed("it has no digest")),
        (with(&digest), AdmitError::Malformed("a field comes twice")),
        (vec![2 << 3 | 2, 1, 0], AdmitError::Malformed("a digest has not 32 bytes")),
        (with(&[1 << 3, 1]), another),
        (with(&[3 << 3 | 2, 1, 0]), AdmitError::Malformed("ids have not 8 bytes each")),
        (with(&[3 << 3, 0]), another),
        (with(&[1 << 3 | 2, 1, 0]), AdmitError::Malformed("an id is no peer's")),
        (with(&[4 << 3 | 2, 1, 0]), AdmitError::Malformed("it is no protobuf message")),
        (with(&[4 << 3 | 2, 0]), AdmitError::Envelope),
    ] {
        let read = Ask::decode(&message);
        match error {
            // What is no protobuf inside an envelope is no envelope.
            AdmitError::Malformed("it is no protobuf message") => assert!(read.is_err()),
            error => assert_eq!(read, Err(error)),
        }
    }
    assert_eq!(Answer::decode(&with(&[5 << 3 | 2, 0])), Err(another));
    let held = |held: &[u64], from| {
        Ask::decode(&message(&Ask { held: Some(held.into()), from, ..Ask::default() }.frame(), 999))
    };
    assert!(held(&[1, 2], 1).is_ok() && held(&[], 9).is_ok());
    let order = AdmitError::Malformed("its ids are not in order");
    assert_eq!((held(&[2, 1], 0), held(&[1, 1], 0)), (Err(order), Err(order)));
    let before = AdmitError::Malformed("an id is before the first that is compared");
    assert_eq!(held(&[1, 2], 2), Err(before));
    assert_eq!(packed(&[1]), [0, 0, 0, 0, 0, 0, 0, 1]);
    let shown = certificate(peer(1));
    let hello = |version: Option<u64>, times| {
        let mut message = Vec::new();
        if let Some(version) = version {
            write_number(1, version, &mut message);
        }
        for _ in 0..times {
            put(2, shown.encoded(), &mut message);
        }
        Hello::decode(&message)
    };
    assert!(hello(Some(1), 1).is_ok() && hello(Some(2), 1).is_ok());
    assert_eq!(hello(Some(0), 1), Err(AdmitError::Malformed("its version is 0")));
    assert_eq!(hello(None, 1), Err(AdmitError::Malformed("it has no version")));
    assert_eq!(hello(Some(1), 0), Err(AdmitError::Malformed("it has no certificate")));
    assert_eq!(hello(Some(1), 2), Err(AdmitError::Malformed("a field comes twice")));
}

#[test]
fn a_frame_is_found_and_its_bounds_are_kept() {
    let frames = [frame(b"abc"), frame(b""), frame(&[7; 300])].concat();
    let (first, rest) = unframe(&frames, 300).unwrap().unwrap();
    let (second, rest) = unframe(rest, 300).unwrap().unwrap();
    let (third, rest) = unframe(rest, 300).unwrap().unwrap();
    assert_eq!((first, second, third, rest), (&b"abc"[..], &b""[..], &[7; 300][..], &b""[..]));
    assert_eq!(unframe(&[], 9), Ok(None));
    assert_eq!(unframe(&[0x80], 9), Ok(None));
    for (long, most) in [
        (&[4][..], 3),
        (&[0xac, 2], 299),
        (&[0xff, 0xff], 2560),
        (&[0x80, 0x80, 0x80, 0x80], usize::MAX >> 8),
        (&[0x80, 0x80, 0x80, 0x80, 0], MAX_MESSAGE),
        (&[0xff; 10], MAX_MESSAGE),
    ] {
        let expected = match long {
            // What is to come may still be short.
            [0x80, 0x80, 0x80, 0x80] => Ok(None),
            _ => Err(AdmitError::TooLarge),
        };
        assert_eq!(unframe(long, most), expected, "{long:?}");
    }
    assert!(matches!(unframe(&[0x83, 0], 9), Err(AdmitError::Malformed(_))));
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = unframe(&bytes, MAX_MESSAGE);
        let _ = Hello::decode(&bytes);
        if let Ok(ask) = Ask::decode(&bytes) {
            prop_assert_eq!(Ask::decode(&message(&ask.frame(), MAX_MESSAGE)), Ok(ask));
        }
        if let Ok(answer) = Answer::decode(&bytes) {
            prop_assert_eq!(Answer::decode(&message(&answer.frame(), MAX_MESSAGE)), Ok(answer));
        }
    }
}
