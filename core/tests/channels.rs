//! Channels and semaphores of whole nodes.

use casm::{
    ChannelOptions, ErrorKind, Node, NodeBuilder, Target, boot::FindOptions, cluster::Query, select,
};
use futures::StreamExt;
use std::{future::Future, time::Duration};

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it happens within 30 s")
}

fn builder() -> NodeBuilder {
    Node::builder().namespace("test").listen("/ip4/127.0.0.1/tcp/0").boot(["none"])
}

#[tokio::test]
async fn nodes_share_channels_and_semaphores() {
    let (here, there) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    there.connect(&here.info()).await.unwrap();
    let own = here.channel("jobs", ChannelOptions::new().capacity(2)).unwrap();
    let jobs = soon(there.open_channel("jobs", Target::from(here.id()))).await.unwrap();
    soon(jobs.send("a job")).await.unwrap();
    let job = soon(own.take()).await.unwrap();
    assert_eq!(job.data(), b"a job");
    soon(job.done()).await.unwrap();
    own.send("another").await.unwrap();
    let (at, value) = soon(select([jobs.receiving()], None)).await.unwrap();
    assert_eq!((at, value), (0, Some(b"another".to_vec())));

    let error = soon(there.open_channel("no-such", Target::from(here.id()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let _leader = here.semaphore("leader", 1).await.unwrap();
    let leader = soon(there.open_semaphore("leader", Target::from(here.id()))).await.unwrap();
    let lease = soon(leader.acquire()).await.unwrap();
    assert!(!lease.is_lost());
    let waiting = jobs.recv();
    let ((), waited) =
        soon(async { tokio::join!(async { there.close().await.unwrap() }, waiting) }).await;
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Closed);
    let error = there.channel("late", ChannelOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let unknown = "casm_channel_events_total{event=\"channel-unknown\"} 1";
    assert!(here.metrics().encode().contains(unknown));
    here.close().await.unwrap();
}

#[tokio::test]
async fn channels_and_semaphores_are_found_by_their_names() {
    let (here, there) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    there.connect(&here.info()).await.unwrap();
    let own = here.channel("jobs", ChannelOptions::new().capacity(2)).unwrap();
    here.semaphore("leader", 1).await.unwrap();
    let view = soon(there.wait_for_query(Query::channel("jobs"), 1)).await.unwrap();
    let record = view.lookup(&Query::channel("jobs")).unwrap();
    assert_eq!((record.peer(), record.channels().collect()), (here.id(), vec!["jobs"]));
    assert!(record.meta().is_empty(), "it is the library's");
    let jobs = soon(there.open_channel("jobs", None)).await.unwrap();
    soon(jobs.send("a job")).await.unwrap();
    assert_eq!(soon(own.recv()).await.unwrap(), b"a job");
    let semaphore: Query = "meta:sem.leader=1".parse().unwrap();
    soon(there.wait_for_query(semaphore, 1)).await.unwrap();
    let leader = soon(there.open_semaphore("leader", None)).await.unwrap();
    soon(leader.acquire()).await.unwrap();
    // It is gone from the record when nothing can be had of it.
    own.close().await.unwrap();
    let gone = async {
        while there.view().lookup(&Query::channel("jobs")).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(gone).await;
    assert_eq!(there.open_channel("jobs", None).await.unwrap_err().kind(), ErrorKind::NotFound);
    for node in [here, there] {
        node.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_owner_is_reached_of_which_others_have_told() {
    let hub = builder().start().await.unwrap();
    let (here, there) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    let own = here.channel("jobs", ChannelOptions::new().capacity(2)).unwrap();
    let error = soon(there.open_channel("jobs", Target::from(here.id()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    for node in [&here, &there] {
        soon(node.connect(&hub.info())).await.unwrap();
    }
    // They hear of each other, and may well connect by themselves.
    let known = async {
        loop {
            let found: Vec<_> = there.find_peers(FindOptions::default().limit(2)).collect().await;
            if found.iter().flatten().any(|found| found.peer.id == here.id()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(known).await;
    there.disconnect(here.id()).await;
    let jobs = soon(there.open_channel("jobs", Target::from(here.id()))).await.unwrap();
    soon(jobs.send("a job")).await.unwrap();
    assert_eq!(own.recv().await.unwrap(), b"a job");
    for node in [hub, here, there] {
        node.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_closes_gives_its_leases_back() {
    let here = builder().start().await.unwrap();
    let leader = here.semaphore("leader", 2).await.unwrap();
    for _ in 0..3 {
        let there = builder().start().await.unwrap();
        there.connect(&here.info()).await.unwrap();
        let of_here = there.open_semaphore("leader", Target::from(here.id()));
        let of_here = soon(of_here).await.unwrap();
        let released = soon(of_here.acquire()).await.unwrap();
        let held = soon(of_here.acquire()).await.unwrap();
        let waiting = tokio::spawn(async move { of_here.acquire().await });
        // Neither waits until the other end has heard of it.
        released.release();
        there.close().await.unwrap();
        assert!(held.is_lost());
        drop(soon(waiting).await);
        // A grant that nobody gives back lasts for 12 s.
        let both = async { tokio::join!(leader.acquire(), leader.acquire()) };
        let both = tokio::time::timeout(Duration::from_secs(6), both).await;
        let (one, other) = both.expect("they were given back");
        assert!(one.unwrap().token() != other.unwrap().token());
    }
    here.close().await.unwrap();
}

#[tokio::test]
async fn tokens_grow_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut last = 0;
    for run in 0..2 {
        let node = builder().data(data.path()).start().await.unwrap();
        if run > 0 {
            // Leases of the run before may still be believed in.
            let semaphore = node.semaphore("leader", 1).await.unwrap();
            let error = soon(semaphore.acquire_timeout(Duration::from_secs(1))).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        }
        // Also when it is made anew in one run.
        for _ in 0..2 {
            let semaphore = node.semaphore("leader", 1).await.unwrap();
            let token = soon(semaphore.acquire()).await.unwrap().token();
            assert!(token > last, "{token} after {last}");
            last = token;
            semaphore.close().unwrap();
        }
        node.close().await.unwrap();
    }
}
