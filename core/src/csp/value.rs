//! Values as bytes.

use super::owner::Value;
use crate::{Error, ErrorKind, Result};
use std::sync::Arc;

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 1 << 20;

/// A value, of which there may be several copies for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(Arc<Vec<u8>>);

impl Bytes {
    /// # Errors
    /// `TooLarge`.
    pub(super) fn new(value: Vec<u8>) -> Result<Self> {
        if value.len() > MAX_VALUE {
            let message = format!(
                "a value of {} bytes: a channel takes at most {MAX_VALUE}; send it over a stream, \
                 and where it is over the channel",
                value.len()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(Self(Arc::new(value)))
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| (*shared).clone())
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Value for Bytes {
    fn size(&self) -> usize {
        self.0.len()
    }
}
