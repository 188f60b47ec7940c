//! Whose certificate is being asked for, and of whom: that of a source whose messages
//! come from all sides is fetched, and its signature checked, once. Pure, but for the
//! time.

use crate::PeerId;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// Who has not answered by then is no reason not to ask another one: half of the time
/// for which messages wait. On a busy machine most answers take longer than one thinks.
const SLOW: Duration = Duration::from_secs(1);

/// Who was asked last for the certificate of each source, and when.
#[derive(Debug, Default)]
pub(super) struct Pending(HashMap<PeerId, (PeerId, Instant)>);

impl Pending {
    /// Who is being asked for the certificate of a source, and is not slow: nobody else
    /// needs to be.
    pub(super) fn of(&self, source: &PeerId) -> Option<PeerId> {
        let (peer, since) = self.0.get(source)?;
        (since.elapsed() < SLOW).then_some(*peer)
    }

    /// A peer is asked for it from now on.
    pub(super) fn ask(&mut self, source: PeerId, peer: PeerId) {
        self.0.insert(source, (peer, Instant::now()));
    }

    /// A peer has been asked for these, with or without success.
    pub(super) fn done(&mut self, peer: &PeerId, sources: &[PeerId]) {
        for source in sources {
            if self.0.get(source).is_some_and(|(asked, _)| asked == peer) {
                self.0.remove(source);
            }
        }
    }

    /// A peer is gone, and what it was to be asked for is not asked.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.0.retain(|_, (asked, _)| asked != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_is_asked_unless_it_is_slow_gone_or_has_answered() {
        let mut pending = Pending::default();
        let [source, a, b] = [(); 3].map(|()| PeerId::random());
        assert_eq!(pending.of(&source), None);
        pending.ask(source, a);
        assert_eq!(pending.of(&source), Some(a));
        tokio::time::advance(SLOW).await;
        assert_eq!(pending.of(&source), None, "it is slow");
        pending.ask(source, b);
        pending.done(&a, &[source]);
        assert_eq!(pending.of(&source), Some(b), "another one is asked");
        pending.done(&b, &[source]);
        assert_eq!(pending.of(&source), None);
        pending.ask(source, a);
        pending.forget(&b);
        assert_eq!(pending.of(&source), Some(a));
        pending.forget(&a);
        assert!(pending.0.is_empty());
    }
}
