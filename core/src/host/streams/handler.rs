//! The streams of one connection.

use super::{
    Open, Refusal, Reply, Streams,
    ending::{Ending, Line},
};
use libp2p::{
    InboundUpgrade, Multiaddr, PeerId, Stream, StreamProtocol,
    core::{UpgradeInfo, upgrade::ReadyUpgrade},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

pub(in crate::host) struct Handler {
    peer: PeerId,
    opens: mpsc::Receiver<Box<Open>>,
    streams: Streams,
    ending: Ending,
}

impl Handler {
    pub(super) fn new(
        (peer, addr): (PeerId, &Multiaddr),
        opens: mpsc::Receiver<Box<Open>>,
        line: Line,
        streams: Streams,
    ) -> Self {
        Self { peer, opens, streams, ending: Ending::new(addr, line) }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = AnyOf;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    /// Who waits, and that something is under way on the connection.
    type OutboundOpenInfo = (Reply, Line);

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(AnyOf(self.streams.protocols()), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Infallible>>
    {
        while let Poll::Ready(Some(open)) = self.opens.poll_recv(cx) {
            let Open { protocol, reply } = *open;
            // Nobody waits for it any more.
            if reply.is_closed() {
                continue;
            }
            let protocol =
                SubstreamProtocol::new(ReadyUpgrade::new(protocol), (reply, self.ending.line()));
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                info: (),
            }) => self.streams.came_in(self.peer, protocol, self.ending.stream(stream)),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: (reply, _),
            }) => {
                // Who gave up waiting drops the stream.
                let _ = reply.send(Ok(self.ending.stream(stream)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: (reply, _), error }) => {
                let refusal = match error {
                    StreamUpgradeError::NegotiationFailed => Refusal::Unsupported,
                    error => Refusal::Failed(error.to_string()),
                };
                let _ = reply.send(Err(refusal));
            }
            _ => {}
        }
    }
}

/// Takes a stream of any of these protocols.
pub(in crate::host) struct AnyOf(Arc<[StreamProtocol]>);

impl UpgradeInfo for AnyOf {
    type Info = StreamProtocol;
    type InfoIter = Each;

    fn protocol_info(&self) -> Each {
        Each { all: Arc::clone(&self.0), next: 0 }
    }
}

impl InboundUpgrade<Stream> for AnyOf {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

/// Goes through a shared list.
pub(in crate::host) struct Each {
    all: Arc<[StreamProtocol]>,
    next: usize,
}

impl Iterator for Each {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let item = self.all.get(self.next).cloned();
        self.next += 1;
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use futures::task::noop_waker_ref;
    use tokio::sync::oneshot;

    /// A connection on which a stream is being negotiated has something under way: one over
    /// a relay isn't closed meanwhile.
    #[test]
    fn a_stream_that_is_being_negotiated_uses_its_connection() {
        let (asking, opens) = mpsc::channel(1);
        let line = Line::default();
        let streams = Streams::new(&Metrics::default());
        let end = (PeerId::random(), &Multiaddr::empty());
        let mut handler = Handler::new(end, opens, line.clone(), streams);
        let (reply, _answer) = oneshot::channel();
        let protocol = StreamProtocol::new("/x");
        asking.try_send(Box::new(Open { protocol, reply })).unwrap();
        assert!(!line.is_used());
        let mut cx = Context::from_waker(noop_waker_ref());
        let Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol }) =
            handler.poll(&mut cx)
        else {
            panic!("it is asked for")
        };
        assert!(line.is_used());
        drop(protocol);
        assert!(!line.is_used());
    }
}
