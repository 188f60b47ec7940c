//! How much a node spends on RPC.

use crate::{Error, Result};
use std::time::Duration;

/// Bytes in a second at which a message must come, and what waits to be written must
/// be taken, beyond [`Limits::stall`].
pub(super) const RATE: u64 = 16 * 1024;

/// What RPC may cost, for each stream, for each peer, and in all. A stream is
/// one connection of RPC: what is exported or imported over it ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message that is received, 4 KiB to 64 MiB. A larger one
    /// ends the stream. Default 1 MiB and 64 KiB: requests and answers of services
    /// have at most 1 MiB.
    pub message_bytes: usize,
    /// Bytes of the calls that a stream has brought and that are not yet
    /// answered. More of them are answered with an error. Default 2 MiB; at
    /// least `message_bytes`.
    pub held_bytes: usize,
    /// Bytes that wait to be written on a stream: while there are more, nothing
    /// is read from it. Default 256 KiB, at least 64 KiB. Streaming calls stop
    /// at a quarter of it.
    pub queued_bytes: usize,
    /// Bytes of all streams together: of calls that are held (with
    /// 1 KiB more for each call that is not finished), of messages that
    /// have arrived in part, and of what waits to be written. From half of it
    /// on, all streams have equal shares of the other half: calls of a stream
    /// with more are answered with an error, and a message for which there is no
    /// room ends it. Default 64 MiB; at least `message_bytes`.
    pub total_bytes: usize,
    /// Calls that a stream has brought and that are not yet finished. More of
    /// them are answered with an error. Default 4,096.
    pub calls: usize,
    /// Capabilities that a stream exports, and that it imports. While it exports
    /// so many, calls are answered with an error; importing more ends it.
    /// Default 1,024.
    pub capabilities: usize,
    /// Streams that one peer may have open. Default 8.
    pub streams_per_peer: usize,
    /// Streams that all peers together may have open. Default 256. When all are,
    /// a further one takes the place of one of the network (the /24 of a public
    /// IPv4 address, the /48 of an IPv6 one, any other address by itself) that
    /// has most, if its own has fewer.
    pub streams: usize,
    /// For how long a stream may have neither a message nor a call under way
    /// before it is closed. Default 10 minutes.
    pub idle: Duration,
    /// For how long the peer may take none of the bytes that wait for it before
    /// the stream is ended, and for how long it may answer none of the streaming
    /// calls that were made to one of its objects before that object is given up.
    /// And for how long the rest of a message may be waited for before the stream
    /// is ended, with a second more for each 16 KiB of it; and how far the peer may
    /// be behind with what waits for it if it took 16 KiB in a second. Default
    /// 1 minute.
    pub stall: Duration,
    /// How long a call that a stream has brought may take; the stream is ended
    /// then. Default 10 minutes.
    pub call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: (1 << 20) + (64 << 10),
            held_bytes: 2 << 20,
            queued_bytes: 256 << 10,
            total_bytes: 64 << 20,
            calls: 4096,
            capabilities: 1024,
            streams_per_peer: 8,
            streams: 256,
            idle: Duration::from_secs(600),
            stall: Duration::from_secs(60),
            call: Duration::from_secs(600),
        }
    }
}

impl Limits {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if one is out of its
    /// range.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |field: &str, value: usize, accepted: &str| {
            Err(Error::config(&format!("limits.rpc.{field}"), value, accepted))
        };
        if !(4 << 10..=64 << 20).contains(&self.message_bytes) {
            return bad("message_bytes", self.message_bytes, "4 KiB to 64 MiB is");
        }
        if self.held_bytes < self.message_bytes {
            return bad("held_bytes", self.held_bytes, "at least `message_bytes` is");
        }
        if self.total_bytes < self.message_bytes {
            return bad("total_bytes", self.total_bytes, "at least `message_bytes` is");
        }
        if self.queued_bytes < 64 << 10 {
            return bad("queued_bytes", self.queued_bytes, "at least 64 KiB is");
        }
        for (field, value) in [
            ("calls", self.calls),
            ("capabilities", self.capabilities),
            ("streams_per_peer", self.streams_per_peer),
            ("streams", self.streams),
        ] {
            if value == 0 {
                return bad(field, value, "at least 1 is");
            }
        }
        for (field, value) in [("idle", self.idle), ("stall", self.stall), ("call", self.call)] {
            if value.is_zero() {
                return Err(Error::config(
                    &format!("limits.rpc.{field}"),
                    value,
                    "more than zero is",
                ));
            }
        }
        Ok(())
    }

    /// Bytes waiting to be written at which streaming calls stop. Below
    /// `queued_bytes`, so that two ends that stream to each other both keep
    /// reading.
    pub(super) fn gate(&self) -> usize {
        self.queued_bytes / 4
    }
}
