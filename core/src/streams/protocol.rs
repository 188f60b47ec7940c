//! What a program's protocols may be called.

use crate::{Error, ErrorKind, Result};
use libp2p::StreamProtocol;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest protocol id, in bytes.
const MAX_LEN: usize = 128;
/// The longest sum of the ids that are accepted at a time. All of them go into
/// libp2p's identify, beside the node's own and its addresses: Go's nodes read 2
/// KiB of it from some, ours 4 KiB.
const MAX_SUM: usize = 1024;
/// What identify needs for an id beside its bytes.
const FRAME: usize = 3;
/// Those of CASM and of libp2p itself.
const RESERVED: [&str; 4] = ["/casm/", "/meshsub/", "/ipfs/", "/libp2p/"];

/// Checks a protocol id.
///
/// # Errors
/// `Config`, with what is accepted.
pub(super) fn check(protocol: &str) -> Result<StreamProtocol> {
    let refuse = |accepted: &str| {
        let shown: String = protocol.chars().take(MAX_LEN).collect();
        Err(Error::config("protocol", shown, accepted))
    };
    let visible = protocol.bytes().all(|byte| byte.is_ascii_graphic());
    if !(2..=MAX_LEN).contains(&protocol.len()) || !protocol.starts_with('/') || !visible {
        return refuse(
            "write 2 to 128 visible ASCII characters, of which the first is a slash, such as /files/1",
        );
    }
    // With the slash that a prefix ends with, or without it.
    if RESERVED.iter().any(|own| format!("{protocol}/").starts_with(own)) {
        return refuse(
            "what begins with /casm/, /meshsub/, /ipfs/ or /libp2p/ is not for programs; write \
             one of your own, such as /files/1",
        );
    }
    StreamProtocol::try_from_owned(protocol.to_owned())
        .map_err(|error| Error::config("protocol", protocol, error))
}

/// Counts the room that protocols take. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Protocols(Arc<Mutex<usize>>);

/// The room of one protocol, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room(Protocols, usize);

impl Protocols {
    /// Takes room for one more.
    ///
    /// # Errors
    /// `TooLarge`, with the room that is left.
    pub(super) fn take(&self, protocol: &StreamProtocol) -> Result<Room> {
        let needs = protocol.as_ref().len() + FRAME;
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = MAX_SUM - *taken;
        if needs > left {
            let message = format!(
                "protocol: {protocol} takes {needs} bytes of what this node tells others that it \
                 speaks, and {left} of {MAX_SUM} are left: write shorter ones, or use one for \
                 several purposes"
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        *taken += needs;
        Ok(Room(self.clone(), needs))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) -= self.1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_libp2ps_or_cannot_be_one_is_refused_with_the_reason() {
        let long = format!("/{}", "x".repeat(MAX_LEN));
        for bad in ["", "/", "files/1", "/a b", "/a\n", "/ä", "/casm/x", "/casm", "/meshsub/1.1.0"]
            .into_iter()
            .chain(["/ipfs/id/1.0.0", "/libp2p/circuit", "/libp2p", &long])
        {
            let error = check(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            assert!(error.message().contains("/files/1"), "{error}");
        }
        for good in ["/files/1", "/x", "/casmos/1", "/my/casm/1", &long[..MAX_LEN]] {
            assert_eq!(check(good).unwrap().as_ref(), good);
        }
    }

    #[test]
    fn the_ids_together_are_bounded_and_their_room_is_given_back() {
        let protocols = Protocols::default();
        let id = |n: usize| StreamProtocol::try_from_owned(format!("/{n:0>127}")).unwrap();
        let mut rooms: Vec<Room> = (0..7).map(|n| protocols.take(&id(n)).unwrap()).collect();
        let error = protocols.take(&id(7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("131 bytes") && error.message().contains("107 of 1024"));
        rooms.pop();
        protocols.take(&id(7)).unwrap();
    }
}
