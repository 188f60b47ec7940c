//! The task that owns the swarm.

use super::{
    Command, Connected,
    addrs::AddressBook,
    back::Back,
    heard::Heard,
    instances::{self, Instances, Other},
    leaving::Leaving,
    listen::Listening,
    nat::Nat,
    neighbours::{Neighbours, Sign},
    pause::Order,
    swarm::{BehaviourEvent, HostSwarm, Recipe},
    topics::{Asked, Topics},
    unreached::{no_quic, unreachable},
};
use crate::{
    Error, ErrorKind, PeerInfo, Result,
    config::Power,
    dials,
    error::reason,
    event::{Event, EventBus},
    life::Life,
    metrics::{ByLabel, Metrics},
    power::Profile,
    prefix::ip,
    pubsub::{TopicCommand, Verdict},
    scope::Scope,
};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, identify,
    swarm::{
        ConnectionId, DialError, ListenError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use std::{collections::HashMap, future::poll_fn};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::DropGuard;

/// Who waits for a dial.
pub(super) enum Waiting {
    Peer(ToPeer),
    Addr(oneshot::Sender<Result<PeerId>>),
    /// Whether a peer answers, beside other connections with it.
    Try(oneshot::Sender<Result<()>>),
}

/// A dial of a peer, for all who want it at these addresses.
pub(super) struct ToPeer {
    peer: PeerId,
    addrs: Vec<Multiaddr>,
    replies: Vec<oneshot::Sender<Result<()>>>,
}

impl Waiting {
    /// Tells how it ended. Who asked may have gone meanwhile.
    pub(super) fn end(self, reached: &Result<PeerId>) {
        match self {
            Self::Peer(ToPeer { replies, .. }) => replies.into_iter().for_each(|reply| {
                drop(reply.send(reached.as_ref().map(drop).map_err(Clone::clone)))
            }),
            Self::Addr(reply) => drop(reply.send(reached.clone())),
            Self::Try(reply) => drop(reply.send(reached.as_ref().map(drop).map_err(Clone::clone))),
        }
    }
}

pub(super) struct Task {
    /// While the host is paused, one without a socket, which nobody asks.
    pub(super) swarm: HostSwarm,
    pub(super) recipe: Recipe,
    /// Where to listen, and where with the ports of before a pause.
    pub(super) listen: Vec<Multiaddr>,
    pub(super) ports: Vec<Multiaddr>,
    pub(super) profile: Profile,
    pub(super) life: Life,
    wakings: watch::Receiver<u64>,
    /// Told when others are taken than before.
    taken: watch::Receiver<u64>,
    order: Option<Order>,
    commands: mpsc::Receiver<Command>,
    pub(super) topics: Topics,
    pub(super) dials: HashMap<ConnectionId, Waiting>,
    pub(super) instances: Instances,
    started: Instant,
    pub(super) book: AddressBook,
    pub(super) nat: Nat,
    pub(super) connected: Connected,
    pub(super) neighbours: Neighbours,
    pub(super) leaving: Leaving,
    pub(super) heard: Heard,
    /// Who is to be connected again, and the dials for that, with when each
    /// was begun and the connections that it is to replace.
    pub(super) back: Back,
    pub(super) again: HashMap<ConnectionId, (Instant, Vec<ConnectionId>)>,
    /// When an address was gone last.
    pub(super) gone: Option<Instant>,
    pub(super) events: EventBus,
    pub(super) metrics: Metrics,
    /// Connections that were made.
    made: ByLabel,
    pub(super) listening: Listening,
}

/// What a task is made of.
pub(super) struct Parts {
    pub(super) swarm: HostSwarm,
    pub(super) recipe: Recipe,
    pub(super) listen: Vec<Multiaddr>,
    pub(super) profile: Profile,
    pub(super) life: Life,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) book: AddressBook,
    pub(super) nat: Nat,
    pub(super) connected: Connected,
    pub(super) neighbours: Neighbours,
    pub(super) leaving: Leaving,
    pub(super) events: EventBus,
}

impl Task {
    pub(super) fn new(parts: Parts) -> Box<Self> {
        let metrics = parts.recipe.metrics.clone();
        let (made, wakings) = (ByLabel::default(), parts.life.wakings());
        let who = parts.recipe.gate.who().clone();
        metrics.register("connections_made", "Connections, by direction", made.clone());
        Box::new(Self {
            swarm: parts.swarm,
            recipe: parts.recipe,
            ports: parts.listen.clone(),
            listen: parts.listen,
            profile: parts.profile,
            life: parts.life,
            wakings,
            order: None,
            commands: parts.commands,
            taken: who.changes(),
            topics: Topics::new(who, metrics.clone()),
            dials: HashMap::new(),
            instances: Instances::default(),
            started: Instant::now(),
            book: parts.book,
            nat: parts.nat,
            connected: parts.connected,
            neighbours: parts.neighbours,
            leaving: parts.leaving,
            heard: Heard::new(metrics.dials_skipped.clone()),
            back: Back::default(),
            gone: None,
            again: HashMap::new(),
            events: parts.events,
            metrics,
            made,
            listening: Listening::default(),
        })
    }

    /// Runs until the scope ends.
    pub(super) async fn run(mut self: Box<Self>, scope: &Scope, listening: Listening) {
        self.listening = listening;
        let over = self.leaving.ends();
        self.book.announce();
        self.nat_moved(None);
        std::mem::take(&mut self.listening.missed)
            .into_iter()
            .for_each(|event| self.on_swarm(event));
        loop {
            tokio::select! {
                () = scope.cancelled() => break,
                () = self.step() => {}
            }
            if let Some(order) = self.order.take() {
                tokio::select! {
                    () = scope.cancelled() => break,
                    () = self.carry_out(order, scope) => {}
                }
            }
        }
        self.finish(over).await;
    }

    pub(super) async fn step(&mut self) {
        let up = !self.life.is_paused();
        let back = self.back.due();
        let topics = &mut self.topics;
        let wide = &mut self.listening.wide;
        let interfaces = async {
            match wide {
                Some(wide) => {
                    wide.changed().await;
                    wide
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.swarm.select_next_some(), if up => self.on_swarm(event),
            wide = interfaces => wide.follow(&mut self.swarm, &self.metrics.troubles),
            () = self.listening.again.due() => {
                self.listening.again.listen(&mut self.swarm, &self.metrics.troubles);
            }
            () = self.book.due(), if up => self.book.refresh(&self.swarm),
            () = self.nat.due(), if up => self.look(),
            () = sleep_until(back.unwrap_or(self.started)), if up && back.is_some() => {
                self.dial_back();
            }
            Ok(()) = self.wakings.changed(), if up => self.woke(),
            Ok(()) = self.taken.changed() => self.put_out(),
            Some(command) = self.commands.recv() => self.on_command(command),
            () = poll_fn(|cx| topics.poll_asked(cx)) => {
                // Together with what else is there: the swarm is polled after each step.
                while let Some((topic, asked)) = self.topics.next_asked() {
                    let behaviour = self.swarm.behaviour_mut();
                    if let Asked::Command(TopicCommand::Report { ticket, verdict }) = &asked
                        && *verdict == Verdict::Accept
                        && self.topics.credits(&topic)
                    {
                        behaviour.slots.brought(&ticket.from);
                    }
                    let paused = self.life.is_paused();
                    self.topics.on_asked(&mut behaviour.gossip, topic, asked, paused);
                }
            }
        }
    }

    /// Sends what is queued and what services have still to say, and closes the
    /// connections.
    async fn finish(mut self: Box<Self>, over: DropGuard) {
        self.commands.close();
        if self.swarm.network_info().num_peers() == 0 {
            return;
        }
        self.say_all().await;
        drop(over);
        self.disconnect_all().await;
    }

    /// Closes the connections of those who are no longer taken. (The swarm knows of some
    /// of which it has not told yet.)
    fn put_out(&mut self) {
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let Err(stranger) = self.recipe.gate.who().proven(&peer) else { continue };
            tracing::info!(%peer, reason = stranger.label(), "closing the connections of a peer");
            self.recipe.gate.put_out();
            self.back.here(&peer);
            // An error means that it is disconnected.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Pause { reply } => self.order = Some(Order::Pause(reply)),
            Command::Resume { reply } => self.order = Some(Order::Resume(reply)),
            Command::Dial { reply, .. } if self.life.is_paused() => {
                let _ = reply.send(Err(Error::paused()));
            }
            Command::DialAddr { reply, .. } if self.life.is_paused() => {
                let _ = reply.send(Err(Error::paused()));
            }
            Command::Try { reply, .. } if self.life.is_paused() => {
                let _ = reply.send(Err(Error::paused()));
            }
            Command::Try { info, reply } => self.try_peer(info, reply),
            Command::Ask => self.swarm.behaviour_mut().ping.ask(),
            Command::Dial { info, configured, reply } => self.dial(info, configured, reply),
            Command::DialAddr { addr, reply } => self.dial_addr(addr, reply),
            Command::Disconnect { peer } => {
                self.back.here(&peer);
                // An error means that it is disconnected.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            #[cfg(test)]
            Command::LoseSockets => {
                for id in self.listening.again.open() {
                    assert!(self.swarm.remove_listener(id));
                }
            }
            #[cfg(test)]
            Command::TryAgain => self.try_again(),
            Command::Exchanged { peer } => self.swarm.behaviour_mut().slots.exchanged(&peer),
            Command::Join { topic, ends } => {
                self.topics.join(&mut self.swarm.behaviour_mut().gossip, topic, ends);
            }
        }
    }

    pub(super) fn dial(
        &mut self,
        info: PeerInfo,
        configured: bool,
        reply: oneshot::Sender<Result<()>>,
    ) {
        // A connection with one that isn't taken may be about to close.
        if let Err(error) = self.recipe.gate.dials(&info.id) {
            let _ = reply.send(Err(error));
            return;
        }
        if self.swarm.is_connected(&info.id) {
            let _ = reply.send(Ok(()));
            return;
        }
        let (mut given, mut heard) = match configured {
            true => (info.addrs, Vec::new()),
            false => (Vec::new(), info.addrs),
        };
        let recipe = &self.recipe;
        if !given.is_empty() && !given.iter().any(|addr| recipe.dials(addr)) {
            let _ = reply.send(Err(no_quic(&given[0])));
            return;
        }
        given.retain(|addr| recipe.dials(addr));
        heard.extend(self.heard.of(&info.id).iter().filter(|a| !given.contains(a)).cloned());
        // Names that a person gave are looked up by the transport, others before.
        heard.retain(|addr| ip(addr).is_some() && recipe.dials(addr));
        self.nat.prefer_lasting(info.id, [&mut given, &mut heard]);
        let addrs = [&given[..], &heard[..]].concat();
        let under_way = self.dials.values_mut().find_map(|waiting| match waiting {
            Waiting::Peer(dial) if dial.peer == info.id => Some(dial),
            _ => None,
        });
        if let Some(dial) = under_way
            && addrs.iter().all(|addr| dial.addrs.contains(addr))
        {
            dial.replies.retain(|reply| !reply.is_closed());
            return dial.replies.push(reply);
        }
        let known = !heard.is_empty();
        let chosen = self.heard.choose(&info.id, heard);
        if given.is_empty() && chosen.addrs.is_empty() && known {
            let message = format!("{}: its addresses were tried too often lately", info.id);
            let _ = reply.send(Err(Error::new(ErrorKind::Busy, message)));
            return;
        }
        let options = DialOpts::peer_id(info.id)
            .addresses([given, chosen.addrs.clone()].concat())
            .condition(PeerCondition::Disconnected)
            .build();
        let (connection, private) = (options.connection_id(), self.recipe.secret.is_some());
        match self.swarm.dial(options) {
            Ok(()) => {
                self.heard.dialled(connection, info.id, chosen);
                let dial = ToPeer { peer: info.id, addrs, replies: vec![reply] };
                self.dials.insert(connection, Waiting::Peer(dial));
            }
            // Connected meanwhile.
            Err(DialError::DialPeerConditionFalse(_)) => {
                let _ = reply.send(Ok(()));
            }
            Err(DialError::NoAddresses) => {
                let message = format!("no address of {} is known that makes sense here", info.id);
                let _ = reply.send(Err(Error::new(ErrorKind::NotFound, message)));
            }
            Err(error) => {
                let _ = reply.send(Err(unreachable(&info.id.to_string(), &error, private)));
            }
        }
    }

    fn dial_addr(&mut self, addr: Multiaddr, reply: oneshot::Sender<Result<PeerId>>) {
        if !self.recipe.dials(&addr) {
            let _ = reply.send(Err(no_quic(&addr)));
            return;
        }
        let options = DialOpts::unknown_peer_id().address(addr.clone()).build();
        if let Some(Err(error)) = options.get_peer_id().map(|peer| self.recipe.gate.dials(&peer)) {
            let _ = reply.send(Err(error));
            return;
        }
        if let Some(peer) = options.get_peer_id().filter(|peer| self.swarm.is_connected(peer)) {
            let _ = reply.send(Ok(peer));
            return;
        }
        let (connection, private) = (options.connection_id(), self.recipe.secret.is_some());
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, Waiting::Addr(reply));
            }
            Err(error) => {
                let _ = reply.send(Err(unreachable(&addr.to_string(), &error, private)));
            }
        }
    }

    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::NewListenAddr { listener_id, address } => {
                if self.at_relay(listener_id, &address, true) {
                    return;
                }
                self.moved(None);
                self.nat_moved(None);
                self.book.changed();
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                if self.at_relay(listener_id, &address, false) {
                    return;
                }
                self.moved(Some(&address));
                self.nat_moved(Some(&address));
                self.book.changed();
            }
            SwarmEvent::ListenerClosed { listener_id, reason: why, addresses } => {
                let told = why.as_ref().map_or_else(|e| reason(e), |()| String::new());
                if self.left_by_relay(listener_id, &told) {
                    return;
                }
                if let Some(wide) = &mut self.listening.wide {
                    wide.closed(listener_id);
                }
                // An address that is let go of says no more than this.
                self.moved(addresses.first());
                let why = why.map_or_else(|e| reason(&e), |()| "its socket was closed".into());
                self.listening.again.closed(listener_id, why, &self.metrics.troubles);
                self.book.changed();
            }
            SwarmEvent::ExternalAddrConfirmed { .. } | SwarmEvent::ExternalAddrExpired { .. } => {
                self.book.changed()
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                num_established,
                endpoint,
                ..
            } => {
                let direction = self.connected.opened(peer_id, connection_id, &endpoint);
                let first = num_established.get() == 1;
                let is_try = matches!(self.dials.get(&connection_id), Some(Waiting::Try(_)));
                // It goes at once.
                let is_spare = is_try && !first;
                if !is_spare {
                    self.path_opened(peer_id, connection_id, &endpoint);
                }
                self.made.get_or_create(&[("direction", direction.name())]).inc();
                let remote = endpoint.get_remote_address();
                self.heard.ended(connection_id, Some(remote));
                if endpoint.is_dialer() && !endpoint.is_relayed() {
                    self.heard.is_at(peer_id, remote);
                }
                if first {
                    self.metrics.connections.inc();
                    self.events.emit(Event::Connected { peer: peer_id });
                }
                self.neighbours.tell(peer_id, if first { Sign::Here } else { Sign::Answers });
                if is_spare {
                    self.swarm.close_connection(connection_id);
                } else {
                    self.is_back(&peer_id, connection_id);
                }
                if let Some(waiting) = self.dials.remove(&connection_id) {
                    waiting.end(&Ok(peer_id));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                endpoint,
            } => {
                let (_, dialled) = self.connected.with_peer(&peer_id);
                self.connected.closed(&peer_id, connection_id);
                self.nat.closed(peer_id, connection_id, cause.is_none());
                self.recipe.spare.remove(connection_id);
                if num_established > 0 {
                    return;
                }
                let sign = match Sign::of(cause.as_ref()) {
                    // By what the relay gives, perhaps.
                    Sign::Broken if endpoint.is_relayed() => Sign::Closed,
                    sign => sign,
                };
                self.neighbours.tell(peer_id, sign);
                self.back.gone(&peer_id);
                // Who is told to go is not dialled again.
                if cause.is_some() {
                    self.back.lost(peer_id, dialled, Instant::now());
                }
                self.metrics.connections.dec();
                self.events.emit(Event::Disconnected { peer: peer_id });
                self.instances.disconnected(&peer_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                let whom = peer_id.map_or_else(|| "the address".into(), |peer| peer.to_string());
                tracing::debug!(peer = %whom, error = reason(&error), "a dial failed");
                self.heard.ended(connection_id, None);
                self.again.remove(&connection_id);
                self.recipe.spare.remove(connection_id);
                if let DialError::WrongPeerId { obtained, address } = &error {
                    self.heard.is_at(*obtained, address);
                }
                let private = self.recipe.secret.is_some();
                if let Some(waiting) = self.dials.remove(&connection_id) {
                    // It may have come by itself, or by another dial: then one more
                    // was one too many.
                    let there = peer_id.filter(|peer| self.swarm.is_connected(peer));
                    let there = there.filter(|_| !matches!(waiting, Waiting::Try(_)));
                    waiting.end(&there.ok_or_else(|| unreachable(&whom, &error, private)));
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                if matches!(error, ListenError::Transport(_)) {
                    self.metrics.handshakes_failed.inc();
                }
                tracing::debug!(error = reason(&error), "an incoming connection failed");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener reported an error");
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => {
                self.topics.on_event(&mut self.swarm.behaviour_mut().gossip, event);
            }
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Nat(event) => self.on_nat(event),
            BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            }) => {
                self.peer_says(
                    peer_id,
                    connection_id,
                    &info.protocols,
                    &info.observed_addr,
                    &info.listen_addrs,
                );
                let identify::Info { agent_version, listen_addrs, .. } = info;
                self.connected.identified(&peer_id, &agent_version);
                let from = self.connected.hears(&peer_id, &self.book.own().borrow());
                let listen_addrs =
                    dials::sensible(&listen_addrs, from, &self.metrics.dials_skipped);
                self.heard.told(peer_id, listen_addrs);
                if instances::is_ours(&agent_version) {
                    self.swarm.behaviour_mut().gossip.is_ours(&peer_id);
                }
                if instances::is_pinged_seldom(&agent_version) {
                    let seldom = Power::Low.profile().ping;
                    self.swarm.behaviour_mut().ping.spare(connection_id, seldom);
                }
                let now = self.started.elapsed();
                match self.instances.told(peer_id, connection_id, &agent_version, now) {
                    Some(Other::Restarted(newest)) => {
                        tracing::debug!(peer = %peer_id, "restarted: closing its older connections");
                        self.swarm.behaviour_mut().gossip.restarted(peer_id, newest);
                    }
                    Some(Other::Shared(true)) => tracing::warn!(
                        peer = %peer_id,
                        addrs = ?self.connected.status(&peer_id).map(|status| status.addrs),
                        "two nodes that run use the key of this peer, as when a machine was \
                         copied: give each its own"
                    ),
                    Some(Other::Shared(false)) | None => {}
                }
            }
            BehaviourEvent::Identify(identify::Event::Error { peer_id, error, .. }) => {
                tracing::debug!(peer = %peer_id, %error, "a peer could not be identified");
            }
            _ => {}
        }
    }
}
