//! Hands on at once who has left: the leaver tells every connected peer, and who
//! hears it tells its own, once. Gossip alone loses goodbyes: its mesh leaves too.

use super::{exchange::Done, service::Sync, wire::SyncError};
use crate::cluster::{live::Said, snapshot::View};
use futures::{StreamExt, stream::FuturesUnordered};
use libp2p::PeerId;
use std::time::Duration;
use tokio::time::timeout;

/// Peers that are told at a time, and goodbyes that one is told of at a time.
const PEERS: usize = 64;
const GOODBYES: usize = 1024;
/// How long telling one peer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What a peer is to be told.
struct News {
    peer: PeerId,
    view: View,
    of: Vec<PeerId>,
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
            match (left && telling.is_empty(), &hold) {
                (true, _) => hold = None,
                (false, None) => hold = Some(leaving.hold()),
                _ => {}
            }
            tokio::select! {
                () = over.cancelled() => return,
                changed = said.changed() => if changed.is_err() { return },
                Some(()) = telling.next() => {}
            }
        }
    }

    /// The connected peers that have not been told of all goodbyes. (The first
    /// that are told may be all that a leaver has time for: those that stay.)
    fn untold(&self, last: u64) -> Vec<PeerId> {
        let view = self.exchange().cluster.view();
        let mut peers = self.host().connected();
        peers.retain(|peer| {
            self.with(*peer, |known| known.speaks && !known.telling && known.told < last)
        });
        peers.sort_by_cached_key(|peer| view.goodbyes().of(peer).is_some());
        peers
    }

    /// What a peer has not been told. It is taken for told from now on.
    fn news(&self, peer: PeerId, view: &View) -> Option<News> {
        self.with(peer, |known| {
            let mut of = Vec::new();
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
            known.telling.then(|| News { peer, view: view.clone(), of })
        })
    }

    async fn tell(&self, news: News) {
        let News { peer, view, of } = news;
        let told = timeout(LIMIT, async {
            let stream = self.host().open_stream(peer, self.protocol().clone()).await?;
            Ok(self.exchange().push(peer, stream, &view, of).await)
        });
        match told.await {
            Ok(Ok(Ok(Done { sent, .. }))) => {
                tracing::debug!(%peer, sent, "goodbyes were handed on");
                self.count("told");
            }
            Ok(Ok(Err(error))) => {
                tracing::debug!(%peer, %error, "goodbyes were not handed on");
                self.count(error.label());
            }
            Ok(Err(error)) => self.not_opened(peer, &error),
            Err(_) => self.count(SyncError::Timeout.label()),
        }
        self.with(peer, |known| known.telling = false);
    }
}
