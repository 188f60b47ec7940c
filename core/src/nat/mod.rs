//! Nodes that can't be reached from everywhere, since they are behind a NAT: what is
//! decided about them. Pure: times are arguments, and `host/nat` carries it out.
//!
//! `candidates` remembers where others see this node, `reach` says whether others can
//! reach it and where, `denied` who says alone that they can't, `seek` which relays are asked to take what is for it,
//! `strangers` to whom it has spoken, `paths` which of the connections with a peer are
//! kept, `cuts` over which relays they don't last, `limits` how much a relay gives.

mod candidates;
mod cuts;
mod denied;
mod limits;
mod paths;
mod reach;
mod seek;
mod strangers;

pub(crate) use candidates::{Candidates, likely};
pub(crate) use cuts::Cuts;
pub(crate) use denied::Witness;
pub use limits::RelayLimits;
pub(crate) use limits::is_thin;
pub(crate) use paths::{Change, Path, Paths};
pub(crate) use reach::Assessment;
pub use reach::{Found, Reach, Reachability, ReachableAddr};
pub(crate) use seek::{Seek, Wish};
pub(crate) use strangers::Spoken;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// Whether an address leads over a relay.
pub(crate) fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The relay over which an address leads.
pub(crate) fn relay_of(addr: &Multiaddr) -> Option<PeerId> {
    let before = addr.iter().take_while(|part| *part != Protocol::P2pCircuit);
    let relay = before.filter_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    relay.last().filter(|_| is_relayed(addr))
}
