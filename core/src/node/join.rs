//! Finds the first peers through discovery, and looks again when they are
//! lost.

use crate::{
    Event, Events, Namespace, Result,
    boot::{Boot, FindOptions},
    host::Host,
};
use futures::StreamExt;
use std::time::Duration;
use tokio::time::Instant;

/// Connections with which a node is content.
const WANTED: usize = 8;
/// How long one search goes on.
const SEARCH: Duration = Duration::from_secs(30);
/// Pauses between searches of a node that has no peer, growing.
const ALONE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// The pause of a node that has peers, but fewer than it wants: there may be no
/// more of them.
const FEW: Duration = Duration::from_secs(60);
/// Pauses before a peer that was found and did not answer is tried again: a
/// search tells of it once, and it may be about to listen. Few, because whoever
/// answers for peers that don't exist must not hold up a search for long.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The pause of a node that has just lost its last peer.
const AGAIN: Duration = Duration::from_millis(50);

/// Runs as long as the node.
pub(super) async fn run(host: Host, boot: Boot, namespace: Namespace, mut events: Events) {
    let mut pause = ALONE.0;
    loop {
        // A search that goes on tells of a peer once: when the last one is lost
        // meanwhile, it must start afresh.
        let lost = tokio::select! {
            () = search(&host, &boot, &namespace) => false,
            lost = wait(None, &mut events, &host) => {
                if !lost {
                    return;
                }
                true
            }
        };
        if lost {
            tokio::time::sleep(AGAIN.mul_f64(jitter())).await;
            continue;
        }
        let connected = host.connected().len();
        let until = if connected == 0 {
            pause = (pause * 2).min(ALONE.1);
            Some(pause)
        } else {
            pause = ALONE.0;
            (connected < WANTED).then_some(FEW)
        };
        if !wait(until, &mut events, &host).await {
            return;
        }
    }
}

/// One search, over when there are peers enough.
async fn search(host: &Host, boot: &Boot, namespace: &Namespace) {
    let options = FindOptions::default().limit(WANTED).timeout(SEARCH);
    let found = boot.find_peers(namespace, options);
    found
        .for_each_concurrent(WANTED, async |found| match found {
            Ok(found) if found.peer.id != host.id() => {
                if let Err(error) = reach(|| host.connect(&found.peer)).await {
                    tracing::debug!(peer = %found.peer.id, %error, "a peer was found and does not answer");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a boot address does not work"),
        })
        .await;
}

/// Tries, and tries again a few times.
async fn reach<F: Future<Output = Result<()>>>(mut connect: impl FnMut() -> F) -> Result<()> {
    for pause in RETRIES {
        match connect().await {
            Ok(()) => return Ok(()),
            Err(error) => tracing::debug!(%error, "a peer that was found is tried again"),
        }
        tokio::time::sleep(pause.mul_f64(jitter())).await;
    }
    connect().await
}

/// Waits for the time to look again: after a jittered pause, or at once when
/// the last peer is lost. False when the node is closed.
async fn wait(pause: Option<Duration>, events: &mut Events, host: &Host) -> bool {
    let deadline = pause.map(|pause| Instant::now() + pause.mul_f64(jitter()));
    loop {
        let slept = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = slept => return true,
            event = events.next() => match event {
                Ok(Event::Disconnected { .. } | Event::Dropped { .. }) if host.connected().is_empty() => return true,
                Ok(_) => {}
                Err(_) => return false,
            },
        }
    }
}

/// Nodes that start or lose a peer together must not search in step.
fn jitter() -> f64 {
    0.5 + rand::random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_answer_is_tried_a_few_times() {
        for (fails, reached) in [(0, true), (1, true), (3, true), (4, false), (100, false)] {
            let tried = Cell::new(0);
            let result = reach(async || {
                tried.set(tried.get() + 1);
                if tried.get() > fails {
                    return Ok(());
                }
                Err(Error::new(ErrorKind::Unreachable, "not yet"))
            });
            assert_eq!(result.await.is_ok(), reached, "{fails}");
            assert_eq!(tried.get(), fails.min(RETRIES.len()) + 1);
        }
    }
}
