use super::*;
use crate::{config::Limits, event::EventBus, metrics::Metrics, scope::Scope};
use futures::FutureExt;
use std::{
    future::ready,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

async fn host(scope: &Scope) -> Host {
    let (key, listen) =
        (crate::Keypair::generate_ed25519(), ["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
    let (limits, metrics) = (Limits::default(), Metrics::default());
    Host::start(key, &listen, &limits, &metrics, EventBus::default(), scope, 0).await.unwrap()
}

/// What says of every peer that it is there, and counts how often it was asked.
fn source(addrs: Vec<Multiaddr>) -> (Whereabouts, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let source = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        ready(addrs.clone()).boxed()
    };
    (Arc::new(source), asked)
}

/// An address at which nobody is.
async fn nowhere() -> Multiaddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("/ip4/127.0.0.1/tcp/{}", socket.local_addr().unwrap().port()).parse().unwrap()
}

/// Of what was given, what the record says, and what peer exchange says, each is
/// needed only if what comes before it leads to nobody.
#[tokio::test]
async fn each_source_is_asked_if_the_one_before_led_to_nobody() {
    let scope = Scope::default();
    let a = host(&scope).await;
    let wrong = nowhere().await;
    const NONE: [bool; 0] = [];
    // Of each source whether its addresses lead to the peer.
    let cases = [
        ([&[true][..], &NONE, &NONE], Some([0, 0])),
        ([&NONE, &[true], &[false]], Some([1, 0])),
        ([&NONE, &NONE, &[true]], Some([1, 1])),
        ([&[false], &[false], &[true]], Some([1, 1])),
        ([&[false], &[false], &NONE], None),
    ];
    for (sources, needs) in cases {
        // Whom it has met, it knows where to look for.
        let b = host(&scope).await;
        let right = b.addrs().borrow()[0].clone();
        let [given, by_record, by_exchange] = sources.map(|leads| {
            leads.iter().map(|leads| if *leads { &right } else { &wrong }).cloned().collect()
        });
        let (record, of_record) = source(by_record);
        let (exchange, of_exchange) = source(by_exchange);
        let connector = Connector::new(a.clone());
        connector.find_with(record, exchange);
        let connected = connector.connect(PeerInfo { id: b.id(), addrs: given }).await;
        let asked = [&of_record, &of_exchange].map(|asked| asked.load(Ordering::Relaxed));
        match needs {
            Some(needs) => assert_eq!((connected.unwrap(), asked), (b.id(), needs), "{sources:?}"),
            None => {
                let error = connected.unwrap_err();
                assert_eq!((error.kind(), asked), (ErrorKind::Unreachable, [1, 1]), "{error}");
                assert_eq!(error.message().matches(&wrong.to_string()).count(), 1, "{error}");
            }
        }
    }
    assert!(scope.close(Duration::from_secs(5)).await);
}

/// A record that has many dial a victim costs the victim no more than what others
/// tell does.
#[tokio::test]
async fn dials_of_what_records_say_are_paid_for() {
    let scope = Scope::default();
    let a = host(&scope).await;
    let victim = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = victim.local_addr().unwrap().port();
    let (record, _) = source(vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()]);
    let connector = Connector::new(a);
    connector.find_with(record, source(Vec::new()).0);
    let dialled = Arc::new(AtomicUsize::new(0));
    let count = dialled.clone();
    scope.spawn(async move {
        while let Ok((socket, _)) = victim.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            drop(socket);
        }
    });
    for _ in 0..30 {
        let error = connector.connect(PeerId::random()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
    let dialled = dialled.load(Ordering::Relaxed);
    assert!((1..=15).contains(&dialled), "{dialled}");
    assert!(scope.close(Duration::from_secs(5)).await);
}
