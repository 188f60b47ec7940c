//! What liars can bring about: that somebody says that it lives.

use super::{
    tests::{SEC, START, beat, ids, last, put, seq, table_of},
    votes::{MAX_ACCUSED, MAX_ACCUSERS, TIME},
    *,
};
use crate::cluster::{Detector, Limits, Now, Roles, Table};

/// A node, who is accused, and some who accuse.
struct Liars<const N: usize> {
    table: Table,
    suspicion: Suspicion,
    victim: PeerId,
    liars: [PeerId; N],
    others: [PeerId; 4],
    said: u64,
}

impl<const N: usize> Liars<N> {
    /// Whether the liars are established.
    fn new(established: bool) -> Self {
        let ([own, victim], liars, others) = (ids(), ids(), ids());
        let mut peers = [&[victim][..], &others].concat();
        if established {
            peers.extend(liars);
        }
        let mut table = table_of(own, &peers);
        liars.iter().for_each(|liar| assert!(put(&mut table, START, *liar, START, true)));
        let suspicion = Suspicion::new(own, false, Duration::ZERO);
        Self { table, suspicion, victim, liars, others, said: 0 }
    }

    fn say(&mut self, now: Duration, by: PeerId, accused: &[(PeerId, u64)]) -> Heard {
        self.said += 1;
        let all = accused.iter().map(|(peer, seq)| Suspect { peer: *peer, seq: *seq });
        let data = Suspects(all.collect()).encode();
        self.suspicion.hear(now, (by, self.said), &data, &self.table)
    }

    /// All of them accuse the victim with this number.
    fn lie(&mut self, now: Duration, seq: u64) -> Vec<Verdict> {
        let liars = self.liars;
        let victim = self.victim;
        liars.map(|liar| self.say(now, liar, &[(victim, seq)]).verdict).into()
    }

    fn answers(&mut self, now: Duration) {
        assert!(put(&mut self.table, now, self.victim, now, true));
        self.suspicion.heartbeat(now, Duration::ZERO, (self.victim, seq(now)), &self.table);
    }

    /// Whether the victim is removed within some time.
    fn removes(&mut self, from: Duration) -> bool {
        let mut now = from;
        while now < from + 20 * SEC {
            if !self.suspicion.act(now, &self.table).is_empty() {
                return true;
            }
            now += Duration::from_millis(100);
        }
        false
    }

    fn count(&mut self, what: &str) -> u64 {
        self.suspicion.take_counts().get(what).copied().unwrap_or(0)
    }
}

fn strangers<const N: usize>() {
    let mut world = Liars::<N>::new(false);
    assert_eq!(world.lie(START, last()), [Verdict::Ignore; N], "nor is it passed on");
    assert!(!world.removes(START));
    assert_eq!((world.count("refused-stranger"), world.suspicion.len()), (N as u64, 0));
}

#[test]
fn strangers_remove_nobody_however_many_they_are() {
    strangers::<1>();
    strangers::<2>();
    strangers::<8>();
    strangers::<200>();
}

#[test]
fn established_liars_are_answered_and_remove_nobody() {
    let mut world = Liars::<2>::new(true);
    let mut now = START;
    for _ in 0..20 {
        let known = world.table.known(&world.victim).unwrap().seq;
        assert_eq!(world.lie(now, known), [Verdict::Accept; 2]);
        assert!(world.suspicion.act(now, &world.table).is_empty());
        // The answer has 3 s to come.
        now += TIME - Duration::from_millis(1);
        world.answers(now);
        assert!(world.suspicion.act(now + SEC, &world.table).is_empty());
        now += 2 * SEC;
    }
    assert_eq!(world.count("cleared"), 20);
    // If it doesn't answer, it is gone.
    let known = world.table.known(&world.victim).unwrap().seq;
    world.lie(now, known);
    assert!(world.removes(now));
}

#[test]
fn numbers_that_nobody_has_sent_do_not_count_and_keep_out_none_that_do() {
    let mut world = Liars::<8>::new(true);
    assert_eq!(world.lie(START, last() + 1), [Verdict::Accept; 8]);
    assert_eq!(world.lie(START, u64::MAX), [Verdict::Accept; 8]);
    assert!(!world.removes(START), "the victim could not contradict these");
    // Nor do old ones.
    world.lie(START + SEC, last() - 1);
    assert!(!world.removes(START + SEC));
    assert_eq!(world.count("refused-outdated"), 8);
    let now = START + 30 * SEC;
    for by in [world.others[0], world.others[1]] {
        world.say(now, by, &[(world.victim, last())]);
    }
    assert!(world.removes(now), "who is right is heard among them");
}

#[test]
fn an_accuser_counts_once_and_never_against_itself() {
    let mut world = Liars::<2>::new(true);
    let (victim, [one, two]) = (world.victim, world.liars);
    for n in 0..10 {
        world.say(START + n * SEC, one, &[(victim, last()), (victim, last())]);
        // Its own word on itself, with another's.
        world.say(START + n * SEC, two, &[(two, seq(START)), (one, seq(START))]);
    }
    assert!(!world.removes(START + 10 * SEC));
    assert_eq!(world.count("refused-self"), 10);
}

#[test]
fn who_says_too_much_is_not_heard_and_replays_cost_nobody_anything() {
    let mut world = Liars::<1>::new(true);
    let (victim, [liar]) = (world.victim, world.liars);
    let taken =
        (0..100).filter(|_| world.say(START, liar, &[(victim, last())]).verdict == Verdict::Accept);
    assert_eq!((taken.count(), world.count("refused-over-rate")), (3, 97));
    let honest = world.others[0];
    let data = Suspects(vec![Suspect { peer: victim, seq: last() }]).encode();
    let mut hear = |seq| world.suspicion.hear(START, (honest, seq), &data, &world.table).verdict;
    assert_eq!(hear(1000), Verdict::Accept);
    for _ in 0..100 {
        assert_eq!(hear(1000), Verdict::Ignore);
    }
    assert_eq!(hear(1001), Verdict::Accept);
    // What is no message at all.
    let hear = |suspicion: &mut Suspicion, by, data: &[u8]| {
        suspicion.hear(START + SEC, (by, 2000), data, &world.table).verdict
    };
    assert_eq!(hear(&mut world.suspicion, world.others[1], b"\x0a\xff"), Verdict::Reject);
    assert_eq!(hear(&mut world.suspicion, world.others[2], &[0; 9000]), Verdict::Ignore);
    let own = world.suspicion.own;
    assert_eq!(hear(&mut world.suspicion, own, &data), Verdict::Ignore);
    let counts = world.suspicion.take_counts();
    let labels = ["refused-malformed", "refused-too-large", "refused-own", "refused-replayed"];
    assert_eq!(labels.map(|label| counts[label]), [1, 1, 1, 100]);
}

#[test]
fn a_new_node_passes_on_and_answers_and_counts_nobody_whom_it_does_not_know() {
    let ([own, victim, one, two], limits) = (ids(), Limits::default());
    let mut table = Table::new(own, limits, Detector::default(), 1);
    let now = Now { elapsed: START, unix_nanos: seq(START) };
    table.insert_own(now, seq(START), (&beat(true), b"s"), Roles::NONE);
    for peer in [victim, one, two] {
        assert!(put(&mut table, START, peer, START, true));
    }
    let mut suspicion = Suspicion::new(own, false, START);
    let accused = [own, victim].map(|peer| Suspect { peer, seq: seq(START) });
    let data = Suspects(accused.into()).encode();
    for by in [one, two] {
        let heard = suspicion.hear(START, (by, 1), &data, &table);
        assert!(heard.verdict == Verdict::Accept && heard.answer.is_some(), "{heard:?}");
    }
    let nobody = suspicion.hear(START, (PeerId::random(), 1), &data, &table);
    assert!(nobody.verdict == Verdict::Ignore && nobody.answer.is_some(), "{nobody:?}");
    assert!(suspicion.act(START + 10 * SEC, &table).is_empty());
    // Once it is not new any more, it takes the word of the established alone.
    let later = START + limits.probation;
    assert_eq!(suspicion.hear(later, (one, 2), &data, &table).verdict, Verdict::Ignore);
}

#[test]
fn the_victim_answers_whoever_accuses_it_and_nobody_can_keep_it_from_that() {
    let mut world = Liars::<2>::new(true);
    let own = world.suspicion.own;
    let ([one, two], accused) = (world.liars, [(own, last())]);
    let mut now = START;
    let answered = |world: &mut Liars<2>, now, by, accused: &[_]| {
        let heard = world.say(now, by, accused);
        let due = heard.answer.expect("it is to answer");
        assert!(due < now + ANSWERS, "in time");
        world.suspicion.spoke(due, seq(due));
        heard.verdict
    };
    // The highest number, with a message that nobody takes.
    let too_many = Suspects(vec![Suspect { peer: own, seq: 1 }; Suspects::MAX + 1]).encode();
    let heard = world.suspicion.hear(now, (one, u64::MAX), &too_many, &world.table);
    assert_eq!(heard, Heard { verdict: Verdict::Ignore, answer: None });
    assert_eq!(answered(&mut world, now, one, &accused), Verdict::Accept, "it is not burnt");
    // More messages than are taken.
    now += 10 * SEC;
    let others = [(world.victim, last())];
    let verdicts: Vec<_> = (0..100).map(|_| world.say(now, two, &others).verdict).collect();
    assert!(verdicts.ends_with(&[Verdict::Ignore]));
    assert_eq!(answered(&mut world, now, two, &accused), Verdict::Ignore);
    // Whom others may take for established.
    now += 10 * SEC;
    assert_eq!(answered(&mut world, now, PeerId::random(), &accused), Verdict::Ignore);
    now += 10 * SEC;
    let data = Suspects(vec![Suspect { peer: own, seq: last() }]).encode();
    assert_eq!(world.suspicion.overhear(now, &data), Some(now), "whom it denies");
    assert_eq!(world.suspicion.overhear(now, &[0xff]), None);
    // A flood of all of them has one answer in a while.
    world.suspicion.take_counts();
    for ms in 0..10_000 {
        let now = now + Duration::from_millis(ms);
        if let Some(due) = world.say(now, PeerId::random(), &accused).answer
            && due <= now
        {
            world.suspicion.spoke(now, seq(now));
        }
    }
    assert!((4..=5).contains(&world.count("answered")));
}

#[test]
fn what_is_remembered_is_bounded_and_forgotten() {
    let mut world = Liars::<20>::new(true);
    world.lie(START, last());
    assert_eq!(world.count("refused-enough"), 20 - MAX_ACCUSERS as u64);
    let mut votes = Votes::default();
    let by = PeerId::random();
    for n in 0..MAX_ACCUSED + 10 {
        let noted = votes.note(START, (&by, PeerId::random()), 1, 1);
        assert_eq!(noted.is_err(), n >= MAX_ACCUSED);
    }
    votes.sweep(START + 60 * SEC);
    assert_eq!((votes.len(), votes.next()), (0, None));
}
