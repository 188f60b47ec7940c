//! A host that pauses: its swarm goes, with every socket, and what others hold of
//! it stays: topics, streams that are accepted, the record. And one that was held
//! up, or has other addresses than before: who was connected is dialled again.

use super::{
    back,
    listen::{Listening, listen},
    neighbours::Sign,
    ping,
    swarm::HostSwarm,
    task::{Task, Waiting},
};
use crate::{
    Error, ErrorKind, Event, PeerInfo, Result, error::reason, life::Phase, prefix::ip,
    scope::Scope, spare::Kind,
};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::time::Duration;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

/// How long a host that goes waits for its connections to close.
const DISCONNECT: Duration = Duration::from_millis(300);
/// For how long a port of this host that is still being let go of is tried.
const TAKEN: Duration = Duration::from_millis(500);

/// What is to be done between two steps.
pub(super) enum Order {
    Pause(oneshot::Sender<Result<()>>),
    Resume(oneshot::Sender<Result<()>>),
}

impl Task {
    pub(super) async fn carry_out(&mut self, order: Order, scope: &Scope) {
        // Who asked may have gone meanwhile.
        let _ = match order {
            Order::Pause(reply) => reply.send(self.pause().await),
            Order::Resume(reply) => reply.send(self.resume(scope).await),
        };
    }

    /// Sends what services have still to say (goodbyes above all), and goes.
    async fn pause(&mut self) -> Result<()> {
        if self.life.is_paused() {
            return Ok(());
        }
        let next = self.recipe.build()?;
        let now = Instant::now();
        for peer in self.connected.ids() {
            let (_, dialled) = self.connected.with_peer(&peer);
            self.back.lost(peer, dialled, now);
        }
        self.say_all().await;
        self.disconnect_all().await;
        self.ports = with_ports(&self.listen, self.swarm.listeners());
        self.replace(next);
        self.life.set(Phase::Paused);
        Ok(())
    }

    /// Goes on while services have something to say, within bounds.
    pub(super) async fn say_all(&mut self) {
        if self.swarm.network_info().num_peers() == 0 {
            return;
        }
        let leaving = self.leaving.clone();
        tokio::select! {
            () = leaving.all_said() => {}
            () = async { loop { self.step().await } } => {}
        }
    }

    /// Closes the connections, so that peers notice at once.
    pub(super) async fn disconnect_all(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let _ = timeout(DISCONNECT, async {
            while self.swarm.network_info().num_peers() > 0 {
                let event = self.swarm.select_next_some().await;
                self.on_swarm(event);
            }
        })
        .await;
    }

    /// Puts a swarm that doesn't listen in the place of the last one.
    fn replace(&mut self, next: HostSwarm) {
        self.swarm = next;
        self.listening = Listening::default();
        for (_, waiting) in self.dials.drain() {
            waiting.end(&Err(Error::paused()));
        }
        // Those that did not close in time.
        for peer in self.connected.clear() {
            self.metrics.connections.dec();
            self.instances.disconnected(&peer);
            self.neighbours.tell(peer, Sign::Closed);
            self.events.emit(Event::Disconnected { peer });
        }
        self.again.clear();
        self.nat.replaced();
        self.book.is_at_relays(&[]);
        self.metrics.gossip_links.set(0);
        self.recipe.streams.clear();
        self.recipe.round_trips.clear();
        self.topics.join_again(&mut self.swarm.behaviour_mut().gossip);
    }

    /// Listens, where there may be other addresses by now, and dials who was
    /// connected. Ports that the system had chosen are kept if they are free: who
    /// knows them finds this host there. If it can't listen, it stays paused.
    async fn resume(&mut self, scope: &Scope) -> Result<()> {
        if self.life.is_up() {
            return Ok(());
        }
        let until = Instant::now() + TAKEN;
        let mut addrs = self.ports.clone();
        let mut listening = loop {
            let (troubles, rescan) = (&self.metrics.troubles, self.profile.rescan);
            match listen(&mut self.swarm, &addrs, scope, troubles, rescan).await {
                Ok(listening) => break listening,
                Err(error) => {
                    // Without the sockets that it has.
                    let next = self.recipe.build()?;
                    self.replace(next);
                    if error.kind() == ErrorKind::Bind && Instant::now() < until {
                        sleep(Duration::from_millis(50)).await;
                    } else if addrs != self.listen {
                        addrs.clone_from(&self.listen);
                    } else {
                        return Err(error);
                    }
                }
            }
        };
        let missed = std::mem::take(&mut listening.missed);
        self.listening = listening;
        self.nat_moved(None);
        self.book.resumed(&self.swarm);
        self.life.set(Phase::Up);
        missed.into_iter().for_each(|event| self.on_swarm(event));
        self.back.stir(Instant::now());
        Ok(())
    }

    /// The node was held up: those at the other ends may have given their
    /// connections up, so that new ones are made beside them.
    pub(super) fn woke(&mut self) {
        self.doubt_all();
        self.back.stir(Instant::now());
    }

    /// An address is gone, or one has come. Connections over one that is gone look
    /// alive for long.
    pub(super) fn moved(&mut self, gone: Option<&Multiaddr>) {
        let is_loopback = |addr: &Multiaddr| match addr.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.is_loopback(),
            Some(Protocol::Ip6(ip)) => ip.is_loopback(),
            _ => true,
        };
        let now = Instant::now();
        if gone.is_some_and(|addr| !is_loopback(addr)) {
            self.gone = Some(now);
        }
        // When another one comes soon after, also what was made in between: its last
        // packets may have gone out from the address that is no more.
        if self.gone.is_some_and(|at| now.saturating_duration_since(at) < back::STIRRED) {
            self.doubt_all();
        } else {
            self.swarm.behaviour_mut().ping.check();
            self.connected.ids().iter().for_each(|peer| self.back.here(peer));
        }
        self.back.stir(now);
    }

    /// Counts all that are connected as lost, so that they are dialled beside
    /// connections that may be dead.
    fn doubt_all(&mut self) {
        self.swarm.behaviour_mut().ping.check();
        let now = Instant::now();
        let mut connected = self.connected.ids();
        connected.truncate(self.profile.wanted);
        for peer in connected {
            let (_, dialled) = self.connected.with_peer(&peer);
            self.back.lost(peer, dialled, now);
        }
    }

    /// Something was noticed by pings.
    pub(super) fn on_ping(&mut self, event: ping::Event) {
        match event {
            ping::Event::Failed(failed) => self.gave_up(failed),
            ping::Event::Late(peer) => self.neighbours.tell(peer, Sign::Late),
            ping::Event::Silent(peer) => self.neighbours.tell(peer, Sign::Silent),
            ping::Event::Answers(peer) => self.neighbours.tell(peer, Sign::Answers),
        }
    }

    /// Dials a peer beside its connections, to see whether it answers.
    pub(super) fn try_peer(&mut self, info: PeerInfo, reply: oneshot::Sender<Result<()>>) {
        let peer = info.id;
        if !self.swarm.is_connected(&peer) {
            return self.dial(info, false, reply);
        }
        let (_, mut addrs) = self.connected.with_peer(&peer);
        let heard = self.heard.of(&peer).iter().chain(&info.addrs);
        let heard = heard.filter(|addr| !addrs.contains(addr) && ip(addr).is_some());
        let heard = heard.filter(|addr| self.recipe.dials(addr)).cloned().collect();
        let chosen = self.heard.choose(&peer, heard);
        addrs.extend(chosen.addrs.iter().cloned());
        let options = DialOpts::peer_id(peer)
            .addresses(addrs)
            .condition(PeerCondition::Always)
            .allocate_new_port()
            .build();
        let connection = options.connection_id();
        // Nobody is to use it.
        self.recipe.spare.insert(connection, Kind::Passing);
        match self.swarm.dial(options) {
            Ok(()) => {
                self.heard.dialled(connection, peer, chosen);
                self.dials.insert(connection, Waiting::Try(reply));
            }
            Err(error) => {
                self.recipe.spare.remove(connection);
                let message = format!("{peer} cannot be reached: {}", reason(&error));
                let _ = reply.send(Err(Error::new(ErrorKind::Unreachable, message)));
            }
        }
    }

    /// A connection was given up because its peer is silent: it may come back.
    fn gave_up(&mut self, failed: ping::Failed) {
        let ping::Failed { peer, connection, why } = failed;
        self.nat.ended(peer, connection, false);
        tracing::debug!(%peer, "{why}: closing the connection");
        self.metrics.connections_given_up.get_or_create(&[("reason", why.name())]).inc();
        let (_, dialled) = self.connected.with_peer(&peer);
        self.back.lost(peer, dialled, Instant::now());
    }

    /// Dials who is to be connected again.
    pub(super) fn dial_back(&mut self) {
        let now = Instant::now();
        for (peer, mut given) in self.back.take(self.profile.wanted, now) {
            let heard = self.heard.of(&peer).iter();
            let heard = heard.filter(|addr| !given.contains(addr) && self.recipe.dials(addr));
            let mut heard = heard.cloned().collect();
            self.nat.prefer_lasting(peer, [&mut given, &mut heard]);
            let chosen = self.heard.choose(&peer, heard);
            let addrs = [given, chosen.addrs.clone()].concat();
            if addrs.is_empty() {
                self.back.here(&peer);
                continue;
            }
            // From another port: the old connection may have that of the listener. But a
            // relay has to see that one, from which this node punches. (TCP takes another
            // where it can't.) And beside dials that are under way: those may have been
            // begun in the network of before, and hang.
            let options = DialOpts::peer_id(peer).addresses(addrs).condition(PeerCondition::Always);
            let is_relay = self.nat.is_relay(&peer);
            let options = if is_relay { options } else { options.allocate_new_port() }.build();
            let connection = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => {
                    self.heard.dialled(connection, peer, chosen);
                    let (older, _) = self.connected.with_peer(&peer);
                    self.again.insert(connection, (now, older));
                }
                Err(error) => tracing::debug!(%peer, %error, "a peer is not dialled again"),
            }
        }
    }

    /// A connection was made: it replaces those that were in doubt when it was
    /// dialled. (Not those that came since: the peer may dial at the same time.) If
    /// that was before the last change, it is in doubt as well.
    pub(super) fn is_back(&mut self, peer: &PeerId, connection: ConnectionId) {
        let Some((begun, older)) = self.again.remove(&connection) else {
            return self.back.here(peer);
        };
        if self.back.is_of_before(begun) {
            return;
        }
        self.back.here(peer);
        let spare = !self.back.reached(*peer, begun, Instant::now());
        for connection in if spare { vec![connection] } else { older } {
            self.swarm.close_connection(connection);
        }
    }
}

/// The addresses to listen at, with the ports that the system had chosen for those
/// that leave it to choose.
fn with_ports<'a>(
    listen: &[Multiaddr],
    listeners: impl Iterator<Item = &'a Multiaddr>,
) -> Vec<Multiaddr> {
    /// Of which family and kind it is, but for the port.
    fn port(addr: &Multiaddr) -> Option<(bool, bool, bool, u16)> {
        let mut parts = addr.iter();
        let v4 = match parts.next()? {
            Protocol::Ip4(_) => true,
            Protocol::Ip6(_) => false,
            _ => return None,
        };
        let (tcp, port) = match parts.next()? {
            Protocol::Tcp(port) => (true, port),
            Protocol::Udp(port) => (false, port),
            _ => return None,
        };
        Some((v4, tcp, parts.next().is_none(), port))
    }
    let mut found: Vec<_> = listeners.filter_map(port).collect();
    found.sort_unstable();
    found.dedup();
    let mut chosen = |addr: &Multiaddr| {
        let (v4, tcp, plain, 0) = port(addr)? else { return None };
        let at = found.iter().position(|(a, b, c, _)| (*a, *b, *c) == (v4, tcp, plain))?;
        // Each but once.
        let (.., port) = found.remove(at);
        addr.replace(1, |_| Some(if tcp { Protocol::Tcp(port) } else { Protocol::Udp(port) }))
    };
    listen.iter().map(|addr| chosen(addr).unwrap_or_else(|| addr.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_the_system_chose_are_kept_each_for_its_like() {
        let addrs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let listen: Vec<Multiaddr> = addrs(&[
            "/ip4/0.0.0.0/tcp/0",
            "/ip4/0.0.0.0/udp/0/quic-v1",
            "/ip6/::/tcp/0",
            "/ip4/127.0.0.1/tcp/7000",
            "/ip4/0.0.0.0/tcp/0",
            "/ip4/0.0.0.0/tcp/0",
        ]);
        let listeners: Vec<Multiaddr> = addrs(&[
            "/ip4/10.0.0.1/tcp/4001",
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/10.0.0.1/udp/4002/quic-v1",
            "/ip6/::1/tcp/4003",
            "/ip4/127.0.0.1/tcp/4004",
        ]);
        let kept: Vec<Multiaddr> = addrs(&[
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/0.0.0.0/udp/4002/quic-v1",
            "/ip6/::/tcp/4003",
            "/ip4/127.0.0.1/tcp/7000",
            "/ip4/0.0.0.0/tcp/4004",
            "/ip4/0.0.0.0/tcp/0",
        ]);
        assert_eq!(with_ports(&listen, listeners.iter()), kept);
        assert_eq!(with_ports(&listen, [].iter()), listen);
    }
}
