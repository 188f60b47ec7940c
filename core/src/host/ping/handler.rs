//! The pings of one connection, in both directions.

use super::{
    Failure,
    exchange::{Echo, NoAnswer, Ping},
    pace::{Pace, Step},
};
use futures::ready;
use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use smallvec::SmallVec;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// The protocol.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");
/// Streams on which a peer may ping. A further one takes the place of the
/// oldest: who opens one for each ping doesn't always close it.
const INBOUND: usize = 2;

/// What is wanted of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) enum Want {
    /// That it is checked now, with less patience than usual.
    Check,
    /// That a ping is sent now.
    Ask,
    /// That pings are so seldom from now on: the peer is to be woken up no more often.
    Seldom(Duration),
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) enum Told {
    /// The answer to a ping took so long.
    Answered(Duration),
    /// It answers again, or its peer asks.
    Relieved,
    /// There is no answer yet.
    Late,
    /// There was none in time.
    Silent,
    /// It is to be given up.
    Failed(Failure),
}

/// A stream for our pings.
enum Outbound {
    /// There is none.
    None,
    /// The last one broke: a ping waits for another.
    Wanted,
    /// One is being opened for the ping that is due.
    Opening,
    /// The last ping on it was answered.
    Idle(Stream),
    /// A ping is under way on it.
    Busy(Ping<Stream>),
}

pub(in crate::host) struct Handler {
    pace: Pace,
    timer: Pin<Box<Sleep>>,
    outbound: Outbound,
    inbound: SmallVec<[Echo<Stream>; INBOUND]>,
}

type Event = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), Told>;

fn tell(told: Told) -> Event {
    ConnectionHandlerEvent::NotifyBehaviour(told)
}

impl Handler {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            timer: Box::pin(sleep_until(Instant::now())),
            outbound: Outbound::None,
            inbound: SmallVec::new(),
        }
    }

    /// Asks for a stream.
    fn open(&mut self) -> Event {
        self.outbound = Outbound::Opening;
        let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
        ConnectionHandlerEvent::OutboundSubstreamRequest { protocol }
    }

    /// Goes on with the ping that is under way.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let result = match &mut self.outbound {
            Outbound::Wanted => return Poll::Ready(self.open()),
            Outbound::Busy(ping) => ready!(ping.poll(cx)),
            _ => return Poll::Pending,
        };
        let stream = match std::mem::replace(&mut self.outbound, Outbound::None) {
            Outbound::Busy(ping) => Some(ping.into_stream()),
            _ => None,
        };
        let now = Instant::now();
        match result {
            Ok(time) => {
                self.outbound = stream.map_or(Outbound::None, Outbound::Idle);
                self.pace.answered(now);
                Poll::Ready(tell(Told::Answered(time)))
            }
            Err(NoAnswer::Broken) if self.pace.broken(now) => Poll::Ready(self.open()),
            Err(NoAnswer::Broken) => Poll::Pending,
            Err(NoAnswer::Failed(why)) => {
                self.pace.answered(now);
                Poll::Ready(tell(Told::Failed(why)))
            }
        }
    }

    /// Does what it is time for.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Poll::Ready(event) = self.poll_ping(cx) {
                return Poll::Ready(event);
            }
            if self.pace.is_relieved() {
                return Poll::Ready(tell(Told::Relieved));
            }
            match self.pace.step(Instant::now()) {
                Step::Ping => match std::mem::replace(&mut self.outbound, Outbound::None) {
                    Outbound::Idle(stream) => self.ping(stream),
                    _ => return Poll::Ready(self.open()),
                },
                Step::GiveUp => {
                    self.outbound = Outbound::None;
                    return Poll::Ready(tell(Told::Failed(Failure::Silent)));
                }
                Step::Late => return Poll::Ready(tell(Told::Late)),
                Step::Silent => return Poll::Ready(tell(Told::Silent)),
                Step::Wait(until) => {
                    if self.timer.deadline() != until {
                        self.timer.as_mut().reset(until);
                    }
                    ready!(self.timer.as_mut().poll(cx));
                }
            }
        }
    }

    fn ping(&mut self, stream: Stream) {
        self.outbound = Outbound::Busy(Ping::new(stream, rand::random()));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Want;
    type ToBehaviour = Told;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut heard = false;
        self.inbound.retain(|echo| {
            let goes_on = echo.poll(cx).is_pending();
            heard |= echo.has_answered();
            goes_on
        });
        if heard {
            self.pace.heard(Instant::now());
        }
        self.poll_pace(cx)
    }

    fn on_behaviour_event(&mut self, want: Want) {
        match want {
            Want::Check => self.pace.doubt(Instant::now()),
            Want::Ask => self.pace.ask(Instant::now()),
            Want::Seldom(interval) => self.pace.seldom(interval, Instant::now()),
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: mut stream,
                ..
            }) => {
                stream.ignore_for_keep_alive();
                if self.inbound.len() == INBOUND {
                    self.inbound.remove(0);
                }
                self.inbound.push(Echo::new(stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: mut stream,
                ..
            }) => {
                stream.ignore_for_keep_alive();
                // Given up meanwhile, if it isn't awaited.
                if matches!(self.outbound, Outbound::Opening) {
                    self.ping(stream);
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                let now = Instant::now();
                if !matches!(self.outbound, Outbound::Opening) {
                    return;
                }
                self.outbound = Outbound::None;
                match error {
                    // Who says that it doesn't speak ping has answered.
                    StreamUpgradeError::NegotiationFailed => self.pace.answered(now),
                    // Only the pace's own patience counts.
                    StreamUpgradeError::Timeout => {}
                    StreamUpgradeError::Io(_) if self.pace.broken(now) => {
                        self.outbound = Outbound::Wanted;
                    }
                    StreamUpgradeError::Io(_) => {}
                    StreamUpgradeError::Apply(never) => match never {},
                }
            }
            _ => {}
        }
    }
}
