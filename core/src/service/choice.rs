//! Which of several members is asked. Pure: time and randomness are arguments.
//!
//! Two are taken at random, and of them the one that costs less: what this node
//! asks of it already, times how long it takes lately ("the power of two choices
//! in randomized load balancing", Mitzenmacher 2001; the latency is that of
//! Finagle's "peak EWMA": it rises at once and falls with time).

use libp2p::PeerId;
use rand::{Rng, RngExt as _};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// What a latency falls to 1/e of within.
const DECAY: Duration = Duration::from_secs(10);
/// The least latency that counts, and that of one that is not known.
const LEAST: f64 = 0.001;
/// The least latency of one that was busy or unreachable or failed, and for how long.
const AVOIDED: f64 = 1.0;
const AVOID: Duration = Duration::from_secs(5);
/// Members that are remembered without a call under way, of each of so many services.
const REMEMBERED: usize = 1024;
const SERVICES: usize = 64;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// An answer.
    Answer,
    /// It failed, or was not done, and may be so again.
    Failure,
    /// Nothing that tells of the member, or nothing at all as long as it was waited.
    Nothing,
}

#[derive(Clone, Debug, Default)]
struct Member {
    /// Calls that nothing came of yet: their numbers, and since when, the oldest first.
    waiting: VecDeque<(u64, Duration)>,
    /// Calls of which parts have come.
    coming: u32,
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

    fn under_way(&self) -> usize {
        self.waiting.len() + self.coming as usize
    }

    fn cost(&self, now: Duration) -> f64 {
        // One that has not answered yet takes at least so long.
        let oldest = self.waiting.front().map_or(0.0, |(_, since)| past(*since, now));
        let least = if now < self.avoid_until { AVOIDED } else { LEAST };
        let latency = self.latency(now).max(oldest).max(least);
        (self.under_way() + 1) as f64 * latency
    }

    /// Takes note of a latency: up at once, and down, if it may, as old ones fade.
    fn took(&mut self, new: f64, now: Duration, may_fall: bool) {
        let old = self.latency(now);
        if new > old {
            (self.latency, self.at) = (new, now);
        } else if may_fall {
            let keep = (-past(self.at, now) / DECAY.as_secs_f64()).exp();
            (self.latency, self.at) = (old * keep + new * (1.0 - keep), now);
        }
    }

    fn is_worth_keeping(&self, now: Duration) -> bool {
        self.under_way() > 0 || now < self.avoid_until || self.latency(now) > LEAST
    }
}

fn past(since: Duration, now: Duration) -> f64 {
    now.saturating_sub(since).as_secs_f64()
}

/// What is known of the members that were asked, for each service: how long one takes
/// for another service says nothing.
#[derive(Debug, Default)]
pub(super) struct Choice {
    services: HashMap<String, HashMap<PeerId, Member>>,
    calls: u64,
}

impl Choice {
    /// Chooses one; `None` if there is none.
    pub(super) fn choose(
        &self,
        service: &str,
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
                let cost = |peer| self.cost(service, peer, now);
                Some(if cost(&second) < cost(&first) { second } else { first })
            }
        }
    }

    /// A call to a member begins. Gives its number.
    pub(super) fn begin(&mut self, service: &str, peer: PeerId, now: Duration) -> u64 {
        if !self.services.contains_key(service) {
            if self.services.len() >= SERVICES {
                self.services.retain(|_, members| members.values().any(|m| m.under_way() > 0));
            }
            self.services.insert(service.to_owned(), HashMap::new());
        }
        self.calls += 1;
        if let Some(members) = self.services.get_mut(service) {
            if members.len() >= REMEMBERED && !members.contains_key(&peer) {
                members.retain(|_, member| member.is_worth_keeping(now));
                if members.len() >= REMEMBERED {
                    members.retain(|_, member| member.under_way() > 0);
                }
            }
            members.entry(peer).or_default().waiting.push_back((self.calls, now));
        }
        self.calls
    }

    /// The first part of an answer has come.
    pub(super) fn first(&mut self, service: &str, peer: &PeerId, call: u64, now: Duration) {
        let Some(member) = self.member(service, peer) else { return };
        if let Some(at) = member.waiting.iter().position(|(other, _)| *other == call)
            && let Some((_, since)) = member.waiting.remove(at)
        {
            member.coming = member.coming.saturating_add(1);
            member.took(past(since, now), now, true);
        }
    }

    /// A call to a member has ended, and this came of it.
    pub(super) fn end(
        &mut self,
        service: &str,
        peer: &PeerId,
        call: u64,
        said: Said,
        now: Duration,
    ) {
        let Some(member) = self.member(service, peer) else { return };
        match member.waiting.iter().position(|(other, _)| *other == call) {
            Some(at) => {
                let (_, since) = member.waiting.remove(at).unwrap_or_default();
                // What came of nothing took as long at least.
                member.took(past(since, now), now, said == Said::Answer);
            }
            None => member.coming = member.coming.saturating_sub(1),
        }
        match said {
            Said::Answer => member.avoid_until = Duration::ZERO,
            Said::Failure => member.avoid_until = now + AVOID,
            Said::Nothing => {}
        }
    }

    fn member(&mut self, service: &str, peer: &PeerId) -> Option<&mut Member> {
        self.services.get_mut(service)?.get_mut(peer)
    }

    fn cost(&self, service: &str, peer: &PeerId, now: Duration) -> f64 {
        let member = self.services.get(service).and_then(|members| members.get(peer));
        member.map_or(LEAST, |member| member.cost(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    const MS: Duration = Duration::from_millis(1);

    impl Choice {
        /// A call that took so long until now.
        fn call(&mut self, peer: &PeerId, took: Duration, said: Said, now: Duration) {
            let call = self.begin("s", *peer, now - took);
            self.end("s", peer, call, said, now);
        }

        fn remembered(&self) -> usize {
            self.services.values().map(HashMap::len).sum()
        }
    }

    fn shares(choice: &Choice, members: &[PeerId], now: Duration) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = vec![0; members.len()];
        for _ in 0..1000 {
            let chosen = choice.choose("s", members, now, &mut rng).unwrap();
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
        assert_eq!(choice.choose("s", &[], Duration::ZERO, &mut rng), None);
    }

    #[test]
    fn the_slow_the_busy_and_the_lost_are_avoided_for_a_while() {
        let members = [PeerId::random(), PeerId::random()];
        let mut choice = Choice::default();
        let mut now = Duration::from_secs(100);
        for (member, took) in members.iter().zip([5 * MS, 50 * MS]) {
            choice.call(member, took, Said::Answer, now);
        }
        assert_eq!(shares(&choice, &members, now), [1000, 0]);
        // Ten calls under way at the fast one make the slow one the cheaper.
        let calls: Vec<_> = (0..11).map(|_| choice.begin("s", members[0], now)).collect();
        assert_eq!(shares(&choice, &members, now), [0, 1000]);
        for call in calls {
            choice.end("s", &members[0], call, Said::Nothing, now);
        }
        // What was slow long ago counts no more.
        now += Duration::from_secs(120);
        let share = shares(&choice, &members, now);
        assert!(share[1] > 300, "{share:?}");
        choice.call(&members[0], Duration::ZERO, Said::Failure, now);
        assert_eq!(shares(&choice, &members, now), [0, 1000]);
        assert_eq!(shares(&choice, &members, now + AVOID - MS), [0, 1000]);
        assert!(shares(&choice, &members, now + AVOID)[0] > 300);
        // An answer makes up for it.
        choice.call(&members[0], Duration::ZERO, Said::Failure, now);
        choice.call(&members[0], Duration::ZERO, Said::Answer, now);
        assert!(shares(&choice, &members, now)[0] > 300);
    }

    /// The call at the caller's deadline told nothing, and what is not known is cheapest.
    #[test]
    fn one_that_hangs_or_fails_at_once_is_not_the_cheapest() {
        let [hangs, fails, works] = [(); 3].map(|()| PeerId::random());
        let mut choice = Choice::default();
        let mut now = Duration::from_secs(100);
        choice.call(&works, 20 * MS, Said::Answer, now);
        // A call that waits is known of before it ends,
        let call = choice.begin("s", hangs, now);
        now += 100 * MS;
        assert_eq!(shares(&choice, &[hangs, works], now), [0, 1000]);
        // and after it has ended without an answer,
        choice.end("s", &hangs, call, Said::Nothing, now);
        assert_eq!(shares(&choice, &[hangs, works], now), [0, 1000]);
        // also if that was sooner than answers of it came.
        choice.call(&works, 200 * MS, Said::Answer, now);
        choice.call(&works, MS, Said::Nothing, now);
        assert_eq!(choice.cost("s", &works, now), 0.2);
        for _ in 0..10 {
            choice.call(&fails, MS, Said::Failure, now);
        }
        assert_eq!(shares(&choice, &[fails, works], now), [0, 1000]);
        // Another service of the same member is another matter.
        assert_eq!(choice.cost("t", &hangs, now), LEAST);
    }

    #[test]
    fn of_an_answer_in_parts_the_first_tells_how_long_it_takes() {
        let peer = PeerId::random();
        let mut choice = Choice::default();
        let now = Duration::from_secs(1);
        let call = choice.begin("s", peer, now);
        choice.first("s", &peer, call, now + 10 * MS);
        choice.first("s", &peer, call, now + 20 * MS);
        assert_eq!(choice.cost("s", &peer, now + 10 * MS), 0.02);
        let much_later = now + Duration::from_secs(3600);
        assert_eq!(choice.cost("s", &peer, much_later), 2.0 * LEAST);
        choice.end("s", &peer, call, Said::Answer, much_later);
        assert_eq!(choice.cost("s", &peer, much_later), LEAST);
        choice.first("s", &peer, call, much_later);
        assert_eq!(choice.cost("s", &peer, much_later), LEAST);
    }

    #[test]
    fn a_latency_rises_at_once_and_falls_slowly() {
        let peer = PeerId::random();
        let mut choice = Choice::default();
        let mut now = Duration::from_secs(1);
        let mut took = |ms: u32, now: Duration| {
            choice.call(&peer, ms * MS, Said::Answer, now);
            choice.cost("s", &peer, now)
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
            let now = Duration::from_secs(1) + MS * u32::try_from(n).unwrap();
            choice.call(&PeerId::random(), Duration::from_secs(1), Said::Answer, now);
            assert!(choice.remembered() <= REMEMBERED);
        }
        let (peer, now) = (PeerId::random(), Duration::from_secs(9));
        for n in 0..10 * SERVICES {
            let name = format!("s{n}");
            let call = choice.begin(&name, peer, now);
            choice.end(&name, &peer, call, Said::Failure, now);
            assert!(choice.services.len() <= SERVICES);
        }
    }
}
