//! Gossip on one connection: the peer's stream, and ours on the connection that
//! gossip uses. Streams live as long as the connection; of the peer's the last
//! one counts.

use super::{
    engine::{Offence, Version},
    stream::{Ended, Reading, Writing},
    wire::{MAX_FRAME, Rpc},
};
use futures::ready;
use libp2p::{
    InboundUpgrade, OutboundUpgrade, Stream, StreamProtocol,
    core::UpgradeInfo,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use smallvec::SmallVec;
use std::{
    array,
    convert::Infallible,
    future::{self, Ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// The protocol, the newest version first.
const PROTOCOLS: [StreamProtocol; 3] = [
    StreamProtocol::new("/meshsub/1.2.0"),
    StreamProtocol::new("/meshsub/1.1.0"),
    StreamProtocol::new("/meshsub/1.0.0"),
];

/// What the behaviour has the connection do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open a stream: gossip uses this connection. What is written in this use is
    /// counted there.
    Use(Arc<Written>),
    /// Write a frame, the one before having been written in this use.
    Write(Vec<u8>),
}

/// What was written in one use of a connection. The behaviour looks whenever it is
/// awake; it would cost much to wake it for each frame.
#[derive(Debug, Default)]
pub(crate) struct Written {
    frames: AtomicU64,
    /// Whether the behaviour waits to be told.
    awaited: AtomicBool,
}

impl Written {
    /// How many frames.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::SeqCst)
    }

    /// Has the handler tell of the next one.
    pub(super) fn tell(&self) {
        self.awaited.store(true, Ordering::SeqCst);
    }

    /// Counts one. Whether to tell of it.
    fn add(&self) -> bool {
        self.frames.fetch_add(1, Ordering::SeqCst);
        self.awaited.swap(false, Ordering::SeqCst)
    }
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub(crate) enum Told {
    /// Our stream is open.
    Open(Version),
    /// The peer doesn't speak gossip.
    Unsupported,
    /// A frame is written of which the behaviour wants to know.
    Written,
    /// A frame came.
    Received(Box<Rpc>),
    /// The peer did what it should not.
    Offended(Offence),
    /// Our stream failed, or the peer doesn't read or stops within a frame: the
    /// connection is of no use.
    Failed(String),
}

/// Our stream.
enum Outbound {
    /// Gossip uses another connection, or the peer speaks none.
    None,
    Wanted,
    Opening,
    Open(Stream, Version),
    Failed,
}

/// Frames without anything that are read before others have their turn.
const EMPTY_AT_ONCE: usize = 64;
/// How long the peer may take to open our stream.
const OPENING: Duration = Duration::from_secs(30);

pub(crate) struct Handler {
    outbound: Outbound,
    used: Arc<Written>,
    /// The frame under way, and its use.
    writing: Option<(Writing, Arc<Written>)>,
    /// One more, if that is of a former use.
    next: Option<Vec<u8>>,
    inbound: Option<Reading<Stream>>,
    /// Whether the peer has opened a stream before.
    was_opened: bool,
    /// What is not told yet.
    told: SmallVec<[Told; 1]>,
}

type Event = ConnectionHandlerEvent<Meshsub, (), Told>;

impl Handler {
    pub(super) fn new() -> Self {
        Self {
            outbound: Outbound::None,
            used: Arc::default(),
            writing: None,
            next: None,
            inbound: None,
            was_opened: false,
            told: SmallVec::new(),
        }
    }

    fn on_inbound(&mut self, stream: Stream) {
        if self.was_opened {
            self.told.push(Told::Offended(Offence::Substream));
        }
        self.was_opened = true;
        self.inbound = Some(Reading::new(stream));
    }

    /// Our stream is of no use any more.
    fn fail(&mut self, why: impl ToString) -> Told {
        (self.outbound, self.writing, self.next) = (Outbound::Failed, None, None);
        Told::Failed(why.to_string())
    }

    /// Goes on with the frame that is under way.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        while let (Outbound::Open(stream, _), Some((writing, used))) =
            (&mut self.outbound, &mut self.writing)
        {
            if let Err(error) = ready!(writing.poll(stream, cx)) {
                return Poll::Ready(self.fail(error));
            }
            let tell = used.add();
            self.writing = self.next.take().map(|frame| (Writing::new(frame), self.used.clone()));
            if tell {
                return Poll::Ready(Told::Written);
            }
        }
        Poll::Pending
    }

    /// Reads what the peer sends.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        // What says nothing costs nobody else any time.
        for _ in 0..EMPTY_AT_ONCE {
            match ready!(self.poll_frame(cx)) {
                Told::Received(rpc) if *rpc == Rpc::default() => {}
                told => return Poll::Ready(told),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        let Some(reading) = &mut self.inbound else { return Poll::Pending };
        let rpc = match ready!(reading.poll(cx, MAX_FRAME)) {
            Ok(frame) => Rpc::decode(&frame).ok(),
            Err(Ended::Malformed) => None,
            // The peer may open another one.
            Err(Ended::Over) => {
                self.inbound = None;
                return Poll::Pending;
            }
            Err(Ended::Stalled) => {
                self.inbound = None;
                return Poll::Ready(Told::Failed("the rest of a frame does not come".into()));
            }
        };
        Poll::Ready(match rpc {
            Some(rpc) => Told::Received(Box::new(rpc)),
            None => {
                self.inbound = None;
                Told::Offended(Offence::Malformed)
            }
        })
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Told;
    type InboundProtocol = Meshsub;
    type OutboundProtocol = Meshsub;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Meshsub> {
        SubstreamProtocol::new(Meshsub, ())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.told.is_empty() {
            return Poll::Ready(Event::NotifyBehaviour(self.told.remove(0)));
        }
        if matches!(self.outbound, Outbound::Wanted) {
            self.outbound = Outbound::Opening;
            let protocol = SubstreamProtocol::new(Meshsub, ()).with_timeout(OPENING);
            return Poll::Ready(Event::OutboundSubstreamRequest { protocol });
        }
        if let Poll::Ready(told) = self.poll_write(cx) {
            return Poll::Ready(Event::NotifyBehaviour(told));
        }
        self.poll_read(cx).map(Event::NotifyBehaviour)
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Use(used) => {
                self.used = used;
                match &self.outbound {
                    Outbound::None => self.outbound = Outbound::Wanted,
                    Outbound::Open(_, version) => self.told.push(Told::Open(*version)),
                    Outbound::Wanted | Outbound::Opening | Outbound::Failed => {}
                }
            }
            Order::Write(frame) if self.writing.is_some() => self.next = Some(frame),
            Order::Write(frame) => self.writing = Some((Writing::new(frame), self.used.clone())),
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Meshsub, Meshsub>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, _),
                ..
            }) => self.on_inbound(stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, version),
                ..
            }) => {
                self.outbound = Outbound::Open(stream, version);
                self.told.push(Told::Open(version));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => match error {
                StreamUpgradeError::NegotiationFailed => {
                    (self.outbound, self.writing) = (Outbound::None, None);
                    self.told.push(Told::Unsupported);
                }
                StreamUpgradeError::Apply(never) => match never {},
                error => {
                    let failed = self.fail(error);
                    self.told.push(failed);
                }
            },
            _ => {}
        }
    }
}

/// A stream for gossip, and the version that both sides speak.
pub(crate) struct Meshsub;

impl UpgradeInfo for Meshsub {
    type Info = StreamProtocol;
    type InfoIter = array::IntoIter<StreamProtocol, 3>;

    fn protocol_info(&self) -> Self::InfoIter {
        PROTOCOLS.into_iter()
    }
}

impl InboundUpgrade<Stream> for Meshsub {
    type Output = (Stream, Version);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        future::ready(Ok((stream, version(&protocol))))
    }
}

impl OutboundUpgrade<Stream> for Meshsub {
    type Output = (Stream, Version);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        self.upgrade_inbound(stream, protocol)
    }
}

fn version(protocol: &StreamProtocol) -> Version {
    match PROTOCOLS.iter().position(|known| known == protocol) {
        Some(0) => Version::V1_2,
        Some(1) => Version::V1_1,
        _ => Version::V1_0,
    }
}
