//! Exports a capability with an interface of one's own (`counter.capnp`) on one
//! node, and uses it from another, over loopback.
//!
//! `cargo run -p casm-p2p --example capability`

#![allow(missing_docs, reason = "generated code is documented by its schema")]

#[rustfmt::skip]
#[allow(clippy::all, clippy::unimplemented, unreachable_pub, dead_code)]
mod counter_capnp;

use casm::{Node, PeerId, rpc::Remote};
use counter_capnp::counter;
use std::rc::Rc;
use tokio::sync::watch;

/// What the objects of all connections share.
#[derive(Clone)]
struct Total(watch::Sender<u64>);

/// The object of one connection.
struct Counter {
    peer: PeerId,
    total: Total,
}

impl counter::Server for Counter {
    async fn add(
        self: Rc<Self>,
        params: counter::AddParams,
        mut results: counter::AddResults,
    ) -> capnp::Result<()> {
        let amount = params.get()?.get_amount();
        self.total.0.send_modify(|total| *total = total.saturating_add(amount));
        let total = *self.total.0.borrow();
        println!("{} adds {amount}: {total}", self.peer);
        results.get().set_total(total);
        Ok(())
    }

    async fn watch(
        self: Rc<Self>,
        params: counter::WatchParams,
        _: counter::WatchResults,
    ) -> capnp::Result<()> {
        let watcher = params.get()?.get_watcher()?;
        let mut totals = self.total.0.subscribe();
        loop {
            let mut request = watcher.total_request();
            request.get().set_total(*totals.borrow_and_update());
            // Waits while the watcher is slow; what it misses is of no use then.
            request.send().await?;
            let gone = |_| capnp::Error::disconnected("the counter is gone".into());
            totals.changed().await.map_err(gone)?;
        }
    }
}

/// Passes the totals on to any task: a channel is `Send`, a capability is not.
struct Watcher(watch::Sender<u64>);

impl counter::watcher::Server for Watcher {
    async fn total(self: Rc<Self>, params: counter::watcher::TotalParams) -> capnp::Result<()> {
        self.0.send_replace(params.get()?.get_total());
        Ok(())
    }
}

async fn add(counter: &Remote<counter::Client>, amount: u64) -> casm::Result<u64> {
    counter
        .with(async move |counter: counter::Client| {
            let mut request = counter.add_request();
            request.get().set_amount(amount);
            Ok(request.send().promise.await?.get()?.get_total())
        })
        .await
}

#[tokio::main]
async fn main() -> casm::Result<()> {
    let start = || Node::builder().listen("/ip4/127.0.0.1/tcp/0").boot(["none"]).start();
    let (server, client) = (start().await?, start().await?);

    let total = Total(watch::Sender::new(0));
    let _export = server.vat().export("counter", move |peer| -> counter::Client {
        capnp_rpc::new_client(Counter { peer, total: total.clone() })
    })?;

    client.connect(&server.info()).await?;
    let counter = client.vat().connect::<counter::Client>(server.id(), "counter").await?;
    let (send, mut totals) = watch::channel(0);
    let watching = counter.clone();
    let watching = tokio::spawn(async move {
        let watch = async |counter: counter::Client| {
            let mut request = counter.watch_request();
            request.get().set_watcher(capnp_rpc::new_client(Watcher(send)));
            request.send().promise.await.map(drop)
        };
        watching.with(watch).await
    });
    for amount in [1, 2, 39] {
        add(&counter, amount).await?;
    }
    let seen = totals.wait_for(|total| *total == 42).await.map(|total| *total);
    println!("the watcher saw {}", seen.expect("the counter goes on"));

    watching.abort();
    client.close().await?;
    server.close().await
}
