//! Draws the state of the screen.

use super::app::{App, Row as Shown};
use crate::text;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::Line,
    widgets::{Block, Borders, Paragraph, Row, Table},
};

/// Lines of the log, its frame included.
const LOG: u16 = 10;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let log = if app.log().is_some() && frame.area().height >= 2 * LOG { LOG } else { 0 };
    let [table, events, help] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(log), Constraint::Length(1)])
            .areas(frame.area());
    draw_table(frame, app, table);
    if log > 0 {
        draw_log(frame, app, events);
    }
    frame.render_widget(help_line(app), help);
}

fn draw_table(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    // Two lines of frame and one of head.
    let page = usize::from(area.height.saturating_sub(3));
    let count = app.rows().len();
    let top = app.scroll(count, page);
    let (sort, reverse) = app.order();
    let title = format!(
        " {} · {} peers{} · by {}{} ",
        app.namespace(),
        app.total(),
        if count == app.total() { String::new() } else { format!(", {count} shown") },
        sort.name(),
        if reverse { ", reversed" } else { "" },
    );
    let shown: Vec<_> = app.rows().into_iter().skip(top).take(page).collect();
    // Where nobody has a role there is no room for any.
    let roles = shown.iter().map(|row| row.roles.chars().count()).max().unwrap_or(0);
    let roles = if roles > 0 { u16::try_from(roles.clamp(5, 24)).unwrap_or(24) } else { 0 };
    let rows = shown.into_iter().map(row).collect::<Vec<_>>();
    let widths = [
        Constraint::Length(52),
        Constraint::Max(24),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(roles),
        Constraint::Min(10),
    ];
    let titles = ["PEER", "HOST", "TTL", "SEEN", "ROLES", "META"];
    let head = Row::new(titles).style(Style::new().bold());
    let table = Table::new(rows, widths).header(head).block(Block::bordered().title(title.bold()));
    frame.render_widget(table, area);
}

fn row(row: &Shown) -> Row<'_> {
    let seen = text::duration(row.seen.as_secs() * 1000);
    Row::new([
        row.peer.as_str().into(),
        row.host.as_str().into(),
        row.ttl.as_str().into(),
        seen,
        row.roles.clone(),
        row.meta.clone(),
    ])
}

fn draw_log(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let room = usize::from(area.height.saturating_sub(1));
    let log = app.log().into_iter().flatten();
    let skipped = app.log().map_or(0, |log| log.len().saturating_sub(room));
    let lines: Vec<Line<'_>> = log.skip(skipped).map(|line| Line::raw(line.as_str())).collect();
    let block = Block::new().borders(Borders::TOP).title(" events ".bold());
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn help_line(app: &App) -> Line<'_> {
    if app.editing() {
        return Line::from(format!("filter: {}_  (Enter keeps it, Esc clears it)", app.filter()));
    }
    let mut help = String::from("q quit  / filter  s sort  r reverse  l log  ↑↓ PgUp PgDn scroll");
    if !app.filter().is_empty() {
        help = format!("filter: {}  {help}", app.filter());
    }
    Line::from(help).dim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Line as Told, RecordLine};
    use ratatui::{Terminal, backend::TestBackend};
    use std::time::Instant;

    fn screen(app: &mut App, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        terminal.backend().to_string()
    }

    fn app(peers: usize) -> App {
        let mut app = App::new("prod");
        let records = (0..peers).map(|i| RecordLine {
            peer: format!("peer-{i:03}"),
            server: String::new(),
            seq: "1".into(),
            ttl_ms: 10_000,
            host: "host\u{1b}[2J".into(),
            meta: [("role".to_owned(), "worker".to_owned())].into(),
            addrs: Vec::new(),
            services: Default::default(),
            channels: Vec::new(),
            roles: Vec::new(),
            verified: true,
        });
        app.see(records.collect(), Instant::now());
        app.tell(&Told::PeerLeft { peer: "gone".into(), reason: "left".into() });
        app
    }

    #[test]
    fn the_table_the_log_and_the_help_are_on_the_screen() {
        let text = screen(&mut app(3), 120, 30);
        for part in ["prod · 3 peers", "peer-002", "role=worker", "10s", "gone (left)", "q quit"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn roles_have_a_column_if_there_are_any() {
        let mut app = app(3);
        assert!(!screen(&mut app, 120, 30).contains("ROLES"));
        let record = RecordLine {
            peer: "peer".into(),
            server: String::new(),
            seq: "1".into(),
            ttl_ms: 10_000,
            host: "host".into(),
            meta: Default::default(),
            addrs: Vec::new(),
            services: Default::default(),
            channels: Vec::new(),
            roles: vec!["admin".into(), "worker".into()],
            verified: true,
        };
        app.see(vec![record], Instant::now());
        let text = screen(&mut app, 120, 30);
        assert!(text.contains("ROLES") && text.contains("admin, worker"), "{text}");
    }

    #[test]
    fn a_small_terminal_shows_what_fits() {
        for (width, height) in [(1, 1), (20, 4), (80, 8)] {
            screen(&mut app(100), width, height);
        }
        let text = screen(&mut app(100), 100, 10);
        assert!(text.contains("peer-005") && !text.contains("peer-006"), "{text}");
    }
}
