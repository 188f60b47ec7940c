//! Whether others can reach a node, and relays for those that nobody can.

use crate::{call::seconds, config::not_accepted};
use casm_bindings::RelayLimitOptions;
use pyo3::{prelude::*, types::PyMapping};

/// How much a relay gives, from a dict.
pub(crate) struct RelayLimits(pub(crate) RelayLimitOptions);

impl<'py> FromPyObject<'_, 'py> for RelayLimits {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut limits = RelayLimitOptions::default();
        for item in given.cast::<PyMapping>()?.items()?.iter() {
            let (name, value): (String, Bound<'_, PyAny>) = item.extract()?;
            match name.as_str() {
                "reservations" => limits.reservations = Some(value.extract()?),
                "circuits" => limits.circuits = Some(value.extract()?),
                "circuit_bytes" => limits.circuit_bytes = Some(value.extract()?),
                "circuit_time" => {
                    limits.circuit_time = seconds("relay.circuit_time", Some(value.extract()?))?;
                }
                name => {
                    let known = "reservations, circuits, circuit_bytes or circuit_time";
                    return Err(not_accepted("relay_limits", name, known));
                }
            }
        }
        Ok(Self(limits))
    }
}

/// Whether others can reach a node, and where.
#[pyclass(frozen, eq, module = "casm", get_all)]
#[derive(PartialEq)]
pub(crate) struct Reachability {
    /// ``"public"``: at a public address, as was tried, or as a person or the gateway
    /// said. ``"private"``: not directly. ``"unknown"``: nobody has tried yet.
    reach: &'static str,
    /// Where, the best first.
    addrs: Vec<ReachableAddr>,
}

#[pymethods]
impl Reachability {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("reach", "addrs")
    }

    fn __repr__(&self) -> String {
        let addrs: Vec<_> = self.addrs.iter().map(ReachableAddr::__repr__).collect();
        format!("Reachability(reach={:?}, addrs=[{}])", self.reach, addrs.join(", "))
    }
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

/// An address at which a node can be reached.
#[pyclass(frozen, eq, hash, module = "casm", get_all)]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReachableAddr {
    /// The multiaddr, without the ``/p2p/<id>`` of the node.
    addr: String,
    /// How that is known: ``"announced"`` as it was configured, ``"mapped"`` by the
    /// network's gateway, ``"dialled"`` by a peer, or over a ``"relay"``.
    found: &'static str,
}

#[pymethods]
impl ReachableAddr {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("addr", "found")
    }

    fn __repr__(&self) -> String {
        format!("ReachableAddr(addr={:?}, found={:?})", self.addr, self.found)
    }
}
