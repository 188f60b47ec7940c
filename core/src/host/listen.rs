//! Where the host listens.

use super::{
    again::Again,
    swarm::{BehaviourEvent, HostSwarm},
    wide::Wide,
};
use crate::{
    Error, ErrorKind, Result,
    error::reason,
    iface::{self, Rescan},
    scope::Scope,
    trouble::Troubles,
};
use futures::StreamExt;
use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol, swarm::SwarmEvent};
use socket2::{Domain, Socket, Type};
use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// How long a start waits for the addresses of its sockets, which the system
/// gives within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this time without another address, those that are known have to do: a
/// point-to-point interface reports another one than its own.
const QUIET: Duration = Duration::from_millis(100);
/// Events that a start keeps for later.
const MOST_EVENTS: usize = 1024;

/// Where a node listens that was told nothing: every interface that there is.
const EVERYWHERE: [&str; 4] =
    ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1"];

/// Where to listen: at these addresses, or everywhere if there are none. `quic` says
/// whether also by QUIC.
pub(super) fn chosen(addrs: &[Multiaddr], quic: bool) -> Vec<Multiaddr> {
    if !addrs.is_empty() {
        return addrs.to_vec();
    }
    let everywhere = EVERYWHERE.iter().map(|addr| addr.parse().expect("a valid address"));
    everywhere.filter(|addr| quic || !is_quic(addr)).collect()
}

/// Whether one of these addresses is of QUIC.
pub(super) fn has_quic(addrs: &[Multiaddr]) -> bool {
    addrs.iter().any(is_quic)
}

/// Whether an address is one of QUIC.
pub(crate) fn is_quic(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::Quic | Protocol::QuicV1))
}

/// A host that listens.
#[derive(Default)]
pub(super) struct Listening {
    /// What happened in the swarm meanwhile, and is still to be dealt with.
    pub(super) missed: Vec<SwarmEvent<BehaviourEvent>>,
    /// Where libp2p can't follow the interfaces by itself.
    pub(super) wide: Option<Wide>,
    /// Where it can.
    pub(super) again: Again,
}

/// A socket, and the addresses at which it has yet to say that it listens.
struct Waiting<'a> {
    addr: &'a Multiaddr,
    expected: HashSet<IpAddr>,
    heard: bool,
}

impl<'a> Waiting<'a> {
    fn new(addr: &'a Multiaddr, expected: HashSet<IpAddr>) -> Self {
        Self { addr, expected, heard: false }
    }
}

/// Listens at these addresses. Waits, for a
/// bounded time, until each has told where it can be reached; an unspecified one
/// may have no such place yet, and follows the interfaces.
///
/// # Errors
/// `Bind` if one cannot be bound; `Address` if it is of a kind that is not
/// supported; `Timeout` if no socket tells where it can be reached.
pub(super) async fn listen(
    swarm: &mut HostSwarm,
    addrs: &[Multiaddr],
    scope: &Scope,
    troubles: &Troubles,
    rescan: Rescan,
) -> Result<Listening> {
    let machine = iface::list().unwrap_or_default();
    let machine: HashSet<IpAddr> =
        machine.iter().flat_map(|iface| iface.addrs().collect::<Vec<_>>()).collect();
    let mut waiting: HashMap<ListenerId, Waiting<'_>> = HashMap::new();
    let (mut wide, mut skipped, mut again) = (None, None, Again::default());
    for addr in addrs {
        let unspecified = ip(addr).is_some_and(|ip| ip.is_unspecified());
        let expected = match ip(addr) {
            Some(ip) if unspecified => {
                let family = family(ip);
                if !iface::has_family(ip.is_ipv4()) {
                    tracing::info!(%addr, "not listened at: this machine has no {family}");
                    skipped = Some((addr, family));
                    continue;
                }
                let meant = |at: &&IpAddr| at.is_ipv4() == ip.is_ipv4();
                let expected: HashSet<IpAddr> = machine.iter().filter(meant).copied().collect();
                if expected.is_empty() {
                    tracing::info!(
                        %addr,
                        "this machine has no {family} address now: it is listened at as soon as there is one"
                    );
                }
                expected
            }
            ip => ip.into_iter().collect(),
        };
        ensure_free(addr).map_err(|e| bind_error(addr, &e))?;
        if unspecified && !iface::is_told() {
            let wide = wide.get_or_insert_with(|| Wide::new(scope, troubles, rescan));
            for (id, ip) in wide.listen(swarm, addr)? {
                waiting.insert(id, Waiting::new(addr, [ip].into()));
            }
            continue;
        }
        let id = swarm.listen_on(addr.clone()).map_err(|e| bind_error(addr, &e))?;
        again.opened(id, addr.clone());
        waiting.insert(id, Waiting::new(addr, expected));
    }
    let none = waiting.is_empty() && wide.is_none();
    if let (true, Some((addr, family))) = (none, skipped) {
        let problem = io::Error::other(format!("this machine has no {family}"));
        return Err(bind_error(addr, &problem));
    }
    if waiting.values().all(|socket| socket.expected.is_empty()) {
        tracing::warn!(
            "this machine has no address, not even of loopback: nobody can reach this node until \
             an interface is up (ip link set lo up; see `casm doctor`)"
        );
    }
    Ok(Listening { missed: settle(swarm, waiting).await?, wide, again })
}

/// Waits until every socket has told where it can be reached.
async fn settle(
    swarm: &mut HostSwarm,
    mut waiting: HashMap<ListenerId, Waiting<'_>>,
) -> Result<Vec<SwarmEvent<BehaviourEvent>>> {
    let end = Instant::now() + PATIENCE;
    let (mut missed, mut heard) = (Vec::new(), 0);
    while waiting.values().any(|socket| !socket.expected.is_empty()) && missed.len() < MOST_EVENTS {
        let silent = |socket: &Waiting<'_>| !socket.heard && !socket.expected.is_empty();
        let until = match waiting.values().any(silent) {
            true => end,
            false => end.min(Instant::now() + QUIET),
        };
        match timeout_at(until, swarm.select_next_some()).await {
            Ok(SwarmEvent::NewListenAddr { listener_id, address }) => {
                heard += 1;
                if let Some(socket) = waiting.get_mut(&listener_id) {
                    socket.heard = true;
                    if let Some(ip) = ip(&address) {
                        socket.expected.remove(&ip);
                    }
                }
            }
            Ok(SwarmEvent::ListenerClosed { listener_id, reason: Err(e), .. }) => {
                if let Some(socket) = waiting.remove(&listener_id) {
                    return Err(bind_error(socket.addr, &e));
                }
            }
            // Such as a peer that was quick to connect.
            Ok(event) => missed.push(event),
            Err(_) if until < end => break,
            Err(_) => {
                for socket in waiting.values().filter(|socket| silent(socket)) {
                    tracing::warn!(
                        addr = %socket.addr,
                        "the system has not told within 5 s where this node can be reached"
                    );
                }
                if heard == 0 {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        "no socket told within 5 s where it can be reached: name addresses of \
                         this machine to listen at, such as /ip4/127.0.0.1/tcp/0; see `casm doctor`",
                    ));
                }
                break;
            }
        }
    }
    Ok(missed)
}

fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Whether a listen address with a fixed port can be had now.
///
/// libp2p shares a TCP port (`SO_REUSEPORT`) with whoever has it already, which
/// would split the connections among two programs. So a fixed port is first
/// bound without sharing, and like libp2p without taking IPv4's port when it is
/// IPv6's that is meant.
///
/// # Errors
/// The system's.
pub fn ensure_free(addr: &Multiaddr) -> io::Result<()> {
    let Some(ip) = ip(addr) else { return Ok(()) };
    let (port, kind) = match addr.iter().nth(1) {
        Some(Protocol::Tcp(port)) => (port, Type::STREAM),
        Some(Protocol::Udp(port)) => (port, Type::DGRAM),
        _ => return Ok(()),
    };
    let at = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(at), kind, None)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Unix this lets a port be had whose last connections linger; elsewhere
    // it would be sharing.
    #[cfg(unix)]
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&at.into())?;
    if kind == Type::STREAM {
        socket.listen(1)?;
    }
    Ok(())
}

pub(super) fn bind_error(addr: &Multiaddr, error: &(dyn std::error::Error + 'static)) -> Error {
    let supported = addr.iter().any(|p| matches!(p, Protocol::Tcp(_) | Protocol::QuicV1));
    if !supported {
        return Error::new(
            ErrorKind::Address,
            format!(
                "cannot listen at {addr}: write an address such as /ip4/0.0.0.0/tcp/0 or /ip4/0.0.0.0/udp/0/quic-v1"
            ),
        );
    }
    Error::new(
        ErrorKind::Bind,
        format!(
            "cannot listen at {addr}: {}; choose a free port (0 takes any) and an address of this machine",
            reason(error)
        ),
    )
}
