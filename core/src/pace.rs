//! Whether a node says less often that it lives as its cluster grows.

use crate::{Error, Result};
use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Whether the time between a node's heartbeats grows with the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pace {
    /// The node announces a longer TTL than the configured one where the cluster would
    /// otherwise send more heartbeats than its budget
    /// ([`Config::budget`](crate::Config::budget)).
    #[default]
    Auto,
    /// The node announces the configured TTL, however large the cluster is.
    Fixed,
}

impl Pace {
    /// Every pace.
    pub const ALL: &[Self] = &[Self::Auto, Self::Fixed];
    /// The budgets that can be set, in heartbeats of the whole cluster a second.
    pub const BUDGETS: RangeInclusive<u32> = 1..=100_000;
    /// The budget where none is given.
    pub const BUDGET: u32 = 150;

    /// Its name, as in every language: `auto`, `fixed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fixed => "fixed",
        }
    }

    /// Checks a budget.
    ///
    /// # Errors
    /// `Config` if it is none of [`BUDGETS`](Self::BUDGETS).
    pub fn check_budget(budget: u32) -> Result<()> {
        if Self::BUDGETS.contains(&budget) {
            return Ok(());
        }
        let accepted =
            "write how many heartbeats the whole cluster may send in a second, 1 to 100000";
        Err(Error::config("budget", budget, accepted))
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pace {
    type Err = Error;

    /// # Errors
    /// `Config`, with the names that there are.
    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.iter().find(|pace| pace.name() == text);
        named.copied().ok_or_else(|| Error::config("pace", text, "write `auto` or `fixed`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, ErrorKind, Node};

    #[test]
    fn names_are_read_as_they_are_written() {
        for pace in Pace::ALL {
            assert_eq!(pace.to_string().parse::<Pace>().unwrap(), *pace);
        }
        let error = "slow".parse::<Pace>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("slow") && error.message().contains("`auto` or `fixed`"));
    }

    #[test]
    fn a_budget_out_of_range_is_named_with_its_value_and_the_range() {
        assert_eq!((Config::default().pace, Config::default().budget), (Pace::Auto, 150));
        for budget in [1, 150, 100_000] {
            assert_eq!(Node::builder().budget(budget).config().unwrap().budget, budget);
        }
        for budget in [0, 100_001, u32::MAX] {
            let config = Node::builder().pace(Pace::Fixed).budget(budget).config().unwrap();
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            for said in ["budget", &budget.to_string(), "1 to 100000"] {
                assert!(error.message().contains(said), "{error}");
            }
        }
    }
}
