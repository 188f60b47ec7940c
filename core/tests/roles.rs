//! Roles that are proven of members: what they are shown for, and what they let others
//! do. Here a table says what certificates would.

mod members;

use casm::{
    ErrorKind, Event, Index, Node, PeerId, Query,
    cluster::Roles,
    service::{CallOptions, ServeOptions},
    topics::TopicOptions,
};
use members::*;
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

/// What is proven of whom, for all nodes of a test.
#[derive(Clone, Default)]
struct Proven(Arc<Mutex<HashMap<PeerId, Roles>>>);

impl Proven {
    /// These roles are proven of a node from now on, and the others know.
    async fn set(&self, of: &Node, roles: &[&str], nodes: &[&Node]) {
        self.0.lock().unwrap().insert(of.id(), roles.iter().copied().collect());
        for node in nodes {
            node.roles_changed([of.id()]).await.unwrap();
        }
    }

    /// Nodes that are all connected, and see each other.
    async fn cluster<const N: usize>(&self) -> [Node; N] {
        let mut nodes: Vec<Node> = Vec::new();
        for _ in 0..N {
            let proven = self.clone();
            let roles = move |peer: &PeerId| {
                proven.0.lock().unwrap().get(peer).cloned().unwrap_or_default()
            };
            let builder = Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0");
            let builder = builder.boot(["none"]).pex(None).meta("role", "claimed");
            let node = builder.roles_of(roles).start().await.unwrap();
            for other in &nodes {
                node.connect(&other.info()).await.unwrap();
            }
            nodes.push(node);
        }
        for node in &nodes {
            soon(node.wait_for(N)).await.unwrap();
        }
        nodes.try_into().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_found_by_what_is_proven_and_not_by_what_they_claim() {
    let proven = Proven::default();
    let [a, b] = proven.cluster().await;
    assert_eq!(a.view().count(&Query::role("claimed")), 0);
    let mut events = a.events();
    proven.set(&b, &["worker", "eu"], &[&a, &b]).await;
    let view = soon(a.wait_for_query(Query::role("worker"), 1)).await.unwrap();
    let record = view.get(&b.id()).unwrap();
    assert_eq!(record.roles().collect::<Vec<_>>(), ["eu", "worker"]);
    assert_eq!(view.count(&"role:eu".parse().unwrap()), 1);
    assert_eq!(view.count(&Query::matching(Index::role("w")).prefix()), 1);
    soon(async {
        while !matches!(events.next().await, Some(Event::PeerUpdated { record }) if record.has_role("eu"))
        {}
    })
    .await;
    // Each knows its own.
    soon(b.wait_for_query(Query::role("worker"), 1)).await.unwrap();

    // Nobody is asked for what he knows of others.
    let remote = a.view_of(b.id()).await.unwrap();
    let told = soon(remote.get(&b.id())).await.unwrap().unwrap();
    assert_eq!((told.peer(), told.roles().len()), (b.id(), 0));
    let by_role = [
        Query::role("worker"),
        Query::role("w").prefix(),
        Query::from(Index::role("a")).reverse(),
        Query::all().to(Index::role("z")),
    ];
    for query in by_role {
        let error = soon(remote.lookup(&query)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains("role:"), "{error}");
        let error = soon(remote.iter(query.clone()).next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_eq!(soon(remote.count(&query)).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    close([a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_roles_is_for_those_of_whom_one_is_proven() {
    let proven = Proven::default();
    let [caller, open, shut] = proven.cluster().await;
    let all = [&caller, &open, &shut];
    let options = ServeOptions::default().allow("admin").allow("worker");
    shut.serve_with("work", &options, async |_| Ok::<_, Infallible>("shut")).unwrap();
    let bad = ServeOptions::default().allow("two words");
    let error = shut.serve_with("x", &bad, echo).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    shut.serve_stream_with("parts", &options, async |_, parts| {
        parts.send("a part").await?;
        Ok::<_, casm::Error>(())
    })
    .unwrap();
    sees(&caller, "work", 1).await;
    let record = caller.view().get(&shut.id()).unwrap();
    assert_eq!(record.services().collect::<Vec<_>>(), [("parts", "1"), ("work", "1")]);

    let refused = |error: casm::Error| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains("`admin` or `worker`"), "{error}");
        assert!(error.message().contains(&caller.id().to_string()), "{error}");
    };
    refused(soon(caller.call("work", "")).await.unwrap_err());
    refused(soon(caller.call_with("work", "", to(&shut))).await.unwrap_err());
    let mut parts = caller.call_stream("parts", "", to(&shut)).unwrap();
    refused(soon(parts.next()).await.unwrap().unwrap_err());
    let mut replies = caller.call_all("work", "", CallOptions::new()).unwrap();
    refused(soon(replies.next()).await.unwrap().result.unwrap_err());
    let stats = shut.service_stats("work").unwrap();
    assert_eq!((stats.calls, stats.failures.get("notFound")), (0, Some(&3)));
    let metrics = shut.metrics().encode();
    assert!(metrics.contains("casm_service_refused_total{reason=\"not-allowed\"} 4"), "{metrics}");
    // The own node is not asked for a role.
    assert_eq!(soon(shut.call("work", "")).await.unwrap().text().unwrap(), "shut");
    // Another member is asked where there is one.
    open.serve("work", async |_| Ok::<_, Infallible>("open")).unwrap();
    sees(&caller, "work", 2).await;
    for _ in 0..10 {
        assert_eq!(soon(caller.call("work", "")).await.unwrap().text().unwrap(), "open");
    }

    proven.set(&caller, &["worker"], &all).await;
    assert_eq!(soon(caller.call_with("work", "", to(&shut))).await.unwrap().data, b"shut");
    let mut parts = caller.call_stream("parts", "", to(&shut)).unwrap();
    assert_eq!(soon(parts.next()).await.unwrap().unwrap(), b"a part");
    assert!(soon(parts.next()).await.is_none());
    // It is looked at for each request.
    proven.set(&caller, &["works"], &all).await;
    refused(soon(caller.call_with("work", "", to(&shut))).await.unwrap_err());
    close([caller, open, shut]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_can_be_for_those_of_whom_a_role_is_proven() {
    let proven = Proven::default();
    let [worker, other, reader] = proven.cluster().await;
    proven.set(&worker, &["worker"], &[&worker, &other, &reader]).await;
    for node in [&worker, &other, &reader] {
        soon(node.wait_for_query(Query::role("worker"), 1)).await.unwrap();
    }
    let options = || TopicOptions::default().accept(Query::role("worker"));
    let [from_worker, from_other, at_reader] =
        [&worker, &other, &reader].map(|node| node.topic_with("t", options()).unwrap());
    let mut messages = at_reader.subscribe();
    for topic in [&from_worker, &from_other, &at_reader] {
        soon(topic.wait_for_peers(2)).await.unwrap();
    }
    from_other.publish("no").await.unwrap();
    let not_accepted = "casm_topic_messages_total{verdict=\"not-accepted\"} 1";
    until(|| reader.metrics().encode().contains(not_accepted)).await;
    from_worker.publish("yes").await.unwrap();
    let message = soon(messages.next()).await.unwrap();
    assert_eq!((message.source(), message.data()), (worker.id(), &b"yes"[..]));
    // Who has the role no more says nothing there.
    proven.set(&worker, &[], &[&reader]).await;
    until(|| reader.view().count(&Query::role("worker")) == 0).await;
    from_worker.publish("late").await.unwrap();
    let not_accepted = "casm_topic_messages_total{verdict=\"not-accepted\"} 2";
    until(|| reader.metrics().encode().contains(not_accepted)).await;
    close([worker, other, reader]).await;
}
