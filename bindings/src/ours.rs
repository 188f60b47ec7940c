//! What a forked child has of its parent, and must not touch: locks may be held by
//! threads that don't exist in the child, and what is waited for never comes.

use crate::{Error, ErrorKind, Result};
use std::{mem, process};

/// Something of the process that made it. In a forked child it is out of reach, and
/// forgotten when it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Ours<T> {
    pid: u32,
    /// Until it is dropped.
    value: Option<T>,
}

impl<T> Ours<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { pid: process::id(), value: Some(value) }
    }

    /// None in a forked child.
    pub(crate) fn mine(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid == process::id())
    }

    /// The same, to change it.
    pub(crate) fn mine_mut(&mut self) -> Option<&mut T> {
        self.value.as_mut().filter(|_| self.pid == process::id())
    }

    /// # Errors
    /// `Closed` in a forked child.
    pub(crate) fn get(&self) -> Result<&T> {
        self.mine().ok_or_else(of_the_parent)
    }
}

impl<T> Drop for Ours<T> {
    fn drop(&mut self) {
        if self.pid != process::id() {
            mem::forget(self.value.take());
        }
    }
}

/// What calls on what is the parent's give.
fn of_the_parent() -> Error {
    let message = "the node belongs to the parent of this process, and its threads with it: \
                   start a node in this process";
    Error::new(ErrorKind::Closed, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn a_child_neither_reaches_nor_drops_it() {
        let value = Rc::new(());
        let mut ours = Ours::new(value.clone());
        assert!(ours.get().is_ok() && ours.mine_mut().is_some());
        drop(ours);
        assert_eq!(Rc::strong_count(&value), 1);
        // As a child sees it.
        let mut theirs = Ours { pid: process::id() + 1, value: Some(value.clone()) };
        assert!(theirs.mine().is_none() && theirs.mine_mut().is_none());
        assert_eq!(theirs.get().unwrap_err().kind(), ErrorKind::Closed);
        drop(theirs);
        assert_eq!(Rc::strong_count(&value), 2);
    }
}
