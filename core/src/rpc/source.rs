//! Bytes that are pulled through the layers of an encoding, as far as they
//! have arrived.

use super::error::FrameError;

/// Gives the next bytes of a stream, as far as they are there.
pub(super) trait Source {
    /// Fills the beginning of `out`, and says how many bytes of it. Fewer than
    /// asked for means that more input is needed.
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, FrameError>;

    /// The bytes that came from the stream and were not used yet.
    fn input(&mut self) -> &mut Input;

    /// Bytes of memory that are held for what was not asked for yet.
    fn held(&self) -> usize;

    /// Whether nothing is half read: the stream may end here.
    fn is_idle(&self) -> bool;
}

/// Bytes as they came from the stream.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What has not been used yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Takes bytes from the beginning of the rest.
    pub(super) fn advance(&mut self, n: usize) {
        self.at = self.at.saturating_add(n).min(self.bytes.len());
    }
}

impl Source for Input {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, FrameError> {
        let rest = self.rest();
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        self.advance(n);
        Ok(n)
    }

    fn input(&mut self) -> &mut Input {
        self
    }

    fn held(&self) -> usize {
        self.bytes.capacity()
    }

    fn is_idle(&self) -> bool {
        self.rest().is_empty()
    }
}
