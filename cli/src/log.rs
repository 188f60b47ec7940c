//! Logs, which go to stderr, so that stdout holds results alone. What a peer may
//! have a hand in, the text and the number of the lines, is made harmless.

use crate::{
    args::{LogArgs, LogFormat},
    output, text,
};
use casm::logs::{self, LeftOut, TARGET, TELL_EVERY, clean};
use std::{
    fmt::{self, Debug},
    io::{self, IsTerminal},
    sync::Arc,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

/// Starts logging as the options say; not at all over a full-screen display.
pub fn start(args: &LogArgs, full_screen: bool) -> Limit {
    let limit = Limit::default();
    if full_screen && io::stderr().is_terminal() {
        return limit;
    }
    let ansi = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let gap = match args.log_format {
        LogFormat::Text => text_gap,
        LogFormat::Json => json_gap,
    };
    let take = move |line| output::stderr(gap)?.push(line);
    subscriber(args, ansi, limit.clone(), take).init();
    limit
}

/// What writes logs, line by line.
fn subscriber(
    args: &LogArgs,
    ansi: bool,
    limit: Limit,
    take: impl Fn(Vec<u8>) -> io::Result<()> + Copy + Send + Sync + 'static,
) -> Box<dyn Subscriber + Send + Sync> {
    let json = args.log_format == LogFormat::Json;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives(args)))
        .with_writer(move || Lines { json, take })
        .with_ansi(ansi);
    match args.log_format {
        LogFormat::Text => Box::new(builder.fmt_fields(CleanFields).finish().with(limit)),
        LogFormat::Json => Box::new(builder.json().finish().with(limit)),
    }
}

fn directives(args: &LogArgs) -> &'static str {
    match (args.quiet, args.verbose) {
        (true, _) => "error",
        // What takes back a warning is told where the warning was.
        (_, 0) => "warn,casm::follow=info,casm::telemetry=info,casm::trouble=info",
        (_, 1) => "warn,casm=debug",
        (_, 2) => "info,casm=trace",
        (_, _) => "debug,casm=trace",
    }
}

/// Lets few lines of each kind pass, and tells how many it left out.
#[derive(Clone, Default)]
pub struct Limit(Arc<logs::Limit>);

impl Limit {
    /// Tells from time to time what was left out. Never ends.
    pub async fn tell(&self) {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            self.0.ended().iter().for_each(tell);
        }
    }

    /// Tells what was left out, at the end.
    pub fn tell_rest(&self) {
        self.0.rest().iter().for_each(tell);
    }
}

fn tell(left_out: &LeftOut) {
    match left_out.level {
        Level::ERROR => tracing::error!(target: TARGET, "{left_out}"),
        Level::WARN => tracing::warn!(target: TARGET, "{left_out}"),
        _ => tracing::info!(target: TARGET, "{left_out}"),
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        use tracing_log::NormalizeEvent;
        match event.normalized_metadata() {
            Some(metadata) => self.0.admits(&metadata),
            None => self.0.admits(event.metadata()),
        }
    }
}

/// Takes lines: the formatter hands over each in one piece.
struct Lines<T> {
    json: bool,
    take: T,
}

impl<T: Fn(Vec<u8>) -> io::Result<()>> io::Write for Lines<T> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let clean = if self.json {
            let line = String::from_utf8_lossy(line);
            // Its end is no part of the JSON.
            (text::clean_json(line.trim_end()).into_owned() + "\n").into_bytes()
        } else {
            line.to_vec()
        };
        // That nobody reads the log any more is no error to log.
        let _ = (self.take)(clean);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const GAP: &str = "lines were dropped: whoever reads the log is too slow";

fn text_gap(count: u64) -> Vec<u8> {
    format!("{}  WARN {TARGET}: {GAP} count={count}\n", now()).into_bytes()
}

fn json_gap(count: u64) -> Vec<u8> {
    let fields = serde_json::json!({ "message": GAP, "count": count });
    let line = serde_json::json!({
        "timestamp": now().to_string(), "level": "WARN", "fields": fields, "target": TARGET
    });
    format!("{line}\n").into_bytes()
}

fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_micros(std::time::SystemTime::now())
}

/// The fields of a line of text, made harmless to a terminal.
struct CleanFields;

impl<'writer> FormatFields<'writer> for CleanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = CleanVisitor { writer, result: Ok(()), first: true };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct CleanVisitor<'writer> {
    writer: Writer<'writer>,
    result: fmt::Result,
    first: bool,
}

impl Visit for CleanVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // What `log` says of where a line comes from is told already.
        if self.result.is_err() || field.name().starts_with("log.") {
            return;
        }
        let gap = if std::mem::take(&mut self.first) { "" } else { " " };
        let value = format!("{value:?}");
        let value = clean(&value);
        let (slant, dim, plain) = if self.writer.has_ansi_escapes() {
            ("\x1b[3m", "\x1b[2m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        self.result = match field.name() {
            "message" => write!(self.writer, "{gap}{value}"),
            name => write!(self.writer, "{gap}{slant}{name}{plain}{dim}={plain}{value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casm::logs::is_harmful;
    use std::sync::{Mutex, PoisonError};

    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// What is logged in a form, on this thread.
    fn logged(format: LogFormat, log: impl FnOnce(&Limit)) -> Vec<String> {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let take = |line| {
            LINES.lock().unwrap().push(String::from_utf8(line).unwrap());
            Ok(())
        };
        let limit = Limit::default();
        let args = LogArgs { verbose: 1, quiet: false, log_format: format };
        let subscriber = subscriber(&args, false, limit.clone(), take);
        tracing::subscriber::with_default(subscriber, || log(&limit));
        std::mem::take(&mut *LINES.lock().unwrap())
    }

    #[test]
    fn a_log_cannot_steer_the_terminal_that_shows_it() {
        let addr = "/dns/h\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\u{2028}\u{61c}\u{200b}\nWARN fake";
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = logged(format, |_| {
                tracing::warn!(%addr, quoted = ?addr, text = addr, "not reached: {addr}");
            });
            assert_eq!(lines.len(), 1, "{lines:?}");
            let line = lines[0].strip_suffix('\n').unwrap();
            assert!(!line.contains(is_harmful) && line.contains("owned"), "{line:?}");
            if format == LogFormat::Json {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["fields"]["text"], addr, "it says the same");
            }
        }
    }

    #[test]
    fn a_flood_of_one_kind_is_counted_and_hides_no_other() {
        let lines = logged(LogFormat::Text, |limit| {
            for n in 0..2273 {
                tracing::warn!(target: "libp2p_swarm::connection", n, "queue is full");
                if n == 2000 {
                    tracing::warn!("of another kind");
                }
            }
            limit.tell_rest();
            limit.tell_rest();
        });
        let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        assert_eq!((of("queue is full"), of("another kind")), (10, 1), "{lines:#?}");
        assert_eq!((of("2263 more lines of libp2p_swarm::connection"), lines.len()), (1, 12));
    }

    #[test]
    fn what_developers_ask_for_is_not_limited() {
        let lines = logged(LogFormat::Text, |_| {
            (0..100).for_each(|n| tracing::debug!(target: "casm::boot", n, "datagram"));
        });
        assert_eq!(lines.len(), 100);
    }

    #[test]
    fn what_was_dropped_is_told_in_the_form_of_the_log() {
        let line: serde_json::Value = serde_json::from_slice(&json_gap(3)).unwrap();
        assert_eq!((&line["level"], &line["fields"]["count"]), (&"WARN".into(), &3.into()));
        assert!(String::from_utf8(text_gap(3)).unwrap().ends_with("count=3\n"));
    }
}
