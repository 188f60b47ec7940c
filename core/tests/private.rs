//! Private clusters over loopback sockets: who holds the secret is in, and
//! nobody else.

use casm::{
    ChannelOptions, ErrorKind, Keypair, Multiaddr, Namespace, Node, NodeBuilder, NodeThread, Power,
    Secret, Target,
    boot::{
        Boot, BootAddr, BootConfig, FindOptions,
        packet::{Body, MAX_GROWTH, Packet},
    },
    cluster::Query,
    libp2p::multiaddr::Protocol,
    service::{CallOptions, Request},
};
use futures::FutureExt;
use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::{Future, ready},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::watch,
};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it happens within 60 s")
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within 60 s: {what}"));
}

fn ports() -> String {
    let base = 52_000 + rand::random_range(0..1_000_u16) * 8;
    format!("/ip4/127.0.0.1/udp/{base}/ports/8")
}

fn builder(boot: &str, secret: Option<u8>) -> NodeBuilder {
    let builder = Node::builder().namespace("orchard").boot([boot]).listen("/ip4/127.0.0.1/tcp/0");
    match secret {
        Some(secret) => builder.secret(of(secret)),
        None => builder,
    }
}

fn of(n: u8) -> Secret {
    Secret::from_bytes([n; 32])
}

/// How many boot datagrams got this verdict.
fn verdicts(metrics: &casm::metrics::Metrics, verdict: &str) -> u64 {
    metric(metrics, &format!("casm_boot_received_total{{verdict=\"{verdict}\"}}"))
}

fn metric(metrics: &casm::metrics::Metrics, name: &str) -> u64 {
    let text = metrics.encode();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_secret_is_in_and_nobody_else() {
    let boot = ports();
    println!("boot {boot}");
    let mut members = Vec::new();
    for i in 0..3 {
        let member = builder(&boot, Some(1)).meta("i", i.to_string());
        members.push(member.start().await.unwrap());
    }
    let open = builder(&boot, None).start().await.unwrap();
    let strangers = [open, builder(&boot, Some(2)).start().await.unwrap()];
    for member in &members {
        let view = soon(member.wait_for(3)).await.unwrap();
        assert_eq!(view.count(&Query::all()), 3);
        assert!(member.addrs().iter().all(|addr| !addr.to_string().contains("quic")));
    }
    let member = members[0].metrics();
    for verdict in ["not-sealed", "other-seal"] {
        let asked = || members.iter().any(|member| verdicts(member.metrics(), verdict) > 2);
        until(verdict, asked).await;
    }
    assert_eq!(verdicts(member, "malformed") + verdicts(member, "bad-seal"), 0);
    // They are told where the others are, and get no further. Together: what one
    // says may sound to another like the beginning of more, for 10 s.
    let pairs = strangers.iter().flat_map(|stranger| members.iter().map(move |m| (stranger, m)));
    let dials = pairs.map(async |(stranger, member)| {
        let error = stranger.connect(&member.info()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let error = member.connect(&stranger.info()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.message().contains("another secret, or none"), "{error}");
    });
    soon(futures::future::join_all(dials)).await;
    for stranger in &strangers {
        assert_eq!((stranger.view().len(), stranger.connected()), (1, vec![]));
    }
    let failed = || members.iter().all(|m| metric(m.metrics(), "casm_handshakes_failed_total") > 0);
    until("each stranger is counted", failed).await;
    for member in &members {
        assert_eq!((member.view().len(), member.connected().len()), (3, 2));
    }
    for node in members.into_iter().chain(strangers) {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_connects_reads_a_random_number_and_no_more() {
    let member = builder("none", Some(1)).start().await.unwrap();
    reads_no_more(&member).await;
    member.close().await.unwrap();
}

async fn reads_no_more(member: &Node) {
    let addr = member.info().addrs[0].to_string();
    let port: u16 = addr.rsplit('/').next().unwrap().parse().unwrap();
    for said in [&b"\x13/multistream/1.0.0\n\x07/noise\n"[..], &[0; 4096], &[0xff; 4096]] {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // A reset says no more.
        let _ = socket.write_all(said).await;
        let _ = socket.shutdown().await;
        let mut read = Vec::new();
        let _ = soon(socket.read_to_end(&mut read)).await;
        assert!(read.len() <= 24, "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_is_off_and_who_asks_for_it_is_told() {
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1";
    for builder in [
        builder("none", Some(1)).listen(quic),
        builder("none", Some(1)).announce("/ip4/203.0.113.7/udp/4001/quic-v1"),
        builder(&format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{}", peer()), Some(1)),
    ] {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("QUIC has no pre-shared key"), "{error}");
    }
    let open = Node::builder().boot(["none"]).listen(quic).start().await.unwrap();
    let member = builder("none", Some(1)).start().await.unwrap();
    let addr = open.addrs()[0].clone();
    let mut bare = addr.clone();
    assert!(matches!(bare.pop(), Some(Protocol::P2p(_))));
    for error in [
        member.connect(bare).await.unwrap_err(),
        member.connect(addr.clone()).await.unwrap_err(),
        member.connect(&open.info()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Address);
        let message = error.message();
        assert!(message.contains("QUIC has no pre-shared key"), "{message}");
        assert!(message.contains("/quic-v1"), "{message}");
    }
    // Where nothing is said, there is none.
    for power in Power::ALL {
        let everywhere = Node::builder().boot(["none"]).secret(of(1)).power(*power);
        let everywhere = everywhere.start().await.unwrap();
        speaks_tcp_alone(&everywhere);
        everywhere.pause().await.unwrap();
        everywhere.resume().await.unwrap();
        speaks_tcp_alone(&everywhere);
        everywhere.close().await.unwrap();
    }
    for node in [open, member] {
        node.close().await.unwrap();
    }
}

fn speaks_tcp_alone(node: &Node) {
    let addrs = node.addrs();
    assert!(!addrs.is_empty() && addrs.iter().all(|addr| addr.to_string().contains("/tcp/")));
}

fn peer() -> casm::PeerId {
    Keypair::generate_ed25519().public().to_peer_id()
}

/// A boot service that tells this address.
fn boot(boot: &str, serve: &str, secret: Option<u8>) -> (Boot, watch::Sender<Arc<[Multiaddr]>>) {
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
    let (addrs, watch) = watch::channel(Arc::from([addr]));
    let mut config = BootConfig::default();
    config.boot = BootAddr::parse_list(boot).unwrap();
    config.serve = BootAddr::parse_list(serve).unwrap();
    config.secret = secret.map(of);
    (Boot::standalone(config, Keypair::generate_ed25519(), watch).unwrap(), addrs)
}

/// So many questions of a member, as a stranger's socket records them.
async fn recorded(stranger: &UdpSocket, namespace: &Namespace, n: usize) -> Vec<Vec<u8>> {
    let here = format!("/ip4/127.0.0.1/udp/{}", stranger.local_addr().unwrap().port());
    let (asker, _addrs) = boot(&here, "", Some(1));
    let _search = asker.find_peers(namespace, FindOptions::default());
    let mut buffer = [0; 4096];
    let mut questions: Vec<Vec<u8>> = Vec::new();
    while questions.len() < n {
        let (len, _) = soon(stranger.recv_from(&mut buffer)).await.unwrap();
        let question = buffer[..len].to_vec();
        assert!(!questions.contains(&question), "two are the same");
        assert_eq!(question[..4], [0, b'C', b'S', 1]);
        hides(&question);
        questions.push(question);
    }
    asker.close().await;
    questions
}

/// The member of a private cluster, who answers at a port, what others ask, and a
/// stranger's socket, to which the questions go.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_question_is_answered_once_whoever_plays_it_again() {
    let namespace = Namespace::new("orchard").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = stranger.local_addr().unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (member, _addrs) = boot("none", &format!("/ip4/127.0.0.1/udp/{}", free.port()), Some(1));
    member.advertise(&namespace);
    let questions = recorded(&stranger, &namespace, 3).await;
    let (other, _addrs) = boot(&format!("/ip4/127.0.0.1/udp/{}", here.port()), "", Some(2));

    let mut buffer = [0; 4096];
    let mut next = async || {
        let (len, from) = soon(stranger.recv_from(&mut buffer)).await.unwrap();
        (buffer[..len].to_vec(), from)
    };
    let _searches = other.find_peers(&namespace, FindOptions::default());
    let foreign = loop {
        let (question, _) = next().await;
        if question[4..8] != questions[0][4..8] {
            break question;
        }
    };
    drop(_searches);
    other.close().await;

    let mut broken = questions[1].clone();
    broken[100] ^= 1;
    let key = Keypair::generate_ed25519();
    let own = key.public().to_peer_id();
    let open = Packet::new(own, namespace.clone(), Body::Request).encode(&key).unwrap();
    for (datagram, verdict) in [
        (&questions[0], "answered"),
        (&questions[0], "replay"),
        (&foreign, "other-seal"),
        (&open, "not-sealed"),
        (&broken, "bad-seal"),
        (&questions[1][..40].to_vec(), "bad-seal-form"),
        (&questions[0], "replay"),
        (&questions[1], "answered"),
        (&questions[2], "answered"),
        (&questions[1], "replay"),
    ] {
        let before = verdicts(member.metrics(), verdict);
        // A plain repetition waits for a moment; what is played again always.
        tokio::time::sleep(Duration::from_millis(120)).await;
        stranger.send_to(datagram, free).await.unwrap();
        until(verdict, || verdicts(member.metrics(), verdict) == before + 1).await;
        if verdict == "answered" {
            // The next one that comes: nothing else was answered meanwhile.
            let (answer, from) = loop {
                let (datagram, from) = next().await;
                if from == free {
                    break (datagram, from);
                }
            };
            assert_eq!(from, free);
            assert!(answer.len() <= datagram.len() + MAX_GROWTH);
            hides(&answer);
        }
    }
    // Whatever came back was one of the answers.
    assert_eq!(metric(member.metrics(), "casm_boot_sent_total{verdict=\"response\"}"), 3);
    member.close().await;
}

/// Nothing in a datagram can be read.
fn hides(datagram: &[u8]) {
    assert!(Packet::decode(datagram).is_err());
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
    for told in [&b"orchard"[..], b"CASM-PAD", &addr.to_vec()] {
        assert!(!datagram.windows(told.len()).any(|part| part == told), "{told:?} in {datagram:?}");
    }
}

/// A pause makes another swarm and other sockets. They keep to the secret, and to
/// what was seen before.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_from_a_pause_keeps_to_its_secret() {
    let namespace = Namespace::new("orchard").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let questions = recorded(&stranger, &namespace, 2).await;
    let start = async |secret| builder("none", secret).start().await.unwrap();
    let (friend, other, open) = (start(Some(1)).await, start(Some(2)).await, start(None).await);
    // As those of other languages do, on a thread of its own.
    let thread = NodeThread::start("private").unwrap();
    let node = builder("none", Some(1)).serve([format!("/ip4/127.0.0.1/udp/{}", free.port())]);
    let node = node.on(&thread).start().await.unwrap();
    friend.connect(&node.info()).await.unwrap();
    soon(friend.wait_for(2)).await.unwrap();
    soon(node.wait_for(2)).await.unwrap();
    let before = node.addrs();

    for round in 0..2 {
        if round > 0 {
            node.pause().await.unwrap();
            until("it is gone", || friend.view().len() == 1).await;
            node.resume().await.unwrap();
        }
        assert_eq!(node.addrs(), before);
        let again = || node.connected() == [friend.id()] && friend.view().len() == 2;
        until("they see each other, by themselves", again).await;
        let refused = [&other, &open].map(async |other| {
            for (from, to) in [(other, &node), (&node, other)] {
                let error = from.connect(&to.info()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
                let hint = error.message().contains("another secret, or none");
                assert_eq!(hint, from.id() != open.id(), "{error}");
            }
            assert_eq!(other.view().len(), 1);
        });
        soon(futures::future::join_all(refused)).await;
        reads_no_more(&node).await;
        let quic: Multiaddr =
            format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{}", peer()).parse().unwrap();
        assert_eq!(node.connect(quic).await.unwrap_err().kind(), ErrorKind::Address);
        assert_eq!((node.view().len(), node.connected()), (2, vec![friend.id()]));

        // What was of use before the pause is of none after it.
        for (nth, question) in questions.iter().enumerate().take(round + 1) {
            let verdict = if nth == round { "answered" } else { "replay" };
            let count = verdicts(node.metrics(), verdict);
            tokio::time::sleep(Duration::from_millis(120)).await;
            stranger.send_to(question, free).await.unwrap();
            until(verdict, || verdicts(node.metrics(), verdict) == count + 1).await;
        }
        let mut buffer = [0; 4096];
        let (len, _) = soon(stranger.recv_from(&mut buffer)).await.unwrap();
        hides(&buffer[..len]);
    }
    for node in [node, friend, other, open] {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_secret_counts_what_is_sealed_as_such() {
    let namespace = Namespace::new("orchard").unwrap();
    let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (open, _addrs) = boot("none", &format!("/ip4/127.0.0.1/udp/{port}"), None);
    open.advertise(&namespace);
    let (member, _addrs) = boot(&format!("/ip4/127.0.0.1/udp/{port}"), "", Some(1));
    let _search = member.find_peers(&namespace, FindOptions::default());
    until("it is asked", || verdicts(open.metrics(), "sealed") > 1).await;
    assert_eq!(metric(open.metrics(), "casm_boot_sent_total"), 0);
    member.close().await;
    open.close().await;
}

/// Services, streams, channels, semaphores and topics go over connections, and there
/// is none between who holds the secret and who doesn't.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_said_passes_between_members_and_strangers() {
    let start = async |secret| {
        let node = builder("none", secret).pex(None).start().await.unwrap();
        let heard = Arc::new(Mutex::new(BTreeSet::new()));
        let (asked, opened) = (heard.clone(), heard.clone());
        let echo = move |request: Request| {
            asked.lock().unwrap().insert(request.peer());
            async move { Ok::<_, Infallible>(request.data().to_vec()) }
        };
        node.serve("echo", echo).unwrap();
        let count = move |_, peer| {
            opened.lock().unwrap().insert(peer);
            ready(())
        };
        node.on_stream("/count/1", count).unwrap();
        node.channel("jobs", ChannelOptions::new().capacity(8)).unwrap();
        node.semaphore("gate", 1).await.unwrap();
        let topic = node.topic("news").unwrap();
        let messages = topic.subscribe();
        (node, heard, topic, messages)
    };
    let (member, heard, topic, mut messages) = start(Some(1)).await;
    let (friend, friends, news, _) = start(Some(1)).await;
    // What each form of asking came to: nothing, or why not.
    let say = async |from: &Node, to: &Node| {
        let (to, limit) = (to.info(), Some(Duration::from_secs(50)));
        let call = CallOptions::new().peer(&to).timeout(limit);
        let (answer, stream, channel, semaphore, view) = tokio::join!(
            from.call_with("echo", "hello", call),
            from.open_stream_within(&to, "/count/1", limit),
            from.open_channel_within("jobs", Target::from(&to), limit),
            from.open_semaphore_within("gate", Target::from(&to), limit),
            from.view_of(&to),
        );
        let said = [answer.map(drop), stream.map(drop), channel.map(drop), semaphore.map(drop)];
        said.into_iter().chain([view.map(drop)])
    };
    let mut strangers = [start(Some(2)).await, start(None).await];
    let pairs =
        strangers.iter().flat_map(|stranger| [(&stranger.0, &member), (&member, &stranger.0)]);
    let refused = pairs.map(async |(from, to)| {
        for asked in say(from, to).await {
            let error = asked.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        }
    });
    soon(futures::future::join_all(refused)).await;
    for (_, _, topic, _) in &strangers {
        assert_eq!(topic.publish("let me in").await.unwrap(), 0);
    }

    // Who holds it is heard, in each form.
    soon(say(&friend, &member)).await.for_each(Result::unwrap);
    soon(news.wait_for_peers(1)).await.unwrap();
    assert_eq!(news.publish("hello").await.unwrap(), 1);
    let message = soon(messages.next()).await.unwrap();
    assert_eq!((message.source(), message.data()), (friend.id(), &b"hello"[..]));
    assert_eq!(*heard.lock().unwrap(), BTreeSet::from([friend.id()]));
    assert_eq!(topic.peers(), [friend.id()]);
    assert_eq!(topic.publish("hello").await.unwrap(), 1);
    for (_, heard, topic, messages) in &mut strangers {
        assert!(heard.lock().unwrap().is_empty() && topic.peers().is_empty());
        assert!(messages.next().now_or_never().is_none());
    }
    assert!(friends.lock().unwrap().is_empty());
    for node in [member, friend].into_iter().chain(strangers.map(|stranger| stranger.0)) {
        node.close().await.unwrap();
    }
}
