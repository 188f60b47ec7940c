//! The view over pipes and sockets, beside the local view; Go's recorded
//! sessions; callers that mean harm.

mod golden;
mod hostile;
mod proofs;
mod slow;

use super::{server, wire, *};
use crate::{
    ErrorKind, PeerId, Record,
    cluster::{
        Arrival, Detector, Heartbeat, Index, Limits, Now, Query, Roles, Select, Table, Via, View,
    },
    rpc::{self, Encoding, Limits as RpcLimits},
    schema::cluster_capnp::view,
};
use capnp_rpc::new_client;
use libp2p::identity::Keypair;
use std::{rc::Rc, time::Duration};

fn peer(n: u8) -> PeerId {
    Keypair::ed25519_from_bytes([n; 32]).unwrap().public().to_peer_id()
}

fn insert(table: &mut Table, peer: PeerId, seq: u64, server: u64, host: &str, meta: &[String]) {
    let beat = Heartbeat {
        server,
        ttl: Some(Duration::from_secs(10)),
        host: host.into(),
        meta: meta.to_vec(),
        sent_at: None,
        addrs: Default::default(),
    };
    let (via, roles) = (Via::Gossip, Roles::NONE);
    let arrival = Arrival { peer, seq, from: peer, beat: &beat, signed: &[], via, roles };
    let outcome = table.insert(Now { elapsed: Duration::ZERO, unix_nanos: u64::MAX / 2 }, arrival);
    assert!(outcome.is_accepted(), "{outcome:?}");
}

fn empty() -> Table {
    Table::new(peer(0), Limits::default(), Detector::default(), 1)
}

/// A table whose records share hosts, zones and beginnings of both.
fn table(n: u8) -> Table {
    let mut table = empty();
    for i in 1..=n {
        let meta = [
            format!("role={}", ["worker", "work", "head"][usize::from(i % 3)]),
            format!("zone=z{}", i % 7),
            format!("zone=z{}", i % 5),
        ];
        let host = format!("host-{}", i % 13);
        insert(&mut table, peer(i), u64::from(i), u64::from(i % 11), &host, &meta);
    }
    table
}

/// Every kind of query, in both directions.
fn queries() -> Vec<Query> {
    let mut all = vec![Query::all(), Query::all().limit(3), Query::all().to(Index::host("host-2"))];
    for index in [
        Index::peer(&peer(7)),
        Index::server(3),
        Index::host("host-1"),
        Index::host("host"),
        Index::host("host-12"),
        Index::meta("role", "work"),
        Index::meta("zone", "z3"),
        Index::meta("zone", ""),
        Index::meta("none", ""),
    ] {
        let to = Index { key: index.key.clone() + "5", ..index.clone() };
        all.extend([
            Query::matching(index.clone()),
            Query::matching(index.clone()).prefix(),
            Query::matching(index.clone()).prefix().limit(5),
            Query::from(index.clone()),
            Query::from(index.clone()).limit(4),
            Query::from(index.clone()).to(to.clone()),
            Query::from(to).to(index).limit(2),
        ]);
    }
    let reversed: Vec<_> = all.iter().map(|query| query.clone().reverse()).collect();
    all.extend(reversed);
    all
}

fn object(view: View) -> view::Client {
    server::object(&server::Snapshots::new(move || view.clone()))
}

async fn collect(mut records: RemoteRecords) -> crate::Result<Vec<Record>> {
    let mut all = Vec::new();
    while let Some(record) = records.next().await {
        all.push(record?);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_view_finds_what_the_local_one_does() {
    const TCP: &str = "/ip4/127.0.0.1/tcp/0";
    let a = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let b = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let local = table(60).view();
    let served = local.clone();
    let _export = serve(&b.vat, move || served.clone()).unwrap();
    a.host.connect(&b.info()).await.unwrap();
    for encoding in Encoding::ALL {
        let remote = RemoteView::connect_with(a.vat.clone(), b.host.id(), &[encoding]).await;
        let remote = remote.unwrap();
        for query in queries() {
            let found = collect(remote.iter(query.clone())).await.unwrap();
            assert_eq!(found, local.iter(query.clone()).collect::<Vec<_>>(), "{query:?}");
            assert_eq!(remote.lookup(&query).await.unwrap(), local.lookup(&query), "{query:?}");
            assert_eq!(remote.count(&query).await.unwrap(), local.count(&query), "{query:?}");
        }
        assert_eq!(remote.get(&peer(9)).await.unwrap(), local.get(&peer(9)));
        let nonsense = Query::from(Index::host("a")).to(Index::server(1));
        assert_eq!(remote.lookup(&nonsense).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(collect(remote.iter(nonsense)).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    // A thousand at once, over one connection and from several tasks.
    let remote = RemoteView::connect(a.vat.clone(), b.host.id()).await.unwrap();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { collect(remote.iter(Query::all())).await.unwrap().len() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 60);
    }
    // Those that are not read hold nobody up, and end when they are dropped.
    let mut stalled: Vec<_> = (0..100).map(|_| remote.iter(Query::all())).collect();
    for records in &mut stalled {
        records.next().await.unwrap().unwrap();
    }
    assert_eq!(remote.count(&Query::all()).await.unwrap(), 60);
    drop(stalled);
    a.close().await;
    assert_eq!(remote.count(&Query::all()).await.unwrap_err().kind(), ErrorKind::Closed);
    b.close().await;
}

/// Serves a view as Go's nodes do: exact is prefix, constraints are ignored, a
/// record comes once for each of its keys, and there is no way back.
struct Go(View);

impl Go {
    fn find(&self, selector: view::selector::Reader) -> capnp::Result<Vec<Record>> {
        let message = capnp::message::Builder::new_default();
        let none = message.get_root_as_reader::<view::iter_params::Reader>()?;
        let query = wire::read_query(selector, none.get_constraints()?, false)?.prefix();
        let field = match &query.select {
            Select::Match { index, .. } | Select::From(index) => index.field,
            Select::All => return Ok(self.0.iter(query).collect()),
        };
        let mut met: Vec<_> = self
            .0
            .iter(Query::all())
            .flat_map(|r| {
                (0..r.keys(field)).map(move |nth| (r.key(field, nth).to_owned(), r.clone()))
            })
            .filter(|(key, _)| match &query.select {
                Select::Match { index, .. } => key.starts_with(&index.key),
                Select::From(index) => *key >= index.key,
                Select::All => true,
            })
            .collect();
        met.sort_by(|(a, x), (b, y)| (a, x.peer_text()).cmp(&(b, y.peer_text())));
        Ok(met.into_iter().map(|(_, record)| record).collect())
    }
}

impl view::Server for Go {
    async fn lookup(
        self: Rc<Self>,
        params: view::LookupParams,
        mut results: view::LookupResults,
    ) -> capnp::Result<()> {
        if let Some(record) = self.find(params.get()?.get_selector()?)?.first() {
            wire::write_record(record, &[], results.get().init_result().init_just());
        }
        Ok(())
    }

    async fn iter(
        self: Rc<Self>,
        params: view::IterParams,
        _: view::IterResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let handler = params.get_handler()?;
        for record in self.find(params.get_selector()?)? {
            let mut request = handler.recv_request();
            let mut to = request.get().init_record();
            wire::write_record(&record, &[], to.reborrow());
            to.set_server(0);
            request.send().await?;
        }
        Ok(())
    }

    async fn reverse(
        self: Rc<Self>,
        _: view::ReverseParams,
        _: view::ReverseResults,
    ) -> capnp::Result<()> {
        Err(capnp::Error::failed("NOT IMPLEMENTED".into()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_a_go_node_find_what_they_should() {
    const TCP: &str = "/ip4/127.0.0.1/tcp/0";
    let a = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let b = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let local = table(40).view();
    let served = local.clone();
    let go = b.vat.export(NAME, move |_| -> view::Client { new_client(Go(served.clone())) });
    let _export = go.unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let remote = RemoteView::connect(a.vat.clone(), b.host.id()).await.unwrap();
    for query in queries() {
        let found = collect(remote.iter(query.clone())).await.unwrap();
        assert!(found.iter().all(|record| !record.verified()), "nobody has proven them");
        assert_eq!(found, local.iter(query.clone()).collect::<Vec<_>>(), "{query:?}");
        assert_eq!(remote.lookup(&query).await.unwrap(), local.lookup(&query), "{query:?}");
    }
    a.close().await;
    b.close().await;
}

/// One that finds more than waits on the way: its end must not be waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_a_go_node_finds_no_more_is_kept_than_the_limit() {
    const TCP: &str = "/ip4/127.0.0.1/tcp/0";
    let a = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let b = rpc::TestVat::start(TCP, RpcLimits::default()).await;
    let local = table(200).view();
    let served = local.clone();
    let go = b.vat.export(NAME, move |_| -> view::Client { new_client(Go(served.clone())) });
    let _export = go.unwrap();
    a.host.connect(&b.info()).await.unwrap();
    let remote = RemoteView::connect(a.vat.clone(), b.host.id()).await.unwrap();
    for query in [Query::all().reverse(), Query::from(Index::meta("zone", ""))] {
        let found = collect(remote.clone().keeping(200).iter(query.clone())).await.unwrap();
        assert_eq!(found, local.iter(query.clone()).collect::<Vec<_>>(), "{query:?}");
        for most in [0, 10, 199] {
            let over = collect(remote.clone().keeping(most).iter(query.clone()));
            let over = tokio::time::timeout(Duration::from_secs(60), over).await;
            let error = over.expect("it ends").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{query:?}");
        }
    }
    a.close().await;
    b.close().await;
}
