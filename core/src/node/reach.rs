//! Whether others can reach the node, and what it does about it: it connects to relays
//! of its cluster, when it needs them and is connected to too few.

use super::Node;
use crate::{
    PeerInfo, Reachability, Result,
    cluster::{Cluster, Query, reserved::NODE},
    host::Host,
};
use rand::seq::IteratorRandom;
use std::time::Duration;
use tokio::time::sleep;

/// The version of the protocol of relays, as the record of one says.
const PROTOCOL: &str = "2";
/// For how long relays are waited for that are found by themselves, and how long after
/// one search the next may be.
const PAUSE: Duration = Duration::from_secs(10);
/// Relays that are tried at once.
const TRIED: usize = 2;

impl Node {
    /// Whether others can reach this node, and where. An
    /// [event](crate::Event::ReachabilityChanged) tells when that changes.
    pub fn reachability(&self) -> Reachability {
        self.0.host.reachability().borrow().clone()
    }
}

/// Says that the node is a relay, if it is; else looks for relays when it needs some.
/// What this gives runs as long as the node.
///
/// # Errors
/// `TooLarge` if the node's record has no room for that it is a relay.
pub(super) fn start(
    is_relay: bool,
    host: Host,
    cluster: Cluster,
) -> Result<impl Future<Output = ()> + Send> {
    let said = match is_relay {
        true => Some(cluster.offer("relay", NODE, "relay", PROTOCOL)?),
        false => None,
    };
    Ok(async move {
        if let Some(_said) = said {
            return std::future::pending().await;
        }
        let mut short = host.wants_relays();
        // Ends with the host.
        while short.wait_for(|short| *short).await.is_ok() {
            tokio::select! {
                _ = short.wait_for(|short| !short) => {}
                () = search(&host, &cluster) => {}
            }
        }
    })
}

async fn search(host: &Host, cluster: &Cluster) {
    loop {
        sleep(PAUSE).await;
        find(host, cluster).await;
    }
}

/// Connects to relays of the cluster.
async fn find(host: &Host, cluster: &Cluster) {
    let unknown = |relay: &PeerInfo| relay.id != host.id() && !host.is_connected(&relay.id);
    let relays = cluster.view();
    let relays = relays.iter(Query::relays()).map(|record| record.info()).filter(unknown);
    let relays = relays.sample(&mut rand::rng(), TRIED);
    for relay in relays {
        if let Err(error) = host.reach_told(&relay).await {
            tracing::debug!(relay = %relay.id, %error, "a relay can't be reached");
        }
    }
}
