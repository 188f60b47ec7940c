//! How far this node's clock is from those of its peers, as these say in their
//! headers. A hint, of which nothing else depends.

use crate::{
    Event,
    cluster::Now,
    event::EventBus,
    metrics::{ClockDiffers, Metrics},
    prefix::Prefix,
};
use libp2p::PeerId;
use prometheus_client::metrics::gauge::Gauge;
use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::AtomicU64,
    time::Duration,
};
use tokio::sync::watch;

/// By how many milliseconds clocks may differ without a word.
const TOLERATED: i64 = 60_000;
/// How long they must differ at least.
const AT_LEAST: Duration = Duration::from_secs(30);
/// How many peers are compared with at most. A node has fewer connections.
const MAX: usize = 4096;

/// What the connected peers last said of their clocks.
#[derive(Default)]
pub(super) struct Clocks {
    peers: HashMap<PeerId, Sample>,
    /// Since when the clocks have differed by too much, and whether that was told.
    since: Option<Duration>,
    told: bool,
}

struct Sample {
    prefix: Prefix,
    /// The peer's time at the beginning of the table's clock, in ms since 1970:
    /// so it stays right when this node's clock is set.
    epoch: i128,
}

/// By how much the clocks of peers are ahead of this node's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) ms: i64,
    /// A peer of each network.
    pub(super) peers: Vec<PeerId>,
}

impl Offset {
    const fn is_tolerable(&self) -> bool {
        self.ms.unsigned_abs() <= TOLERATED.unsigned_abs()
    }
}

impl Clocks {
    /// Notes a peer's time, in ms since 1970.
    pub(super) fn note(&mut self, peer: PeerId, prefix: Prefix, time: u64, now: Now) {
        if self.peers.len() < MAX || self.peers.contains_key(&peer) {
            let epoch = i128::from(time) - millis(now.elapsed);
            self.peers.insert(peer, Sample { prefix, epoch });
        }
    }

    /// Forgets a peer that is connected no more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// The median of the networks, each of which counts as one: nobody buys a
    /// median with identities. Between two, what is nearer to this node's clock.
    pub(super) fn offset(&self, now: Now) -> Option<Offset> {
        let own = i128::from(now.unix_nanos / 1_000_000);
        let mut networks: BTreeMap<Prefix, Vec<(i64, PeerId)>> = BTreeMap::new();
        for (peer, sample) in &self.peers {
            let ahead = sample.epoch + millis(now.elapsed) - own;
            let ahead = ahead.clamp(i64::MIN.into(), i64::MAX.into());
            let ahead = i64::try_from(ahead).unwrap_or_default();
            networks.entry(sample.prefix).or_default().push((ahead, *peer));
        }
        let mut of: Vec<_> = networks.into_values().filter_map(median).collect();
        of.sort_unstable();
        let peers = of.iter().map(|(_, peer)| *peer).collect();
        let (ms, _) = median(of)?;
        Some(Offset { ms, peers })
    }

    /// What is to be told now, once as long as it lasts.
    pub(super) fn check(&mut self, now: Now) -> Option<Offset> {
        let offset = self.offset(now).unwrap_or_default();
        if offset.is_tolerable() {
            (self.since, self.told) = (None, false);
            return None;
        }
        let since = *self.since.get_or_insert(now.elapsed);
        if self.told || now.elapsed.saturating_sub(since) < AT_LEAST {
            return None;
        }
        self.told = true;
        Some(offset)
    }
}

/// The middle one; of two, that which is nearer to nothing.
fn median(mut of: Vec<(i64, PeerId)>) -> Option<(i64, PeerId)> {
    of.sort_unstable();
    let high = of.len() / 2;
    let low = of.len().checked_sub(1)? / 2;
    of.get(low..=high)?.iter().min_by_key(|(ms, _)| ms.unsigned_abs()).copied()
}

fn millis(of: Duration) -> i128 {
    i128::try_from(of.as_millis()).unwrap_or(i128::MAX)
}

/// Tells of clocks that differ.
pub(super) struct Teller {
    clocks: Clocks,
    events: EventBus,
    gauge: Gauge<f64, AtomicU64>,
    /// What was told and is still so.
    differs: watch::Sender<Option<ClockDiffers>>,
}

impl Teller {
    pub(super) fn new(events: EventBus, metrics: &Metrics) -> Self {
        let gauge = Gauge::default();
        metrics.register(
            "clock_offset_seconds",
            "How far the clocks of connected peers are ahead of this node's, the median",
            gauge.clone(),
        );
        Self { clocks: Clocks::default(), events, gauge, differs: metrics.clock.clone() }
    }

    /// A peer said what time it is there.
    pub(super) fn said(&mut self, peer: PeerId, prefix: Prefix, time: u64, now: Now) {
        self.clocks.note(peer, prefix, time, now);
        self.look(now);
    }

    /// A peer is connected no more.
    pub(super) fn gone(&mut self, peer: &PeerId, now: Now) {
        self.clocks.forget(peer);
        self.look(now);
    }

    fn look(&mut self, now: Now) {
        let offset = self.clocks.offset(now);
        self.gauge.set(offset.as_ref().map_or(0, |offset| offset.ms) as f64 / 1000.0);
        // That nobody is left to compare with takes nothing back.
        if offset.is_some_and(|offset| offset.is_tolerable()) {
            self.differs.send_if_modified(|differs| differs.take().is_some());
        }
        let Some(Offset { ms, peers }) = self.clocks.check(now) else { return };
        let by = Duration::from_millis(ms.unsigned_abs());
        let way = if ms > 0 { "behind" } else { "ahead of" };
        match &peers[..] {
            [peer] => tracing::warn!(
                %peer,
                "this node's clock is {by:?} {way} that of its peer: one of the two is wrong; set \
                 it, best by NTP (heartbeats more than 10 min ahead of a clock are not believed)"
            ),
            _ => tracing::warn!(
                peers = peers.len(),
                "this node's clock is {by:?} {way} those of its peers: set it, best by NTP \
                 (heartbeats more than 10 min ahead of a clock are not believed)"
            ),
        }
        self.differs.send_replace(Some(ClockDiffers { offset_ms: ms, peers: peers.len() }));
        self.events.emit(Event::ClockDiffers { offset_ms: ms, peers });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    /// Ms since 1970 of a clock that is right.
    const UNIX: i64 = 1_800_000_000_000;

    fn at(secs: u64, own_ahead: i64) -> Now {
        let ms = UNIX + i64::try_from(secs * 1000).unwrap() + own_ahead;
        Now {
            elapsed: Duration::from_secs(secs),
            unix_nanos: u64::try_from(ms).unwrap() * 1_000_000,
        }
    }

    fn network(n: u8) -> Prefix {
        IpAddr::from([8, 8, n, 1]).into()
    }

    fn time(secs: u64, ahead: i64) -> u64 {
        u64::try_from(UNIX + i64::try_from(secs * 1000).unwrap() + ahead).unwrap()
    }

    #[test]
    fn a_clock_eleven_minutes_ahead_is_told_of_once_and_again_when_it_was_right_between() {
        let mut clocks = Clocks::default();
        let ahead = 11 * 60_000;
        let peers: Vec<_> = (0..3).map(|_| PeerId::random()).collect();
        let note = |clocks: &mut Clocks, secs| {
            for (n, peer) in (0..).zip(&peers) {
                clocks.note(*peer, network(n), time(secs, 0), at(secs, ahead));
            }
        };
        note(&mut clocks, 0);
        assert_eq!(clocks.check(at(0, ahead)), None);
        assert_eq!(clocks.check(at(29, ahead)), None);
        let told = clocks.check(at(30, ahead)).unwrap();
        assert_eq!((told.ms, told.peers.len()), (-ahead, 3));
        note(&mut clocks, 60);
        assert_eq!(clocks.check(at(60, ahead)), None);
        // The clock is set: what the peers said before is right still.
        assert_eq!(clocks.check(at(90, 0)), None);
        assert_eq!(clocks.offset(at(90, 0)).unwrap().ms, 0);
        assert_eq!(clocks.check(at(100, ahead)), None);
        assert!(clocks.check(at(130, ahead)).is_some());
    }

    #[test]
    fn one_network_counts_as_one_and_few_liars_as_nothing() {
        let mut clocks = Clocks::default();
        for n in 0..3 {
            clocks.note(PeerId::random(), network(n), time(0, 1000), at(0, 0));
        }
        for _ in 0..100 {
            clocks.note(PeerId::random(), network(9), time(0, 9_000_000), at(0, 0));
            clocks.note(PeerId::random(), network(8), time(0, i64::from(u32::MAX)), at(0, 0));
        }
        let Offset { ms, peers } = clocks.offset(at(0, 0)).unwrap();
        assert_eq!((ms, peers.len()), (1000, 5));
        // Whatever is said, nothing overflows.
        clocks.note(PeerId::random(), network(7), u64::MAX, at(0, 0));
        clocks.note(PeerId::random(), network(7), 0, at(0, 0));
        assert!(clocks.offset(at(0, 0)).is_some());
    }

    #[test]
    fn of_two_that_disagree_the_nearer_counts_and_one_alone_is_named() {
        let mut clocks = Clocks::default();
        let (right, wrong) = (PeerId::random(), PeerId::random());
        assert_eq!(clocks.offset(at(0, 0)), None);
        clocks.note(wrong, network(1), time(0, 660_000), at(0, 0));
        assert_eq!(clocks.offset(at(0, 0)).unwrap().ms, 660_000);
        clocks.note(right, network(2), time(0, 5), at(0, 0));
        assert_eq!(clocks.offset(at(0, 0)).unwrap().ms, 5);
        clocks.forget(&right);
        assert_eq!(clocks.check(at(0, 0)), None);
        let told = clocks.check(at(31, 0)).unwrap();
        assert_eq!(told, Offset { ms: 660_000, peers: vec![wrong] });
    }

    #[tokio::test]
    async fn what_differs_is_an_event_and_a_metric() {
        let (metrics, bus) = (Metrics::default(), EventBus::default());
        let (mut teller, mut events) = (Teller::new(bus.clone(), &metrics), bus.subscribe());
        let peer = PeerId::random();
        teller.said(peer, network(1), time(0, 90_000), at(0, 0));
        teller.said(peer, network(1), time(40, 90_000), at(40, 0));
        let expected = Event::ClockDiffers { offset_ms: 90_000, peers: vec![peer] };
        assert_eq!(events.next().await.unwrap(), expected);
        assert!(metrics.encode().contains("casm_clock_offset_seconds 90.0\n"));
        let differs = Some(ClockDiffers { offset_ms: 90_000, peers: 1 });
        assert_eq!(*metrics.clock.borrow(), differs);
        teller.gone(&peer, at(50, 0));
        assert!(metrics.encode().contains("casm_clock_offset_seconds 0.0\n"));
        assert_eq!(*metrics.clock.borrow(), differs, "nobody says otherwise");
        teller.said(peer, network(1), time(60, 0), at(60, 0));
        assert_eq!(*metrics.clock.borrow(), None);
    }
}
