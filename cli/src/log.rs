//! Logs, which go to stderr, so that stdout holds results alone.

use crate::args::{LogArgs, LogFormat};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Starts logging as the options say; not at all over a full-screen display.
pub fn start(args: &LogArgs, full_screen: bool) {
    if full_screen && io::stderr().is_terminal() {
        return;
    }
    let filter = EnvFilter::new(directives(args));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn directives(args: &LogArgs) -> &'static str {
    match (args.quiet, args.verbose) {
        (true, _) => "error",
        (_, 0) => "warn,casm::telemetry=info",
        (_, 1) => "warn,casm=debug",
        (_, 2) => "info,casm=trace",
        (_, _) => "debug,casm=trace",
    }
}
