//! How full the queues are: found out when somebody asks, so that nobody pays
//! for it at other times.

use prometheus_client::metrics::{family::Family, gauge::Gauge};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// When so many queues are watched, and twice as many, those that are gone are
/// forgotten.
const MANY: usize = 64;

type Depth = Box<dyn Fn() -> Option<usize> + Send>;

/// Queues by name. Those of one name are counted together.
#[derive(Clone, Default)]
pub(super) struct Queues {
    pub(super) depth: Family<[(&'static str, &'static str); 1], Gauge>,
    watched: Arc<Mutex<Vec<(&'static str, Depth)>>>,
}

impl Queues {
    /// Watches a queue, until `depth` says that it is no more.
    pub(super) fn watch(
        &self,
        name: &'static str,
        depth: impl Fn() -> Option<usize> + Send + 'static,
    ) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // Also here, now and then: perhaps nobody ever asks.
        if watched.len() >= MANY && watched.len().is_power_of_two() {
            watched.retain(|(_, depth)| depth().is_some());
        }
        watched.push((name, Box::new(depth)));
    }

    /// Finds out how full all of them are.
    pub(super) fn measure(&self) {
        let mut depths: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|(name, depth)| {
            let waiting = depth();
            *depths.entry(name).or_default() += waiting.unwrap_or(0);
            waiting.is_some()
        });
        drop(watched);
        for (name, depth) in depths {
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            self.depth.get_or_create(&[("queue", name)]).set(depth);
        }
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queues")
    }
}

/// How much waits in a channel, as long as somebody may still send.
pub(crate) fn waiting<T: Send + 'static>(
    sender: &mpsc::Sender<T>,
) -> impl Fn() -> Option<usize> + Send + use<T> {
    let sender = sender.downgrade();
    move || sender.upgrade().map(|sender| sender.max_capacity() - sender.capacity())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_one_name_are_added_up_and_gone_ones_forgotten() {
        let queues = Queues::default();
        let (a, mut from_a) = mpsc::channel(8);
        let (b, _from_b) = mpsc::channel(8);
        queues.watch("topic", waiting(&a));
        queues.watch("topic", waiting(&b));
        let depth = || {
            queues.measure();
            queues.depth.get_or_create(&[("queue", "topic")]).get()
        };
        assert_eq!(depth(), 0);
        a.try_send(1).unwrap();
        a.try_send(2).unwrap();
        b.try_send(3).unwrap();
        assert_eq!(depth(), 3);
        from_a.try_recv().unwrap();
        assert_eq!(depth(), 2);
        drop((a, from_a));
        assert_eq!(depth(), 1);
        drop(b);
        assert_eq!(depth(), 0);
        assert!(queues.watched.lock().unwrap().is_empty());
    }
}
