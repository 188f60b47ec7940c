//! Channels, select and semaphores.

use crate::{
    call::{Pending, duration, guard, spawn, spawn_unit},
    errors::{OrThrow, Result},
    port::{Shared, Work},
};
use napi::bindgen_prelude::{ClassInstance, Uint8Array};
use napi_derive::napi;
use std::{sync::Arc, time::Duration};

/// A channel, of this node or of another.
#[napi]
pub struct NativeChannel {
    channel: casm_bindings::Channel,
    port: Arc<Shared>,
}

impl NativeChannel {
    pub(crate) fn new(channel: casm_bindings::Channel, port: Arc<Shared>) -> Self {
        Self { channel, port }
    }
}

fn limit(timeout: Option<f64>) -> Result<Option<Duration>> {
    timeout.map(|ms| duration("timeout", ms)).transpose().or_throw()
}

#[napi]
impl NativeChannel {
    #[napi(getter)]
    pub fn name(&self) -> String {
        self.channel.name().to_owned()
    }

    #[napi(getter)]
    pub fn owner(&self) -> &str {
        self.channel.owner()
    }

    #[napi(getter)]
    pub fn waiting(&self) -> Option<f64> {
        self.channel.waiting().map(|len| len as f64)
    }

    #[napi(getter)]
    pub fn in_doubt(&self) -> f64 {
        self.channel.in_doubt() as f64
    }

    #[napi(getter)]
    pub fn node_closed(&self) -> bool {
        self.channel.node().is_closed()
    }

    #[napi]
    pub fn send(&self, id: u32, value: Uint8Array, timeout: Option<f64>) -> Result<Pending> {
        let sent = self.channel.send(value.to_vec(), limit(timeout)?);
        spawn_unit("send", &self.port, id, sent)
    }

    #[napi]
    pub fn recv(&self, id: u32, timeout: Option<f64>) -> Result<Pending> {
        let received = self.channel.recv(limit(timeout)?);
        spawn("recv", &self.port, id, received, |parcel| Work {
            parcel: Some(NativeParcel(parcel)),
            ..Work::default()
        })
    }

    #[napi]
    pub fn take(&self, id: u32, timeout: Option<f64>) -> Result<Pending> {
        let taken = self.channel.take(limit(timeout)?);
        let port = self.port.clone();
        spawn("take", &self.port, id, taken, |job| Work {
            job: Some(NativeJob { job, port }),
            ..Work::default()
        })
    }

    #[napi]
    pub fn close(&self, id: u32) -> Result<Pending> {
        spawn_unit("close", &self.port, id, self.channel.close())
    }
}

/// Does the first of these that can be done: receives from a channel, or sends it
/// the value at the same place of `values`, if there is one.
#[napi]
pub fn select(
    id: u32,
    channels: Vec<ClassInstance<'_, NativeChannel>>,
    values: Vec<Option<Uint8Array>>,
    timeout: Option<f64>,
) -> Result<Pending> {
    let timeout = limit(timeout)?;
    let port = channels.first().map(|channel| channel.port.clone());
    let branches = channels.iter().zip(values).map(|(channel, value)| match value {
        Some(value) => channel.channel.sending(value.to_vec()),
        None => channel.channel.receiving(),
    });
    let branches: Vec<_> = branches.collect();
    let selected = guard("select", || casm_bindings::select(branches, timeout))?;
    // There is one: a select of nothing is an error.
    let port = port.unwrap_or_default();
    spawn("select", &port, id, selected, |(at, parcel)| Work {
        count: Some(at as f64),
        parcel: parcel.map(NativeParcel),
        ..Work::default()
    })
}

/// A value on its way to one who may have been called off: then the next receiver
/// gets it.
#[napi]
pub struct NativeParcel(casm_bindings::Parcel);

#[napi]
impl NativeParcel {
    /// Takes the value out.
    #[napi]
    pub fn take(&self) -> Uint8Array {
        self.0.take().unwrap_or_default().into()
    }

    /// Hands it on.
    #[napi]
    pub fn forward(&self) {
        self.0.put_back();
    }
}

/// A value that was taken as a job.
#[napi]
pub struct NativeJob {
    job: casm_bindings::ChannelJob,
    port: Arc<Shared>,
}

#[napi]
impl NativeJob {
    #[napi(getter)]
    pub fn data(&self) -> Uint8Array {
        self.job.data().unwrap_or_default().into()
    }

    #[napi(getter)]
    pub fn lost(&self) -> bool {
        self.job.is_lost()
    }

    #[napi]
    pub fn done(&self, id: u32) -> Result<Pending> {
        spawn_unit("done", &self.port, id, self.job.done())
    }

    #[napi]
    pub fn give_back(&self, id: u32) -> Result<Pending> {
        spawn_unit("giveBack", &self.port, id, self.job.give_back())
    }

    /// Gives it back, and doesn't wait.
    #[napi]
    pub fn forget(&self) {
        self.job.forget();
    }
}

/// A semaphore, of this node or of another.
#[napi]
pub struct NativeSemaphore {
    semaphore: casm_bindings::Semaphore,
    port: Arc<Shared>,
}

impl NativeSemaphore {
    pub(crate) fn new(semaphore: casm_bindings::Semaphore, port: Arc<Shared>) -> Self {
        Self { semaphore, port }
    }
}

#[napi]
impl NativeSemaphore {
    #[napi(getter)]
    pub fn name(&self) -> String {
        self.semaphore.name().to_owned()
    }

    #[napi(getter)]
    pub fn owner(&self) -> &str {
        self.semaphore.owner()
    }

    #[napi]
    pub fn acquire(&self, id: u32, timeout: Option<f64>) -> Result<Pending> {
        let acquired = self.semaphore.acquire(limit(timeout)?);
        let port = self.port.clone();
        spawn("acquire", &self.port, id, acquired, |lease| Work {
            lease: Some(NativeLease { lease, port }),
            ..Work::default()
        })
    }

    #[napi]
    pub fn close(&self) -> Result<()> {
        guard("close", || self.semaphore.close())
    }
}

/// What is held of a semaphore.
#[napi]
pub struct NativeLease {
    lease: casm_bindings::Lease,
    port: Arc<Shared>,
}

#[napi]
impl NativeLease {
    #[napi(getter)]
    pub fn token(&self) -> napi::bindgen_prelude::BigInt {
        self.lease.token().into()
    }

    #[napi(getter)]
    pub fn lost(&self) -> bool {
        self.lease.is_lost()
    }

    #[napi]
    pub fn wait_lost(&self, id: u32) -> Result<Pending> {
        spawn_unit("waitLost", &self.port, id, self.lease.wait_lost())
    }

    #[napi]
    pub fn release(&self) {
        self.lease.release();
    }
}
