//! Results on stdout: JSON lines for machines, or text for people, in colour
//! on a terminal only.

use crate::{failure::Failure, json::Line, text};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

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
        if self.json { self.json(line) } else { self.text(&text::of(line, self.colour)) }
    }

    /// Prints an object as a line of JSON.
    pub fn json(self, object: &impl Serialize) -> Result<(), Failure> {
        let mut text =
            serde_json::to_string(object).map_err(|e| Failure::output(io::Error::other(e)))?;
        text.push('\n');
        self.write(text.as_bytes())
    }

    /// Prints text, and ends its last line.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Prints bytes as they are.
    pub fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::output)
    }
}
