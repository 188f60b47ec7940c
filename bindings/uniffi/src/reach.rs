//! Whether others can reach a node, and relays for those that nobody can.

use casm_bindings::{RelayLimitOptions, Result, duration};

/// How much a relay gives. What is left out has its default.
#[derive(Clone, Copy, Default, uniffi::Record)]
pub struct RelayLimits {
    /// Peers that may be reached over this node, 1 to 4096; 64 if it is left out.
    #[uniffi(default)]
    pub reservations: Option<u32>,
    /// Connections that are relayed at once, 1 to 4096; 128 if it is left out.
    #[uniffi(default)]
    pub circuits: Option<u32>,
    /// Bytes that one may carry both ways together, 64 KiB to 1 TiB; 256 MiB if it is
    /// left out.
    #[uniffi(default)]
    pub circuit_bytes: Option<u64>,
    /// Seconds that one may last, 10 to 86400; 3600 if it is left out.
    #[uniffi(default)]
    pub circuit_time: Option<f64>,
}

impl RelayLimits {
    pub(crate) fn build(self) -> Result<RelayLimitOptions> {
        let time = self.circuit_time.map(|time| duration("relay.circuit_time", time));
        Ok(RelayLimitOptions {
            reservations: self.reservations,
            circuits: self.circuits,
            circuit_bytes: self.circuit_bytes,
            circuit_time: time.transpose()?,
        })
    }
}

/// Whether others can reach a node, and where.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Reachability {
    /// `public`: at a public address, as was tried, or as a person or the gateway said.
    /// `private`: not directly. `unknown`: nobody has tried yet.
    pub reach: String,
    /// Where, the best first.
    pub addrs: Vec<ReachableAddr>,
}

/// An address at which a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ReachableAddr {
    /// The multiaddr, without the `/p2p/<id>` of the node.
    pub addr: String,
    /// How that is known: `announced` as it was configured, `mapped` by the network's
    /// gateway, `dialled` by a peer, or over a `relay`.
    pub found: String,
}

impl From<casm_bindings::Reachability> for Reachability {
    fn from(known: casm_bindings::Reachability) -> Self {
        let addrs = known.addrs.iter().map(|known| ReachableAddr {
            addr: known.addr.to_string(),
            found: known.found.name().into(),
        });
        Self { reach: known.reach.name().into(), addrs: addrs.collect() }
    }
}
