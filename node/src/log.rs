//! Log records, handed to a function of JavaScript's.

use crate::{
    call::guard,
    errors::Result,
    port::{Port, Work, hand_over},
};
use casm_bindings::{LogLevel, LogRecord};
use napi_derive::napi;
use std::sync::mpsc;

/// One log record.
#[napi(object, object_from_js = false)]
pub struct LogLine {
    pub level: &'static str,
    pub target: String,
    pub message: String,
}

impl From<LogRecord> for LogLine {
    fn from(record: LogRecord) -> Self {
        Self { level: record.level.name(), target: record.target, message: record.message }
    }
}

/// Hands over CASM's log records of this level and worse under this number.
#[napi]
pub fn forward_logs(port: &Port, id: u32, level: String) -> Result<()> {
    let dispatcher = port.0.dispatcher();
    let sink = move |records: Vec<LogRecord>| {
        let (done, handed_over) = mpsc::channel();
        dispatcher.submit(Box::new(move || {
            let logs = Some(records.into_iter().map(LogLine::from).collect());
            hand_over(Work { id, logs, ..Work::default() });
            let _ = done.send(());
        }));
        // No more than two batches are under way. When the thread has ended,
        // the sender is gone.
        let _ = handed_over.recv();
    };
    guard("forwardLogs", || casm_bindings::forward_logs(LogLevel::parse(&level)?, sink))
}
