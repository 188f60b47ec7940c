//! What a peer does wrong, and when it is too much.

use std::time::Duration;

/// What no honest peer does, or hardly ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A message whose signature is wrong: an honest peer passes on what it has
    /// checked.
    Signature,
    /// A frame that is none.
    Malformed,
    /// A link that is to be made before its back-off is over.
    Graft,
    /// A link that is taken back and never was there.
    Prune,
    /// One more stream on a connection that has its stream.
    Substream,
    /// What it had offered did not come when it was asked for.
    Promise,
    /// It asks for what it was sent three times.
    Asked,
    /// It joins more topics than a node can be told of.
    Topics,
}

impl Offence {
    /// Counted up to [`Record::TOO_MUCH`].
    pub(super) fn points(self) -> f64 {
        match self {
            Self::Signature => 34.0,
            Self::Malformed => 50.0,
            Self::Graft | Self::Prune | Self::Substream => 10.0,
            Self::Promise | Self::Asked => 5.0,
            Self::Topics => Record::TOO_MUCH,
        }
    }

    /// The metrics label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Signature => "bad-signature",
            Self::Malformed => "malformed-frame",
            Self::Graft => "graft-in-backoff",
            Self::Prune => "prune-of-unknown-topic",
            Self::Substream => "further-substream",
            Self::Promise => "broken-promise",
            Self::Asked => "asked-again",
            Self::Topics => "too-many-topics",
        }
    }
}

/// What is held against one peer, whatever its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    points: f64,
    at: Duration,
    forged: f64,
}

impl Record {
    /// The points at which its connections are closed.
    pub(super) const TOO_MUCH: f64 = 100.0;
    /// After which half of them are forgotten.
    const HALF_LIFE: Duration = Duration::from_secs(60);

    /// Holds an offence against the peer. Whether that makes it too much.
    pub(super) fn add(&mut self, now: Duration, offence: Offence) -> bool {
        let passed = now.saturating_sub(self.at).as_secs_f64() / Self::HALF_LIFE.as_secs_f64();
        let rest = (-passed).exp2();
        self.at = now;
        self.points = self.points * rest + offence.points();
        self.forged *= rest;
        if offence == Offence::Signature {
            self.forged += offence.points();
        }
        self.points >= Self::TOO_MUCH
    }

    /// Until when it counts: then less than a point of it is left.
    pub(super) fn until(&self) -> Duration {
        let half_lives = if self.points > 1.0 { self.points.log2() } else { 0.0 };
        self.at + Self::HALF_LIFE.mul_f64(half_lives)
    }

    /// Whether forged messages alone are too much.
    pub(super) fn has_forged(&self) -> bool {
        self.forged >= Self::TOO_MUCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_until_next_to_nothing_of_it_is_left() {
        let mut record = Record::default();
        assert_eq!(record.until(), Duration::ZERO);
        let now = Duration::from_secs(1000);
        record.add(now, Offence::Malformed);
        record.add(now, Offence::Graft);
        record.add(now, Offence::Promise);
        // 65 points, and after six minutes 1.02.
        let until = record.until();
        assert!((now + Duration::from_secs(361)..now + Duration::from_secs(362)).contains(&until));
    }

    #[test]
    fn three_forged_messages_are_too_much_and_time_forgives() {
        let mut record = Record::default();
        let now = Duration::from_secs(1000);
        assert!(!record.add(now, Offence::Signature));
        assert!(!record.add(now, Offence::Signature));
        assert!(record.add(now, Offence::Signature) && record.has_forged());

        let mut record = Record::default();
        let every_minute = (0..1000).map(|minute| Duration::from_secs(60 * minute));
        assert!(every_minute.clone().all(|now| !record.add(now, Offence::Signature)));
        let mut record = Record::default();
        // 50 + 25 + 12.5 …, and 50 more.
        assert!(every_minute.take(10).all(|now| !record.add(now, Offence::Malformed)));
        assert!(record.add(Duration::from_secs(541), Offence::Malformed) && !record.has_forged());
    }
}
