//! What the screen shows, and what keys do to it. Pure: it is fed records,
//! events, keys and times.

use crate::{
    json::{Line, RecordLine},
    text,
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Events that the log keeps.
const LOG: usize = 500;

/// The longest filter, in characters.
const FILTER: usize = 100;

/// What the rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// As the query orders them.
    Query,
    /// By peer id.
    Peer,
    /// By host.
    Host,
    /// By meta fields.
    Meta,
    /// By how long they have been seen, newest first.
    Seen,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Query => Self::Peer,
            Self::Peer => Self::Host,
            Self::Host => Self::Meta,
            Self::Meta => Self::Seen,
            Self::Seen => Self::Query,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Peer => "peer",
            Self::Host => "host",
            Self::Meta => "meta",
            Self::Seen => "seen",
        }
    }
}

/// A row of the table, in text that is harmless to a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The peer's id.
    pub peer: String,
    /// Its host.
    pub host: String,
    /// Its TTL.
    pub ttl: String,
    /// How long it has been seen.
    pub seen: Duration,
    /// Its meta fields.
    pub meta: String,
    /// The roles that are proven of it.
    pub roles: String,
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    namespace: String,
    rows: Vec<Row>,
    first_seen: HashMap<String, Instant>,
    filter: String,
    editing: bool,
    sort: Sort,
    reverse: bool,
    log: VecDeque<String>,
    log_shown: bool,
    top: usize,
    page: usize,
    quits: bool,
}

impl App {
    /// Nothing has been seen yet.
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            rows: Vec::new(),
            first_seen: HashMap::new(),
            filter: String::new(),
            editing: false,
            sort: Sort::Query,
            reverse: false,
            log: VecDeque::new(),
            log_shown: true,
            top: 0,
            page: 1,
            quits: false,
        }
    }

    /// Takes the records of the view, in the order of the query.
    pub fn see(&mut self, records: Vec<RecordLine>, now: Instant) {
        let mut before = std::mem::take(&mut self.first_seen);
        self.rows = records
            .iter()
            .map(|record| {
                let since = before.remove(&record.peer).unwrap_or(now);
                self.first_seen.insert(record.peer.clone(), since);
                Row {
                    peer: record.peer.clone(),
                    host: text::clean(&record.host).into_owned(),
                    ttl: text::duration(record.ttl_ms),
                    seen: now.saturating_duration_since(since),
                    meta: text::meta(record),
                    roles: text::roles(record),
                }
            })
            .collect();
    }

    /// Adds an event to the log.
    pub fn tell(&mut self, line: &Line) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        let text = text::of(line, false);
        self.log.push_back(text.lines().next().unwrap_or_default().into());
    }

    /// The rows to show, filtered and sorted.
    pub fn rows(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&filter);
        let mut rows: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| {
                [&row.peer, &row.host, &row.meta, &row.roles].map(|s| has(s)).contains(&true)
            })
            .collect();
        match self.sort {
            Sort::Query => (),
            Sort::Peer => rows.sort_by(|a, b| a.peer.cmp(&b.peer)),
            Sort::Host => rows.sort_by(|a, b| a.host.cmp(&b.host)),
            Sort::Meta => rows.sort_by(|a, b| a.meta.cmp(&b.meta)),
            Sort::Seen => rows.sort_by_key(|row| row.seen),
        }
        if self.reverse {
            rows.reverse();
        }
        rows
    }

    /// Does what a key asks for.
    pub fn press(&mut self, key: KeyEvent) {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            self.quits = true;
        } else if self.editing {
            self.edit(key.code);
        } else {
            self.command(key.code);
        }
    }

    fn edit(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.editing = false,
            KeyCode::Esc => {
                self.editing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.chars().count() < FILTER => self.filter.push(c),
            _ => (),
        }
        self.top = 0;
    }

    fn command(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => self.quits = true,
            KeyCode::Char('/') => self.editing = true,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char('l') => self.log_shown = !self.log_shown,
            KeyCode::Down | KeyCode::Char('j') => self.top = self.top.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top = self.top.saturating_add(self.page),
            KeyCode::PageUp => self.top = self.top.saturating_sub(self.page),
            KeyCode::Home => self.top = 0,
            KeyCode::End => self.top = usize::MAX,
            _ => (),
        }
    }

    /// The first row to show when `page` of `rows` fit on the screen.
    pub fn scroll(&mut self, rows: usize, page: usize) -> usize {
        self.page = page.max(1);
        self.top = self.top.min(rows.saturating_sub(self.page));
        self.top
    }

    /// Whether the user wants to leave.
    pub fn quits(&self) -> bool {
        self.quits
    }

    /// The number of records that the query finds.
    pub fn total(&self) -> usize {
        self.rows.len()
    }

    /// The name of the cluster.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What rows are filtered by.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Whether the filter is being typed.
    pub fn editing(&self) -> bool {
        self.editing
    }

    /// What rows are ordered by, and whether backwards.
    pub fn order(&self) -> (Sort, bool) {
        (self.sort, self.reverse)
    }

    /// The last events, if they are to be shown.
    pub fn log(&self) -> Option<&VecDeque<String>> {
        self.log_shown.then_some(&self.log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn record(peer: &str, host: &str, role: &str) -> RecordLine {
        RecordLine {
            peer: peer.into(),
            server: String::new(),
            seq: "1".into(),
            ttl_ms: 10_000,
            host: host.into(),
            meta: [("role".to_owned(), role.to_owned())].into(),
            addrs: Vec::new(),
            services: Default::default(),
            channels: Vec::new(),
            roles: Vec::new(),
            verified: true,
        }
    }

    fn app() -> App {
        let mut app = App::new("ns");
        let records = vec![
            record("c", "alpha", "worker"),
            record("a", "gamma", "worker"),
            record("b", "beta", "db"),
        ];
        app.see(records, Instant::now());
        app
    }

    fn peers(app: &App) -> String {
        app.rows().iter().map(|row| &*row.peer).collect()
    }

    fn type_in(app: &mut App, text: &str) {
        text.chars().for_each(|c| app.press(KeyCode::Char(c).into()));
    }

    #[test]
    fn rows_are_sorted_as_asked() {
        let mut app = app();
        assert_eq!(peers(&app), "cab");
        for sorted in ["abc", "cba", "bca"] {
            type_in(&mut app, "s");
            assert_eq!(peers(&app), sorted, "by {}", app.order().0.name());
        }
        type_in(&mut app, "r");
        assert_eq!(peers(&app), "acb");
    }

    #[test]
    fn a_filter_looks_at_peer_host_meta_and_roles() {
        let mut app = app();
        type_in(&mut app, "/WORK");
        assert_eq!(peers(&app), "ca");
        assert!(app.editing());
        app.press(KeyCode::Enter.into());
        type_in(&mut app, "s");
        assert_eq!(peers(&app), "ac");
        type_in(&mut app, "/q");
        assert!(!app.quits() && peers(&app).is_empty());
        app.press(KeyCode::Esc.into());
        assert_eq!((peers(&app).len(), app.filter()), (3, ""));
        let admin = RecordLine { roles: vec!["admin".into()], ..record("d", "delta", "worker") };
        app.see(vec![record("c", "alpha", "worker"), admin], Instant::now());
        type_in(&mut app, "/ADM");
        assert_eq!(peers(&app), "d");
    }

    #[test]
    fn a_peer_is_seen_from_when_it_came() {
        let mut app = App::new("ns");
        let start = Instant::now();
        app.see(vec![record("a", "h", "x")], start);
        app.see(vec![record("b", "h", "x"), record("a", "h", "x")], start + Duration::from_secs(3));
        let seen: Vec<u64> = app.rows().iter().map(|row| row.seen.as_secs()).collect();
        assert_eq!(seen, [0, 3]);
        app.see(vec![], start + Duration::from_secs(4));
        app.see(vec![record("a", "h", "x")], start + Duration::from_secs(5));
        assert_eq!(app.rows()[0].seen, Duration::ZERO);
    }

    #[test]
    fn the_log_is_bounded_and_scrolling_ends_at_the_last_page() {
        let mut app = app();
        for _ in 0..2 * LOG {
            app.tell(&Line::Connected { peer: "p".into() });
        }
        assert_eq!(app.log().map(VecDeque::len), Some(LOG));
        app.press(KeyCode::End.into());
        assert_eq!(app.scroll(3, 2), 1);
        app.press(KeyCode::Up.into());
        assert_eq!(app.scroll(3, 2), 0);
        app.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(app.quits());
    }
}
