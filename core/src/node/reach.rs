//! Whether others can reach the node, and what it does about it: it connects to relays
//! of its cluster, when it needs them and is connected to too few.

use super::Node;
use crate::{
    PeerInfo, Reachability, Result,
    cluster::{Change, Cluster, Query, reserved::NODE},
    host::Host,
};
use rand::seq::IteratorRandom;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The version of the protocol of relays, as the record of one says.
const PROTOCOL: &str = "2";
/// For how long relays are waited for that are found by themselves, and how long after
/// one search the next may be: twice as long each time, up to the last, until there is a
/// relay more.
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

/// Looks for relays: when there are some, and then less and less often, until there is
/// another one. While there are none, or the node is paused, nothing is done.
async fn search(host: &Host, cluster: &Cluster) {
    let mut relays = cluster.subscribe(Query::relays());
    let mut pace = Pace::new(Instant::now());
    loop {
        host.life().up().await;
        let some = cluster.view().count(&Query::relays()) > 0;
        tokio::select! {
            () = sleep_until(pace.due), if some => {
                pace.searches(Instant::now());
                if host.life().is_up() {
                    find(host, cluster).await;
                }
            }
            change = relays.next() => match change {
                Some(Change::Joined(_)) => pace.hears(Instant::now()),
                Some(_) => {}
                // The node has ended.
                None => return,
            },
        }
    }
}

/// When relays are looked for.
#[derive(Debug)]
struct Pace {
    pause: Duration,
    due: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { pause: PAUSE.0, due: now + PAUSE.0 }
    }

    /// They are looked for now.
    fn searches(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(PAUSE.1);
        self.due = now + self.pause;
    }

    /// There is another relay.
    fn hears(&mut self, now: Instant) {
        self.pause = PAUSE.0;
        // It is past while there is none.
        let due = Some(self.due).filter(|due| *due > now);
        self.due = due.map_or(now + PAUSE.0, |due| due.min(now + PAUSE.0));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_looked_for_less_and_less_often_until_there_is_another() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
            assert_eq!(pace.due, now + Duration::from_secs(pause));
            now = pace.due;
            pace.searches(now);
        }
        let heard = now + Duration::from_secs(1);
        pace.hears(heard);
        assert_eq!(pace.due, heard + PAUSE.0);
        // However many come, there is a pause between two searches.
        pace.hears(heard + PAUSE.0 / 2);
        assert_eq!(pace.due, heard + PAUSE.0);
        now = pace.due;
        pace.searches(now);
        pace.hears(now);
        assert_eq!(pace.due, now + PAUSE.0);
        // The first may be found by itself.
        pace.hears(now + PAUSE.1);
        assert_eq!(pace.due, now + PAUSE.1 + PAUSE.0);
    }
}
