//! Channels, select and semaphores.

use crate::{
    call::{Call, Waiting, count, guard, limit, start, wait, waits},
    errors::Result,
    pending::PendingSelected,
};
use casm_bindings::Parcel;
use std::{convert::identity, sync::Arc};

/// A channel, of this node or of another: values are handed from senders to
/// receivers, each to one. Times are in seconds.
#[derive(uniffi::Object)]
pub struct Channel(casm_bindings::Channel);

impl From<casm_bindings::Channel> for Channel {
    fn from(channel: casm_bindings::Channel) -> Self {
        Self(channel)
    }
}

fn value(parcel: Parcel) -> Vec<u8> {
    parcel.take().unwrap_or_default()
}

#[uniffi::export]
impl Channel {
    /// Its name.
    pub fn name(&self) -> String {
        self.0.name().to_owned()
    }

    /// The id of the node whose it is.
    pub fn owner(&self) -> String {
        self.0.owner().to_owned()
    }

    /// How many values wait in it; none if it is another node's.
    pub fn waiting(&self) -> Option<u32> {
        self.0.waiting().map(count)
    }

    /// How many values of a channel elsewhere may be ours, or are and were not
    /// received yet: the next receivers here get them.
    pub fn in_doubt(&self) -> u32 {
        count(self.0.in_doubt())
    }

    /// To receive from it in a `select`.
    pub fn receiving(&self) -> Branch {
        Branch(self.0.receiving())
    }

    /// To send this to it in a `select`; it must be this node's own.
    pub fn sending(&self, value: Vec<u8>) -> Branch {
        Branch(self.0.sending(value))
    }
}

waits! {
    impl Channel {
        /// Sends a value of at most 1 MiB, and waits until there is room for it, or, at
        /// capacity 0, until it is received. `Timeout` means that it was not taken in,
        /// and will not be.
        #[uniffi::method(default(timeout))]
        fn send / start_send(&self, value: Vec<u8>, timeout: Option<f64>) -> () {
            (self.0.send(value, limit(timeout)?), None, identity)
        }

        /// Receives a value.
        #[uniffi::method(default(timeout))]
        fn recv / start_recv(&self, timeout: Option<f64>) -> Vec<u8> {
            (self.0.recv(limit(timeout)?), None, value)
        }

        /// Takes a value as a job, which comes back to the channel unless it is done:
        /// at least once.
        #[uniffi::method(default(timeout))]
        fn take / start_take(&self, timeout: Option<f64>) -> Job {
            (self.0.take(limit(timeout)?), None, Job)
        }

        /// Closes it: sends fail from now on, and receivers get what is in it and then
        /// end. Its owner may, and others if it was made so.
        #[uniffi::method(default(timeout))]
        fn close / start_close(&self, timeout: Option<f64>) -> () {
            (self.0.close(), timeout, identity)
        }
    }
}

/// One thing that a `select` may do.
#[derive(uniffi::Object)]
pub struct Branch(casm_bindings::Branch);

/// What a `select` did: the number of the branch, and the value if that received
/// one.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Selected {
    /// Which branch it was.
    pub index: u32,
    /// What it received.
    pub value: Option<Vec<u8>>,
}

/// Does the first of some branches that can be done. If several can be done, one is
/// chosen at random; one that was not chosen has had no effect. Channels that are
/// closed and empty are passed over while there are others.
#[uniffi::export(default(timeout))]
pub fn select(branches: Vec<Arc<Branch>>, timeout: Option<f64>) -> Result<Selected> {
    wait("select", || selecting(&branches, timeout))
}

/// The same in the background: it begins, and this doesn't wait.
#[uniffi::export(default(timeout))]
pub fn start_select(branches: Vec<Arc<Branch>>, timeout: Option<f64>) -> Arc<PendingSelected> {
    start("select", || selecting(&branches, timeout))
}

/// Which branch it was, and what came.
type Chosen = (usize, Option<Parcel>);

type Selecting = Call<Waiting<Chosen>, fn(Chosen) -> Selected>;

fn selecting(branches: &[Arc<Branch>], timeout: Option<f64>) -> Result<Selecting> {
    let branches = branches.iter().map(|branch| branch.0.clone()).collect();
    let chosen = casm_bindings::select(branches, limit(timeout)?)?;
    let give = |(index, parcel): Chosen| Selected { index: count(index), value: parcel.map(value) };
    Ok((Box::pin(chosen), None, give))
}

/// A value that was taken as a job. It goes back to the head of the channel when
/// this is let go of undone, when the connection to the channel's owner ends, or if
/// that hears nothing for 10 s.
#[derive(uniffi::Object)]
pub struct Job(casm_bindings::ChannelJob);

#[uniffi::export]
impl Job {
    /// The value; empty once the job is ended.
    pub fn data(&self) -> Vec<u8> {
        self.0.data().unwrap_or_default()
    }

    /// Whether it has gone back, or is ended.
    pub fn lost(&self) -> bool {
        self.0.is_lost()
    }
}

waits! {
    impl Job {
        /// The job is done, and the value gone from the channel. `NotFound` if it has
        /// gone back, so that another may do it too.
        #[uniffi::method(default(timeout))]
        fn done / start_done(&self, timeout: Option<f64>) -> () {
            // First: a call that fails must not have taken the job out.
            limit(timeout)?;
            (self.0.done(), timeout, identity)
        }

        /// The value goes back to where it was.
        #[uniffi::method(default(timeout))]
        fn give_back / start_give_back(&self, timeout: Option<f64>) -> () {
            // First: a call that fails must not have taken the job out.
            limit(timeout)?;
            (self.0.give_back(), timeout, identity)
        }
    }
}

/// A semaphore, of this node or of another: so many may hold a lease of it at a
/// time.
#[derive(uniffi::Object)]
pub struct Semaphore(casm_bindings::Semaphore);

impl From<casm_bindings::Semaphore> for Semaphore {
    fn from(semaphore: casm_bindings::Semaphore) -> Self {
        Self(semaphore)
    }
}

#[uniffi::export]
impl Semaphore {
    /// Its name.
    pub fn name(&self) -> String {
        self.0.name().to_owned()
    }

    /// The id of the node whose it is.
    pub fn owner(&self) -> String {
        self.0.owner().to_owned()
    }

    /// Closes it: nobody is granted anything any more. Its owner alone may.
    pub fn close(&self) -> Result<()> {
        guard("close", || self.0.close())
    }
}

waits! {
    impl Semaphore {
        /// Waits for a lease, in the order of asking.
        #[uniffi::method(default(timeout))]
        fn acquire / start_acquire(&self, timeout: Option<f64>) -> Lease {
            (self.0.acquire(limit(timeout)?), None, Lease)
        }
    }
}

/// What is held of a semaphore, until it is released, let go of, or lost: it is
/// renewed by itself, and lost if its owner can't be reached for 10 s. A process
/// that was stopped meanwhile may still act as if it held it: give the token to what
/// it protects, which should refuse a lower one than it has seen.
#[derive(uniffi::Object)]
pub struct Lease(casm_bindings::Lease);

#[uniffi::export]
impl Lease {
    /// Grows with every grant.
    pub fn token(&self) -> u64 {
        self.0.token()
    }

    /// Whether it is not held any more.
    pub fn lost(&self) -> bool {
        self.0.is_lost()
    }

    /// Gives it back. It doesn't wait.
    pub fn release(&self) {
        self.0.release();
    }
}

waits! {
    impl Lease {
        /// Waits until it is not held any more.
        #[uniffi::method(default(timeout))]
        fn wait_lost / start_wait_lost(&self, timeout: Option<f64>) -> () {
            (self.0.wait_lost(), timeout, identity)
        }
    }
}
