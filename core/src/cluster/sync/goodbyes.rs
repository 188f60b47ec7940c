//! Hands on at once who has left: the leaver tells every connected peer, and who
//! hears it tells its own, once. Gossip alone loses goodbyes: its mesh leaves too.

use super::{exchange::Done, service::Sync, wire::SyncError};
use crate::cluster::{live::Said, snapshot::View};
use futures::{StreamExt, stream::FuturesUnordered};
use libp2p::PeerId;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Peers that are told at a time, and goodbyes that one is told of at a time.
const PEERS: usize = 64;
const GOODBYES: usize = 1024;
/// How long telling one peer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How often a peer that could not be told is told again, and the first pause,
/// of which each next one is twice as long: who leaves has 0.6 s.
const AGAIN: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

/// What a peer is to be told.
struct News {
    peer: PeerId,
    view: View,
    of: Vec<PeerId>,
    /// The turn up to which it had been told before.
    before: u64,
}

impl Sync {
    /// Hands goodbyes on for as long as that is possible.
    pub(super) async fn hand_on(self) {
        let leaving = self.host().leaving().clone();
        let (mut said, over) = (self.exchange().cluster.said(), leaving.over());
        let mut telling = FuturesUnordered::new();
        // A host that closes waits for what is to be said.
        let mut hold = Some(leaving.hold());
        loop {
            let Said { left, last } = *said.borrow_and_update();
            let view = self.exchange().cluster.view();
            for peer in self.untold(last) {
                if telling.len() >= PEERS {
                    break;
                }
                if let Some(news) = self.news(peer, &view) {
                    telling.push(self.tell(news));
                }
            }
            let again = self.again().filter(|_| telling.len() < PEERS);
            match (left && telling.is_empty() && again.is_none(), &hold) {
                (true, _) => hold = None,
                (false, None) => hold = Some(leaving.hold()),
                _ => {}
            }
            tokio::select! {
                () = over.cancelled() => return,
                changed = said.changed() => if changed.is_err() { return },
                Some(()) = telling.next() => {}
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
            }
        }
    }

    /// The connected peers that have not been told of all goodbyes. (The first
    /// that are told may be all that a leaver has time for: those that stay.)
    fn untold(&self, last: u64) -> Vec<PeerId> {
        let view = self.exchange().cluster.view();
        let (mut peers, now) = (self.host().connected(), Instant::now());
        peers.retain(|peer| {
            self.with(*peer, |known| {
                let due = known.again.is_none_or(|again| again <= now);
                known.speaks && !known.telling && known.told < last && due
            })
        });
        peers.sort_by_cached_key(|peer| view.goodbyes().of(peer).is_some());
        peers
    }

    /// When to tell somebody again who could not be told.
    fn again(&self) -> Option<Instant> {
        let peers = self.peers();
        let waits = peers.iter().filter(|(_, known)| known.speaks && !known.telling);
        waits.filter(|(peer, _)| self.host().is_connected(peer)).filter_map(|(_, k)| k.again).min()
    }

    /// What a peer has not been told. It is taken for told from now on.
    fn news(&self, peer: PeerId, view: &View) -> Option<News> {
        self.with(peer, |known| {
            let (mut of, before) = (Vec::new(), known.told);
            known.again = None;
            for (turn, goodbye) in view.goodbyes().after(known.told) {
                if of.len() == GOODBYES {
                    break;
                }
                known.told = turn;
                if goodbye.peer != peer && goodbye.from != peer {
                    of.push(goodbye.peer);
                }
            }
            if of.len() < GOODBYES {
                known.told = known.told.max(view.goodbyes().last());
            }
            known.telling = !of.is_empty();
            known.telling.then(|| News { peer, view: view.clone(), of, before })
        })
    }

    async fn tell(&self, news: News) {
        let News { peer, view, of, before } = news;
        let told = timeout(LIMIT, async {
            let stream = self.host().open_stream(peer, self.protocol().clone()).await?;
            Ok(self.exchange().push(peer, stream, &view, of).await)
        });
        let told = match told.await {
            Ok(Ok(Ok(Done { sent, .. }))) => {
                tracing::debug!(%peer, sent, "goodbyes were handed on");
                self.count("told");
                true
            }
            Ok(Ok(Err(error))) => {
                tracing::debug!(%peer, %error, "goodbyes were not handed on");
                self.count(error.label());
                false
            }
            Ok(Err(error)) => {
                self.not_opened(peer, &error);
                false
            }
            Err(_) => {
                self.count(SyncError::Timeout.label());
                false
            }
        };
        self.with(peer, |known| {
            known.telling = false;
            if told || known.failed == AGAIN {
                known.failed = 0;
            } else {
                // It has not been told, and may be in a moment.
                known.told = known.told.min(before);
                known.again = Some(Instant::now() + PAUSE * (1 << known.failed));
                known.failed += 1;
            }
        });
    }
}
