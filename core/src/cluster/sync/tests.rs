//! Digests beside a naive comparison; exchanges over pipes and sockets; partners
//! that mean harm.

use super::{
    digest::{Digest, MAX_ENTRIES},
    exchange::{Done, Exchange, MAX_HANDED},
    wire::{self, Frame, Header, SyncError},
};
use crate::{
    Keypair, Namespace, PeerId,
    cluster::{
        Arrival, Cluster, ClusterConfig, Detector, Heartbeat, Limits, Now, Numbers, Query, Roles,
        Table, Via, View,
    },
    event::EventBus,
    host::Host,
    life::Life,
    metrics::Metrics,
    pubsub::{Topic, keys::Keys, signed::SignedMessage},
    record::unix_nanos,
    scope::Scope,
    who::Who,
};
use futures::FutureExt as _;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::{compat::TokioAsyncReadCompatExt, sync::CancellationToken};

pub(super) fn beat(host: &str) -> Heartbeat {
    Heartbeat {
        server: 1,
        ttl: Some(Duration::from_secs(60)),
        host: host.into(),
        meta: vec!["role=worker".into()],
        sent_at: None,
        addrs: Default::default(),
    }
}

/// A view of peers with ids and sequence numbers, unsigned.
pub(super) fn view(peers: &[(PeerId, u64)]) -> View {
    let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), 1);
    let now = Now { elapsed: Duration::ZERO, unix_nanos: u64::MAX / 2 };
    for &(peer, seq) in peers {
        let arrival = Arrival {
            peer,
            seq,
            from: peer,
            beat: &beat("h"),
            signed: b"x",
            via: Via::Gossip,
            roles: Roles::NONE,
        };
        assert!(table.insert(now, arrival).is_accepted());
    }
    table.view()
}

#[test]
fn a_comparison_finds_what_a_naive_one_does() {
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let all: Vec<_> = (0..30).map(|_| PeerId::random()).collect();
        let mut some = || -> Vec<(PeerId, u64)> {
            let peers = all.iter().filter(|_| rng.random_bool(0.6)).copied().collect::<Vec<_>>();
            peers.into_iter().map(|peer| (peer, rng.random_range(1..4))).collect()
        };
        let (ours, theirs) = (some(), some());
        let difference = Digest::of(&view(&theirs), 0).compare(&view(&ours));
        let ours: BTreeMap<_, _> = ours.into_iter().collect();
        let theirs: BTreeMap<_, _> = theirs.into_iter().collect();
        let newer = |a: &BTreeMap<PeerId, u64>, b: &BTreeMap<PeerId, u64>| -> BTreeSet<PeerId> {
            a.iter().filter(|(p, seq)| b.get(p).is_none_or(|o| o < seq)).map(|(p, _)| *p).collect()
        };
        assert_eq!(difference.newer.into_iter().collect::<BTreeSet<_>>(), newer(&ours, &theirs));
        let older: BTreeSet<_> = newer(&theirs, &ours).iter().map(Digest::id).collect();
        assert_eq!(difference.older.into_iter().collect::<BTreeSet<_>>(), older, "seed {seed}");
    }
}

#[test]
fn a_large_table_is_compared_in_parts_that_leave_nothing_out() {
    let peers: Vec<_> = (0..10_000).map(|_| (PeerId::random(), 1)).collect();
    let view = view(&peers);
    let (mut first, mut seen, mut parts) = (0, BTreeSet::new(), 0);
    loop {
        let digest = Digest::of(&view, first);
        assert!(digest.entries.len() <= MAX_ENTRIES);
        let mut bytes = Vec::new();
        Frame::Digest(digest.clone()).push(&mut bytes);
        let read = wire::read(&mut &bytes[..]).now_or_never().unwrap().unwrap();
        assert_eq!(read, Frame::Digest(digest.clone()));
        assert_eq!(digest.compare(&view), Default::default());
        assert!(digest.entries.iter().all(|(id, _)| seen.insert(*id)));
        parts += 1;
        first = digest.next();
        if first == 0 {
            break;
        }
    }
    assert_eq!((seen.len(), parts), (10_000, 3));
}

/// A cluster service whose topic nobody hears.
pub(super) struct Member {
    pub(super) id: PeerId,
    pub(super) exchange: Exchange,
    scope: Scope,
    _topic: (mpsc::Receiver<crate::pubsub::TopicCommand>, mpsc::Sender<crate::pubsub::TopicEvent>),
}

pub(super) fn member() -> Member {
    member_with(Limits::default())
}

pub(super) fn member_with(limits: Limits) -> Member {
    member_that_takes(Who::default(), limits)
}

fn member_that_takes(who: Who, limits: Limits) -> Member {
    let (scope, namespace) = (Scope::default(), Namespace::default());
    let (commands, from) = mpsc::channel(16);
    let (to, received) = mpsc::channel(16);
    let id = PeerId::random();
    let over = CancellationToken::new();
    over.cancel();
    let config = ClusterConfig { limits, who, ..config(id, over) };
    let topic = Topic::new(commands, received);
    let cluster =
        Cluster::start(config, topic, EventBus::default(), Metrics::default(), &scope).unwrap();
    Member { id, exchange: Exchange::new(cluster, namespace), scope, _topic: (from, to) }
}

pub(super) fn config(own: PeerId, over: CancellationToken) -> ClusterConfig {
    ClusterConfig {
        namespace: Namespace::default(),
        own,
        who: Who::default(),
        host: "here".into(),
        meta: BTreeMap::new(),
        ttl: Duration::from_secs(60),
        budget: None,
        observer: true,
        addrs: tokio::sync::watch::Sender::new(Arc::from([])).subscribe(),
        limits: Limits::default(),
        sign: Arc::new(|_, _| panic!("an observer signs nothing")),
        numbers: Numbers::after(0),
        keep: tokio::sync::watch::Sender::new(0),
        clock: Arc::new(unix_nanos),
        over,
        life: Life::default(),
        look: None,
        jumps: tokio::sync::watch::Sender::new(()).subscribe(),
        machine: Arc::new(|| "here".into()),
        roles: crate::cluster::no_roles(),
    }
}

pub(super) fn keys(n: usize) -> Vec<Keypair> {
    (0..n).map(|_| Keypair::generate_ed25519()).collect()
}

pub(super) fn signed(key: &Keypair, seq: u64, topic: &str) -> Vec<u8> {
    SignedMessage::sign(key, topic, seq, &beat("there").encode()).unwrap().encoded().to_vec()
}

pub(super) async fn learn(cluster: &Cluster, keys: &[Keypair], seq: u64) {
    let handed = keys.iter().map(|key| {
        let signed = signed(key, seq, "casm");
        let message = SignedMessage::decode(&signed).unwrap();
        message.verify(&Keys::default()).unwrap();
        let (source, data) = (message.source(), message.data().to_vec());
        crate::cluster::Handed { source, seq, data, signed, age: Duration::ZERO }
    });
    for outcome in cluster.insert_verified(PeerId::random(), handed.collect()).await.unwrap() {
        assert!(outcome.unwrap().is_accepted());
    }
}

pub(super) async fn exchange(a: &Member, b: &Member) -> (Done, Done) {
    let (x, y) = tokio::io::duplex(1024);
    let (opened, accepted) = tokio::join!(
        a.exchange.open(b.id, x.compat(), 0),
        b.exchange.accept(a.id, y.compat(), |_| std::future::ready(Ok(())))
    );
    (opened.unwrap().0, accepted.unwrap())
}

pub(super) fn seqs(member: &Member) -> BTreeMap<PeerId, u64> {
    member.exchange.cluster.view().iter(Query::all()).map(|r| (r.peer(), r.seq())).collect()
}

#[tokio::test]
async fn what_is_handed_over_of_a_denied_peer_is_not_even_verified() {
    let (who, all) = (Who::default(), keys(10));
    let (mut a, b) = (member_that_takes(who.clone(), Limits::default()), member());
    learn(&b.exchange.cluster, &all, unix_nanos()).await;
    let denied: Vec<_> = all[..3].iter().map(|key| key.public().to_peer_id()).collect();
    who.deny(&denied).unwrap();
    let verified = Arc::new(AtomicUsize::new(0));
    let count = verified.clone();
    a.exchange.may_verify = Arc::new(move |_, _| count.fetch_add(1, Ordering::Relaxed) < 100);
    let (opened, _) = exchange(&a, &b).await;
    assert_eq!((opened.received, verified.load(Ordering::Relaxed)), (7, 7));
    assert!(denied.iter().all(|peer| !seqs(&a).contains_key(peer)));
    // Nor does it come by way of the one that opens.
    let (_, accepted) = exchange(&b, &a).await;
    assert_eq!((accepted.received, verified.load(Ordering::Relaxed)), (0, 7));
    who.undeny(&denied);
    exchange(&a, &b).await;
    assert_eq!(seqs(&a), seqs(&b));
}

#[tokio::test]
async fn each_side_gets_what_it_lacks_and_what_it_has_older() {
    let (a, b, now) = (member(), member(), unix_nanos());
    let all = keys(300);
    learn(&a.exchange.cluster, &all[..200], now).await;
    learn(&b.exchange.cluster, &all[100..], now).await;
    learn(&a.exchange.cluster, &all[100..120], now + 1).await;
    learn(&b.exchange.cluster, &all[120..150], now + 2).await;
    let (opened, accepted) = exchange(&a, &b).await;
    assert_eq!(opened, Done { received: 130, joined: 100, sent: 120, ..Done::default() });
    assert_eq!(accepted, Done { received: 120, joined: 100, sent: 130, ..Done::default() });
    assert_eq!(seqs(&a).len(), 300);
    assert_eq!(seqs(&a), seqs(&b));
    // There is nothing left to say.
    assert_eq!(exchange(&b, &a).await, (Done::default(), Done::default()));
    assert!(a.scope.close(Duration::from_secs(5)).await);
    assert!(b.scope.close(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn that_the_other_node_was_unknown_is_no_sign_of_what_gossip_leaves_out() {
    let all = keys(2);
    let (a, mut b) = (member(), member());
    b.id = all[0].public().to_peer_id();
    learn(&b.exchange.cluster, &all, unix_nanos()).await;
    let (opened, accepted) = exchange(&a, &b).await;
    assert_eq!(opened, Done { received: 2, joined: 1, ..Done::default() });
    assert_eq!(accepted, Done { sent: 2, ..Done::default() });
}

#[tokio::test]
async fn what_was_handed_over_expires_as_if_it_had_come_at_first_hand() {
    let (a, b, c) = (member(), member(), member());
    let key = &keys(1)[0];
    tokio::time::pause();
    learn(&a.exchange.cluster, std::slice::from_ref(key), unix_nanos()).await;
    for (from, to) in [(&a, &b), (&b, &c)] {
        tokio::time::sleep(Duration::from_secs(35)).await;
        exchange(from, to).await;
    }
    // The TTL is 60 s, and a quarter of it is granted on top.
    assert_eq!((seqs(&b).len(), seqs(&c).len()), (1, 1));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((seqs(&a).len(), seqs(&b).len(), seqs(&c).len()), (0, 0, 0));
}

#[tokio::test]
async fn both_sides_hear_what_time_it_is_there() {
    let (mut a, mut b) = (member(), member());
    let (heard, said) = std::sync::mpsc::channel();
    for of in [&mut a, &mut b] {
        let heard = heard.clone();
        of.exchange.time_of = Arc::new(move |peer, time| heard.send((peer, time)).unwrap());
    }
    let now = || unix_nanos() / 1_000_000;
    let before = now();
    exchange(&a, &b).await;
    let times: BTreeMap<_, _> = std::iter::from_fn(|| said.try_recv().ok()).collect();
    assert_eq!(times.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([a.id, b.id]));
    assert!(times.values().all(|time| (before..=now()).contains(time)));
}

/// What becomes of an exchange that a partner opens with these bytes.
async fn opened_with(bytes: &[u8]) -> (SyncError, usize) {
    let member = member();
    let (mut partner, stream) = tokio::io::duplex(64 << 20);
    let accepted =
        member.exchange.accept(PeerId::random(), stream.compat(), |_| std::future::ready(Ok(())));
    tokio::io::AsyncWriteExt::write_all(&mut partner, bytes).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut partner).await.unwrap();
    let error = accepted.await.unwrap_err();
    (error, seqs(&member).len())
}

#[tokio::test]
async fn a_partner_that_means_harm_gains_nothing() {
    let empty = Digest { first: 0, last: u64::MAX, entries: vec![] };
    let (mut begin, mut greeting) = (Vec::new(), Vec::new());
    Frame::Header(Header { time: None }).push(&mut greeting);
    begin.extend_from_slice(&greeting);
    Frame::Digest(empty).push(&mut begin);
    let framed = |kind: u8, bytes: &[u8]| {
        let len = u32::try_from(1 + bytes.len()).unwrap();
        [&greeting[..], &len.to_be_bytes(), &[kind], bytes].concat()
    };
    let after = |messages: &[Vec<u8>]| {
        let mut bytes = begin.clone();
        messages.iter().for_each(|m| wire::push_handed(Duration::ZERO, m, &mut bytes));
        Frame::End { more: false }.push(&mut bytes);
        bytes
    };
    let (key, now) = (Keypair::generate_ed25519(), unix_nanos());
    let good = signed(&key, now, "casm");
    let goodbye = Heartbeat { ttl: None, ..beat("there") };
    let leave =
        SignedMessage::sign(&key, "casm", now, &goodbye.encode()).unwrap().encoded().to_vec();
    let pushed = |messages: &[Vec<u8>]| {
        let mut bytes = greeting.clone();
        messages.iter().for_each(|m| wire::push_handed(Duration::ZERO, m, &mut bytes));
        Frame::End { more: false }.push(&mut bytes);
        bytes
    };
    let mut forged = signed(&Keypair::generate_ed25519(), now, "casm");
    *forged.last_mut().unwrap() ^= 1;
    let many: Vec<_> = (0..=MAX_HANDED).map(|_| good.clone()).collect();
    for (bytes, label, entered) in [
        (after(&[good.clone(), forged]), "forged", 0),
        (after(&[signed(&key, now, "other")]), "forged", 0),
        (after(&[vec![7; 100]]), "forged", 0),
        // What is pushed is a goodbye.
        (pushed(std::slice::from_ref(&good)), "unexpected", 0),
        (pushed(&vec![leave.clone(); 1025]), "too-many", 0),
        (after(&many), "too-many", 1),
        (after(&[vec![7; Table::MAX_SIGNED + 1]]), "too-large", 0),
        ([&greeting[..], &u32::MAX.to_be_bytes(), &[1]].concat(), "too-large", 0),
        (framed(1, &[0; 7]), "malformed", 0),
        (framed(1, &[0; 8]), "malformed", 0),
        (framed(9, &[]), "malformed", 0),
        (framed(4, &[2]), "malformed", 0),
        (vec![0; 4], "malformed", 0),
        (framed(0, &[]), "unexpected", 0),
        (framed(2, &[0; 8]), "unexpected", 0),
        (begin[greeting.len()..].to_vec(), "unexpected", 0),
        ([&begin[..], &greeting[..]].concat(), "unexpected", 0),
        (begin[..begin.len() - 1].to_vec(), "io", 0),
        (begin.clone(), "io", 0),
    ] {
        let (error, records) = opened_with(&bytes).await;
        assert_eq!((error.label(), records), (label, entered), "{error}");
    }
}

#[tokio::test]
async fn any_bytes_are_survived() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..200 {
        let mut bytes = vec![0; rng.random_range(0..400)];
        rng.fill(&mut bytes[..]);
        for length in bytes.iter_mut().step_by(37).take(3) {
            *length = 0;
        }
        assert_eq!(opened_with(&bytes).await.1, 0);
    }
}

/// A host with a cluster and anti-entropy on it.
pub(super) struct Node {
    pub(super) host: Host,
    pub(super) cluster: Cluster,
    pub(super) metrics: Metrics,
    pub(super) scope: Scope,
}

pub(super) async fn node() -> Node {
    let (scope, metrics, events) = (Scope::default(), Metrics::default(), EventBus::default());
    let listen = ["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let key = Keypair::generate_ed25519();
    let limits = crate::config::Limits::default();
    let host =
        Host::start(key, &listen, &limits, &metrics, events.clone(), &scope, 0).await.unwrap();
    let topic = host.join("casm").await.unwrap();
    let config = config(host.id(), host.leaving().over());
    let cluster = Cluster::start(config, topic, events.clone(), metrics.clone(), &scope).unwrap();
    let namespace = Namespace::default();
    let spacing = Some(super::Spacing { longest: super::PAUSE, growth: 2 });
    super::start(host.clone(), cluster.clone(), &namespace, events, &metrics, &scope, spacing)
        .unwrap();
    Node { host, cluster, metrics, scope }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_gets_five_hundred_records_from_its_first_connection_at_once() {
    let (member, newcomer) = (node().await, node().await);
    learn(&member.cluster, &keys(500), unix_nanos()).await;
    let begun = Instant::now();
    let info = member.host.record().borrow().info().clone();
    newcomer.host.connect(&info).await.unwrap();
    let connected = begun.elapsed();
    let view =
        tokio::time::timeout(Duration::from_secs(30), newcomer.cluster.wait_for(Query::all(), 500));
    assert_eq!(view.await.unwrap().unwrap().len(), 500);
    println!("connected after {connected:?}, 500 records after {:?}", begun.elapsed());
    // Nothing comes twice, and all comes before the pause after the next exchange
    // (which may begin while the first one runs, on a slow machine).
    let done = || {
        let text = newcomer.metrics.encode();
        (1..=3)
            .any(|n| text.contains(&format!("casm_sync_exchanges_total{{outcome=\"done\"}} {n}\n")))
            && text.contains("casm_sync_records_total 500\n")
    };
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in an exchange or a few");
    assert!(newcomer.scope.close(Duration::from_secs(5)).await);
    assert!(member.scope.close(Duration::from_secs(5)).await);
}
