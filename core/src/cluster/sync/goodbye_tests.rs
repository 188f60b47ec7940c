//! Goodbyes: compared, pushed, and kept for their time.

use super::{
    Spacing,
    exchange::{Done, Purpose},
    hostile_tests::ask_for_all,
    tests::{Member, beat, config, exchange, keys, learn, member, seqs},
    wire::{self, Frame, Header},
};
use crate::{
    Event, Keypair, LeaveReason, Namespace, PeerId,
    cluster::{Cluster, ClusterConfig, Handed, Heartbeat, Outcome, Query, View},
    event::EventBus,
    host::Host,
    metrics::Metrics,
    pubsub::{Topic, TopicCommand, TopicEvent, signed::SignedMessage},
    record::unix_nanos,
    scope::Scope,
};
use futures::{StreamExt as _, future::join_all};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::compat::TokioAsyncReadCompatExt;

/// The signed goodbye of a key's peer.
fn goodbye(key: &Keypair, seq: u64) -> Vec<u8> {
    let beat = Heartbeat { ttl: None, ..beat("there") };
    SignedMessage::sign(key, "casm", seq, &beat.encode()).unwrap().encoded().to_vec()
}

async fn hear_goodbye(member: &Member, from: PeerId, key: &Keypair, seq: u64) -> Outcome {
    let signed = goodbye(key, seq);
    let data = SignedMessage::decode(&signed).unwrap().data().to_vec();
    let source = key.public().to_peer_id();
    let handed = Handed { source, seq, data, signed, age: Duration::ZERO };
    let outcomes = member.exchange.cluster.insert_verified(from, vec![handed]).await.unwrap();
    outcomes[0].unwrap()
}

#[tokio::test]
async fn who_compares_learns_of_goodbyes_and_brings_back_no_dead() {
    let (key, now) = (&keys(1)[0], unix_nanos());
    for opens in [true, false] {
        let (a, b, newcomer) = (member(), member(), member());
        for of in [&a, &b] {
            learn(&of.exchange.cluster, std::slice::from_ref(key), now).await;
        }
        assert_eq!(hear_goodbye(&b, PeerId::random(), key, now + 1).await, Outcome::Left);
        let (from, to) = if opens { (&a, &b) } else { (&b, &a) };
        let (opened, accepted) = exchange(from, to).await;
        assert_eq!((opened.with(accepted).received, seqs(&a).len(), seqs(&b).len()), (1, 0, 0));
        assert_eq!(exchange(&a, &b).await, (Done::default(), Done::default()));
        // Who didn't know the peer hears of it once, keeps it from nobody, and
        // takes no older heartbeat of it.
        let (opened, accepted) = exchange(&newcomer, &a).await;
        assert_eq!(opened.with(accepted).sent, 1);
        for other in [&a, &b] {
            assert_eq!(exchange(&newcomer, other).await, (Done::default(), Done::default()));
            assert_eq!(exchange(other, &newcomer).await, (Done::default(), Done::default()));
        }
        let late = member();
        learn(&late.exchange.cluster, std::slice::from_ref(key), now).await;
        let (_, accepted) = exchange(&late, &newcomer).await;
        assert_eq!((accepted.joined, seqs(&newcomer).len()), (0, 0));
        exchange(&late, &a).await;
        assert_eq!(seqs(&late).len(), 0);
        // A restart is believed.
        learn(&a.exchange.cluster, std::slice::from_ref(key), now + 2).await;
        exchange(&a, &newcomer).await;
        assert_eq!(seqs(&newcomer).len(), 1);
    }
}

#[tokio::test]
async fn a_goodbye_that_is_pushed_is_taken_before_it_is_acknowledged() {
    let (key, now) = (&keys(1)[0], unix_nanos());
    let (a, b) = (member(), member());
    for of in [&a, &b] {
        learn(&of.exchange.cluster, std::slice::from_ref(key), now).await;
    }
    hear_goodbye(&a, PeerId::random(), key, now + 1).await;
    let (x, y) = tokio::io::duplex(64);
    let view = a.exchange.cluster.view();
    let peers = vec![key.public().to_peer_id()];
    let accept = b.exchange.accept(a.id, y.compat(), |purpose| {
        assert_eq!(purpose, Purpose::Push);
        std::future::ready(Ok(()))
    });
    let push = async {
        let done = a.exchange.push(b.id, x.compat(), &view, peers).await.unwrap();
        (done.sent, seqs(&b).len())
    };
    let (pushed, accepted) = tokio::join!(push, accept);
    assert_eq!((pushed, accepted.unwrap().received), ((1, 0), 1));
    let (_, goodbye) = b
        .exchange
        .cluster
        .view()
        .goodbyes()
        .after(0)
        .next()
        .map(|(turn, goodbye)| (turn, goodbye.clone()))
        .unwrap();
    assert_eq!(goodbye.from, a.id);
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_kept_for_as_long_as_somebody_may_have_the_record() {
    let (key, now) = (&keys(1)[0], unix_nanos());
    let (a, stranger) = (member(), PeerId::random());
    let kept = || a.exchange.cluster.view().goodbyes().after(0).count();
    let elapse = async |secs: u64| {
        tokio::time::sleep(Duration::from_secs(secs)).await;
        a.exchange.cluster.insert_verified(stranger, vec![]).await.unwrap();
    };
    // Of a peer that was known: 1.25 times its TTL of a minute.
    learn(&a.exchange.cluster, std::slice::from_ref(key), now).await;
    hear_goodbye(&a, stranger, key, now + 1).await;
    elapse(74).await;
    assert_eq!(kept(), 1);
    elapse(2).await;
    assert_eq!(kept(), 0);
    // Of a stranger, only if it says so itself.
    let key = &keys(1)[0];
    assert_eq!(hear_goodbye(&a, stranger, key, now + 1).await, Outcome::Left);
    assert_eq!(kept(), 0);
    assert_eq!(hear_goodbye(&a, key.public().to_peer_id(), key, now + 2).await, Outcome::Left);
    assert_eq!(kept(), 1);
    elapse(31).await;
    assert_eq!(kept(), 0);
}

/// A host with a cluster on a topic that nobody hears, and anti-entropy.
struct Quiet {
    host: Host,
    cluster: Cluster,
    events: EventBus,
    metrics: Metrics,
    scope: Scope,
    _topic: mpsc::Sender<TopicEvent>,
}

impl Quiet {
    async fn start() -> Self {
        Self::start_with(Some(super::PAUSE)).await
    }

    /// One that makes exchanges by chance at these pauses, or none.
    async fn start_with(pause: Option<Duration>) -> Self {
        let (scope, metrics, events) = (Scope::default(), Metrics::default(), EventBus::default());
        let listen = ["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let (key, limits) = (Keypair::generate_ed25519(), crate::config::Limits::default());
        let host = Host::start(key.clone(), &listen, &limits, &metrics, events.clone(), &scope, 0);
        let host = host.await.unwrap();
        let (commands, mut asked) = mpsc::channel(16);
        let (to, received) = mpsc::channel(16);
        // What is published is taken, and lost.
        scope.spawn(async move {
            while let Some(command) = asked.recv().await {
                if let TopicCommand::Publish { reply, .. } = command {
                    let _ = reply.send(Ok(()));
                }
            }
        });
        let sign = move |seq, data: &[u8]| SignedMessage::sign(&key, "casm", seq, data);
        let config = config(host.id(), host.leaving().over());
        let config = ClusterConfig { observer: false, sign: Arc::new(sign), ..config };
        let topic = Topic::new(commands, received);
        let cluster =
            Cluster::start(config, topic, events.clone(), metrics.clone(), &scope).unwrap();
        let namespace = Namespace::default();
        super::start(
            host.clone(),
            cluster.clone(),
            &namespace,
            events.clone(),
            &metrics,
            &scope,
            pause.map(|longest| Spacing { longest, growth: 2 }),
        )
        .unwrap();
        Self { host, cluster, events, metrics, scope, _topic: to }
    }

    async fn connect(&self, other: &Self) {
        let info = other.host.record().borrow().info().clone();
        self.host.connect(&info).await.unwrap();
    }

    /// Its own heartbeat, as others are handed it.
    async fn beat(&self) -> Handed {
        let signed = loop {
            match self.cluster.view().signed_bytes_of(&self.host.id()) {
                signed if signed.is_empty() => tokio::time::sleep(Duration::from_millis(1)).await,
                signed => break signed.to_vec(),
            }
        };
        let (message, age) = (SignedMessage::decode(&signed).unwrap(), Duration::ZERO);
        let (source, seq, data) = (message.source(), message.seq(), message.data().to_vec());
        Handed { source, seq, data, signed, age }
    }

    fn told(&self) -> bool {
        self.metrics.encode().contains("casm_sync_exchanges_total{outcome=\"told\"}")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_is_pushed_from_hop_to_hop_without_gossip() {
    let (mut line, limit) = (Vec::new(), Duration::from_secs(30));
    for _ in 0..4 {
        let next = Quiet::start().await;
        if let Some(last) = line.last() {
            next.connect(last).await;
        }
        line.push(next);
    }
    for node in &line {
        tokio::time::timeout(limit, node.cluster.wait_for(Query::all(), 4)).await.unwrap().unwrap();
    }
    let leaver = line.remove(0);
    let mut events: Vec<_> = line.iter().map(|node| node.events.subscribe()).collect();
    assert!(leaver.scope.close(Duration::from_secs(5)).await);
    assert!(leaver.told());
    for (hop, events) in events.iter_mut().enumerate() {
        let left = async {
            loop {
                match events.next().await.unwrap() {
                    Event::PeerLeft { peer, reason } => break (peer, reason),
                    _ => continue,
                }
            }
        };
        let left = tokio::time::timeout(limit, left).await.unwrap();
        assert_eq!(left, (leaver.host.id(), LeaveReason::Left), "hop {hop}");
    }
    // Each told the next one, and nobody the one that it came from: the last has
    // nobody to tell.
    let all_told = async {
        while !(line[0].told() && line[1].told()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(limit, all_told).await.unwrap();
    assert!(!line[2].told());
    for node in &line {
        assert!(node.scope.close(Duration::from_secs(5)).await);
    }
}

/// Which of these nodes are connected, by their places: each with three earlier ones.
fn some_graph(n: usize, rng: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let links = (1..n).flat_map(|i| (0..3).map(move |_| i));
    links.map(|i| (i, rng.random_range(0..i))).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether these are one part without the others, and each other has one of them
/// beside it.
fn holds_together(links: &[(usize, usize)], stay: &[usize], n: usize) -> bool {
    let beside = |i: usize| {
        let ends = links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        ends.filter(move |(a, b)| *a == i && stay.contains(b)).map(|(_, b)| b)
    };
    let (mut seen, mut next) = (BTreeSet::from([stay[0]]), vec![stay[0]]);
    while let Some(i) = next.pop() {
        next.extend(beside(i).filter(|j| seen.insert(*j)));
    }
    seen.len() == stay.len() && (0..n).all(|i| beside(i).next().is_some())
}

/// In a rollout of half of the nodes, each that stays hears every goodbye by pushes
/// alone, over few nodes. None of them waits before it hands one on, so that the way
/// takes as many round trips.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_rollout_every_goodbye_is_heard_over_few_hops() {
    const N: usize = 20;
    const HOPS: usize = 8;
    let (rng, limit) = (&mut ChaCha8Rng::seed_from_u64(1), Duration::from_secs(30));
    let links = some_graph(N, rng);
    let mut places: Vec<usize> = (0..N).collect();
    while !holds_together(&links, &places[N / 2..], N) {
        places.shuffle(rng);
    }
    let (leave, stay) = places.split_at(N / 2);

    let mut nodes = Vec::new();
    for _ in 0..N {
        nodes.push(Quiet::start_with(None).await);
    }
    for (from, to) in &links {
        nodes[*from].connect(&nodes[*to]).await;
    }
    // No gossip, and no exchange by chance, tells of those that are not beside.
    for node in &nodes {
        let others = nodes.iter().filter(|other| other.host.id() != node.host.id());
        for other in others {
            let beat = vec![other.beat().await];
            node.cluster.insert_verified(PeerId::random(), beat).await.unwrap();
        }
        assert_eq!(node.cluster.view().len(), N);
    }

    let gone: BTreeSet<PeerId> = leave.iter().map(|i| nodes[*i].host.id()).collect();
    let waits = stay.iter().map(|i| {
        let (mut events, mut missing) = (nodes[*i].events.subscribe(), gone.clone());
        async move {
            while !missing.is_empty() {
                if let Event::PeerLeft { peer, reason } = events.next().await.unwrap() {
                    assert_eq!(reason, LeaveReason::Left);
                    missing.remove(&peer);
                }
            }
        }
    });
    let heard = tokio::time::timeout(limit, join_all(waits.collect::<Vec<_>>()));
    let closing = join_all(leave.iter().map(|i| nodes[*i].scope.close(Duration::from_secs(5))));
    let (heard, closed) = tokio::join!(heard, closing);
    heard.expect("each goodbye is heard");
    assert!(closed.into_iter().all(|closed| closed));

    let from: HashMap<PeerId, View> =
        nodes.iter().map(|node| (node.host.id(), node.cluster.view())).collect();
    let mut most = 0;
    for (i, leaver) in stay.iter().flat_map(|i| gone.iter().map(move |leaver| (*i, *leaver))) {
        let (mut at, mut hops) = (nodes[i].host.id(), 0);
        while at != leaver {
            at = from[&at].goodbyes().of(&leaver).expect("it was handed on").from;
            hops += 1;
            assert!(hops <= HOPS, "more than {HOPS} hops from {leaver} to node {i}");
        }
        most = most.max(hops);
    }
    println!("{most} hops at most");
    for i in stay {
        assert!(nodes[*i].scope.close(Duration::from_secs(5)).await);
    }
}

/// Refuses the first push, and takes the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_could_not_be_told_is_told_again() {
    let leaver = Quiet::start().await;
    let (scope, metrics, events) = (Scope::default(), Metrics::default(), EventBus::default());
    let listen = ["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let (key, limits) = (Keypair::generate_ed25519(), crate::config::Limits::default());
    let other = Host::start(key, &listen, &limits, &metrics, events, &scope, 0).await.unwrap();
    let mut incoming = other.accept(Namespace::default().own_protocol("sync/2")).unwrap();
    let pushed = tokio::spawn(async move {
        let mut pushes = 0;
        while let Some((_, mut stream)) = incoming.next().await {
            let Ok(Frame::Header(_)) = wire::read(&mut stream).await else { continue };
            let Ok(Frame::Handed(..)) = wire::read(&mut stream).await else { continue };
            pushes += 1;
            if pushes == 1 {
                continue;
            }
            let taken = [Frame::Header(Header::default()), Frame::End { more: false }];
            wire::write(&mut stream, &taken).await.unwrap();
            // Until it has been read, or the leaver is gone.
            let _ = futures::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await;
            break;
        }
        pushes
    });
    other.connect(&leaver.host.record().borrow().info().clone()).await.unwrap();
    // Who compares is known to the leaver.
    assert!(ask_for_all(&other, leaver.host.id()).await.is_some());
    assert!(leaver.scope.close(Duration::from_secs(5)).await);
    assert!(leaver.told());
    assert_eq!(pushed.await.unwrap(), 2);
    assert!(scope.close(Duration::from_secs(5)).await);
}
