//! A pause: the node leaves the cluster and lets every socket go, and comes back.
//!
//! What the services keep over it, they keep by themselves: each has the host's
//! [`Life`](crate::life::Life), and what they have joined, accepted and served stays
//! with the host.

use super::Node;
use crate::{Result, ask::ask, boot::Boot, host::Host, life::Phase, scope::Scope};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait for each other.
const ORDERS: usize = 16;

/// What is asked of the task that pauses and resumes.
enum Order {
    Pause(oneshot::Sender<Result<()>>),
    Resume(oneshot::Sender<Result<()>>),
}

/// One pause or resume at a time, each carried out to its end, whether who asked
/// for it waits or not.
pub(super) struct Pauses(mpsc::Sender<Order>);

impl Pauses {
    pub(super) fn start(host: Host, boot: Boot, scope: &Scope) -> Self {
        let (orders, mut received) = mpsc::channel(ORDERS);
        scope.spawn(async move {
            while let Some(order) = received.recv().await {
                // Who asked may have gone meanwhile.
                let _ = match order {
                    Order::Pause(reply) => reply.send(pause(&host, &boot).await),
                    Order::Resume(reply) => reply.send(resume(&host, &boot).await),
                };
            }
        });
        Self(orders)
    }
}

async fn pause(host: &Host, boot: &Boot) -> Result<()> {
    let life = host.life();
    if life.is_paused() {
        return Ok(());
    }
    life.set(Phase::Leaving);
    // Nobody is to find this node from now on.
    let (paused, ()) = tokio::join!(host.pause(), boot.pause());
    if paused.is_err() {
        life.set(Phase::Up);
        boot.open()?;
    }
    paused
}

async fn resume(host: &Host, boot: &Boot) -> Result<()> {
    if host.life().is_up() {
        return Ok(());
    }
    boot.open()?;
    let resumed = host.resume().await;
    if resumed.is_err() {
        boot.pause().await;
    }
    resumed
}

impl Node {
    /// Leaves the cluster for a while, so that others see it at once, and lets
    /// every connection and socket go: for an app that goes to the background. The
    /// node sends nothing, and wakes the processor no more.
    ///
    /// What the node keeps: its key, the view as it is now, the peers that it knows,
    /// what it tells of itself, what it serves, its channels, and every subscription.
    /// Until [`resume`](Self::resume), what needs another node fails with `Paused`, and
    /// so does what is under way; streams end. Takes about a second at most; a second
    /// call does nothing.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn pause(&self) -> Result<()> {
        ask(&self.0.pauses.0, Order::Pause).await?
    }

    /// Comes back after a [`pause`](Self::pause): listens, where there may be other
    /// addresses by now, connects to who was connected, and announces itself.
    /// Subscriptions are told what has changed meanwhile: nobody counts as gone for
    /// the first 2 s. Does nothing if the node is not paused.
    ///
    /// # Errors
    /// `Bind` if a port that was asked for has been taken by somebody else: then
    /// the node stays paused, and it may be tried again; `Closed`.
    pub async fn resume(&self) -> Result<()> {
        ask(&self.0.pauses.0, Order::Resume).await?
    }

    /// Whether it is paused, or about to be.
    pub fn is_paused(&self) -> bool {
        !self.0.host.life().is_up()
    }
}
