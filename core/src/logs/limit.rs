//! How many lines are logged of a kind.

use super::Repeats;
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tracing::{Level, Metadata};

/// Lines of a kind that are logged in [`TIME`].
const MOST: u32 = 10;

const TIME: Duration = Duration::from_secs(60);

/// How often it should be told what was left out.
pub const TELL_EVERY: Duration = Duration::from_secs(10);

/// The target of lines about logging itself, which are not limited.
pub const TARGET: &str = "casm::log";

/// Lets ten lines of each kind pass in a minute, and counts the others. A kind
/// is a place in a program that logs at `INFO` or worse: what a developer asks
/// for is not limited.
#[derive(Debug)]
pub struct Limit {
    start: Instant,
    repeats: Mutex<Repeats<Place>>,
}

/// Where a line is logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    level: Level,
    target: String,
    line: Option<u32>,
}

/// Lines of a kind that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Their level.
    pub level: Level,
    target: String,
    line: Option<u32>,
    count: u64,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, count, .. } = self;
        write!(f, "{count} more lines of {target}")?;
        if let Some(line) = self.line {
            write!(f, ", from its line {line},")?;
        }
        f.write_str(" were left out, as they came too often")
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self { start: Instant::now(), repeats: Mutex::new(Repeats::new(MOST, TIME)) }
    }
}

impl Limit {
    /// Whether this line is to be logged.
    pub fn admits(&self, metadata: &Metadata<'_>) -> bool {
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        let (level, target) = (*metadata.level(), metadata.target().to_owned());
        let place = Place { level, target, line: metadata.line() };
        self.repeats().admit(&place, self.start.elapsed())
    }

    /// What was left out of the kinds whose minute is over.
    pub fn ended(&self) -> Vec<LeftOut> {
        let now = self.start.elapsed();
        left_out(self.repeats().ended(now))
    }

    /// What was left out, at the end.
    pub fn rest(&self) -> Vec<LeftOut> {
        left_out(self.repeats().rest())
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats<Place>> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left_out(places: Vec<(Place, u64)>) -> Vec<LeftOut> {
    let of = |(Place { level, target, line }, count)| LeftOut { level, target, line, count };
    places.into_iter().map(of).collect()
}
