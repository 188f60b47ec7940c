//! Whom a table holds that has its part in the cluster's heartbeats.

use super::{Table, entry::Entry};
use std::time::Duration;

/// What a table holds, as far as it counts for the TTL that a node announces: records
/// with a TTL of [`Table::MAX_PACED`] at most. Who announces a longer one sends next to
/// nothing, and is kept all the same: were it counted, a heartbeat would buy a day of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Such records, this node's own among them.
    pub records: usize,
    /// Those of peers that are established, and the own one.
    pub established: usize,
}

impl Held {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.records += usize::from(entry.paced);
        self.established += usize::from(entry.paced && entry.established);
    }

    /// Takes out one that was added.
    pub(super) fn remove(&mut self, entry: &Entry) {
        self.records -= usize::from(entry.paced);
        self.established -= usize::from(entry.paced && entry.established);
    }
}

impl Table {
    /// The longest TTL to which a node stretches its own. Who has it still has to send
    /// a heartbeat in 12.5 minutes to stay.
    pub const MAX_PACED: Duration = Duration::from_secs(600);

    /// What it holds of those who have their part in the cluster's heartbeats.
    pub fn held(&self) -> Held {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Arrival, Detector, Heartbeat, Limits, Now, Outcome, Roles, Via};
    use libp2p::PeerId;

    const UNIX: u64 = 1_000_000_000_000_000_000;
    const TTL: Duration = Duration::from_secs(10);
    const DAY: Duration = Heartbeat::MAX_TTL;

    struct Fixture {
        table: Table,
        now: Duration,
        seq: u64,
    }

    impl Fixture {
        /// A table with the own record alone.
        fn new() -> Self {
            let table = Table::new(PeerId::random(), Limits::default(), Detector::default(), 1);
            let mut new = Self { table, now: Duration::ZERO, seq: UNIX };
            new.own(TTL);
            new
        }

        fn own(&mut self, ttl: Duration) {
            let now = Now { elapsed: self.now, unix_nanos: UNIX };
            self.seq += 1;
            self.table.insert_own(now, self.seq, (&beat(Some(ttl)), b"signed"), Roles::NONE);
        }

        /// A peer says that it lives, or goodbye.
        fn hear(&mut self, peer: PeerId, ttl: Option<Duration>) -> Outcome {
            let (now, beat) = (Now { elapsed: self.now, unix_nanos: UNIX }, beat(ttl));
            self.seq += 1;
            let (seq, from, via, roles) = (self.seq, peer, Via::Gossip, Roles::NONE);
            let signed = b"signed";
            self.table.insert(now, Arrival { peer, seq, from, beat: &beat, signed, via, roles })
        }

        fn held(&self) -> (usize, usize) {
            let Held { records, established } = self.table.held();
            (records, established)
        }

        fn is_established(&self, peer: &PeerId) -> bool {
            self.table.known(peer).is_some_and(|known| known.established)
        }
    }

    fn beat(ttl: Option<Duration>) -> Heartbeat {
        let (host, addrs) = ("h".into(), Default::default());
        Heartbeat { server: 1, ttl, host, meta: vec![], sent_at: None, addrs }
    }

    #[test]
    fn those_with_a_ttl_that_no_node_stretches_to_are_not_counted() {
        let mut f = Fixture::new();
        assert_eq!(f.held(), (1, 1));
        for (ttl, counts) in [(DAY, 0), (Table::MAX_PACED, 1), (DAY, 0), (TTL, 1)] {
            f.own(ttl);
            assert_eq!(f.held(), (counts, counts), "the own one with {ttl:?}");
        }
        let [short, longest, longer, day] = [(); 4].map(|()| PeerId::random());
        let above = Table::MAX_PACED + Duration::from_millis(1);
        for (peer, ttl, records) in
            [(short, TTL, 2), (longest, Table::MAX_PACED, 3), (longer, above, 3), (day, DAY, 3)]
        {
            assert_eq!(f.hear(peer, Some(ttl)), Outcome::Joined);
            assert_eq!(f.held(), (records, 1), "{ttl:?}");
        }
        // It is what each says now.
        for (peer, ttl, records) in
            [(day, TTL, 4), (day, DAY, 3), (short, DAY, 2), (short, DAY, 2), (short, TTL, 3)]
        {
            assert!(f.hear(peer, Some(ttl)).is_accepted());
            assert_eq!(f.held(), (records, 1), "{ttl:?}");
        }
        // Who is gone is out, however it went.
        assert!(f.hear(day, Some(TTL)).is_accepted());
        assert_eq!(f.held(), (4, 1));
        assert_eq!(f.hear(day, None), Outcome::Left);
        assert_eq!(f.held(), (3, 1));
        let seq = f.table.known(&longest).unwrap().seq;
        assert!(f.table.fail(f.now, &longest, seq));
        assert_eq!(f.held(), (2, 1));
        f.now += TTL * 5 / 4;
        f.table.expire(f.now);
        assert_eq!((f.held(), f.table.len()), ((1, 1), 2));
        f.table.put_out(f.now, &longer);
        assert_eq!((f.held(), f.table.len()), ((1, 1), 1));
    }

    #[test]
    fn of_the_established_only_those_who_go_on_sending_are_counted() {
        let mut f = Fixture::new();
        let (honest, few) = (PeerId::random(), PeerId::random());
        f.hear(few, Some(DAY));
        for _ in 0..=200 {
            f.hear(honest, Some(TTL));
            f.now += Duration::from_secs(3);
        }
        assert!(f.is_established(&honest));
        assert_eq!(f.held(), (2, 2));
        // With a long TTL nothing is due, and with a short one ten minutes are enough.
        f.hear(few, Some(TTL));
        assert!(f.is_established(&few));
        assert_eq!(f.held(), (3, 3));
        // The third heartbeat would have it counted for 30 hours.
        f.hear(few, Some(DAY));
        assert!(f.is_established(&few));
        assert_eq!(f.held(), (2, 2));
        f.hear(few, Some(Table::MAX_PACED));
        assert_eq!(f.held(), (3, 3));
        f.now += Duration::from_secs(750);
        f.table.expire(f.now);
        assert_eq!((f.held(), f.table.len()), ((1, 1), 1));
        // Who comes back is what it was.
        f.hear(few, Some(DAY));
        assert_eq!((f.held(), f.is_established(&few)), ((1, 1), true));
    }
}
