//! Vats over loopback sockets.

use super::*;
use crate::{PeerInfo, event::EventBus, host::Host, schema::cluster_capnp::view};
use capnp_rpc::new_client;
use libp2p::identity::Keypair;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

pub(crate) struct TestVat {
    pub(crate) vat: Vat,
    pub(crate) host: Host,
    pub(crate) metrics: Metrics,
    pub(crate) scope: Scope,
}

impl TestVat {
    pub(crate) async fn start(listen: &str, limits: Limits) -> Self {
        let (scope, metrics) = (Scope::default(), Metrics::default());
        let listen = [listen.parse().unwrap()];
        let key = Keypair::generate_ed25519();
        let events = EventBus::default();
        let of_host = crate::config::Limits::default();
        let host = Host::start(key, &listen, &of_host, &metrics, events, &scope, 0).await.unwrap();
        let connector = Connector::new(host.clone());
        let vat =
            Vat::new(connector, Namespace::default(), limits, &metrics, &scope, None).unwrap();
        Self { vat, host, metrics, scope }
    }

    pub(crate) fn info(&self) -> PeerInfo {
        self.host.record().borrow().info().clone()
    }

    pub(crate) async fn close(self) {
        assert!(self.scope.close(Duration::from_secs(5)).await, "the vat's thread goes on");
    }
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Counts the objects that are alive, and its calls.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl view::Server for Counted {
    async fn lookup(
        self: Rc<Self>,
        _: view::LookupParams,
        mut results: view::LookupResults,
    ) -> capnp::Result<()> {
        results.get().init_result().init_just().set_seq(7);
        Ok(())
    }
}

async fn lookup(remote: &Remote<view::Client>) -> Result<u64> {
    remote
        .with(async |client: view::Client| {
            let response = client.lookup_request().send().promise.await?;
            match response.get()?.get_result()?.which()? {
                view::maybe_record::Just(record) => Ok(record?.get_seq()),
                view::maybe_record::Nothing(()) => Ok(0),
            }
        })
        .await
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never happens");
}

#[tokio::test]
async fn a_capability_is_called_in_every_encoding_over_tcp_and_quic() {
    for listen in [TCP, QUIC] {
        let (a, b) = (
            TestVat::start(listen, Limits::default()).await,
            TestVat::start(listen, Limits::default()).await,
        );
        let alive = Arc::new(AtomicUsize::new(0));
        let (count, caller) = (alive.clone(), a.host.id());
        let export = b.vat.export("view", move |peer| -> view::Client {
            assert_eq!(peer, caller);
            new_client(Counted::new(&count))
        });
        let export = export.unwrap();
        a.host.connect(&b.info()).await.unwrap();
        for encoding in Encoding::ALL {
            let remote = a.vat.connect_with(b.host.id(), "view", &[encoding]).await.unwrap();
            assert_eq!((remote.encoding(), lookup(&remote).await.unwrap()), (encoding, 7));
        }
        until(|| alive.load(Ordering::SeqCst) == 0).await;

        // What is withdrawn ends, and can be exported again.
        let remote = a.vat.connect::<view::Client>(b.host.id(), "view").await.unwrap();
        assert_eq!((remote.encoding(), lookup(&remote).await.unwrap()), (Encoding::Packed, 7));
        drop(export);
        until(|| remote.is_closed()).await;
        assert_eq!(lookup(&remote).await.unwrap_err().kind(), ErrorKind::Unreachable);
        until(|| alive.load(Ordering::SeqCst) == 0).await;
        let error = a.vat.connect::<view::Client>(b.host.id(), "view").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(a.metrics.encode().contains("casm_rpc_streams 0"), "{}", a.metrics.encode());
        a.close().await;
        b.close().await;
    }
}

#[tokio::test]
async fn a_peer_gets_so_many_streams_and_no_more() {
    let few = Limits { streams_per_peer: 3, ..Limits::default() };
    let (a, b) = (TestVat::start(TCP, Limits::default()).await, TestVat::start(TCP, few).await);
    let alive = Arc::new(AtomicUsize::new(0));
    let count = alive.clone();
    let _export = b
        .vat
        .export("view", move |_| -> view::Client { new_client(Counted::new(&count)) })
        .unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let mut remotes = Vec::new();
    for _ in 0..3 {
        let remote = a.vat.connect(b.host.id(), "view").await.unwrap();
        assert_eq!(lookup(&remote).await.unwrap(), 7);
        remotes.push(remote);
    }
    let one_more = a.vat.connect(b.host.id(), "view").await.unwrap();
    assert_eq!(lookup(&one_more).await.unwrap_err().kind(), ErrorKind::Unreachable);
    let counted = "casm_rpc_ended_total{reason=\"too-many-streams-of-one-peer\"} 1";
    assert!(b.metrics.encode().contains(counted), "{}", b.metrics.encode());
    drop(remotes);
    until(|| alive.load(Ordering::SeqCst) == 0).await;
    let again = a.vat.connect(b.host.id(), "view").await.unwrap();
    assert_eq!(lookup(&again).await.unwrap(), 7);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn work_that_panics_or_is_called_off_ends_alone() {
    let (a, b) = (
        TestVat::start(TCP, Limits::default()).await,
        TestVat::start(TCP, Limits::default()).await,
    );
    let alive = Arc::new(AtomicUsize::new(0));
    let count = alive.clone();
    let _export = b
        .vat
        .export("view", move |_| -> view::Client { new_client(Counted::new(&count)) })
        .unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let remote = a.vat.connect::<view::Client>(b.host.id(), "view").await.unwrap();
    let error = remote.with(async |_| -> capnp::Result<()> { panic!("on purpose") }).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Internal);

    let guard = Counted::new(&alive);
    let never = remote.with(async move |_| -> capnp::Result<()> {
        let _guard = guard;
        std::future::pending().await
    });
    let called_off = tokio::time::timeout(Duration::from_millis(50), never).await;
    assert!(called_off.is_err());
    assert_eq!(lookup(&remote).await.unwrap(), 7);
    until(|| alive.load(Ordering::SeqCst) == 1).await;

    // After the end of the node there is nothing more to get.
    let vat = a.vat.clone();
    a.close().await;
    assert_eq!(lookup(&remote).await.unwrap_err().kind(), ErrorKind::Unreachable);
    let error = vat.connect::<view::Client>(b.host.id(), "view").await.unwrap_err();
    println!("after the end: {error}");
    b.close().await;
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_object_that_cannot_be_made_costs_its_own_connection_alone() {
    let (a, b) = (
        TestVat::start(TCP, Limits::default()).await,
        TestVat::start(TCP, Limits::default()).await,
    );
    let alive = Arc::new(AtomicUsize::new(0));
    let mut made = 0;
    let _export = b
        .vat
        .export("view", move |_| -> view::Client {
            made += 1;
            assert!(made > 1, "on purpose");
            new_client(Counted::new(&alive))
        })
        .unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let first = a.vat.connect(b.host.id(), "view").await.unwrap();
    assert_eq!(lookup(&first).await.unwrap_err().kind(), ErrorKind::Unreachable);
    let second = a.vat.connect(b.host.id(), "view").await.unwrap();
    assert_eq!(lookup(&second).await.unwrap(), 7);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn bad_names_and_limits_are_named() {
    let a = TestVat::start(TCP, Limits::default()).await;
    let error = a.vat.export("a/b", |_| -> view::Client { unreachable!() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let _one = a.vat.export("x", |_| -> view::Client { unreachable!() }).unwrap();
    let error = a.vat.export("x", |_| -> view::Client { unreachable!() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    let limits = Limits { queued_bytes: 1, ..Limits::default() };
    let error = Vat::new(
        Connector::new(a.host.clone()),
        Namespace::default(),
        limits,
        &Metrics::default(),
        &Scope::default(),
        None,
    )
    .unwrap_err();
    assert!(error.message().contains("queued_bytes"), "{error}");
    a.close().await;
}

/// What a thread is given in the moment in which it ends may stay where it is: the
/// connection's end for works, too.
#[tokio::test]
async fn what_a_thread_that_ends_has_not_taken_is_not_waited_for() {
    let a = TestVat::start(TCP, Limits::default()).await;
    let (work, works) = mpsc::channel(1);
    let ended = CancellationToken::new();
    let (vat, peer) = (a.vat.clone(), PeerId::random());
    let (encoding, connection) = (Encoding::Plain, OfConnection::default());
    let ended_too = ended.clone();
    let remote = Remote::<view::Client> { vat, peer, encoding, work, ended: ended_too, connection };
    // The second one has no room, even.
    let asked = async { tokio::join!(lookup(&remote), lookup(&remote)) };
    let end = async {
        until(|| !works.is_empty()).await;
        ended.cancel()
    };
    let all = async { tokio::join!(asked, end) };
    let all = tokio::time::timeout(Duration::from_secs(20), all);
    let ((one, other), ()) = all.await.expect("the thread's end is noticed");
    assert_eq!(one.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Unreachable);
    assert!(remote.is_closed());
    assert_eq!(lookup(&remote).await.unwrap_err().kind(), ErrorKind::Unreachable);
    a.close().await;
}

/// Never answers. Counts those that are alive, and the calls that have come.
struct Stuck {
    _alive: Counted,
    calls: Arc<AtomicUsize>,
}

impl Stuck {
    fn new(alive: &Arc<AtomicUsize>, calls: &Arc<AtomicUsize>) -> Self {
        Self { _alive: Counted::new(alive), calls: calls.clone() }
    }

    async fn stick<T>(&self, _params: T) -> capnp::Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

impl view::Server for Stuck {
    async fn lookup(
        self: Rc<Self>,
        params: view::LookupParams,
        _: view::LookupResults,
    ) -> capnp::Result<()> {
        self.stick(params).await
    }

    /// Calls back.
    async fn iter(
        self: Rc<Self>,
        params: view::IterParams,
        _: view::IterResults,
    ) -> capnp::Result<()> {
        params.get()?.get_handler()?.recv_request().send().await?;
        self.stick(params).await
    }
}

impl view::handler::Server for Stuck {
    async fn recv(self: Rc<Self>, params: view::handler::RecvParams) -> capnp::Result<()> {
        self.stick(params).await
    }
}

/// Calls that are worked on go with their connection, whichever end ends it.
#[tokio::test]
async fn a_call_that_is_worked_on_keeps_nothing_of_a_connection_that_is_dropped() {
    for withdrawn in [true, false] {
        let a = TestVat::start(TCP, Limits::default()).await;
        let b = TestVat::start(TCP, Limits::default()).await;
        let [here, there, calls] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let counts = (there.clone(), calls.clone());
        let make = move |_| -> view::Client { new_client(Stuck::new(&counts.0, &counts.1)) };
        let export = b.vat.export("view", make).unwrap();
        a.host.connect(&b.info()).await.unwrap();
        let remote = a.vat.connect::<view::Client>(b.host.id(), "view").await.unwrap();
        let counts = (here.clone(), calls.clone());
        let asked = tokio::spawn(async move {
            let iterate = remote.with(async move |client: view::Client| {
                let handler = Stuck::new(&counts.0, &counts.1);
                let mut request = client.iter_request();
                request.get().set_handler(new_client(handler));
                request.send().promise.await.map(drop)
            });
            tokio::join!(lookup(&remote), iterate)
        });
        let all = || [&here, &there, &calls].map(|count| count.load(Ordering::SeqCst));
        until(|| all() == [1, 1, 3]).await;
        if withdrawn {
            drop(export);
        } else {
            a.scope.cancel();
        }
        let (one, other) = asked.await.unwrap();
        assert_eq!(one.unwrap_err().kind(), ErrorKind::Unreachable);
        assert_eq!(other.unwrap_err().kind(), ErrorKind::Unreachable);
        until(|| all()[..2] == [0, 0]).await;
        a.close().await;
        b.close().await;
    }
}
