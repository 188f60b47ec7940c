//! How a command ends when it is not done.

use casm::{Error, ErrorKind, logs::clean};
use std::{error::Error as _, io, process::ExitCode};

/// Why a command ended without being done.
#[derive(Debug)]
pub enum Failure {
    /// Something failed, and nobody has been told yet.
    Error(Error),
    /// The reader of the output has gone: there is nobody to tell.
    BrokenPipe,
    /// The output has already told what failed.
    Told,
}

impl Failure {
    /// 0: done, or nobody is interested any more; 1: failed; 2: bad usage.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Error(e) if matches!(e.kind(), ErrorKind::Config | ErrorKind::Address) => {
                2.into()
            }
            Self::Error(_) | Self::Told => ExitCode::FAILURE,
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }

    /// A failure to write output.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Error(
                Error::new(ErrorKind::Io, format!("cannot write the output: {error}"))
                    .with_source(error),
            ),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The message with its causes, as far as they add something, and harmless to a
/// terminal.
pub fn explain(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        let reason = clean(&reason);
        if !text.contains(&*reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let cause = io::Error::other("disk full");
        let error = Error::new(ErrorKind::Io, "cannot write k: disk full").with_source(cause);
        assert_eq!(explain(&error), "cannot write k: disk full");
        let error =
            Error::new(ErrorKind::Bind, "cannot listen").with_source(io::Error::other("in use"));
        assert_eq!(explain(&error), "cannot listen: in use");
        let error = Error::new(ErrorKind::Io, "no").with_source(io::Error::other("\u{1b}[2J"));
        assert_eq!(explain(&error), "no: \\u{1b}[2J");
    }
}
