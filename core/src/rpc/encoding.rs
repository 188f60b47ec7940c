//! The four encodings of a stream of Cap'n Proto messages.
//!
//! [`Encoder`] and [`Decoder`] do no I/O: bytes go in as they come, messages
//! come out as they are complete.

use super::{
    error::FrameError,
    lz4::Deframer,
    message::{Assembler, Message},
    source::{Input, Source},
    unpack::Unpacker,
};
use capnp::message::{Allocator, Builder};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::io::Write;

/// How messages are written on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// Cap'n Proto's standard stream format.
    Plain,
    /// Cap'n Proto's packed encoding: fewer zeros, at little cost.
    Packed,
    /// LZ4 frames around the plain stream, flushed after each message.
    Lz4,
    /// LZ4 frames around the packed stream, flushed after each message.
    PackedLz4,
}

impl Encoding {
    /// Every encoding, the preferred ones first.
    pub const ALL: [Self; 4] = [Self::Packed, Self::Plain, Self::PackedLz4, Self::Lz4];

    /// What a protocol id ends with when its streams are encoded so.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Packed => "/packed",
            Self::Lz4 => "/lz4",
            Self::PackedLz4 => "/packed/lz4",
        }
    }

    const fn is_packed(self) -> bool {
        matches!(self, Self::Packed | Self::PackedLz4)
    }

    const fn is_compressed(self) -> bool {
        matches!(self, Self::Lz4 | Self::PackedLz4)
    }
}

/// Turns messages into the bytes of one stream.
pub(crate) struct Encoder {
    encoding: Encoding,
    lz4: Option<FrameEncoder<Vec<u8>>>,
}

impl Encoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        let info = || {
            // Independent blocks: the reader needs no window of the past.
            FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent)
        };
        let lz4 =
            encoding.is_compressed().then(|| FrameEncoder::with_frame_info(info(), Vec::new()));
        Self { encoding, lz4 }
    }

    /// Appends a message, so that its reader can have it without any later
    /// byte.
    pub(crate) fn encode<A: Allocator>(
        &mut self,
        message: &Builder<A>,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        match &mut self.lz4 {
            None => write(self.encoding, message, out),
            Some(frames) => {
                let mut bytes = Vec::new();
                write(self.encoding, message, &mut bytes)?;
                frames.write_all(&bytes).map_err(|_| FrameError::Encode)?;
                frames.flush().map_err(|_| FrameError::Encode)?;
                out.append(frames.get_mut());
                Ok(())
            }
        }
    }

    /// Appends what ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        if let Some(frames) = &mut self.lz4 {
            frames.try_finish().map_err(|_| FrameError::Encode)?;
            out.append(frames.get_mut());
        }
        Ok(())
    }
}

fn write<A: Allocator>(
    encoding: Encoding,
    message: &Builder<A>,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    if encoding.is_packed() {
        capnp::serialize_packed::write_message(out, message)
    } else {
        capnp::serialize::write_message(out, message)
    }
    .map_err(|_| FrameError::Encode)
}

/// Turns the bytes of one stream into messages.
#[derive(Debug)]
pub(crate) struct Decoder {
    layers: Layers,
    assembler: Assembler,
}

#[derive(Debug)]
enum Layers {
    Plain(Input),
    Packed(Unpacker<Input>),
    Lz4(Deframer),
    PackedLz4(Unpacker<Deframer>),
}

impl Decoder {
    /// Messages of more than `max_message` bytes are refused, and so are LZ4
    /// blocks that hold more than one of that size and a little.
    pub(crate) fn new(encoding: Encoding, max_message: usize) -> Self {
        let deframer = || Deframer::new(max_message.saturating_add(64 * 1024));
        let layers = match encoding {
            Encoding::Plain => Layers::Plain(Input::default()),
            Encoding::Packed => Layers::Packed(Unpacker::new(Input::default())),
            Encoding::Lz4 => Layers::Lz4(deframer()),
            Encoding::PackedLz4 => Layers::PackedLz4(Unpacker::new(deframer())),
        };
        Self { layers, assembler: Assembler::new(max_message / 8) }
    }

    /// Takes what was read. The caller bounds it by asking for all messages
    /// before it reads on.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match &mut self.layers {
            Layers::Plain(source) => source.input().push(bytes),
            Layers::Packed(source) => source.input().push(bytes),
            Layers::Lz4(source) => source.input().push(bytes),
            Layers::PackedLz4(source) => source.input().push(bytes),
        }
    }

    /// Whether no message has arrived in part.
    pub(super) fn is_between(&self) -> bool {
        self.assembler.is_empty()
    }

    /// Bytes of memory that are held for what has arrived in part.
    pub(super) fn held(&self) -> usize {
        let below = match &self.layers {
            Layers::Plain(source) => source.held(),
            Layers::Packed(source) => source.held(),
            Layers::Lz4(source) => source.held(),
            Layers::PackedLz4(source) => source.held(),
        };
        below + self.assembler.allocated()
    }

    /// The next message, if all of it has arrived. After an error the stream
    /// is of no more use.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, FrameError> {
        match &mut self.layers {
            Layers::Plain(source) => self.assembler.next(source),
            Layers::Packed(source) => self.assembler.next(source),
            Layers::Lz4(source) => self.assembler.next(source),
            Layers::PackedLz4(source) => self.assembler.next(source),
        }
    }

    /// What the end of the stream means now.
    pub(crate) fn end(&self) -> Result<(), FrameError> {
        let idle = match &self.layers {
            Layers::Plain(source) => source.is_idle(),
            Layers::Packed(source) => source.is_idle(),
            Layers::Lz4(source) => source.is_idle(),
            Layers::PackedLz4(source) => source.is_idle(),
        };
        if idle && self.assembler.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

#[cfg(test)]
mod tests;
