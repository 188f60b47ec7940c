//! Semaphores: `owner` decides who holds one, `local` is one of this node,
//! `server` serves it to peers, `remote` acquires that of another node, and
//! [`Semaphore`] and [`Lease`] are what everybody else sees.

mod local;
mod owner;
mod remote;
pub(super) mod server;

pub(super) use local::Local;
pub(super) use remote::{Keepers, Remote};

/// For how long a grant may be believed in from when its owner ended.
pub(crate) const QUIET: Duration = owner::TTL.saturating_add(owner::SPARE);

use crate::{Error, ErrorKind, PeerId, Result};
use std::{fmt, sync::Arc, time::Duration};

/// A semaphore, of this node or of another: so many may hold a lease of it at a
/// time. Clones are the same.
#[derive(Clone)]
pub struct Semaphore(Kind);

#[derive(Clone)]
enum Kind {
    Local(Arc<Local>),
    Remote(Arc<Remote>),
}

impl Semaphore {
    pub(super) fn local(local: Arc<Local>) -> Self {
        Self(Kind::Local(local))
    }

    pub(super) fn remote(remote: Arc<Remote>) -> Self {
        Self(Kind::Remote(remote))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Local(local) => &local.name,
            Kind::Remote(remote) => &remote.name,
        }
    }

    /// The node whose it is.
    pub fn owner(&self) -> PeerId {
        match &self.0 {
            Kind::Local(local) => local.own,
            Kind::Remote(remote) => remote.owner,
        }
    }

    /// Waits for a lease, in the order of asking. Wrap it in a timeout, or give it
    /// one with [`acquire_timeout`](Self::acquire_timeout), if it must end.
    ///
    /// # Errors
    /// As of `acquire_timeout`, but `Timeout`.
    pub async fn acquire(&self) -> Result<Lease> {
        self.acquire_within(None).await
    }

    /// Waits for a lease, so long at most. Zero: only if there is one now.
    ///
    /// # Errors
    /// `Timeout`; `Closed` if it is closed; `Busy` if too many wait; `NotFound` if
    /// its owner has no semaphore of this name, `Unreachable` if it can't be
    /// reached.
    pub async fn acquire_timeout(&self, timeout: Duration) -> Result<Lease> {
        self.acquire_within(Some(timeout)).await
    }

    async fn acquire_within(&self, timeout: Option<Duration>) -> Result<Lease> {
        let name = self.name();
        let held = match &self.0 {
            Kind::Local(local) => Held::Local(local.acquire(timeout).await?),
            Kind::Remote(remote) => Held::Remote(remote.acquire(timeout).await?),
        };
        Ok(Lease { name: name.into(), held })
    }

    /// Closes it: nobody is granted anything any more, and leases end when they
    /// would be renewed. Its owner alone may.
    ///
    /// # Errors
    /// `Closed` if it was closed; `Invalid` if it is another node's.
    pub fn close(&self) -> Result<()> {
        match &self.0 {
            Kind::Local(local) => local.close(),
            Kind::Remote(remote) => {
                let message = format!(
                    "the semaphore `{}` is {}'s: only its owner closes it",
                    remote.name, remote.owner
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("name", &self.name())
            .field("owner", &self.owner())
            .finish_non_exhaustive()
    }
}

/// What is held of a semaphore. Dropped, it is given back.
///
/// It is renewed by itself, and lost if its owner cannot be reached for 10 s. A
/// process that was stopped meanwhile may still act as if it held it: give the
/// [`token`](Self::token) to what the lease protects, which should refuse any that
/// is lower than one it has seen.
pub struct Lease {
    name: String,
    held: Held,
}

enum Held {
    Local(local::Held),
    Remote(remote::Held),
}

impl Lease {
    /// The semaphore's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Grows with every grant of this semaphore, also over a restart of its owner
    /// if that keeps data, or if its clock was not set back.
    pub fn token(&self) -> u64 {
        match &self.held {
            Held::Local(held) => held.token,
            Held::Remote(held) => held.token,
        }
    }

    /// Whether it is not held any more.
    pub fn is_lost(&self) -> bool {
        match &self.held {
            Held::Local(held) => held.is_lost(),
            Held::Remote(held) => held.is_lost(),
        }
    }

    /// Waits until it is not held any more.
    pub async fn lost(&self) {
        match &self.held {
            Held::Local(held) => held.lost().await,
            Held::Remote(held) => held.lost().await,
        }
    }

    /// Gives it back, as dropping it does. It doesn't wait for the owner.
    pub fn release(self) {
        drop(self);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .field("token", &self.token())
            .field("is_lost", &self.is_lost())
            .finish()
    }
}

/// What went wrong with an acquire.
fn failed(kind: ErrorKind, name: &str, why: impl fmt::Display) -> Error {
    Error::new(kind, format!("the semaphore `{name}`: {why}"))
}

fn too_late(name: &str, timeout: Option<Duration>) -> Error {
    let timeout = timeout.unwrap_or_default();
    failed(ErrorKind::Timeout, name, format!("no lease was free within {timeout:?}"))
}
