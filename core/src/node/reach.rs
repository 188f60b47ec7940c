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
/// one search the next may be: twice as long each time, up to the last.
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
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

/// Looks for relays: when there are some, and then less and less often. While there are
/// none, or the node is paused, nothing is done.
async fn search(host: &Host, cluster: &Cluster) {
    let mut relays = cluster.subscribe(Query::relays());
    let mut pause = PAUSE.0;
    loop {
        host.life().up().await;
        if cluster.view().count(&Query::relays()) == 0 {
            pause = PAUSE.0;
            // It ends with the node.
            if relays.next().await.is_none() {
                return;
            }
            continue;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
        if host.life().is_up() {
            find(host, cluster).await;
        }
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
