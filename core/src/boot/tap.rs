//! Every boot datagram that passes, for tools that show them.

use super::{packet::Packet, responder::Medium};
use crate::bus::Listener;
use std::net::SocketAddr;

/// A datagram that was received, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tapped {
    /// Where it came from.
    pub source: SocketAddr,
    /// How it came.
    pub medium: Medium,
    /// Its length in bytes.
    pub len: usize,
    /// What it says; `None` if it is malformed or its signature is wrong.
    pub packet: Option<Packet>,
    /// What became of it: the label that it is counted by in the metric
    /// `casm_boot_received`.
    pub verdict: &'static str,
}

/// Boot datagrams as they pass, from the moment of asking.
#[derive(Debug)]
pub struct Tap(pub(super) Listener<Tapped>);

impl Tap {
    /// The next datagram, or how many were lost because this was read too
    /// slowly. `None` after the service has closed.
    pub async fn next(&mut self) -> Option<Result<Tapped, u64>> {
        self.0.next().await
    }
}
