//! Nodes that are killed, and how soon all others know.

use crate::way::percentile;
use anyhow::{Context, Result};
use casm::{Config, Node, PeerId};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

/// How long a peer must have been there for others to believe it: no longer than its TTL.
pub const PROBATION: Duration = Duration::from_secs(10);
/// From one to the next, once all know of it.
const PAUSE: Duration = Duration::from_secs(5);

/// A node on a runtime of its own: with that it ends as a process that is killed does. It
/// says nothing more, and its sockets are closed.
pub struct Victim {
    pub node: Node,
    runtime: Runtime,
}

impl Victim {
    pub async fn start(config: Config) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let node = runtime.spawn(Node::start(config)).await??;
        Ok(Self { node, runtime })
    }
}

/// Who is gone, for whom since when.
#[derive(Default)]
pub struct Gone(Mutex<Vec<(PeerId, Instant)>>);

impl Gone {
    /// A node is told that a peer has left.
    pub fn left(&self, peer: PeerId) {
        self.lock().push((peer, Instant::now()));
    }

    /// Kills these, one after the other, and waits until all others know, or until no
    /// TTL can last longer. Gives the figures.
    pub async fn measure(
        &self,
        nodes: &[Node],
        victims: Vec<Victim>,
        ttl: Duration,
    ) -> Result<serde_json::Value> {
        // Until everybody is established for everybody.
        tokio::time::sleep(ttl.max(PROBATION).mul_f64(1.5)).await;
        let (mut each, mut to_all, mut missing) = (vec![], vec![], 0);
        let mut killed: Vec<PeerId> = vec![];
        for Victim { node, runtime } in victims {
            let peer = node.id();
            killed.push(peer);
            let others = nodes.iter().filter(|node| !killed.contains(&node.id())).count();
            let at = Instant::now();
            runtime.shutdown_background();
            let told = || {
                let left = self.lock();
                let of = left.iter().filter(|(left, _)| *left == peer);
                of.map(|(_, told)| *told - at).collect::<Vec<_>>()
            };
            while told().len() < others && at.elapsed() < ttl.mul_f64(1.5) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let told = told();
            missing += others - told.len().min(others);
            to_all.extend(told.iter().max().filter(|_| told.len() >= others));
            each.extend(told);
            tokio::time::sleep(PAUSE).await;
        }
        each.sort_unstable();
        to_all.sort_unstable();
        Ok(serde_json::json!({
            "killed": killed.len(),
            // Of all that were killed, in the views of all others.
            "gone_missing": missing,
            "gone_p50_ms": percentile(&each, 50),
            "gone_p99_ms": percentile(&each, 99),
            "gone_max_ms": percentile(&each, 100),
            // Of each, until the last knows.
            "gone_for_all_p50_ms": percentile(&to_all, 50),
        }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PeerId, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of the nodes are to be killed: they are the last ones.
pub fn check(killed: u32, nodes: u32) -> Result<()> {
    let left = nodes.checked_sub(killed).filter(|left| *left > 0 || killed == 0);
    left.map(drop).with_context(|| format!("--kill {killed} leaves none of {nodes} nodes"))
}
