//! Byte streams, for `ts/bytes.ts`, which makes a `Duplex` of each.

use crate::{
    call::{Pending, spawn, spawn_unit},
    errors::Result,
    port::{Shared, Work, hand_over},
};
use casm_bindings::{Batch, Listener};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use std::sync::Arc;

/// A stream of bytes to and from a peer. If it is collected before it was closed,
/// it is reset.
#[napi(js_name = "NativeByteStream")]
pub struct ByteStream {
    stream: casm_bindings::ByteStream,
    port: Arc<Shared>,
}

impl ByteStream {
    pub(crate) fn new(stream: casm_bindings::ByteStream, port: Arc<Shared>) -> Self {
        Self { stream, port }
    }
}

#[napi]
impl ByteStream {
    #[napi(getter)]
    pub fn peer(&self) -> &str {
        self.stream.peer()
    }

    #[napi(getter)]
    pub fn protocol(&self) -> &str {
        self.stream.protocol()
    }

    /// Hands over what is there, `most` bytes at most; none at the end.
    #[napi]
    pub fn read(&self, id: u32, most: u32) -> Result<Pending> {
        spawn("read", &self.port, id, self.stream.read(most as usize), |piece| Work {
            data: Some(piece.into_vec().into()),
            ..Work::default()
        })
    }

    /// Writes a copy: JavaScript's bytes may change, and are let go of on its own
    /// thread only.
    #[napi]
    pub fn write(&self, id: u32, data: Uint8Array) -> Result<Pending> {
        spawn_unit("write", &self.port, id, self.stream.write(data.to_vec()))
    }

    #[napi]
    pub fn close_write(&self, id: u32) -> Result<Pending> {
        spawn_unit("end", &self.port, id, self.stream.close_write())
    }

    #[napi]
    pub fn reset(&self) {
        self.stream.reset();
    }
}

/// Hands over every stream that a peer opens, under this number.
pub(crate) struct OnStream {
    pub(crate) id: u32,
    pub(crate) port: Arc<Shared>,
}

impl Listener<casm_bindings::ByteStream> for OnStream {
    fn deliver(&self, batch: &mut Batch<casm_bindings::ByteStream>) {
        let streams = batch.map(|stream| ByteStream::new(stream, self.port.clone())).collect();
        hand_over(Work { id: self.id, streams: Some(streams), ..Work::default() });
    }
}
