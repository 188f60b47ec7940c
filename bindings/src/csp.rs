//! Channels, select and semaphores.

use crate::{Error, ErrorKind, Node, Peer, Result, ours::Ours};
use casm::{ChannelOptions, csp::select_parcel};
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How soon one who waits for the end of a lease notices that it was given back.
const LOOK: Duration = Duration::from_millis(100);

/// What goes back when it is dropped, unless it was taken out. Not in a forked
/// child: it is the parent's.
struct Held<T> {
    node: Node,
    held: Ours<Mutex<Option<T>>>,
}

impl<T> Held<T> {
    fn new(node: Node, held: T) -> Arc<Self> {
        Arc::new(Self { node, held: Ours::new(Mutex::new(Some(held))) })
    }

    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.held.mine()?.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }

    fn take(&self) -> Option<T> {
        self.held.mine()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A value that was received: unless it is taken out, the next receiver gets it,
/// so that a call loses nothing that is called off in its last moment.
pub struct Parcel(Arc<Held<casm::csp::Parcel>>);

impl Parcel {
    /// Takes the value out; none the second time.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.0.take().map(casm::csp::Parcel::into_vec)
    }

    /// Hands the value on, as dropping this does.
    pub fn put_back(&self) {
        drop(self.0.take());
    }
}

/// A channel, of this node or of another. Clones are the same.
#[derive(Clone)]
pub struct Channel {
    node: Node,
    name: Arc<str>,
    owner: Arc<str>,
    channel: Ours<casm::Channel>,
}

impl Node {
    /// A channel of this node.
    ///
    /// # Errors
    /// `Closed`; `Config` if the name or an option is not acceptable, or the channel
    /// is here with others.
    pub fn channel(&self, name: &str, capacity: usize, close_by_others: bool) -> Result<Channel> {
        let options = ChannelOptions::new().capacity(capacity).close_by_others(close_by_others);
        let channel = self.core()?.channel(name, options)?;
        Ok(Channel::new(self.clone(), channel))
    }

    /// A channel of another node: of the one in whose record it is, if none is said. No
    /// timeout is no limit.
    pub fn open_channel(
        &self,
        name: String,
        owner: Option<Peer>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Channel>> + Send + use<> {
        let this = self.clone();
        self.run(move |node| async move {
            let owner = owner.map(Peer::target).transpose()?;
            let channel = node.open_channel_within(&name, owner, timeout).await?;
            Ok(Channel::new(this, channel))
        })
    }

    /// A semaphore of this node.
    pub fn semaphore(
        &self,
        name: String,
        permits: usize,
    ) -> impl Future<Output = Result<Semaphore>> + Send + use<> {
        let this = self.clone();
        self.run(move |node| async move {
            Ok(Semaphore::new(this, node.semaphore(&name, permits).await?))
        })
    }

    /// A semaphore of another node, in the same way.
    pub fn open_semaphore(
        &self,
        name: String,
        owner: Option<Peer>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Semaphore>> + Send + use<> {
        let this = self.clone();
        self.run(move |node| async move {
            let owner = owner.map(Peer::target).transpose()?;
            let semaphore = node.open_semaphore_within(&name, owner, timeout).await?;
            Ok(Semaphore::new(this, semaphore))
        })
    }
}

impl Channel {
    fn new(node: Node, channel: casm::Channel) -> Self {
        let (name, owner) = (channel.name().into(), channel.owner().to_base58().into());
        Self { node, name, owner, channel: Ours::new(channel) }
    }

    /// The node from which it is used.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the node whose it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Values that wait in it; none if it is another node's.
    pub fn waiting(&self) -> Option<usize> {
        self.channel.mine()?.waiting()
    }

    /// Values that may be ours, or are and were not received yet.
    pub fn in_doubt(&self) -> usize {
        self.channel.mine().map_or(0, casm::Channel::in_doubt)
    }

    /// Sends a value to a channel of this node, if it need not wait; else it comes back.
    ///
    /// # Errors
    /// `Closed`, also of the node; `TooLarge`.
    pub fn send_now(&self, value: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.now()?.send_now(value)
    }

    /// Receives a value of a channel of this node, if it need not wait.
    ///
    /// # Errors
    /// `Closed` of the node.
    pub fn recv_now(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.now()?.recv_now())
    }

    fn now(&self) -> Result<&casm::Channel> {
        match self.node.closing()?.is_cancelled() {
            true => Err(Error::closed("node")),
            false => self.channel.get(),
        }
    }

    /// Sends a value.
    pub fn send(
        &self,
        value: Vec<u8>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let channel = self.channel.clone();
        self.node.run(move |_| async move {
            match timeout {
                Some(timeout) => channel.get()?.send_timeout(value, timeout).await,
                None => channel.get()?.send(value).await,
            }
        })
    }

    /// Receives a value.
    pub fn recv(
        &self,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Parcel>> + Send + use<> {
        let (channel, node) = (self.channel.clone(), self.node.clone());
        self.node.run(move |_| async move {
            Ok(Parcel(Held::new(node, channel.get()?.recv_parcel(timeout).await?)))
        })
    }

    /// Takes a value as a job.
    pub fn take(
        &self,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Job>> + Send + use<> {
        let (channel, node) = (self.channel.clone(), self.node.clone());
        self.node.run(move |_| async move {
            let channel = channel.get()?;
            let job = match timeout {
                Some(timeout) => channel.take_timeout(timeout).await?,
                None => channel.take().await?,
            };
            Ok(Job(Held::new(node, job)))
        })
    }

    /// Closes it.
    pub fn close(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let channel = self.channel.clone();
        self.node.run(move |_| async move { channel.get()?.close().await })
    }

    /// To receive from it in a select.
    pub fn receiving(&self) -> Branch {
        Branch { channel: self.clone(), sends: None }
    }

    /// To send to it in a select.
    pub fn sending(&self, value: Vec<u8>) -> Branch {
        Branch { channel: self.clone(), sends: Some(value) }
    }
}

/// One thing that a select may do. It can be given to several, one after the
/// other.
#[derive(Clone)]
pub struct Branch {
    channel: Channel,
    sends: Option<Vec<u8>>,
}

impl Branch {
    /// The node from which its channel is used.
    pub fn node(&self) -> &Node {
        &self.channel.node
    }
}

/// Does the first of these that can be done, and says which.
///
/// # Errors
/// `Invalid` if there are none, or they are of several nodes of this process.
pub fn select(
    branches: Vec<Branch>,
    timeout: Option<Duration>,
) -> Result<impl Future<Output = Result<(usize, Option<Parcel>)>> + Send + 'static> {
    let invalid = |message: &str| Error::new(ErrorKind::Invalid, message);
    let first = branches.first().ok_or_else(|| invalid("select: no branches are given"))?;
    let node = first.node().clone();
    if branches.iter().any(|branch| branch.node().id() != node.id()) {
        return Err(invalid("select: the branches are of several nodes: give those of one"));
    }
    let branches: Vec<casm::csp::Branch> = branches
        .into_iter()
        .map(|branch| {
            let channel = branch.channel.channel.get()?;
            Ok(match branch.sends {
                Some(value) => channel.sending(value),
                None => channel.receiving(),
            })
        })
        .collect::<Result<_>>()?;
    let this = node.clone();
    Ok(node.run(move |_| async move {
        let (at, parcel) = select_parcel(branches, timeout).await?;
        Ok((at, parcel.map(|parcel| Parcel(Held::new(this, parcel)))))
    }))
}

/// A value that was taken as a job. With its last clone it goes back to the
/// channel.
#[derive(Clone)]
pub struct Job(Arc<Held<casm::Job>>);

impl Job {
    /// The node from which it was taken.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// The value; none once the job is ended.
    pub fn data(&self) -> Option<Vec<u8>> {
        self.0.with(|job| job.data().to_vec())
    }

    /// Whether it has gone back, or is ended.
    pub fn is_lost(&self) -> bool {
        self.0.with(casm::Job::is_lost).unwrap_or(true)
    }

    /// The job is done.
    pub fn done(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let job = self.take();
        self.0.node.run(move |_| async move { job?.done().await })
    }

    /// It goes back to where it was.
    pub fn give_back(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let job = self.take();
        self.0.node.run(move |_| async move { job?.give_back().await })
    }

    /// Gives it back, as dropping its last clone does.
    pub fn forget(&self) {
        drop(self.0.take());
    }

    fn take(&self) -> Result<casm::Job> {
        let message = "the job was done or given back already: take another";
        self.0.take().ok_or_else(|| Error::new(ErrorKind::Closed, message))
    }
}

/// A semaphore, of this node or of another. Clones are the same.
#[derive(Clone)]
pub struct Semaphore {
    node: Node,
    name: Arc<str>,
    owner: Arc<str>,
    semaphore: Ours<casm::Semaphore>,
}

impl Semaphore {
    fn new(node: Node, semaphore: casm::Semaphore) -> Self {
        let (name, owner) = (semaphore.name().into(), semaphore.owner().to_base58().into());
        Self { node, name, owner, semaphore: Ours::new(semaphore) }
    }

    /// The node from which it is used.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the node whose it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Waits for a lease.
    pub fn acquire(
        &self,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Lease>> + Send + use<> {
        let (semaphore, node) = (self.semaphore.clone(), self.node.clone());
        self.node.run(move |_| async move {
            let semaphore = semaphore.get()?;
            let lease = match timeout {
                Some(timeout) => semaphore.acquire_timeout(timeout).await?,
                None => semaphore.acquire().await?,
            };
            Ok(Lease { token: lease.token(), held: Held::new(node, Arc::new(lease)) })
        })
    }

    /// Closes it.
    ///
    /// # Errors
    /// `Closed` if it was closed; `Invalid` if it is another node's.
    pub fn close(&self) -> Result<()> {
        self.node.core()?;
        self.semaphore.get()?.close()
    }
}

/// What is held of a semaphore. With its last clone it is given back.
#[derive(Clone)]
pub struct Lease {
    token: u64,
    held: Arc<Held<Arc<casm::Lease>>>,
}

impl Lease {
    /// The node from which it was acquired.
    pub fn node(&self) -> &Node {
        &self.held.node
    }

    /// Grows with every grant.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Whether it is not held any more.
    pub fn is_lost(&self) -> bool {
        self.held.node.is_closed() || self.held.with(|lease| lease.is_lost()).unwrap_or(true)
    }

    /// Waits until it is not held any more.
    pub fn wait_lost(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let held = self.held.clone();
        let lost = async move {
            // It may be given back meanwhile, which doesn't wait for this.
            while let Some(lease) = held.with(Arc::downgrade) {
                let Some(lease) = lease.upgrade() else { break };
                if lease.is_lost() {
                    break;
                }
                let look = tokio::time::sleep(LOOK);
                tokio::select! {
                    () = lease.lost() => break,
                    () = look => (),
                }
            }
            Ok(())
        };
        self.held.node.run(move |_| lost)
    }

    /// Gives it back. It doesn't wait.
    pub fn release(&self) {
        drop(self.held.take());
    }
}
