//! How long changes of a node's meta are under way to the other nodes.

use anyhow::Result;
use casm::{Node, Record};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The meta field that is changed: the change's number.
const KEY: &str = "change";
/// From one change to the next.
const PAUSE: Duration = Duration::from_millis(250);

/// The changes so far.
#[derive(Default)]
pub struct Ways(Mutex<Vec<Change>>);

struct Change {
    made: Instant,
    /// How long it took to each node that has it.
    ways: Vec<Duration>,
}

impl Ways {
    /// A node is told of what another one says now.
    pub fn updated(&self, record: &Record) {
        let now = Instant::now();
        let Some(number) = record.meta().get(KEY).and_then(|n| n.parse::<usize>().ok()) else {
            return;
        };
        if let Some(change) = self.lock().get_mut(number) {
            change.ways.push(now - change.made);
        }
    }

    /// Makes some changes, each of a random node, and waits until all others
    /// have them, or a TTL has passed after the last. Gives the figures.
    pub async fn measure(
        &self,
        nodes: &[Node],
        changes: u32,
        ttl: Duration,
        seed: u64,
    ) -> Result<serde_json::Value> {
        // A node changes again only after all others have: a change that a later
        // one comes before is not told of.
        let mut order: Vec<_> = nodes.iter().collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        for (number, node) in order.into_iter().cycle().take(changes as usize).enumerate() {
            self.lock().push(Change { made: Instant::now(), ways: vec![] });
            node.update_meta(|meta| {
                meta.insert(KEY.into(), number.to_string());
            })
            .await?;
            tokio::time::sleep(PAUSE).await;
        }
        let all = changes as usize * (nodes.len() - 1);
        let last = Instant::now();
        while self.arrived() < all && last.elapsed() < ttl {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let changes = self.lock();
        let mut each: Vec<_> = changes.iter().flat_map(|change| &change.ways).copied().collect();
        let whole = changes.iter().filter(|change| change.ways.len() == nodes.len() - 1);
        let mut to_all: Vec<_> =
            whole.filter_map(|change| change.ways.iter().max().copied()).collect();
        each.sort_unstable();
        to_all.sort_unstable();
        Ok(serde_json::json!({
            "changes": changes.len(),
            // Of all changes, to all other nodes.
            "way_missing": all - each.len(),
            "way_p50_ms": percentile(&each, 50),
            "way_p99_ms": percentile(&each, 99),
            "way_max_ms": percentile(&each, 100),
            // Of each change, the way to the last node that got it.
            "way_to_all_p50_ms": percentile(&to_all, 50),
            "way_to_all_p99_ms": percentile(&to_all, 99),
        }))
    }

    fn arrived(&self) -> usize {
        self.lock().iter().map(|change| change.ways.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In milliseconds, by the nearest rank.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map(|way| (way.as_secs_f64() * 1e5).round() / 100.0)
}
