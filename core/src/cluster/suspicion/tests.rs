//! One node's suspicions, step by step.

use super::{votes::TIME, *};
use crate::cluster::{Arrival, Detector, Heartbeat, Limits, Now, Roles, Table, Via};

pub(super) const SEC: Duration = Duration::from_secs(1);
/// When the tests begin: everybody has been there for a while.
pub(super) const START: Duration = Duration::from_secs(100);
pub(super) const TTL: Duration = Duration::from_secs(60);

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The number of a heartbeat that is sent then.
pub(super) fn seq(at: Duration) -> u64 {
    1_800_000_000_000_000_000 + u64::try_from(at.as_nanos()).unwrap()
}

/// A heartbeat, of one of ours if it says when it was sent.
pub(super) fn beat(ours: bool) -> Heartbeat {
    Heartbeat {
        server: 1,
        ttl: Some(TTL),
        host: "h".into(),
        meta: Vec::new(),
        sent_at: ours.then_some(Duration::from_secs(1_800_000_000)),
        addrs: Default::default(),
    }
}

/// Puts a heartbeat that was sent then in a table. Whether it was taken.
pub(super) fn put(
    table: &mut Table,
    at: Duration,
    peer: PeerId,
    sent: Duration,
    ours: bool,
) -> bool {
    let (beat, roles, via) = (beat(ours), Roles::NONE, Via::Gossip);
    let now = Now { elapsed: at, unix_nanos: seq(at) };
    let arrival =
        Arrival { peer, seq: seq(sent), from: peer, beat: &beat, signed: b"s", via, roles };
    table.insert(now, arrival).is_accepted()
}

/// A table of this node with these peers, who are established by now.
pub(super) fn table_of(own: PeerId, peers: &[PeerId]) -> Table {
    let limits = Limits { probation: SEC, ..Limits::default() };
    let mut table = Table::new(own, limits, Detector::default(), 1);
    for secs in [10, 30, 50, 70, 90] {
        let at = Duration::from_secs(secs);
        let now = Now { elapsed: at, unix_nanos: seq(at) };
        table.insert_own(now, seq(at), (&beat(true), b"s"), Roles::NONE);
        peers.iter().for_each(|peer| assert!(put(&mut table, at, *peer, at, true)));
    }
    assert!(peers.iter().all(|peer| table.known(peer).unwrap().established));
    table
}

pub(super) fn ids<const N: usize>() -> [PeerId; N] {
    [(); N].map(|()| PeerId::random())
}

/// The number of everybody's last heartbeat.
pub(super) fn last() -> u64 {
    seq(Duration::from_secs(90))
}

/// A node with so many others, the first of which are its neighbours.
struct One {
    peers: Vec<PeerId>,
    table: Table,
    suspicion: Suspicion,
    said: u64,
}

impl One {
    fn new(peers: usize, neighbours: usize) -> Self {
        let (own, peers) = (PeerId::random(), (0..peers).map(|_| PeerId::random()));
        let peers: Vec<_> = peers.collect();
        let table = table_of(own, &peers);
        let mut suspicion = Suspicion::new(own, false, Duration::ZERO);
        suspicion.spoke(Duration::from_secs(90), last());
        for peer in &peers[..neighbours] {
            suspicion.note(START, *peer, Sign::Here, &table);
        }
        assert_eq!(suspicion.act(START, &table), []);
        Self { peers, table, suspicion, said: 0 }
    }

    fn note(&mut self, now: Duration, peer: usize, sign: Sign) -> Vec<Action> {
        self.suspicion.note(now, self.peers[peer], sign, &self.table);
        self.act(now)
    }

    fn act(&mut self, now: Duration) -> Vec<Action> {
        self.suspicion.act(now, &self.table)
    }

    /// What is done until then, each when it is due.
    fn until(&mut self, from: Duration, end: Duration) -> Vec<(Duration, Action)> {
        let (mut now, mut done) = (from, Vec::new());
        loop {
            done.extend(self.act(now).into_iter().map(|action| (now, action)));
            match self.suspicion.next() {
                Some(next) if next <= end => {
                    assert!(next > now, "{next:?} is past at {now:?}");
                    now = next;
                }
                _ => return done,
            }
        }
    }

    /// Another node accuses some.
    fn hears(&mut self, now: Duration, by: usize, accused: &[(PeerId, u64)]) -> Heard {
        self.said += 1;
        let suspects = accused.iter().map(|(peer, seq)| Suspect { peer: *peer, seq: *seq });
        let data = Suspects(suspects.collect()).encode();
        self.suspicion.hear(now, (self.peers[by], self.said), &data, &self.table)
    }

    /// A heartbeat of a peer comes, which was sent then.
    fn beats(&mut self, now: Duration, peer: usize, sent: Duration) {
        let peer = self.peers[peer];
        assert!(put(&mut self.table, now, peer, sent, true));
        self.suspicion.heartbeat(now, Duration::ZERO, (peer, seq(sent)), &self.table);
    }

    fn count(&mut self, what: &str) -> u64 {
        self.suspicion.take_counts().get(what).copied().unwrap_or(0)
    }

    fn suspect(&self, peer: usize) -> Suspect {
        Suspect { peer: self.peers[peer], seq: last() }
    }
}

fn said(actions: &[(Duration, Action)]) -> Vec<(Duration, Vec<PeerId>)> {
    let said = |(at, action): &(Duration, Action)| match action {
        Action::Say(Suspects(all)) => Some((*at, all.iter().map(|s| s.peer).collect())),
        _ => None,
    };
    actions.iter().filter_map(said).collect()
}

#[test]
fn few_are_dialled_at_a_time_and_none_by_who_counts_for_nothing() {
    let mut one = One::new(40, 40);
    let dialled = |one: &mut One, new: bool| {
        one.suspicion.begun = if new { START } else { Duration::ZERO };
        let (mut dialled, mut act) = (Vec::new(), one.act(START));
        while !act.is_empty() {
            assert!(act.len() <= 8, "{act:?}");
            for action in std::mem::take(&mut act) {
                let Action::Dial(peer) = action else { panic!("{action:?}") };
                dialled.push(peer);
                one.suspicion.note(START, peer, Sign::Dialled(true), &one.table);
            }
            act = one.act(START);
        }
        dialled.len()
    };
    for new in [true, false] {
        for peer in one.peers.clone() {
            one.suspicion.note(START, peer, Sign::Late, &one.table);
        }
        assert_eq!(dialled(&mut one, new), if new { 0 } else { 40 });
    }
    // But where one accuser is enough, that may be this node.
    let mut one = One::new(2, 2);
    one.suspicion.begun = START;
    assert_eq!(one.note(START, 0, Sign::Late), [Action::Dial(one.peers[0])]);
}

#[test]
fn a_silent_neighbour_that_cannot_be_dialled_is_accused_and_removed_with_another_accuser() {
    let mut one = One::new(8, 6);
    let peer = one.peers[0];
    assert_eq!(one.note(START, 0, Sign::Late), [Action::Dial(peer)]);
    assert_eq!(one.note(START + ms(900), 0, Sign::Dialled(false)), [], "it was only late");
    let silent = START + SEC;
    assert_eq!(one.note(silent, 0, Sign::Silent), []);
    let done = one.until(silent, silent + SEC);
    assert_eq!(done, [(silent + MOMENT, Action::Say(Suspects(vec![one.suspect(0)])))]);
    // Alone it is not believed, not even by itself.
    let alone = one.until(silent + SEC, silent + 20 * SEC);
    assert_eq!(said(&alone), [(silent + 2 * MOMENT + 2 * SEC, vec![peer])], "it is said twice");
    assert_eq!(alone.len(), 1);
    let second = silent + 20 * SEC;
    assert_eq!(one.hears(second, 7, &[(peer, last())]).verdict, Verdict::Accept);
    let done = one.until(second, second + 9 * SEC);
    assert_eq!(done, [(second + TIME, Action::Remove(peer, last()))]);
    assert!(one.table.fail(second + TIME, &peer, last()) && one.suspicion.is_empty());
    // With a higher number it is back at once, and is one of the established.
    one.beats(second + 4 * SEC, 0, second + 4 * SEC);
    assert!(one.table.known(&peer).unwrap().established);
    assert_eq!((one.count("accused"), one.table.len()), (2, 9));
}

#[test]
fn what_shows_that_a_neighbour_lives_takes_the_ground_back() {
    for sign in [Sign::Answers, Sign::Dialled(true), Sign::Here, Sign::Left] {
        let mut one = One::new(8, 6);
        one.note(START, 0, Sign::Late);
        one.note(START + SEC, 0, Sign::Silent);
        one.note(START + SEC, 0, sign);
        one.note(START + 2 * SEC, 0, Sign::Dialled(false));
        assert_eq!(one.until(START + 2 * SEC, START + 60 * SEC), [], "{sign:?}");
    }
    // What this node closed, because it was silent for long, is still suspected.
    let mut one = One::new(8, 6);
    one.note(START, 0, Sign::Silent);
    one.note(START, 0, Sign::Closed);
    one.note(START + SEC, 0, Sign::Dialled(false));
    assert_eq!(said(&one.until(START + SEC, START + 2 * SEC)).len(), 1);
    // To close a connection, be it here or there, is no ground.
    let mut one = One::new(8, 6);
    for sign in [Sign::Closed, Sign::Left] {
        assert_eq!(one.note(START, 0, sign), []);
    }
    assert_eq!(one.suspicion.next(), None);
}

#[test]
fn a_connection_that_breaks_is_tried_again_whatever_was_dialled_before() {
    let mut one = One::new(8, 6);
    let peer = one.peers[0];
    one.note(START, 0, Sign::Late);
    assert_eq!(one.note(START + ms(100), 0, Sign::Broken), [Action::Dial(peer)]);
    assert_eq!(one.note(START + ms(101), 0, Sign::Dialled(false)), []);
    let done = one.until(START + ms(101), START + SEC);
    assert_eq!(said(&done), [(START + ms(151), vec![peer])]);
}

#[test]
fn only_those_are_suspected_who_could_answer() {
    let mut one = One::new(8, 6);
    let go = one.peers[0];
    assert!(put(&mut one.table, START, go, START, false));
    one.note(START, 0, Sign::Broken);
    assert_eq!((one.suspicion.next(), one.act(START)), (None, vec![]));
    for by in [1, 2, 3] {
        one.hears(START, by, &[(go, seq(START)), (PeerId::random(), last())]);
    }
    assert_eq!(one.until(START, START + 20 * SEC), []);
    let counts = one.suspicion.take_counts();
    assert_eq!((counts["refused-no-answer"], counts["refused-unknown"]), (3, 3));
}

#[test]
fn a_heartbeat_that_was_under_way_has_the_peer_dialled_again_and_a_later_one_clears_it() {
    let mut one = One::new(8, 6);
    let peer = one.peers[0];
    one.note(START, 0, Sign::Broken);
    one.note(START, 0, Sign::Dialled(false));
    one.hears(START, 1, &[(peer, last())]);
    assert_eq!(one.until(START, START + ms(300)).len(), 1);
    // Sent just before the crash.
    let late = START + ms(300);
    one.beats(late, 0, START - ms(1));
    assert_eq!((one.count("cleared"), one.act(late)), (1, vec![Action::Dial(peer)]));
    one.note(late, 0, Sign::Dialled(false));
    let done = one.until(late, late + SEC);
    let again = Suspect { peer, seq: seq(START - ms(1)) };
    assert_eq!(done, [(START + MOMENT + SEC, Action::Say(Suspects(vec![again])))]);
    // Others did the same.
    one.hears(START + SEC, 1, &[(peer, last()), (peer, again.seq)]);
    let removed = one.until(START + SEC, START + 5 * SEC);
    assert!(removed.contains(&(START + 4 * SEC, Action::Remove(peer, again.seq))), "{removed:?}");

    // And one that was sent later.
    let mut one = One::new(8, 6);
    let peer = one.peers[0];
    one.note(START, 0, Sign::Broken);
    one.note(START, 0, Sign::Dialled(false));
    one.hears(START, 1, &[(peer, last())]);
    one.until(START, START + 2 * SEC + ms(1));
    one.beats(START + 2 * SEC + ms(1), 0, START + 2 * SEC);
    assert_eq!(one.until(START + 2 * SEC + ms(1), START + 60 * SEC), []);
}

#[test]
fn who_lost_over_half_of_its_neighbours_waits_until_one_of_the_others_has_answered() {
    let mut one = One::new(12, 6);
    for peer in [0, 1] {
        one.note(START + ms(peer as u64), peer, Sign::Silent);
        one.note(START + ms(900), peer, Sign::Dialled(false));
    }
    // Two of six are few enough: they are accused. With four it is over half.
    assert_eq!(said(&one.until(START + ms(900), START + SEC))[0].1.len(), 2);
    for peer in [2, 3] {
        one.note(START + SEC, peer, Sign::Broken);
    }
    let asked = START + SEC;
    one.note(START + SEC, 2, Sign::Dialled(false));
    one.note(START + SEC, 3, Sign::Dialled(false));
    assert_eq!(said(&one.until(START + SEC, START + 8 * SEC)), []);
    // What others say counts nevertheless; with this node's own it would be enough.
    one.hears(START + 8 * SEC, 10, &[(one.peers[0], last())]);
    assert_eq!(one.until(START + 8 * SEC, START + 12 * SEC), []);
    // One that was sent before shows nothing.
    one.suspicion.answered(asked - ms(1));
    assert_eq!(one.act(START + 12 * SEC), []);
    one.suspicion.answered(asked);
    let dials: Vec<_> = one.act(START + 12 * SEC);
    assert_eq!(dials.len(), 4, "all are tried once more: {dials:?}");
    one.note(START + 12 * SEC, 1, Sign::Dialled(true));
    for peer in [0, 2, 3] {
        one.note(START + 12 * SEC, peer, Sign::Dialled(false));
    }
    let done = one.until(START + 12 * SEC, START + 14 * SEC);
    assert_eq!(said(&done)[0].1.len(), 3);
}

#[test]
fn it_asks_the_others_at_once_and_who_has_none_waits_for_a_new_one() {
    let mut one = One::new(12, 2);
    let gone = |one: &mut One, peer| {
        let mut actions = one.note(START, peer, Sign::Broken);
        actions.extend(one.note(START, peer, Sign::Dialled(false)));
        actions
    };
    assert_eq!(gone(&mut one, 0), [Action::Dial(one.peers[0])], "half is not over half");
    let asked = gone(&mut one, 1);
    assert!(asked.contains(&Action::Ask(START)), "{asked:?}");
    assert_eq!(said(&one.until(START, START + 20 * SEC)), []);
    one.note(START + 20 * SEC, 5, Sign::Here);
    for peer in [0, 1] {
        one.note(START + 20 * SEC, peer, Sign::Dialled(false));
    }
    assert_eq!(said(&one.until(START + 20 * SEC, START + 22 * SEC))[0].1.len(), 2);
}

#[test]
fn who_was_held_up_doubts_itself_first() {
    let mut one = One::new(8, 6);
    let peer = one.peers[0];
    one.note(START, 0, Sign::Silent);
    one.note(START, 0, Sign::Dialled(false));
    one.until(START, START + SEC);
    one.hears(START + SEC, 7, &[(peer, last())]);
    // It would be removed at 4 s, in which this node is stopped.
    let back = START + 30 * SEC - ms(1);
    one.suspicion.held_up(back);
    assert_eq!(one.act(back), [Action::Dial(peer)]);
    one.note(back + ms(10), 0, Sign::Dialled(true));
    assert_eq!(one.until(back + ms(10), back + 20 * SEC), []);
}

#[test]
fn who_is_accused_answers_at_once_and_once_in_two_seconds() {
    let mut one = One::new(8, 6);
    let own = one.suspicion.own;
    let heard = one.hears(START, 0, &[(own, last())]);
    assert_eq!(heard, Heard { verdict: Verdict::Accept, answer: Some(START) });
    one.suspicion.spoke(START, seq(START));
    // It has said more by now.
    assert_eq!(one.hears(START + SEC, 1, &[(own, last())]).answer, None);
    // Not of this.
    for by in [1, 2, 3] {
        let answer = one.hears(START + SEC + ms(1), by, &[(own, seq(START))]).answer;
        assert_eq!(answer, Some(START + 2 * SEC), "accusers put nothing off");
    }
    one.suspicion.spoke(START + 2 * SEC, seq(START + 2 * SEC));
    // Who has missed all of it is told again.
    assert_eq!(one.hears(START + 9 * SEC, 4, &[(own, last())]).answer, Some(START + 9 * SEC));
    assert_eq!(one.count("answered"), 3);
}

#[test]
fn an_observer_accuses_nobody_and_takes_what_others_say() {
    let mut one = One::new(8, 0);
    let own = one.suspicion.own;
    one.suspicion = Suspicion::new(own, true, Duration::ZERO);
    for peer in 0..6 {
        assert_eq!(one.note(START, peer, Sign::Here), []);
        assert_eq!(one.note(START, peer, Sign::Broken), []);
    }
    let peer = one.peers[0];
    assert_eq!(one.hears(START, 1, &[(own, last()), (peer, last())]).answer, None);
    one.hears(START, 2, &[(peer, last())]);
    assert_eq!(one.until(START, START + 9 * SEC), [(START + TIME, Action::Remove(peer, last()))]);
}

#[test]
fn much_that_is_found_out_goes_in_a_message_a_second() {
    let mut one = One::new(400, 400);
    for peer in 0..150 {
        one.note(START + ms(peer as u64 / 10), peer, Sign::Broken);
        one.note(START + ms(peer as u64 / 10), peer, Sign::Dialled(false));
    }
    let done = said(&one.until(START + ms(15), START + ms(2999)));
    let each: Vec<_> = done.iter().map(|(at, all)| (*at - START, all.len())).collect();
    // What is said for the first time goes before what is said again.
    assert_eq!(each, [(ms(50), 64), (ms(1050), 64), (ms(2050), 64)]);
    let mut all: Vec<_> = done.iter().flat_map(|(_, all)| all).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 150);
}

#[test]
fn among_three_one_accuser_is_enough() {
    for (others, needed) in [(1, 1), (2, 1), (3, 2)] {
        let mut one = One::new(others, 0);
        let [by, accused] = [0, others - 1];
        if others == 1 {
            // Nobody else could say it.
            one.note(START, 0, Sign::Here);
            one.note(START, 0, Sign::Silent);
            one.note(START, 0, Sign::Dialled(false));
            assert_eq!(said(&one.until(START, START + 9 * SEC)), [], "it may be cut off itself");
            continue;
        }
        one.hears(START, by, &[(one.peers[accused], last())]);
        let removed = !one.until(START, START + 9 * SEC).is_empty();
        assert_eq!(removed, needed == 1, "{others}");
    }
}
