//! Results on stdout: JSON lines for machines, or text for people, in colour
//! on a terminal only. Whoever doesn't read them holds nobody up.

use crate::{failure::Failure, interrupt, json::Line, outlet::Outlet, text};
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Bytes of results that may wait to be read.
const RESULTS: usize = 4 * 1024 * 1024;

/// Bytes of logs and remarks that may wait to be read.
const REMARKS: usize = 1024 * 1024;

/// How long a program that was asked to end waits for its readers.
const GRACE: Duration = Duration::from_millis(500);

static STDOUT: OnceLock<Outlet> = OnceLock::new();
static STDERR: OnceLock<Outlet> = OnceLock::new();

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// Results on stdout.
    pub fn new(json: bool) -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour: colour && !json }
    }

    /// Whether results are for machines.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person sees them at once: progress can be shown.
    pub fn is_terminal(self) -> bool {
        !self.json && io::stdout().is_terminal() && io::stderr().is_terminal()
    }

    /// Prints a line in the form asked for.
    pub fn line(self, line: &Line) -> Result<(), Failure> {
        self.write(self.bytes(line)?)
    }

    /// Prints an object as a line of JSON.
    pub fn json(self, object: &impl Serialize) -> Result<(), Failure> {
        self.write(json(object)?)
    }

    /// Prints text, and ends its last line.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        self.write(format!("{text}\n").into_bytes())
    }

    /// Prints bytes as they are.
    pub fn write(self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.outlet()?.push(bytes).map_err(Failure::output)
    }

    /// Whether what was printed waits for its reader.
    pub fn is_behind(self) -> bool {
        STDOUT.get().is_some_and(Outlet::is_behind)
    }

    /// Waits until nothing more can be printed: mostly for ever.
    pub async fn failure(self) -> Failure {
        match self.outlet() {
            Ok(outlet) => Failure::output(outlet.failure().await),
            Err(failure) => failure,
        }
    }

    /// Waits for a moment until what was printed is there: before something is
    /// drawn below it.
    pub fn settle(self) {
        const MOMENT: Duration = Duration::from_millis(100);
        let start = Instant::now();
        if let Some(outlet) = STDOUT.get().filter(|_| self.is_terminal()) {
            outlet.drain(|| start.elapsed() > MOMENT);
        }
    }

    fn bytes(self, line: &Line) -> Result<Vec<u8>, Failure> {
        if self.json {
            return json(line);
        }
        Ok((text::of(line, self.colour) + "\n").into_bytes())
    }

    fn outlet(self) -> Result<&'static Outlet, Failure> {
        let gap = move |count| self.bytes(&Line::Dropped { count }).unwrap_or_default();
        outlet(&STDOUT, "casm-stdout", RESULTS, io::stdout(), gap).map_err(Failure::output)
    }
}

/// The stream of logs and remarks. The first call says what tells of lines that
/// were dropped.
pub fn stderr(gap: impl Fn(u64) -> Vec<u8> + Send + 'static) -> io::Result<&'static Outlet> {
    outlet(&STDERR, "casm-stderr", REMARKS, io::stderr(), gap)
}

/// Tells a person something that is no result.
pub fn remark(text: &str) {
    let gap = |count| format!("casm: {count} lines were dropped\n").into_bytes();
    if let Ok(stderr) = stderr(gap) {
        // Nothing is left to do if even this can't be written.
        let _ = stderr.push(format!("casm: {}\n", text::clean(text)).into_bytes());
    }
}

/// Waits until all is written, as long as somebody reads; at the end of a
/// program that was asked to end, half a second at most.
pub fn drain() {
    let mut asked = None;
    let mut gives_up = || {
        if interrupt::asked() {
            asked.get_or_insert_with(Instant::now);
        }
        asked.is_some_and(|at| at.elapsed() > GRACE)
    };
    for outlet in [&STDOUT, &STDERR].into_iter().filter_map(OnceLock::get) {
        outlet.drain(&mut gives_up);
    }
}

fn outlet(
    once: &'static OnceLock<Outlet>,
    name: &str,
    room: usize,
    to: impl Write + Send + 'static,
    gap: impl Fn(u64) -> Vec<u8> + Send + 'static,
) -> io::Result<&'static Outlet> {
    if once.get().is_none() {
        // One of two that are made at once goes unused.
        let _ = once.set(Outlet::new(name, room, to, gap)?);
    }
    once.get().ok_or_else(|| io::Error::other("no outlet was made"))
}

/// A line of JSON that cannot steer a terminal.
fn json(object: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let text = serde_json::to_string(object).map_err(|e| Failure::output(io::Error::other(e)))?;
    Ok((text::clean_json(&text).into_owned() + "\n").into_bytes())
}
