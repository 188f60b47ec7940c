//! Hosts over loopback sockets.

use super::*;
use crate::{ErrorKind, event::Event};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use std::time::Duration;

pub(super) struct TestHost {
    pub(super) host: Host,
    scope: Scope,
    pub(super) events: EventBus,
    pub(super) metrics: Metrics,
}

pub(super) async fn start(key: Keypair, listen: &str) -> TestHost {
    start_announcing(key, listen, Announced::default()).await
}

async fn start_announcing(key: Keypair, listen: &str, announced: Announced) -> TestHost {
    start_with(key, listen, |addrs| addrs.announced = announced).await
}

async fn start_with(key: Keypair, listen: &str, set: impl FnOnce(&mut Addresses<'_>)) -> TestHost {
    let (scope, events) = (Scope::default(), EventBus::default());
    let (listen, metrics) = ([listen.parse().unwrap()], Metrics::default());
    let mut addrs = Addresses::from(&listen);
    set(&mut addrs);
    let limits = Limits::default();
    let host = Host::start(key, addrs, &limits, &metrics, events.clone(), &scope, 0);
    let host = host.await.unwrap();
    TestHost { host, scope, events, metrics }
}

pub(super) async fn ed25519(listen: &str) -> TestHost {
    start(Keypair::generate_ed25519(), listen).await
}

impl TestHost {
    pub(super) fn info(&self) -> PeerInfo {
        self.host.record().borrow().info().clone()
    }

    pub(super) async fn close(self) {
        assert!(self.scope.close(Duration::from_secs(5)).await);
    }
}

pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

#[tokio::test]
async fn records_begin_where_the_last_run_ended() {
    let scope = Scope::default();
    let (key, listen) = (Keypair::generate_ed25519(), [TCP.parse().unwrap()]);
    let least = crate::record::unix_nanos() + 3_600_000_000_000;
    let (limits, metrics) = (Limits::default(), Metrics::default());
    let host = Host::start(key, &listen, &limits, &metrics, EventBus::default(), &scope, least);
    assert_eq!(host.await.unwrap().record().borrow().seq(), least);
    assert!(scope.close(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_socket_that_is_lost_is_opened_again() {
    for listen in [TCP, QUIC] {
        let host = ed25519(listen).await;
        let mut addrs = host.host.addrs();
        let before = addrs.borrow_and_update().clone();
        host.host.commands.send(Command::LoseSockets).await.unwrap();
        // Any port was asked for: it is another one.
        let new = |addrs: &Arc<[Multiaddr]>| !addrs.is_empty() && *addrs != before;
        let listens = addrs.wait_for(new);
        tokio::time::timeout(Duration::from_secs(30), listens).await.unwrap().unwrap();
        assert_eq!(host.metrics.troubles.count().get(), 0);
        let other = ed25519(listen).await;
        other.host.connect(&host.info()).await.unwrap();
        other.close().await;
        host.close().await;
    }
}

#[tokio::test]
async fn whether_a_host_can_be_reached_is_tried_again_also_after_it_was_once() {
    let key = Keypair::generate_ed25519;
    let relay = start_with(key(), TCP, |addrs| addrs.relay = Some(Default::default())).await;
    let host = start_with(key(), TCP, |addrs| addrs.uses_relays = true).await;
    host.host.connect(&relay.info()).await.unwrap();
    let tries = |n: u64| {
        let line = format!("casm_reachability_probes_total{{result=\"reached\"}} {n}");
        let metrics = host.metrics.clone();
        tokio::time::timeout(Duration::from_secs(30), async move {
            while !metrics.encode().lines().any(|had| had == line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    tries(1).await.expect("it was tried");
    for n in 2..=3 {
        host.host.commands.send(Command::TryAgain).await.unwrap();
        tries(n).await.expect("it was tried again");
        // And the connection that was made for that has gone.
        let one = async {
            while host.host.status(&relay.info().id).is_none_or(|peer| peer.addrs.len() > 1) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), one).await.expect("one connection");
    }
    assert_eq!(host.host.reachability().borrow().addrs[0].found, crate::Found::Dialled);
    host.close().await;
    relay.close().await;
}

/// As a peer does that speaks no noise, or prefers TLS.
#[tokio::test]
async fn who_wants_tls_gets_it() {
    let host = ed25519(TCP).await;
    let mut peer = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(Default::default(), libp2p::tls::Config::new, libp2p::yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .build();
    let id = *peer.local_peer_id();
    peer.listen_on(TCP.parse().unwrap()).unwrap();
    let addr = loop {
        if let libp2p::swarm::SwarmEvent::NewListenAddr { address, .. } =
            peer.select_next_some().await
        {
            break address;
        }
    };
    let PeerInfo { id: ours, addrs } = host.info();
    peer.dial(addrs[0].clone()).unwrap();
    loop {
        match peer.select_next_some().await {
            libp2p::swarm::SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                break assert_eq!(peer_id, ours);
            }
            libp2p::swarm::SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    peer.disconnect_peer_id(ours).unwrap();
    let running = tokio::spawn(async move { while peer.next().await.is_some() {} });
    // And the other way round.
    assert_eq!(host.host.connect_addr(addr).await.unwrap(), id);
    running.abort();
    host.close().await;
}

#[tokio::test]
async fn what_is_announced_is_in_the_record_and_told_by_identify() {
    use libp2p::{identify, swarm::SwarmEvent};
    let mapped: Multiaddr = "/ip4/203.0.113.7/tcp/4001".parse().unwrap();
    for only in [false, true] {
        let mut peer = libp2p::SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                Default::default(),
                libp2p::noise::Config::new,
                libp2p::yamux::Config::default,
            )
            .unwrap()
            .with_behaviour(|key| {
                identify::Behaviour::new(identify::Config::new("test".into(), key.public()))
            })
            .unwrap()
            .build();
        peer.listen_on(TCP.parse().unwrap()).unwrap();
        let SwarmEvent::NewListenAddr { address, .. } = peer.select_next_some().await else {
            panic!("it listens")
        };
        let key = Keypair::generate_ed25519();
        let announced =
            Announced::new(std::slice::from_ref(&mapped), only, key.public().to_peer_id()).unwrap();
        let host = start_announcing(key, TCP, announced).await;
        let record = host.info().addrs;
        assert_eq!((&record[0], record.len()), (&mapped, if only { 1 } else { 2 }));
        assert_eq!(host.host.addrs().borrow()[..], record[..]);
        let connected = host.host.connect_addr(address);
        let identified = async {
            loop {
                if let SwarmEvent::Behaviour(identify::Event::Received { info, .. }) =
                    peer.select_next_some().await
                {
                    return info.listen_addrs;
                }
            }
        };
        let (connected, mut told) = tokio::join!(connected, identified);
        connected.unwrap();
        told.sort_by_key(|addr| *addr != mapped);
        assert_eq!(told, record);
        host.close().await;
    }
}

#[tokio::test]
async fn a_stream_carries_bytes_over_tcp_and_quic() {
    for listen in [TCP, QUIC] {
        let (a, b) = (ed25519(listen).await, ed25519(listen).await);
        let protocol = StreamProtocol::new("/test/1");
        let mut incoming = b.host.accept(protocol.clone()).unwrap();
        assert_eq!(b.host.accept(protocol.clone()).err().map(|e| e.kind()), Some(ErrorKind::Busy));

        a.host.connect(&b.info()).await.unwrap();
        let mut out = a.host.open_stream(b.host.id(), protocol).await.unwrap();
        out.write_all(b"hello").await.unwrap();
        out.close().await.unwrap();
        let (from, mut stream) = incoming.next().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!((from, &got[..]), (a.host.id(), &b"hello"[..]));

        let unknown = a.host.open_stream(b.host.id(), StreamProtocol::new("/none")).await;
        assert_eq!(unknown.err().map(|e| e.kind()), Some(ErrorKind::Protocol));
        a.close().await;
        b.close().await;
    }
}

#[tokio::test]
async fn streams_of_a_burst_wait_up_to_a_limit_and_the_others_are_counted() {
    let (a, b) = (ed25519(TCP).await, ed25519(TCP).await);
    let protocol = StreamProtocol::new("/test/burst");
    let mut incoming = b.host.accept(protocol.clone()).unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let opening = (0..80).map(|_| a.host.open_stream(b.host.id(), protocol.clone()));
    let opened = futures::future::join_all(opening).await;
    assert!(opened.iter().all(Result::is_ok));
    let refused = "casm_streams_refused_total{protocol=\"/test/burst\"} 16";
    while !b.metrics.encode().contains(refused) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = std::iter::from_fn(|| incoming.next().now_or_never()).count();
    assert_eq!(waiting, 64);

    // Who serves no more is no longer asked, and may serve again.
    drop(incoming);
    let refused = a.host.open_stream(b.host.id(), protocol.clone()).await;
    assert_eq!(refused.err().map(|e| e.kind()), Some(ErrorKind::Protocol));
    let mut incoming = b.host.accept(protocol.clone()).unwrap();
    let mut out = a.host.open_stream(b.host.id(), protocol).await.unwrap();
    out.write_all(b"x").await.unwrap();
    assert_eq!(incoming.next().await.unwrap().0, a.host.id());
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_closing_host_is_seen_to_go() {
    let (a, b) = (ed25519(TCP).await, ed25519(TCP).await);
    let mut events = a.events.subscribe();
    a.host.connect(&b.info()).await.unwrap();
    let id = b.host.id();
    b.close().await;
    loop {
        if events.next().await.unwrap() == (Event::Disconnected { peer: id }) {
            break;
        }
    }
    assert_eq!(a.host.connected(), []);
    a.close().await;
}

/// Passes on what a host and its peers say to each other, until it is stalled:
/// from then on it is a dead link.
async fn link(to: &PeerInfo) -> (PeerInfo, tokio::sync::watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = to.addrs[0].iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let (stall, stalled) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let (mut a, _) = listener.accept().await.unwrap();
        let mut b = tokio::net::TcpStream::connect(("127.0.0.1", target.unwrap())).await.unwrap();
        let mut until = stalled.clone();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut a, &mut b) => {}
            _ = until.wait_for(|stalled| *stalled) => {}
        }
        // Both sockets stay open, and nobody reads from them.
        let mut dropped = stalled;
        while dropped.changed().await.is_ok() {}
    });
    let addr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    (PeerInfo { id: to.id, addrs: vec![addr] }, stall)
}

#[tokio::test]
async fn a_dead_link_holds_up_no_disconnection_though_much_waits_for_it() {
    let (a, b) = (ed25519(TCP).await, ed25519(TCP).await);
    let protocol = StreamProtocol::new("/test/link");
    let mut incoming = b.host.accept(protocol.clone()).unwrap();
    let (over, stall) = link(&b.info()).await;
    let mut events = a.events.subscribe();
    a.host.connect(&over).await.unwrap();
    while a.host.status(&over.id).is_none_or(|status| status.round_trip.is_none()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut out = Vec::new();
    for _ in 0..16 {
        out.push(a.host.open_stream(over.id, protocol.clone()).await.unwrap());
        incoming.next().await.unwrap();
    }
    stall.send_replace(true);
    // More than the sockets on the way have room for.
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let writing = out.into_iter().map(|mut stream| {
        let sent = sent.clone();
        tokio::spawn(async move {
            while stream.write_all(&[0; 16 << 10]).await.is_ok() {
                sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        })
    });
    let writing: Vec<_> = writing.collect();
    let (mut before, mut now) = (usize::MAX, 0);
    while before != now {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (before, now) = (now, sent.load(std::sync::atomic::Ordering::Relaxed));
    }
    a.host.disconnect(over.id).await;
    let gone =
        async { while events.next().await.unwrap() != (Event::Disconnected { peer: over.id }) {} };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("disconnected");
    assert_eq!(a.host.status(&over.id), None);
    for task in writing {
        task.await.unwrap();
    }
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_named() {
    let taken = ed25519(TCP).await;
    let addr = taken.info().addrs[0].clone();
    for (addr, kind) in [
        (addr, ErrorKind::Bind),
        ("/ip4/192.0.2.1/tcp/0".parse().unwrap(), ErrorKind::Bind),
        ("/ip4/127.0.0.1".parse().unwrap(), ErrorKind::Address),
    ] {
        let scope = Scope::default();
        let error = Host::start(
            Keypair::generate_ed25519(),
            std::slice::from_ref(&addr),
            &Limits::default(),
            &Metrics::default(),
            EventBus::default(),
            &scope,
            0,
        )
        .await
        .err()
        .expect("the address is not usable");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(&addr.to_string()), "{error}");
    }
    taken.close().await;
}

/// Whatever peers others say are at a victim's address, and however often.
#[tokio::test]
async fn a_victim_is_dialled_a_few_times_and_what_a_person_said_always() {
    let victim = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", victim.local_addr().unwrap().port()).parse().unwrap();
    let dials = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = dials.clone();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = victim.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            drop(stream);
        }
    });
    let a = ed25519(TCP).await;
    let info = || PeerInfo { id: PeerId::random(), addrs: vec![at.clone(); 64] };
    let (begun, mut postponed) = (std::time::Instant::now(), 0);
    for _ in 0..100 {
        let error = a.host.reach(&info()).await.unwrap_err();
        postponed += usize::from(error.kind() == ErrorKind::Busy);
    }
    let dialled = dials.load(std::sync::atomic::Ordering::Relaxed);
    // Eight at once, and one more in each ten seconds that this has taken.
    let most = 8 + begun.elapsed().as_secs() as usize / 10 + 1;
    assert!((8..=most).contains(&dialled), "{dialled}");
    assert_eq!(postponed + dialled, 100);
    let error = a.host.connect(&info()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(dials.load(std::sync::atomic::Ordering::Relaxed) > dialled);
    accepting.abort();
    a.close().await;
}

/// Who is there is found out by the very dials that lies lead to.
#[tokio::test]
async fn lies_about_an_address_keep_nobody_from_who_is_there() {
    let (a, b) = (ed25519(TCP).await, ed25519(TCP).await);
    let honest = b.info();
    for _ in 0..50 {
        let lie = PeerInfo { id: PeerId::random(), ..honest.clone() };
        a.host.reach(&lie).await.unwrap_err();
    }
    let lie = PeerInfo { id: PeerId::random(), ..honest.clone() };
    assert_eq!(a.host.reach(&lie).await.unwrap_err().kind(), ErrorKind::Busy);
    a.host.reach(&honest).await.unwrap();
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn connecting_tells_why_it_failed() {
    let a = ed25519(TCP).await;
    let b = ed25519(TCP).await;
    let mut info = b.info();
    info.id = PeerId::random();
    let error = a.host.connect(&info).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let addr = b.info().addrs[0].clone();
    assert_eq!(a.host.connect_addr(addr).await.unwrap(), b.host.id());
    a.close().await;
    b.close().await;
}

/// Whoever ends the connection.
#[tokio::test]
async fn streams_end_with_their_connection() {
    for listen in [TCP, QUIC] {
        for by_a in [true, false] {
            let (a, b) = (ed25519(listen).await, ed25519(listen).await);
            let protocol = StreamProtocol::new("/test/end");
            let mut incoming = b.host.accept(protocol.clone()).unwrap();
            a.host.connect(&b.info()).await.unwrap();
            let mut reading = a.host.open_stream(b.host.id(), protocol.clone()).await.unwrap();
            let mut writing = a.host.open_stream(b.host.id(), protocol).await.unwrap();
            let _theirs = [incoming.next().await.unwrap(), incoming.next().await.unwrap()];
            let read = tokio::spawn(async move { reading.read(&mut [0; 8]).await });
            // Nobody takes it: sooner or later there is no room.
            let write =
                tokio::spawn(async move { while writing.write_all(&[0; 4096]).await.is_ok() {} });
            if by_a {
                a.host.disconnect(b.host.id()).await;
            } else {
                b.host.disconnect(a.host.id()).await;
            }
            let ended = async { (read.await.unwrap(), write.await.unwrap()) };
            let (read, ()) = tokio::time::timeout(Duration::from_secs(20), ended)
                .await
                .expect("they end with the connection");
            assert!(matches!(read, Err(_) | Ok(0)), "{listen}, by a: {by_a}: {read:?}");
            a.close().await;
            b.close().await;
        }
    }
}

#[tokio::test]
async fn a_peer_whose_name_is_not_looked_up_now_is_busy_and_not_gone() {
    let host = ed25519(TCP).await;
    let reach = async |peer| {
        let addrs = vec!["/dns/127.0.0.1/tcp/1".parse().unwrap()];
        host.host.reach(&PeerInfo { id: peer, addrs }).await.unwrap_err().kind()
    };
    // A name for this machine is no address of a peer that others told of.
    let kinds = futures::future::join_all((0..80).map(|_| reach(PeerId::random()))).await;
    let count = |kind| kinds.iter().filter(|other| **other == kind).count();
    assert!((64..70).contains(&count(ErrorKind::NotFound)), "{kinds:?}");
    assert_eq!(count(ErrorKind::NotFound) + count(ErrorKind::Busy), 80);
    host.close().await;
}
