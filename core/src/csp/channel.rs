//! A channel, wherever it is.

use super::{local::Local, owner::Way, parcel::Parcel, remote::Remote, value::Bytes};
use crate::{DEFAULT_TIMEOUT, ErrorKind, Result};
use futures::Stream;
use libp2p::PeerId;
use std::{fmt, sync::Arc, time::Duration};

/// A channel: values are handed from senders to receivers, each to one, at the
/// place of one node, its owner. Clones are the same.
///
/// A value is never received twice, and lost only with a process. Senders wait
/// while it is full; one of capacity 0 hands each value from sender to receiver.
/// With its owner a channel is gone: then whoever waits fails with
/// [`ErrorKind::Unreachable`], and does not end as if it had been closed.
#[derive(Clone)]
pub struct Channel(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Local(PeerId, Arc<Local>),
    Remote(Arc<Remote>),
}

impl Channel {
    pub(super) fn local(own: PeerId, local: Arc<Local>) -> Self {
        Self(Kind::Local(own, local))
    }

    pub(super) fn remote(remote: Arc<Remote>) -> Self {
        Self(Kind::Remote(remote))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Local(_, local) => &local.name,
            Kind::Remote(remote) => &remote.name,
        }
    }

    /// The node whose it is.
    pub fn owner(&self) -> PeerId {
        match &self.0 {
            Kind::Local(own, _) => *own,
            Kind::Remote(remote) => remote.owner,
        }
    }

    /// Values that wait in it, if it is this node's own.
    pub fn waiting(&self) -> Option<usize> {
        match &self.0 {
            Kind::Local(_, local) => Some(local.len()),
            Kind::Remote(_) => None,
        }
    }

    /// Values of a channel elsewhere that may be ours, or are and were not received
    /// yet, since their receivers had gone: the next receivers here get them.
    pub fn in_doubt(&self) -> usize {
        match &self.0 {
            Kind::Local(..) => 0,
            Kind::Remote(remote) => remote.in_doubt(),
        }
    }

    /// Sends a value of at most 1 MiB, and waits until there is room for it, or,
    /// at capacity 0, until it is received. Dropping the future withdraws it, if
    /// it has not been taken in.
    ///
    /// # Errors
    /// As of [`send_timeout`](Self::send_timeout), but `Timeout`.
    pub async fn send(&self, value: impl Into<Vec<u8>>) -> Result<()> {
        self.send_within(value.into(), None).await
    }

    /// The same, with a deadline. Zero: only if it need not wait. To learn how a
    /// value fared that is sent elsewhere it may take a second longer.
    ///
    /// # Errors
    /// `Timeout`: it was not taken in, and will not be; `Closed`; `TooLarge`;
    /// `Busy` if too many wait; `NotFound` if the owner has no such channel;
    /// `Paused` if it is another node's and this one is paused; `Unreachable` if it
    /// can't be reached: whether the value was taken in is not known if the message
    /// says so.
    pub async fn send_timeout(&self, value: impl Into<Vec<u8>>, timeout: Duration) -> Result<()> {
        self.send_within(value.into(), Some(timeout)).await
    }

    async fn send_within(&self, value: Vec<u8>, timeout: Option<Duration>) -> Result<()> {
        let value = Bytes::new(value)?;
        match &self.0 {
            Kind::Local(_, local) => local.send(value, timeout).await,
            Kind::Remote(remote) => remote.send(value, timeout).await,
        }
    }

    /// Receives a value. Dropping the future loses none: what came for it goes
    /// back, or to the next receiver here.
    ///
    /// # Errors
    /// As of [`recv_timeout`](Self::recv_timeout), but `Timeout`.
    pub async fn recv(&self) -> Result<Vec<u8>> {
        self.recv_within(None).await
    }

    /// The same, with a deadline. Zero: only what is there; from a channel
    /// elsewhere nothing comes so soon.
    ///
    /// # Errors
    /// `Timeout`; `Closed` if it is closed and empty; `Busy` if too many wait;
    /// `NotFound` if the owner has no such channel; `Paused` if it is another node's
    /// and this one is paused; `Unreachable` if it can't be reached: a value that may
    /// have been taken then is given to the next receiver here.
    pub async fn recv_timeout(&self, timeout: Duration) -> Result<Vec<u8>> {
        self.recv_within(Some(timeout)).await
    }

    async fn recv_within(&self, timeout: Option<Duration>) -> Result<Vec<u8>> {
        Ok(self.recv_parcel(timeout).await?.into_vec())
    }

    /// Receives a value for one who may be called off before it sees it.
    ///
    /// # Errors
    /// As of [`recv_timeout`](Self::recv_timeout).
    #[doc(hidden)]
    pub async fn recv_parcel(&self, timeout: Option<Duration>) -> Result<Parcel> {
        match &self.0 {
            Kind::Local(_, local) => {
                Ok(Parcel::local(local.clone(), local.receive(Way::Plain, timeout).await?))
            }
            Kind::Remote(remote) => {
                Ok(Parcel::remote(remote.clone(), remote.receive(timeout).await?))
            }
        }
    }

    /// Sends a value, if it need not wait; else gives it back. For languages in which a
    /// call that waits takes much more.
    ///
    /// # Errors
    /// `Closed`; `TooLarge`.
    #[doc(hidden)]
    pub fn send_now(&self, value: Vec<u8>) -> Result<Option<Vec<u8>>> {
        match &self.0 {
            Kind::Local(_, local) => Ok(local.send_now(Bytes::new(value)?)?.map(Bytes::into_vec)),
            Kind::Remote(_) => Ok(Some(value)),
        }
    }

    /// Receives a value, if it need not wait.
    #[doc(hidden)]
    pub fn recv_now(&self) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Local(_, local) => Some(local.receive_now()?.value.into_vec()),
            Kind::Remote(_) => None,
        }
    }

    /// Takes a value as a job, which comes back to the channel unless it is
    /// [`done`](Job::done): at least once.
    ///
    /// # Errors
    /// As of [`recv`](Self::recv).
    pub async fn take(&self) -> Result<Job> {
        self.take_within(None).await
    }

    /// The same, with a deadline.
    ///
    /// # Errors
    /// As of [`recv_timeout`](Self::recv_timeout).
    pub async fn take_timeout(&self, timeout: Duration) -> Result<Job> {
        self.take_within(Some(timeout)).await
    }

    async fn take_within(&self, timeout: Option<Duration>) -> Result<Job> {
        let (lease, value) = match &self.0 {
            Kind::Local(_, local) => {
                let given = local.receive(Way::Take, timeout).await?;
                (given.lease.unwrap_or_default(), given.value)
            }
            Kind::Remote(remote) => remote.take(timeout).await?,
        };
        Ok(Job { channel: self.0.clone(), lease, value, ended: false })
    }

    /// Closes the channel: sends fail from now on, and receivers get what is in it
    /// and then end. Its owner may, and others if it was made so.
    ///
    /// # Errors
    /// `Closed` if it was closed; `Invalid` if it is not ours to close;
    /// `Unreachable`.
    pub async fn close(&self) -> Result<()> {
        match &self.0 {
            Kind::Local(_, local) if local.close() => Ok(()),
            Kind::Local(_, local) => Err(local.closed()),
            Kind::Remote(remote) => remote.close(Some(DEFAULT_TIMEOUT)).await,
        }
    }

    #[cfg(test)]
    pub(super) fn dump(&self) -> String {
        match &self.0 {
            Kind::Local(_, local) => local.dump(),
            Kind::Remote(remote) => remote.dump(),
        }
    }

    fn is_node_closed(&self) -> bool {
        match &self.0 {
            Kind::Local(_, local) => local.is_node_closed(),
            Kind::Remote(remote) => remote.is_node_closed(),
        }
    }

    /// The values, until the channel is closed and empty. It ends with an error if
    /// the owner goes, or this node is closed.
    pub fn values(&self) -> impl Stream<Item = Result<Vec<u8>>> + Send + 'static + use<> {
        futures::stream::unfold(Some(self.clone()), |channel| async {
            let channel = channel?;
            match channel.recv().await {
                Ok(value) => Some((Ok(value), Some(channel))),
                Err(error) if error.kind() == ErrorKind::Closed && !channel.is_node_closed() => {
                    None
                }
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("name", &self.name())
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

/// A value that was taken as a job. It is renewed by itself while it is held, and
/// goes back to the head of the channel when this is dropped, when the connection
/// to the owner ends, or if nothing is heard from here for 10 s.
pub struct Job {
    channel: Kind,
    lease: u64,
    value: Bytes,
    ended: bool,
}

impl Job {
    /// The value.
    pub fn data(&self) -> &[u8] {
        self.value.as_slice()
    }

    /// The job is done, and the value gone from the channel.
    ///
    /// # Errors
    /// `NotFound` if it has gone back, so that another may do it too;
    /// `Unreachable` if that is not known within 10 s.
    pub async fn done(mut self) -> Result<()> {
        self.finish(true).await
    }

    /// The value goes back to where it was.
    ///
    /// # Errors
    /// `NotFound` if it has gone back already; `Unreachable`: then it goes back all
    /// the same.
    pub async fn give_back(mut self) -> Result<()> {
        self.finish(false).await
    }

    async fn finish(&mut self, done: bool) -> Result<()> {
        self.ended = true;
        let (ours, name) = match &self.channel {
            Kind::Local(_, local) => (local.finish(self.lease, done), &local.name),
            Kind::Remote(remote) => {
                (remote.finish(self.lease, done, Some(DEFAULT_TIMEOUT)).await?, &remote.name)
            }
        };
        if ours {
            return Ok(());
        }
        let message = format!(
            "the job of the channel `{name}` is not ours any more: it went back when its owner \
             heard nothing of us, and another may do it"
        );
        Err(crate::Error::new(ErrorKind::NotFound, message))
    }

    /// Whether it has gone back.
    pub fn is_lost(&self) -> bool {
        match &self.channel {
            Kind::Local(_, local) => local.is_node_closed(),
            Kind::Remote(remote) => !self.ended && !remote.holds(self.lease),
        }
    }

    /// Waits until it has gone back.
    pub async fn lost(&self) {
        match &self.channel {
            Kind::Local(_, local) => local.node_closed().await,
            Kind::Remote(remote) => remote.lost(self.lease).await,
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        match &self.channel {
            Kind::Local(_, local) => drop(local.finish(self.lease, false)),
            Kind::Remote(remote) => remote.drop_job(self.lease),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("lease", &self.lease).finish_non_exhaustive()
    }
}
