//! When a connection is pinged, and when it is given up: a state machine that is
//! told the time.

use std::time::Duration;
use tokio::time::Instant;

/// From an answer to the next ping, in tests.
#[cfg(test)]
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// How long an answer may take. A dead link is noticed after one interval and
/// this at the latest.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take when there is reason to doubt the link: enough
/// for TCP to send four times again.
pub(super) const PATIENCE_IN_DOUBT: Duration = Duration::from_secs(5);

/// From this interval on, a ping of the peer's does as well as one of our own: each
/// wakes up two machines.
const SPARING: Duration = Duration::from_secs(30);

/// The interval at the end that was connected to: a little longer where one of the two
/// is to ping.
pub(super) fn of_listener(interval: Duration) -> Duration {
    if interval < SPARING { interval } else { interval * 7 / 6 }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a ping: on the stream of the last one, or else on a new one.
    Ping,
    /// Nothing before this time, unless something happens.
    Wait(Instant),
    /// Give the connection up: no answer has come in time.
    GiveUp,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next ping is due at this time.
    Resting { due: Instant },
    /// A ping is under way, and its answer has to come before this time.
    Asking { deadline: Instant, again: bool },
    /// Given up.
    Over,
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
}

impl Pace {
    /// The pace on a new connection: the first ping is due, and each next one this
    /// long after an answer.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, together: None, state: State::Resting { due: now }, doubt: false }
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
                self.doubt = false;
                self.state = State::Asking { deadline: now + patience, again: false };
                Step::Ping
            }
            State::Resting { due } => Step::Wait(due),
            State::Asking { deadline, .. } if now >= deadline => {
                self.state = State::Over;
                Step::GiveUp
            }
            State::Asking { deadline, .. } => Step::Wait(deadline),
            State::Over => Step::Wait(now + self.interval),
        }
    }

    /// The peer has answered, if only that it doesn't speak ping.
    pub(super) fn answered(&mut self, now: Instant) {
        if matches!(self.state, State::Asking { .. }) {
            self.state = State::Resting { due: self.next(now) };
        }
    }

    /// The peer pings by itself: it lives. (Should it not hear the answer, it gives the
    /// connection up.)
    pub(super) fn heard(&mut self, now: Instant) {
        if let State::Resting { due } = &mut self.state
            && self.interval >= SPARING
            && !self.doubt
        {
            *due = now + self.interval;
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

    /// Lets time pass until there is something to do.
    fn next(pace: &mut Pace, now: &mut Instant) -> Step {
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
    fn of_two_that_ping_seldom_one_does() {
        let (minute, start) = (Duration::from_secs(60), Instant::now());
        let mut ends = [minute, of_listener(minute)].map(|interval| Pace::new(interval, start));
        let (mut now, mut pings) = (start, [0, 0]);
        while now < start + 10 * minute {
            for (one, other) in [(0, 1), (1, 0)] {
                if ends[one].step(now) == Step::Ping {
                    pings[one] += 1;
                    ends[one].answered(now);
                    ends[other].heard(now);
                }
            }
            now += TICK;
        }
        assert_eq!(pings, [10, 0]);
        // In doubt, each asks for itself.
        ends[1].doubt(now);
        ends[1].heard(now);
        assert_eq!(ends[1].step(now), Step::Ping);
        // At the usual pace both do.
        let mut pace = Pace::new(INTERVAL, start);
        pace.step(start);
        pace.answered(start);
        pace.heard(start + INTERVAL - TICK);
        assert_eq!(pace.step(start + INTERVAL), Step::Ping);
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
