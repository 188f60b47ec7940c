//! Log records, handed to the language's own logging.

use crate::{Error, ErrorKind, Result, runtime};
use casm::logs::{LeftOut, Limit, TARGET, TELL_EVERY, clean};
use std::{
    fmt::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Instant,
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
    /// The message, with its fields. What could steer a terminal is escaped.
    pub message: String,
}

impl From<LeftOut> for LogRecord {
    fn from(left_out: LeftOut) -> Self {
        let level = LogLevel::of(&left_out.level);
        Self { level, target: TARGET.into(), message: left_out.to_string() }
    }
}

type Sink = Box<dyn Fn(Vec<LogRecord>) + Send>;

/// Records on their way to the sink.
pub(crate) struct LogQueue {
    records: SyncSender<LogRecord>,
    dropped: AtomicU64,
    limit: &'static Limit,
    sink: &'static Mutex<Option<Sink>>,
}

/// Records that may wait for the sink; what comes when there are so many is
/// dropped and counted.
const CAPACITY: usize = 1024;

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// Hands CASM's log records of this level and worse to a sink, on a thread of
/// their own, in batches; those of other crates from `Warn` on. Of a kind that
/// comes again and again, at `Info` or worse, ten are handed over in a minute, and
/// then their number. A sink that is slow holds nobody up: what finds no room is
/// dropped, and its number told. Calling it again changes level and sink.
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
        let limit: &'static Limit = Box::leak(Box::default());
        let thread = thread::Builder::new().name("casm-log".into());
        thread.spawn(move || deliver(&receiver, limit, sink))?;
        Ok(Self { records, dropped: AtomicU64::new(0), limit, sink })
    }

    fn push(&self, record: LogRecord) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let message = format!("{dropped} log records were dropped: the sink is too slow");
            let told = LogRecord { level: LogLevel::Warn, target: TARGET.into(), message };
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

fn deliver(records: &Receiver<LogRecord>, limit: &Limit, sink: &Mutex<Option<Sink>>) {
    let mut told = Instant::now();
    loop {
        let mut batch = match records.recv_timeout(TELL_EVERY) {
            Ok(first) => vec![first],
            Err(RecvTimeoutError::Timeout) => vec![],
            Err(RecvTimeoutError::Disconnected) => return,
        };
        batch.extend(records.try_iter().take(255));
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            batch.extend(limit.ended().into_iter().map(LogRecord::from));
        }
        if batch.is_empty() {
            continue;
        }
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
        if !queue.limit.admits(event.metadata()) {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        queue.push(LogRecord {
            level: LogLevel::of(event.metadata().level()),
            target: event.metadata().target().to_owned(),
            message: clean(&(text.message + &text.fields)).into_owned(),
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

    /// Sends on what the test logs: others run beside it, and log too.
    fn own(batch: Vec<LogRecord>, to: &mpsc::Sender<Vec<LogRecord>>) {
        let own: Vec<_> = batch.into_iter().filter(|r| r.target == "casm::test").collect();
        if !own.is_empty() {
            to.send(own).unwrap();
        }
    }

    #[test]
    fn records_reach_the_sink_harmless_in_number_and_text_and_a_second_set_up_replaces_it() {
        let (first, records) = mpsc::channel();
        forward_logs(LogLevel::Info, move |batch| own(batch, &first)).unwrap();
        tracing::info!(target: "casm::test", answer = 42, "hello");
        tracing::debug!(target: "casm::test", "not this one");
        let got = records.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!((got[0].message.as_str(), got[0].level), ("hello answer=42", LogLevel::Info));
        let (second, records) = mpsc::channel();
        forward_logs(LogLevel::Debug, move |batch| own(batch, &second)).unwrap();
        tracing::debug!(target: "casm::test", "now this one");
        let got = records.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(got[0].message, "now this one");

        // What steers a terminal is escaped.
        let addr = "/dns/h\u{1b}[2J\u{202e}\u{9b}\n/tcp/1";
        tracing::warn!(target: "casm::test", %addr, "no answer");
        let got = records.recv_timeout(Duration::from_secs(30)).unwrap();
        let message = "no answer addr=/dns/h\\u{1b}[2J\\u{202e}\\u{9b}\\u{a}/tcp/1";
        assert_eq!(got[0].message, message);

        // A flood, with a sink that takes nothing: whoever logs goes on.
        let (begun, begins) = mpsc::channel();
        let (go, goes) = mpsc::channel::<()>();
        let (third, records) = mpsc::channel();
        forward_logs(LogLevel::Debug, move |batch| {
            let _ = begun.send(());
            let _ = goes.recv();
            let _ = third.send(batch);
        })
        .unwrap();
        tracing::debug!(target: "casm::test", "the first");
        begins.recv_timeout(Duration::from_secs(30)).unwrap();
        for n in 0..3000 {
            tracing::warn!(target: "libp2p_test", n, "a flood");
        }
        for n in 0..3000 {
            tracing::debug!(target: "casm::test", n, "asked for");
        }
        drop(go);
        let mut got = Vec::new();
        while !got.iter().any(|record: &LogRecord| record.message == "the last") {
            got.extend(records.recv_timeout(Duration::from_secs(30)).unwrap());
            if got.len() >= CAPACITY {
                tracing::debug!(target: "casm::test", "the last");
            }
        }
        let of = |text: &str| got.iter().filter(|record| record.message.contains(text)).count();
        assert_eq!((of("the first"), of("a flood")), (1, 10));
        let dropped = 3000 - of("asked for");
        assert_eq!(of(&format!("{dropped} log records were dropped")), 1);
        let limit = runtime::process().log.get().unwrap().limit;
        let rest: Vec<_> = limit.rest().into_iter().map(LogRecord::from).collect();
        assert_eq!((rest.len(), rest[0].level), (1, LogLevel::Warn));
        assert!(rest[0].message.starts_with("2990 more lines of libp2p_test"), "{rest:?}");
    }

    #[test]
    fn a_level_has_a_name() {
        assert_eq!(LogLevel::parse("INFO").unwrap(), LogLevel::Info);
        assert!(LogLevel::parse("loud").unwrap_err().message().contains("loud"));
    }
}
