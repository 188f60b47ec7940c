//! How much a relay gives to whom it relays.

use crate::{Error, Result};
use std::{ops::RangeInclusive, time::Duration};

/// The limits of a relay. The defaults suit clusters, whose members gossip all the
/// time: those of libp2p (16 circuits of 128 KiB and 2 min) are used up in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayLimits {
    /// Peers that may hold a reservation, and so be reached over this node: 1 to 4096,
    /// default 64.
    pub reservations: u32,
    /// Connections that are relayed at once: 1 to 4096, default 128. A peer gets one while
    /// it is at the end of less than a quarter of them.
    pub circuits: u32,
    /// Bytes that a relayed connection may carry, both ways together, before it is closed:
    /// 64 KiB to 1 TiB, default 256 MiB.
    pub circuit_bytes: u64,
    /// How long one may last: 10 s to 24 h, default 1 h.
    pub circuit_time: Duration,
}

const COUNT: RangeInclusive<u32> = 1..=4096;
const BYTES: RangeInclusive<u64> = 64 << 10..=1 << 40;
const TIME: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations: 64,
            circuits: 128,
            circuit_bytes: 256 << 20,
            circuit_time: Duration::from_secs(3600),
        }
    }
}

impl RelayLimits {
    /// Of the circuits, those at whose end one peer may be by its own doing.
    pub(crate) fn circuits_per_peer(&self) -> usize {
        (self.circuits as usize / 4).max(1)
    }

    /// # Errors
    /// `Config`, with the field, the value and what is accepted.
    pub(crate) fn check(&self) -> Result<()> {
        for (field, value) in
            [("relay.reservations", self.reservations), ("relay.circuits", self.circuits)]
        {
            if !COUNT.contains(&value) {
                return Err(Error::config(field, value, "1 to 4096 are possible"));
            }
        }
        if !BYTES.contains(&self.circuit_bytes) {
            let accepted = "64 KiB (65536) to 1 TiB are possible";
            return Err(Error::config("relay.circuit_bytes", self.circuit_bytes, accepted));
        }
        if !TIME.contains(&self.circuit_time) {
            let accepted = "10 s to 24 h are possible";
            return Err(Error::config("relay.circuit_time", self.circuit_time, accepted));
        }
        Ok(())
    }
}

/// What a relayed connection has to be good for, so that gossip uses it: of less, gossip
/// would use up all within seconds, and end it for what was begun on it.
const LEAST: (u64, Duration) = (16 << 20, Duration::from_secs(600));

/// Whether a relay gives too little for gossip: these bytes, and this time.
pub(crate) fn is_thin(bytes: Option<u64>, time: Option<Duration>) -> bool {
    bytes.is_some_and(|bytes| bytes < LEAST.0) || time.is_some_and(|time| time < LEAST.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_out_of_range_are_refused_with_the_field_and_the_value() {
        let limits = RelayLimits::default;
        assert!(limits().check().is_ok());
        for (wrong, text) in [
            (RelayLimits { reservations: 0, ..limits() }, "relay.reservations: 0"),
            (RelayLimits { circuits: 4097, ..limits() }, "relay.circuits: 4097"),
            (RelayLimits { circuit_bytes: 1, ..limits() }, "relay.circuit_bytes: 1"),
            (
                RelayLimits { circuit_time: Duration::from_secs(9), ..limits() },
                "relay.circuit_time: 9s",
            ),
        ] {
            let error = wrong.check().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        let RelayLimits { circuit_bytes, circuit_time, .. } = limits();
        assert!(!is_thin(Some(circuit_bytes), Some(circuit_time)) && !is_thin(None, None));
        assert!(is_thin(Some(128 << 10), None) && is_thin(None, Some(Duration::from_secs(120))));
        assert_eq!(RelayLimits { circuits: 1, ..limits() }.circuits_per_peer(), 1);
    }
}
