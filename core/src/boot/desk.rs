//! What all sockets of a node's boot service share: what is received is judged
//! and counted here, and answers are made here.

use super::{
    limit::prefix,
    packet::{Body, MAX_LEN, Packet, PacketError, Unverified},
    responder::{Asked, Medium, Refusal, Responder},
    sealing::Sealing,
    survey::Reply,
    tap::Datagram,
};
use crate::{
    Multiaddr, Namespace, PeerId, Result, Secret,
    bus::Bus,
    cache::cache,
    dials,
    metrics::{Metrics, verdict},
    scope::Scope,
    who::Who,
};
use libp2p::{identity::Keypair, multiaddr::Protocol};
use lru::LruCache;
use std::{
    borrow::Cow,
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::watch;

/// Says how many members of the cluster this node knows, itself included; 0 if
/// it knows of none.
pub(crate) type ViewSize = Arc<dyn Fn() -> usize + Send + Sync>;

/// What is shared.
pub(crate) struct Desk {
    pub(crate) key: Keypair,
    pub(crate) own: PeerId,
    pub(crate) scope: Scope,
    pub(crate) metrics: Metrics,
    pub(crate) view: ViewSize,
    pub(crate) sealing: Arc<Sealing>,
    /// Who is answered, and whose answers are taken.
    who: Who,
    /// Where this node answers: nobody else can.
    served: Mutex<HashSet<SocketAddr>>,
    addrs: watch::Receiver<Arc<[Multiaddr]>>,
    /// Those that are told to all who ask.
    announced: Vec<Multiaddr>,
    responder: Mutex<Responder>,
    answers: Mutex<Answers>,
    tap: Bus<Datagram>,
}

/// What outlasts the sockets, and so a pause: who looks on, and what is known of
/// sealed datagrams, so that one which was of use before is of none after.
#[derive(Clone)]
pub(crate) struct Lasting {
    pub(crate) tap: Bus<Datagram>,
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) who: Who,
}

impl Lasting {
    pub(crate) fn new(secret: Option<Secret>, who: Who) -> Self {
        Self { tap: Bus::new(Desk::TAP), sealing: Arc::new(Sealing::new(secret)), who }
    }
}

/// What is to be done about a received datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A question: answer it so.
    Answer(Reply),
    /// A response that was wanted.
    Found(Packet),
    /// Nothing: it was counted.
    Nothing,
}

/// This node answers somewhere.
pub(crate) struct Serving<'a> {
    desk: &'a Desk,
    at: SocketAddr,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.desk.served.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.at);
    }
}

enum Reason {
    Packet(PacketError),
    Refusal(Refusal, Option<Box<Packet>>),
}

/// Signed answers, valid for the addresses from which they were made.
struct Answers {
    addrs: Arc<[Multiaddr]>,
    signed: LruCache<(Namespace, Vec<Multiaddr>, usize), Option<Vec<u8>>>,
}

impl Desk {
    /// Packets that a tap may lag behind.
    const TAP: usize = 1024;
    const MAX_ANSWERS: NonZeroUsize = NonZeroUsize::new(128).expect("not 0");

    pub(crate) fn new(
        key: Keypair,
        addrs: watch::Receiver<Arc<[Multiaddr]>>,
        announced: Vec<Multiaddr>,
        view: ViewSize,
        metrics: Metrics,
        scope: Scope,
        lasting: Lasting,
    ) -> Self {
        let Lasting { tap, sealing, who } = lasting;
        let own = key.public().to_peer_id();
        let signed = cache(Self::MAX_ANSWERS);
        let answers = Answers { addrs: Arc::clone(&addrs.borrow()), signed };
        Self {
            served: Mutex::default(),
            responder: Mutex::new(Responder::new(own, Instant::now())),
            answers: Mutex::new(answers),
            sealing,
            who,
            tap,
            key,
            own,
            scope,
            metrics,
            view,
            addrs,
            announced,
        }
    }

    pub(crate) fn responder(&self) -> MutexGuard<'_, Responder> {
        self.responder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where this node answers, until what is given back is dropped.
    pub(crate) fn serving(&self, at: SocketAddr) -> Serving<'_> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(at);
        Serving { desk: self, at }
    }

    /// Whether it is this node that answers there.
    pub(crate) fn serves(&self, at: &SocketAddr) -> bool {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).contains(at)
    }

    /// Counts a datagram that was sent.
    pub(crate) fn sent(&self, kind: &'static str) {
        self.metrics.boot_sent.get_or_create(&verdict(kind)).inc();
    }

    /// A packet of this node, signed, and to be [sealed](Sealing::seal) each time
    /// that it is sent.
    pub(crate) fn sign(&self, namespace: &Namespace, nonce: u64, body: Body) -> Result<Vec<u8>> {
        let packet = Packet { peer: self.own, namespace: namespace.clone(), nonce, body };
        packet.encode_within(&self.key, self.sealing.room(MAX_LEN))
    }

    /// Judges a datagram, and counts it by what becomes of it. `asked` is told
    /// what every well-formed one claims, and says of a response whether it is
    /// wanted.
    pub(crate) fn receive(
        &self,
        bytes: &[u8],
        source: SocketAddr,
        medium: Medium,
        asked: impl FnOnce(&Packet) -> Asked,
    ) -> Outcome {
        let mut awaited = Asked::No;
        let judged = self.judge(bytes, source, medium, |packet| {
            awaited = asked(packet);
            awaited
        });
        let label = match &judged {
            Ok((_, Some(_))) => "answered",
            Ok(_) if awaited == Asked::Overheard => "overheard",
            Ok(_) => "found",
            Err(Reason::Packet(error)) => error.label(),
            Err(Reason::Refusal(refusal, _)) => refusal.label(),
        };
        self.metrics.boot_received.get_or_create(&verdict(label)).inc();
        tracing::debug!(%source, len = bytes.len(), verdict = label, "boot datagram");
        if self.tap.is_heard() {
            let packet = match &judged {
                Ok((packet, _)) => Some(packet.clone()),
                Err(Reason::Refusal(_, packet)) => packet.as_deref().cloned(),
                Err(Reason::Packet(_)) => None,
            };
            let len = bytes.len();
            self.tap.send(Datagram { source, medium, len, packet, verdict: label });
        }
        match judged {
            Ok((packet, Some(budget))) => {
                let Packet { namespace, nonce, body, .. } = packet;
                // Answers to requests come from an address that was asked to a
                // port of the asker's own: they need no nonce, and so can be
                // signed once for many.
                let nonce = if body == Body::Request { 0 } else { nonce };
                Outcome::Answer(Reply { namespace, nonce, budget })
            }
            Ok((packet, None)) => Outcome::Found(packet),
            Err(_) => Outcome::Nothing,
        }
    }

    /// The verified packet, and for a question the budget of its answer.
    fn judge(
        &self,
        bytes: &[u8],
        source: SocketAddr,
        medium: Medium,
        asked: impl FnOnce(&Packet) -> Asked,
    ) -> Result<(Packet, Option<usize>), Reason> {
        let now = Instant::now();
        let envelope = self.sealing.open(bytes).map_err(Reason::Packet)?;
        let unverified = Unverified::parse(&envelope.bytes).map_err(Reason::Packet)?;
        let claim = unverified.claim();
        envelope.check(claim).map_err(Reason::Packet)?;
        let replayed = self.sealing.knows(&envelope);
        let taken = self.who.check(&claim.peer).map_err(Refusal::Stranger);
        let asked = if replayed || taken.is_err() { Asked::No } else { asked(claim) };
        let (screened, may_verify) = {
            let mut responder = self.responder();
            let screened = match replayed {
                true => Err(Refusal::Replay),
                false => taken.and_then(|()| responder.screen(claim, source, medium, asked, now)),
            };
            let wanted = screened.is_ok() || self.tap.is_heard();
            // Only what is awaited has a share in what is kept for that.
            let asked = if screened.is_ok() { asked } else { Asked::No };
            let mut allowed = || responder.may_verify(source.ip(), asked, now);
            (screened, if wanted { allowed() } else { Ok(()) })
        };
        if let Err(refusal) = screened {
            // Who listens wants to see what this node has no use for.
            let shown = self.tap.is_heard() && may_verify.is_ok();
            let packet = if shown { unverified.verify().ok().map(Box::new) } else { None };
            return Err(Reason::Refusal(refusal, packet));
        }
        may_verify.map_err(|refusal| Reason::Refusal(refusal, None))?;
        // Not under the lock: this is what takes long.
        let packet = unverified.verify().map_err(Reason::Packet)?;
        // What is of no use is not noted: one of several sockets may have use for it.
        if !self.sealing.uses(&envelope) {
            return Err(Reason::Refusal(Refusal::Replay, Some(Box::new(packet))));
        }
        if matches!(packet.body, Body::Response { .. }) {
            return Ok((packet, None));
        }
        match self.responder().admit(&packet, source, bytes.len(), now) {
            Ok(budget) => Ok((packet, Some(budget))),
            Err(refusal) => Err(Reason::Refusal(refusal, Some(Box::new(packet)))),
        }
    }

    /// The addresses that are sensible in an answer that came from there.
    pub(crate) fn sensible(&self, addrs: &[Multiaddr], source: IpAddr) -> Vec<Multiaddr> {
        let from = dials::Hearing::new([source], &self.addrs.borrow());
        dials::sensible(addrs, from, &self.metrics.dials_skipped)
    }

    /// The datagram of an answer, with the addresses that are most useful to
    /// `asker` first. `None` if there is nothing useful to say.
    pub(crate) fn answer(&self, reply: &Reply, asker: IpAddr) -> Option<Vec<u8>> {
        let signed = self.signed_answer(reply, asker)?;
        let sealed = self.sealing.seal(&reply.namespace, &signed).map(Cow::into_owned);
        sealed.inspect_err(|error| tracing::warn!(%error, "sealing a boot answer")).ok()
    }

    fn signed_answer(&self, reply: &Reply, asker: IpAddr) -> Option<Vec<u8>> {
        let addrs = Arc::clone(&self.addrs.borrow());
        let useful = useful_first(&addrs, &self.announced, asker);
        let sign = |addrs: &[Multiaddr], budget| {
            let room = self.sealing.room(budget);
            Packet::answer(&self.key, &reply.namespace, reply.nonce, addrs, room)
                .inspect_err(|error| tracing::warn!(%error, "signing a boot answer"))
                .ok()
        };
        if reply.nonce != 0 {
            // No other question is answered so.
            return sign(&useful, reply.budget)?;
        }
        // Few budgets, so that few answers are signed.
        let question = (reply.namespace.clone(), useful, reply.budget / 32 * 32);
        {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.addrs[..] != addrs[..] {
                answers.signed.clear();
                answers.addrs = addrs;
            }
            if let Some(signed) = answers.signed.get(&question) {
                return signed.clone();
            }
        }
        let signed = sign(&question.1, question.2)?;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.signed.put(question, signed.clone());
        signed
    }
}

/// The addresses that can be of use to who asks from `asker`: those of its own
/// network, then those that are announced, then the others.
fn useful_first(addrs: &[Multiaddr], announced: &[Multiaddr], asker: IpAddr) -> Vec<Multiaddr> {
    let asker = asker.to_canonical();
    let rank = |addr: &Multiaddr| {
        if addr.iter().any(|p| matches!(p, Protocol::Tcp(0) | Protocol::Udp(0))) {
            return None;
        }
        let ip = match addr.iter().next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
            _ => return Some(3),
        };
        match () {
            () if ip.is_unspecified() => None,
            () if ip.is_loopback() => asker.is_loopback().then_some(0),
            () if prefix(ip) == prefix(asker) => Some(0),
            () if ip.is_ipv4() == asker.is_ipv4() => Some(2),
            () => Some(3),
        }
    };
    let announced_rank = |addr: &Multiaddr| rank(addr).map_or(1, |rank| rank.min(1));
    let found = addrs.iter().filter(|addr| !announced.contains(addr));
    let found = found.filter_map(|addr| Some((rank(addr)?, addr)));
    let announced = announced.iter().map(|addr| (announced_rank(addr), addr));
    let mut ranked: Vec<_> = announced.chain(found).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, addr)| addr.clone()).collect()
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
