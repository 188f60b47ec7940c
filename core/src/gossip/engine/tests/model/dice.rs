//! Where choices come from.

use std::iter::Peekable;

/// Choices, one after the other, until there are no more.
pub trait Dice {
    /// A number below `sides`, which is not 0 nor above 256.
    fn below(&mut self, sides: usize) -> usize;

    /// Whether there are no more.
    fn is_over(&mut self) -> bool;

    /// Bytes as they come, at most so many.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(256).min(most);
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    /// Whether something happens that does so once in so many times.
    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == sides - 1
    }

    /// One of these.
    fn of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.below(all.len().min(256))].clone())
    }
}

/// Choices made of bytes, such as a fuzzer's or those of a generator: of what is
/// over, each is 0.
pub struct Bytes<I: Iterator<Item = u8>>(Peekable<I>);

impl<I: Iterator<Item = u8>> Bytes<I> {
    /// Takes one for each choice.
    pub fn new(bytes: I) -> Self {
        Self(bytes.peekable())
    }
}

impl<I: Iterator<Item = u8>> Dice for Bytes<I> {
    fn below(&mut self, sides: usize) -> usize {
        usize::from(self.0.next().unwrap_or_default()) % sides
    }

    fn is_over(&mut self) -> bool {
        self.0.peek().is_none()
    }
}
