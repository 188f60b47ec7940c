//! The libp2p host: one task owns the swarm; everyone else holds a [`Host`].
//!
//! `swarm` builds the transports and behaviours, `listen` has it listen (with
//! `wide` where netlink is forbidden, `again` where a socket closed), `task` runs
//! it, `instances` recognises restarted peers and shared keys, `slots` says who may hold a
//! connection, `gate` (with `door`) who gets one at all, `heard`, `budget` and `lookups` bound the dials that follow from
//! what others told, `ping` notices dead links and takes round-trip times,
//! `closing` lets no dead link hold up the end of a connection, `leaving` has a
//! closing host say all, `boxed`, `tls` and `quic` save memory per connection and
//! per node, `memory` limits it, `security` chooses how connections are secured,
//! `admission` is the gate of a cluster with certificates,
//! `nat` gets through NATs and relays,
//! `pause` lets the swarm go and builds another, `back` says who is dialled again, `names` has dials of
//! names follow the system's configuration, `topics` joins gossip to the seam
//! of `pubsub` (with `next`), `unreached` says why a dial failed, `streams` opens and accepts streams, `addrs` keeps the list of
//! addresses and the signed record of it.

mod addrs;
mod admission;
mod again;
mod back;
mod boxed;
mod budget;
mod closing;
mod connected;
mod door;
#[cfg(test)]
mod flood_tests;
mod gate;
#[cfg(test)]
mod gossip_tests;
mod heard;
mod instances;
mod leaving;
mod listen;
mod lookups;
mod memory;
mod names;
mod nat;
mod neighbours;
mod next;
mod pause;
mod ping;
mod quic;
#[cfg(test)]
mod redial_tests;
mod security;
pub mod slots;
mod streams;
mod swarm;
mod task;
#[cfg(test)]
mod tests;
mod tls;
mod topics;
mod unreached;
mod wide;

use crate::{
    Error, ErrorKind, PeerInfo, Result, Secret,
    announce::Announced,
    ask::ask,
    config::{Limits, Power},
    dials::Hearing,
    event::EventBus,
    gossip::WINDOW,
    life::Life,
    members::Vetting,
    metrics::{ByLabel, Metrics, waiting},
    nat::{Reachability, RelayLimits},
    prefix::Prefix,
    pubsub::{Publisher, Topic},
    record::SignedRecord,
    scope::Scope,
    spare::Spare,
    who::Who,
};
use connected::Connected;
pub use connected::{Direction, PeerStatus};
use gate::Gate;
pub(crate) use leaving::Leaving;
use libp2p::{Multiaddr, PeerId, StreamProtocol, identity::Keypair};
pub use listen::ensure_free;
pub(crate) use listen::is_quic;
use lookups::Lookups;
use neighbours::Neighbours;
pub(crate) use neighbours::Sign;
use ping::RoundTrips;
use slots::Tally;
use std::{collections::BTreeSet, sync::Arc};
use streams::Streams;
pub(crate) use streams::{Incoming, OfConnection, Stream};
use swarm::Recipe;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait for the swarm's task.
const COMMANDS: usize = 256;
/// Events of one topic that may wait for its service: as many messages as gossip
/// gives it before it hears what is thought of them, and as many that tell of peers.
const TOPIC_EVENTS: usize = 2 * WINDOW;
/// Messages of one topic that may wait to be published.
const TOPIC_OUTGOING: usize = 64;

/// A handle to the host. Clones are cheap.
#[derive(Clone)]
pub(crate) struct Host {
    id: PeerId,
    commands: mpsc::Sender<Command>,
    streams: Streams,
    connected: Connected,
    neighbours: Neighbours,
    leaving: Leaving,
    life: Life,
    round_trips: RoundTrips,
    room: slots::Room,
    who: Who,
    lookups: Lookups,
    own: watch::Receiver<Arc<[Multiaddr]>>,
    addrs: watch::Receiver<Arc<[Multiaddr]>>,
    record: watch::Receiver<SignedRecord>,
    reachability: watch::Receiver<Reachability>,
    short: watch::Receiver<bool>,
    /// Counts what gossip brought and nobody takes.
    refused: ByLabel,
}

/// Who a host is: its key, the secret of its cluster if that is private, and whom it
/// takes.
pub(crate) struct Identity {
    pub(crate) key: Keypair,
    pub(crate) secret: Option<Secret>,
    pub(crate) who: Who,
}

impl From<Keypair> for Identity {
    fn from(key: Keypair) -> Self {
        Self { key, secret: None, who: Who::default() }
    }
}

/// Where a host listens, what else others are told, and how much it does of
/// itself.
pub(crate) struct Addresses<'a> {
    pub(crate) listen: &'a [Multiaddr],
    pub(crate) announced: Announced,
    pub(crate) power: Power,
    /// Whether it uses relays when it has to, and how much it relays for others.
    pub(crate) uses_relays: bool,
    pub(crate) relay: Option<RelayLimits>,
    /// Whether it asks the network's gateway to let others in.
    pub(crate) upnp: bool,
}

impl<'a, T: AsRef<[Multiaddr]> + ?Sized> From<&'a T> for Addresses<'a> {
    fn from(listen: &'a T) -> Self {
        Self {
            listen: listen.as_ref(),
            announced: Announced::default(),
            power: Power::Normal,
            uses_relays: false,
            relay: None,
            upnp: false,
        }
    }
}

/// Why an address of QUIC is refused where a secret is held.
pub(crate) const NO_QUIC: &str = "QUIC has no pre-shared key, and is off where a secret is set: \
    write an address of TCP, such as /ip4/10.0.0.1/tcp/4001, or leave the secret out";

enum Command {
    Dial {
        info: PeerInfo,
        /// Whether a person said where the peer is, and not another node.
        configured: bool,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Dial a peer beside the connections that there are, to see whether it answers.
    Try {
        info: PeerInfo,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Ping on all connections now.
    Ask,
    DialAddr {
        addr: Multiaddr,
        reply: oneshot::Sender<Result<PeerId>>,
    },
    Disconnect {
        peer: PeerId,
    },
    Pause {
        reply: oneshot::Sender<Result<()>>,
    },
    Resume {
        reply: oneshot::Sender<Result<()>>,
    },
    Exchanged {
        peer: PeerId,
    },
    /// Has every socket close, as if by itself.
    #[cfg(test)]
    LoseSockets,
    /// Has it tried again now whether this host can be reached.
    #[cfg(test)]
    TryAgain,
    Join {
        topic: Arc<str>,
        ends: topics::Ends,
    },
}

impl Host {
    /// Starts a host that listens at these addresses, or everywhere if there
    /// are none; unspecified ones expand to those of every interface, and follow
    /// it as interfaces come and go. Others are told of these and of those
    /// announced. The sequence numbers of its records begin at `least_seq` or higher.
    ///
    /// # Errors
    /// `Bind` if a socket cannot be bound, with the address in the message;
    /// `Address` if it is of a kind that is not supported; `Timeout` if the
    /// system doesn't tell where the sockets can be reached.
    pub(crate) async fn start<'a>(
        identity: impl Into<Identity>,
        addrs: impl Into<Addresses<'a>>,
        limits: &Limits,
        metrics: &Metrics,
        events: EventBus,
        scope: &Scope,
        least_seq: u64,
    ) -> Result<Self> {
        let Identity { key, secret, who } = identity.into();
        let id = key.public().to_peer_id();
        let addrs = addrs.into();
        let streams = Streams::new(metrics);
        let round_trips = RoundTrips::default();
        let (life, profile) = (Life::default(), addrs.power.profile());
        let listen = listen::chosen(addrs.listen, profile.quic && secret.is_none());
        let connected = Connected::default();
        let recipe = Recipe {
            key: key.clone(),
            limits: limits.clone(),
            announced: addrs.announced.clone(),
            streams: streams.clone(),
            round_trips: round_trips.clone(),
            tally: Tally::new(metrics),
            gate: Gate::new(who.clone(), metrics),
            metrics: metrics.clone(),
            ping: profile.ping,
            identify: profile.identify,
            quic: secret.is_none() && (profile.quic || listen::has_quic(&listen)),
            secret,
            uses_relays: addrs.uses_relays && addrs.relay.is_none(),
            relay: addrs.relay.clone(),
            upnp: addrs.upnp,
            spare: Spare::default(),
            bounds: nat::Bounds::new(connected.clone(), metrics.dials_skipped.clone()),
        };
        let mut swarm = recipe.build()?;
        let listening =
            listen::listen(&mut swarm, &listen, scope, &metrics.troubles, profile.rescan).await?;

        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        metrics.watch_queue("swarm", waiting(&commands));
        let leaving = Leaving::default();
        let neighbours = Neighbours::new(metrics.dropped.clone());
        let nat = nat::Nat::new(
            id,
            (addrs.uses_relays, addrs.relay.is_some()),
            &addrs.announced,
            events.clone(),
            metrics,
        );
        let (reachability, short) = (nat.reachability(), nat.is_short());
        let room = recipe.tally.room();
        let lookups = Lookups::new(metrics.dials_skipped.clone());
        let (book, addrs, record) =
            addrs::AddressBook::new(key, &swarm, addrs.announced, events.clone(), least_seq)?;
        let own = book.own();
        let task = task::Task::new(task::Parts {
            swarm,
            recipe,
            listen,
            profile,
            life: life.clone(),
            commands: command_receiver,
            book,
            nat,
            connected: connected.clone(),
            neighbours: neighbours.clone(),
            leaving: leaving.clone(),
            events,
        });
        let ending = scope.clone();
        scope.spawn_graceful(async move { task.run(&ending, listening).await });
        let host = Self {
            id,
            commands,
            streams,
            connected,
            neighbours,
            leaving,
            life,
            round_trips,
            room,
            who,
            lookups,
            own,
            addrs,
            record,
            reachability,
            short,
            refused: metrics.gossip_refused.clone(),
        };
        Ok(host)
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    /// The addresses at which the node can be reached, the most useful first,
    /// without `/p2p/<id>`.
    pub(crate) fn addrs(&self) -> watch::Receiver<Arc<[Multiaddr]>> {
        self.addrs.clone()
    }

    /// The signed record of those addresses.
    pub(crate) fn record(&self) -> watch::Receiver<SignedRecord> {
        self.record.clone()
    }

    /// Whether others can reach the node, and where.
    pub(crate) fn reachability(&self) -> watch::Receiver<Reachability> {
        self.reachability.clone()
    }

    /// Whether it is to be connected to relays, and to fewer than it needs.
    pub(crate) fn wants_relays(&self) -> watch::Receiver<bool> {
        self.short.clone()
    }

    /// The peers that are connected now, in the order of their ids.
    pub(crate) fn connected(&self) -> Vec<PeerId> {
        self.connected.ids()
    }

    /// Whether it has closed, or is about to.
    pub(crate) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains(peer)
    }

    /// The last moments of the host.
    pub(crate) fn leaving(&self) -> &Leaving {
        &self.leaving
    }

    /// Whether the host is up, or paused.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// Lets the swarm and every socket go, having said what is to be said. Waits
    /// about a second at most.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.ask(|reply| Command::Pause { reply }).await?
    }

    /// Builds another swarm, which listens, and dials who was connected.
    ///
    /// # Errors
    /// As of [`start`](Self::start): then it stays paused.
    pub(crate) async fn resume(&self) -> Result<()> {
        self.ask(|reply| Command::Resume { reply }).await?
    }

    /// What is known of a connected peer. It can make its round-trip time longer
    /// than it is, but not shorter.
    pub(crate) fn status(&self, peer: &PeerId) -> Option<PeerStatus> {
        let round_trip = self.round_trips.of(peer);
        self.connected.status(peer).map(|status| PeerStatus { round_trip, ..status })
    }

    /// The network that a connected peer is in.
    pub(crate) fn network(&self, peer: &PeerId) -> Option<Prefix> {
        self.connected.network(peer)
    }

    /// Whom this node takes.
    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    /// How many more connections this node can make.
    pub(crate) fn room(&self) -> usize {
        self.room.now()
    }

    /// An exchange of peers with a peer is over: if it is here as a guest, it
    /// has had what it came for.
    pub(crate) async fn exchanged(&self, peer: PeerId) {
        // Closed with the node.
        let _ = self.commands.send(Command::Exchanged { peer }).await;
    }

    /// Connects to a peer, unless it is connected already.
    ///
    /// # Errors
    /// `Unreachable`, with what each address answered, or why this node doesn't take
    /// the peer.
    pub(crate) async fn connect(&self, info: &PeerInfo) -> Result<()> {
        if self.is_connected(&info.id) && self.who.check(&info.id).is_ok() {
            return Ok(());
        }
        let info = info.clone();
        self.ask(|reply| Command::Dial { info, configured: true, reply }).await?
    }

    /// Connects to a peer of whose addresses others have told, unless it is
    /// connected already: to a few of them, and not too often to any.
    ///
    /// # Errors
    /// `Busy` if they were tried, or names looked up, too often lately; else as
    /// [`connect`](Self::connect).
    pub(crate) async fn reach(&self, info: &PeerInfo) -> Result<()> {
        if self.is_connected(&info.id) {
            return Ok(());
        }
        let own = self.own.borrow().clone();
        let lookups::Found { addrs, postponed } = self.lookups.replaced(&info.addrs, &own).await;
        let info = PeerInfo { id: info.id, addrs };
        let dialled = self.ask(|reply| Command::Dial { info, configured: false, reply }).await?;
        // Its name may well lead to it.
        dialled.map_err(|error| match error.kind() {
            ErrorKind::Unreachable | ErrorKind::NotFound if postponed => {
                let message = format!("{error}; too many names were looked up lately for its own");
                Error::new(ErrorKind::Busy, message)
            }
            _ => error,
        })
    }

    /// The same with what the peer's record says, or what others told of it that was
    /// found to be sensible.
    ///
    /// # Errors
    /// `NotFound` if nothing makes sense here, and it said nothing that does while
    /// it was connected; else as [`reach`](Self::reach).
    pub(crate) async fn reach_told(&self, info: &PeerInfo) -> Result<()> {
        let addrs = self.lookups.of_record(&info.addrs, &self.own.borrow());
        self.reach(&PeerInfo { id: info.id, addrs }).await
    }

    /// The same with what it was found to be sensible to dial, and what the peer's record
    /// says beside.
    ///
    /// # Errors
    /// As of [`reach`](Self::reach).
    pub(crate) async fn reach_also(&self, info: &PeerInfo, told: &[Multiaddr]) -> Result<()> {
        let mut addrs = self.lookups.of_record(told, &self.own.borrow());
        let others = info.addrs.iter().filter(|addr| !addrs.contains(addr));
        let others: Vec<Multiaddr> = others.cloned().collect();
        addrs.extend(others);
        self.reach(&PeerInfo { id: info.id, addrs }).await
    }

    /// Where what a peer tells is said, as its connections show.
    pub(crate) fn hears(&self, peer: &PeerId) -> Hearing {
        self.connected.hears(peer, &self.own.borrow())
    }

    /// Connects to whoever answers at an address, which may end in
    /// `/p2p/<id>`, and says who it is.
    ///
    /// # Errors
    /// `Unreachable`, with what the address answered; `Address` if it is of QUIC and
    /// the cluster is private.
    pub(crate) async fn connect_addr(&self, addr: Multiaddr) -> Result<PeerId> {
        self.ask(|reply| Command::DialAddr { addr, reply }).await?
    }

    /// Closes all connections to a peer.
    pub(crate) async fn disconnect(&self, peer: PeerId) {
        // A closed host has no connections left.
        let _ = self.commands.send(Command::Disconnect { peer }).await;
    }

    /// Opens a stream to a connected peer.
    ///
    /// # Errors
    /// `Protocol` if the peer doesn't speak it, `Unreachable` if the stream
    /// cannot be opened, `Timeout` after 10 s; `Paused`.
    pub(crate) async fn open_stream(
        &self,
        peer: PeerId,
        protocol: StreamProtocol,
    ) -> Result<Stream> {
        if self.life.is_paused() {
            return Err(Error::paused());
        }
        self.streams.open(peer, protocol).await
    }

    /// Takes the incoming streams of a protocol, until what is given back is
    /// dropped.
    ///
    /// # Errors
    /// `Busy` if somebody takes them already.
    pub(crate) fn accept(&self, protocol: StreamProtocol) -> Result<Incoming> {
        self.streams.accept(protocol)
    }

    /// Subscribes to a topic on which peers say little. Who is the first to bring
    /// something good there is better kept.
    ///
    /// # Errors
    /// `Closed` after the host has closed.
    pub(crate) async fn join(&self, topic: &str) -> Result<Topic> {
        self.ends(topic, true).1.await
    }

    /// Subscribes to a topic on which peers say what they like, in two steps: what
    /// is published before the second one waits for it.
    ///
    /// # Errors
    /// Of the second step: `Closed` after the host has closed.
    pub(crate) fn joining(
        &self,
        topic: &str,
    ) -> (Publisher, impl Future<Output = Result<Topic>> + Send + 'static + use<>) {
        self.ends(topic, false)
    }

    fn ends(
        &self,
        topic: &str,
        credits: bool,
    ) -> (Publisher, impl Future<Output = Result<Topic>> + Send + 'static + use<>) {
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let (events, event_receiver) = mpsc::channel(TOPIC_EVENTS);
        let (outgoing_sender, outgoing) = mpsc::channel(TOPIC_OUTGOING);
        let (peers, peers_receiver) = watch::channel(BTreeSet::new());
        let ends = topics::Ends { commands, events, outgoing, peers, credits };
        let (host, topic) = (self.commands.clone(), topic.into());
        let members = self.who.members().cloned();
        let vetting = members.map(|members| Vetting::new(members, self.refused.clone()));
        let join = async move {
            let join = Command::Join { topic, ends };
            host.send(join).await.map_err(|_| Error::closed("node"))?;
            Ok(Topic::new(command_sender, event_receiver).vetted(vetting))
        };
        (Publisher::new(outgoing_sender, peers_receiver), join)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        ask(&self.commands, command).await
    }
}
