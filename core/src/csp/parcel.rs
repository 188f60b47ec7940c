//! A value on its way to who receives it.

use super::{local::Local, owner::Given, remote::Remote, value::Bytes};
use std::{fmt, sync::Arc};

/// A value that was received. Unless it is taken out, it goes back to the channel
/// when this is dropped, or, if the channel is elsewhere, to the next receiver here.
/// For those who may be called off between receiving a value and seeing it, as
/// calls of other languages may.
pub struct Parcel(Option<From>);

enum From {
    Local(Arc<Local>, Given<Bytes>),
    Remote(Arc<Remote>, Bytes),
}

impl Parcel {
    pub(super) fn local(local: Arc<Local>, given: Given<Bytes>) -> Self {
        Self(Some(From::Local(local, given)))
    }

    pub(super) fn remote(remote: Arc<Remote>, value: Bytes) -> Self {
        Self(Some(From::Remote(remote, value)))
    }

    /// Takes the value out.
    pub fn into_vec(mut self) -> Vec<u8> {
        match self.0.take() {
            Some(From::Local(_, given)) => given.value.into_vec(),
            Some(From::Remote(_, value)) => value.into_vec(),
            None => Vec::new(),
        }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        match self.0.take() {
            Some(From::Local(local, given)) => local.restore(given),
            Some(From::Remote(remote, value)) => remote.keep(value),
            None => (),
        }
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel").finish_non_exhaustive()
    }
}
