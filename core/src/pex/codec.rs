//! The bytes of one direction of a round: one LZ4 frame stream of packed Cap'n
//! Proto messages, a record in each, the sender's own last.

use super::{
    error::RoundError,
    view::{Gossip, Params},
};
use crate::{
    record::SignedRecord,
    rpc::{Decoder, Encoding},
    schema::pex_capnp::gossip,
};
use capnp::{message::Builder, serialize_packed};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::io::{self, Write};

/// The most bytes of one direction of a round, as they travel.
pub(super) const MAX_BYTES: usize = 128 * 1024;

/// The longest message, unpacked, its segment table included: Go's limit.
const MAX_MESSAGE: usize = 2048;

/// One record as it came: nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) hop: u64,
    pub(super) envelope: Vec<u8>,
}

/// Writes records, and the own one last.
pub(super) fn encode(
    told: &[Gossip<SignedRecord>],
    own: &SignedRecord,
) -> Result<Vec<u8>, RoundError> {
    let encode = || -> io::Result<Vec<u8>> {
        let info =
            FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
        let mut frame = FrameEncoder::with_frame_info(info, Vec::new());
        let own = Gossip { record: own.clone(), hop: 0 };
        for gossip in told.iter().chain([&own]) {
            frame.write_all(&message(gossip.record.envelope(), gossip.hop.into())?)?;
        }
        Ok(frame.finish()?)
    };
    encode().map_err(|_| RoundError::Frame(crate::rpc::FrameError::Encode))
}

/// The packed message of one record.
pub(super) fn message(envelope: &[u8], hop: u64) -> io::Result<Vec<u8>> {
    let mut message = Builder::new_default();
    let mut root = message.init_root::<gossip::Builder<'_>>();
    root.set_hop(hop);
    root.set_envelope(envelope);
    let mut bytes = Vec::new();
    serialize_packed::write_message(&mut bytes, &message).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Reads records as their bytes come, and no more of either than is allowed.
#[derive(Debug)]
pub(super) struct Puller {
    decoder: Decoder,
    records: Vec<Raw>,
    bytes: usize,
    max_records: usize,
}

impl Puller {
    pub(super) fn new(params: &Params) -> Self {
        Self {
            decoder: Decoder::new(Encoding::PackedLz4, MAX_MESSAGE),
            records: Vec::new(),
            bytes: 0,
            max_records: params.max_view,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), RoundError> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > MAX_BYTES {
            return Err(RoundError::TooLong);
        }
        self.decoder.push(bytes);
        while let Some(message) = self.decoder.next()? {
            if self.records.len() >= self.max_records {
                return Err(RoundError::TooMany);
            }
            let record = message
                .get_root::<gossip::Reader<'_>>()
                .and_then(|root| {
                    Ok(Raw { hop: root.get_hop(), envelope: root.get_envelope()?.to_vec() })
                })
                .map_err(|_| RoundError::Malformed)?;
            self.records.push(record);
        }
        Ok(())
    }

    /// The peer has written everything.
    pub(super) fn end(self) -> Result<Vec<Raw>, RoundError> {
        self.decoder.end()?;
        Ok(self.records)
    }
}
