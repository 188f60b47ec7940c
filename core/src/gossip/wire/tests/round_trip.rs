//! What is written is what is read, and fits.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Part {
    Subscription(bool, String),
    Graft(String),
    Prune(String, u64),
    IHave(String, Vec<u64>),
    IWant(Vec<u64>),
    IDontWant(Vec<u64>),
    Message(u64, usize),
}

fn part() -> impl Strategy<Value = Part> {
    let topic = || "[a-z/]{1,128}";
    let some = |most| prop::collection::vec(any::<u64>(), 0..most);
    prop_oneof![
        (any::<bool>(), topic()).prop_map(|(join, topic)| Part::Subscription(join, topic)),
        topic().prop_map(Part::Graft),
        (topic(), 0..100_000_u64).prop_map(|(topic, secs)| Part::Prune(topic, secs)),
        (topic(), some(200)).prop_map(|(topic, ids)| Part::IHave(topic, ids)),
        some(200).prop_map(Part::IWant),
        some(20).prop_map(Part::IDontWant),
        (any::<u64>(), 0..20_000_usize).prop_map(|(seq, len)| Part::Message(seq, len)),
        (any::<u64>(), 0..200_000_usize).prop_map(|(seq, len)| Part::Message(seq, len)),
    ]
}

/// Adds a part to a frame, and what fits of it to what is expected.
fn add(part: Part, frame: &mut FrameBuilder, expected: &mut Rpc) {
    let of = |ids: Vec<u64>| ids.into_iter().map(id).collect::<Vec<_>>();
    match part {
        Part::Subscription(subscribe, topic) => {
            if frame.subscription(subscribe, &topic) {
                expected.subscriptions.push(Subscription { subscribe, topic });
            }
        }
        Part::Graft(topic) => {
            if frame.graft(&topic) {
                expected.graft.push(topic);
            }
        }
        Part::Prune(topic, secs) => {
            let backoff = Duration::from_secs(secs);
            if frame.prune(&topic, backoff) {
                let backoff = Some(backoff.min(MAX_BACKOFF));
                expected.prune.push(Prune { topic, backoff });
            }
        }
        Part::IHave(topic, ids) => {
            let ids = of(ids);
            let count = frame.ihave(&topic, &ids);
            if count > 0 {
                expected.ihave.push((topic, ids[..count].to_vec()));
            }
        }
        Part::IWant(ids) => {
            let ids = of(ids);
            let count = frame.iwant(&ids);
            expected.iwant.extend_from_slice(&ids[..count]);
        }
        Part::IDontWant(ids) => {
            let ids = of(ids);
            let count = frame.idontwant(&ids);
            expected.idontwant.extend_from_slice(&ids[..count]);
        }
        Part::Message(seq, len) => {
            let message = message(seq, len);
            if frame.message(&message) {
                expected.messages.push(message);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_says_what_was_added_and_keeps_its_limits(
        parts in prop::collection::vec(part(), 0..60),
    ) {
        let (mut frame, mut expected) = (FrameBuilder::new(), Rpc::default());
        for part in parts {
            let (before, empty) = (expected.clone(), frame.is_empty());
            add(part, &mut frame, &mut expected);
            prop_assert_eq!(frame.is_empty(), empty && expected == before);
        }
        prop_assert_eq!(frame.is_empty(), expected == Rpc::default());
        prop_assert!(expected.messages.len() <= 500 && expected.idontwant.len() <= 10);
        let messages: Vec<_> = expected.messages.iter().map(|m| (2, m.encoded())).collect();
        let published = fields(&messages).len();
        let written = frame.finish();
        prop_assert!(written.len() <= 56 * 1024 || written.len() <= published + 4, "{}", written.len());
        prop_assert!(written.len() - published <= 15_000);
        let rpc = Rpc::decode(content(&written)).unwrap();
        prop_assert_eq!(rpc, expected);
    }
}

#[test]
fn a_full_frame_takes_no_more_and_the_next_one_does() {
    let ids = ids(5000);
    let mut frame = FrameBuilder::new();
    let first = frame.ihave("casm", &ids);
    // 15,000 bytes, of which an id takes 48.
    assert_eq!(first, 312);
    assert_eq!(frame.ihave("casm", &ids[first..]), 0);
    assert_eq!(frame.iwant(&ids), 0);
    assert_eq!(frame.idontwant(&ids), 0);
    assert!(!frame.prune("casm", Duration::from_secs(60)) && !frame.subscription(true, "casm"));
    // There is room for messages all the same.
    assert!(frame.message(&message(1, 40_000)) && !frame.message(&message(2, 4_000)));
    assert_eq!(decode(frame).ihave, [("casm".to_owned(), ids[..first].to_vec())]);
    assert_eq!(FrameBuilder::new().ihave("casm", &ids[first..]), first);
    assert_eq!(FrameBuilder::new().iwant(&ids), 312);
    assert_eq!(FrameBuilder::new().idontwant(&ids), 10);

    let mut frame = FrameBuilder::new();
    assert_eq!(frame.idontwant(&ids[..6]), 6);
    assert_eq!(frame.idontwant(&ids[6..]), 4);
    assert_eq!(frame.idontwant(&ids), 0);
    assert_eq!(decode(frame).idontwant, ids[..10]);

    let mut frame = FrameBuilder::new();
    let joined = (0..).take_while(|n| frame.subscription(true, &format!("topic-{n:03}"))).count();
    assert_eq!(joined, 14_988 / 15);
    assert_eq!(decode(frame).subscriptions.len(), joined);
}

#[test]
fn a_frame_has_500_messages_or_a_long_one_alone() {
    // Shorter than any that is well signed.
    let from = crate::vectors::peer("ed25519-1").to_bytes();
    let short = SignedMessage::new(&from, b"", &[0; 8], "c", b"x", None).unwrap();
    let mut frame = FrameBuilder::new();
    assert_eq!((0..1000).take_while(|_| frame.message(&short)).count(), 500);
    assert!(frame.graft("casm"));
    assert_eq!(decode(frame).messages.len(), 500);

    let long = message(2, 100_000);
    let mut frame = FrameBuilder::new();
    assert!(frame.graft("casm") && !frame.message(&long));
    let mut alone = FrameBuilder::new();
    assert!(alone.message(&long));
    assert!(!alone.message(&short) && !alone.graft("casm") && alone.iwant(&ids(1)) == 0);
    assert_eq!(decode(alone).messages, [long]);

    let longest = message(3, MAX_MESSAGE - message(3, 0).encoded().len() - 2);
    let mut alone = FrameBuilder::new();
    assert!(alone.message(&longest));
    let written = alone.finish();
    // The limit of Go's nodes is on what follows the length.
    assert_eq!(content(&written).len(), 1 << 20);
    assert_eq!(Rpc::decode(content(&written)).unwrap().messages, [longest]);
}

#[test]
fn a_back_off_is_rounded_up_to_seconds() {
    for (backoff, secs) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (60_000, 60)] {
        let mut frame = FrameBuilder::new();
        assert!(frame.prune("casm", Duration::from_millis(backoff)));
        assert_eq!(decode(frame).prune[0].backoff, Some(Duration::from_secs(secs)));
    }
}
