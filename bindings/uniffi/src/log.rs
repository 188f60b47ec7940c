//! Log records, for the language's own logging.

use crate::{errors::Result, listener::ListenerError};
use std::sync::Arc;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What a user wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// One log record.
#[derive(Clone, Debug, uniffi::Record)]
pub struct LogRecord {
    /// How bad it is.
    pub level: LogLevel,
    /// The part of CASM, such as `casm::boot`.
    pub target: String,
    /// The message, with its fields.
    pub message: String,
}

/// Is told log records, one call after the other, on a thread of its own.
#[uniffi::export(with_foreign)]
pub trait LogListener: Send + Sync {
    /// These are new.
    fn on_logs(&self, records: Vec<LogRecord>) -> Result<(), ListenerError>;
}

/// Hands CASM's log records of this level and worse to a listener. Calling it
/// again changes level and listener.
#[uniffi::export]
pub fn forward_logs(level: LogLevel, listener: Arc<dyn LogListener>) -> Result<()> {
    casm_bindings::forward_logs(level.into(), move |records| {
        // One that fails is called again: to log that would call it, too.
        let _ = listener.on_logs(records.into_iter().map(LogRecord::from).collect());
    })?;
    Ok(())
}

impl From<casm_bindings::LogRecord> for LogRecord {
    fn from(record: casm_bindings::LogRecord) -> Self {
        Self { level: record.level.into(), target: record.target, message: record.message }
    }
}

macro_rules! levels {
    ($($level:ident)+) => {
        impl From<casm_bindings::LogLevel> for LogLevel {
            fn from(level: casm_bindings::LogLevel) -> Self {
                match level { $(casm_bindings::LogLevel::$level => Self::$level,)+ }
            }
        }

        impl From<LogLevel> for casm_bindings::LogLevel {
            fn from(level: LogLevel) -> Self {
                match level { $(LogLevel::$level => Self::$level,)+ }
            }
        }
    };
}

levels! { Off Error Warn Info Debug Trace }
