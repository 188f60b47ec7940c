//! The gate of a cluster with certificates: what a new connection has to pass before
//! the swarm hears of it.
//!
//! Until then nothing else is spoken on it: no protocol is told, no address, no
//! topic. Who dials shows its certificate first; who is dialled shows its own only to
//! whom it has let in.

use crate::{
    admit::{
        AdmitError, Refusal,
        gate::{Hello, MAX_HELLO, PROTOCOL},
        wire::unframe,
    },
    error::reason,
    members::Members,
};
use libp2p::{
    PeerId,
    core::{
        ConnectedPoint, Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
    },
    futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
};
use multistream_select::{NegotiationError, Version, dialer_select_proto, listener_select_proto};
use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::timeout;

/// How long it may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// A connection, as a transport gives it.
type Connection = (PeerId, StreamMuxerBox);

/// Why a connection did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    /// The certificate that was shown is not accepted here.
    #[error("{0}")]
    Refused(Refusal),
    /// It ended the connection when it was shown ours.
    #[error(
        "it ended the connection when it was shown this node's certificate: that may have expired \
         or been revoked, or be of another authority or namespace"
    )]
    NotAccepted,
    /// It asks for no certificates.
    #[error(
        "it asks for no certificates and has none, as a node without `admit`: give all nodes of \
         the cluster the same"
    )]
    Open,
    /// It said something else.
    #[error("what it shows is no certificate")]
    Garbage,
    /// It said nothing.
    #[error("it showed no certificate within 5 s")]
    Timeout,
    /// The connection ended.
    #[error("the connection ended: {0}")]
    Io(Box<str>),
}

impl Closed {
    /// The reason's name as a metrics label.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.label(),
            Self::NotAccepted => "not-accepted",
            Self::Open => "open",
            Self::Garbage => "garbage",
            Self::Timeout => "timeout",
            Self::Io(_) => "io",
        }
    }
}

impl From<Refusal> for Closed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        Self::Io(reason(&error).into())
    }
}

/// What becomes of it as a transport's error. libp2p puts that into an `Either`, which
/// passes for what is in it: only what is the source of that can be found.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotPassed(#[source] Closed);

/// Why a connection did not pass, if it failed here, and not before: its handshake was
/// for nothing.
pub(super) fn closed<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Closed> {
    if let Some(closed) = error.downcast_ref::<Closed>() {
        return Some(closed);
    }
    // What an error of I/O wraps is not its source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => closed(wrapped),
        None => closed(error.source()?),
    }
}

/// Has a connection pass, or ends it.
pub(super) async fn pass(
    members: Members,
    (peer, mut muxer): Connection,
    endpoint: ConnectedPoint,
) -> Result<Connection, NotPassed> {
    // Also where both ends dialled, and the transport has settled which one did.
    let dials = matches!(endpoint, ConnectedPoint::Dialer { role_override: Endpoint::Dialer, .. });
    let shown = timeout(LIMIT, show(&members, peer, &mut muxer, dials)).await;
    let shown = shown.unwrap_or(Err(Closed::Timeout));
    if let Err(closed) = &shown {
        members.turned_away(&peer, closed.label(), closed);
    }
    shown.map(|()| (peer, muxer)).map_err(NotPassed)
}

async fn show(
    members: &Members,
    peer: PeerId,
    muxer: &mut StreamMuxerBox,
    dials: bool,
) -> Result<(), Closed> {
    let stream = poll_fn(|cx| {
        drive(muxer, cx)?;
        let stream = match dials {
            true => muxer.poll_outbound_unpin(cx),
            false => muxer.poll_inbound_unpin(cx),
        };
        stream.map_err(|error| Closed::Io(reason(&error).into()))
    })
    .await?;
    let shown = AtomicBool::new(false);
    let mut work = pin!(async {
        match dials {
            true => dialled(members, peer, stream, &shown).await,
            false => accepted(members, peer, stream).await,
        }
    });
    poll_fn(|cx| {
        // What has come is read also if the connection has ended since.
        if let Poll::Ready(shown) = work.as_mut().poll(cx) {
            return Poll::Ready(shown);
        }
        match drive(muxer, cx) {
            Ok(()) => Poll::Pending,
            // It was there until then.
            Err(Closed::Io(_)) if shown.load(Ordering::Relaxed) => {
                Poll::Ready(Err(Closed::NotAccepted))
            }
            Err(closed) => Poll::Ready(Err(closed)),
        }
    })
    .await
}

/// Has a multiplexer do its work: its streams need that.
fn drive(muxer: &mut StreamMuxerBox, cx: &mut Context<'_>) -> Result<(), Closed> {
    loop {
        match muxer.poll_unpin(cx) {
            // Another address of the peer, which the swarm will hear of with the next.
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Err(Closed::Io(reason(&error).into())),
            Poll::Pending => return Ok(()),
        }
    }
}

async fn dialled(
    members: &Members,
    peer: PeerId,
    stream: SubstreamBox,
    shown: &AtomicBool,
) -> Result<(), Closed> {
    // Not lazily: who doesn't speak it is shown nothing.
    let (_, mut stream) = dialer_select_proto(stream, [PROTOCOL], Version::V1).await.map_err(
        |error| match error {
            NegotiationError::Failed => Closed::Open,
            NegotiationError::ProtocolError(error) => Closed::Io(reason(&error).into()),
        },
    )?;
    write(&mut stream, members).await?;
    shown.store(true, Ordering::Relaxed);
    let theirs = match read(&mut stream).await {
        Err(Closed::Io(_)) => return Err(Closed::NotAccepted),
        theirs => theirs?,
    };
    members.shown(&peer, &theirs)?;
    Ok(())
}

async fn accepted(members: &Members, peer: PeerId, stream: SubstreamBox) -> Result<(), Closed> {
    let (_, mut stream) =
        listener_select_proto(stream, [PROTOCOL]).await.map_err(|error| match error {
            NegotiationError::Failed => Closed::Open,
            NegotiationError::ProtocolError(error) => Closed::Io(reason(&error).into()),
        })?;
    let theirs = read(&mut stream).await?;
    members.shown(&peer, &theirs)?;
    write(&mut stream, members).await
}

/// Shows this node's certificate.
async fn write(stream: &mut (impl AsyncWrite + Unpin), members: &Members) -> Result<(), Closed> {
    stream.write_all(&Hello { certificate: members.own() }.frame()).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads what the other end shows.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Closed> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 512]);
    loop {
        let shown = unframe(&bytes, MAX_HELLO).map_err(|error| match error {
            AdmitError::TooLarge => Closed::Refused(Refusal::TooLarge),
            _ => Closed::Garbage,
        })?;
        if let Some((shown, _)) = shown {
            return Ok(shown.to_vec());
        }
        match stream.read(&mut chunk).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keypair, members::tests::members};
    use libp2p::{
        Multiaddr,
        core::{StreamMuxer, muxing::StreamMuxerEvent, transport::PortUse},
    };
    use std::pin::Pin;

    /// A connection on which nothing is ever said.
    struct Silent;

    impl StreamMuxer for Silent {
        type Substream = SubstreamBox;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<Self::Substream, Self::Error>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<Self::Substream, Self::Error>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn poll(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_turned_away_after_five_seconds_at_either_end() {
        let (ca, own) = (Keypair::generate_ed25519(), PeerId::random());
        let addr: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let (local_addr, send_back_addr) = (addr.clone(), addr.clone());
        for endpoint in [
            ConnectedPoint::Listener { local_addr, send_back_addr },
            ConnectedPoint::Dialer {
                address: addr,
                role_override: Endpoint::Dialer,
                port_use: PortUse::New,
            },
        ] {
            let began = tokio::time::Instant::now();
            let connection = (PeerId::random(), StreamMuxerBox::new(Silent));
            let error = pass(members(&ca, own), connection, endpoint).await.err().unwrap();
            assert!(matches!(closed(&error), Some(Closed::Timeout)), "{error}");
            assert_eq!(began.elapsed(), LIMIT);
        }
    }
}
