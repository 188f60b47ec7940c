//! Peers whose heartbeats are over a limit: they are in no view and are not
//! passed on, and the one who could put that right is told by nobody else.

use crate::{
    cluster::heartbeat::{Heartbeat, HeartbeatError},
    metrics::{ByLabel, Metrics},
};
use libp2p::PeerId;
use lru::LruCache;
use std::{num::NonZeroUsize, time::Duration};

/// Counts each such peer, and says of each once what is over which limit.
#[derive(Debug)]
pub(super) struct Complaints {
    known: LruCache<PeerId, ()>,
    peers: ByLabel,
    /// The minute that is counted in, and the complaints in it.
    minute: u64,
    said: u32,
}

impl Complaints {
    /// The most peers that are remembered.
    const KNOWN: NonZeroUsize = NonZeroUsize::new(1024).expect("not 0");
    /// The most complaints in a minute: peers can be made up.
    const A_MINUTE: u32 = 10;

    pub(super) fn new(metrics: &Metrics) -> Self {
        let peers = ByLabel::default();
        metrics.register(
            "heartbeats_refused_peers",
            "Peers whose heartbeats are over a limit or ahead of the clock, each once, by reason",
            peers.clone(),
        );
        let mut known = LruCache::unbounded();
        known.resize(Self::KNOWN);
        Self { known, peers, minute: 0, said: 0 }
    }

    /// A heartbeat of this peer was refused. What is to be said of it, if it is
    /// the first of that peer.
    pub(super) fn refused(
        &mut self,
        peer: PeerId,
        error: HeartbeatError,
        data: &[u8],
        elapsed: Duration,
    ) -> Option<String> {
        // What is malformed is not over a limit, but hostile.
        if error == HeartbeatError::Malformed || !self.is_new(peer, error.label(), elapsed) {
            return None;
        }
        Some(Heartbeat::excess(data, error))
    }

    /// A heartbeat of this peer was refused since its number is too far ahead of
    /// the clock. Whether that is to be said, being the first of that peer.
    pub(super) fn ahead(&mut self, peer: PeerId, elapsed: Duration) -> bool {
        self.is_new(peer, "future", elapsed)
    }

    /// Counts a peer, if it is not known. Whether something is to be said of it.
    fn is_new(&mut self, peer: PeerId, reason: &'static str, elapsed: Duration) -> bool {
        if self.known.put(peer, ()).is_some() {
            return false;
        }
        self.peers.get_or_create(&[("reason", reason)]).inc();
        let minute = elapsed.as_secs() / 60;
        if minute != self.minute {
            (self.minute, self.said) = (minute, 0);
        }
        self.said += 1;
        self.said <= Self::A_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(host: usize, fields: usize, len: usize) -> Vec<u8> {
        let field = format!("k={}", "v".repeat(len));
        let (host, meta) = ("h".repeat(host), vec![field; fields]);
        Heartbeat { server: 1, ttl: None, host, meta, sent_at: None }.encode()
    }

    fn refusal(data: &[u8]) -> HeartbeatError {
        Heartbeat::decode(data).unwrap_err()
    }

    #[test]
    fn what_is_over_which_limit_is_said_once_of_each_peer() {
        let metrics = Metrics::default();
        let mut complaints = Complaints::new(&metrics);
        let mut say =
            |peer, data: &[u8]| complaints.refused(peer, refusal(data), data, Duration::ZERO);
        let peer = PeerId::random();
        let many = beat(1, 300, 1);
        assert_eq!(say(peer, &many).unwrap(), "300 meta fields, where 64 are the most");
        assert_eq!(say(peer, &many), None);
        assert_eq!(say(peer, &beat(300, 1, 1)), None);
        let mut other = |data: &[u8]| say(PeerId::random(), data).unwrap();
        assert_eq!(other(&beat(300, 1, 1)), "a host of 300 bytes, where 255 are the most");
        let long = "meta fields of 6006 bytes, where 4096 are the most";
        assert_eq!(other(&beat(1, 3, 2000)), long);
        let large = vec![0; Heartbeat::MAX_LEN + 1];
        assert_eq!(other(&large), "1048577 bytes, where 1048576 are the most");
        // Hostile, and not over a limit.
        assert_eq!(say(PeerId::random(), b"no Cap'n Proto"), None);
        let text = metrics.encode();
        for line in ["{reason=\"meta-too-many\"} 1\n", "{reason=\"host-too-long\"} 1\n"] {
            assert!(text.contains(&format!("casm_heartbeats_refused_peers_total{line}")), "{text}");
        }
    }

    #[test]
    fn whose_clock_is_ahead_is_said_once_of_each_peer() {
        let metrics = Metrics::default();
        let mut complaints = Complaints::new(&metrics);
        let (one, other) = (PeerId::random(), PeerId::random());
        let said = [one, one, other, one].map(|peer| complaints.ahead(peer, Duration::ZERO));
        assert_eq!(said, [true, false, true, false]);
        assert!(metrics.encode().contains("{reason=\"future\"} 2\n"));
    }

    #[test]
    fn peers_that_are_made_up_fill_no_log() {
        let mut complaints = Complaints::new(&Metrics::default());
        let data = beat(1, 300, 1);
        let mut said = |secs| {
            let elapsed = Duration::from_secs(secs);
            let error = HeartbeatError::MetaTooMany;
            complaints.refused(PeerId::random(), error, &data, elapsed).is_some()
        };
        assert_eq!((0..5000).filter(|_| said(59)).count(), 10);
        assert_eq!((0..5000).filter(|_| said(60)).count(), 10);
        assert_eq!(complaints.known.len(), Complaints::KNOWN.get());
    }
}
