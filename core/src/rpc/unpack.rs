//! Cap'n Proto's packed encoding, undone as the bytes arrive
//! (<https://capnproto.org/encoding.html#packing>).
//!
//! Only as much is expanded as is asked for: two bytes can stand for 2 KiB of
//! zeros, which must not be made before a message has room for them.

use super::{
    error::FrameError,
    source::{Input, Source},
};

/// Unpacks what it pulls from the source below.
#[derive(Debug)]
pub(super) struct Unpacker<S> {
    source: S,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A tag is next.
    Tag,
    /// The bytes of a word, those whose bit in the tag is not set being zero.
    Word { tag: u8, next: u8 },
    /// How many more words of zeros there are, is next.
    ZeroCount,
    /// How many unpacked words follow, is next.
    RawCount,
    /// So many bytes of zeros are due.
    Zeros(usize),
    /// So many bytes are to be taken as they are.
    Raw(usize),
}

impl<S: Source> Unpacker<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, state: State::Tag }
    }

    fn byte(&mut self) -> Result<Option<u8>, FrameError> {
        let mut byte = [0];
        Ok((self.source.pull(&mut byte)? == 1).then_some(byte[0]))
    }
}

impl<S: Source> Source for Unpacker<S> {
    fn pull(&mut self, out: &mut [u8]) -> Result<usize, FrameError> {
        let mut done = 0;
        while let Some(free) = out.get_mut(done..).filter(|free| !free.is_empty()) {
            match self.state {
                State::Tag => match self.byte()? {
                    None => break,
                    Some(tag) => self.state = State::Word { tag, next: 0 },
                },
                State::Word { tag, next: 8 } => {
                    self.state = match tag {
                        0x00 => State::ZeroCount,
                        0xff => State::RawCount,
                        _ => State::Tag,
                    }
                }
                State::Word { tag, next } => {
                    free[0] = if tag & (1 << next) == 0 {
                        0
                    } else {
                        match self.byte()? {
                            None => break,
                            Some(byte) => byte,
                        }
                    };
                    done += 1;
                    self.state = State::Word { tag, next: next + 1 };
                }
                State::ZeroCount => match self.byte()? {
                    None => break,
                    Some(words) => self.state = State::Zeros(usize::from(words) * 8),
                },
                State::RawCount => match self.byte()? {
                    None => break,
                    Some(words) => self.state = State::Raw(usize::from(words) * 8),
                },
                State::Zeros(0) | State::Raw(0) => self.state = State::Tag,
                State::Zeros(left) => {
                    let n = left.min(free.len());
                    free[..n].fill(0);
                    done += n;
                    self.state = State::Zeros(left - n);
                }
                State::Raw(left) => {
                    let n = left.min(free.len());
                    let n = self.source.pull(&mut free[..n])?;
                    if n == 0 {
                        break;
                    }
                    done += n;
                    self.state = State::Raw(left - n);
                }
            }
        }
        Ok(done)
    }

    fn input(&mut self) -> &mut Input {
        self.source.input()
    }

    fn held(&self) -> usize {
        self.source.held()
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, State::Tag) && self.source.is_idle()
    }
}
