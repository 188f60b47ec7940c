//! The service over a topic that the tests hold the other end of, on virtual
//! time.

use crate::{
    Error, ErrorKind, Event, LeaveReason, Namespace, Pace,
    cluster::{
        Change, Cluster, ClusterConfig, Handed, Heartbeat, HeartbeatError, Index, Limits, Numbers,
        Outcome, Query, Roles,
        reserved::{CHANNEL, SERVICE},
        server_of,
    },
    event::{EventBus, Events},
    life::Life,
    metrics::Metrics,
    pubsub::{Received, Topic, TopicCommand, TopicEvent, Verdict, signed::SignedMessage},
    record::unix_nanos,
    scope::Scope,
    who::Who,
};
use libp2p::{Multiaddr, PeerId};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// A clock that runs as fast as virtual time, and can be set.
#[derive(Clone)]
pub(super) struct Time {
    start: Instant,
    unix: u64,
    ahead_s: Arc<AtomicI64>,
}

impl Time {
    pub(super) fn ahead(secs: i64) -> Self {
        Self { start: Instant::now(), unix: unix_nanos(), ahead_s: Arc::new(secs.into()) }
    }

    /// Another clock of the same world.
    pub(super) fn other(&self, ahead_s: i64) -> Self {
        Self { ahead_s: Arc::new(ahead_s.into()), ..self.clone() }
    }

    /// So much ahead of the right one.
    pub(super) fn set(&self, ahead_s: i64) {
        self.ahead_s.store(ahead_s, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_nanos()).unwrap();
        let ahead = self.ahead_s.load(Ordering::Relaxed) * 1_000_000_000;
        self.unix.wrapping_add(elapsed).wrapping_add_signed(ahead)
    }
}

/// A service, and the host's end of its topic.
pub(super) struct Fixture {
    pub(super) own: PeerId,
    pub(super) cluster: Cluster,
    pub(super) scope: Scope,
    pub(super) metrics: Metrics,
    pub(super) events: Events,
    to: mpsc::Sender<TopicEvent>,
    pub(super) commands: mpsc::Receiver<TopicCommand>,
    pub(super) last_seq: u64,
    subscribed: bool,
    /// What the machine is called.
    machine: Arc<Mutex<String>>,
    /// What is to be kept.
    pub(super) kept: watch::Receiver<u64>,
    pub(super) life: Life,
    /// Tells that the clock has jumped.
    pub(super) jumps: watch::Sender<()>,
    /// Whom it takes.
    pub(super) who: Who,
    /// Where the node is reached.
    pub(super) addrs: watch::Sender<Arc<[Multiaddr]>>,
    /// What is proven of whom.
    pub(super) roles: Arc<Mutex<BTreeMap<PeerId, Roles>>>,
}

/// Nothing is handed on by one that leaves.
fn over() -> CancellationToken {
    let over = CancellationToken::new();
    over.cancel();
    over
}

impl Fixture {
    pub(super) fn start(observer: bool, subscribed: bool) -> Self {
        Self::start_as(PeerId::random(), (observer, subscribed), Time::ahead(0), 0)
    }

    /// One with this id and clock, and with what an earlier run has kept.
    pub(super) fn start_as(
        own: PeerId,
        (observer, subscribed): (bool, bool),
        time: Time,
        kept: u64,
    ) -> Self {
        let look = Some(Duration::from_secs(1));
        Self::start_looking(look, own, (observer, subscribed), time, kept)
    }

    /// The same, which looks at the clocks so often.
    pub(super) fn start_looking(
        look: Option<Duration>,
        own: PeerId,
        is: (bool, bool),
        time: Time,
        kept: u64,
    ) -> Self {
        Self::start_taking(Who::default(), look, own, is, time, kept)
    }

    /// The same, which takes these.
    pub(super) fn start_taking(
        who: Who,
        look: Option<Duration>,
        own: PeerId,
        (observer, subscribed): (bool, bool),
        time: Time,
        kept: u64,
    ) -> Self {
        let change = |config: &mut ClusterConfig| (config.who, config.look) = (who, look);
        Self::start_changed(change, own, (observer, subscribed), time, kept)
    }

    /// The same, configured otherwise.
    pub(super) fn start_changed(
        change: impl FnOnce(&mut ClusterConfig),
        own: PeerId,
        (observer, subscribed): (bool, bool),
        time: Time,
        kept: u64,
    ) -> Self {
        let (metrics, scope, bus) = (Metrics::default(), Scope::default(), EventBus::default());
        let (keep, keeps) = watch::channel(0);
        let addrs = watch::Sender::new(Arc::from([]));
        let jumps = watch::Sender::new(());
        let (commands, from) = mpsc::channel(16);
        let (to, received) = mpsc::channel(64);
        let machine = Arc::new(Mutex::new("here".to_owned()));
        let (name, life) = (machine.clone(), Life::default());
        let roles = Arc::<Mutex<BTreeMap<PeerId, Roles>>>::default();
        let proven = roles.clone();
        let mut config = ClusterConfig {
            namespace: Namespace::default(),
            own,
            who: Who::default(),
            host: "here".into(),
            meta: BTreeMap::from([("role".into(), "worker".into())]),
            ttl: Duration::from_secs(10),
            budget: Some(Pace::BUDGET),
            observer,
            addrs: addrs.subscribe(),
            limits: Limits::default(),
            sign: Arc::new(move |seq, data| Ok(message(own, seq, data))),
            numbers: Numbers::after(kept),
            keep,
            clock: Arc::new(move || time.now()),
            over: over(),
            life: life.clone(),
            look: Some(Duration::from_secs(1)),
            jumps: jumps.subscribe(),
            machine: Arc::new(move || name.lock().unwrap().clone()),
            roles: Arc::new(move |peer| {
                proven.lock().unwrap().get(peer).cloned().unwrap_or_default()
            }),
        };
        change(&mut config);
        let who = config.who.clone();
        let events = bus.subscribe();
        let topic = Topic::new(commands, received);
        let cluster = Cluster::start(config, topic, bus, metrics.clone(), &scope).unwrap();
        let (commands, kept, last_seq) = (from, keeps, 0);
        Self {
            own,
            cluster,
            scope,
            metrics,
            events,
            to,
            commands,
            last_seq,
            subscribed,
            machine,
            kept,
            life,
            jumps,
            who,
            addrs,
            roles,
        }
    }

    /// What the service next publishes, and whether anybody heard it.
    pub(super) async fn published(&mut self) -> Heartbeat {
        match self.commands.recv().await.unwrap() {
            TopicCommand::Publish { message, reply } => {
                let answer = if self.subscribed {
                    self.last_seq = message.seq();
                    Ok(())
                } else {
                    Err(Error::new(ErrorKind::Unreachable, "nobody is subscribed"))
                };
                reply.send(answer).unwrap();
                Heartbeat::decode(message.data()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn receive(&mut self, source: PeerId, seq: u64, data: Vec<u8>) -> Verdict {
        self.receive_from(source, source, seq, data).await
    }

    async fn receive_from(
        &mut self,
        from: PeerId,
        source: PeerId,
        seq: u64,
        data: Vec<u8>,
    ) -> Verdict {
        let message = message(source, seq, &data);
        let id = message.id().clone();
        let received = Received { message, from };
        self.to.send(TopicEvent::Received(received)).await.unwrap();
        loop {
            match self.commands.recv().await.unwrap() {
                TopicCommand::Report { ticket, verdict } => {
                    assert_eq!((ticket.id, ticket.from), (id, from));
                    return verdict;
                }
                TopicCommand::Publish { message, reply } => {
                    self.last_seq = message.seq();
                    let _ = reply.send(Ok(()));
                }
                TopicCommand::Tell { .. } => {}
            }
        }
    }

    pub(super) fn count(&self, label: &'static str) -> u64 {
        self.metrics.heartbeats.get_or_create(&[("verdict", label)]).get()
    }
}

/// A message with a signature that nobody looks at here.
fn message(source: PeerId, seq: u64, data: &[u8]) -> SignedMessage {
    let (source, seq) = (source.to_bytes(), seq.to_be_bytes());
    SignedMessage::new(&source, data, &seq, "casm", b"signature", None).unwrap()
}

pub(super) fn beat(ttl: u64, host: &str) -> Heartbeat {
    let ttl = Some(Duration::from_secs(ttl));
    Heartbeat {
        server: 1,
        ttl,
        host: host.into(),
        meta: vec!["k=v".into()],
        sent_at: None,
        addrs: Default::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_own_record_is_there_at_once_and_signed_when_it_is_out() {
    let mut f = Fixture::start(false, true);
    let own = f.cluster.view().get(&f.own).unwrap();
    assert_eq!((own.seq(), own.host(), own.meta().get("role")), (0, "here", Some("worker")));
    assert_eq!(own.server(), server_of(&f.own));
    let sent = f.published().await;
    assert_eq!((sent.host.as_str(), sent.ttl), ("here", Some(Duration::from_secs(10))));
    // The answer to a command comes after the view was renewed.
    f.cluster.insert_verified(f.own, vec![]).await.unwrap();
    let view = f.cluster.view();
    let signed = view.signed_of(&f.own).unwrap();
    assert_eq!(signed.seq, f.last_seq);
    assert_eq!(signed.message, message(f.own, f.last_seq, &sent.encode()).encoded());
    assert_eq!(view.signed().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn three_heartbeats_are_sent_in_a_ttl() {
    let mut f = Fixture::start(false, true);
    f.published().await;
    for _ in 0..50 {
        let start = Instant::now();
        f.published().await;
        let pause = start.elapsed();
        assert!(pause >= Duration::from_millis(2660) && pause <= Duration::from_millis(3335));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_called_as_its_machine_follows_it_until_it_is_given_a_name() {
    let mut f = Fixture::start(false, true);
    assert_eq!(f.published().await.host, "here");
    for (name, host) in [("there", "there"), (&"x".repeat(300), "there"), ("here", "here")] {
        *f.machine.lock().unwrap() = name.into();
        assert_eq!(f.published().await.host, host);
        f.cluster.insert_verified(f.own, vec![]).await.unwrap();
        assert_eq!(f.cluster.view().get(&f.own).unwrap().host(), host);
    }
    let cluster = f.cluster.clone();
    let (set, sent) = tokio::join!(cluster.set_host("given".into()), f.published());
    set.unwrap();
    assert_eq!(sent.host, "given");
    *f.machine.lock().unwrap() = "there".into();
    assert_eq!(f.published().await.host, "given");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_subscribes_is_told_alone_and_not_again_and_again() {
    let mut f = Fixture::start(false, false);
    let said = f.published().await;
    let (start, peers) = (Instant::now(), [PeerId::random(), PeerId::random()]);
    let mut told = Vec::new();
    for peer in [peers[0], peers[1], peers[0], peers[0], peers[0], peers[0]] {
        f.to.send(TopicEvent::Subscribed { peer }).await.unwrap();
    }
    f.subscribed = true;
    loop {
        match f.commands.recv().await.unwrap() {
            TopicCommand::Tell { peer, message } => {
                assert_eq!((start.elapsed(), message.data()), (Duration::ZERO, &said.encode()[..]));
                told.push(peer);
            }
            TopicCommand::Publish { reply, .. } => break reply.send(Ok(())).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [peers[0], peers[1], peers[0], peers[0]]);
    assert!(start.elapsed() > Duration::from_secs(2), "the next one is a regular one");
}

#[tokio::test(start_paused = true)]
async fn a_peer_joins_is_updated_leaves_and_cannot_be_resurrected() {
    let mut f = Fixture::start(false, true);
    f.published().await;
    let (peer, seq) = (PeerId::random(), unix_nanos());
    let mut live = f.cluster.subscribe(Query::matching(Index::host("there")));

    let hello = beat(10, "there").encode();
    assert_eq!(f.receive(peer, seq, hello.clone()).await, Verdict::Accept);
    let Event::PeerJoined { record } = f.events.next().await.unwrap() else { panic!() };
    assert_eq!((record.peer(), record.host()), (peer, "there"));
    assert_eq!(f.cluster.wait_for(Query::all(), 2).await.unwrap().get(&peer), Some(record.clone()));
    assert_eq!(live.next().await.unwrap(), Change::Joined(record.clone()));

    assert_eq!(f.receive(peer, seq, hello.clone()).await, Verdict::Ignore);
    assert_eq!(f.receive(peer, seq + 1, beat(10, "elsewhere").encode()).await, Verdict::Accept);
    assert!(
        matches!(f.events.next().await.unwrap(), Event::PeerUpdated { record } if record.host() == "elsewhere")
    );
    assert_eq!(live.next().await.unwrap(), Change::Left(record));

    let goodbye = Heartbeat { ttl: None, ..beat(10, "") }.encode();
    assert_eq!(f.receive(peer, seq + 2, goodbye).await, Verdict::Accept);
    let left = Event::PeerLeft { peer, reason: LeaveReason::Left };
    assert_eq!(f.events.next().await.unwrap(), left);
    assert_eq!(f.receive(peer, seq + 1, hello).await, Verdict::Ignore);
    assert_eq!((f.count("accepted"), f.count("stale"), f.count("replayed")), (3, 1, 1));
    assert_eq!(f.cluster.view().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_expires_a_quarter_after_its_ttl() {
    let mut f = Fixture::start(true, true);
    let peer = PeerId::random();
    f.receive(peer, unix_nanos(), beat(8, "there").encode()).await;
    let start = Instant::now();
    assert!(matches!(f.events.next().await.unwrap(), Event::PeerJoined { .. }));
    let left = Event::PeerLeft { peer, reason: LeaveReason::Expired };
    assert_eq!(f.events.next().await.unwrap(), left);
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_secs(10) && elapsed < Duration::from_millis(10_010));
    assert!(f.cluster.view().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_held_up_gives_the_others_time() {
    let mut f = Fixture::start(true, true);
    let (here, gone) = (PeerId::random(), PeerId::random());
    for peer in [here, gone] {
        f.receive(peer, unix_nanos(), beat(8, "there").encode()).await;
        assert!(matches!(f.events.next().await.unwrap(), Event::PeerJoined { .. }));
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(f.cluster.view().len(), 2);
    let start = Instant::now();
    f.receive(here, unix_nanos(), beat(8, "there").encode()).await;
    let left = Event::PeerLeft { peer: gone, reason: LeaveReason::Expired };
    assert_eq!(f.events.next().await.unwrap(), left);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert!(f.cluster.view().get(&here).is_some());
}

#[tokio::test(start_paused = true)]
async fn every_message_gets_a_verdict_and_is_counted() {
    let mut f = Fixture::start(true, true);
    let (peer, now) = (PeerId::random(), unix_nanos());
    assert_eq!(f.receive(peer, now, b"\xff".to_vec()).await, Verdict::Reject);
    let long = beat(10, &"h".repeat(300)).encode();
    assert_eq!(f.receive(peer, now, long).await, Verdict::Ignore);
    let ahead = now + 11 * 60 * 1_000_000_000;
    assert_eq!(f.receive(peer, ahead, beat(10, "h").encode()).await, Verdict::Ignore);
    assert_eq!((f.count("malformed"), f.count("host-too-long"), f.count("future")), (1, 1, 1));
    assert!(f.cluster.view().is_empty());
}

#[tokio::test(start_paused = true)]
async fn large_rubbish_costs_small_heartbeats_nothing() {
    let mut f = Fixture::start(true, true);
    let [go, flooders @ ..] = [0; 5].map(|_| PeerId::random());
    let rubbish = vec![0xff; Heartbeat::MAX_OURS + 1];
    let meta = vec![format!("{}=", "k".repeat(63)); Heartbeat::MAX_META];
    let beat = Heartbeat { meta, ..beat(10, "go") }.encode();
    for second in 0..10 {
        for from in flooders.iter().cycle().take(4 * 250) {
            f.receive_from(*from, PeerId::random(), unix_nanos(), rubbish.clone()).await;
        }
        assert_eq!(f.receive(go, unix_nanos(), beat.clone()).await, Verdict::Accept, "{second}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(f.count("over-bytes") > 0 && f.count("malformed") > 0);
    assert_eq!(f.count("accepted"), 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_large_and_old_is_not_decoded() {
    let mut f = Fixture::start(true, true);
    let (peer, now) = (PeerId::random(), unix_nanos());
    assert_eq!(f.receive(peer, now, beat(10, "h").encode()).await, Verdict::Accept);
    let mut rubbish = vec![0xff; Heartbeat::MAX_OURS + 1];
    // As often as it comes, and it costs its source nothing.
    for n in 1..=100 {
        assert_eq!(f.receive(peer, now - n, rubbish.clone()).await, Verdict::Ignore);
    }
    assert_eq!((f.count("stale"), f.count("malformed")), (100, 0));
    rubbish.pop();
    assert_eq!(f.receive(peer, now - 1, rubbish).await, Verdict::Reject);
    assert_eq!(f.receive(peer, now + 1, beat(10, "h").encode()).await, Verdict::Accept);
}

#[tokio::test(start_paused = true)]
async fn what_was_captured_long_ago_brings_no_peer_back() {
    let mut f = Fixture::start(true, true);
    let (peer, relay, now) = (PeerId::random(), PeerId::random(), unix_nanos());
    let said_before = |secs| {
        let sent_at = Some(Duration::from_nanos(now) - Duration::from_secs(secs));
        Heartbeat { sent_at, ..beat(8, "there") }.encode()
    };
    // With 10 s of patience, and ten minutes by which clocks may differ.
    let (old, recent) = (said_before(620), said_before(600));
    assert_eq!(f.receive_from(relay, peer, now, old.clone()).await, Verdict::Ignore);
    let (signed, age) = (b"signed".to_vec(), Duration::ZERO);
    let handed = Handed { source: peer, seq: now, data: old.clone(), signed, age };
    let outcomes = f.cluster.insert_verified(relay, vec![handed.clone()]).await.unwrap();
    assert_eq!((outcomes, f.count("ghost")), (vec![Ok(Outcome::Ghost)], 2));
    assert!(f.cluster.view().is_empty());
    // Who says it itself is there, whatever its clock shows.
    let outcomes = f.cluster.insert_verified(peer, vec![handed]).await.unwrap();
    assert_eq!(outcomes, [Ok(Outcome::Joined)]);
    let other = PeerId::random();
    assert_eq!(f.receive(other, now, old.clone()).await, Verdict::Accept);
    // Of a peer that is known, numbers alone decide.
    assert_eq!(f.receive_from(relay, other, now + 1, old).await, Verdict::Accept);
    assert_eq!(f.receive_from(relay, PeerId::random(), now, recent).await, Verdict::Accept);
    let silent = beat(8, "there").encode();
    assert_eq!(f.receive_from(relay, PeerId::random(), now, silent).await, Verdict::Accept);
}

#[tokio::test(start_paused = true)]
async fn what_an_exchange_brought_is_relayed_once_when_gossip_brings_it() {
    let mut f = Fixture::start(true, true);
    let (peer, seq, data) = (PeerId::random(), unix_nanos(), beat(10, "h").encode());
    let handed = |seq, age| Handed {
        source: peer,
        seq,
        data: data.clone(),
        signed: b"signed".to_vec(),
        age: Duration::from_secs(age),
    };
    let bad = Handed { data: vec![0xff], ..handed(seq, 0) };
    let all = vec![handed(seq, 13), bad, handed(seq, 4)];
    let outcomes = f.cluster.insert_verified(PeerId::random(), all).await;
    let expected = [Ok(Outcome::Late), Err(HeartbeatError::Malformed), Ok(Outcome::Joined)];
    assert_eq!(outcomes.unwrap(), expected);
    assert_eq!(f.cluster.view().signed_of(&peer).unwrap().message, b"signed");
    assert_eq!(f.receive(peer, seq, data.clone()).await, Verdict::Accept);
    assert_eq!(f.receive(peer, seq, data.clone()).await, Verdict::Ignore);
    // 12.5 s of patience, of which 4 were over.
    let start = Instant::now();
    f.events.next().await.unwrap();
    assert!(matches!(f.events.next().await.unwrap(), Event::PeerLeft { .. }));
    assert_eq!(start.elapsed().as_millis() / 10, 850);
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_own_record_go_out_at_once() {
    let mut f = Fixture::start(false, true);
    f.published().await;
    let cluster = f.cluster.clone();
    let change = tokio::spawn(async move {
        cluster.set_meta(BTreeMap::from([("role".into(), "idle".into())])).await?;
        cluster.set_host("new".into()).await?;
        cluster.set_ttl(Duration::from_secs(20)).await
    });
    let start = Instant::now();
    assert_eq!(f.published().await.meta, ["role=idle"]);
    assert_eq!(f.published().await.host, "new");
    assert_eq!(f.published().await.ttl, Some(Duration::from_secs(20)));
    change.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let own = f.cluster.view().get(&f.own).unwrap();
    assert_eq!((own.host(), own.meta().get("role"), own.seq()), ("new", Some("idle"), f.last_seq));
    let error = f.cluster.set_host("h".repeat(256)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn what_is_offered_within_50_ms_goes_out_together_and_is_in_the_own_view_at_once() {
    let mut f = Fixture::start(false, true);
    f.published().await;
    let start = Instant::now();
    let offer = |name: &str| f.cluster.offer("service", SERVICE, name, "1").unwrap();
    let first = offer("a");
    tokio::time::sleep(Duration::from_millis(40)).await;
    let own = f.cluster.view().get(&f.own).unwrap();
    assert_eq!(own.services().collect::<Vec<_>>(), [("a", "1")]);
    let _more: Vec<_> = ["b", "c"].map(offer).into();
    drop(first);
    let sent = f.published().await;
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    assert_eq!(sent.meta, ["role=worker", "svc.b=1", "svc.c=1"]);
    // Then nothing more until it is time.
    f.published().await;
    assert!(start.elapsed() > Duration::from_secs(2));
    // A change of the user's takes what is offered along.
    let cluster = f.cluster.clone();
    let _last = f.cluster.offer("channel", CHANNEL, "jobs", "1").unwrap();
    let meta = BTreeMap::from([("role".into(), "idle".into())]);
    let (set, sent) = tokio::join!(cluster.set_meta(meta), f.published());
    set.unwrap();
    assert_eq!(sent.meta, ["role=idle", "chan.jobs=1", "svc.b=1", "svc.c=1"]);
    let own = f.cluster.view().get(&f.own).unwrap();
    assert_eq!((own.meta().len(), own.channels().next()), (1, Some("jobs")));
    let found = f.cluster.view().lookup(&Query::service("c")).unwrap();
    assert_eq!(found.peer(), f.own);
}

#[tokio::test(start_paused = true)]
async fn closing_says_goodbye_and_ends_what_waits() {
    let mut f = Fixture::start(false, true);
    f.published().await;
    let mut live = f.cluster.subscribe(Query::all());
    assert!(matches!(live.next().await.unwrap(), Change::Current(_)));
    let (cluster, scope) = (f.cluster.clone(), f.scope.clone());
    let waiting = tokio::spawn(async move { cluster.wait_for(Query::all(), 2).await.map(|_| ()) });
    let closing = tokio::spawn(async move { scope.close(Duration::from_secs(5)).await });
    assert_eq!(f.published().await.ttl, None);
    assert!(closing.await.unwrap());
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(live.next().await, None);
    let error = f.cluster.set_host("x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_observer_says_nothing() {
    let mut f = Fixture::start(true, true);
    f.to.send(TopicEvent::Subscribed { peer: PeerId::random() }).await.unwrap();
    f.cluster.set_host("still".into()).await.unwrap();
    assert!(timeout(Duration::from_secs(60), f.commands.recv()).await.is_err());
    assert!(f.cluster.view().is_empty());
    assert!(f.scope.close(Duration::from_secs(1)).await);
    assert!(f.commands.recv().await.is_none());
}
