//! Errors of the facade, as Swift and Kotlin get them.

use casm_bindings::{Error, ErrorKind};
use std::fmt;

/// What a call gives or throws.
pub(crate) type Result<T, E = CasmError> = std::result::Result<T, E>;

/// One variant for each kind of error, with the message in it.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident,)+) => {
        /// An error: its kind, and a message that names what was wrong, the
        /// value, and what to do.
        #[derive(Clone, Debug, PartialEq, Eq, uniffi::Error)]
        #[uniffi(flat_error)]
        pub enum CasmError {
            $($(#[doc = $doc])+ $kind(String),)+
        }

        impl From<Error> for CasmError {
            fn from(error: Error) -> Self {
                let message = full_message(&error);
                match error.kind() {
                    $(ErrorKind::$kind => Self::$kind(message),)+
                    // A test goes through all kinds that there are.
                    _ => Self::Internal(message),
                }
            }
        }

        impl fmt::Display for CasmError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$kind(message) => f.write_str(message),)+
                }
            }
        }
    };
}

kinds! {
    /// A configuration value is not acceptable.
    Config,
    /// An address cannot be parsed or is of a kind that is not supported.
    Address,
    /// A socket could not be bound.
    Bind,
    /// The node, or the thing that was used, is closed.
    Closed,
    /// It did not happen in the time given.
    Timeout,
    /// The caller, or a close, called it off.
    Cancelled,
    /// What was asked for does not exist.
    NotFound,
    /// The peer could not be reached.
    Unreachable,
    /// The other side does not speak the protocol, or broke its rules.
    Protocol,
    /// The bytes or the argument are malformed.
    Invalid,
    /// It exceeds a limit on size or number.
    TooLarge,
    /// A limit on concurrent work or on rates is reached: try again later.
    Busy,
    /// The operating system reported an error.
    Io,
    /// The node is paused: resume it first.
    Paused,
    /// The handler of a service failed, here or elsewhere: the message is its own.
    Remote,
    /// A defect in CASM.
    Internal,
}

impl std::error::Error for CasmError {}

/// The message, with what led to the error: that has no place of its own in
/// what crosses the boundary.
fn full_message(error: &Error) -> String {
    let message = error.message();
    match std::error::Error::source(error).map(ToString::to_string) {
        Some(cause) if !message.contains(&cause) => format!("{message}: {cause}"),
        _ => message.to_owned(),
    }
}
