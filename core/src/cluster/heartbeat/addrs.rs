//! Where a peer says that it is reached: few addresses, checked, in one
//! allocation.

use super::{Heartbeat, HeartbeatError};
use crate::{prefix::ip, schema::cluster_capnp::heartbeat};
use capnp::data_list;
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::fmt;

/// The addresses of a heartbeat, the most useful first, without `/p2p/<id>`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Addrs(
    /// Of each the length in two bytes, and the address as on the wire.
    Box<[u8]>,
);

/// Bytes of a length.
const LEN: usize = 2;

impl Addrs {
    /// Those of a node's addresses that it tells, in their order, as far as they
    /// fit. Loopback addresses only if there is nothing else: they would have
    /// others look for it on their own machines.
    pub fn told(own: &[Multiaddr]) -> Self {
        let far = own.iter().any(|addr| !is_loopback(addr));
        let mut told = Vec::new();
        let (mut count, mut room) = (0, Heartbeat::MAX_ADDRS_LEN);
        for addr in own.iter().filter(|addr| !far || !is_loopback(addr)) {
            let fits = count < Heartbeat::MAX_ADDRS && addr.len() <= room && is_acceptable(addr);
            if fits {
                count += 1;
                room -= addr.len();
                put(&mut told, addr.as_ref());
            }
        }
        Self(told.into())
    }

    /// Reads a heartbeat's addresses. What is no address, or of a kind that is not
    /// known here, is left out.
    ///
    /// # Errors
    /// If there are too many, known or not, or they are too long; or if the list
    /// is malformed.
    pub(super) fn read(list: data_list::Reader<'_>) -> Result<Self, HeartbeatError> {
        if list.len() as usize > Heartbeat::MAX_ADDRS {
            return Err(HeartbeatError::AddrsTooMany);
        }
        let (mut kept, mut room) = (Vec::new(), Heartbeat::MAX_ADDRS_LEN);
        // All of them are looked at first: what is malformed is refused whatever
        // else is wrong with it.
        for addr in list {
            let addr = addr?;
            room = room.checked_sub(addr.len()).ok_or(HeartbeatError::AddrsTooLong)?;
            if Multiaddr::try_from(addr.to_vec()).is_ok_and(|addr| is_acceptable(&addr)) {
                put(&mut kept, addr);
            }
        }
        Ok(Self(kept.into()))
    }

    /// Writes them, if there are any.
    pub(in crate::cluster) fn write(&self, to: heartbeat::Builder<'_>) {
        let count = u32::try_from(self.bytes().count()).unwrap_or(u32::MAX);
        if count > 0 {
            let mut list = to.init_addrs(count);
            for (i, addr) in (0..).zip(self.bytes()) {
                list.set(i, addr);
            }
        }
    }

    /// The addresses as they are on the wire.
    pub(in crate::cluster) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<LEN>()?;
            let (addr, after) = after.split_at_checked(u16::from_le_bytes(*len).into())?;
            rest = after;
            Some(addr)
        })
    }

    /// The addresses.
    pub fn iter(&self) -> impl Iterator<Item = Multiaddr> {
        self.bytes().filter_map(|addr| Multiaddr::try_from(addr.to_vec()).ok())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of memory beside this itself.
    pub(in crate::cluster) fn weight(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Addrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn put(to: &mut Vec<u8>, addr: &[u8]) {
    // At most 512.
    let len = u16::try_from(addr.len()).unwrap_or(u16::MAX);
    to.extend(len.to_le_bytes());
    to.extend(addr);
}

/// Whether an address leads somewhere and leaves it to the record whose it is.
fn is_acceptable(addr: &Multiaddr) -> bool {
    !addr.is_empty() && !matches!(addr.iter().last(), Some(Protocol::P2p(_)))
}

fn is_loopback(addr: &Multiaddr) -> bool {
    ip(addr).is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<Multiaddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    fn told(list: &[&str]) -> Vec<String> {
        Addrs::told(&addrs(list)).iter().map(|addr| addr.to_string()).collect()
    }

    #[test]
    fn loopback_is_told_only_if_there_is_nothing_else() {
        let loopback = ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/udp/1/quic-v1"];
        assert_eq!(told(&loopback), loopback);
        let mixed = ["/ip4/10.0.0.1/tcp/1", loopback[0], "/dns/a.example/tcp/1", loopback[1]];
        assert_eq!(told(&mixed), [mixed[0], mixed[2]]);
        assert_eq!(told(&[]), Vec::<String>::new());
        assert!(Addrs::told(&[]).is_empty());
    }

    #[test]
    fn the_first_that_fit_are_told() {
        let many: Vec<String> = (1..20).map(|n| format!("/ip4/10.0.0.{n}/tcp/1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(told(&many), many[..Heartbeat::MAX_ADDRS]);

        let long = format!("/dns/{}/tcp/1", "x".repeat(300));
        let short = "/ip4/10.0.0.1/tcp/1";
        assert_eq!(told(&[&long, &long, short]), [&*long, short]);
        let all = Addrs::told(&addrs(&[&long, &long, short]));
        assert!(all.bytes().map(<[u8]>::len).sum::<usize>() <= Heartbeat::MAX_ADDRS_LEN);
    }

    #[test]
    fn an_address_with_an_id_is_not_told() {
        let id = libp2p::PeerId::random();
        assert_eq!(told(&[&format!("/ip4/10.0.0.1/tcp/1/p2p/{id}")]), Vec::<String>::new());
    }
}
