//! How much a node does of itself: for machines that are plugged in, and for those
//! that run on a battery.

use crate::{Error, pex};
use std::{fmt, str::FromStr, time::Duration};

/// How much a node does of itself, and so how often it wakes the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Power {
    /// For machines that are plugged in.
    #[default]
    Normal,
    /// For phones, and whatever else runs on a battery: a TTL of ten minutes,
    /// pings once a minute, three connections of its own, TCP alone, rounds of peer
    /// exchange every half an hour, and discovery only while it has no peer.
    Low,
}

/// What a profile sets in a configuration.
pub(crate) struct Defaults {
    pub(crate) ttl: Duration,
    pub(crate) connections: u32,
    pub(crate) pex: pex::Config,
}

/// What a profile is to the services.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// From the answer to a ping to the next one.
    pub(crate) ping: Duration,
    /// How often both ends of a connection say anew what they are. (What changes is
    /// said at once.)
    pub(crate) identify: Duration,
    /// Whether QUIC is spoken where nothing else is said.
    pub(crate) quic: bool,
    /// Connections with which a node is content.
    pub(crate) wanted: usize,
    /// Whether a content node looks for clusters of the same name that formed apart.
    pub(crate) seeks: bool,
    /// The longest pause between the searches of a node that has no peer.
    pub(crate) alone: Duration,
    /// By how much each is longer than the one before, and so it is with the pauses of
    /// exchanges of heartbeats and of rounds of peer exchange, which begin short.
    pub(crate) growth: u32,
    /// How long a search of a node that has no peer takes.
    pub(crate) search: Duration,
    /// How often the clocks are looked at, so that a machine that slept is noticed
    /// soon; `None`: with each heartbeat.
    pub(crate) look: Option<Duration>,
    /// The longest mean pause between exchanges of heartbeats with a random peer.
    pub(crate) exchange: Duration,
    /// How often the peers that boot addresses name are looked after.
    pub(crate) seeds: Duration,
    /// How often is looked whether what is kept on the disk is still there.
    pub(crate) care: Duration,
    /// How often the interfaces are listed, where the system tells of changes and
    /// where it does not.
    pub(crate) rescan: (Duration, Duration),
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Power {
    /// Every profile.
    pub const ALL: &[Self] = &[Self::Normal, Self::Low];

    /// Its name, as in every language: `normal`, `low`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    pub(crate) fn defaults(self) -> Defaults {
        let mut pex = pex::Config::default();
        match self {
            Self::Normal => Defaults { ttl: secs(10), connections: 512, pex },
            Self::Low => {
                pex.tick = secs(30 * 60);
                (pex.min_connections, pex.max_connections) = (3, 8);
                Defaults { ttl: secs(600), connections: 64, pex }
            }
        }
    }

    pub(crate) const fn profile(self) -> Profile {
        match self {
            Self::Normal => Profile {
                ping: secs(2),
                identify: secs(300),
                quic: true,
                wanted: 8,
                seeks: true,
                alone: secs(15),
                growth: 2,
                search: secs(30),
                look: Some(secs(1)),
                exchange: secs(20),
                seeds: secs(10),
                care: secs(1),
                rescan: (secs(15), secs(5)),
            },
            Self::Low => Profile {
                ping: secs(60),
                identify: secs(3600),
                quic: false,
                wanted: 3,
                seeks: false,
                alone: secs(600),
                growth: 4,
                search: secs(5),
                look: None,
                exchange: secs(900),
                seeds: secs(600),
                care: secs(60),
                rescan: (secs(300), secs(60)),
            },
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Power {
    type Err = Error;

    /// # Errors
    /// `Config`, with the names that there are.
    fn from_str(text: &str) -> Result<Self, Error> {
        let named = Self::ALL.iter().find(|power| power.name() == text);
        named.copied().ok_or_else(|| Error::config("power", text, "write `normal` or `low`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, ErrorKind};

    #[test]
    fn names_are_read_as_they_are_written() {
        for power in Power::ALL {
            assert_eq!(power.to_string().parse::<Power>().unwrap(), *power);
        }
        let error = "lower".parse::<Power>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("lower"), "{error}");
    }

    #[test]
    fn a_profile_changes_what_is_not_set_otherwise() {
        let mut config = Config::default();
        let usual = Power::Normal.defaults();
        assert_eq!((config.ttl, config.limits.connections), (usual.ttl, usual.connections));
        assert_eq!(config.pex, Some(usual.pex));
        config.set_power(Power::Low);
        let low = Power::Low.defaults();
        assert_eq!((config.ttl, config.limits.connections), (low.ttl, low.connections));
        assert_eq!(config.pex, Some(low.pex));
        assert!(config.check().is_ok());
        config.set_power(Power::Normal);
        assert_eq!(config.ttl, usual.ttl);
        config.ttl = secs(30);
        config.pex = None;
        config.set_power(Power::Low);
        assert_eq!((config.ttl, config.pex, config.power), (secs(30), None, Power::Low));
    }
}
