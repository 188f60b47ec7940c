//! The live view of a demo, redrawn in place.

use super::tracker::Tracker;
use crate::text::clean;
use crossterm::{
    cursor::{MoveToColumn, MoveUp},
    queue,
    style::{Print, Stylize},
    terminal::{Clear, ClearType, size},
};
use std::{
    io::{self, Write},
    time::Duration,
};

/// Draws the state of a demo over what it drew before.
#[derive(Debug, Default)]
pub struct Screen {
    drawn: u16,
}

impl Screen {
    /// Draws.
    pub fn draw(
        &mut self,
        tracker: &Tracker,
        elapsed: Duration,
        to: &mut impl Write,
    ) -> io::Result<()> {
        let (width, height) = size().unwrap_or((80, 24));
        let lines = lines(tracker, elapsed);
        if self.drawn > 0 {
            queue!(to, MoveUp(self.drawn), MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        }
        self.drawn = 0;
        // More lines than the terminal has could not be drawn over.
        for (line, full) in lines.into_iter().take(usize::from(height.saturating_sub(1))) {
            let line: String = line.chars().take(width.into()).collect();
            let line = if full { line.green() } else { line.reset() };
            queue!(to, Print(line), Print("\r\n"))?;
            self.drawn += 1;
        }
        to.flush()
    }
}

/// The lines, and which nodes see all others.
fn lines(tracker: &Tracker, elapsed: Duration) -> Vec<(String, bool)> {
    let nodes = tracker.nodes();
    let mut lines = vec![(
        format!(
            "{:>5.1} s  {} of {} nodes see all",
            elapsed.as_secs_f32(),
            tracker.full(),
            nodes.len()
        ),
        tracker.is_complete(),
    )];
    for (number, node) in nodes.iter().enumerate() {
        let names: Vec<_> = node.others.values().map(|record| clean(&record.host)).collect();
        let id = node.peer.as_deref().unwrap_or("starting");
        let mut line =
            format!("node-{:<3} {id}  sees {}  {}", number + 1, names.len(), names.join(" "));
        if let Some(answer) = &node.answer {
            line.push_str(&format!("  ({})", clean(answer)));
        }
        lines.push((line, names.len() + 1 == nodes.len()));
    }
    lines
}
