//! How a node exchanges peers.

use super::view::Params;
use crate::{Error, Result};
use std::time::Duration;

/// The configuration of peer exchange. Take the default, and set what is to be
/// different.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The longest pause between two ticks; each is jittered down to half of
    /// it. 100 ms to 24 h, default 5 min.
    pub tick: Duration,
    /// How long a round may take. 100 ms to 5 min, default 30 s.
    pub timeout: Duration,
    /// Records in a view, a place for the own one included. 8 to 224, default
    /// 32.
    pub max_view: usize,
    /// Peers that failed to answer, of which a node keeps the record. Up to
    /// 1024, default 64.
    pub max_standby: usize,
    /// Connections with random members of the view that are made if there are
    /// fewer. Default 8.
    pub min_connections: usize,
    /// Connections made for peer exchange above which some are given up. At
    /// least twice `min_connections`; default 24.
    pub max_connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(300),
            timeout: Duration::from_secs(30),
            max_view: 32,
            max_standby: 64,
            min_connections: 8,
            max_connections: 24,
        }
    }
}

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// `Config`, with the field, its value and what is accepted.
    pub(crate) fn check(&self) -> Result<()> {
        let ms = Duration::from_millis;
        if !(ms(100)..=ms(86_400_000)).contains(&self.tick) {
            return Err(Error::config("pex.tick", self.tick, "write 100ms to 24h"));
        }
        if !(ms(100)..=ms(300_000)).contains(&self.timeout) {
            return Err(Error::config("pex.timeout", self.timeout, "write 100ms to 5m"));
        }
        for (field, value, least, most) in [
            ("pex.max_view", self.max_view, 8, 224),
            ("pex.max_standby", self.max_standby, 0, 1024),
            ("pex.min_connections", self.min_connections, 0, 1024),
            ("pex.max_connections", self.max_connections, 2 * self.min_connections, 4096),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error::config(field, value, format!("write {least} to {most}")));
            }
        }
        Ok(())
    }

    pub(super) fn params(&self) -> Params {
        Params { max_view: self.max_view, max_standby: self.max_standby, ..Params::default() }
    }
}
