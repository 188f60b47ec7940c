//! The terminal, full-screen. A terminal that doesn't take what is drawn holds
//! nobody up: what is drawn next waits until it does.

use crate::{failure::Failure, output::Output};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show, execute, terminal::LeaveAlternateScreen, terminal::disable_raw_mode,
    },
};
use std::io::{self, Write};

/// The screen, from its opening to its closing.
pub struct Screen {
    output: Output,
    terminal: Terminal<CrosstermBackend<Drawn>>,
}

impl Screen {
    /// Takes over the terminal; also a panic gives it back.
    pub fn open(output: Output) -> Result<Self, Failure> {
        let opened = ratatui::try_init().map_err(Failure::output)?;
        drop(opened);
        let backend = CrosstermBackend::new(Drawn { output, bytes: Vec::new() });
        let terminal = Terminal::new(backend).map_err(Failure::output)?;
        Ok(Self { output, terminal })
    }

    /// Draws, unless the terminal is still busy with what was drawn before.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        if self.output.is_behind() {
            return Ok(());
        }
        self.terminal.draw(draw).map(drop).map_err(Failure::output)
    }

    /// Gives the terminal back.
    pub fn close(mut self) {
        // Nothing is left to do if it is gone.
        let _ = disable_raw_mode();
        let _ = execute!(self.terminal.backend_mut(), LeaveAlternateScreen, Show);
    }
}

/// What is drawn, until it is handed over in one piece.
struct Drawn {
    output: Output,
    bytes: Vec<u8>,
}

impl Write for Drawn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        self.output.write(bytes).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
