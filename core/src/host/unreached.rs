//! Why a peer could not be reached, as users read it.

use super::{NO_QUIC, gate};
use crate::{Error, ErrorKind, error::reason};
use libp2p::{Multiaddr, swarm::DialError};
use std::io;

pub(super) fn no_quic(addr: &Multiaddr) -> Error {
    Error::new(ErrorKind::Address, format!("{addr}: {NO_QUIC}"))
}

pub(super) fn unreachable(whom: &str, error: &DialError, private: bool) -> Error {
    if let Some(refused) = gate::refusal(whom, error) {
        return refused;
    }
    if let DialError::WrongPeerId { obtained, address } = error {
        let message =
            format!("{whom} cannot be reached: another peer, {obtained}, is at {address}");
        return Error::new(ErrorKind::Unreachable, message);
    }
    if let DialError::Transport(tried) = error {
        let hint = match private && tried.iter().any(|(_, error)| answers(error)) {
            true => " (whoever is there may hold another secret, or none)",
            false => "",
        };
        let tried: Vec<String> =
            tried.iter().map(|(addr, error)| format!("{addr}: {}", reason(error))).collect();
        let message = format!("{whom} cannot be reached: {}{hint}", tried.join("; "));
        return Error::new(ErrorKind::Unreachable, message);
    }
    Error::new(ErrorKind::Unreachable, format!("{whom} cannot be reached: {}", reason(error)))
}

/// Whether somebody is there, with whom no connection came about.
fn answers(error: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::*;
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return match error.kind() {
            ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable => false,
            _ => error.get_ref().is_none_or(|inner| answers(inner)),
        };
    }
    error.source().is_none_or(answers)
}
