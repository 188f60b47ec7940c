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

use crate::{Namespace, PeerId};
use rand::{Rng, RngExt};
use std::{
    collections::HashMap,
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

/// An answer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What is answered for.
    pub namespace: Namespace,
    /// How many bytes the answer may have.
    pub budget: usize,
}

/// The answers to surveys that wait for their time, in one group.
#[derive(Debug, Default)]
pub struct Replies {
    pending: HashMap<Namespace, Pending>,
}

#[derive(Debug)]
struct Pending {
    due: Instant,
    budget: usize,
    heard: Vec<PeerId>,
}

impl Replies {
    /// Over what time answers are spread.
    pub const SPREAD: Duration = Duration::from_millis(100);
    /// How many answers of others make one's own unnecessary.
    pub const ENOUGH: usize = 8;
    /// The size of group for which the spread is chosen. In smaller ones
    /// answers come a little late, in larger ones there are a few too many.
    const GROUP: f64 = 10_000.0;

    /// A survey asks for this namespace: answers in a while, with at most
    /// `budget` bytes.
    pub fn asked(
        &mut self,
        namespace: &Namespace,
        budget: usize,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        // One answer serves all who ask meanwhile.
        let pending = self.pending.entry(namespace.clone()).or_insert_with(|| Pending {
            due: now + backoff(rng.random()),
            budget,
            heard: Vec::new(),
        });
        pending.budget = pending.budget.max(budget);
    }

    /// A peer answered for this namespace. True if a pending answer became
    /// unnecessary with that.
    pub fn heard(&mut self, namespace: &Namespace, peer: PeerId) -> bool {
        let Some(pending) = self.pending.get_mut(namespace) else { return false };
        if !pending.heard.contains(&peer) {
            pending.heard.push(peer);
        }
        pending.heard.len() >= Self::ENOUGH && self.pending.remove(namespace).is_some()
    }

    /// Whether an answer for this namespace waits for its time.
    pub fn is_pending(&self, namespace: &Namespace) -> bool {
        self.pending.contains_key(namespace)
    }

    /// When the next answer is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// Takes the answers that are due.
    pub fn due(&mut self, now: Instant) -> Vec<Reply> {
        self.pending
            .extract_if(|_, pending| pending.due <= now)
            .map(|(namespace, pending)| Reply { namespace, budget: pending.budget })
            .collect()
    }
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

    #[test]
    fn answers_are_spread_and_silenced_by_enough_others() {
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let (now, ns) = (Instant::now(), Namespace::default());
        let mut replies = Replies::default();
        replies.asked(&ns, 100, now, rng);
        replies.asked(&ns, 200, now, rng);
        let due = replies.next_due().unwrap();
        assert!(due > now && due <= now + Replies::SPREAD);
        assert_eq!(replies.due(due), [Reply { namespace: ns.clone(), budget: 200 }]);
        assert_eq!(replies.next_due(), None);

        replies.asked(&ns, 100, now, rng);
        let peer = PeerId::random();
        assert!((0..Replies::ENOUGH * 2).all(|_| !replies.heard(&ns, peer)));
        let others = (1..Replies::ENOUGH).map(|_| PeerId::random());
        let silenced = others.filter(|other| replies.heard(&ns, *other)).count();
        assert_eq!((silenced, replies.next_due()), (1, None));
    }

    #[test]
    fn few_answer_early_in_a_large_group() {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let early = (0..10_000).filter(|_| backoff(rng.random()) < Replies::SPREAD / 4).count();
        assert!((1..20).contains(&early), "{early}");
    }
}
