//! Partners that are slow, or greedy.

use super::{
    exchange::{Done, MAX_HANDED},
    items::{Items, short_id},
    reconcile::Reconcile,
    tests::{Member, keys, learn, member, member_with, node, seqs, signed},
    wire::{self, Frame, Header, SyncError},
};
use crate::{
    Keypair, Namespace, PeerId, cluster::Limits, host::Host, record::unix_nanos, scope::Scope,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, time::Instant};
use tokio_util::compat::TokioAsyncReadCompatExt;

fn greeting(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame::Header(Header { time: None, key: Some([7; 16]) }).push(&mut bytes);
    frames.iter().for_each(|frame| frame.push(&mut bytes));
    bytes
}

/// Of all ids there are none here, and none are wanted.
pub(super) fn nothing() -> [Frame; 2] {
    let none = Items::new(std::iter::empty(), std::iter::empty(), &[7; 16]);
    [Frame::Ranges(Reconcile::new(none).begin()), Frame::Wanted(vec![])]
}

#[tokio::test(start_paused = true)]
async fn a_partner_that_sends_a_byte_a_second_is_given_up() {
    let member = member();
    let (mut partner, stream) = tokio::io::duplex(1024);
    let trickle = async {
        for byte in greeting(&nothing()) {
            if partner.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let begun = Instant::now();
    let accept =
        member.exchange.accept(PeerId::random(), stream.compat(), |_| std::future::ready(Ok(())));
    let error = tokio::select! {
        done = accept => done.unwrap_err(),
        () = trickle => unreachable!(),
    };
    assert!(matches!(error, SyncError::Slow), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_partner_that_reads_nothing_is_given_up() {
    let member = member();
    learn(&member.exchange.cluster, &keys(50), unix_nanos()).await;
    let (mut partner, stream) = tokio::io::duplex(1024);
    partner
        .write_all(&greeting(&[&nothing()[..], &[Frame::End { more: false }]].concat()))
        .await
        .unwrap();
    let begun = Instant::now();
    let error = member
        .exchange
        .accept(PeerId::random(), stream.compat(), |_| std::future::ready(Ok(())))
        .await;
    assert!(matches!(error, Err(SyncError::Slow)), "{error:?}");
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(seqs(&member).len(), 50);
}

/// What becomes of an exchange that is opened with a partner that wants this, and
/// says that it has more; and how many heartbeats it gets.
async fn with_partner(member: &Member, wanted: Vec<u64>, handed: Vec<Vec<u8>>) -> (Done, usize) {
    let (mut partner, stream) = tokio::io::duplex(64 << 20);
    let handed = handed.into_iter().map(|message| Frame::Handed(Duration::ZERO, message));
    let end = [Frame::End { more: true }];
    let said: Vec<_> = [Frame::Wanted(wanted)].into_iter().chain(handed).chain(end).collect();
    partner.write_all(&greeting(&said)).await.unwrap();
    let opened = member.exchange.open(PeerId::random(), stream.compat()).await.unwrap();
    let (mut reader, mut got) = (partner.compat(), 0);
    while let Ok(frame) = wire::read(&mut reader).await {
        got += usize::from(matches!(frame, Frame::Handed(..)));
    }
    (opened, got)
}

#[tokio::test]
async fn a_partner_that_says_that_it_has_more_is_believed_if_it_gave_much() {
    let (member, now, few) = (member(), unix_nanos(), keys(40));
    assert_eq!(with_partner(&member, vec![], vec![]).await, Default::default());
    let brought = |keys: &[Keypair]| keys.iter().map(|key| signed(key, now, "casm")).collect();
    let (done, _) = with_partner(&member, vec![], brought(&few)).await;
    assert_eq!((done.received, done.more), (40, false), "less than fits");
    // As much as fits, but for the last few known.
    let known: Vec<_> = std::iter::repeat_n(signed(&few[0], now, "casm"), MAX_HANDED - 8).collect();
    let fresh = |n| [known.clone(), brought(&keys(n))].concat();
    let (done, _) = with_partner(&member, vec![], fresh(8)).await;
    assert_eq!((done.received, done.more), (8, false), "hardly any news");
    let full = [known[..MAX_HANDED - 64].to_vec(), brought(&keys(64))].concat();
    let (done, _) = with_partner(&member, vec![], full).await;
    assert_eq!((done.received, done.more), (64, true));
}

#[tokio::test]
async fn who_has_had_its_share_gets_no_more_where_this_node_opens() {
    let (mut member, all) = (member(), keys(50));
    learn(&member.exchange.cluster, &all, unix_nanos()).await;
    let wanted: Vec<_> = all.iter().map(|key| short_id(&key.public().to_peer_id())).collect();
    assert_eq!(with_partner(&member, wanted.clone(), vec![]).await.1, 50);
    member.exchange.may_have = Arc::new(|_| false);
    assert_eq!(with_partner(&member, wanted, vec![]).await, Default::default());
}

#[tokio::test]
async fn once_the_table_takes_no_strangers_none_are_verified() {
    // Of one partner, four.
    let mut member = member_with(Limits { records: 64, ..Limits::default() });
    let (known, now) = (keys(1), unix_nanos());
    learn(&member.exchange.cluster, &known, now).await;
    let checked = Arc::new(AtomicUsize::new(0));
    let counted = checked.clone();
    member.exchange.may_verify = Arc::new(move |_, _| counted.fetch_add(1, Relaxed) < 30);
    let mut handed: Vec<_> = keys(100).iter().map(|key| signed(key, now, "casm")).collect();
    handed.push(signed(&known[0], now + 1, "casm"));
    let (done, _) = with_partner(&member, vec![], handed).await;
    // Four, and who is known.
    assert_eq!(done.received, 5);
    assert_eq!(checked.load(Relaxed), 16 + 1, "one batch, and who is known");
    assert_eq!(seqs(&member)[&known[0].public().to_peer_id()], now + 1);

    // Who has used up what is checked is given up.
    let handed: Vec<_> =
        known.iter().chain(&keys(20)).map(|k| signed(k, now + 2, "casm")).collect();
    let (mut partner, stream) = tokio::io::duplex(64 << 20);
    let handed = handed.into_iter().map(|message| Frame::Handed(Duration::ZERO, message));
    partner.write_all(&greeting(&nothing())).await.unwrap();
    let mut bytes = Vec::new();
    handed.for_each(|frame| frame.push(&mut bytes));
    partner.write_all(&bytes).await.unwrap();
    let error = member
        .exchange
        .accept(PeerId::random(), stream.compat(), |_| std::future::ready(Ok(())))
        .await
        .unwrap_err();
    assert_eq!(error.label(), "refused-signatures");
}

/// Asks for all that a node has. Gives the bytes of it, or nothing if refused.
pub(super) async fn ask_for_all(host: &Host, peer: PeerId) -> Option<usize> {
    let protocol = Namespace::default().own_protocol("sync/2");
    let mut stream = host.open_stream(peer, protocol).await.ok()?;
    let [ranges, wanted] = nothing();
    let header = Frame::Header(Header { time: None, key: Some([7; 16]) });
    let begin = [header, ranges, wanted, Frame::End { more: false }];
    wire::write(&mut stream, &begin).await.ok()?;
    let mut bytes = 0;
    loop {
        match wire::read(&mut stream).await.ok()? {
            Frame::Handed(_, message) => bytes += message.len(),
            Frame::End { .. } => return Some(bytes),
            _ => {}
        }
    }
}

/// A host that says what a test has it say.
async fn stranger(scope: &Scope) -> Host {
    let (key, metrics) = (Keypair::generate_ed25519(), crate::metrics::Metrics::default());
    let listen = ["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let (limits, events) = (crate::config::Limits::default(), crate::event::EventBus::default());
    Host::start(key, &listen, &limits, &metrics, events, scope, 0).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_say_nothing_hold_up_nobody() {
    let victim = node().await;
    learn(&victim.cluster, &keys(3), unix_nanos()).await;
    let (scope, info) = (Scope::default(), victim.host.record().borrow().info().clone());
    let protocol = Namespace::default().own_protocol("sync/2");
    let mut silent = Vec::new();
    for _ in 0..8 {
        let host = stranger(&scope).await;
        host.connect(&info).await.unwrap();
        for _ in 0..3 {
            let mut stream = host.open_stream(info.id, protocol.clone()).await.unwrap();
            // The first byte of a frame's length.
            futures::AsyncWriteExt::write_all(&mut stream, &[0]).await.unwrap();
            futures::AsyncWriteExt::flush(&mut stream).await.unwrap();
            silent.push(stream);
        }
    }
    let honest = stranger(&scope).await;
    honest.connect(&info).await.unwrap();
    assert!(ask_for_all(&honest, info.id).await.is_some_and(|bytes| bytes > 0));
    // Long before they were given up.
    let text = victim.metrics.encode();
    assert!(!text.contains("outcome=\"slow\""), "{text}");
    assert!(scope.close(Duration::from_secs(5)).await);
    assert!(victim.scope.close(Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_all_again_and_again_has_two_tables_also_over_reconnects() {
    let victim = node().await;
    let all = keys(500);
    learn(&victim.cluster, &all, unix_nanos()).await;
    let table: usize = victim.cluster.view().signed().map(|signed| signed.message.len()).sum();
    assert!(table > 64 << 10, "{table}");
    let scope = Scope::default();
    let greedy = stranger(&scope).await;
    let info = victim.host.record().borrow().info().clone();
    let (mut tables, mut refused) = (0, 0);
    let wait = async {
        while refused < 20 {
            if greedy.connect(&info).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            match ask_for_all(&greedy, info.id).await {
                Some(bytes) => tables += bytes / table,
                None => refused += 1,
            }
            greedy.disconnect(info.id).await;
            while greedy.is_connected(&info.id) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    // Two, and what is earned while this takes.
    assert!((1..=4).contains(&tables), "{tables} tables");
    let text = victim.metrics.encode();
    assert!(text.contains("casm_sync_exchanges_total{outcome=\"refused-too-much\"}"), "{text}");
    assert!(scope.close(Duration::from_secs(5)).await);
    assert!(victim.scope.close(Duration::from_secs(5)).await);
}
