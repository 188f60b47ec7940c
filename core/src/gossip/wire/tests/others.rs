//! What other implementations write, and what rust-libp2p's reads of ours.

use super::*;
use crate::pubsub::fields::write_number;
use futures::{StreamExt, executor::block_on, io::Cursor};
use libp2p::{
    PeerId,
    core::upgrade::{InboundUpgrade, UpgradeInfo},
    swarm::{ConnectionHandler, ConnectionId, NetworkBehaviour, THandlerOutEvent},
};
use libp2p_gossipsub as gossipsub;

type FromConnection = THandlerOutEvent<gossipsub::Behaviour>;

/// Extensions of 1.3 (in the control message, 6), partial messages (10), of a
/// subscription (3 and 4), the test extension (far up), and fields that nobody
/// has yet.
#[test]
fn what_later_versions_add_is_skipped() {
    let mut subscription = Vec::new();
    write_number(1, 1, &mut subscription);
    write_field(2, b"casm", &mut subscription);
    write_number(3, 1, &mut subscription);
    write_number(4, 1, &mut subscription);
    let mut extensions = Vec::new();
    write_number(10, 1, &mut extensions);
    write_number(6_492_434, 1, &mut extensions);
    write_field(1, b"py-libp2p", &mut extensions);
    let ihave = fields(&[(1, b"casm"), (2, id(1).as_bytes()), (9, b"?")]);
    let prune = fields(&[(1, b"casm"), (2, &fields(&[(1, b"peer"), (2, b"record")]))]);
    let control = fields(&[(1, &ihave), (4, &prune), (6, &extensions), (7, b"?")]);
    let good = message(1, 10);
    let with_more = [good.encoded(), &fields(&[(7, b"?"), (900, b"?")])].concat();
    let mut frame = fields(&[
        (1, &subscription),
        (2, &with_more),
        (3, &control),
        (10, b"a partial message"),
        (6_492_434, b"a test"),
        // What comes again adds to what there is.
        (3, &fields(&[(3, &fields(&[(1, b"casm")]))])),
    ]);
    // Known numbers with other kinds of values.
    for tag in [1, 2, 3] {
        write_number(tag, 7, &mut frame);
        frame.extend_from_slice(&[
            (tag as u8) << 3 | 5,
            0,
            0,
            0,
            0,
            (tag as u8) << 3 | 3,
            (tag as u8) << 3 | 4,
        ]);
    }
    let expected = Rpc {
        subscriptions: vec![Subscription { subscribe: true, topic: "casm".into() }],
        messages: vec![good],
        ihave: vec![("casm".into(), ids(2)[1..].to_vec())],
        graft: vec!["casm".into()],
        prune: vec![Prune { topic: "casm".into(), backoff: None }],
        ..Rpc::default()
    };
    assert_eq!(Rpc::decode(&frame), Ok(expected));
}

#[test]
fn a_message_of_a_go_node_passes_through_as_it_is() {
    let Some(folder) = std::env::var_os("CASM_GOLDEN") else {
        return println!("skipped: CASM_GOLDEN is not set");
    };
    for file in ["pubsub-message-0.bin", "pubsub-message-1.bin"] {
        let bytes = std::fs::read(std::path::Path::new(&folder).join(file)).unwrap();
        let rpc = Rpc::decode(&fields(&[(2, &bytes)])).unwrap();
        assert_eq!(rpc.messages[0].verify(&Default::default()), Ok(()));
        let mut frame = FrameBuilder::new();
        assert!(frame.message(&rpc.messages[0]));
        assert_eq!(content(&frame.finish()), fields(&[(2, &bytes)]));
    }
}

/// What rust-libp2p's decoder, with its defaults, reads of these frames: messages
/// (that passed its checks), subscriptions, and the control messages as text.
fn as_rust_libp2p_reads(frames: Vec<u8>) -> Vec<(usize, usize, String)> {
    let privacy = gossipsub::MessageAuthenticity::Signed(crate::vectors::key("ed25519-2"));
    let mut behaviour: gossipsub::Behaviour =
        gossipsub::Behaviour::new(privacy, gossipsub::Config::default()).unwrap();
    let (id, addr) = (ConnectionId::new_unchecked(1), "/ip4/127.0.0.1/tcp/1".parse().unwrap());
    let handler =
        behaviour.handle_established_inbound_connection(id, PeerId::random(), &addr, &addr);
    let (upgrade, ()) = handler.unwrap().listen_protocol().into_upgrade();
    let protocol = upgrade.left().expect("it listens");
    let version = protocol.protocol_info().remove(0);
    block_on(async {
        let (framed, _) = protocol.upgrade_inbound(Cursor::new(frames), version).await.unwrap();
        let events = framed.map(|event| match event.unwrap() {
            FromConnection::Message { rpc, invalid_messages } => {
                assert!(invalid_messages.is_empty(), "{invalid_messages:?}");
                (rpc.messages.len(), rpc.subscriptions.len(), format!("{:?}", rpc.control_msgs))
            }
            other => panic!("{other:?}"),
        });
        events.collect().await
    })
}

#[test]
fn rust_libp2p_reads_what_is_written() {
    let mut frame = FrameBuilder::new();
    assert!(frame.subscription(true, "casm") && frame.subscription(false, "casm/b"));
    assert!(frame.graft("casm") && frame.prune("casm/b", Duration::from_secs(10)));
    assert_eq!(frame.ihave("casm", &ids(3)), 3);
    assert_eq!((frame.iwant(&ids(2)), frame.idontwant(&ids(2))), (2, 2));
    assert!(frame.message(&message(1, 10)) && frame.message(&message(2, 0)));
    let rsa = SignedMessage::sign(&crate::vectors::key("rsa"), "casm", 3, b"data").unwrap();
    assert!(frame.message(&rsa));
    let read = as_rust_libp2p_reads(frame.finish());
    let [(3, 2, control)] = &read[..] else { panic!("{read:?}") };
    for part in ["IHave(IHave", "IWant(IWant", "Graft(Graft", "Prune(Prune", "IDontWant(IDontWant"]
    {
        assert_eq!(control.matches(part).count(), 1, "{part} in {control}");
    }
    assert!(control.contains("backoff: Some(10)"), "{control}");
    assert_eq!(control.matches("MessageId").count(), 7, "{control}");
}

/// Full frames one behind the other, of which it reads up to 8 KiB of the next
/// one with the last bytes of the one before.
#[test]
fn rust_libp2p_takes_frames_however_full_and_dense() {
    let (ids, mut frames, mut sent) = (ids(5000), Vec::new(), Vec::new());
    for round in 0..40_usize {
        let mut frame = FrameBuilder::new();
        let topic = "t".repeat(1 + round % 7);
        while frame.subscription(true, &topic) && round % 3 == 0 {}
        frame.ihave("casm", &ids);
        frame.iwant(&ids);
        frame.idontwant(&ids);
        let len = [40, 300, 20_000, 50_000][round % 4] + round;
        let mut messages = 0;
        while frame.message(&message(messages, if messages > 9 { 10 } else { len })) {
            messages += 1;
        }
        sent.push(messages as usize);
        frames.extend(frame.finish());
    }
    assert!(frames.len() > 40 * 40_000);
    let read: Vec<_> = as_rust_libp2p_reads(frames).into_iter().map(|(n, ..)| n).collect();
    assert_eq!(read, sent);
}
