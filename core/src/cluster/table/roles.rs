//! What changes when other roles are proven of a peer than before.

use super::Table;
use crate::cluster::roles::Roles;
use libp2p::PeerId;
use std::time::Duration;

impl Table {
    /// These roles are proven of a peer from now on: its record has them. Says whether
    /// anything changed.
    pub fn change_roles(&mut self, now: Duration, peer: &PeerId, roles: &Roles) -> bool {
        let Some(slot) = self.slots.get(peer).copied() else { return false };
        let (Some(entry), Some(old)) = (self.entry(slot), self.root.slots.get(slot)) else {
            return false;
        };
        if old.known_roles() == roles {
            return false;
        }
        let record = old.clone().with_roles(roles);
        let signed = self.root.proofs.get(slot as usize);
        let signed = signed.map(|proof| proof.signed.clone()).unwrap_or_default();
        let entry = entry.clone();
        self.store(now, Some(slot), record, &signed, entry);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        Arrival, Detector, Difference, Heartbeat, Limits, Now, Outcome, Query, Via, View,
    };
    use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};

    const UNIX: u64 = 1_000_000_000_000_000_000;

    fn beat(host: &str) -> Heartbeat {
        Heartbeat {
            server: 1,
            ttl: Some(Duration::from_secs(10)),
            host: host.into(),
            meta: vec!["role=claimed".into()],
            sent_at: None,
            addrs: Default::default(),
        }
    }

    fn at(elapsed: Duration) -> Now {
        Now { elapsed, unix_nanos: UNIX }
    }

    fn of(roles: &[&str]) -> Roles {
        roles.iter().copied().collect()
    }

    fn hear(table: &mut Table, now: Duration, peer: PeerId, seq: u64, roles: &Roles) -> Outcome {
        let (beat, via) = (beat("h"), Via::Gossip);
        let arrival = Arrival { peer, seq, from: peer, beat: &beat, signed: b"signed", via, roles };
        table.insert(at(now), arrival)
    }

    fn found(view: &View, role: &str) -> Vec<PeerId> {
        view.iter(Query::role(role)).map(|record| record.peer()).collect()
    }

    #[test]
    fn a_change_shows_in_record_index_and_differences_and_in_nothing_else() {
        let (own, peer) = (PeerId::random(), PeerId::random());
        let mut table = Table::new(own, Limits::default(), Detector::default(), 1);
        let now = Duration::from_secs(1);
        table.insert_own(at(now), 1, (&beat("own"), b""), &of(&["head"]));
        assert_eq!(hear(&mut table, now, peer, UNIX, &of(&["a", "b"])), Outcome::Joined);
        let before = (table.bytes(), table.next_deadline(), table.view());
        table.take_differences();
        assert_eq!((found(&before.2, "head"), found(&before.2, "b")), (vec![own], vec![peer]));
        assert!(found(&before.2, "claimed").is_empty(), "what is claimed is not proven");

        assert!(!table.change_roles(now, &peer, &of(&["a", "b"])), "they are the same");
        assert!(!table.change_roles(now, &PeerId::random(), &of(&["a"])), "it is not there");
        assert!(table.take_differences().is_empty());

        let later = now + Duration::from_secs(2);
        assert!(table.change_roles(later, &peer, &of(&["b", "c"])));
        let [Difference::Updated { old, new }] = &table.take_differences()[..] else {
            panic!("one difference is told");
        };
        assert_eq!(old.roles().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(new.roles().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((new.seq(), new.host(), new.ttl()), (UNIX, old.host(), old.ttl()));
        let view = table.view();
        let signed = view.signed_of(&peer).unwrap();
        assert_eq!((signed.message, signed.received), (&b"signed"[..], later));
        assert_eq!(signed.age, Duration::from_secs(2), "others have had it for so long");
        assert_eq!(view.count(&Query::from(crate::Index::role(""))), 2, "those who have any");
        for (role, there) in [("a", 0), ("b", 1), ("c", 1)] {
            assert_eq!(found(&view, role).len(), there, "{role}");
        }
        assert_eq!(found(&before.2, "a"), [peer], "a snapshot stays as it was");
        // It expires when it would have, and takes no more than it did.
        assert_eq!((table.bytes(), table.next_deadline()), (before.0, before.1));

        // The next heartbeat brings what is known then.
        assert_eq!(hear(&mut table, later, peer, UNIX + 1, &of(&["b", "c"])), Outcome::Renewed);
        assert_eq!(hear(&mut table, later, peer, UNIX + 2, Roles::NONE), Outcome::Updated);
        assert!(found(&table.view(), "b").is_empty());
        assert!(table.change_roles(later, &own, Roles::NONE));
        assert!(found(&table.view(), "head").is_empty());
    }

    #[test]
    fn a_full_table_has_them_all_the_same() {
        let (own, peer) = (PeerId::random(), PeerId::random());
        let mut table = Table::new(own, Limits::default(), Detector::default(), 1);
        let now = Duration::from_secs(1);
        assert_eq!(hear(&mut table, now, peer, UNIX, &of(&["a", "b"])), Outcome::Joined);
        table.limits.bytes = 0;
        assert!(table.change_roles(now, &peer, &of(&["b", "c", "d"])));
        let roles = |table: &Table| table.view().get(&peer).unwrap().known_roles().clone();
        assert_eq!(roles(&table), of(&["b", "c", "d"]));
        // What it says has no room, and what is proven of it has.
        let longer = beat(&"h".repeat(200));
        let (seq, via, next) = (UNIX + 1, Via::Gossip, of(&["d", "e"]));
        let arrival =
            Arrival { peer, seq, from: peer, beat: &longer, signed: b"", via, roles: &next };
        assert_eq!(table.insert(at(now), arrival), Outcome::NoRoom);
        assert_eq!((roles(&table), table.view().get(&peer).unwrap().host()), (next, "h"));
    }

    /// Roles that change at random, against a naive list.
    #[test]
    fn queries_find_what_is_proven_now() {
        for seed in 0..200 {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let peers: Vec<_> = (0..12).map(|_| PeerId::random()).collect();
            let mut table =
                Table::new(PeerId::random(), Limits::default(), Detector::default(), seed);
            let mut known = std::collections::BTreeMap::new();
            let now = Duration::from_secs(1);
            for step in 0..100 {
                let peer = *peers.choose(&mut rng).unwrap();
                let all = ["a", "ab", "b", "c", "cd"];
                let roles: Roles = all.into_iter().filter(|_| rng.random_bool(0.4)).collect();
                if rng.random() {
                    hear(&mut table, now, peer, UNIX + step, &roles);
                    known.insert(peer.to_base58(), roles);
                } else {
                    table.change_roles(now, &peer, &roles);
                    known.entry(peer.to_base58()).and_modify(|known| *known = roles);
                }
                let view = table.view();
                for role in all.iter().chain(&["", "d"]) {
                    let exact = view.refs(&Query::role(*role)).count();
                    let expected = known.values().filter(|roles| roles.contains(role)).count();
                    assert_eq!(exact, expected, "seed {seed}: {role}");
                    let begins = Query::role(*role).prefix();
                    let found: Vec<_> = view.iter(begins.clone()).collect();
                    let expected =
                        known.values().filter(|r| r.iter().any(|own| own.starts_with(role)));
                    assert_eq!(found.len(), expected.count(), "seed {seed}: {role}, beginning");
                    assert_eq!(view.count(&begins), found.len());
                    assert!(found.iter().all(|record| begins.matches(record)));
                }
            }
        }
    }
}
