//! What is broken, too long or too much.

use super::*;
use crate::pubsub::{fields::write_number, signed::tests::Raw};
use proptest::prelude::*;

fn read(frame: &[(u32, &[u8])]) -> Rpc {
    Rpc::decode(&fields(frame)).unwrap()
}

/// A frame with this control message.
fn control(of: &[(u32, &[u8])]) -> Rpc {
    read(&[(3, &fields(of))])
}

#[test]
fn what_is_over_a_count_is_left_out_and_counted() {
    let topic = fields(&[(1, b"casm")]);
    let joined = fields(&[(2, b"casm")]);
    let rpc = read(&vec![(1, &joined[..]); 1003]);
    assert_eq!((rpc.subscriptions.len(), rpc.refused), (1000, vec![("too-many", 3)]));
    let rpc = control(&[vec![(3, &topic[..]); 1001], vec![(4, &topic[..]); 1002]].concat());
    assert_eq!((rpc.graft.len(), rpc.prune.len()), (1000, 1000));
    assert_eq!(rpc.refused, [("too-many", 3)]);

    let all: Vec<_> = ids(5004).iter().map(|id| id.as_bytes().to_vec()).collect();
    let list = |tag: u32, ids: &[Vec<u8>]| {
        fields(&ids.iter().map(|id| (tag, &id[..])).collect::<Vec<_>>())
    };
    // In one list or in several.
    for tag in [2, 5] {
        let lists = [list(1, &all[..3000]), list(1, &all[3000..])];
        for lists in
            [vec![(tag, &lists.concat()[..])], lists.iter().map(|l| (tag, &l[..])).collect()]
        {
            let rpc = control(&lists);
            let (taken, none) =
                if tag == 2 { (rpc.iwant, rpc.idontwant) } else { (rpc.idontwant, rpc.iwant) };
            assert_eq!((taken, none.len()), (ids(5000), 0));
            assert_eq!(rpc.refused, [("too-many", 4)]);
        }
    }
    // The topic may come behind the ids.
    let lists =
        [[list(2, &all[..3000]), topic.clone()].concat(), [topic, list(2, &all[3000..])].concat()];
    let rpc = control(&[(1, &lists[0]), (1, &lists[1]), (1, &lists[1])]);
    let lens: Vec<_> = rpc.ihave.iter().map(|(_, ids)| ids.len()).collect();
    assert_eq!((lens, rpc.refused), (vec![3000, 2000], vec![("too-many", 4 + 2004)]));

    let short = SignedMessage::sign(&crate::vectors::key("ed25519-1"), "c", 1, b"").unwrap();
    let rpc = read(&vec![(2, short.encoded()); 5002]);
    assert_eq!((rpc.messages.len(), rpc.refused), (5000, vec![("too-many", 2)]));
}

#[test]
fn a_frame_of_nothing_takes_no_memory() {
    let most = MAX_FRAME / 2;
    for (tag, reason) in [(1_u8, Some("malformed")), (2, Some("bad-source")), (3, None), (7, None)]
    {
        let rpc = Rpc::decode(&[tag << 3 | 2, 0].repeat(most)).unwrap();
        let refused: Vec<_> = reason.map(|reason| (reason, most as u32)).into_iter().collect();
        assert_eq!(rpc, Rpc { refused, ..Rpc::default() });
    }
    let inner = |tag: u8| [tag << 3 | 2, 0].repeat(most - 5);
    for (tag, refused) in
        [(1, None), (2, None), (3, Some("malformed")), (4, Some("malformed")), (5, None), (6, None)]
    {
        let rpc = read(&[(3, &inner(tag))]);
        let refused: Vec<_> = refused.map(|reason| (reason, most as u32 - 5)).into_iter().collect();
        assert_eq!(rpc, Rpc { refused, ..Rpc::default() });
    }
    // Ids without bytes, in an IWANT.
    let rpc = control(&[(2, &inner(1)[10..])]);
    assert_eq!((rpc.iwant.len(), &rpc.refused[..]), (0, &[("bad-id", most as u32 - 10)][..]));
}

#[test]
fn what_is_too_long_or_missing_is_left_out_and_counted() {
    let (long, longest) = ("x".repeat(MAX_TOPIC + 1), "x".repeat(MAX_TOPIC));
    let rpc = read(&[
        (1, &fields(&[(2, long.as_bytes())])),
        (1, &fields(&[(2, longest.as_bytes())])),
        (1, &fields(&[(2, b"\xff")])),
        (1, &fields(&[])),
        (
            3,
            &fields(&[
                (1, &fields(&[(1, long.as_bytes()), (2, id(1).as_bytes())])),
                (1, &fields(&[(1, b"none")])),
                (2, &fields(&[(1, &[1; 8]), (1, &[1; 9]), (1, &[1; 64]), (1, &[1; 65])])),
                (3, &fields(&[(1, long.as_bytes())])),
                (4, &fields(&[(1, b"\xff")])),
                (5, &fields(&[(1, b""), (1, &[1; 20])])),
            ]),
        ),
    ]);
    assert_eq!(rpc.subscriptions, [Subscription { subscribe: false, topic: longest }]);
    assert_eq!((rpc.ihave.len(), rpc.graft.len(), rpc.prune.len()), (0, 0, 0));
    assert_eq!((rpc.iwant.len(), rpc.idontwant.len()), (2, 1));
    assert_eq!(rpc.refused, [("too-large", 3), ("malformed", 3), ("bad-id", 3)]);
}

#[test]
fn a_message_that_cannot_be_one_keeps_no_other_out() {
    let (good, raw) = (message(1, 10), Raw::of(&message(2, 10)));
    let rpc = read(&[
        (2, &raw.with(|raw| raw.from = None)),
        (2, &raw.with(|raw| raw.seqno = Some(vec![0; 7]))),
        (2, &raw.with(|raw| raw.seqno = None)),
        (2, &raw.with(|raw| raw.signature = None)),
        (2, &raw.with(|raw| raw.topic = Some("x".repeat(MAX_TOPIC + 1)))),
        (2, good.encoded()),
    ]);
    assert_eq!(rpc.messages, std::slice::from_ref(&good));
    let refused =
        [("bad-source", 1), ("bad-sequence-number", 2), ("bad-signature", 1), ("malformed", 1)];
    assert_eq!(rpc.refused, refused);
    // There is room in a frame for one that is too long to be handed on.
    let rpc =
        read(&[(2, &raw.with(|raw| raw.data = Some(vec![0; MAX_MESSAGE]))), (2, good.encoded())]);
    assert_eq!((rpc.messages, rpc.refused), (vec![good], vec![("too-large", 1)]));
}

#[test]
fn what_is_not_protobuf_is_malformed_at_every_level() {
    let broken: [&[u8]; 8] = [
        &[0, 0],
        &[2 << 3 | 2],
        &[2 << 3 | 2, 5, 1],
        &[2 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[3 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        &[9 << 3 | 3],
        &[9 << 3 | 4],
        &[1 << 3 | 7, 0],
    ];
    for broken in broken {
        let in_control = |tag| fields(&[(3, &fields(&[(tag, broken)]))]);
        let levels = [broken.to_vec(), fields(&[(1, broken)]), fields(&[(3, broken)])];
        for frame in levels.into_iter().chain([1, 2, 3, 4, 5].map(in_control)) {
            assert_eq!(Rpc::decode(&frame), Err(Malformed), "{frame:?}");
            let behind = [fields(&[(2, message(1, 10).encoded())]), frame].concat();
            assert_eq!(Rpc::decode(&behind), Err(Malformed), "{behind:?}");
        }
        // A message is left out: who passes it on may be able to read it.
        let message = Rpc { refused: vec![("malformed", 1)], ..Rpc::default() };
        assert_eq!(Rpc::decode(&fields(&[(2, broken)])), Ok(message), "{broken:?}");
    }
    let deep = [vec![9 << 3 | 3; 50_000], vec![9 << 3 | 4; 50_000]].concat();
    assert_eq!(Rpc::decode(&deep), Err(Malformed));
    assert_eq!(Rpc::decode(&[9 << 3 | 2, 0].repeat(MAX_FRAME / 2)), Ok(Rpc::default()));
    assert_eq!(Rpc::decode(&[9 << 3 | 2, 0].repeat(MAX_FRAME / 2 + 1)), Err(Malformed));
}

#[test]
fn a_back_off_is_bounded() {
    let mut prune = fields(&[(1, b"casm"), (2, b"a peer, not read: \xff")]);
    let backoff = |prune: &[u8]| control(&[(4, prune)]).prune[0].backoff;
    assert_eq!(backoff(&prune), None);
    write_number(3, 60, &mut prune);
    assert_eq!(backoff(&prune), Some(Duration::from_secs(60)));
    write_number(3, u64::MAX, &mut prune);
    assert_eq!(backoff(&prune), Some(MAX_BACKOFF));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Rpc::decode(&bytes);
        let _ = Rpc::decode(&fields(&[(3, &bytes)]));
    }
}
