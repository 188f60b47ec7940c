//! A frame of gossip: what is read keeps its limits, and is the same when it is
//! written again, in as many frames as it takes. What is short comes thousands of
//! times as well, so that the limits are reached.
#![no_main]

use casm::{
    Keypair,
    gossip::{
        SignedMessage,
        wire::{FrameBuilder, MAX_IDS, MAX_MESSAGES, MAX_TOPIC, MAX_TOPICS, Rpc},
    },
};
use libfuzzer_sys::fuzz_target;
use std::{sync::LazyLock, time::Duration};

/// A message that is well signed: in what follows it, a field counts instead of
/// its own.
static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = Keypair::ed25519_from_bytes([1; 32]).expect("any 32 bytes are a key");
    SignedMessage::sign(&key, "casm", 1, b"data").expect("the key signs").encoded().to_vec()
});

/// The longest input that is repeated.
const SHORT: usize = 64;

fuzz_target!(|data: &[u8]| {
    check(data);
    if data.len() <= SHORT {
        check(&data.repeat(MAX_IDS + 1));
    }
    let message = [&SIGNED, data].concat();
    let mut frame = vec![2 << 3 | 2];
    let mut len = message.len();
    while len > 0x7f {
        frame.push(len as u8 | 0x80);
        len >>= 7;
    }
    frame.push(len as u8);
    check(&[frame, message].concat());
});

fn check(frame: &[u8]) {
    let Ok(rpc) = Rpc::decode(frame) else { return };
    let topics = [rpc.subscriptions.len(), rpc.ihave.len(), rpc.graft.len(), rpc.prune.len()];
    assert!(topics.into_iter().all(|count| count <= MAX_TOPICS));
    let offered = rpc.ihave.iter().map(|(_, ids)| ids.len()).sum();
    let ids = [offered, rpc.iwant.len(), rpc.idontwant.len()];
    assert!(ids.into_iter().all(|count| count <= MAX_IDS));
    assert!(rpc.ihave.iter().all(|(topic, ids)| topic.len() <= MAX_TOPIC && !ids.is_empty()));
    assert!(rpc.messages.len() <= MAX_MESSAGES);
    for message in &rpc.messages {
        assert!(message.encoded().len() <= frame.len());
        assert_eq!(SignedMessage::decode(message.encoded()).as_ref(), Ok(message));
        assert_eq!(message.id().source(), message.source().to_bytes());
        assert!(message.topic().len() <= MAX_TOPIC && message.data().len() <= frame.len());
    }
    assert_eq!(again(&rpc), flat(rpc));
}

/// As frames can have it: each offer by itself, and every PRUNE with a back-off.
fn flat(mut rpc: Rpc) -> Rpc {
    let each = |(topic, ids): (String, Vec<_>)| {
        ids.into_iter().map(move |id| (topic.clone(), vec![id])).collect::<Vec<_>>()
    };
    rpc.ihave = rpc.ihave.into_iter().flat_map(each).collect();
    for prune in &mut rpc.prune {
        prune.backoff.get_or_insert_default();
    }
    rpc.refused.clear();
    rpc
}

/// Written and read again.
fn again(rpc: &Rpc) -> Rpc {
    let (mut frame, mut all) = (FrameBuilder::new(), Rpc::default());
    let mut add = |part: &dyn Fn(&mut FrameBuilder) -> bool| {
        if !part(&mut frame) {
            read(std::mem::take(&mut frame), &mut all);
            assert!(part(&mut frame), "an empty frame has room");
        }
    };
    for of in &rpc.subscriptions {
        add(&|frame| frame.subscription(of.subscribe, &of.topic));
    }
    rpc.messages.iter().for_each(|message| add(&|frame| frame.message(message)));
    for (topic, ids) in &rpc.ihave {
        ids.iter().for_each(|id| add(&|frame| frame.ihave(topic, std::slice::from_ref(id)) == 1));
    }
    rpc.iwant.iter().for_each(|id| add(&|frame| frame.iwant(std::slice::from_ref(id)) == 1));
    rpc.graft.iter().for_each(|topic| add(&|frame| frame.graft(topic)));
    for of in &rpc.prune {
        add(&|frame| frame.prune(&of.topic, of.backoff.unwrap_or(Duration::ZERO)));
    }
    rpc.idontwant
        .iter()
        .for_each(|id| add(&|frame| frame.idontwant(std::slice::from_ref(id)) == 1));
    read(frame, &mut all);
    flat(all)
}

/// Adds what a frame says.
fn read(frame: FrameBuilder, all: &mut Rpc) {
    let written = frame.finish();
    let header = written.iter().take_while(|byte| **byte > 0x7f).count() + 1;
    let rpc = Rpc::decode(&written[header..]).expect("what is written is read");
    let large =
        Rpc { messages: vec![], ..rpc.clone() } == Rpc::default() && rpc.messages.len() == 1;
    assert!(written.len() <= 1 << 16 || large, "only a message by itself is so long");
    assert!(rpc.refused.is_empty() && rpc.idontwant.len() <= 10 && rpc.messages.len() <= 500);
    all.subscriptions.extend(rpc.subscriptions);
    all.messages.extend(rpc.messages);
    all.ihave.extend(rpc.ihave);
    all.iwant.extend(rpc.iwant);
    all.graft.extend(rpc.graft);
    all.prune.extend(rpc.prune);
    all.idontwant.extend(rpc.idontwant);
}
