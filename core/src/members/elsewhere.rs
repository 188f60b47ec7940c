//! Whom else to ask for the certificate of a source when who passed its message on
//! gives none. Pure, but for the time and chance.

use crate::{PeerId, cache::cache};
use lru::LruCache;
use rand::seq::IndexedRandom as _;
use std::{num::NonZeroUsize, time::Duration};
use tokio::time::Instant;

/// How many others are asked.
const OTHERS: usize = 2;
/// How soon others are asked for the same one again.
const AGAIN: Duration = Duration::from_secs(5);
/// Sources of whom that is known: the last.
const MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not 0");

/// When others were asked for whose certificate.
pub(super) struct Elsewhere(LruCache<PeerId, Instant>);

impl Default for Elsewhere {
    fn default() -> Self {
        Self(cache(MAX))
    }
}

impl Elsewhere {
    /// Whom of those that are connected to ask for the certificate of a source, which
    /// one of them has not given.
    pub(super) fn ask(
        &mut self,
        source: PeerId,
        not: &PeerId,
        mut connected: Vec<PeerId>,
    ) -> Vec<PeerId> {
        let now = Instant::now();
        if self.0.get(&source).is_some_and(|last| now < *last + AGAIN) {
            return Vec::new();
        }
        self.0.put(source, now);
        connected.retain(|peer| peer != not && *peer != source);
        connected.sample(&mut rand::rng(), OTHERS).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_others_are_asked_and_not_again_at_once() {
        let mut elsewhere = Elsewhere::default();
        let (source, peers) =
            (PeerId::random(), (0..5).map(|_| PeerId::random()).collect::<Vec<_>>());
        let others = elsewhere.ask(source, &peers[0], peers.clone());
        assert!(others.len() == OTHERS && !others.contains(&peers[0]) && others[0] != others[1]);
        assert_eq!(elsewhere.ask(source, &others[0], peers.clone()), []);
        tokio::time::advance(AGAIN).await;
        assert_eq!(elsewhere.ask(source, &peers[0], peers[..1].to_vec()), []);
        assert_eq!(elsewhere.ask(PeerId::random(), &peers[0], peers.clone()).len(), OTHERS);
    }
}
