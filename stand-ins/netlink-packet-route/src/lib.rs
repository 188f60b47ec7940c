//! The crate `netlink-packet-route`, as far as `if-watch` uses it: what the kernel
//! of Linux says of the addresses of interfaces, and not of routes, rules, links
//! and queues, which take a quarter of a megabyte. `[patch.crates-io]` in the
//! workspace puts it in that crate's place.

#![cfg(target_os = "linux")]

use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable,
};
use std::net::IpAddr;

/// An address of an interface: `rtnetlink(7)`, `struct ifaddrmsg`.
pub mod address {
    use std::net::IpAddr;

    /// What is said of an address.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct AddressMessage {
        /// What all have.
        pub header: AddressHeader,
        /// What some have.
        pub attributes: Vec<AddressAttribute>,
    }

    /// What is said of all addresses.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct AddressHeader {
        /// Bits of the network: no more than an address of the family has.
        pub prefix_len: u8,
    }

    /// What is said of some addresses.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum AddressAttribute {
        /// The address.
        Address(IpAddr),
    }
}

use address::{AddressAttribute, AddressHeader, AddressMessage};

/// A message of the kernel's, or to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteNetlinkMessage {
    /// There is an address, or it has changed.
    NewAddress(AddressMessage),
    /// There is one no more.
    DelAddress(AddressMessage),
    /// The question for all.
    GetAddress(AddressMessage),
    /// Of something else, with its type.
    Other(u16),
}

const NEW: u16 = 20;
const DELETED: u16 = 21;
const GET: u16 = 22;
/// Bytes of `struct ifaddrmsg`.
const HEADER: usize = 8;
/// Bytes of an attribute's length and type, by which its length is counted.
const ATTRIBUTE: usize = 4;
/// `IFA_ADDRESS`.
const ADDRESS: u16 = 1;
/// The bits of a type that are none of it.
const FLAGS: u16 = 0xc000;

impl NetlinkDeserializable for RouteNetlinkMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(match header.message_type {
            NEW => Self::NewAddress(decode(payload)?),
            DELETED => Self::DelAddress(decode(payload)?),
            other => Self::Other(other),
        })
    }
}

impl NetlinkSerializable for RouteNetlinkMessage {
    fn message_type(&self) -> u16 {
        match self {
            Self::NewAddress(_) => NEW,
            Self::DelAddress(_) => DELETED,
            Self::GetAddress(_) => GET,
            Self::Other(other) => *other,
        }
    }

    /// Only the question is sent: it is of all families, which is 0.
    fn buffer_len(&self) -> usize {
        HEADER
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

impl From<RouteNetlinkMessage> for NetlinkPayload<RouteNetlinkMessage> {
    fn from(message: RouteNetlinkMessage) -> Self {
        Self::InnerMessage(message)
    }
}

fn decode(payload: &[u8]) -> Result<AddressMessage, DecodeError> {
    let too_short = || DecodeError::from("a message of an address is cut short");
    let (header, mut rest) = payload.split_at_checked(HEADER).ok_or_else(too_short)?;
    let prefix_len = header[1];
    let mut attributes = Vec::new();
    while let [a, b, c, d, ..] = *rest {
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = rest.get(ATTRIBUTE..len).ok_or_else(too_short)?;
        if u16::from_ne_bytes([c, d]) & !FLAGS == ADDRESS
            && let Some(ip) = address(value)
            && prefix_len <= if ip.is_ipv4() { 32 } else { 128 }
        {
            attributes.push(AddressAttribute::Address(ip));
        }
        rest = rest.get(len.next_multiple_of(ATTRIBUTE)..).unwrap_or_default();
    }
    Ok(AddressMessage { header: AddressHeader { prefix_len }, attributes })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u16, payload: &[u8]) -> Result<RouteNetlinkMessage, DecodeError> {
        let mut header = NetlinkHeader::default();
        header.message_type = kind;
        RouteNetlinkMessage::deserialize(&header, payload)
    }

    /// As the kernel writes them: each with its length before it, and filled up.
    fn payload(prefix_len: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![2, prefix_len, 0, 0, 1, 0, 0, 0];
        for (kind, value) in attributes {
            bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn addresses_are_read_and_nothing_else() {
        let v6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        for (prefix_len, bytes, expected) in [
            (24, &[10, 0, 0, 7][..], Some("10.0.0.7")),
            (64, &v6, Some("fd00::1")),
            (33, &[10, 0, 0, 7], None),
            (129, &v6, None),
            (24, &[10, 0, 0], None),
        ] {
            let attributes = [(3, &b"eth0\0"[..]), (2, &[10, 0, 0, 8]), (1, bytes), (8, &[0; 4])];
            let payload = payload(prefix_len, &attributes);
            let addresses = expected.map(|ip| AddressAttribute::Address(ip.parse().unwrap()));
            let header = AddressHeader { prefix_len };
            let message = AddressMessage { header, attributes: addresses.into_iter().collect() };
            let new = RouteNetlinkMessage::NewAddress(message.clone());
            assert_eq!(read(NEW, &payload).unwrap(), new);
            let deleted = RouteNetlinkMessage::DelAddress(message);
            assert_eq!(read(DELETED, &payload).unwrap(), deleted);
            assert_eq!(read(16, &payload).unwrap(), RouteNetlinkMessage::Other(16));
        }
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_refused() {
        let whole = payload(24, &[(1, &[10, 0, 0, 7]), (3, b"eth0\0")]);
        for len in 0..whole.len() {
            // Whole attributes, and up to three bytes beyond them, are fine.
            let cut = read(NEW, &whole[..len]);
            assert_eq!(cut.is_ok(), matches!(len, 8..=11 | 16..=19 | 25..), "{len}: {cut:?}");
        }
        for len in [0_u16, 3, 0xffff] {
            let mut lying = whole.clone();
            lying[8..10].copy_from_slice(&len.to_ne_bytes());
            read(NEW, &lying).unwrap_err();
        }
    }
}
