//! The last moments of a host: it goes on while its services have something to
//! say, but not for long.

use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a closing host goes on at least, to send what is queued and to hand
/// on what others say who leave at the same time, and how long at most.
const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_millis(600);

/// Tells a closing host who has still to say something, and everyone when it is
/// over. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaving {
    busy: Arc<watch::Sender<usize>>,
    over: CancellationToken,
}

impl Leaving {
    /// Keeps a closing host going, within bounds, until it is dropped.
    pub(crate) fn hold(&self) -> Hold {
        self.busy.send_modify(|busy| *busy += 1);
        Hold(self.busy.clone())
    }

    /// Cancelled when nothing more can be said.
    pub(crate) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// Waits until everything is said, or too long has passed.
    pub(super) async fn all_said(&self) {
        let mut busy = self.busy.subscribe();
        let said = async {
            sleep(LEAST).await;
            // The sender lives as long as this.
            let _ = busy.wait_for(|busy| *busy == 0).await;
        };
        let _ = timeout(MOST, said).await;
    }

    /// Ends it when what is given back is dropped.
    pub(super) fn ends(&self) -> DropGuard {
        self.over.clone().drop_guard()
    }
}

/// Somebody has something to say.
#[derive(Debug)]
pub(crate) struct Hold(Arc<watch::Sender<usize>>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_host_waits_for_what_is_said_and_for_no_more() {
        let leaving = Leaving::default();
        let took = async |leaving: &Leaving| {
            let begun = Instant::now();
            leaving.all_said().await;
            begun.elapsed()
        };
        assert_eq!(took(&leaving).await, LEAST);
        let hold = leaving.hold();
        let (took_with, ()) = tokio::join!(took(&leaving), async {
            sleep(Duration::from_millis(300)).await;
            drop(hold);
        });
        assert_eq!(took_with, Duration::from_millis(300));
        let _hold = leaving.hold();
        assert_eq!(took(&leaving).await, MOST);
        let over = leaving.over();
        drop(leaving.ends());
        assert!(over.is_cancelled());
    }
}
