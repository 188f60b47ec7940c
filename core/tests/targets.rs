//! Who is named is connected to: by id, by record, by address.

use casm::{
    ChannelOptions, ErrorKind, Event, Multiaddr, Node, NodeBuilder, PeerId, PeerInfo, Query,
    Target,
    service::{CallOptions, Request},
};
use futures::future::join_all;
use std::{convert::Infallible, future::Future, time::Duration};

/// What every wait in these tests is bounded by; none is expected to come near.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it happens within 30 s")
}

fn builder() -> NodeBuilder {
    Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0").boot(["none"]).pex(None)
}

/// Three nodes: the middle one is connected to the others, which know each other's
/// records through it alone.
async fn three() -> [Node; 3] {
    let [a, hub, b] = [builder(), builder(), builder()].map(NodeBuilder::start);
    let nodes = [a.await.unwrap(), hub.await.unwrap(), b.await.unwrap()];
    let [a, hub, b] = &nodes;
    soon(a.connect(hub.info())).await.unwrap();
    soon(b.connect(hub.info())).await.unwrap();
    for node in [a, hub, b] {
        soon(node.wait_for(3)).await.unwrap();
    }
    assert_eq!((a.connected(), b.connected()), (vec![hub.id()], vec![hub.id()]));
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_connected_to_by_what_its_record_says() {
    let nodes = three().await;
    let [a, hub, b] = &nodes;
    let record = a.view().get(&b.id()).unwrap();
    assert_eq!(record.addrs(), b.info().addrs);
    assert_eq!(record.info(), b.info());
    let targets: [Target; 4] = [
        b.id().into(),
        (&record).into(),
        b.id().to_string().parse().unwrap(),
        format!("/p2p/{}", b.id()).parse().unwrap(),
    ];
    for target in targets {
        assert_eq!(soon(a.connect(target)).await.unwrap(), b.id());
        assert!(a.connected().contains(&b.id()));
        // Connected already.
        assert_eq!(soon(a.connect(b.id())).await.unwrap(), b.id());
        a.disconnect(b.id()).await;
        soon(async {
            while a.connected().contains(&b.id()) || b.connected().contains(&a.id()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    // A view is asked for without more ado, again if the connection has gone since.
    let view = soon(a.view_of(&record)).await.unwrap();
    assert_eq!(soon(view.count(&Query::all())).await.unwrap(), 3);
    let told = soon(view.get(&hub.id())).await.unwrap().unwrap();
    assert_eq!((told.addrs(), told.verified()), (hub.info().addrs, true));
    a.disconnect(b.id()).await;
    soon(async {
        while view.count(&Query::all()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for node in &nodes {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_or_shares_a_channel_is_connected_to() {
    let nodes = three().await;
    let [a, hub, b] = &nodes;
    let echo = |request: Request| async move { Ok::<_, Infallible>(request.data().to_vec()) };
    b.serve("echo", echo).unwrap();
    let _jobs = b.channel("jobs", ChannelOptions::new().capacity(8)).unwrap();
    let _leader = b.semaphore("leader", 8).await.unwrap();
    soon(a.wait_for_query(Query::service("echo"), 1)).await.unwrap();
    soon(a.wait_for_query(Query::channel("jobs"), 1)).await.unwrap();
    soon(a.wait_for_query("meta:sem.leader=1".parse().unwrap(), 1)).await.unwrap();
    let apart = async || {
        a.disconnect(b.id()).await;
        soon(async {
            while a.connected().contains(&b.id()) || b.connected().contains(&a.id()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    let addr = b.info().addrs[0].clone();
    let record = a.view().get(&b.id()).unwrap();
    let to = [Some(Target::from(b.id())), Some(record.into()), Some(addr.clone().into()), None];
    for peer in to {
        let mut options = CallOptions::new();
        options.peer = peer.clone();
        apart().await;
        let reply = soon(a.call_with("echo", "hi", options.clone())).await.unwrap();
        assert_eq!(reply.data, b"hi", "{peer:?}");
        apart().await;
        let mut parts = a.call_stream("echo", "hi", options).unwrap();
        assert_eq!(soon(parts.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Invalid);
        apart().await;
        let jobs = soon(a.open_channel("jobs", peer.clone())).await.unwrap();
        soon(jobs.send("a job")).await.unwrap();
        apart().await;
        let leader = soon(a.open_semaphore("leader", peer)).await.unwrap();
        soon(leader.acquire()).await.unwrap();
    }
    // A reply says whose it is.
    apart().await;
    let named = CallOptions::new().peer(addr.clone().with_p2p(b.id()).unwrap());
    let mut replies = a.call_all("echo", "hi", named).unwrap();
    let reply = soon(replies.next()).await.unwrap();
    assert_eq!((reply.peer, reply.result.unwrap().data), (b.id(), b"hi".to_vec()));
    let error = a.call_all("echo", "hi", CallOptions::new().peer(addr)).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("/p2p/"), "{error}");

    // The own node is no other.
    a.serve("own", echo).unwrap();
    let own = CallOptions::new().peer(a.info());
    assert_eq!(soon(a.call_with("own", "hi", own)).await.unwrap().data, b"hi");
    a.channel("own", ChannelOptions::new()).unwrap();
    soon(a.open_channel("own", Target::from(a.info()))).await.unwrap();

    let nobody = || Target::from(PeerId::random());
    let unknown = CallOptions::new().peer(nobody());
    let error = soon(a.call_with("echo", "hi", unknown)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("address"), "{error}");
    let error = soon(a.open_channel("jobs", nobody())).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("address"), "{error}");
    for node in [a, hub, b] {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_connected_to_is_told_apart() {
    let nodes = three().await;
    let [a, hub, b] = &nodes;
    let kind = async |target: Target| {
        let error = soon(a.connect(target)).await.unwrap_err();
        (error.kind(), error.message().to_owned())
    };
    let nobody = PeerId::random();
    let (unknown, said) = kind(nobody.into()).await;
    assert_eq!(unknown, ErrorKind::NotFound);
    assert!(said.contains(&nobody.to_string()) && said.contains("/p2p/"), "{said}");
    assert_eq!(kind(PeerInfo { id: nobody, addrs: vec![] }.into()).await.0, ErrorKind::NotFound);
    let (own, said) = kind(a.id().into()).await;
    assert_eq!(own, ErrorKind::Invalid, "{said}");

    let record = a.view().get(&b.id()).unwrap();
    b.close().await.unwrap();
    soon(async {
        while a.view().get(&b.id()).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (gone, said) = kind(record.into()).await;
    assert_eq!(gone, ErrorKind::Unreachable, "{said}");
    assert!(said.contains(&b.info().addrs[0].to_string()), "{said}");
    // Another peer answers there.
    let wrong: Multiaddr = format!("{}/p2p/{nobody}", hub.info().addrs[0]).parse().unwrap();
    let (other, said) = kind(wrong.into()).await;
    assert_eq!(other, ErrorKind::Unreachable);
    assert!(said.contains(&hub.id().to_string()), "{said}");

    a.close().await.unwrap();
    assert_eq!(kind(hub.id().into()).await.0, ErrorKind::Closed);
    assert_eq!(kind(a.id().into()).await.0, ErrorKind::Closed);
    hub.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_want_the_same_peer_share_one_dial() {
    let nodes = three().await;
    let [a, _, b] = &nodes;
    let mut events = b.events();
    let all = join_all((0..64).map(|_| a.connect(b.id())));
    for connected in soon(all).await {
        assert_eq!(connected.unwrap(), b.id());
    }
    let connected =
        async { while events.next().await.unwrap() != (Event::Connected { peer: a.id() }) {} };
    soon(connected).await;
    assert_eq!(b.peer_status(&a.id()).unwrap().addrs.len(), 1);
    for node in &nodes {
        node.close().await.unwrap();
    }
}

#[test]
fn a_target_as_text() {
    let id = PeerId::random();
    let addr = "/ip4/10.0.0.7/tcp/1";
    assert_eq!(id.to_string().parse::<Target>().unwrap(), Target::Peer(id));
    let whole = format!("{addr}/p2p/{id}").parse::<Target>().unwrap();
    assert_eq!(
        (whole.id(), whole.clone()),
        (Some(id), Target::Addr(format!("{addr}/p2p/{id}").parse().unwrap()))
    );
    assert_eq!(addr.parse::<Target>().unwrap().id(), None);
    for bad in ["", "nonsense", "/nonsense", "12D3KooW\u{1b}[2J"] {
        let error = bad.parse::<Target>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Address, "{bad}");
        assert!(!error.message().contains('\u{1b}'), "{error}");
    }
}
