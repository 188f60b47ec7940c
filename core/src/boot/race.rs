//! Several discoveries at once: the first answer wins, and the others go on
//! until there are enough.

use super::{Discovery, FindOptions, Finding, Found};
use crate::{Multiaddr, Namespace, PeerId, Result, cache::cache};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream,
};
use lru::LruCache;
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

/// Peers that a search remembers to have given, to give each once.
const MEMORY: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");

/// Searches as one. A peer comes once, and again only with other addresses,
/// which doesn't count towards the limit.
pub fn race(searches: Vec<Finding>, options: &FindOptions) -> Finding {
    let timeout = options.timeout;
    let deadline = async move {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let mut seen: LruCache<PeerId, Vec<Multiaddr>> = cache(MEMORY);
    let mut left = options.limit;
    let mut found = stream::select_all(searches).take_until(deadline.boxed()).boxed();
    stream::poll_fn(move |cx| {
        loop {
            if left == 0 {
                // Ends the searches now, not when the caller drops the stream.
                found = stream::empty().boxed();
            }
            match std::task::ready!(found.poll_next_unpin(cx)) {
                Some(Ok(Found { source, peer })) => {
                    let known = seen.put(peer.id, peer.addrs.clone());
                    match known {
                        Some(addrs) if addrs == peer.addrs => continue,
                        Some(_) => {}
                        None => left -= 1,
                    }
                    return Some(Ok(Found { source, peer })).into();
                }
                end_or_error => return end_or_error.into(),
            }
        }
    })
    .boxed()
}

/// Several discoveries as one.
#[derive(Clone, Default)]
pub struct Race(Vec<Arc<dyn Discovery>>);

impl Race {
    /// All of these at once.
    pub fn new(discoveries: impl IntoIterator<Item = Arc<dyn Discovery>>) -> Self {
        Self(discoveries.into_iter().collect())
    }
}

impl Discovery for Race {
    fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        let searches = self.0.iter().map(|d| d.find_peers(namespace, options.clone())).collect();
        race(searches, &options)
    }

    /// Advertises with all; fails if not one succeeds.
    fn advertise(&self, namespace: &Namespace, ttl: Duration) -> BoxFuture<'static, Result<()>> {
        let all = join_all(self.0.iter().map(|d| d.advertise(namespace, ttl)));
        all.map(|results| {
            let failed = results.iter().all(Result::is_err);
            results.into_iter().find(Result::is_err).filter(|_| failed).unwrap_or(Ok(()))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind, PeerInfo};
    use tokio::time::Instant;

    fn found(id: PeerId, port: u16) -> Result<Found> {
        let addrs = vec![format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()];
        Ok(Found { source: "test".into(), peer: PeerInfo { id, addrs } })
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_comes_at_once_and_the_others_until_the_limit() {
        let ids: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
        let (a, b, c, d) = (ids[0], ids[1], ids[2], ids[3]);
        let slow = stream::once(tokio::time::sleep(Duration::from_secs(1)))
            .flat_map(move |()| stream::iter([found(b, 1), found(c, 1), found(d, 1)]));
        let fast = stream::iter([found(a, 1), found(a, 1), found(a, 2)]).chain(stream::pending());
        let failing =
            stream::iter([Err(Error::new(ErrorKind::Io, "no network"))]).chain(stream::pending());
        let start = Instant::now();
        let all = vec![slow.boxed(), fast.boxed(), failing.boxed()];
        let mut race = race(all, &FindOptions::default().limit(3));
        let (mut got, mut errors) = (Vec::new(), 0);
        while let Some(next) = race.next().await {
            match next {
                Ok(found) => got.push((found.peer.id, start.elapsed().as_secs())),
                Err(_) => errors += 1,
            }
        }
        assert_eq!(got, [(a, 0), (a, 0), (b, 1), (c, 1)]);
        assert_eq!(errors, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_race_ends_with_its_time() {
        let options = FindOptions::default().timeout(Duration::from_secs(5));
        let start = Instant::now();
        let mut race = race(vec![stream::pending().boxed()], &options);
        assert!(race.next().await.is_none());
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}
