//! Exchanges over pipes and sockets; partners that mean harm.

use super::{
    exchange::{Done, Exchange, MAX_HANDED},
    hostile_tests::nothing,
    ranges::MAX_RANGES,
    wire::{self, Frame, Header, SyncError},
};
use crate::{
    Keypair, Namespace, PeerId,
    cluster::{Cluster, ClusterConfig, Heartbeat, Limits, Numbers, Query, Table},
    event::EventBus,
    host::Host,
    life::Life,
    metrics::Metrics,
    pubsub::{Topic, TopicCommand, TopicEvent, keys::Keys, signed::SignedMessage},
    record::unix_nanos,
    scope::Scope,
    who::Who,
};
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

/// A cluster service whose topic nobody hears.
pub(super) struct Member {
    pub(super) id: PeerId,
    pub(super) exchange: Exchange,
    scope: Scope,
    _topic: (mpsc::Receiver<TopicCommand>, mpsc::Sender<TopicEvent>),
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
    exchange_over(1024, a, b).await
}

/// The same over a pipe that takes so many bytes.
async fn exchange_over(pipe: usize, a: &Member, b: &Member) -> (Done, Done) {
    let (x, y) = tokio::io::duplex(pipe);
    let (opened, accepted) = tokio::join!(
        a.exchange.open(b.id, x.compat()),
        b.exchange.accept(a.id, y.compat(), |_| std::future::ready(Ok(())))
    );
    (opened.unwrap(), accepted.unwrap())
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
async fn frames_that_a_pipe_does_not_hold_hold_up_nobody() {
    let (a, b, all) = (member(), member(), keys(600));
    for (of, keys, later) in [(&a, &all[..400], &all[200..300]), (&b, &all[200..], &all[300..400])]
    {
        learn(&of.exchange.cluster, keys, unix_nanos()).await;
        learn(&of.exchange.cluster, later, unix_nanos() + 1_000_000_000).await;
    }
    let both = exchange_over(16, &a, &b);
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("none waits for the other");
    assert_eq!((seqs(&a), seqs(&a).len()), (seqs(&b), 600));
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

/// A node that says of itself that it lives, and what it says.
fn speaker() -> (Member, mpsc::Receiver<TopicCommand>) {
    let (scope, key) = (Scope::default(), Keypair::generate_ed25519());
    let (commands, said) = mpsc::channel(16);
    let (to, received) = mpsc::channel(16);
    let id = key.public().to_peer_id();
    let over = CancellationToken::new();
    over.cancel();
    let sign = move |seq, data: &[u8]| SignedMessage::sign(&key, "casm", seq, data);
    let config = ClusterConfig { observer: false, sign: Arc::new(sign), ..config(id, over) };
    let topic = Topic::new(commands, received);
    let cluster =
        Cluster::start(config, topic, EventBus::default(), Metrics::default(), &scope).unwrap();
    let exchange = Exchange::new(cluster, Namespace::default());
    (Member { id, exchange, scope, _topic: (mpsc::channel(1).1, to) }, said)
}

/// Whether it says that it lives in so many milliseconds.
async fn says(said: &mut mpsc::Receiver<TopicCommand>, ms: u64) -> bool {
    let command = tokio::time::timeout(Duration::from_millis(ms), said.recv()).await;
    match command.map(|command| command.expect("it runs")) {
        Ok(TopicCommand::Publish { reply, .. }) => {
            reply.send(Ok(())).unwrap();
            // Until it is in the own view as well.
            tokio::time::sleep(Duration::from_millis(10)).await;
            true
        }
        Ok(other) => panic!("{other:?}"),
        Err(_) => false,
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_itself_missing_or_older_at_a_partner_says_at_once_that_it_lives() {
    for opens in [true, false] {
        let ((own, mut said), partner, few) = (speaker(), member(), keys(3));
        let meet = async |partner: &Member| {
            if opens {
                exchange(&own, partner).await;
            } else {
                exchange(partner, &own).await;
            }
        };
        assert!(says(&mut said, 50).await, "its first one");
        learn(&own.exchange.cluster, &few, unix_nanos()).await;
        // It is handed over as well; that by gossip may be under way.
        meet(&partner).await;
        assert!(seqs(&partner).contains_key(&own.id));
        assert!(!says(&mut said, 3_000).await);
        let missing = member();
        meet(&missing).await;
        assert!(says(&mut said, 50).await, "missing at the partner");
        tokio::time::sleep(Duration::from_secs(2)).await;
        meet(&partner).await;
        assert!(says(&mut said, 50).await, "older there");
        tokio::time::sleep(Duration::from_secs(2)).await;
        meet(&partner).await;
        assert!(says(&mut said, 50).await);
        // Both have it from now on.
        meet(&partner).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        meet(&partner).await;
        assert!(!says(&mut said, 3_000).await);

        // Who lacks nearly all is new.
        learn(&own.exchange.cluster, &keys(70), unix_nanos()).await;
        meet(&member()).await;
        assert!(!says(&mut said, 3_000).await);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_removed_finds_itself_missing_whoever_has_handed_it_over_since() {
    for opens in [true, false] {
        let ((own, mut said), who, witness) = (speaker(), Who::default(), member());
        let partner = member_that_takes(who.clone(), Limits::default());
        assert!(says(&mut said, 50).await, "its first one");
        for other in [&partner, &witness] {
            exchange(&own, other).await;
            assert!(seqs(other).contains_key(&own.id));
        }
        // It is removed, its number remembered, and there is no goodbye: as if it had
        // failed.
        who.deny(&[own.id]).unwrap();
        while seqs(&partner).contains_key(&own.id) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        who.undeny(&[own.id]);
        // Who still has it hands it over once, and in vain.
        let (opened, accepted) = exchange(&witness, &partner).await;
        assert_eq!((opened.sent, accepted.received, seqs(&partner).len()), (1, 0, 0));
        for (from, to) in [(&witness, &partner), (&partner, &witness)] {
            assert_eq!(exchange(from, to).await, (Done::default(), Done::default()));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!says(&mut said, 50).await);
        if opens {
            exchange(&own, &partner).await;
        } else {
            exchange(&partner, &own).await;
        }
        assert!(says(&mut said, 50).await, "missing at the partner");
    }
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
    let (mut begin, mut greeting) = (Vec::new(), Vec::new());
    let asks = Header { time: None, key: Some([7; 16]) };
    Frame::Header(asks).push(&mut greeting);
    begin.extend_from_slice(&greeting);
    nothing().iter().for_each(|frame| frame.push(&mut begin));
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
        (framed(1, &[&[0; 8][..], &[0x80, 249]].concat()), "malformed", 0),
        (framed(1, &[&[0; 8][..], &[0x80, 2], &[7; 18]].concat()), "malformed", 0),
        (framed(1, &[0; MAX_RANGES + 1]), "too-large", 0),
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
