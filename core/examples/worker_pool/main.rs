//! A pool of workers that come and go, and a boss who always knows them, and
//! hands jobs to them.
//!
//! `cargo run -p casm-p2p --example worker_pool [BOOT]`
//!
//! Starts a boss and two workers in this process, on this machine alone; then one
//! worker leaves, another comes, and there are more jobs. BOOT is where they look
//! for each other, `/ip4/127.0.0.1/udp/8822/ports/32` if it is not given.

#![allow(missing_docs, reason = "generated code is documented by its schema")]

#[rustfmt::skip]
#[allow(clippy::all, clippy::unimplemented, unreachable_pub, dead_code)]
mod job_capnp;

use casm::{Change, Index, Node, NodeBuilder, PeerId, Query, Record, Result, rpc::Export};
use futures::{StreamExt, stream::FuturesUnordered};
use job_capnp::worker;
use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
    time::Duration,
};

/// What a worker offers to whoever connects.
struct Worker;

impl worker::Server for Worker {
    async fn square(
        self: Rc<Self>,
        params: worker::SquareParams,
        mut results: worker::SquareResults,
    ) -> capnp::Result<()> {
        let number = params.get()?.get_number();
        let square = number.checked_mul(number);
        let square = square.ok_or_else(|| capnp::Error::failed(format!("{number} is large")))?;
        results.get().set_square(square);
        Ok(())
    }
}

/// Starts a worker, which works until it is closed or the export is dropped.
async fn start_worker(builder: NodeBuilder) -> Result<(Node, Export)> {
    let node = builder.start().await?;
    let export =
        node.vat().export("job", |_| -> worker::Client { capnp_rpc::new_client(Worker) })?;
    // Only now: whoever reads it may ask at once.
    node.update_meta(|meta| drop(meta.insert("role".into(), "worker".into()))).await?;
    Ok((node, export))
}

/// Has all jobs done by whichever workers there are.
async fn boss(node: &Node, mut jobs: VecDeque<u64>) -> Result<()> {
    let mut changes = node.subscribe(Query::matching(Index::meta("role", "worker")));
    // Whoever is there now, and of those, who has nothing to do.
    let mut workers = HashMap::<PeerId, Record>::new();
    let mut idle = VecDeque::new();
    let mut running = FuturesUnordered::new();
    while !(jobs.is_empty() && running.is_empty()) {
        while let (Some(worker), false) = (idle.front().copied(), jobs.is_empty()) {
            idle.pop_front();
            let (Some(record), Some(job)) = (workers.get(&worker), jobs.pop_front()) else {
                continue;
            };
            let record = record.clone();
            running.push(async move { (worker, job, ask(node, &record, job).await) });
        }
        tokio::select! {
            change = changes.next() => match change {
                Some(Change::Current(record) | Change::Joined(record)) => {
                    println!("{} is there", record.peer());
                    idle.push_back(record.peer());
                    workers.insert(record.peer(), record);
                }
                Some(Change::Updated(record)) => drop(workers.insert(record.peer(), record)),
                Some(Change::Left(record)) => {
                    println!("{} is gone", record.peer());
                    workers.remove(&record.peer());
                    idle.retain(|worker| *worker != record.peer());
                }
                // The boss was too slow to follow: the whole picture comes again.
                Some(Change::Dropped { .. }) => {
                    workers.clear();
                    idle.clear();
                }
                // The node is closed.
                None => break,
                Some(_) => {}
            },
            Some((worker, job, result)) = running.next() => {
                match result {
                    Ok(square) => println!("{worker} says {job}² = {square}"),
                    Err(error) => {
                        println!("{worker} doesn't do {job}: {error}");
                        jobs.push_back(job);
                    }
                }
                if workers.contains_key(&worker) && !idle.contains(&worker) {
                    idle.push_back(worker);
                }
            }
        }
    }
    Ok(())
}

/// Has a worker do a job.
async fn ask(node: &Node, worker: &Record, number: u64) -> Result<u64> {
    let asked = async {
        // Its record says where it is.
        let remote = node.vat().connect::<worker::Client>(worker, "job").await?;
        let square = async move |client: worker::Client| {
            let mut request = client.square_request();
            request.get().set_number(number);
            Ok(request.send().promise.await?.get()?.get_square())
        };
        remote.with(square).await
    };
    let result = asked.await;
    if result.is_err() {
        // It may be about to leave the view: it is not asked again at once.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    result
}

#[tokio::main]
async fn main() -> Result<()> {
    let boot = std::env::args().nth(1);
    let boot = boot.as_deref().unwrap_or("/ip4/127.0.0.1/udp/8822/ports/32");
    let builder = || Node::builder().namespace("pool").listen("/ip4/127.0.0.1/tcp/0").boot([boot]);
    let boss_node = builder().meta("role", "boss").start().await?;
    let (first, _first_works) = start_worker(builder()).await?;
    let (second, _second_works) = start_worker(builder()).await?;
    boss(&boss_node, (1..=6).collect()).await?;

    first.close().await?;
    let (third, _third_works) = start_worker(builder()).await?;
    // So that there is something left for it to do.
    boss_node.wait_for_query(Query::matching(Index::peer(&third.id())), 1).await?;
    boss(&boss_node, (7..=12).collect()).await?;

    for node in [boss_node, second, third] {
        node.close().await?;
    }
    Ok(())
}
