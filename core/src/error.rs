//! The one error type of the public API, and its kinds, which are the same in
//! every language.

use crate::logs::clean;
use std::{borrow::Cow, fmt, sync::Arc};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in a form that a program can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
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

impl ErrorKind {
    /// Every kind, in the order of declaration.
    pub const ALL: &[Self] = &[
        Self::Config,
        Self::Address,
        Self::Bind,
        Self::Closed,
        Self::Timeout,
        Self::Cancelled,
        Self::NotFound,
        Self::Unreachable,
        Self::Protocol,
        Self::Invalid,
        Self::TooLarge,
        Self::Busy,
        Self::Io,
        Self::Paused,
        Self::Remote,
        Self::Internal,
    ];

    /// The name of the kind, as in every language and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "Config",
            Self::Address => "Address",
            Self::Bind => "Bind",
            Self::Closed => "Closed",
            Self::Timeout => "Timeout",
            Self::Cancelled => "Cancelled",
            Self::NotFound => "NotFound",
            Self::Unreachable => "Unreachable",
            Self::Protocol => "Protocol",
            Self::Invalid => "Invalid",
            Self::TooLarge => "TooLarge",
            Self::Busy => "Busy",
            Self::Io => "Io",
            Self::Paused => "Paused",
            Self::Remote => "Remote",
            Self::Internal => "Internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error: its kind, and a message that names what was wrong, the value, and
/// what to do.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Box<str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind. A message may quote what others sent, an address
    /// say, and is shown on terminals and in logs: what could steer a terminal,
    /// or cannot be seen, is written as its number, such as `\u{1b}`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = match clean(&message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(clean) => clean,
        };
        Self { kind, message: message.into(), source: None }
    }

    /// The same error, with its cause.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// A configuration field, its value, and what is accepted instead.
    pub fn config(field: &str, value: impl fmt::Debug, accepted: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Config, format!("{field}: {value:?} is not accepted: {accepted}"))
    }

    /// The node, or a service of it, is closed.
    pub fn closed(what: &str) -> Self {
        Self::new(ErrorKind::Closed, format!("the {what} is closed"))
    }

    /// The node is paused, and what was asked for needs the network.
    pub(crate) fn paused() -> Self {
        Self::new(ErrorKind::Paused, "the node is paused: resume it first")
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was wrong, the value, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, error.to_string()).with_source(error)
    }
}

/// What an error and its causes say, each thing once, for the end of a message.
/// Some wrappers say nothing themselves, and some systems have no text for some
/// of their errors: then it is the error's number, if it has one.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut number = None;
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        let said = said.trim();
        if text.is_empty() {
            text.push_str(said);
        } else if !text.contains(said) {
            text.push_str(": ");
            text.push_str(said);
        }
        let io = error.downcast_ref::<std::io::Error>();
        number = number.or(io.and_then(std::io::Error::raw_os_error));
        next = error.source();
    }
    match number {
        Some(number) if text.is_empty() => format!("os error {number}"),
        None if text.is_empty() => format!("{error:?}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::transport::TransportError;
    use std::io;

    /// Says nothing, like libp2p's transports of their causes.
    #[derive(Debug)]
    struct Silent(Option<io::Error>);

    impl fmt::Display for Silent {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Ok(())
        }
    }

    impl std::error::Error for Silent {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.0.as_ref().map(|error| error as _)
        }
    }

    #[test]
    fn a_reason_is_never_empty() {
        let taken = || io::Error::from_raw_os_error(98);
        let said = taken().to_string();
        assert_eq!(reason(&taken()), said);
        assert_eq!(reason(&TransportError::Other(taken())), said);
        assert_eq!(reason(&TransportError::Other(io::Error::other(Silent(Some(taken()))))), said);
        assert_eq!(reason(&Silent(None)), "Silent(None)");
        let twice = io::Error::other(Error::new(ErrorKind::Io, "disk full"));
        assert_eq!(reason(&twice), "disk full");
    }

    #[test]
    fn a_message_cannot_steer_the_terminal_that_shows_it() {
        let addr: libp2p::Multiaddr = "/dns/a\u{1b}[2J\u{202e}b/tcp/1".parse().unwrap();
        let error = Error::new(ErrorKind::Unreachable, format!("{addr} does not answer"));
        assert_eq!(error.to_string(), "/dns/a\\u{1b}[2J\\u{202e}b/tcp/1 does not answer");
    }
}
