//! Peers whose heartbeats are over a limit: they are in no view and are not
//! passed on, and the one who could put that right is told by nobody else.

use super::rates::Over;
use crate::{
    cache::cache,
    cluster::heartbeat::{Heartbeat, HeartbeatError},
    metrics::{ByLabel, Metrics},
};
use libp2p::PeerId;
use lru::LruCache;
use std::{num::NonZeroUsize, time::Duration};

/// Counts each such peer, and says of each once what is over which limit.
#[derive(Debug)]
pub(super) struct Complaints {
    /// Of whom was told, and who was counted: of some that come in one minute
    /// is told in a later one.
    told: LruCache<PeerId, ()>,
    counted: LruCache<PeerId, ()>,
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
        let [told, counted] = [(); 2].map(|()| cache(Self::KNOWN));
        Self { told, counted, peers, minute: 0, said: 0 }
    }

    /// A heartbeat of this peer was refused. What is to be said of it, unless
    /// that was said.
    pub(super) fn refused(
        &mut self,
        peer: PeerId,
        error: HeartbeatError,
        data: &[u8],
        elapsed: Duration,
    ) -> Option<String> {
        // What is malformed is not over a limit, but hostile.
        if error == HeartbeatError::Malformed || !self.is_told(peer, error.label(), elapsed) {
            return None;
        }
        Some(Heartbeat::excess(data, error))
    }

    /// A heartbeat of this peer was refused since its number is too far ahead of
    /// the clock. Whether that is to be said.
    pub(super) fn ahead(&mut self, peer: PeerId, elapsed: Duration) -> bool {
        self.is_told(peer, "future", elapsed)
    }

    /// A peer sends more than it may. Whether that is to be said.
    pub(super) fn over(&mut self, peer: PeerId, over: Over, elapsed: Duration) -> bool {
        self.is_told(peer, over.label(), elapsed)
    }

    /// Counts a peer once. Whether something is to be said of it now: once, and
    /// not of too many in a minute.
    fn is_told(&mut self, peer: PeerId, reason: &'static str, elapsed: Duration) -> bool {
        if self.counted.put(peer, ()).is_none() {
            self.peers.get_or_create(&[("reason", reason)]).inc();
        }
        if self.told.get(&peer).is_some() {
            return false;
        }
        let minute = elapsed.as_secs() / 60;
        if minute != self.minute {
            (self.minute, self.said) = (minute, 0);
        }
        if self.said >= Self::A_MINUTE {
            return false;
        }
        self.said += 1;
        self.told.put(peer, ());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(host: usize, fields: usize, len: usize) -> Vec<u8> {
        let field = format!("k={}", "v".repeat(len));
        let (host, meta) = ("h".repeat(host), vec![field; fields]);
        Heartbeat { server: 1, ttl: None, host, meta, sent_at: None, addrs: Default::default() }
            .encode()
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
        assert_eq!(complaints.counted.len(), Complaints::KNOWN.get());
    }

    #[test]
    fn each_of_a_fleet_is_told_of_in_time() {
        let metrics = Metrics::default();
        let mut complaints = Complaints::new(&metrics);
        let fleet: Vec<PeerId> = (0..35).map(|_| PeerId::random()).collect();
        let mut told = Vec::new();
        // Each says something every three seconds.
        for secs in (0..600).step_by(3) {
            let now = Duration::from_secs(secs);
            let of = fleet.iter().filter(|peer| complaints.ahead(**peer, now));
            told.extend(of.map(|peer| (secs / 60, *peer)));
        }
        let minutes: Vec<u64> = told.iter().map(|(minute, _)| *minute).collect();
        assert_eq!(minutes, [vec![0; 10], vec![1; 10], vec![2; 10], vec![3; 5]].concat());
        assert_eq!(told.iter().map(|(_, peer)| *peer).collect::<Vec<_>>(), fleet);
        assert!(metrics.encode().contains("{reason=\"future\"} 35\n"));
    }
}
