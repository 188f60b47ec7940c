//! Places that many want at a time, and of which no network gets most.

use crate::prefix::Prefix;
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// So many places.
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    networks: BTreeMap<Prefix, usize>,
}

/// One of them, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    network: Option<Prefix>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default(), freed: Notify::new() }
    }

    /// A place, if there is one for this network. Below half anybody gets one;
    /// above it a network has an eighth at most, and the last quarter is for
    /// networks that have none. What has no network is this machine's.
    pub(super) fn take(&self, network: Option<Prefix>) -> Option<Place<'_>> {
        let mut taken = self.taken();
        let share = match taken.all {
            n if n >= self.most => return None,
            n if n < self.most.div_ceil(2) => usize::MAX,
            n if n < self.most - self.most / 4 => (self.most / 8).max(1),
            _ => 1,
        };
        if let Some(network) = network {
            let held = taken.networks.get(&network).copied().unwrap_or(0);
            if held >= share {
                return None;
            }
            taken.networks.insert(network, held + 1);
        }
        taken.all += 1;
        Some(Place { places: self, network })
    }

    /// A place, as soon as there is one for this network.
    pub(super) async fn wait(&self, network: Option<Prefix>) -> Place<'_> {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(place) = self.take(network) {
                return place;
            }
            freed.await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(network) = self.network
            && let Some(held) = taken.networks.get_mut(&network)
        {
            *held -= 1;
            if *held == 0 {
                taken.networks.remove(&network);
            }
        }
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::net::IpAddr;

    fn network(n: u8) -> Option<Prefix> {
        Some(IpAddr::from([8, 8, n, 1]).into())
    }

    #[test]
    fn no_network_gets_most_of_the_places() {
        let places = Places::new(16);
        let mut held = Vec::new();
        let mut take = |n: u8, tries: usize| {
            let before = held.len();
            held.extend((0..tries).filter_map(|_| places.take(network(n))));
            held.len() - before
        };
        assert_eq!((take(0, 99), take(1, 99), take(2, 99)), (8, 2, 2));
        assert_eq!((take(0, 9), take(3, 99), take(4, 9), take(5, 9), take(6, 9)), (0, 1, 1, 1, 1));
        assert_eq!(take(7, 9), 0);
        assert!(places.take(None).is_none());
        held.clear();
        let Taken { all, networks } = &*places.taken();
        assert_eq!((*all, networks.len()), (0, 0));
    }

    #[test]
    fn what_is_of_this_machine_has_no_share() {
        let places = Places::new(16);
        assert_eq!((0..99).filter_map(|_| places.take(None)).collect::<Vec<_>>().len(), 16);
    }

    #[test]
    fn who_waits_gets_the_next_place_that_is_for_its_network() {
        let places = Places::new(2);
        let first = places.take(network(0));
        let mut same = Box::pin(places.wait(network(0)));
        assert!(same.as_mut().now_or_never().is_none());
        let other = places.wait(network(1)).now_or_never();
        assert!(other.is_some());
        drop(other);
        assert!(same.as_mut().now_or_never().is_none());
        drop(first);
        assert!(same.as_mut().now_or_never().is_some());
    }
}
