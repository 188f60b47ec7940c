//! UDP sockets: unicast ports, taken exclusively, and multicast groups, which
//! any number of nodes on a machine share.

use super::packet::MAX_LEN;
use crate::{Error, ErrorKind, iface::Iface};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};
use tokio::net::UdpSocket;

/// Room for bursts: a group of thousands may answer within milliseconds.
const RECEIVE_BUFFER: usize = 1 << 20;

fn open(ip: IpAddr) -> io::Result<Socket> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As large as the system allows.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Takes a unicast address, which no other program may have.
pub(crate) fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(at.ip())?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket from which the given host can be asked.
pub(crate) fn asking(target: IpAddr) -> io::Result<UdpSocket> {
    let ip: IpAddr = match target {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    bind(SocketAddr::new(ip, 0))
}

/// Joins a multicast group on one interface. What the socket receives was sent
/// to the group, since it is bound to the group's address; what it sends goes
/// out on that interface and no farther than its network.
pub(crate) fn join(group: SocketAddr, iface: &Iface) -> io::Result<UdpSocket> {
    let socket = open(group.ip())?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    match group.ip() {
        IpAddr::V4(ip) => {
            let local = iface.v4.first().copied().ok_or(io::ErrorKind::AddrNotAvailable)?;
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v4(false)?;
            let index = match iface.index {
                0 => InterfaceIndexOrAddress::Address(local),
                index => InterfaceIndexOrAddress::Index(index),
            };
            socket.join_multicast_v4_n(&ip, &index)?;
            socket.set_multicast_if_v4(&local)?;
            socket.set_multicast_loop_v4(true)?;
            socket.set_multicast_ttl_v4(1)?;
        }
        IpAddr::V6(ip) => {
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&ip, iface.index)?;
            socket.set_multicast_if_v6(iface.index)?;
            socket.set_multicast_loop_v6(true)?;
            socket.set_multicast_hops_v6(1)?;
        }
    }
    socket.bind(&group_on(group, iface))?;
    UdpSocket::from_std(socket.into())
}

/// The address of a group on an interface.
fn group_on(group: SocketAddr, iface: &Iface) -> SockAddr {
    match group.ip() {
        // Windows cannot bind a group; there the membership must do.
        IpAddr::V4(_) if cfg!(windows) => {
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), group.port()).into()
        }
        IpAddr::V4(_) => group.into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, group.port(), 0, iface.index).into(),
    }
}

/// Where to send what is for a group on an interface.
pub(crate) fn destination(group: SocketAddr, iface: &Iface) -> SocketAddr {
    match group {
        SocketAddr::V4(_) => group,
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, iface.index).into(),
    }
}

/// The error for an address that cannot be had.
pub(crate) fn bind_error(what: impl std::fmt::Display, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has it: stop that, or serve another port",
        io::ErrorKind::AddrNotAvailable => {
            "it is not an address of this machine: serve one that is"
        }
        io::ErrorKind::PermissionDenied => "the system forbids it: serve a port above 1023",
        _ => "see `casm doctor`",
    };
    Error::new(ErrorKind::Bind, format!("cannot receive at {what}: {error}: {hint}"))
        .with_source(error)
}

/// Room for one datagram, and for noticing that it is too long.
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; MAX_LEN + 1]
}

/// Receives one datagram. An error of the network, such as a port that some
/// earlier datagram didn't reach, never ends a service: it is waited out.
pub(crate) async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(buffer).await {
            Ok(received) => return received,
            Err(error) => {
                tracing::debug!(%error, "receiving a boot datagram");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Sends one datagram, if the network takes it. False if not.
pub(crate) async fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> bool {
    try_send(socket, bytes, to).await.is_ok()
}

/// The same, with the reason if not.
pub(crate) async fn try_send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
    let sent = socket.send_to(bytes, to).await;
    sent.map(drop).inspect_err(|error| tracing::debug!(%error, %to, "sending a boot datagram"))
}
