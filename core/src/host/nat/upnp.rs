//! Ports that the network's gateway maps, by UPnP. libp2p asks one gateway, once, and
//! keeps to what it said; here it is looked for again when this node is elsewhere, and
//! now and then: it may come later, be another, or have another address.

use crate::{
    host::task::Task,
    prefix::{ip, is_public},
};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        Endpoint,
        transport::{ListenerId, PortUse},
    },
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, ExpiredListenAddr, FromSwarm, NetworkBehaviour,
        NewListenAddr, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
    upnp::{self, tokio::Behaviour},
};
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// From a change of addresses to a look at them: others may follow.
const SOON: Duration = Duration::from_secs(1);
/// From a search to the next. A gateway keeps a mapping for an hour.
const AGAIN: Duration = Duration::from_secs(20 * 60);
/// How long a mapping is believed in that is not made anew.
const LASTS: Duration = Duration::from_secs(50 * 60);
/// Addresses that are mapped. libp2p asks for ten at once.
const MOST: usize = 8;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Event {
    /// The gateway lets others in at an address.
    Mapped,
    /// It does so no longer.
    Expired,
    /// There is none.
    NoGateway,
    /// It has no public address itself.
    NotPublic,
}

impl Event {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Expired => "expired",
            Self::NoGateway => "no-gateway",
            Self::NotPublic => "not-public",
        }
    }
}

/// An address that is mapped.
struct Mapping {
    local: Multiaddr,
    outside: Multiaddr,
    /// When the gateway has said so last.
    said: Instant,
}

/// Has the gateway of this network let others in.
pub(in crate::host) struct Upnp {
    /// What asks the gateway.
    asks: Option<Behaviour>,
    /// Addresses in private networks.
    listens: Vec<(ListenerId, Multiaddr)>,
    mapped: Vec<Mapping>,
    tells: VecDeque<ToSwarm<Event, THandlerInEvent<Behaviour>>>,
    /// When to search, if there is something to map.
    due: Option<Pin<Box<Sleep>>>,
}

impl Upnp {
    pub(super) fn new() -> Self {
        Self {
            asks: None,
            listens: Vec::new(),
            mapped: Vec::new(),
            tells: VecDeque::new(),
            due: None,
        }
    }

    /// Where others are let in.
    pub(super) fn mapped(&self) -> Vec<Multiaddr> {
        let mut mapped: Vec<_> =
            self.mapped.iter().map(|mapping| mapping.outside.clone()).collect();
        mapped.sort_unstable();
        mapped.dedup();
        mapped
    }

    fn search_in(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        if self.due.as_ref().is_none_or(|due| due.deadline() > at) {
            self.due = Some(Box::pin(sleep(wait)));
        }
    }

    /// Searches the gateway of the network in which this node has this address.
    fn search(&mut self, own: Option<Ipv4Addr>) {
        self.asks = None;
        self.due = None;
        self.expire(|mapping| mapping.said.elapsed() >= LASTS);
        if self.listens.is_empty() {
            return;
        }
        self.search_in(AGAIN);
        let Some(own) = own else {
            self.expire(|_| true);
            return self.tells.push_back(ToSwarm::GenerateEvent(Event::NoGateway));
        };
        // A gateway maps what is in its network, and no longer what has left it.
        let is_there = |addr: &Multiaddr| ip(addr) == Some(IpAddr::V4(own));
        self.expire(|mapping| !is_there(&mapping.local));
        let mut there = self.listens.iter().filter(|(_, addr)| is_there(addr)).peekable();
        if there.peek().is_none() {
            return;
        }
        let mut asks = Behaviour::default();
        for &(listener_id, ref addr) in there.take(MOST) {
            asks.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
        }
        self.asks = Some(asks);
    }

    fn expire(&mut self, is_over: impl Fn(&Mapping) -> bool) {
        let (over, mapped) = std::mem::take(&mut self.mapped).into_iter().partition(is_over);
        self.mapped = mapped;
        for Mapping { outside, .. } in over {
            if self.mapped.iter().all(|mapping| mapping.outside != outside) {
                self.tells.push_back(ToSwarm::ExternalAddrExpired(outside));
            }
            self.tells.push_back(ToSwarm::GenerateEvent(Event::Expired));
        }
    }

    fn on_event(&mut self, event: upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { local_addr: local, external_addr: outside } => {
                if self.listens.iter().all(|(_, addr)| *addr != local) {
                    return;
                }
                if !is_anywhere(&outside) {
                    self.expire(|_| true);
                    self.tells.push_back(ToSwarm::GenerateEvent(Event::NotPublic));
                    return;
                }
                let said = Instant::now();
                let known = self.mapped.iter_mut().find(|mapping| mapping.local == local);
                if let Some(known) = known.filter(|known| known.outside == outside) {
                    known.said = said;
                    return;
                }
                self.expire(|mapping| mapping.local == local);
                self.tells.push_back(ToSwarm::ExternalAddrConfirmed(outside.clone()));
                self.tells.push_back(ToSwarm::GenerateEvent(Event::Mapped));
                self.mapped.push(Mapping { local, outside, said });
            }
            upnp::Event::ExpiredExternalAddr { local_addr, .. } => {
                self.expire(|mapping| mapping.local == local_addr);
            }
            upnp::Event::GatewayNotFound => {
                self.expire(|_| true);
                self.tells.push_back(ToSwarm::GenerateEvent(Event::NoGateway));
            }
            upnp::Event::NonRoutableGateway => {
                self.expire(|_| true);
                self.tells.push_back(ToSwarm::GenerateEvent(Event::NotPublic));
            }
        }
    }
}

impl NetworkBehaviour for Upnp {
    type ConnectionHandler = THandler<Behaviour>;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr })
                if can_be_mapped(addr) =>
            {
                self.listens.push((listener_id, addr.clone()));
                self.search_in(SOON);
            }
            FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr })
                if can_be_mapped(addr) =>
            {
                self.listens.retain(|(id, known)| *id != listener_id || known != addr);
                // The gateway forgets it by itself: to ask it would be to ask for what may
                // be mapped anew meanwhile.
                self.expire(|mapping| mapping.local == *addr);
                self.search_in(SOON);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(told) = self.tells.pop_front() {
                return Poll::Ready(told);
            }
            if self.due.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready()) {
                self.search(own_address());
                continue;
            }
            let Some(asks) = &mut self.asks else { return Poll::Pending };
            // What it says of external addresses comes as an event too.
            if let ToSwarm::GenerateEvent(event) = ready!(asks.poll(cx)) {
                self.on_event(event);
            }
        }
    }
}

impl Task {
    /// The network's gateway maps ports, or does not.
    pub(super) fn on_upnp(&mut self, event: Event) {
        let upnp = self.swarm.behaviour().nat.upnp.as_ref();
        self.nat.known.mapped = upnp.map(Upnp::mapped).unwrap_or_default();
        let mapped = &self.nat.known.mapped;
        tracing::info!(result = event.name(), ?mapped, "the network's gateway, by UPnP");
        self.nat.counts.upnp(event);
        self.nat.tell();
        self.book.changed();
    }
}

/// Whether a gateway can map it: one of IPv4 in a private network.
fn can_be_mapped(addr: &Multiaddr) -> bool {
    let mut parts = addr.iter();
    let private = matches!(parts.next(), Some(Protocol::Ip4(ip)) if ip.is_private());
    private && matches!(parts.next(), Some(Protocol::Tcp(_) | Protocol::Udp(_)))
}

/// Whether an address is of a host that is one, and that everybody can reach.
fn is_anywhere(addr: &Multiaddr) -> bool {
    let one = |ip: IpAddr| !ip.is_multicast() && !ip.is_unspecified();
    ip(addr).is_some_and(|ip| one(ip) && is_public(ip))
}

/// This node's address towards those who hear the search. Nothing is sent.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(("239.255.255.250", 1900)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if ip.is_private() => Some(ip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "/ip4/192.168.1.2/tcp/1";
    const OTHER: &str = "/ip4/192.168.1.2/udp/1/quic-v1";

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    /// One that listens at these, and asks nobody.
    fn upnp(listens: &[&str]) -> Upnp {
        let mut upnp = Upnp::new();
        for text in listens {
            let (listener_id, addr) = (ListenerId::next(), &addr(text));
            upnp.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
        }
        upnp
    }

    fn maps(upnp: &mut Upnp, local: &str, outside: &str) -> Vec<String> {
        let (local_addr, external_addr) = (addr(local), addr(outside));
        upnp.on_event(upnp::Event::NewExternalAddr { local_addr, external_addr });
        tells(upnp)
    }

    fn tells(upnp: &mut Upnp) -> Vec<String> {
        let text = |told: ToSwarm<Event, _>| match told {
            ToSwarm::ExternalAddrConfirmed(addr) => format!("+{addr}"),
            ToSwarm::ExternalAddrExpired(addr) => format!("-{addr}"),
            ToSwarm::GenerateEvent(event) => event.name().to_owned(),
            other => panic!("{other:?}"),
        };
        upnp.tells.drain(..).map(text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_gateway_says_counts_until_it_says_something_else() {
        let mut upnp = upnp(&[LOCAL, OTHER, "/ip4/8.8.8.8/tcp/1", "/ip6/fd00::1/tcp/1"]);
        assert_eq!(upnp.listens.len(), 2, "those that can be mapped");
        let (one, two, three) =
            ("/ip4/9.9.9.9/tcp/1", "/ip4/9.9.9.9/udp/1/quic-v1", "/ip4/9.9.9.8/tcp/1");
        assert_eq!(maps(&mut upnp, LOCAL, one), [format!("+{one}"), "mapped".into()]);
        assert_eq!(maps(&mut upnp, LOCAL, one), [""; 0]);
        assert_eq!(maps(&mut upnp, OTHER, two), [format!("+{two}"), "mapped".into()]);
        assert_eq!(maps(&mut upnp, "/ip4/192.168.1.3/tcp/1", three), [""; 0], "not ours");
        assert_eq!(
            maps(&mut upnp, LOCAL, three),
            [format!("-{one}"), "expired".into(), format!("+{three}"), "mapped".into()]
        );
        assert_eq!(upnp.mapped(), [addr(three), addr(two)]);
        upnp.on_event(upnp::Event::ExpiredExternalAddr {
            local_addr: addr(LOCAL),
            external_addr: addr(three),
        });
        assert_eq!(tells(&mut upnp), [format!("-{three}"), "expired".into()]);
        upnp.on_event(upnp::Event::GatewayNotFound);
        assert_eq!(tells(&mut upnp), [format!("-{two}"), "expired".into(), "no-gateway".into()]);
        assert!(upnp.mapped().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_not_everybody_reaches_are_not_told() {
        let mut upnp = upnp(&[LOCAL]);
        for outside in ["10.0.0.1", "100.64.0.1", "127.0.0.1", "224.0.0.1", "0.0.0.0"] {
            let told = maps(&mut upnp, LOCAL, &format!("/ip4/{outside}/tcp/1"));
            assert_eq!(told, ["not-public"], "{outside}");
        }
        assert!(upnp.mapped().is_empty());
        upnp.on_event(upnp::Event::NonRoutableGateway);
        assert_eq!(tells(&mut upnp), ["not-public"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_or_not_said_again_is_let_go_of() {
        let outside = "/ip4/9.9.9.9/tcp/1";
        let over = [format!("-{outside}"), "expired".into()];
        let mut upnp = upnp(&[LOCAL, OTHER]);
        maps(&mut upnp, LOCAL, outside);
        let (listener_id, local) = upnp.listens[0].clone();
        let gone = ExpiredListenAddr { listener_id, addr: &local };
        upnp.on_swarm_event(FromSwarm::ExpiredListenAddr(gone));
        assert_eq!(tells(&mut upnp), over);

        maps(&mut upnp, OTHER, outside);
        tokio::time::advance(LASTS).await;
        // Where it doesn't listen, nobody is asked.
        upnp.search(Some(Ipv4Addr::new(192, 168, 1, 3)));
        assert_eq!((tells(&mut upnp), upnp.asks.is_none()), (over.into(), true));
        upnp.search(None);
        assert_eq!(tells(&mut upnp), ["no-gateway"]);
        assert!(upnp.due.as_ref().is_some_and(|due| due.deadline() == Instant::now() + AGAIN));
        upnp.listens.clear();
        upnp.search(None);
        assert!(tells(&mut upnp).is_empty() && upnp.due.is_none(), "there is nothing to map");
    }
}
