//! Tells whoever listens what is noticed of the peers that are connected.

use super::{Command, Host, closing::End};
use crate::{PeerInfo, Result, metrics::ByLabel};
use libp2p::{PeerId, swarm::ConnectionError};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::mpsc, time::Instant};

/// Signs that may wait to be looked at: several of each peer.
const WAITING: usize = 4096;

/// What is noticed of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It is connected.
    Here,
    /// It has not answered a ping for a second, on any connection.
    Late,
    /// It has not answered a ping in time, on any connection.
    Silent,
    /// It answers again, or is connected anew.
    Answers,
    /// Its last connection broke.
    Broken,
    /// It closed its last connection, in order.
    Left,
    /// The last connection was closed here, or nobody knows why.
    Closed,
}

impl Sign {
    /// What the end of a last connection says.
    pub(super) fn of(cause: Option<&ConnectionError>) -> Self {
        let Some(ConnectionError::IO(error)) = cause else { return Self::Closed };
        match end(error) {
            Some(End::Broken(_)) => Self::Broken,
            Some(End::Said(_)) => Self::Left,
            Some(End::Closing(_)) | None => Self::Closed,
        }
    }
}

/// How a connection ended. Each box around a multiplexer wraps its errors once more.
fn end(error: &io::Error) -> Option<&End> {
    let wrapped = error.get_ref()?;
    wrapped.downcast_ref().or_else(|| end(wrapped.downcast_ref()?))
}

type Sender = mpsc::Sender<(PeerId, Sign)>;

/// Whom the signs are told. Clones share it.
#[derive(Clone)]
pub(super) struct Neighbours {
    listener: Arc<Mutex<Option<Sender>>>,
    dropped: ByLabel,
}

impl Neighbours {
    pub(super) fn new(dropped: ByLabel) -> Self {
        Self { listener: Arc::default(), dropped }
    }

    /// The signs from now on, which begin with those who are connected. There is one
    /// listener: the last.
    pub(super) fn listen(&self, connected: Vec<PeerId>) -> mpsc::Receiver<(PeerId, Sign)> {
        let (tell, told) = mpsc::channel(WAITING);
        let mut listener = self.lock();
        for peer in connected {
            // There are fewer than there is room for.
            let _ = tell.try_send((peer, Sign::Here));
        }
        *listener = Some(tell);
        told
    }

    /// Tells of a peer. What there is no room for is lost, and counted.
    pub(super) fn tell(&self, peer: PeerId, sign: Sign) {
        let listener = self.lock();
        let told = listener.as_ref().map(|listener| listener.try_send((peer, sign)));
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = told {
            self.dropped.get_or_create(&[("queue", "neighbours")]).inc();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sender>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// What is noticed of connected peers from now on, those that there are first. One
    /// alone hears it: who asked last.
    pub(crate) fn neighbours(&self) -> mpsc::Receiver<(PeerId, Sign)> {
        self.neighbours.listen(self.connected.ids())
    }

    /// Pings on all connections now.
    pub(crate) async fn ask_neighbours(&self) {
        // A closed host has no connections left.
        let _ = self.commands.send(Command::Ask).await;
    }

    /// When the last ping was sent that was answered, if that was not before this time.
    pub(crate) fn answered_since(&self, time: Instant) -> Option<Instant> {
        self.round_trips.since(time)
    }

    /// Whether a peer that its record tells of can be reached: whoever is connected is
    /// dialled on another connection, which closes at once.
    ///
    /// # Errors
    /// As of [`reach_told`](Self::reach_told).
    pub(crate) async fn probe(&self, info: &PeerInfo) -> Result<()> {
        if !self.is_connected(&info.id) {
            return self.reach_told(info).await;
        }
        let own = self.own.borrow().clone();
        let addrs = self.lookups.of_record(&info.addrs, &own);
        let addrs = self.lookups.replaced(&addrs, &own).await.addrs;
        let info = PeerInfo { id: info.id, addrs };
        self.ask(|reply| Command::Try { info, reply }).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_connection_ended_is_found_in_whatever_it_is_wrapped() {
        let why = || io::Error::from(io::ErrorKind::UnexpectedEof).into();
        for (end, sign) in [
            (End::Broken(why()), Sign::Broken),
            (End::Said(why()), Sign::Left),
            (End::Closing(why()), Sign::Closed),
        ] {
            let error = io::Error::other(io::Error::other(io::Error::other(end)));
            assert_eq!(Sign::of(Some(&ConnectionError::IO(error))), sign);
        }
        let other = ConnectionError::IO(io::ErrorKind::ConnectionReset.into());
        let others = [None, Some(&ConnectionError::KeepAliveTimeout), Some(&other)];
        assert_eq!(others.map(Sign::of), [Sign::Closed; 3]);
    }
}
