//! One message, put together from the words that arrive.

use super::{error::FrameError, source::Source};
use capnp::{
    Word,
    message::{Reader, ReaderOptions, ReaderSegments},
};

/// The most segments of a message.
pub(super) const MAX_SEGMENTS: usize = 512;

/// The most structures inside each other in a message.
const MAX_NESTING: i32 = 64;

/// Words that are allocated ahead of those that have arrived.
const STEP: usize = 1024;

/// A message that was read.
pub(crate) type Message = Reader<Segments>;

/// The words of a message, and where each segment lies in them.
#[derive(Debug)]
pub(crate) struct Segments {
    words: Vec<Word>,
    ends: Vec<usize>,
}

impl ReaderSegments for Segments {
    fn get_segment(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let start = match id.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)?,
        };
        Some(Word::words_to_bytes(self.words.get(start..*self.ends.get(id)?)?))
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

/// Reads one message after the other.
#[derive(Debug)]
pub(super) struct Assembler {
    max_words: usize,
    table: Vec<u8>,
    /// Set when the table is complete.
    ends: Option<Vec<usize>>,
    words: Vec<Word>,
    filled: usize,
}

impl Assembler {
    pub(super) fn new(max_words: usize) -> Self {
        Self { max_words, table: Vec::new(), ends: None, words: Vec::new(), filled: 0 }
    }

    /// Whether no message has been begun.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes that are held for the message begun.
    pub(super) fn allocated(&self) -> usize {
        self.words.capacity() * 8 + self.table.capacity()
    }

    /// The next message, if all of it has arrived.
    pub(super) fn next(&mut self, source: &mut impl Source) -> Result<Option<Message>, FrameError> {
        if self.ends.is_none() && !self.read_table(source)? {
            return Ok(None);
        }
        let total = self.ends.as_ref().and_then(|ends| ends.last().copied()).unwrap_or(0);
        while self.filled < total * 8 {
            if self.filled == self.words.len() * 8 {
                // Never more than is needed, nor much more than has come.
                let len = total.min(self.words.len() + self.words.len().max(STEP));
                self.words.resize(len, capnp::word(0, 0, 0, 0, 0, 0, 0, 0));
            }
            let n = source.pull(&mut Word::words_to_bytes_mut(&mut self.words)[self.filled..])?;
            if n == 0 {
                return Ok(None);
            }
            self.filled += n;
        }
        self.table.clear();
        self.filled = 0;
        let words = std::mem::take(&mut self.words);
        let ends = self.ends.take().unwrap_or_default();

        // Reading may go over shared parts again, but not without end: a
        // pointer can name what another one does, and copies are made of both.
        let mut options = ReaderOptions::new();
        options
            .nesting_limit(MAX_NESTING)
            .traversal_limit_in_words(Some(total.saturating_mul(64).saturating_add(8192)));
        Ok(Some(Reader::new(Segments { words, ends }, options)))
    }

    /// The segment table: their number less one, their lengths in words, and
    /// padding to a whole word.
    fn read_table(&mut self, source: &mut impl Source) -> Result<bool, FrameError> {
        if !self.fill_table(source, 8)? {
            return Ok(false);
        }
        let count = self.table_entry(0).saturating_add(1);
        if count > MAX_SEGMENTS {
            return Err(FrameError::Segments);
        }
        if !self.fill_table(source, (count / 2 + 1) * 8)? {
            return Ok(false);
        }
        let mut ends = Vec::with_capacity(count);
        let mut total = 0usize;
        for segment in 1..=count {
            total = total.saturating_add(self.table_entry(segment));
            if total > self.max_words {
                return Err(FrameError::TooLarge);
            }
            ends.push(total);
        }
        if total == 0 {
            return Err(FrameError::Empty);
        }
        self.ends = Some(ends);
        Ok(true)
    }

    fn fill_table(&mut self, source: &mut impl Source, len: usize) -> Result<bool, FrameError> {
        let have = self.table.len();
        if have < len {
            self.table.resize(len, 0);
            let pulled = source.pull(&mut self.table[have..]);
            self.table.truncate(have + pulled.as_ref().copied().unwrap_or(0));
            pulled?;
        }
        Ok(self.table.len() >= len)
    }

    fn table_entry(&self, index: usize) -> usize {
        let bytes = self.table.get(index * 4..).and_then(|b| b.first_chunk());
        bytes.map_or(0, |b| u32::from_le_bytes(*b) as usize)
    }
}
