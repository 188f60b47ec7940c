//! When a connection is pinged, and when it is given up: a state machine that is
//! told the time.

use std::time::Duration;
use tokio::time::Instant;

/// From an answer to the next ping, in tests.
#[cfg(test)]
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// How long an answer may take. A dead link is noticed after one interval and
/// this at the latest.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Where pings come often: after how long without an answer something may be wrong,
/// and after how long the peer is called silent. It goes on waiting.
pub(super) const LATE: Duration = Duration::from_secs(1);
pub(super) const SILENT: Duration = Duration::from_secs(2);
/// Who notices that later than this was held up itself, and begins to wait anew.
const HELD_UP: Duration = Duration::from_millis(500);
/// How long an answer may take when there is reason to doubt the link: enough
/// for TCP to send four times again.
pub(super) const PATIENCE_IN_DOUBT: Duration = Duration::from_secs(5);

/// From this interval on, pings are seldom.
pub(super) const SPARING: Duration = Duration::from_secs(30);

/// Who pings often does so itself at least as often as this, and first of all: what the
/// round trip takes is to be known at both ends.
const ITSELF: Duration = Duration::from_secs(30);

/// The interval at the end that was connected to: a little longer, since a ping of the
/// peer's does as well as one of its own.
pub(super) fn of_listener(interval: Duration) -> Duration {
    interval * 7 / 6
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a ping: on the stream of the last one, or else on a new one.
    Ping,
    /// Nothing before this time, unless something happens.
    Wait(Instant),
    /// No answer has come for a while: something may be wrong.
    Late,
    /// None has come in time: the peer is silent. An answer is waited for nevertheless.
    Silent,
    /// Give the connection up: no answer has come in time.
    GiveUp,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next ping is due at this time.
    Resting { due: Instant },
    /// A ping is under way, and its answer has to come before this time.
    Asking { deadline: Instant, again: bool, since: Instant, told: Told },
    /// Given up.
    Over,
}

/// What was said of a ping under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Late,
    Silent,
}

/// The pace of the pings on one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// From when on the pings of all connections are due at the same times.
    together: Option<Instant>,
    state: State,
    /// The next ping has to be answered sooner.
    doubt: bool,
    /// The peer was late or silent, and lives.
    relieved: bool,
    /// When the last ping was sent.
    asked: Option<Instant>,
}

impl Pace {
    /// The pace on a new connection: the first ping is due, and each next one this
    /// long after an answer.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        let state = State::Resting { due: now };
        Self { interval, together: None, state, doubt: false, relieved: false, asked: None }
    }

    /// Where pings are seldom, those of all connections with this epoch are due at the
    /// same times, an interval or less after the last ones: a node wakes up once for all.
    pub(super) fn together(mut self, epoch: Instant) -> Self {
        self.together = (self.interval >= SPARING).then_some(epoch);
        self
    }

    /// When a ping follows an answer.
    fn next(&self, answered: Instant) -> Instant {
        let due = answered + self.interval;
        let Some(epoch) = self.together else { return due };
        let over = due.saturating_duration_since(epoch).as_nanos() % self.interval.as_nanos();
        due - Duration::from_nanos(over.try_into().unwrap_or(0))
    }

    /// What is to be done now.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        match self.state {
            State::Resting { due } if now >= due => {
                let patience = if self.doubt { PATIENCE_IN_DOUBT } else { PATIENCE };
                (self.doubt, self.asked) = (false, Some(now));
                let (deadline, again, told) = (now + patience, false, Told::Nothing);
                self.state = State::Asking { deadline, again, since: now, told };
                Step::Ping
            }
            State::Resting { due } => Step::Wait(due),
            State::Asking { deadline, .. } if now >= deadline => {
                self.state = State::Over;
                Step::GiveUp
            }
            State::Asking { deadline, ref mut since, ref mut told, .. } => {
                let (after, next, step) = match told {
                    Told::Nothing => (LATE, Told::Late, Step::Late),
                    Told::Late => (SILENT, Told::Silent, Step::Silent),
                    Told::Silent => return Step::Wait(deadline),
                };
                let due = *since + after;
                if self.interval >= SPARING || due >= deadline {
                    return Step::Wait(deadline);
                }
                if now >= due + HELD_UP {
                    *since = now;
                    return Step::Wait(deadline.min(now + after));
                }
                if now < due {
                    return Step::Wait(due);
                }
                *told = next;
                step
            }
            State::Over => Step::Wait(now + self.interval),
        }
    }

    /// The peer has answered, if only that it doesn't speak ping.
    pub(super) fn answered(&mut self, now: Instant) {
        if let State::Asking { told, .. } = self.state {
            self.state = State::Resting { due: self.next(now) };
            self.relieved |= told != Told::Nothing;
        }
    }

    /// Whether the peer lives after all, of which something else was said before.
    pub(super) fn is_relieved(&mut self) -> bool {
        std::mem::take(&mut self.relieved)
    }

    /// The peer is to be woken up no more often than so.
    pub(super) fn seldom(&mut self, interval: Duration, now: Instant) {
        if interval > self.interval {
            self.interval = interval;
            if let State::Resting { due } = &mut self.state {
                *due = now + interval;
            }
        }
    }

    /// Somebody wants to know whether the peer answers: a ping is due now.
    pub(super) fn ask(&mut self, now: Instant) {
        if let State::Resting { due } = &mut self.state {
            *due = now.min(*due);
        }
    }

    /// The peer pings by itself: it lives. (Should it not hear the answer, it gives the
    /// connection up.)
    pub(super) fn heard(&mut self, now: Instant) {
        match &mut self.state {
            State::Resting { due } if !self.doubt => {
                let latest = match self.asked {
                    _ if self.interval >= SPARING => now + self.interval,
                    Some(asked) => asked + ITSELF,
                    None => return,
                };
                *due = latest.min(now + self.interval);
            }
            State::Asking { since, told, .. } if *told != Told::Nothing => {
                (*since, *told, self.relieved) = (now, Told::Nothing, true);
            }
            _ => {}
        }
    }

    /// The stream broke before the answer came. Peers close streams that were
    /// silent for long, so that this says nothing about the link. True if a new
    /// stream is to be tried for the same ping, which still has to be answered in
    /// the same time. Who breaks that one too is not dead, and is asked again
    /// after an interval.
    pub(super) fn broken(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Asking { again, .. } if !*again => {
                *again = true;
                true
            }
            _ => {
                self.answered(now);
                false
            }
        }
    }

    /// There is reason to doubt the link: a ping is due now, or the one that is
    /// under way has to be answered sooner.
    pub(super) fn doubt(&mut self, now: Instant) {
        match &mut self.state {
            State::Resting { due } => {
                *due = now.min(*due);
                self.doubt = true;
            }
            State::Asking { deadline, .. } => *deadline = (now + PATIENCE_IN_DOUBT).min(*deadline),
            State::Over => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    /// Lets time pass until there is something to do or to say.
    fn next_told(pace: &mut Pace, now: &mut Instant) -> Step {
        loop {
            match pace.step(*now) {
                Step::Wait(until) => {
                    assert!(until > *now, "a wait for what is past");
                    *now += TICK.min(until - *now);
                }
                step => return step,
            }
        }
    }

    /// The same, whatever is said.
    fn next(pace: &mut Pace, now: &mut Instant) -> Step {
        loop {
            match next_told(pace, now) {
                Step::Late | Step::Silent => {}
                step => return step,
            }
        }
    }

    /// A connection whose first ping is under way.
    fn asking() -> (Pace, Instant) {
        let now = Instant::now();
        let mut pace = Pace::new(INTERVAL, now);
        assert_eq!(pace.step(now), Step::Ping);
        (pace, now)
    }

    #[test]
    fn a_link_that_dies_is_given_up_after_an_interval_and_the_patience() {
        let (mut pace, begun) = asking();
        pace.answered(begun);
        // It dies just now.
        let mut now = begun;
        assert_eq!(next(&mut pace, &mut now), Step::Ping);
        assert_eq!(now - begun, INTERVAL);
        assert_eq!(next(&mut pace, &mut now), Step::GiveUp, "the first failure counts");
        assert_eq!(now - begun, INTERVAL + PATIENCE);
        assert!(matches!(pace.step(now), Step::Wait(_)), "it is given up once");
    }

    #[test]
    fn of_two_ends_one_pings() {
        [INTERVAL, Duration::from_secs(60)].into_iter().for_each(of_two_one_pings);
    }

    fn of_two_one_pings(interval: Duration) {
        let start = Instant::now();
        let mut ends = [interval, of_listener(interval)].map(|interval| Pace::new(interval, start));
        let (mut now, mut pings) = (start, [0, 0]);
        while now < start + 10 * interval {
            for (one, other) in [(0, 1), (1, 0)] {
                if ends[one].step(now) == Step::Ping {
                    pings[one] += 1;
                    ends[one].answered(now);
                    ends[other].heard(now);
                }
            }
            now += TICK;
        }
        let first = usize::from(interval < SPARING);
        assert_eq!(pings, [10, first]);
        // In doubt, each asks for itself.
        ends[1].doubt(now);
        ends[1].heard(now);
        assert_eq!(ends[1].step(now), Step::Ping);
        // And so does who is asked to.
        ends[0].ask(now);
        assert_eq!(ends[0].step(now), Step::Ping);
    }

    #[test]
    fn of_a_peer_without_an_answer_it_is_told_when_it_is_late_and_when_it_is_silent() {
        let (mut pace, begun) = asking();
        let mut now = begun;
        for (told, after) in [(Step::Late, LATE), (Step::Silent, SILENT)] {
            assert_eq!((next_told(&mut pace, &mut now), now - begun), (told, after));
            assert!(!pace.is_relieved());
        }
        assert_eq!(next_told(&mut pace, &mut now), Step::GiveUp);
        // Whatever shows that it lives.
        let shows: [fn(&mut Pace, Instant); 3] = [
            |pace, now| pace.answered(now),
            |pace, now| pace.heard(now),
            |pace, now| assert!(pace.broken(now) && !pace.broken(now)),
        ];
        for show in shows {
            let (mut pace, begun) = asking();
            let mut now = begun;
            assert_eq!(next_told(&mut pace, &mut now), Step::Late);
            show(&mut pace, now);
            assert!(pace.is_relieved() && !pace.is_relieved());
        }
        // Who answers in time is told nothing of, nor who is pinged seldom.
        let (mut pace, begun) = asking();
        pace.answered(begun + LATE - TICK);
        assert!(!pace.is_relieved());
        let mut pace = Pace::new(SPARING, begun);
        assert_eq!(pace.step(begun), Step::Ping);
        let mut now = begun;
        assert_eq!((next_told(&mut pace, &mut now), now - begun), (Step::GiveUp, PATIENCE));
    }

    #[test]
    fn a_peer_that_is_not_to_be_woken_is_pinged_seldom() {
        let (mut pace, begun) = asking();
        pace.answered(begun);
        pace.seldom(SPARING, begun + TICK);
        pace.seldom(INTERVAL, begun + TICK);
        let mut now = begun + TICK;
        assert_eq!((next_told(&mut pace, &mut now), now - begun), (Step::Ping, SPARING + TICK));
        assert_eq!(next_told(&mut pace, &mut now), Step::GiveUp, "nothing is said before");
    }

    #[test]
    fn who_was_held_up_itself_waits_anew() {
        let (mut pace, begun) = asking();
        let mut now = begun + Duration::from_secs(3);
        assert!(matches!(pace.step(now), Step::Wait(_)));
        let back = now;
        assert_eq!((next_told(&mut pace, &mut now), now - back), (Step::Late, LATE));
        now += Duration::from_secs(2);
        assert!(matches!(pace.step(now), Step::Wait(_)), "again");
        assert_eq!(next_told(&mut pace, &mut now), Step::Silent);
    }

    /// A node wakes up for the pings of all its connections once, also where some of
    /// them are with one peer.
    #[test]
    fn seldom_pings_of_all_connections_are_at_the_same_times() {
        let (minute, epoch) = (Duration::from_secs(60), Instant::now());
        let mut times = [5, 27, 59, 61, 200].map(|begun| {
            let mut now = epoch + Duration::from_secs(begun);
            let mut pace = Pace::new(minute, now).together(epoch);
            let mut times = Vec::new();
            while now < epoch + 10 * minute {
                let before = now;
                assert_eq!(next(&mut pace, &mut now), Step::Ping);
                assert!(now - before <= minute, "a dead link is noticed as soon");
                times.push(now);
                // The answer takes a while, which is not added up.
                now += 3 * TICK;
                pace.answered(now);
            }
            times.split_off(times.len() - 5)
        });
        times.iter_mut().for_each(|times| times.dedup());
        assert!(times.iter().all(|other| *other == times[0] && other.len() == 5), "{times:?}");
        assert_eq!(times[0][4] - times[0][0], 4 * minute);
        // Who pings often does so after each answer.
        let mut pace = Pace::new(INTERVAL, epoch + TICK).together(epoch);
        pace.step(epoch + TICK);
        pace.answered(epoch + TICK);
        assert_eq!(pace.step(epoch + TICK), Step::Wait(epoch + TICK + INTERVAL));
    }

    #[test]
    fn a_peer_that_answers_slowly_is_kept() {
        let (mut pace, mut now) = asking();
        for _ in 0..100 {
            now += PATIENCE - TICK;
            assert!(matches!(pace.step(now), Step::Wait(_)));
            pace.answered(now);
            assert_eq!(next(&mut pace, &mut now), Step::Ping);
        }
    }

    #[test]
    fn a_stream_that_breaks_is_tried_again_once_and_proves_nothing() {
        let (mut pace, begun) = asking();
        assert!(pace.broken(begun), "it may have been closed for its age");
        assert!(!pace.broken(begun), "the peer does not want it");
        let mut now = begun;
        assert_eq!(next(&mut pace, &mut now), Step::Ping);
        assert_eq!(now - begun, INTERVAL);
        assert!(pace.broken(now));
        // Who breaks streams gains no time by it.
        let mut later = now + PATIENCE - TICK;
        assert_eq!(next(&mut pace, &mut later), Step::GiveUp);
        assert_eq!(later - now, PATIENCE);
    }

    #[test]
    fn in_doubt_a_connection_is_asked_at_once_and_given_up_sooner() {
        let (mut pace, begun) = asking();
        pace.answered(begun);
        let doubted = begun + Duration::from_secs(2);
        pace.doubt(doubted);
        assert_eq!(pace.step(doubted), Step::Ping);
        let mut now = doubted;
        assert_eq!(next(&mut pace, &mut now), Step::GiveUp);
        assert_eq!(now - doubted, PATIENCE_IN_DOUBT);

        // While a ping is under way, its deadline comes nearer, and only nearer.
        let (mut pace, begun) = asking();
        for after in [1, 3, 4] {
            pace.doubt(begun + Duration::from_secs(after));
        }
        let mut now = begun;
        assert_eq!(next(&mut pace, &mut now), Step::GiveUp);
        assert_eq!(now - begun, Duration::from_secs(1) + PATIENCE_IN_DOUBT);

        // Once it has answered, the usual patience applies again.
        let (mut pace, mut now) = asking();
        pace.answered(now);
        pace.doubt(now);
        assert_eq!(pace.step(now), Step::Ping);
        pace.answered(now);
        assert_eq!(next(&mut pace, &mut now), Step::Ping);
        let begun = now;
        assert_eq!(next(&mut pace, &mut now), Step::GiveUp);
        assert_eq!(now - begun, PATIENCE);
    }
}
