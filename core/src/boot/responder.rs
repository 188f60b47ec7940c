//! Which datagrams are answered, and which are not, and why. Pure: packets,
//! sources and times go in, verdicts come out.

use super::{
    limit::{Checks, Exceeded, Limit, SourceLimits},
    packet::{Body, MAX_GROWTH, Packet, in_range},
};
use crate::{Namespace, PeerId, cache::cache, who::Stranger};
use lru::LruCache;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    time::{Duration, Instant},
};

/// How a datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Medium {
    /// To a port where this node answers requests.
    Served,
    /// To a port from which this node asked, and answers nothing.
    Asking,
    /// To a multicast group.
    Group,
}

/// Whether a response is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// This node asked.
    Yes,
    /// Another did, and it spares this node an answer.
    Overheard,
    /// Somebody did, but not lately: it answers an old question.
    Stale,
    /// Nobody did, or it is of no use.
    No,
}

/// Why a well-formed datagram is not answered or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// This node sent it.
    Own,
    /// A request came by multicast, or a survey by unicast.
    Medium,
    /// The namespace is not advertised here.
    Namespace,
    /// The survey is for nearer peers.
    Distance,
    /// The same came from the same source a moment ago.
    Repeat,
    /// The source, or its network, sends too much.
    SourceRate,
    /// All sources together send too much.
    Rate,
    /// It answers nothing that was asked.
    Unasked,
    /// It answers a question that was not asked lately: somebody plays it
    /// again.
    Stale,
    /// Its source cannot be answered.
    Source,
    /// Not one address fits an answer that is hardly longer than the question.
    NoRoom,
    /// The same sealed datagram was used before.
    Replay,
    /// It is, or says that it is, of a peer that this node doesn't take.
    Stranger(Stranger),
}

impl Refusal {
    /// The reason's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Medium => "wrong-medium",
            Self::Namespace => "not-advertised",
            Self::Distance => "too-far",
            Self::Repeat => "repeat",
            Self::SourceRate => "source-rate",
            Self::Rate => "rate",
            Self::Unasked => "unasked",
            Self::Stale => "stale",
            Self::Source => "bad-source",
            Self::NoRoom => "no-room",
            Self::Replay => "replay",
            Self::Stranger(stranger) => stranger.label(),
        }
    }
}

/// Decides about datagrams, for one node.
#[derive(Debug)]
pub struct Responder {
    own: PeerId,
    advertised: HashMap<Namespace, Instant>,
    seen: LruCache<Question, Instant>,
    by_source: SourceLimits,
    answers: Limit,
    /// Signatures of what this node asked for, which no flood of anything else
    /// can use up.
    awaited: Checks,
    /// All other signatures.
    unasked: Checks,
}

/// What makes two questions the same. Packets carry no time, so a replay
/// can't be told from a repetition: both are limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    /// With its port: Go's nodes sign the same bytes each time, and ask from a
    /// new port when they start again.
    source: SocketAddr,
    peer: PeerId,
    namespace: Namespace,
    distance: Option<u8>,
}

const fn n(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("not 0")
}

impl Responder {
    /// How long an advertisement lasts unless told otherwise.
    pub const TTL: Duration = Duration::from_secs(120);
    /// How long the same question from the same source is not answered again.
    pub const REPEAT: Duration = Duration::from_millis(100);
    /// The most namespaces that are advertised at a time.
    pub const MAX_NAMESPACES: usize = 1024;
    const MAX_SEEN: NonZeroUsize = NonZeroUsize::new(8192).expect("not 0");

    /// A responder of this node.
    pub fn new(own: PeerId, now: Instant) -> Self {
        Self {
            own,
            advertised: HashMap::new(),
            seen: cache(Self::MAX_SEEN),
            by_source: SourceLimits::new(n(32)),
            answers: Limit::new(n(1000), n(1000), now),
            // 5000 a second: half a core at most, on a slow machine.
            awaited: Checks::new(n(64), n(1000), n(1000), now),
            unasked: Checks::new(n(256), n(4000), n(2000), now),
        }
    }

    /// Answers for this namespace until `ttl` has passed. False if too many are
    /// advertised already.
    pub fn advertise(&mut self, namespace: &Namespace, ttl: Duration, now: Instant) -> bool {
        self.advertised.retain(|_, until| *until > now);
        if self.advertised.len() >= Self::MAX_NAMESPACES && !self.advertised.contains_key(namespace)
        {
            return false;
        }
        let until = now + ttl;
        let entry = self.advertised.entry(namespace.clone()).or_insert(until);
        *entry = until.max(*entry);
        true
    }

    /// Whether the namespace is advertised now.
    pub fn advertises(&self, namespace: &Namespace, now: Instant) -> bool {
        self.advertised.get(namespace).is_some_and(|until| *until > now)
    }

    /// What can be said of a datagram without its signature: whether it is
    /// worth checking. `asked` tells whether a response is wanted.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn screen(
        &self,
        claim: &Packet,
        source: SocketAddr,
        medium: Medium,
        asked: Asked,
        now: Instant,
    ) -> Result<(), Refusal> {
        if claim.peer == self.own {
            return Err(Refusal::Own);
        }
        match (&claim.body, medium) {
            (Body::Response { .. }, _) => {
                return match asked {
                    Asked::Yes | Asked::Overheard => Ok(()),
                    Asked::Stale => Err(Refusal::Stale),
                    Asked::No => Err(Refusal::Unasked),
                };
            }
            (Body::Request, Medium::Served) | (Body::Survey { .. }, Medium::Group) => {}
            _ => return Err(Refusal::Medium),
        }
        if source.port() == 0 || source.ip().is_unspecified() || source.ip().is_multicast() {
            return Err(Refusal::Source);
        }
        if !self.advertises(&claim.namespace, now) {
            return Err(Refusal::Namespace);
        }
        if let Body::Survey { distance } = claim.body
            && !in_range(&claim.peer, &self.own, distance)
        {
            return Err(Refusal::Distance);
        }
        let recent = |then: &Instant| now.saturating_duration_since(*then) < Self::REPEAT;
        if self.seen.peek(&Question::of(claim, source)).is_some_and(recent) {
            return Err(Refusal::Repeat);
        }
        Ok(())
    }

    /// Whether one more signature of what came from there may be checked now.
    ///
    /// # Errors
    /// [`Refusal::SourceRate`] or [`Refusal::Rate`].
    pub fn may_verify(
        &mut self,
        source: IpAddr,
        asked: Asked,
        now: Instant,
    ) -> Result<(), Refusal> {
        let checks = if asked == Asked::Yes { &mut self.awaited } else { &mut self.unasked };
        checks.allow(source, now).map_err(|exceeded| match exceeded {
            Exceeded::Source => Refusal::SourceRate,
            Exceeded::All => Refusal::Rate,
        })
    }

    /// Counts a verified question that passed [`screen`](Self::screen), and
    /// says how many bytes the answer may have. `len` is the question's length.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn admit(
        &mut self,
        packet: &Packet,
        source: SocketAddr,
        len: usize,
        now: Instant,
    ) -> Result<usize, Refusal> {
        if !self.by_source.allow(source.ip(), now) {
            return Err(Refusal::SourceRate);
        }
        if !self.answers.allow(now) {
            return Err(Refusal::Rate);
        }
        self.seen.put(Question::of(packet, source), now);
        Ok(len.saturating_add(MAX_GROWTH))
    }
}

impl Question {
    fn of(packet: &Packet, source: SocketAddr) -> Self {
        let distance = match packet.body {
            Body::Survey { distance } => Some(distance),
            _ => None,
        };
        Self { source, peer: packet.peer, namespace: packet.namespace.clone(), distance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        responder: Responder,
        now: Instant,
        namespace: Namespace,
    }

    const SOURCE: &str = "10.0.0.1:1000";

    impl Case {
        fn new() -> Self {
            let now = Instant::now();
            let namespace = Namespace::default();
            let mut responder = Responder::new(PeerId::random(), now);
            assert!(responder.advertise(&namespace, Responder::TTL, now));
            Self { responder, now, namespace }
        }

        fn packet(&self, body: Body) -> Packet {
            let namespace = self.namespace.clone();
            Packet { peer: PeerId::random(), namespace, nonce: 0, body }
        }

        fn screen(&self, packet: &Packet, medium: Medium) -> Result<(), Refusal> {
            self.responder.screen(packet, SOURCE.parse().unwrap(), medium, Asked::No, self.now)
        }
    }

    #[test]
    fn a_request_is_answered_while_its_namespace_is_advertised() {
        let mut case = Case::new();
        let request = case.packet(Body::Request);
        assert_eq!(case.screen(&request, Medium::Served), Ok(()));
        let budget = case.responder.admit(&request, SOURCE.parse().unwrap(), 200, case.now);
        assert_eq!(budget, Ok(264));
        case.now += Responder::TTL;
        assert_eq!(case.screen(&request, Medium::Served), Err(Refusal::Namespace));
    }

    #[test]
    fn what_is_not_for_us_is_refused_by_reason() {
        let case = Case::new();
        let request = case.packet(Body::Request);
        let mut own = request.clone();
        own.peer = case.responder.own;
        assert_eq!(case.screen(&own, Medium::Served), Err(Refusal::Own));
        assert_eq!(case.screen(&request, Medium::Group), Err(Refusal::Medium));
        assert_eq!(case.screen(&request, Medium::Asking), Err(Refusal::Medium));
        let everyone = case.packet(Body::Survey { distance: 255 });
        assert_eq!(case.screen(&everyone, Medium::Group), Ok(()));
        assert_eq!(case.screen(&everyone, Medium::Served), Err(Refusal::Medium));
        let nobody = case.packet(Body::Survey { distance: 0 });
        assert_eq!(case.screen(&nobody, Medium::Group), Err(Refusal::Distance));
        let response = case.packet(Body::Response { addrs: vec![] });
        for (asked, screened) in [
            (Asked::Yes, Ok(())),
            (Asked::Overheard, Ok(())),
            (Asked::Stale, Err(Refusal::Stale)),
            (Asked::No, Err(Refusal::Unasked)),
        ] {
            let source = SOURCE.parse().unwrap();
            let result = case.responder.screen(&response, source, Medium::Asking, asked, case.now);
            assert_eq!(result, screened);
        }
        let source = "10.0.0.1:0".parse().unwrap();
        let from_port_0 =
            case.responder.screen(&request, source, Medium::Served, Asked::No, case.now);
        assert_eq!(from_port_0, Err(Refusal::Source));
    }

    #[test]
    fn a_repetition_is_refused_for_a_moment_from_its_source_only() {
        let mut case = Case::new();
        let request = case.packet(Body::Request);
        case.responder.admit(&request, SOURCE.parse().unwrap(), 200, case.now).unwrap();
        assert_eq!(case.screen(&request, Medium::Served), Err(Refusal::Repeat));
        // Neither must a replay shut the asker out, nor one crawl the next of
        // the same node, which may ask with the same bytes.
        for other in ["10.0.0.2:1000", "10.0.0.1:1001"] {
            let other = other.parse().unwrap();
            let screened =
                case.responder.screen(&request, other, Medium::Served, Asked::No, case.now);
            assert_eq!(screened, Ok(()), "{other}");
        }
        case.now += Responder::REPEAT;
        assert_eq!(case.screen(&request, Medium::Served), Ok(()));
    }

    #[test]
    fn one_source_cannot_use_up_the_answers_of_another() {
        let mut case = Case::new();
        let source: SocketAddr = SOURCE.parse().unwrap();
        let mut refused = None;
        for _ in 0..500 {
            let request = case.packet(Body::Request);
            refused = refused.or(case.responder.admit(&request, source, 200, case.now).err());
        }
        assert_eq!(refused, Some(Refusal::SourceRate));
        let other = "10.0.0.2:1000".parse().unwrap();
        let request = case.packet(Body::Request);
        assert!(case.responder.admit(&request, other, 200, case.now).is_ok());
    }

    #[test]
    fn no_flood_of_questions_keeps_answers_from_being_checked() {
        let mut case = Case::new();
        let ip = |i: u32| IpAddr::V4((0x0a00_0000 + i).into());
        let check = |case: &mut Case, i, asked| case.responder.may_verify(ip(i), asked, case.now);
        let refused = (0..100_000).filter_map(|i| check(&mut case, i % 8, Asked::No).err());
        assert!(refused.last().is_some());
        // The flood may have come from addresses of those who answer.
        assert_eq!(check(&mut case, 1, Asked::Yes), Ok(()));
        // Nor does one who answers without end keep others from it.
        let refused = (0..1000).filter_map(|_| check(&mut case, 1, Asked::Yes).err());
        assert_eq!(refused.last(), Some(Refusal::SourceRate));
        assert_eq!(check(&mut case, 2, Asked::Yes), Ok(()));
    }

    #[test]
    fn the_number_of_namespaces_is_bounded() {
        let mut case = Case::new();
        for i in 0..Responder::MAX_NAMESPACES * 2 {
            let name = Namespace::new(format!("n{i}")).unwrap();
            case.responder.advertise(&name, Responder::TTL, case.now);
        }
        assert_eq!(case.responder.advertised.len(), Responder::MAX_NAMESPACES);
        let later = case.now + Responder::TTL;
        let name = Namespace::new("later").unwrap();
        assert!(case.responder.advertise(&name, Responder::TTL, later));
    }
}
