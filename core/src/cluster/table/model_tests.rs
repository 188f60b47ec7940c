//! Random operations on a table, its views and live queries, against naive
//! models of them. Every failure names the seed of its run.

use crate::cluster::{
    Addrs, Arrival, Change, Detector, Difference, Field, Heartbeat, Index, Limits, Live, Now,
    Outcome, Query, Record, Roles, Select, Table, Via, View,
};
use libp2p::PeerId;
use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng as Rng;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

const SEEDS: u64 = 2000;
const OPERATIONS: usize = 60;
const TEXTS: [&str; 9] = ["", "a", "a=", "ab", "abc", "b", "b=a", "ba", "\u{10ffff}"];
const UNIX: u64 = 1_000_000_000_000_000_000;

/// A generator per seed, and the peers of its run.
fn run(seed: u64) -> (Rng, Vec<PeerId>) {
    let mut rng = Rng::seed_from_u64(seed);
    let peers = (0..rng.random_range(4..16)).map(|_| {
        let key: [u8; 32] = rng.random();
        let key = libp2p::identity::Keypair::ed25519_from_bytes(key).unwrap();
        key.public().to_peer_id()
    });
    let peers = peers.collect();
    (rng, peers)
}

fn random_beat(rng: &mut Rng) -> Heartbeat {
    let meta = (0..rng.random_range(0..5))
        .map(|_| format!("{}={}", TEXTS.choose(rng).unwrap(), TEXTS.choose(rng).unwrap()));
    let meta = meta.collect();
    Heartbeat {
        server: rng.random_range(0..3) << 60,
        ttl: (!rng.random_bool(0.1)).then(|| Duration::from_secs(rng.random_range(1..8))),
        host: (*TEXTS.choose(rng).unwrap()).into(),
        meta,
        // About when one is too old to introduce its peer.
        sent_at: rng.random_bool(0.5).then(|| {
            Duration::from_nanos(UNIX) - Duration::from_millis(rng.random_range(595_000..615_000))
        }),
        addrs: Addrs::told(&[format!("/ip4/10.0.0.{}/tcp/1", rng.random_range(1..3))
            .parse()
            .unwrap()]),
    }
}

/// Mostly none, else some of those texts that can be roles.
fn random_roles(rng: &mut Rng) -> Roles {
    let some = rng.random_bool(0.3);
    TEXTS.into_iter().filter(|_| some && rng.random_bool(0.4)).collect()
}

fn random_query(rng: &mut Rng, peers: &[PeerId]) -> Query {
    let field = *Field::ALL.choose(rng).unwrap();
    let key = |rng: &mut Rng| {
        let key = match field {
            Field::Peer => peers.choose(rng).unwrap().to_base58(),
            Field::Server => format!("{:016x}", rng.random_range(0_u64..4) << 60),
            Field::Host => (*TEXTS.choose(rng).unwrap()).to_owned(),
            Field::Meta => format!("{}={}", TEXTS.choose(rng).unwrap(), TEXTS.choose(rng).unwrap()),
            Field::Role => (*TEXTS.choose(rng).unwrap()).to_owned(),
        };
        let cut = key.len() - rng.random_range(0..=key.len().min(3));
        let cut = (cut..=key.len()).find(|cut| key.is_char_boundary(*cut)).unwrap();
        Index::new(field, &key[..cut])
    };
    let select = match rng.random_range(0..4) {
        0 => Select::All,
        1 => Select::From(key(rng)),
        _ => Select::Match { index: key(rng), prefix: rng.random() },
    };
    Query {
        select,
        to: rng.random_bool(0.4).then(|| key(rng)),
        limit: rng.random_bool(0.3).then(|| rng.random_range(0..5)),
        reverse: rng.random(),
    }
}

fn keys(record: &Record, field: Field) -> Vec<String> {
    match field {
        Field::Peer => vec![record.peer().to_base58()],
        Field::Server => vec![format!("{:016x}", record.server())],
        Field::Host => vec![record.host().into()],
        Field::Meta => record.fields().map(Into::into).collect(),
        Field::Role => record.roles().map(Into::into).collect(),
    }
}

/// What a query finds, by looking at everything.
fn naive_query(records: &[Record], query: &Query) -> Vec<Record> {
    let of = |i: &Index| i.field;
    let field = match &query.select {
        Select::All => query.to.as_ref().map_or(Field::Peer, of),
        Select::Match { index, .. } | Select::From(index) => index.field,
    };
    if query.to.as_ref().is_some_and(|to| to.field != field) {
        return Vec::new();
    }
    let mut hits: Vec<(String, String, &Record)> = Vec::new();
    for record in records {
        for key in keys(record, field) {
            let selected = match &query.select {
                Select::All => true,
                Select::Match { index, prefix: false } => key == index.key,
                Select::Match { index, prefix: true } => key.starts_with(&index.key),
                Select::From(index) if query.reverse => key <= index.key,
                Select::From(index) => key >= index.key,
            };
            let before_end = match &query.to {
                None => true,
                Some(to) if query.reverse => key >= to.key,
                Some(to) => key <= to.key,
            };
            if selected && before_end {
                hits.push((key, record.peer().to_base58(), record));
            }
        }
    }
    hits.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    if query.reverse {
        hits.reverse();
    }
    let mut found: Vec<Record> = Vec::new();
    for (.., record) in hits {
        if !found.contains(record) {
            found.push(record.clone());
        }
    }
    found.truncate(query.limit.unwrap_or(usize::MAX));
    found
}

fn check_query(view: &View, query: &Query, seed: u64) {
    let all: Vec<_> = view.iter(Query::all()).collect();
    let expected = naive_query(&all, query);
    let found: Vec<_> = view.iter(query.clone()).collect();
    assert_eq!(found, expected, "seed {seed}: {query:?}");
    assert_eq!(view.count(query), expected.len(), "seed {seed}: {query:?}");
    assert_eq!(view.lookup(query), expected.first().cloned(), "seed {seed}: {query:?}");
    let unlimited = Query { limit: None, ..query.clone() };
    let expected = naive_query(&all, &unlimited);
    for record in all {
        let matches = expected.contains(&record);
        assert_eq!(query.matches(&record), matches, "seed {seed}: {query:?} {record:?}");
    }
}

/// The table's rules, with nothing that makes them fast.
#[derive(Default)]
struct Model {
    records: BTreeMap<String, Known>,
    departed: HashMap<PeerId, (u64, Duration)>,
    goodbyes: HashMap<PeerId, Goodbye>,
}

struct Goodbye {
    seq: u64,
    until: Duration,
    by_gossip: bool,
}

struct Known {
    peer: PeerId,
    seq: u64,
    beat: Heartbeat,
    roles: Roles,
    until: Duration,
    by_gossip: bool,
}

impl Model {
    fn insert(
        &mut self,
        now: Duration,
        Step { peer, seq, from, ref beat, via, ref roles, .. }: Step,
    ) -> Outcome {
        if seq > UNIX + 600_000_000_000 {
            return Outcome::Future;
        }
        let age = if let Via::Exchange(age) = via { age } else { Duration::ZERO };
        let until = beat.ttl.map(|ttl| now + ttl * 5 / 4).map(|until| until.saturating_sub(age));
        let by_gossip = via == Via::Gossip;
        let key = peer.to_base58();
        if let Some(known) = self.records.get_mut(&key) {
            if seq == known.seq && by_gossip && !known.by_gossip {
                known.by_gossip = true;
                return Outcome::Relayed;
            }
            if seq <= known.seq {
                return Outcome::Stale;
            }
        } else if self.departed.get(&peer).is_some_and(|d| seq <= d.0 && now < d.1) {
            let kept = self.goodbyes.get_mut(&peer).filter(|kept| kept.seq == seq && by_gossip);
            return match kept {
                Some(kept) if !kept.by_gossip => {
                    kept.by_gossip = true;
                    Outcome::Relayed
                }
                _ => Outcome::Replayed,
            };
        }
        let Some(until) = until else {
            let known = self.records.get(&key);
            if known.is_some() || from == peer || self.goodbyes.contains_key(&peer) {
                let patience = known.map_or(Duration::ZERO, |k| k.beat.ttl.unwrap() * 5 / 4);
                let until = now + patience.max(Duration::from_secs(30)) - age;
                self.goodbyes.insert(peer, Goodbye { seq, until, by_gossip });
            }
            self.leave(now, peer, seq);
            return Outcome::Left;
        };
        if let (Some(sent), Some(ttl)) = (beat.sent_at, beat.ttl)
            && !self.records.contains_key(&key)
            && from != peer
            && Duration::from_nanos(UNIX) - sent > Duration::from_secs(600) + ttl * 5 / 4
        {
            return Outcome::Ghost;
        }
        if until <= now {
            return Outcome::Late;
        }
        self.departed.remove(&peer);
        self.goodbyes.remove(&peer);
        let (beat, roles) = (beat.clone(), roles.clone());
        let old = self.records.get(&key);
        let outcome = match old.map(|old| said(&old.beat) == said(&beat) && old.roles == roles) {
            None => Outcome::Joined,
            Some(true) => Outcome::Renewed,
            Some(false) => Outcome::Updated,
        };
        self.records.insert(key, Known { peer, seq, beat, roles, until, by_gossip });
        outcome
    }

    fn leave(&mut self, now: Duration, peer: PeerId, seq: u64) {
        self.records.remove(&peer.to_base58());
        self.departed.insert(peer, (seq, now + Duration::from_secs(86_400)));
    }

    fn expire(&mut self, now: Duration) {
        let due: Vec<_> =
            self.records.values().filter(|k| k.until <= now).map(|k| (k.peer, k.seq)).collect();
        for (peer, seq) in due {
            self.leave(now, peer, seq);
        }
        self.goodbyes.retain(|_, goodbye| goodbye.until > now);
    }

    fn check(&self, view: &View, seed: u64) {
        let found: Vec<_> = view.iter(Query::all()).collect();
        assert_eq!((found.len(), view.len()), (self.records.len(), found.len()), "seed {seed}");
        for (record, known) in found.iter().zip(self.records.values()) {
            assert_eq!((record.peer(), record.seq()), (known.peer, known.seq), "seed {seed}");
            let beat = Heartbeat {
                server: record.server(),
                ttl: Some(record.ttl()),
                host: record.host().into(),
                meta: record.fields().map(Into::into).collect(),
                sent_at: None,
                addrs: record.told_addrs().clone(),
            };
            assert_eq!(said(&beat), said(&known.beat), "seed {seed}");
            assert_eq!(beat.ttl, known.beat.ttl, "seed {seed}");
            assert_eq!(record.known_roles(), &known.roles, "seed {seed}");
            assert_eq!(view.get(&known.peer).as_ref(), Some(record), "seed {seed}");
        }
        // What others are told of: every peer once, by its last number.
        let known: BTreeMap<_, _> = view.known().collect();
        let records = self.records.values().map(|known| (known.peer, known.seq));
        let goodbyes = self.goodbyes.iter().map(|(peer, goodbye)| (*peer, goodbye.seq));
        assert_eq!(known, records.chain(goodbyes).collect(), "seed {seed}");
        assert_eq!(view.known().count(), known.len(), "seed {seed}");
        for (peer, seq) in known {
            assert_eq!(view.last_seq(&peer), Some(seq), "seed {seed}");
            assert_eq!(view.proof_of(&peer).map(|proof| proof.seq), Some(seq), "seed {seed}");
        }
    }
}

type Said<'a> = (u64, &'a str, Vec<(&'a str, &'a str)>, &'a Addrs);

/// What is news of a heartbeat, which its TTL is not: each meta field once, the first of
/// a key first.
fn said(beat: &Heartbeat) -> Said<'_> {
    let mut meta: Vec<(&str, &str)> = Vec::new();
    for field in &beat.meta {
        let pair = field.split_once('=').unwrap();
        if !meta.contains(&pair) {
            meta.push(pair);
        }
    }
    meta.sort_by_key(|pair| pair.0);
    (beat.server, &beat.host, meta, &beat.addrs)
}

/// One random heartbeat, or a jump in time.
struct Step {
    now: Now,
    peer: PeerId,
    seq: u64,
    from: PeerId,
    beat: Heartbeat,
    via: Via,
    roles: Roles,
}

impl Step {
    fn random(rng: &mut Rng, peers: &[PeerId], now: &mut Duration) -> Self {
        *now += match rng.random_range(0..20) {
            0 => Duration::from_secs(86_400),
            1..8 => Duration::from_millis(rng.random_range(0..4000)),
            _ => Duration::ZERO,
        };
        let far = rng.random_range(0..30) == 0;
        Self {
            now: Now { elapsed: *now, unix_nanos: UNIX },
            peer: *peers.choose(rng).unwrap(),
            seq: UNIX - 20 + rng.random_range(0..40) + if far { 600_000_000_000 } else { 0 },
            from: *peers.choose(rng).unwrap(),
            beat: random_beat(rng),
            roles: random_roles(rng),
            via: match rng.random_range(0..3) {
                0 => Via::Exchange(Duration::from_millis(rng.random_range(0..4000))),
                _ => Via::Gossip,
            },
        }
    }

    fn apply(&self, table: &mut Table) -> Outcome {
        table.expire(self.now.elapsed);
        let Self { now, peer, seq, from, ref beat, via, ref roles } = *self;
        table.insert(now, Arrival { peer, seq, from, beat, signed: b"signed", via, roles })
    }
}

#[test]
fn a_table_does_what_its_rules_say_and_queries_find_what_is_there() {
    for seed in 0..SEEDS {
        let (mut rng, peers) = run(seed);
        let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), seed);
        let (mut model, mut now) = (Model::default(), Duration::ZERO);
        let mut kept: Vec<(View, Vec<Record>)> = Vec::new();
        for _ in 0..OPERATIONS {
            let step = Step::random(&mut rng, &peers, &mut now);
            model.expire(now);
            let outcome = step.apply(&mut table);
            let expected = model.insert(now, step);
            assert_eq!(outcome, expected, "seed {seed}");
            let view = table.view();
            model.check(&view, seed);
            let goodbyes = model.goodbyes.values().map(|goodbye| goodbye.until);
            let next = model.records.values().map(|known| known.until).chain(goodbyes).min();
            assert_eq!(table.next_deadline(), next, "seed {seed}");
            check_query(&view, &random_query(&mut rng, &peers), seed);
            if rng.random_bool(0.05) {
                let records = view.iter(Query::all()).collect();
                kept.push((view, records));
            }
        }
        for (view, records) in kept {
            assert!(view.iter(Query::all()).eq(records), "seed {seed}: a snapshot changed");
        }
        // Nothing is left over when all have gone.
        table.expire(now + Duration::from_secs(60));
        assert_eq!((table.view().len(), table.bytes()), (0, 0), "seed {seed}");
        assert_eq!((table.view().known().count(), table.next_deadline()), (0, None));
        for field in Field::ALL {
            let all = Query::from(Index::new(field, ""));
            assert_eq!(table.view().count(&all), 0, "seed {seed}");
        }
    }
}

/// What a consumer of a live query knows.
#[derive(Default)]
struct Consumer(BTreeMap<String, Record>);

impl Consumer {
    /// Takes what there is. True if something was lost.
    fn drain(&mut self, live: &mut Live, seed: u64) -> bool {
        let mut lost = false;
        while let Some(change) = live.pop() {
            match change {
                Change::Current(new) | Change::Joined(new) => {
                    let known = self.0.insert(new.peer_text().into(), new);
                    assert!(lost || known.is_none(), "seed {seed}: told twice");
                }
                Change::Updated(new) => {
                    let known = self.0.insert(new.peer_text().into(), new);
                    assert!(lost || known.is_some(), "seed {seed}: unknown, but updated");
                }
                Change::Left(old) => {
                    let known = self.0.remove(old.peer_text());
                    assert!(lost || known.is_some(), "seed {seed}: unknown, but left");
                }
                Change::Dropped { count } => {
                    assert!(count > 0);
                    lost = true;
                }
            }
        }
        lost
    }

    fn check(&self, view: &View, query: &Query, seed: u64) {
        let mut found: Vec<_> = view.iter(query.clone()).collect();
        found.sort_by(|a, b| a.peer_text().cmp(b.peer_text()));
        let same = self.0.values().zip(&found).all(|(known, new)| known.says_same(new));
        assert!(same && self.0.len() == found.len(), "seed {seed}: {query:?}");
    }
}

#[test]
fn a_live_query_under_churn_tells_the_difference_of_snapshots() {
    let mut losses = 0;
    for seed in 0..SEEDS {
        let (mut rng, peers) = run(seed);
        let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), seed);
        let mut now = Duration::ZERO;
        for _ in 0..rng.random_range(0..10) {
            Step::random(&mut rng, &peers, &mut now).apply(&mut table);
        }
        table.take_differences();
        let query = random_query(&mut rng, &peers);
        let capacity = rng.random_range(2..30);
        let mut live = Live::new(query.clone(), capacity, &table.view());
        let mut consumer = Consumer::default();
        for _ in 0..OPERATIONS {
            for _ in 0..rng.random_range(1..4) {
                Step::random(&mut rng, &peers, &mut now).apply(&mut table);
            }
            let lost = live.apply(&table.view(), &table.take_differences());
            assert!(live.waiting() <= capacity, "seed {seed}");
            if rng.random_bool(0.2) {
                if consumer.drain(&mut live, seed) {
                    losses += 1;
                    live.resync(&table.view());
                    consumer = Consumer::default();
                    assert!(!consumer.drain(&mut live, seed), "seed {seed}");
                }
                consumer.check(&table.view(), &query, seed);
            } else if lost > 0 {
                losses += 1;
            }
        }
    }
    assert!(losses > 100, "the runs hardly tested what a slow consumer loses");
}

#[test]
fn differences_lead_from_one_snapshot_to_the_next() {
    for seed in 0..SEEDS {
        let (mut rng, peers) = run(seed);
        let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), seed);
        let (mut now, mut known) = (Duration::ZERO, BTreeMap::new());
        for _ in 0..OPERATIONS {
            Step::random(&mut rng, &peers, &mut now).apply(&mut table);
            for difference in table.take_differences() {
                let (before, record) = match difference {
                    Difference::Joined(new) => (None, new),
                    Difference::Updated { old, new } => (Some(old), new),
                    Difference::Left(old, _) => {
                        let known: Option<Record> = known.remove(old.peer_text());
                        assert!(known.is_some_and(|known| known.says_same(&old)), "seed {seed}");
                        continue;
                    }
                };
                let known = known.insert(record.peer_text().to_owned(), record);
                assert_eq!(known.is_some(), before.is_some(), "seed {seed}");
                let same = known.zip(before).is_none_or(|(known, old)| known.says_same(&old));
                assert!(same, "seed {seed}");
            }
            let view = table.view();
            let same = view.iter(Query::all()).zip(known.values()).all(|(a, b)| a.says_same(b));
            assert!(same && view.len() == known.len(), "seed {seed}");
        }
    }
}
