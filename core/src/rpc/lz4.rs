//! LZ4 frames, decompressed as their blocks arrive
//! (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>). Frames that
//! need a dictionary and "legacy" ones, from before this format, are refused: no
//! peer writes them.
//!
//! Nothing is reserved for what a frame or a block declares: a block's true
//! size is counted first, by walking over its sequences. Checksums are passed
//! over: the connection below authenticates every byte.

use super::{
    error::FrameError,
    source::{Input, Source},
};

const MAGIC: u32 = 0x184D_2204;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;
/// How far back a match of a linked block may reach.
const WINDOW: usize = 64 * 1024;

/// Decompresses a stream of LZ4 frames.
#[derive(Debug)]
pub(super) struct Deframer {
    input: Input,
    frame: Option<Frame>,
    /// Bytes of a skippable frame that are still to come.
    skip: u32,
    /// What blocks gave, after up to a window of what was used already.
    output: Vec<u8>,
    at: usize,
    max_block: usize,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    linked: bool,
    block_checksum: bool,
    content_checksum: bool,
    max_block: usize,
}

impl Deframer {
    /// Blocks that decompress to more than `max_block` bytes are refused.
    pub(super) fn new(max_block: usize) -> Self {
        Self { input: Input::default(), frame: None, skip: 0, output: Vec::new(), at: 0, max_block }
    }

    /// Decompresses the next block, or reads what stands between blocks. False
    /// if more input is needed for that.
    fn advance(&mut self) -> Result<bool, FrameError> {
        if self.skip > 0 {
            let n = self.input.rest().len().min(self.skip as usize);
            self.input.advance(n);
            self.skip -= n as u32; // n ≤ skip
            return Ok(n > 0);
        }
        match self.frame {
            None => self.header(),
            Some(frame) => self.block(frame),
        }
    }

    fn header(&mut self) -> Result<bool, FrameError> {
        let rest = self.input.rest();
        let Some(magic) = u32_at(rest, 0) else { return Ok(false) };
        if SKIPPABLE.contains(&magic) {
            let Some(len) = u32_at(rest, 4) else { return Ok(false) };
            self.skip = len;
            self.input.advance(8);
            return Ok(true);
        }
        if magic != MAGIC {
            return Err(FrameError::Lz4Header);
        }
        let (Some(&flags), Some(&descriptor)) = (rest.get(4), rest.get(5)) else {
            return Ok(false);
        };
        let bit = |n: u8| flags & (1 << n) != 0;
        let (version, dictionary) = (flags >> 6, bit(0));
        if version != 1 || dictionary {
            return Err(FrameError::Lz4Header);
        }
        let max_block = match (descriptor >> 4) & 7 {
            size @ 4..=7 => 1usize << (8 + 2 * size),
            _ => return Err(FrameError::Lz4Header),
        };
        let len = 4 + 2 + if bit(3) { 8 } else { 0 } + 1;
        if rest.len() < len {
            return Ok(false);
        }
        self.input.advance(len);
        self.output.clear();
        self.at = 0;
        self.frame = Some(Frame {
            linked: !bit(5),
            block_checksum: bit(4),
            content_checksum: bit(2),
            max_block: max_block.min(self.max_block),
        });
        Ok(true)
    }

    fn block(&mut self, frame: Frame) -> Result<bool, FrameError> {
        let rest = self.input.rest();
        let Some(word) = u32_at(rest, 0) else { return Ok(false) };
        if word == 0 {
            let len = if frame.content_checksum { 8 } else { 4 };
            if rest.len() < len {
                return Ok(false);
            }
            self.input.advance(len);
            self.frame = None;
            return Ok(true);
        }
        let (stored, len) = (word >> 31 == 1, (word & 0x7fff_ffff) as usize);
        if len > frame.max_block {
            return Err(FrameError::TooLarge);
        }
        let Some(data) = rest.get(4..4 + len) else { return Ok(false) };
        let whole = 4 + len + if frame.block_checksum { 4 } else { 0 };
        if rest.len() < whole {
            return Ok(false);
        }

        let keep = if frame.linked { self.output.len().min(WINDOW) } else { 0 };
        self.output.drain(..self.output.len() - keep);
        self.at = keep;
        if stored {
            self.output.extend_from_slice(data);
        } else {
            let size = decompressed_len(data, frame.max_block)?;
            let mut block = vec![0; size];
            let n = lz4_flex::block::decompress_into_with_dict(data, &mut block, &self.output)
                .map_err(|_| FrameError::Lz4Block)?;
            block.truncate(n);
            self.output.extend_from_slice(&block);
        }
        self.input.advance(whole);
        Ok(true)
    }
}

impl Source for Deframer {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, FrameError> {
        let mut done = 0;
        while done < out.len() {
            let ready = self.output.get(self.at..).unwrap_or_default();
            if ready.is_empty() {
                if !self.advance()? {
                    break;
                }
                continue;
            }
            let n = ready.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&ready[..n]);
            done += n;
            self.at += n;
        }
        Ok(done)
    }

    fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// A frame may stay open: there are writers that end none.
    fn held(&self) -> usize {
        self.input.held() + self.output.capacity()
    }

    fn is_idle(&self) -> bool {
        self.skip == 0 && self.at >= self.output.len() && self.input.is_idle()
    }
}

/// How many bytes a block gives, by its sequences' lengths alone.
fn decompressed_len(block: &[u8], max: usize) -> Result<usize, FrameError> {
    let mut bytes = block.iter().copied();
    let mut total = 0usize;
    let length = |nibble: u8, bytes: &mut dyn Iterator<Item = u8>| {
        let mut length = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = bytes.next().ok_or(FrameError::Lz4Block)?;
                length += usize::from(more);
                if more != 255 {
                    break;
                }
            }
        }
        Ok(length)
    };
    while let Some(token) = bytes.next() {
        let literals = length(token >> 4, &mut bytes)?;
        total = total.saturating_add(literals);
        if literals > 0 && bytes.nth(literals - 1).is_none() {
            return Err(FrameError::Lz4Block);
        }
        // The last sequence of a block ends after its literals.
        if bytes.len() == 0 {
            break;
        }
        bytes.nth(1).ok_or(FrameError::Lz4Block)?;
        total = total.saturating_add(length(token & 15, &mut bytes)? + 4);
        if total > max {
            return Err(FrameError::TooLarge);
        }
    }
    if total > max { Err(FrameError::TooLarge) } else { Ok(total) }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
