//! Multicast groups: one task for each group on each interface, which answers
//! surveys and hears the answers to its own.

use super::{
    PeerSink,
    desk::{Desk, Outcome},
    limit::Limit,
    packet::{Body, MAX_LEN, Packet},
    responder::{Asked, Medium},
    serve::RETRY,
    socket,
    survey::{Nonces, Replies, Reply, Schedule},
    turns::Turns,
};
use crate::{Error, ErrorKind, Namespace, PeerInfo, Result, iface::Iface, scope::Scope};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::{
    net::UdpSocket,
    sync::{broadcast, watch},
};

/// A group on one interface, joined until its scope ends.
pub(crate) struct Group {
    desk: Arc<Desk>,
    scope: Scope,
    socket: UdpSocket,
    to: SocketAddr,
    place: Place,
    /// Answers, and where they came from.
    found: broadcast::Sender<(IpAddr, Packet)>,
    asking: Mutex<Asking>,
    /// On questions and on answers, apart: whoever asks without end must not
    /// keep this node from asking.
    limits: [Limit; 2],
}

/// What is asked in a group.
#[derive(Default)]
struct Asking {
    /// How many surveys of this node are under way.
    surveys: HashMap<Namespace, usize>,
    nonces: Nonces,
}

/// Where a group is joined. While this stays, the group does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    group: SocketAddr,
    interface: (String, u32),
    /// An address of the interface: who is near it is near the group.
    local: IpAddr,
}

impl Place {
    /// Where the group is on an interface, if that has an address of its family.
    fn of(group: SocketAddr, iface: &Iface) -> Option<Self> {
        let mut addrs = iface.addrs().filter(|ip| ip.is_ipv4() == group.is_ipv4());
        Some(Self { group, interface: (iface.name.clone(), iface.index), local: addrs.next()? })
    }
}

const PER_SECOND: NonZeroU32 = NonZeroU32::new(16).expect("not 0");
const BURST: NonZeroU32 = NonZeroU32::new(8).expect("not 0");

impl Group {
    /// Answers that a slow reader may lag behind.
    const QUEUE: usize = 256;

    /// Joins a group, and starts to answer there.
    fn join(desk: &Arc<Desk>, place: Place, iface: &Iface) -> io::Result<Arc<Self>> {
        let joined = Arc::new(Self {
            socket: socket::join(place.group, iface)?,
            to: socket::destination(place.group, iface),
            place,
            scope: desk.scope.child(),
            desk: Arc::clone(desk),
            found: broadcast::Sender::new(Self::QUEUE),
            asking: Mutex::default(),
            limits: [(); 2].map(|()| Limit::new(PER_SECOND, BURST, Instant::now())),
        });
        joined.scope.spawn(run(Arc::clone(&joined)));
        Ok(joined)
    }

    /// Sends to the group, unless too much of the kind was sent lately: false if
    /// so.
    async fn send(&self, bytes: &[u8], kind: &'static str) -> io::Result<bool> {
        if !self.limits[usize::from(kind == "response")].allow(Instant::now()) {
            tracing::debug!(to = %self.to, kind, "too much is sent to a boot group");
            return Ok(false);
        }
        socket::try_send(&self.socket, bytes, self.to).await?;
        self.desk.sent(kind);
        Ok(true)
    }

    /// Surveys the group until the sink is closed.
    pub(crate) async fn survey(&self, namespace: Namespace, gradual: bool, sink: PeerSink) {
        let _survey = self.begin(&namespace);
        let mut answers = self.found.subscribe();
        let mut found: Turns<IpAddr, PeerInfo> = Turns::default();
        let mut schedule = if gradual { Schedule::gradual() } else { Schedule::plain() };
        loop {
            let step = schedule.next(&mut rand::rng());
            match self.ask(&namespace, step.distance).await {
                Ok(Ok(sent)) => sink.surveyed(sent, None),
                Ok(Err(error)) => sink.surveyed(false, Some(error)),
                Err(error) => return sink.error(error).await,
            }
            let deadline = tokio::time::sleep(step.wait);
            tokio::pin!(deadline);
            loop {
                tokio::select! {
                    () = sink.closed() => return,
                    () = self.scope.cancelled() => return,
                    () = &mut deadline => break,
                    () = sink.found_first(&found) => drop(found.pop()),
                    answer = answers.recv() => match answer {
                        Ok((source, Packet { peer, namespace: of, body: Body::Response { addrs }, .. }))
                            if of == namespace =>
                        {
                            let addrs = self.desk.sensible(&addrs, source);
                            if !addrs.is_empty() {
                                let peer = PeerInfo { id: peer, addrs };
                                found.push(source, peer, &mut rand::rng());
                            }
                        }
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                }
            }
        }
    }

    /// Sends one survey. Whether it could be sent.
    pub(crate) async fn emit_survey(&self, namespace: &Namespace, distance: u8) -> Result<bool> {
        Ok(self.ask(namespace, distance).await?.unwrap_or(false))
    }

    /// The same, with the reason if not.
    async fn ask(&self, namespace: &Namespace, distance: u8) -> Result<io::Result<bool>> {
        let nonce = rand::random_range(1..=u64::MAX);
        let signed = self.desk.sign(namespace, nonce, Body::Survey { distance })?;
        self.asking().nonces.asked(nonce, Instant::now());
        Ok(match self.desk.sealing.seal(namespace, &signed) {
            Ok(bytes) => self.send(&bytes, "survey").await,
            Err(error) => Err(error),
        })
    }

    /// Sends one response, to whoever may want it.
    pub(crate) async fn emit_response(&self, namespace: &Namespace) -> bool {
        let reply = Reply { namespace: namespace.clone(), nonce: 0, budget: MAX_LEN };
        match self.desk.answer(&reply, self.place.local) {
            Some(bytes) => self.send(&bytes, "response").await.unwrap_or(false),
            None => false,
        }
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, namespace: &Namespace) -> Survey<'_> {
        *self.asking().surveys.entry(namespace.clone()).or_default() += 1;
        Survey { group: self, namespace: namespace.clone() }
    }

    /// Whether a response from there is wanted; what is asked is noted.
    fn wants(&self, packet: &Packet, source: IpAddr, replies: &Replies) -> Asked {
        let Packet { namespace, nonce, .. } = packet;
        let (now, mut asking) = (Instant::now(), self.asking());
        let surveyed = asking.surveys.contains_key(namespace);
        match packet.body {
            Body::Response { .. } if !surveyed => match replies.counts(namespace, *nonce, source) {
                true => Asked::Overheard,
                false => Asked::No,
            },
            // One answer serves all who ask at the same time. Those of Go
            // have no nonce.
            Body::Response { .. } if *nonce == 0 || asking.nonces.is_fresh(*nonce, now) => {
                Asked::Yes
            }
            Body::Response { .. } => Asked::Stale,
            Body::Survey { .. } if surveyed && *nonce != 0 && packet.peer != self.desk.own => {
                asking.nonces.overheard(*nonce, source, now);
                Asked::No
            }
            _ => Asked::No,
        }
    }
}

/// A survey that is under way.
struct Survey<'a> {
    group: &'a Group,
    namespace: Namespace,
}

impl Drop for Survey<'_> {
    fn drop(&mut self) {
        let surveys = &mut self.group.asking().surveys;
        if let Some(count) = surveys.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                surveys.remove(&self.namespace);
            }
        }
    }
}

async fn run(group: Arc<Group>) {
    let mut replies = Replies::default();
    let mut buffer = socket::buffer();
    loop {
        let due = replies.next_due();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (len, source) = socket::receive(&group.socket, &mut buffer) => {
                let asked = |packet: &Packet| group.wants(packet, source.ip(), &replies);
                match group.desk.receive(&buffer[..len], source, Medium::Group, asked) {
                    Outcome::Answer(question) => {
                        let view = (group.desk.view)();
                        let (now, rng) = (Instant::now(), &mut rand::rng());
                        replies.asked(question, source.ip(), view, now, rng);
                    }
                    Outcome::Found(packet) => {
                        replies.heard(&packet.namespace, packet.nonce, source.ip());
                        // Nobody listening is no error.
                        let _ = group.found.send((source.ip(), packet));
                    }
                    Outcome::Nothing => {}
                }
            }
            () = wait => {
                let answers = replies.due(Instant::now(), &mut rand::rng());
                for reply in answers {
                    if let Some(bytes) = group.desk.answer(&reply, group.place.local) {
                        // Who asks again is answered again.
                        let _ = group.send(&bytes, "response").await;
                    }
                }
            }
        }
    }
}

/// One or more groups on one or all interfaces, joined and left as interfaces
/// come and go.
#[derive(Clone)]
pub(crate) struct Groups(watch::Receiver<Vec<Arc<Group>>>);

impl Groups {
    /// Joins these groups on the named interface, or on every one that can
    /// multicast: each group where there is an address of its family, so that
    /// hosts of one family and of both find each other.
    ///
    /// # Errors
    /// [`ErrorKind::Bind`] if the named interface can join none.
    pub(crate) fn join(
        desk: &Arc<Desk>,
        groups: Vec<SocketAddr>,
        interface: Option<String>,
        mut ifaces: watch::Receiver<Arc<[Iface]>>,
    ) -> Result<Self> {
        let shown: Vec<String> = groups.iter().map(SocketAddr::to_string).collect();
        let subject = match &interface {
            Some(name) => format!("the boot group {} on {name}", shown.join(" and ")),
            None => format!("the boot groups {}", shown.join(" and ")),
        };
        let (joined, receiver) = watch::channel(Vec::new());
        let mut members: Vec<Arc<Group>> = Vec::new();
        let named = interface.is_some();
        let mut update = {
            let (desk, interface) = (Arc::clone(desk), interface.clone());
            move |ifaces: &[Iface]| {
                let meant = |iface: &&Iface| match &interface {
                    Some(name) => iface.name == *name,
                    None => iface.multicast,
                };
                let places =
                    |iface| groups.iter().filter_map(move |group| Place::of(*group, iface));
                let now: Vec<(Place, &Iface)> = ifaces
                    .iter()
                    .filter(meant)
                    .flat_map(|iface| places(iface).map(move |place| (place, iface)))
                    .collect();
                members.retain(|group| {
                    let stays = now.iter().any(|(place, _)| *place == group.place);
                    if !stays {
                        group.scope.cancel();
                    }
                    stays
                });
                let mut failed = None;
                for (place, iface) in now {
                    if members.iter().any(|member| member.place == place) {
                        continue;
                    }
                    let group = place.group;
                    match Group::join(&desk, place, iface) {
                        Ok(group) => members.push(group),
                        Err(error) => {
                            failed = Some(socket::bind_error(
                                format_args!("the group {group} on {}", iface.name),
                                error,
                            ));
                        }
                    }
                }
                joined.send_replace(members.clone());
                failed
            }
        };
        // Why there is no group, if there should be one.
        let missing = move |failed: Option<Error>, ifaces: &[Iface]| match (failed, &interface) {
            (Some(error), _) => Some(error),
            (None, None) => None,
            (None, Some(name)) => {
                let names: Vec<&str> = ifaces.iter().map(|iface| iface.name.as_str()).collect();
                let message = format!(
                    "no interface {name:?} with an address of the group's family is up: \
                     write one of {}",
                    names.join(", ")
                );
                Some(Error::new(ErrorKind::Bind, message))
            }
        };
        let known = Arc::clone(&ifaces.borrow_and_update());
        let failed = update(&known);
        let mut tried = failed.is_some();
        let none = receiver.borrow().is_empty();
        if let (true, true, Some(error)) = (named, none, missing(failed, &known)) {
            return Err(error);
        }
        let (troubles, now) = (desk.metrics.troubles.clone(), receiver.clone());
        desk.scope.spawn(async move {
            loop {
                tokio::select! {
                    changed = ifaces.changed() => if changed.is_err() { return },
                    // Such as for memberships of which there are enough.
                    () = tokio::time::sleep(RETRY), if tried => {}
                }
                let known = Arc::clone(&ifaces.borrow_and_update());
                let failed = update(&known);
                tried = failed.is_some();
                if let Some(error) = &failed {
                    tracing::debug!(%error, "a boot group was not joined");
                }
                let none = now.borrow().is_empty();
                match missing(failed, &known).filter(|_| none) {
                    Some(error) => troubles.fails(&subject, "unjoined", error),
                    None => troubles.works(&subject),
                }
            }
        });
        Ok(Self(receiver))
    }

    /// The groups that are joined now.
    pub(crate) fn now(&self) -> Vec<Arc<Group>> {
        self.0.borrow().clone()
    }

    /// Surveys every group, also those that come later, until the sink is
    /// closed.
    pub(crate) async fn survey(mut self, namespace: Namespace, gradual: bool, sink: PeerSink) {
        let mut surveys = futures::stream::FuturesUnordered::new();
        let mut known: Vec<Arc<Group>> = Vec::new();
        loop {
            for group in self.0.borrow_and_update().iter() {
                if known.iter().any(|k| Arc::ptr_eq(k, group)) {
                    continue;
                }
                let (group, namespace, sink) = (Arc::clone(group), namespace.clone(), sink.clone());
                surveys.push(async move { group.survey(namespace, gradual, sink).await });
            }
            known.clone_from(&self.0.borrow());
            tokio::select! {
                () = sink.closed() => return,
                Some(()) = futures::StreamExt::next(&mut surveys) => {}
                changed = self.0.changed() => if changed.is_err() { return },
            }
        }
    }
}
