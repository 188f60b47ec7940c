//! The crate `rtnetlink`, as far as `if-watch` uses it: the addresses of interfaces,
//! asked of Linux. `[patch.crates-io]` in the workspace puts it in that crate's
//! place.

#![cfg(target_os = "linux")]

use futures::{
    Stream, StreamExt as _,
    channel::mpsc::UnboundedReceiver,
    future::ready,
    stream::{self, BoxStream},
};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{RouteNetlinkMessage, address::AddressMessage};
use netlink_proto::{Connection, ConnectionHandle};
use netlink_sys::{AsyncSocket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;

/// Groups that tell of changes: `rtnetlink(7)`.
pub mod constants {
    /// Addresses of IPv4.
    pub const RTMGRP_IPV4_IFADDR: u32 = 0x10;
    /// Addresses of IPv6.
    pub const RTMGRP_IPV6_IFADDR: u32 = 0x100;
}

/// A connection, which is to be polled; how to ask by it; and what comes unasked.
pub type New<S> = (
    Connection<RouteNetlinkMessage, S>,
    Handle,
    UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
);

/// A connection to the kernel.
///
/// # Errors
/// If this process may have none.
pub fn new_connection_with_socket<S: AsyncSocket>() -> io::Result<New<S>> {
    let (connection, handle, messages) = netlink_proto::new_connection_with_socket(NETLINK_ROUTE)?;
    Ok((connection, Handle(handle), messages))
}

/// How to ask.
#[derive(Clone, Debug)]
pub struct Handle(ConnectionHandle<RouteNetlinkMessage>);

impl Handle {
    /// About addresses.
    pub fn address(&self) -> Addresses {
        Addresses(self.0.clone())
    }
}

/// The question for addresses.
#[derive(Clone, Debug)]
pub struct Addresses(ConnectionHandle<RouteNetlinkMessage>);

impl Addresses {
    /// For all of them.
    pub fn get(self) -> Self {
        self
    }

    /// Asks.
    pub fn execute(self) -> impl Stream<Item = io::Result<AddressMessage>> + Send + 'static {
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let question = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
        let answers: BoxStream<'static, _> = match self.0.request(question, SocketAddr::new(0, 0)) {
            Ok(answers) => answers.filter_map(|answer| ready(address(answer))).boxed(),
            Err(_) => stream::iter([Err(io::ErrorKind::BrokenPipe.into())]).boxed(),
        };
        answers
    }
}

/// The address in an answer.
fn address(answer: NetlinkMessage<RouteNetlinkMessage>) -> Option<io::Result<AddressMessage>> {
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => Some(Ok(address)),
        NetlinkPayload::Error(error) if error.code.is_some() => Some(Err(error.to_io())),
        _ => None,
    }
}
