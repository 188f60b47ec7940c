//! What goes in a frame, and when.

use super::*;
use crate::gossip::wire::Prune;

/// A node with a peer outside its mesh, of which all frames are kept.
struct Watched {
    net: Net,
    frames: Vec<(Duration, Rpc)>,
}

const WATCHED: u64 = 9;

impl Watched {
    fn new() -> Self {
        Self { net: Net::new(1), frames: Vec::new() }
    }

    fn join(&mut self, number: u64) {
        let now = self.net.now;
        self.net.engine(0).connected(now, peer(number), true);
        self.net.engine(0).received(
            now,
            &peer(number),
            Rpc { subscriptions: vec![subscribe()], ..rpc() },
        );
    }

    /// Until then, each frame is written at once.
    fn run(&mut self, until: Duration) {
        loop {
            let now = self.net.now;
            while let Some(output) = self.net.engine(0).poll(now) {
                let Output::Send { peer: to, frame } = output else { continue };
                self.net.engine(0).sent(now, &to);
                let (_, body) = unsigned_varint::decode::usize(&frame).unwrap();
                if to == peer(WATCHED) {
                    self.frames.push((now, Rpc::decode(body).unwrap()));
                }
            }
            let next = self.net.engine(0).next_wake();
            if next > until {
                self.net.now = until;
                return;
            }
            self.net.now = self.net.now.max(next);
        }
    }

    /// A message comes, is found good and accepted.
    fn receive(&mut self, from: u64, message: SignedMessage) {
        let now = self.net.now;
        let rpc = Rpc { messages: vec![message], ..rpc() };
        self.net.engine(0).received(now, &peer(from), rpc);
        while let Some(output) = self.net.engine(0).poll(now) {
            match output {
                Output::Verify { check, .. } => self.net.engine(0).verified(now, check, true),
                Output::Deliver { message, .. } => {
                    self.net.engine(0).verdict(now, message.id(), Verdict::Accept);
                }
                Output::Send { peer, .. } => self.net.engine(0).sent(now, &peer),
                _ => {}
            }
        }
    }

    /// With the watched peer out of the mesh, which has others enough, to whom
    /// messages go.
    fn outside() -> Self {
        let mut node = Self::new();
        node.join(WATCHED);
        let prune = Prune { topic: TOPIC.into(), backoff: Some(secs(3600.0)) };
        let now = node.net.now;
        node.net.engine(0).received(now, &peer(WATCHED), Rpc { prune: vec![prune], ..rpc() });
        (20..23).for_each(|other| node.join(other));
        node.run(secs(2.0));
        node
    }

    fn publish(&mut self, number: u64) {
        let now = self.net.now;
        self.net.engine(0).publish(now, good(peer(0), number)).unwrap();
    }
}

#[test]
fn an_id_is_offered_once_to_a_peer() {
    let mut node = Watched::outside();
    for number in 0..20 {
        // Another's: of what is its own, one copy goes out of the mesh at once.
        let now = node.net.now;
        node.receive(20, good(peer(77), number));
        node.run(now + secs(0.2));
    }
    node.run(secs(20.0));
    let ids = node.frames.iter().flat_map(|(_, rpc)| &rpc.ihave).flat_map(|(_, ids)| ids);
    let mut offered: Vec<_> = ids.map(MessageId::seq).collect();
    offered.sort_unstable();
    assert_eq!(offered, (0..20).collect::<Vec<_>>());
    assert!(node.frames.iter().all(|(_, rpc)| rpc.messages.is_empty()));
}

#[test]
fn what_a_peer_had_no_room_for_is_offered_again_as_often_as_it_may_ask() {
    // As many a second as there are in a flood: those of the next second must not
    // keep those of the last from being offered again.
    const A_SECOND: u64 = 700;
    let mut node = Watched::outside();
    let (mut seen, mut offered) = (0, BTreeMap::<u64, usize>::new());
    for step in 0..60 {
        for number in 0..if step < 30 { A_SECOND / 10 } else { 0 } {
            node.receive(20, good(peer(77), step * A_SECOND / 10 + number));
        }
        let now = node.net.now;
        node.run(now + secs(0.1));
        // It asks for all, and throws away what comes.
        let frames = node.frames[seen..].iter();
        let ids: Vec<MessageId> =
            frames.flat_map(|(_, rpc)| &rpc.ihave).flat_map(|(_, ids)| ids.clone()).collect();
        seen = node.frames.len();
        ids.iter().for_each(|id| *offered.entry(id.seq()).or_default() += 1);
        let now = node.net.now;
        node.net.engine(0).received(now, &peer(WATCHED), Rpc { iwant: ids, ..rpc() });
    }
    assert_eq!(offered.len() as u64, 3 * A_SECOND);
    assert!(offered.values().all(|times| (2..=3).contains(times)), "{offered:?}");
    assert_eq!(node.net.refused(0, "asked-again"), 0);
}

#[test]
fn it_wakes_up_no_more_once_all_who_may_lack_something_were_offered_it() {
    let mut node = Watched::outside();
    let mut rests = |when: &str, comes: &dyn Fn(&mut Watched)| {
        let begun = node.net.now + secs(20.0);
        node.run(begun);
        comes(&mut node);
        // One heartbeat, and what it has to send.
        node.run(begun + secs(1.2));
        let next = node.net.engine(0).next_wake();
        assert!(next > begun + secs(20.0), "{when}: it wakes up {:?} later", next - begun);
        node.frames.split_off(0)
    };
    let offered =
        |frames: Vec<(Duration, Rpc)>| -> usize { frames.iter().map(|(_, f)| f.ihave.len()).sum() };
    let frames = rests("a message from the mesh", &|node| node.receive(20, good(peer(77), 1)));
    assert_eq!(offered(frames), 1);
    let frames = rests("one from outside", &|node| node.receive(WATCHED, good(peer(77), 2)));
    assert_eq!(offered(frames), 0);
    // It is here, and the watched peer has it too.
    let says = |number: u64, rpc: &dyn Fn(MessageId) -> Rpc| {
        let message = good(peer(77), number);
        let rpc = rpc(message.id().clone());
        move |node: &mut Watched| {
            node.receive(20, message.clone());
            let now = node.net.now;
            node.net.engine(0).received(now, &peer(WATCHED), rpc.clone());
        }
    };
    let offers = says(3, &|id| Rpc { ihave: vec![(TOPIC.into(), vec![id])], ..rpc() });
    assert_eq!(offered(rests("an offer of what is here", &offers)), 0);
    let declines = says(4, &|id| Rpc { idontwant: vec![id], ..rpc() });
    assert_eq!(offered(rests("what is not wanted", &declines)), 0);
}

#[test]
fn no_message_waits_for_more_than_fifty_milliseconds() {
    let mut node = Watched::new();
    node.join(WATCHED);
    node.run(secs(2.0));
    node.frames.clear();
    let mut published = BTreeMap::new();
    // As it may come: at once, after moments, and after a while.
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for number in 0..2000 {
        node.publish(number);
        published.insert(number, node.net.now);
        let pause = [0, 0, 1, 7, 30, 49, 50, 51, 120][rng.random_range(0..9)];
        let until = node.net.now + Duration::from_millis(pause);
        node.run(until);
    }
    let last = node.net.now + secs(1.0);
    node.run(last);
    let mut sent = 0;
    let mut together = 0;
    for (at, rpc) in &node.frames {
        sent += rpc.messages.len();
        together += usize::from(rpc.messages.len() > 1);
        for message in &rpc.messages {
            let waited = *at - published[&message.seq()];
            assert!(waited <= Duration::from_millis(50), "{waited:?}");
        }
    }
    assert_eq!(sent, 2000);
    assert!(together > 100);
    // And no frame with messages is written within that time of another, while
    // there are few: what comes meanwhile goes together.
    let with: Vec<_> = node.frames.iter().filter(|(_, rpc)| !rpc.messages.is_empty()).collect();
    let soon = with.windows(2).filter(|pair| pair[1].0 - pair[0].0 < Duration::from_millis(50));
    assert_eq!(soon.count(), 0);
}

#[test]
fn a_steady_stream_of_large_messages_is_held_up_by_nothing() {
    let mut node = Watched::new();
    node.join(WATCHED);
    node.net.engine(0).negotiated(&peer(WATCHED), crate::gossip::engine::Version::V1_2);
    node.join(20);
    node.run(secs(2.0));
    let (mut came, mut sent, mut written) = (BTreeMap::new(), 0, None);
    for ms in 0..4000_u64 {
        node.net.now += Duration::from_millis(1);
        let now = node.net.now;
        if ms.is_multiple_of(20) && ms < 3600 {
            let large = message(peer(77), ms, &[7; 2048], GOOD);
            came.insert(ms, now);
            node.net.engine(0).received(now, &peer(20), Rpc { messages: vec![large], ..rpc() });
        }
        // A frame takes longer than the next message.
        if written.is_some_and(|at| at <= now) {
            written = None;
            node.net.engine(0).sent(now, &peer(WATCHED));
        }
        while let Some(output) = node.net.engine(0).poll(now) {
            match output {
                Output::Verify { check, .. } => node.net.engine(0).verified(now, check, true),
                Output::Deliver { message, .. } => {
                    node.net.engine(0).verdict(now, message.id(), Verdict::Accept);
                }
                Output::Send { peer: to, frame } if to == peer(WATCHED) => {
                    written = Some(now + Duration::from_millis(25));
                    let (_, body) = unsigned_varint::decode::usize(&frame).unwrap();
                    for message in Rpc::decode(body).unwrap().messages {
                        let waited = now - came[&message.seq()];
                        assert!(waited <= Duration::from_millis(100), "{waited:?}");
                        sent += 1;
                    }
                }
                Output::Send { peer, .. } => node.net.engine(0).sent(now, &peer),
                _ => {}
            }
        }
    }
    assert_eq!(sent, came.len());
}

#[test]
fn what_a_peer_sends_meanwhile_is_not_sent_to_it() {
    let mut node = Watched::new();
    node.join(WATCHED);
    node.join(20);
    node.run(secs(2.0));
    node.frames.clear();
    // A frame goes at once, so that the next message waits.
    for (number, comes_back) in [(1, false), (2, true), (3, false)] {
        node.publish(100 + number);
        let soon = node.net.now + Duration::from_millis(10);
        node.run(soon);
        node.receive(20, good(peer(77), number));
        if comes_back {
            node.receive(WATCHED, good(peer(77), number));
        }
        let later = node.net.now + secs(1.0);
        node.run(later);
    }
    let messages = node.frames.iter().flat_map(|(_, rpc)| &rpc.messages);
    let sent: Vec<_> = messages.map(SignedMessage::seq).collect();
    assert_eq!(sent, [101, 1, 102, 103, 3]);
}
