//! Which of several members is asked. Pure: time and randomness are arguments.
//!
//! Two are taken at random, and of them the one that costs less: what this node
//! asks of it already, times how long it took lately ("the power of two choices
//! in randomized load balancing", Mitzenmacher 2001; the latency is that of
//! Finagle's "peak EWMA": it rises at once and falls with time).

use libp2p::PeerId;
use rand::{Rng, RngExt as _};
use std::{collections::HashMap, time::Duration};

/// What a latency falls to 1/e of within.
const DECAY: Duration = Duration::from_secs(10);
/// The least latency that counts, and that of one that is not known.
const LEAST: f64 = 0.001;
/// The latency of one that was busy or unreachable, and for how long.
const AVOIDED: f64 = 1.0;
const AVOID: Duration = Duration::from_secs(5);
/// Members that are remembered without a call under way.
const REMEMBERED: usize = 1024;

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    under_way: u32,
    /// In seconds, as it was at `at`.
    latency: f64,
    at: Duration,
    avoid_until: Duration,
}

impl Member {
    fn latency(&self, now: Duration) -> f64 {
        let past = now.saturating_sub(self.at).as_secs_f64();
        self.latency * (-past / DECAY.as_secs_f64()).exp()
    }

    fn cost(&self, now: Duration) -> f64 {
        let latency = if now < self.avoid_until { AVOIDED } else { self.latency(now).max(LEAST) };
        f64::from(self.under_way + 1) * latency
    }
}

/// What is known of the members that were asked.
#[derive(Debug, Default)]
pub(super) struct Choice(HashMap<PeerId, Member>);

impl Choice {
    /// Chooses one; `None` if there is none.
    pub(super) fn choose(
        &self,
        members: &[PeerId],
        now: Duration,
        rng: &mut impl Rng,
    ) -> Option<PeerId> {
        match members {
            [] => None,
            [one] => Some(*one),
            _ => {
                let first = rng.random_range(0..members.len());
                let mut second = rng.random_range(0..members.len() - 1);
                if second >= first {
                    second += 1;
                }
                let (first, second) = (members[first], members[second]);
                let cheaper = self.cost(&second, now) < self.cost(&first, now);
                Some(if cheaper { second } else { first })
            }
        }
    }

    /// A call to a member begins.
    pub(super) fn begin(&mut self, peer: PeerId, now: Duration) {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&peer) {
            self.0.retain(|_, member| {
                member.under_way > 0 || now < member.avoid_until || member.latency(now) > LEAST
            });
            if self.0.len() >= REMEMBERED {
                self.0.retain(|_, member| member.under_way > 0);
            }
        }
        let member = self.0.entry(peer).or_default();
        member.under_way = member.under_way.saturating_add(1);
    }

    /// A call to a member has ended, after so long if it was answered.
    pub(super) fn end(&mut self, peer: &PeerId, took: Option<Duration>, now: Duration) {
        let Some(member) = self.0.get_mut(peer) else { return };
        member.under_way = member.under_way.saturating_sub(1);
        if let Some(took) = took {
            let (old, new) = (member.latency(now), took.as_secs_f64());
            // Up at once, and down as old ones fade.
            let past = now.saturating_sub(member.at).as_secs_f64();
            let keep = (-past / DECAY.as_secs_f64()).exp();
            member.latency = if new > old { new } else { old * keep + new * (1.0 - keep) };
            (member.at, member.avoid_until) = (now, Duration::ZERO);
        }
    }

    /// A member was busy, or could not be reached.
    pub(super) fn avoid(&mut self, peer: &PeerId, now: Duration) {
        if let Some(member) = self.0.get_mut(peer) {
            member.avoid_until = now + AVOID;
        }
    }

    fn cost(&self, peer: &PeerId, now: Duration) -> f64 {
        self.0.get(peer).copied().unwrap_or_default().cost(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    const MS: Duration = Duration::from_millis(1);

    fn shares(choice: &Choice, members: &[PeerId], now: Duration) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = vec![0; members.len()];
        for _ in 0..1000 {
            let chosen = choice.choose(members, now, &mut rng).unwrap();
            counts[members.iter().position(|member| *member == chosen).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn equals_are_chosen_alike_and_a_single_one_always() {
        let members: Vec<_> = (0..4).map(|_| PeerId::random()).collect();
        let choice = Choice::default();
        for share in shares(&choice, &members, Duration::ZERO) {
            assert!((150..350).contains(&share), "{share}");
        }
        assert_eq!(shares(&choice, &members[..1], Duration::ZERO), [1000]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(choice.choose(&[], Duration::ZERO, &mut rng), None);
    }

    #[test]
    fn the_slow_the_busy_and_the_lost_are_avoided_for_a_while() {
        let members = [PeerId::random(), PeerId::random()];
        let mut choice = Choice::default();
        let mut now = Duration::from_secs(100);
        for (member, took) in members.iter().zip([5 * MS, 50 * MS]) {
            choice.begin(*member, now);
            choice.end(member, Some(took), now);
        }
        assert_eq!(shares(&choice, &members, now), [1000, 0]);
        // Ten calls under way at the fast one make the slow one the cheaper.
        (0..11).for_each(|_| choice.begin(members[0], now));
        assert_eq!(shares(&choice, &members, now), [0, 1000]);
        (0..11).for_each(|_| choice.end(&members[0], None, now));
        // What was slow long ago counts no more.
        now += Duration::from_secs(120);
        let share = shares(&choice, &members, now);
        assert!(share[1] > 300, "{share:?}");
        choice.avoid(&members[0], now);
        assert_eq!(shares(&choice, &members, now), [0, 1000]);
        assert_eq!(shares(&choice, &members, now + AVOID - MS), [0, 1000]);
        assert!(shares(&choice, &members, now + AVOID)[0] > 300);
    }

    #[test]
    fn a_latency_rises_at_once_and_falls_slowly() {
        let peer = PeerId::random();
        let mut choice = Choice::default();
        let mut now = Duration::from_secs(1);
        let mut took = |ms: u32, now: Duration| {
            choice.begin(peer, now);
            choice.end(&peer, Some(ms * MS), now);
            choice.cost(&peer, now)
        };
        assert_eq!(took(10, now), 0.01);
        assert_eq!(took(100, now), 0.1);
        now += Duration::from_secs(1);
        let after = took(10, now);
        assert!((0.08..0.1).contains(&after), "{after}");
        now += Duration::from_secs(60);
        let after = took(10, now);
        assert!((0.009..0.011).contains(&after), "{after}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut choice = Choice::default();
        for n in 0..3 * REMEMBERED {
            let now = MS * u32::try_from(n).unwrap();
            let peer = PeerId::random();
            choice.begin(peer, now);
            choice.end(&peer, Some(Duration::from_secs(1)), now);
            assert!(choice.0.len() <= REMEMBERED);
        }
    }
}
