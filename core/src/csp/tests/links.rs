//! One connection to an owner, for all that is used of it.

use super::*;

#[tokio::test]
async fn any_number_of_channels_and_semaphores_of_an_owner_go_over_one_connection() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let name = |n: u32| format!("c{n}");
    let mut held = Vec::new();
    for n in 0..20 {
        owner.channel(&name(n), 1);
        owner.csp.semaphore(&name(n), 1, (0, None)).unwrap();
        let channel = other.open(&name(n), &owner).await;
        within(channel.send(n.to_be_bytes())).await.unwrap();
        let semaphore = within(other.csp.open_semaphore(&name(n), Some(owner.id()))).await.unwrap();
        let lease = within(semaphore.acquire()).await.unwrap();
        held.push((n, channel, lease));
    }
    assert!(owner.vat.metrics.encode().contains("casm_rpc_streams 1\n"));
    for (n, channel, lease) in held {
        assert_eq!(number(&within(channel.recv()).await.unwrap()), n);
        assert!(!lease.is_lost());
    }
    owner.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_channel_is_left_when_nobody_has_a_handle_of_it() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let (own, kept) = (owner.channel("jobs", 1), owner.channel("kept", 1));
    let (jobs, keeps) = (other.open("jobs", &owner).await, other.open("kept", &owner).await);
    within(jobs.send("x")).await.unwrap();
    let job = within(jobs.take()).await.unwrap();
    drop(jobs);
    tokio::time::sleep(1500 * MS).await;
    within(job.done()).await.unwrap();
    within(async {
        while !own.dump().contains("conns: {}") {
            tokio::time::sleep(20 * MS).await;
        }
    })
    .await;
    assert!(!kept.dump().contains("conns: {}"));
    within(keeps.send("y")).await.unwrap();
    // It can be opened again.
    let jobs = other.open("jobs", &owner).await;
    within(jobs.send("z")).await.unwrap();
    assert_eq!(within(own.recv()).await.unwrap(), b"z");
    owner.close().await;
    other.close().await;
}
