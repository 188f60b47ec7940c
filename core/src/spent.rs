//! Budgets of which something comes back every second. Pure: the time is an
//! argument.

use std::time::Duration;

/// What may be spent at once, and what comes back in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) most: f64,
    pub(crate) a_second: f64,
}

impl Limit {
    /// So many times as much.
    pub(crate) fn times(self, times: f64) -> Self {
        Self { most: times * self.most, a_second: times * self.a_second }
    }
}

/// What was spent, less what has come back since.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    amount: f64,
    at: Duration,
}

impl Spent {
    /// What is left of a limit.
    pub(crate) fn left(&mut self, limit: Limit, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        let at = self.at.max(now);
        *self = Self { amount: (self.amount - since * limit.a_second).max(0.0), at };
        limit.most - self.amount
    }

    /// Spends so much, whether it is there or not.
    pub(crate) fn spend(&mut self, amount: f64) {
        self.amount += amount;
    }

    /// Spends one, if there is one.
    pub(crate) fn one(&mut self, limit: Limit, now: Duration) -> bool {
        let may = self.left(limit, now) >= 1.0;
        self.spend(f64::from(u8::from(may)));
        may
    }

    /// When there will be one.
    pub(crate) fn next(mut self, limit: Limit, now: Duration) -> Duration {
        let missing = (1.0 - self.left(limit, now)).max(0.0) / limit.a_second;
        now.saturating_add(Duration::try_from_secs_f64(missing).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_comes_back() {
        let (mut spent, limit) = (Spent::default(), Limit { most: 3.0, a_second: 0.5 });
        let secs = Duration::from_secs;
        let taken = |spent: &mut Spent, now| (0..9).filter(|_| spent.one(limit, now)).count();
        assert_eq!(taken(&mut spent, secs(0)), 3);
        assert_eq!(spent.next(limit, secs(0)), secs(2));
        assert_eq!(taken(&mut spent, secs(1)), 0);
        assert_eq!(taken(&mut spent, secs(2)), 1);
        assert_eq!(taken(&mut spent, secs(99)), 3);
        spent.spend(10.0);
        assert_eq!(spent.left(limit, secs(99)), -10.0);
        assert_eq!(spent.next(limit, secs(99)), secs(99 + 22));
        assert_eq!(Spent::default().next(limit, secs(7)), secs(7));
    }
}
