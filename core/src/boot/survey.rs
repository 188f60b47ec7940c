//! When surveys are sent and when they are answered, so that a first peer is
//! found at once in a group of 2 as of 10,000, and no group storms. Pure: the
//! simulator runs the same types.
//!
//! The asker starts at a distance at which a large group gives a few answers,
//! and widens 32-fold on each tick. Whoever answers waits for a random time
//! first, and keeps silent if enough others answered meanwhile. The times are
//! truncated exponential, so that few answers come early whatever the size of
//! the group (J. Nonnenmacher, E. Biersack, "Scalable feedback for large
//! groups", IEEE/ACM ToN 1999; RFC 5401, section 3.2.1).

use crate::Namespace;
use rand::{Rng, RngExt, seq::IndexedRandom};
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

/// A survey to send, and when to send the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bits of distance are ignored.
    pub distance: u8,
    /// How long answers are awaited before the next step.
    pub wait: Duration,
}

/// The pace of one survey, until the caller has enough.
#[derive(Clone, Debug)]
pub struct Schedule {
    distance: u8,
    pause: Duration,
}

impl Schedule {
    /// The distance that everyone is in.
    pub const EVERYONE: u8 = 255;
    /// The first distance of a gradual survey: about one of 1024 answers.
    pub const FIRST: u8 = 22;
    /// How many bits each step is wider than the one before.
    const WIDEN: u8 = 5;
    /// Between the steps of a gradual survey. Longer than [`Replies::SPREAD`],
    /// so that the answers are heard before more are asked.
    pub const TICK: Duration = Duration::from_millis(150);
    const FIRST_PAUSE: Duration = Duration::from_millis(500);
    /// The longest pause before everyone is asked once more.
    pub const MAX_PAUSE: Duration = Duration::from_secs(10);

    /// Asks everyone, again and again, with growing pauses.
    pub fn plain() -> Self {
        Self { distance: Self::EVERYONE, pause: Self::FIRST_PAUSE }
    }

    /// Asks the nearest first, then more and more, then as [`plain`](Self::plain).
    pub fn gradual() -> Self {
        Self { distance: Self::FIRST, pause: Self::FIRST_PAUSE }
    }

    /// What to send now.
    pub fn next(&mut self, rng: &mut impl Rng) -> Step {
        let distance = self.distance;
        if distance < 32 {
            let wider = distance.saturating_add(Self::WIDEN);
            self.distance = if wider < 32 { wider } else { Self::EVERYONE };
            return Step { distance, wait: Self::TICK };
        }
        // Jittered, so that nodes that started together drift apart.
        let wait = self.pause.mul_f64(rng.random_range(0.75..1.25));
        self.pause = (self.pause * 3 / 2).min(Self::MAX_PAUSE);
        Step { distance, wait }
    }
}

/// A question to which an answer may be due: what is answered for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What is answered for.
    pub namespace: Namespace,
    /// The question's nonce, for the answer to echo; 0 if it had none.
    pub nonce: u64,
    /// How many bytes the answer may have.
    pub budget: usize,
}

/// The answers to surveys that wait for their time, in one group.
///
/// Enough answers of others make one's own unnecessary, but whoever is in the
/// group can make such answers up. So an answer counts only if it echoes the
/// nonce of a question that waits here, which a recorded one can't, and once
/// for each source address; and each time a few of the group, chosen at random
/// by themselves, answer whatever they hear.
///
/// One answer serves all who ask meanwhile, as far as they heard each other's
/// questions. So that who asks without end doesn't have the others' forgotten,
/// a source address counts once, and a random few of the nonces are echoed.
#[derive(Debug, Default)]
pub struct Replies {
    /// By namespace, and whether the question had a nonce: answers to one that
    /// had none cannot be told from old ones, and silence nobody.
    pending: HashMap<(Namespace, bool), Pending>,
}

#[derive(Debug)]
struct Pending {
    due: Instant,
    budget: usize,
    /// Those of all questions that this answer serves, one of each source, at most
    /// [`Replies::MERGED`].
    nonces: Vec<(IpAddr, u64)>,
    /// Whether this node answers whatever it hears.
    resolute: bool,
    /// Who answered, at most [`Replies::ENOUGH`].
    heard: Vec<IpAddr>,
}

impl Replies {
    /// Over what time answers are spread.
    pub const SPREAD: Duration = Duration::from_millis(100);
    /// How many answers of others make one's own unnecessary.
    pub const ENOUGH: usize = 8;
    /// How many of a group answer whatever they hear, on average.
    pub const RESOLUTE: f64 = 4.0;
    /// For each member of the group, how much longer the answers to a question
    /// without a nonce are spread, since nobody is silenced: 200 a second come
    /// of all.
    const ALL: Duration = Duration::from_millis(5);
    /// The longest time over which they are spread.
    const MAX_SPREAD: Duration = Duration::from_secs(5);
    /// The most questions whose nonces are remembered for one answer, and how many
    /// of them are echoed, in an answer each.
    const MERGED: usize = 16;
    const ECHOED: usize = 3;
    /// The size of group for which the spread is chosen. In smaller ones
    /// answers come a little late, in larger ones there are a few too many.
    const GROUP: f64 = 10_000.0;

    /// A survey asks, from an address: it is answered in a while. `view` is how
    /// many members of the group this node knows, or 0.
    pub fn asked(
        &mut self,
        question: Reply,
        source: IpAddr,
        view: usize,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        let Reply { namespace, nonce, budget } = question;
        // One answer serves all who ask meanwhile.
        let pending = self.pending.entry((namespace, nonce != 0)).or_insert_with(|| Pending {
            due: now + delay(nonce, view, rng.random()),
            budget,
            nonces: Vec::new(),
            resolute: rng.random_bool((Self::RESOLUTE / view.max(1) as f64).min(1.0)),
            heard: Vec::new(),
        });
        pending.budget = pending.budget.max(budget);
        let known = |(from, other): &(IpAddr, u64)| *from == source || *other == nonce;
        if pending.nonces.len() < Self::MERGED && !pending.nonces.iter().any(known) {
            pending.nonces.push((source, nonce));
        }
    }

    /// Whether an answer with this nonce, from this address, would count as one
    /// that makes an own answer unnecessary.
    pub fn counts(&self, namespace: &Namespace, nonce: u64, source: IpAddr) -> bool {
        let pending = self.pending.get(&(namespace.clone(), true));
        pending.is_some_and(|pending| {
            let echoes = pending.nonces.iter().any(|(_, asked)| *asked == nonce);
            !pending.resolute && echoes && !pending.heard.contains(&source)
        })
    }

    /// A peer answered for this namespace. True if a pending answer became
    /// unnecessary with that.
    pub fn heard(&mut self, namespace: &Namespace, nonce: u64, source: IpAddr) -> bool {
        if !self.counts(namespace, nonce, source) {
            return false;
        }
        let key = (namespace.clone(), true);
        let Some(pending) = self.pending.get_mut(&key) else { return false };
        pending.heard.push(source);
        pending.heard.len() >= Self::ENOUGH && self.pending.remove(&key).is_some()
    }

    /// Whether an answer for this namespace waits for its time.
    pub fn is_pending(&self, namespace: &Namespace) -> bool {
        [true, false].iter().any(|nonce| self.pending.contains_key(&(namespace.clone(), *nonce)))
    }

    /// When the next answer is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// Takes the answers that are due.
    pub fn due(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Reply> {
        let mut due = Vec::new();
        for ((namespace, _), pending) in self.pending.extract_if(|_, p| p.due <= now) {
            let Pending { budget, nonces, .. } = pending;
            let some: Vec<_> = nonces.sample(rng, Self::ECHOED).copied().collect();
            due.extend(some.into_iter().map(|(_, nonce)| {
                let namespace = namespace.clone();
                Reply { namespace, nonce, budget }
            }));
        }
        due
    }
}

/// The nonces of what was asked in a group lately: an answer that echoes
/// another one is an old one that somebody plays again.
#[derive(Debug, Default)]
pub struct Nonces {
    own: VecDeque<(u64, Instant)>,
    others: VecDeque<(u64, Instant)>,
    /// Who asked with those.
    sources: VecDeque<IpAddr>,
}

impl Nonces {
    /// How long answers to a question are expected: its own node and those that
    /// answer may be held up.
    pub const FRESH: Duration = Duration::from_secs(5);
    const MOST: usize = 256;
    /// The most of one source address.
    const OF_SOURCE: usize = 4;

    /// This node asks with this nonce.
    pub fn asked(&mut self, nonce: u64, now: Instant) {
        if self.own.len() == Self::MOST {
            self.own.pop_front();
        }
        self.own.push_back((nonce, now));
    }

    /// Another one was heard to ask with it, from an address. Whoever asks without
    /// end has nobody else's forgotten.
    pub fn overheard(&mut self, nonce: u64, source: IpAddr, now: Instant) {
        let mut of_source = (0..).zip(&self.sources).filter(|(_, from)| **from == source);
        let oldest = of_source.next().map(|(at, _)| at);
        let many = oldest.map_or(0, |_| 1 + of_source.count());
        let out = match oldest {
            Some(at) if many >= Self::OF_SOURCE => Some(at),
            _ => (self.others.len() >= Self::MOST).then_some(0),
        };
        if let Some(at) = out {
            self.others.remove(at);
            self.sources.remove(at);
        }
        self.others.push_back((nonce, now));
        self.sources.push_back(source);
    }

    /// Whether this was asked lately.
    pub fn is_fresh(&self, nonce: u64, now: Instant) -> bool {
        let fresh = |(asked, then): &(u64, Instant)| {
            *asked == nonce && now.saturating_duration_since(*then) < Self::FRESH
        };
        self.own.iter().chain(&self.others).any(fresh)
    }
}

/// How long an answer waits, for a uniform number in 0 to 1.
fn delay(nonce: u64, view: usize, uniform: f64) -> Duration {
    let all = (Replies::ALL * view.try_into().unwrap_or(u32::MAX)).min(Replies::MAX_SPREAD);
    if nonce == 0 && all > Replies::SPREAD { all.mul_f64(uniform) } else { backoff(uniform) }
}

/// A truncated exponential time in 0 to [`Replies::SPREAD`], from a uniform
/// number in 0 to 1.
pub(super) fn backoff(uniform: f64) -> Duration {
    let lambda = Replies::GROUP.ln() + 1.0;
    let fraction = (lambda.exp_m1() * uniform).ln_1p() / lambda;
    Replies::SPREAD.mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::net::Ipv4Addr;

    #[test]
    fn a_gradual_survey_reaches_everyone_on_its_third_tick() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mut schedule = Schedule::gradual();
        let steps: Vec<Step> = (0..12).map(|_| schedule.next(rng)).collect();
        let distances: Vec<u8> = steps.iter().map(|s| s.distance).take(5).collect();
        assert_eq!(distances, [22, 27, 255, 255, 255]);
        let before: Duration = steps.iter().take(2).map(|s| s.wait).sum();
        assert!(before < Duration::from_millis(400), "{before:?}");
        assert!(steps.iter().all(|s| s.wait <= Schedule::MAX_PAUSE.mul_f64(1.25)));
        assert!(steps[11].wait > steps[4].wait);
    }

    fn question(nonce: u64, budget: usize) -> Reply {
        Reply { namespace: Namespace::default(), nonce, budget }
    }

    /// An address for each number.
    fn source(n: usize) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n as u32).into()
    }

    /// A group so large that nobody is resolute, but for one in a million.
    const LARGE: usize = 4_000_000;

    #[test]
    fn answers_are_spread_and_silenced_by_enough_others() {
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let (now, ns) = (Instant::now(), Namespace::default());
        let mut replies = Replies::default();
        replies.asked(question(7, 100), source(1), LARGE, now, rng);
        replies.asked(question(8, 200), source(2), LARGE, now, rng);
        let due = replies.next_due().unwrap();
        assert!(due > now && due <= now + Replies::SPREAD);
        let mut answers = replies.due(due, rng);
        answers.sort_by_key(|answer| answer.nonce);
        assert_eq!(answers, [question(7, 200), question(8, 200)]);
        assert_eq!(replies.next_due(), None);

        replies.asked(question(7, 100), source(1), LARGE, now, rng);
        replies.asked(question(8, 100), source(2), LARGE, now, rng);
        let silenced: Vec<usize> = (0..Replies::ENOUGH * 2)
            .filter(|i| replies.heard(&ns, 7 + *i as u64 % 2, source(*i)))
            .collect();
        assert_eq!((silenced, replies.next_due()), (vec![Replies::ENOUGH - 1], None));
    }

    #[test]
    fn answers_that_could_be_old_or_of_one_host_silence_nobody() {
        let rng = &mut ChaCha8Rng::seed_from_u64(4);
        let (now, ns) = (Instant::now(), Namespace::default());
        let mut replies = Replies::default();
        replies.asked(question(7, 100), source(1), LARGE, now, rng);
        let silences = |replies: &mut Replies, nonce: u64, sources: usize| {
            (0..1000).any(|i| replies.heard(&ns, nonce, source(i % sources)))
        };
        assert!(!silences(&mut replies, 7, Replies::ENOUGH - 1), "of too few addresses");
        assert!(!silences(&mut replies, 6, 1000), "to another question");
        assert!(!silences(&mut replies, 0, 1000), "without a nonce, as Go's");
        assert!(replies.counts(&ns, 7, source(1000)) && !replies.counts(&ns, 7, source(0)));
        let due = replies.next_due().unwrap();
        assert_eq!(replies.due(due, rng).len(), 1);
        // Nor are those silenced that answer to Go.
        replies.asked(question(0, 100), source(1), LARGE, now, rng);
        assert!(!silences(&mut replies, 0, 1000));
        assert!(replies.is_pending(&ns));
    }

    #[test]
    fn a_few_of_each_group_answer_whatever_they_hear() {
        let rng = &mut ChaCha8Rng::seed_from_u64(5);
        let (now, ns) = (Instant::now(), Namespace::default());
        for (view, least, most) in [(0, 1000, 1000), (4, 1000, 1000), (1000, 1, 10)] {
            let answers = (0..1000).filter(|_| {
                let mut replies = Replies::default();
                replies.asked(question(7, 100), source(1), view, now, rng);
                (0..100).for_each(|i| _ = replies.heard(&ns, 7, source(i)));
                replies.is_pending(&ns)
            });
            let answers = answers.count();
            assert!((least..=most).contains(&answers), "{answers} with a view of {view}");
        }
    }

    #[test]
    fn what_silences_nobody_is_answered_over_a_longer_time_by_larger_groups() {
        let rng = &mut ChaCha8Rng::seed_from_u64(6);
        for (view, most) in [(0, 100), (20, 100), (200, 1000), (1_000_000, 5000)] {
            let times: Vec<Duration> = (0..1000).map(|_| delay(0, view, rng.random())).collect();
            let longest = *times.iter().max().unwrap();
            let most = Duration::from_millis(most);
            assert!(longest <= most && longest > most * 8 / 10, "{longest:?} of {most:?}");
            assert!(delay(1, view, rng.random()) <= Replies::SPREAD);
        }
    }

    #[test]
    fn nonces_are_fresh_for_a_while_and_the_own_are_not_pushed_out() {
        let now = Instant::now();
        let mut nonces = Nonces::default();
        nonces.asked(1, now);
        (2..1000).for_each(|nonce| nonces.overheard(nonce, source(nonce as usize), now));
        let fresh = |at| (0..1000).filter(|nonce| nonces.is_fresh(*nonce, at)).collect::<Vec<_>>();
        assert_eq!(fresh(now)[..2], [1, 1000 - Nonces::MOST as u64]);
        assert_eq!(fresh(now).len(), 1 + Nonces::MOST);
        assert!(fresh(now + Nonces::FRESH).is_empty());
    }

    #[test]
    fn whoever_asks_without_end_has_nobody_elses_questions_forgotten() {
        let rng = &mut ChaCha8Rng::seed_from_u64(7);
        let now = Instant::now();
        let mut nonces = Nonces::default();
        nonces.overheard(1, source(1), now);
        (2..1000).for_each(|nonce| nonces.overheard(nonce, source(2), now));
        let fresh: Vec<_> = (0..1000).filter(|nonce| nonces.is_fresh(*nonce, now)).collect();
        assert_eq!(fresh, [1, 996, 997, 998, 999]);

        // Nor is it answered alone, though it asks first each time.
        let mut replies = Replies::default();
        (100..200).for_each(|n| replies.asked(question(n, 100), source(2), LARGE, now, rng));
        replies.asked(question(7, 100), source(1), LARGE, now, rng);
        let due = replies.next_due().unwrap();
        let echoed: Vec<_> = replies.due(due, rng).into_iter().map(|reply| reply.nonce).collect();
        assert!(echoed.len() == 2 && echoed.contains(&7) && echoed.contains(&100), "{echoed:?}");
        // Of many sources, a random few.
        let mut answered = 0;
        for _ in 0..200 {
            (0..12).for_each(|n| {
                replies.asked(question(100 + n, 100), source(n as usize), LARGE, now, rng);
            });
            let due = replies.next_due().unwrap();
            let echoed = replies.due(due, rng);
            assert_eq!(echoed.len(), Replies::ECHOED);
            answered += usize::from(echoed.iter().any(|reply| reply.nonce == 111));
        }
        assert!((25..=75).contains(&answered), "{answered} of 200, of which a quarter is expected");
    }

    #[test]
    fn few_answer_early_in_a_large_group() {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let early = (0..10_000).filter(|_| backoff(rng.random()) < Replies::SPREAD / 4).count();
        assert!((1..20).contains(&early), "{early}");
    }
}
