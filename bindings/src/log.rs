//! Log records, handed to the language's own logging.

use crate::{Error, ErrorKind, Result, runtime};
use std::{
    fmt::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl LogLevel {
    /// Every level, the quiet ones first.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level's name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of this name, in any case.
    ///
    /// # Errors
    /// `Config` if there is none.
    pub fn parse(name: &str) -> Result<Self> {
        let level = Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name));
        level.ok_or_else(|| {
            Error::config("log level", name, "write off, error, warn, info, debug or trace")
        })
    }

    fn of(level: &Level) -> Self {
        match *level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }
}

/// One log record.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// How bad it is.
    pub level: LogLevel,
    /// The part of CASM, such as `casm::boot`.
    pub target: String,
    /// The message, with its fields.
    pub message: String,
}

type Sink = Box<dyn Fn(Vec<LogRecord>) + Send>;

/// Records on their way to the sink.
pub(crate) struct LogQueue {
    records: SyncSender<LogRecord>,
    dropped: AtomicU64,
    sink: &'static Mutex<Option<Sink>>,
}

/// Records that may wait for the sink; what comes when there are so many is
/// dropped and counted.
const CAPACITY: usize = 1024;

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Hands CASM's log records of this level and worse to a sink, on a thread of
/// their own, in batches; those of other crates from `Warn` on. Calling it again
/// changes level and sink.
///
/// # Errors
/// `Busy` if the process has another `tracing` subscriber; `Io` if the thread
/// can't be started.
pub fn forward_logs(level: LogLevel, sink: impl Fn(Vec<LogRecord>) + Send + 'static) -> Result<()> {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let queue = runtime::process().log.get_or_try_init(LogQueue::start)?;
    *queue.sink.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(sink));
    LEVEL.store(level as u8, Ordering::Relaxed);
    if !INSTALLED.get_or_init(|| tracing::subscriber::set_global_default(Forward).is_ok()) {
        let message = "this process has a `tracing` subscriber already: CASM's records go there";
        return Err(Error::new(ErrorKind::Busy, message));
    }
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

impl LogQueue {
    fn start() -> Result<Self> {
        let (records, receiver) = sync_channel(CAPACITY);
        // One for each process: it lives as long as that.
        let sink: &'static Mutex<Option<Sink>> = Box::leak(Box::default());
        thread::Builder::new().name("casm-log".into()).spawn(move || deliver(&receiver, sink))?;
        Ok(Self { records, dropped: AtomicU64::new(0), sink })
    }

    fn push(&self, record: LogRecord) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let message = format!("{dropped} log records were dropped: the sink is too slow");
            let told = LogRecord { level: LogLevel::Warn, target: "casm::log".into(), message };
            if self.records.try_send(told).is_err() {
                self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
                return;
            }
        }
        if self.records.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn deliver(records: &Receiver<LogRecord>, sink: &Mutex<Option<Sink>>) {
    while let Ok(first) = records.recv() {
        let mut batch = vec![first];
        batch.extend(records.try_iter().take(255));
        // The lock is this thread's, but for a change of the sink; it is not
        // held while the sink runs.
        let taken = sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(taken) = taken else { continue };
        // A sink that panics is called again: it has no other way to be heard.
        let _ = catch_unwind(AssertUnwindSafe(|| taken(batch)));
        sink.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(taken);
    }
}

struct Forward;

impl Subscriber for Forward {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Asked each time: what a callsite that registers while the level
        // changes learns of it might be out of date, and would stay so.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = LEVEL.load(Ordering::Relaxed);
        let level = LogLevel::of(metadata.level());
        let ours = metadata.target().starts_with("casm");
        metadata.is_event() && level as u8 <= most && (ours || level <= LogLevel::Warn)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let Some(queue) = runtime::process().log.get() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        queue.push(LogRecord {
            level: LogLevel::of(event.metadata().level()),
            target: event.metadata().target().to_owned(),
            message: text.message + &text.fields,
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The message, and the fields that follow it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Duration};

    #[test]
    fn records_reach_the_sink_and_a_second_set_up_replaces_it() {
        let (first, records) = mpsc::channel();
        forward_logs(LogLevel::Info, move |batch| first.send(batch).unwrap()).unwrap();
        tracing::info!(target: "casm::test", answer = 42, "hello");
        tracing::debug!(target: "casm::test", "not this one");
        let got = records.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!((got[0].message.as_str(), got[0].level), ("hello answer=42", LogLevel::Info));
        let (second, records) = mpsc::channel();
        forward_logs(LogLevel::Debug, move |batch| second.send(batch).unwrap()).unwrap();
        tracing::debug!(target: "casm::test", "now this one");
        let got = records.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(got[0].message, "now this one");
    }

    #[test]
    fn a_level_has_a_name() {
        assert_eq!(LogLevel::parse("INFO").unwrap(), LogLevel::Info);
        assert!(LogLevel::parse("loud").unwrap_err().message().contains("loud"));
    }
}
