//! Topics of whole hosts over loopback sockets.

use super::*;
use crate::{
    ErrorKind,
    cluster::{self, Detector, Table},
    config::Limits,
    event::EventBus,
    host::Addresses,
    pubsub::{Outgoing, Publisher, Received, Topic as Seam, TopicCommand, TopicEvent},
    record::unix_nanos,
};
use futures::FutureExt as _;
use std::{
    collections::BTreeSet,
    future::{Future, ready},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

const NAME: &str = "news";
const FULL: &str = "/casm/1.0.0/test/topic/news";

/// What every wait is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

/// The view of nobody.
fn empty() -> Look {
    let table = Table::new(ed25519(), cluster::Limits::default(), Detector::default(), 0);
    let view = table.view();
    Arc::new(move || view.clone())
}

/// A host with topics, and no cluster.
struct Peer {
    host: Host,
    topics: Topics,
    metrics: Metrics,
    scope: Scope,
}

impl Peer {
    async fn start() -> Self {
        let key = Keypair::generate_ed25519();
        let (scope, metrics) = (Scope::default(), Metrics::default());
        let listen = ["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let (limits, addrs) = (Limits::default(), Addresses::from(&listen));
        let events = EventBus::default();
        let host = Host::start(key.clone(), addrs, &limits, &metrics, events, &scope, 0);
        let host = host.await.unwrap();
        let namespace = Namespace::new("test").unwrap();
        let topics = Topics::new(
            host.clone(),
            key,
            namespace,
            empty(),
            Arc::default(),
            metrics.clone(),
            scope.clone(),
        );
        Self { host, topics, metrics, scope }
    }

    /// Two that are connected.
    async fn pair() -> (Self, Self) {
        let (one, other) = (Self::start().await, Self::start().await);
        one.connect(&other).await;
        (one, other)
    }

    async fn connect(&self, other: &Self) {
        let info = other.host.record().borrow().info().clone();
        self.host.connect(&info).await.unwrap();
    }

    fn open(&self, options: TopicOptions) -> Topic {
        self.topics.open(NAME, options).unwrap()
    }

    /// The value of a counter, 0 as long as there is none.
    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or(0)
    }

    fn verdicts(&self, verdict: &str) -> u64 {
        self.metric(&format!("casm_topic_messages_total{{verdict=\"{verdict}\"}}"))
    }

    async fn close(self) {
        assert!(self.scope.close(Duration::from_secs(5)).await);
    }
}

/// Waits until something is so.
async fn until(so: impl Fn() -> bool) {
    soon(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn next(messages: &mut Messages) -> Message {
    soon(messages.next()).await.unwrap()
}

#[tokio::test]
async fn what_is_published_comes_to_every_subscription_of_others() {
    let (one, other) = Peer::pair().await;
    let (topic, theirs) = (one.open(TopicOptions::default()), other.open(TopicOptions::default()));
    let mut own = topic.subscribe();
    let mut echoed = topic.subscribe_with(SubscribeOptions::default().echo(true)).unwrap();
    let mut there = [theirs.subscribe(), theirs.clone().subscribe()];
    assert_eq!(soon(topic.wait_for_peers(1)).await.unwrap(), [other.host.id()]);
    assert_eq!((topic.name(), topic.full_name()), (NAME, FULL));
    let before = unix_nanos();
    for n in 0..3 {
        assert_eq!(soon(topic.publish([n])).await.unwrap(), 1);
    }
    for messages in there.iter_mut().chain([&mut echoed]) {
        let mut last = before;
        for n in 0..3 {
            let message = next(messages).await;
            assert_eq!((message.source(), message.data()), (one.host.id(), &[n][..]));
            assert!(message.seq() > last);
            last = message.seq();
        }
    }
    assert!(own.next().now_or_never().is_none());
    // Who is gone is among the peers no more.
    other.close().await;
    until(|| topic.peers().is_empty()).await;
    assert_eq!(soon(topic.publish("nobody")).await.unwrap(), 0);
    assert_eq!(next(&mut echoed).await.data(), b"nobody");
    for messages in &mut there {
        assert!(soon(messages.next()).await.is_none());
    }
    one.close().await;
    assert_eq!(topic.publish("closed").await.unwrap_err().kind(), ErrorKind::Closed);
    let waiting = soon(topic.wait_for_peers(1)).await;
    assert_eq!(waiting.unwrap_err().kind(), ErrorKind::Closed);
    assert!(soon(own.next()).await.is_none());
}

#[tokio::test]
async fn handles_share_a_topic_that_ends_with_the_last_of_them_and_of_their_subscriptions() {
    let (one, other) = Peer::pair().await;
    let topic = one.open(TopicOptions::default());
    let again = one.open(TopicOptions::default());
    assert!(Arc::ptr_eq(&topic.0, &again.0));
    let theirs = other.open(TopicOptions::default());
    soon(theirs.wait_for_peers(1)).await.unwrap();
    let mut messages = topic.subscribe();
    drop((topic, again));
    // The subscription goes on.
    soon(theirs.publish("on")).await.unwrap();
    assert_eq!(next(&mut messages).await.data(), b"on");
    drop(messages);
    until(|| theirs.peers().is_empty()).await;
    assert_eq!(soon(theirs.publish("over")).await.unwrap(), 0);
    // And anew, at once.
    let topic = one.open(TopicOptions::default());
    drop(topic);
    let topic = one.open(TopicOptions::default());
    let mut messages = topic.subscribe();
    soon(theirs.wait_for_peers(1)).await.unwrap();
    soon(theirs.publish("anew")).await.unwrap();
    assert_eq!(next(&mut messages).await.data(), b"anew");
    assert_eq!(one.topics.0.open().len(), 1);
    one.close().await;
    other.close().await;
}

/// Nothing is awaited between: the topic's task has had no turn.
#[tokio::test]
async fn a_topic_that_is_opened_as_its_node_closes_keeps_nobody_waiting() {
    let peer = Peer::start().await;
    let topic = peer.open(TopicOptions::default());
    let mut messages = topic.subscribe();
    peer.scope.cancel();
    assert!(soon(messages.next()).await.is_none());
    assert!(soon(topic.subscribe().next()).await.is_none());
    assert_eq!(soon(topic.wait_for_peers(1)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(soon(topic.publish("x")).await.unwrap_err().kind(), ErrorKind::Closed);
    peer.close().await;
}

/// What a host was asked just before it ended may stay where it is, and keep the ends
/// of channels that nobody looks at any more.
#[tokio::test(start_paused = true)]
async fn what_was_asked_of_a_host_that_is_gone_is_waited_for_no_longer_than_its_topic() {
    let Bare { events, messages, _kept, .. } = Bare::start(ed25519());
    let topic = messages.topic();
    let end = async { drop(events) };
    let asked = async { tokio::join!(topic.wait_for_peers(1), topic.publish("x"), end) };
    let (peers, sent, ()) = soon(asked).await;
    assert_eq!(peers.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn handles_of_one_topic_cannot_differ() {
    let peer = Peer::start().await;
    let valid = |_: &Message| Verdict::Accept;
    let query = Query::matching("meta:role=a".parse().unwrap());
    let options = TopicOptions::default().accept(query.clone()).max_data(100).validator(valid);
    let topic = peer.open(options.clone());
    peer.open(TopicOptions::default());
    peer.open(options);
    for (options, field) in [
        (TopicOptions::default().max_data(101), "max_data"),
        (TopicOptions::default().accept(query.limit(1)), "accept"),
        (TopicOptions::default().validator(valid), "validator"),
    ] {
        let error = peer.topics.open(NAME, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(field), "{error}");
    }
    for bad in [0, TopicOptions::MOST_DATA + 1] {
        let error = peer.topics.open("x", TopicOptions::default().max_data(bad)).unwrap_err();
        assert!(error.message().contains(&bad.to_string()), "{error}");
    }
    for bad in [0, SubscribeOptions::MAX_QUEUE + 1] {
        let error = topic.subscribe_with(SubscribeOptions::default().queue(bad)).unwrap_err();
        assert!(error.message().contains(&bad.to_string()), "{error}");
    }
    let exact = peer.topics.open(FULL, TopicOptions::default().exact(true)).unwrap_err();
    assert_eq!(exact.kind(), ErrorKind::Config);
    peer.close().await;
    assert_eq!(topic.publish("x").await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn data_is_bounded_where_it_is_published_and_where_it_comes() {
    let (one, other) = Peer::pair().await;
    let large = TopicOptions::default().max_data(TopicOptions::MOST_DATA);
    let (topic, theirs) = (one.open(large.clone()), other.open(large));
    let mut messages = theirs.subscribe();
    soon(topic.wait_for_peers(1)).await.unwrap();
    let most = vec![7; TopicOptions::MOST_DATA];
    assert_eq!(soon(topic.publish(&most)).await.unwrap(), 1);
    assert!(next(&mut messages).await.data() == most);
    let more = vec![7; TopicOptions::MOST_DATA + 1];
    let error = topic.publish(&more).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("1024001") && error.message().contains("1024000"), "{error}");
    drop((theirs, messages));
    until(|| topic.peers().is_empty()).await;

    let mut messages = other.open(TopicOptions::default()).subscribe();
    soon(topic.wait_for_peers(1)).await.unwrap();
    soon(topic.publish(vec![7; TopicOptions::MAX_DATA + 1])).await.unwrap();
    soon(topic.publish(vec![7; TopicOptions::MAX_DATA])).await.unwrap();
    assert_eq!(next(&mut messages).await.data().len(), TopicOptions::MAX_DATA);
    assert_eq!(other.verdicts("too-large"), 1);
    one.close().await;
    other.close().await;
}

/// A line of three: what the one in the middle doesn't take comes to nobody.
#[tokio::test]
async fn what_the_validator_does_not_take_is_neither_delivered_nor_relayed() {
    let (one, middle) = Peer::pair().await;
    let end = Peer::start().await;
    middle.connect(&end).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let asks = asked.clone();
    let valid = move |message: &Message| {
        asks.fetch_add(1, Ordering::SeqCst);
        match message.data() {
            b"bad" => Verdict::Reject,
            b"dull" => Verdict::Ignore,
            b"odd" => panic!("a panic that is to be caught"),
            _ => Verdict::Accept,
        }
    };
    let topic = one.open(TopicOptions::default());
    let between = middle.open(TopicOptions::default().validator(valid));
    let mut messages = [between.subscribe(), end.open(TopicOptions::default()).subscribe()];
    soon(topic.wait_for_peers(1)).await.unwrap();
    soon(between.wait_for_peers(2)).await.unwrap();
    for data in ["bad", "dull", "odd", "good"] {
        assert_eq!(soon(topic.publish(data)).await.unwrap(), 1);
    }
    for messages in &mut messages {
        assert_eq!(next(messages).await.data(), b"good");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    let verdicts = ["rejected", "ignored", "validator-panicked", "delivered"];
    assert_eq!(verdicts.map(|verdict| middle.verdicts(verdict)), [1; 4]);
    assert_eq!(end.verdicts("delivered"), 1);
    // Nobody is cut off for it.
    assert_eq!(middle.host.connected().len(), 2);
    for peer in [one, middle, end] {
        peer.close().await;
    }
}

#[tokio::test]
async fn what_comes_from_whom_no_record_is_here_is_not_taken_where_a_query_is_set() {
    let (one, other) = Peer::pair().await;
    let topic = one.open(TopicOptions::default());
    let mut messages = other.open(TopicOptions::default().accept(Query::all())).subscribe();
    soon(topic.wait_for_peers(1)).await.unwrap();
    soon(topic.publish("who?")).await.unwrap();
    until(|| other.verdicts("no-record") == 1).await;
    assert!(messages.next().now_or_never().is_none());
    assert_eq!(one.host.connected().len(), 1);
    one.close().await;
    other.close().await;
}

/// The task of a topic, with the other ends of its channels, and a subscription.
struct Bare {
    commands: mpsc::Receiver<TopicCommand>,
    events: mpsc::Sender<TopicEvent>,
    messages: Messages,
    counts: ByLabel,
    _kept: (mpsc::Receiver<Outgoing>, watch::Sender<BTreeSet<PeerId>>),
}

impl Bare {
    fn start(own: PeerId) -> Self {
        let (command_sender, commands) = mpsc::channel(16);
        let (events, event_receiver) = mpsc::channel(16);
        let (outgoing, taken) = mpsc::channel(1);
        let (set_peers, peers) = watch::channel(BTreeSet::new());
        let (subscribers, over) = (Arc::<Subscribers>::default(), CancellationToken::new());
        let (counts, metrics) = (ByLabel::default(), Metrics::default());
        let task = Task {
            own,
            max_data: 100,
            accept: None,
            validator: None,
            look: empty(),
            subscribers: Closing(subscribers.clone()),
            over: over.clone(),
            messages: counts.clone(),
            metrics: metrics.clone(),
        };
        let shared = Shared {
            name: NAME.into(),
            full: FULL.into(),
            options: TopicOptions::default(),
            key: Keypair::generate_ed25519(),
            numbers: Arc::default(),
            publisher: Publisher::new(outgoing, peers),
            subscribers,
            metrics,
            _over: over.drop_guard(),
        };
        let queue = SubscribeOptions::default().queue(SubscribeOptions::MAX_QUEUE);
        let messages = Topic(Arc::new(shared)).subscribe_with(queue).unwrap();
        tokio::spawn(task.run(ready(Ok(Seam::new(command_sender, event_receiver)))));
        Self { commands, events, messages, counts, _kept: (taken, set_peers) }
    }

    /// What the task thinks of a message.
    async fn verdict(&mut self, source: PeerId, seq: u64, from: PeerId) -> Verdict {
        let (source, seq) = (source.to_bytes(), seq.to_be_bytes());
        let message = SignedMessage::new(&source, b"x", &seq, FULL, b"signature", None).unwrap();
        self.events.send(TopicEvent::Received(Received { message, from })).await.unwrap();
        match self.commands.recv().await.unwrap() {
            TopicCommand::Report { verdict, .. } => verdict,
            other => panic!("{other:?}"),
        }
    }

    fn count(&self, label: &'static str) -> u64 {
        self.counts.get_or_create(&[("verdict", label)]).get()
    }
}

fn ed25519() -> PeerId {
    Keypair::generate_ed25519().public().to_peer_id()
}

/// Gossip knows a message for 30 s: what comes later is new to it.
#[tokio::test(start_paused = true)]
async fn a_replay_is_delivered_once_for_ten_minutes() {
    let (own, source, from) = (ed25519(), ed25519(), ed25519());
    let mut topic = Bare::start(own);
    for seq in [9, 3] {
        assert_eq!(topic.verdict(source, seq, from).await, Verdict::Accept);
    }
    for _ in 0..9 {
        tokio::time::advance(Duration::from_secs(60)).await;
        for seq in [3, 9] {
            assert_eq!(topic.verdict(source, seq, ed25519()).await, Verdict::Ignore);
        }
    }
    assert_eq!((topic.count("delivered"), topic.count("replay")), (2, 18));
    // What this node has never said, under its name.
    assert_eq!(topic.verdict(own, 1, from).await, Verdict::Ignore);
    assert_eq!(topic.count("own"), 1);
    tokio::time::advance(Duration::from_secs(120)).await;
    assert_eq!(topic.verdict(source, 9, from).await, Verdict::Accept);
    for seq in [9, 3, 9] {
        assert_eq!(topic.messages.next().await.unwrap().seq(), seq);
    }
    assert!(topic.messages.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_good_messages_is_bounded_and_costs_another_source_nothing() {
    let (flood, from, other) = (ed25519(), ed25519(), ed25519());
    let mut topic = Bare::start(ed25519());
    let mut taken = 0;
    for seq in 0..60_000 {
        taken += usize::from(topic.verdict(flood, seq, from).await == Verdict::Accept);
    }
    assert_eq!((taken, topic.count("over-source-messages")), (50_000, 10_000));
    assert_eq!(topic.verdict(other, 1, from).await, Verdict::Accept);
    // By the same peer, of any number of sources.
    for seq in 0..50_000 {
        topic.verdict(flood, seq, from).await;
    }
    assert_eq!(topic.verdict(other, 2, from).await, Verdict::Ignore);
    assert!(topic.count("over-peer-messages") > 10_000);
    assert_eq!(topic.verdict(other, 3, ed25519()).await, Verdict::Accept);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(topic.verdict(other, 4, from).await, Verdict::Accept);
}

/// Who forges is cut off at the third message, and what others say still comes.
#[tokio::test]
async fn a_flood_of_forged_messages_reaches_nobody_and_costs_who_sends_it_its_connection() {
    let (forger, other) = Peer::pair().await;
    let honest = Peer::start().await;
    honest.connect(&other).await;
    let mut messages = other.open(TopicOptions::default()).subscribe();
    let topic = honest.open(TopicOptions::default());
    soon(topic.wait_for_peers(1)).await.unwrap();
    let mut seam = forger.host.join(FULL).await.unwrap();
    soon(async { while !matches!(seam.next().await, Some(TopicEvent::Subscribed { .. })) {} })
        .await;
    let victim = honest.host.id().to_bytes();
    for seq in 0..1000_u64 {
        let seq = seq.to_be_bytes();
        let forged = SignedMessage::new(&victim, b"forged", &seq, FULL, &[7; 64], None).unwrap();
        seam.tell(other.host.id(), forged).await;
    }
    until(|| !other.host.is_connected(&forger.host.id())).await;
    let forged = other.metric("casm_gossip_refused_total{reason=\"bad-signature\"}");
    assert!((3..=1000).contains(&forged), "{forged}");
    assert_eq!(soon(topic.publish("good")).await.unwrap(), 1);
    let message = next(&mut messages).await;
    assert_eq!((message.source(), message.data()), (honest.host.id(), &b"good"[..]));
    assert_eq!(other.verdicts("delivered"), 1);
    for peer in [forger, other, honest] {
        peer.close().await;
    }
}

#[tokio::test]
async fn a_slow_subscriber_loses_what_it_chose_and_holds_up_nobody() {
    let (one, other) = Peer::pair().await;
    let (topic, theirs) = (one.open(TopicOptions::default()), other.open(TopicOptions::default()));
    let slow =
        |full| theirs.subscribe_with(SubscribeOptions::default().queue(3).full(full)).unwrap();
    let (mut oldest, mut newest) = (slow(Full::DropOldest), slow(Full::DropNewest));
    let mut quick = theirs.subscribe();
    soon(topic.wait_for_peers(1)).await.unwrap();
    for n in 0..10 {
        soon(topic.publish([n])).await.unwrap();
        assert_eq!(next(&mut quick).await.data(), [n]);
    }
    for (messages, kept) in [(&mut oldest, [7, 8, 9]), (&mut newest, [0, 1, 2])] {
        assert_eq!(messages.dropped(), 7);
        for n in kept {
            assert_eq!(next(messages).await.data(), [n]);
        }
    }
    assert_eq!(quick.dropped(), 0);
    assert_eq!(other.metric("casm_dropped_total{queue=\"messages\"}"), 14);
    one.close().await;
    other.close().await;
}

/// What the other one has no time to check, it may lose; the publisher loses
/// nothing.
#[tokio::test]
async fn a_publisher_that_is_too_fast_waits() {
    let (one, other) = Peer::pair().await;
    let (topic, theirs) = (one.open(TopicOptions::default()), other.open(TopicOptions::default()));
    let mut messages = theirs.subscribe();
    soon(topic.wait_for_peers(1)).await.unwrap();
    // More than the queue of a connection holds; and many at once.
    let data = vec![7; 1000];
    let publish = futures::future::join_all((0..6000).map(|_| topic.publish(&data)));
    let (published, _) = soon(async { tokio::join!(publish, messages.next()) }).await;
    assert!(published.iter().all(|peers| peers.as_ref().is_ok_and(|peers| *peers == 1)));
    assert_eq!(one.metric("casm_dropped_total{queue=\"connection\"}"), 0);
    one.close().await;
    other.close().await;
}
