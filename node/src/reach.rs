//! Whether others can reach a node, and relays for those that nobody can.

use crate::call::duration;
use casm_bindings::RelayLimitOptions;
use napi_derive::napi;

/// How much a relay gives.
#[napi(object, object_to_js = false)]
pub struct RelayLimits {
    pub reservations: Option<u32>,
    pub circuits: Option<u32>,
    pub circuit_bytes: Option<f64>,
    /// In milliseconds.
    pub circuit_time: Option<f64>,
}

impl RelayLimits {
    pub(crate) fn build(self) -> casm_bindings::Result<RelayLimitOptions> {
        let time = self.circuit_time.map(|ms| duration("relay.circuit_time", ms));
        Ok(RelayLimitOptions {
            reservations: self.reservations,
            circuits: self.circuits,
            // A whole number from 0 up: that is checked before.
            circuit_bytes: self.circuit_bytes.map(|bytes| bytes as u64),
            circuit_time: time.transpose()?,
        })
    }
}

/// Whether others can reach a node, and where.
#[napi(object, object_from_js = false)]
pub struct Reachability {
    pub reach: &'static str,
    pub addrs: Vec<ReachableAddr>,
}

/// An address at which a node can be reached, and how that is known.
#[napi(object, object_from_js = false)]
pub struct ReachableAddr {
    pub addr: String,
    pub found: &'static str,
}

impl From<casm_bindings::Reachability> for Reachability {
    fn from(known: casm_bindings::Reachability) -> Self {
        let addrs = known
            .addrs
            .iter()
            .map(|known| ReachableAddr { addr: known.addr.to_string(), found: known.found.name() });
        Self { reach: known.reach.name(), addrs: addrs.collect() }
    }
}
