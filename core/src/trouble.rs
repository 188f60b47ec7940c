//! What is configured and does not work: told once with what was tried, then
//! rarely, and taken back when it works.
//!
//! A service says of a thing that it fails or works as often as it likes; the
//! ledger, which is pure, decides what of that is said aloud.

use prometheus_client::metrics::gauge::Gauge;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The troubles of one node. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ledger: Mutex<Ledger>,
    silent: AtomicBool,
    /// How many there are now.
    count: Gauge,
}

impl Troubles {
    /// How many there are now, for the metrics.
    pub(crate) fn count(&self) -> Gauge {
        self.0.count.clone()
    }

    /// Has nothing logged any more: who uses the service tells its user.
    pub(crate) fn silence(&self) {
        self.0.silent.store(true, Ordering::Relaxed);
    }

    /// Something does not work now. `cause` is a name for the kind of problem:
    /// another one of the same thing is told although the first was.
    pub(crate) fn fails(&self, what: &str, cause: &'static str, why: impl fmt::Display) {
        let told = self.ledger().fails(what, cause, Instant::now());
        self.count_them();
        if self.0.silent.load(Ordering::Relaxed) {
            return;
        }
        match told {
            Some(Told::First) => tracing::warn!("{what} does not work: {why}; it is tried again"),
            Some(Told::Still(since)) => {
                let minutes = since.as_secs() / 60;
                tracing::warn!("{what} has not worked for {minutes} min: {why}");
            }
            None => tracing::debug!("{what} does not work: {why}"),
        }
    }

    /// Something works.
    pub(crate) fn works(&self, what: &str) {
        let since = self.ledger().works(what, None, Instant::now());
        self.recovered(what, since);
    }

    /// What caused trouble does so no longer; another cause may.
    pub(crate) fn is_over(&self, what: &str, cause: &'static str) {
        let since = self.ledger().works(what, Some(cause), Instant::now());
        self.recovered(what, since);
    }

    /// Something is no longer there to work or not.
    pub(crate) fn forget(&self, what: &str) {
        self.ledger().works(what, None, Instant::now());
        self.count_them();
    }

    fn recovered(&self, what: &str, since: Option<Duration>) {
        let Some(since) = since else { return };
        self.count_them();
        if !self.0.silent.load(Ordering::Relaxed) {
            tracing::info!("{what} works now, after {} s", since.as_secs());
        }
    }

    fn count_them(&self) {
        let count = self.ledger().known.len();
        self.0.count.set(count.try_into().unwrap_or(i64::MAX));
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said aloud.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    First,
    /// Again, after so long.
    Still(Duration),
}

/// What does not work, by name.
#[derive(Debug, Default)]
struct Ledger {
    known: BTreeMap<String, Trouble>,
}

#[derive(Debug)]
struct Trouble {
    cause: &'static str,
    since: Instant,
    told: Instant,
    /// After what time it is told again.
    pause: Duration,
}

impl Ledger {
    /// More things than anybody configures.
    const MOST: usize = 1024;
    /// When the same is told again: after this time, and then after six times
    /// as long each time, up to the last.
    const AGAIN: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(6 * 3600));
    /// When another problem of the same thing is told.
    const ANOTHER: Duration = Duration::from_secs(60);

    fn fails(&mut self, what: &str, cause: &'static str, now: Instant) -> Option<Told> {
        let Some(trouble) = self.known.get_mut(what) else {
            if self.known.len() < Self::MOST {
                let pause = Self::AGAIN.0;
                self.known.insert(what.into(), Trouble { cause, since: now, told: now, pause });
                return Some(Told::First);
            }
            return None;
        };
        let quiet = now.saturating_duration_since(trouble.told);
        if cause != trouble.cause && quiet >= Self::ANOTHER {
            trouble.cause = cause;
            trouble.told = now;
            return Some(Told::First);
        }
        if quiet < trouble.pause {
            return None;
        }
        trouble.told = now;
        trouble.pause = (trouble.pause * 6).min(Self::AGAIN.1);
        Some(Told::Still(now.saturating_duration_since(trouble.since)))
    }

    /// For how long it did not, if that was known (and had this cause).
    fn works(&mut self, what: &str, cause: Option<&str>, now: Instant) -> Option<Duration> {
        if self.known.get(what)?.cause != cause.unwrap_or(self.known[what].cause) {
            return None;
        }
        let trouble = self.known.remove(what)?;
        Some(now.saturating_duration_since(trouble.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_then_rarely_and_taken_back() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(ledger.works("a", None, at(0)), None, "what was no trouble is not taken back");
        assert_eq!(ledger.fails("a", "x", at(0)), Some(Told::First));
        let mut told = Vec::new();
        for second in 1..86_400 {
            if let Some(again) = ledger.fails("a", "x", at(second)) {
                assert_eq!(again, Told::Still(Duration::from_secs(second)));
                told.push(second);
            }
        }
        assert_eq!(told, [600, 4200, 25_800, 47_400, 69_000]);
        assert_eq!(ledger.works("a", None, at(86_400)), Some(Duration::from_secs(86_400)));
        assert_eq!(ledger.works("a", None, at(86_401)), None);
        assert_eq!(ledger.fails("a", "x", at(86_402)), Some(Told::First));
    }

    #[test]
    fn another_cause_is_told_but_no_two_in_turn() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(ledger.fails("a", "x", at(0)), Some(Told::First));
        let told = (1..=600)
            .filter(|n| ledger.fails("a", if n % 2 == 0 { "x" } else { "y" }, at(*n)).is_some());
        assert!(told.count() <= 10);
        assert_eq!(ledger.fails("b", "x", at(601)), Some(Told::First));
        assert_eq!(ledger.works("b", Some("y"), at(602)), None, "another cause is over");
        assert!(ledger.works("b", Some("x"), at(603)).is_some());
    }

    #[test]
    fn the_ledger_is_bounded() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for n in 0..2 * Ledger::MOST {
            ledger.fails(&n.to_string(), "x", now);
        }
        assert_eq!(ledger.known.len(), Ledger::MOST);
    }
}
