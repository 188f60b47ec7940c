//! Nodes that pause and come back, over loopback. The waits print what they took.

use casm::{
    Change, ErrorKind, Event, LeaveReason, Multiaddr, Node, NodeBuilder, PeerInfo, Query,
    boot::FindOptions,
};
use futures::StreamExt;
use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// For a machine that has much else to do.
const SLOW: Duration = Duration::from_secs(30);
/// How soon a node that is back is seen.
const SEEN: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(9);

fn builder() -> NodeBuilder {
    Node::builder().namespace("pause").boot(["none"]).listen("/ip4/127.0.0.1/tcp/0")
}

async fn join(node: &Node, to: &Node) {
    node.connect(to.addrs()[0].clone()).await.unwrap();
}

async fn all_see(nodes: &[&Node]) {
    for node in nodes {
        timeout(SLOW, node.wait_for(nodes.len())).await.expect("in time").unwrap();
    }
}

fn socket(addr: &Multiaddr) -> SocketAddr {
    let text = addr.to_string();
    let parts: Vec<&str> = text.split('/').collect();
    format!("{}:{}", parts[2], parts[4]).parse().unwrap()
}

async fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < SLOW, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_node_that_pauses_is_gone_at_once_and_back_with_what_it_kept() {
    let a = builder().meta("life", "1").start().await.unwrap();
    let (b, c) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    join(&a, &b).await;
    join(&c, &b).await;
    all_see(&[&a, &b, &c]).await;
    let (mut seen_by_b, mut changes) = (b.events(), a.subscribe(Query::all()));
    for _ in 0..3 {
        assert!(matches!(changes.next().await, Some(Change::Current(_))));
    }
    let (before, info) = (socket(&a.addrs()[0]), b.info());

    a.pause().await.unwrap();
    let left = async {
        loop {
            if let Some(Event::PeerLeft { peer, reason }) = seen_by_b.next().await {
                assert_eq!((peer, reason), (a.id(), LeaveReason::Left));
                return;
            }
        }
    };
    timeout(SLOW, left).await.expect("the goodbye is heard");
    assert!(a.is_paused() && a.addrs().is_empty() && a.connected().is_empty());
    assert!(TcpStream::connect(before).is_err(), "it listens");
    // What is local works, and what is not says why.
    assert_eq!(a.view().len(), 3);
    assert_eq!(a.connect(&info).await.unwrap_err().kind(), ErrorKind::Paused);
    let addr = b.addrs()[0].clone();
    assert_eq!(a.connect(addr).await.unwrap_err().kind(), ErrorKind::Paused);
    assert_eq!(a.view_of(b.id()).await.unwrap_err().kind(), ErrorKind::Paused);
    for mut found in [
        a.find_peers(FindOptions::default()),
        a.boot().find_peers(a.namespace(), FindOptions::default()),
    ] {
        assert_eq!(found.next().await.unwrap().unwrap_err().kind(), ErrorKind::Paused);
        assert!(found.next().await.is_none());
    }
    a.update_meta(|meta| drop(meta.insert("life".into(), "2".into()))).await.unwrap();

    // Meanwhile one leaves, and another one comes.
    c.close().await.unwrap();
    let d = builder().start().await.unwrap();
    join(&d, &b).await;
    until("b sees d", || b.view().get(&d.id()).is_some()).await;
    until("b sees c leave", || b.view().get(&c.id()).is_none()).await;
    assert!(a.view().get(&c.id()).is_some(), "a paused node has the view that it had");

    let begun = Instant::now();
    a.resume().await.unwrap();
    until("b sees a again", || b.view().get(&a.id()).is_some()).await;
    println!("seen again after {:?}", begun.elapsed());
    assert!(begun.elapsed() < SEEN + BUSY);
    let seen = b.view();
    assert_eq!(seen.get(&a.id()).unwrap().meta().get("life"), Some("2"));
    all_see(&[&a, &b, &d]).await;
    // The subscription has lived on, and has the difference.
    let (mut joined, mut lost, mut updated) = (false, false, false);
    while !(joined && lost && updated) {
        match timeout(SLOW, changes.next()).await.expect("in time").unwrap() {
            Change::Joined(record) => {
                assert_eq!(record.peer(), d.id());
                joined = true;
            }
            Change::Left(record) => {
                assert_eq!(record.peer(), c.id(), "who was there all the time stays");
                lost = true;
            }
            Change::Updated(record) => updated |= record.peer() == a.id(),
            other => panic!("{other:?}"),
        }
    }
    // What it served, it serves.
    let view = timeout(SLOW, b.view_of(a.id())).await.unwrap().unwrap();
    assert_eq!(view.count(&Query::all()).await.unwrap(), 3);
    for node in [&a, &b, &d] {
        node.close().await.unwrap();
    }
    assert_eq!(a.resume().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.pause().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn each_side_may_have_made_the_connection_and_both_may_pause() {
    let (a, b) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    join(&b, &a).await;
    all_see(&[&a, &b]).await;
    for node in [&a, &b] {
        node.pause().await.unwrap();
    }
    // Who is back first finds nobody, and is found where it was.
    let ports: Vec<_> = [&a, &b].map(|node| node.record().info().addrs.clone()).into();
    for node in [&a, &b] {
        node.resume().await.unwrap();
    }
    assert_eq!([&a, &b].map(|node| node.info().addrs).to_vec(), ports);
    until("both are connected", || !a.connected().is_empty() && !b.connected().is_empty()).await;
    all_see(&[&a, &b]).await;
    for node in [&a, &b] {
        node.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_call_does_nothing_and_a_paused_node_can_be_closed_and_dropped() {
    let node = builder().start().await.unwrap();
    node.resume().await.unwrap();
    for _ in 0..2 {
        node.pause().await.unwrap();
    }
    for _ in 0..2 {
        node.resume().await.unwrap();
    }
    assert!(!node.is_paused() && !node.addrs().is_empty());
    // Whoever asks and doesn't wait has it done all the same.
    {
        let pausing = node.pause();
        tokio::pin!(pausing);
        let _ = futures::poll!(&mut pausing);
    }
    until("it is paused", || node.is_paused()).await;
    node.close().await.unwrap();

    let node = builder().start().await.unwrap();
    node.pause().await.unwrap();
    let ended = node.ended();
    drop(node);
    timeout(SLOW, ended).await.expect("it ends");
}

#[tokio::test]
async fn ports_that_were_asked_for_are_let_go_of_and_taken_again() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let serve = format!("/ip4/127.0.0.1/udp/{}", udp.port());
    let quic = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = Node::builder().namespace("pause").boot(["none"]).serve([&serve]);
    let node = node.listen(format!("/ip4/127.0.0.1/tcp/{}", tcp.port()));
    let node = node.listen(format!("/ip4/127.0.0.1/udp/{}/quic-v1", quic.port()));
    let node = node.start().await.unwrap();
    let (addrs, record) = (node.addrs(), node.record().seq());
    assert_eq!(addrs.len(), 2);
    let mut events = node.events();
    for _ in 0..3 {
        node.pause().await.unwrap();
        // Somebody else has them meanwhile.
        let theirs = (TcpListener::bind(tcp).unwrap(), UdpSocket::bind(udp).unwrap());
        until("QUIC's port is free", || UdpSocket::bind(quic).is_ok()).await;
        let error = node.resume().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bind, "{error}");
        assert!(node.is_paused());
        drop(theirs);
        node.resume().await.unwrap();
        assert_eq!(node.addrs(), addrs);
        // Told anew, though they are the same.
        let told = async {
            loop {
                if let Some(Event::Listening { addrs, .. }) = events.next().await {
                    return addrs;
                }
            }
        };
        assert_eq!(timeout(SLOW, told).await.unwrap(), addrs);
    }
    assert_eq!(node.record().seq(), record, "the same addresses need no new record");
    let other = builder().start().await.unwrap();
    for addr in addrs {
        other.connect(addr).await.unwrap();
        other.disconnect(node.id()).await;
    }
    other.close().await.unwrap();
    node.close().await.unwrap();
}

#[tokio::test]
async fn it_is_found_by_boot_while_it_is_up_and_in_no_pause() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let boot = format!("/ip4/127.0.0.1/udp/{}", udp.port());
    let node = builder().serve([&boot]).start().await.unwrap();
    let seeker = |namespace| {
        let seeker = Node::builder().namespace(namespace).boot([&boot]);
        seeker.listen("/ip4/127.0.0.1/tcp/0").observer(true)
    };
    let find = async |time| {
        let seeker = seeker("pause").start().await.unwrap();
        let found = seeker
            .boot()
            .find_peers(seeker.namespace(), FindOptions::default().timeout(time).limit(1));
        let found: Vec<_> = found.filter_map(async |found| found.ok()).collect().await;
        seeker.close().await.unwrap();
        found.into_iter().map(|found| found.peer.id).collect::<Vec<_>>()
    };
    assert_eq!(find(SLOW).await, [node.id()]);
    let (mut tap, elsewhere) = (node.boot().tap(), casm::Namespace::new("elsewhere").unwrap());
    node.pause().await.unwrap();
    node.boot().advertise(&elsewhere);
    assert!(find(Duration::from_secs(1)).await.is_empty());
    node.resume().await.unwrap();
    assert_eq!(find(SLOW).await, [node.id()]);
    assert!(timeout(SLOW, tap.next()).await.expect("a tap goes on").is_some());
    // What was advertised in the pause is answered for.
    let seeker = seeker("elsewhere").start().await.unwrap();
    let options = FindOptions::default().timeout(SLOW).limit(1);
    let found = seeker.boot().find_peers(&elsewhere, options).next().await;
    let found: PeerInfo = found.unwrap().unwrap().peer;
    assert_eq!(found.id, node.id());
    seeker.close().await.unwrap();
    node.close().await.unwrap();
}

/// Descriptors of this process.
#[cfg(target_os = "linux")]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn pauses_leave_nothing_behind() {
    let (a, b) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    join(&a, &b).await;
    all_see(&[&a, &b]).await;
    let mut most = 0;
    for round in 0..10 {
        a.pause().await.unwrap();
        a.resume().await.unwrap();
        until("they are connected", || !a.connected().is_empty()).await;
        all_see(&[&a, &b]).await;
        if round == 2 {
            most = descriptors();
        }
    }
    // Other tests of this process have their own, and end; a leak would be of seven or more.
    println!("{most} descriptors, then {}", descriptors());
    until("descriptors are given back", || descriptors() < most + 7).await;
    // No metric is told twice.
    let text = a.metrics().encode();
    let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let once: std::collections::BTreeSet<_> = types.iter().collect();
    assert_eq!(once.len(), types.len(), "{text}");
    until("the connections end", || a.connected().len() == 1 && b.connected().len() == 1).await;
    for node in [&a, &b] {
        node.close().await.unwrap();
    }
}
