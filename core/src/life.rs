//! Whether a node is up or paused, and that it was held up: what its services
//! wait for.

use crate::{Error, Result};
use std::sync::Arc;
use tokio::sync::watch;

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs.
    #[default]
    Up,
    /// It is about to pause: what is to be said is said now.
    Leaving,
    /// It has no socket and says nothing.
    Paused,
}

/// The phase of a node. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: watch::Sender<Phase>,
    /// How often the node was found to have been held up.
    wakings: watch::Sender<u64>,
}

impl Life {
    pub(crate) fn set(&self, phase: Phase) {
        self.0.phase.send_replace(phase);
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.0.phase.borrow() == Phase::Up
    }

    pub(crate) fn is_paused(&self) -> bool {
        *self.0.phase.borrow() == Phase::Paused
    }

    /// Whether what needs the network can be done.
    ///
    /// # Errors
    /// [`ErrorKind::Paused`](crate::ErrorKind::Paused).
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_up() { Ok(()) } else { Err(Error::paused()) }
    }

    /// The phases from now on.
    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// Waits until the node is up.
    pub(crate) async fn up(&self) {
        self.reach(|phase| *phase == Phase::Up).await;
    }

    /// Waits until it is up no longer.
    pub(crate) async fn down(&self) {
        self.reach(|phase| *phase != Phase::Up).await;
    }

    async fn reach(&self, phase: impl FnMut(&Phase) -> bool) {
        // The sender lives as long as this.
        let _ = self.0.phase.subscribe().wait_for(phase).await;
    }

    /// The node was held up: its process was stopped, or its machine slept.
    pub(crate) fn woke(&self) {
        self.0.wakings.send_modify(|times| *times += 1);
    }

    /// Tells of that from now on.
    pub(crate) fn wakings(&self) -> watch::Receiver<u64> {
        self.0.wakings.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use futures::FutureExt;

    #[tokio::test]
    async fn who_waits_for_a_phase_is_told_and_calls_fail_until_it_is_up() {
        let life = Life::default();
        assert!(life.check().is_ok() && life.up().now_or_never().is_some());
        for phase in [Phase::Leaving, Phase::Paused] {
            life.set(phase);
            assert_eq!(life.check().unwrap_err().kind(), ErrorKind::Paused);
            assert!(life.down().now_or_never().is_some() && life.up().now_or_never().is_none());
        }
        let waiting = tokio::spawn({
            let life = life.clone();
            async move { life.up().await }
        });
        tokio::task::yield_now().await;
        life.set(Phase::Up);
        waiting.await.unwrap();
        let mut wakings = life.wakings();
        life.woke();
        wakings.changed().await.unwrap();
    }
}
