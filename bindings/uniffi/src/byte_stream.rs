//! Byte streams.

use crate::call::waits;
use casm_bindings::Piece;
use std::convert::identity;

/// A stream of bytes to and from a peer. One thread at a time may read, and one
/// write.
///
/// If it is dropped before it was closed, it is reset.
#[derive(uniffi::Object)]
pub struct ByteStream(casm_bindings::ByteStream);

impl From<casm_bindings::ByteStream> for ByteStream {
    fn from(stream: casm_bindings::ByteStream) -> Self {
        Self(stream)
    }
}

#[uniffi::export]
impl ByteStream {
    /// The id of the peer at the other end.
    pub fn peer(&self) -> String {
        self.0.peer().to_owned()
    }

    /// The protocol.
    pub fn protocol(&self) -> String {
        self.0.protocol().to_owned()
    }

    /// Whether it is over: closed, reset, or its node closed.
    pub fn closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Ends it at once, for calls that are waiting too. To the peer it is broken,
    /// unless it was closed for writing.
    pub fn reset(&self) {
        self.0.reset();
    }
}

waits! {
    impl ByteStream {
        /// Reads what is there, `most` bytes at most, and waits until there is
        /// something. Empty at the end. After a timeout, or when it was cancelled, it can be
        /// called again: nothing is lost.
        #[uniffi::method(default(timeout))]
        fn read / start_read(&self, most: u32, timeout: Option<f64>) -> Vec<u8> {
            (self.0.read(most as usize), timeout, Piece::into_vec)
        }

        /// Writes all of the bytes; waits while the peer has no room for them. If the
        /// time is over when some of them went out, the stream is reset.
        #[uniffi::method(default(timeout))]
        fn write / start_write(&self, data: Vec<u8>, timeout: Option<f64>) -> () {
            (self.0.write(data), timeout, identity)
        }

        /// Ends what is written: the peer reads to the end. Reading goes on.
        #[uniffi::method(default(timeout))]
        fn close_write / start_close_write(&self, timeout: Option<f64>) -> () {
            (self.0.close_write(), timeout, identity)
        }

        /// Ends what is written, and reads no more.
        #[uniffi::method(default(timeout))]
        fn close / start_close(&self, timeout: Option<f64>) -> () {
            (self.0.close(), timeout, identity)
        }
    }
}
