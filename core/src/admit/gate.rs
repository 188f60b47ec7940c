//! What two nodes say on a new connection, before anything else: `/casm/1.0.0/admit`.
//!
//! Who dialled opens the stream and sends a [`Hello`] in a [frame](super::wire). Who
//! was dialled answers with its own, or closes the connection; who dialled closes it
//! too if it does not take that. Nobody is told why: it is counted, and logged.

use super::{
    AdmitError, Certificate,
    envelope::{once, there},
    wire::{bytes, each, frame, number, put},
};
use crate::pubsub::fields::write_number;

/// The protocol's id.
pub const PROTOCOL: &str = "/casm/1.0.0/admit";
/// The longest message, in bytes, without the length before it.
pub const MAX_HELLO: usize = 2560;
/// The version that is spoken.
const VERSION: u64 = 1;

/// What each side shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its certificate.
    pub certificate: Certificate,
}

impl Hello {
    /// The message, with its length before it.
    pub fn frame(&self) -> Vec<u8> {
        let mut message = Vec::new();
        write_number(1, VERSION, &mut message);
        put(2, self.certificate.encoded(), &mut message);
        frame(&message)
    }

    /// Reads a message, without the length before it. Fields that are unknown are
    /// skipped, and a later version is read as far as it says the same.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn decode(message: &[u8]) -> Result<Self, AdmitError> {
        if message.len() > MAX_HELLO {
            return Err(AdmitError::TooLarge);
        }
        let (mut version, mut certificate) = (None, None);
        each(message, |field, value| match field {
            1 => once(&mut version, number(value)?),
            2 => once(&mut certificate, bytes(value)?),
            _ => Ok(()),
        })?;
        match there(version, "it has no version")? {
            0 => Err(AdmitError::Malformed("its version is 0")),
            _ => {
                let certificate = there(certificate, "it has no certificate")?;
                Ok(Self { certificate: Certificate::decode(certificate)? })
            }
        }
    }
}
