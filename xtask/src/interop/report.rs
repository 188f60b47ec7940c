//! The results, as a table.

use anyhow::Result;
use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// What became of a check.
#[derive(Debug)]
enum Outcome {
    Passed(String),
    Failed(String),
    /// It fails for a reason that lies with the others.
    Theirs(String),
    /// It cannot be done, for this reason.
    Impossible(String),
}

#[derive(Debug)]
struct Row {
    section: &'static str,
    name: String,
    outcome: Outcome,
    took: Duration,
}

/// All results so far.
#[derive(Debug, Default)]
pub struct Report {
    filter: Option<String>,
    logs: PathBuf,
    rows: Vec<Row>,
}

impl Report {
    /// A report of the checks whose section or name contains a text, if one is
    /// given. The peers' logs are in the folder `logs`.
    pub fn new(filter: Option<String>, logs: PathBuf) -> Self {
        Self { filter, logs, rows: vec![] }
    }

    /// Does a check, and remembers the result. The check gives what it measured.
    pub fn check(
        &mut self,
        section: &'static str,
        name: impl Into<String>,
        check: impl FnOnce() -> Result<String>,
    ) {
        self.check_known(section, name, None, check);
    }

    /// The same for a check whose failure has a known reason that lies with the
    /// others, if there is one. Should it pass, it is green.
    pub fn check_known(
        &mut self,
        section: &'static str,
        name: impl Into<String>,
        defect: Option<&str>,
        check: impl FnOnce() -> Result<String>,
    ) {
        let name = name.into();
        if self.skips(section, &name) {
            return;
        }
        eprintln!("--- {section}: {name}");
        let (start, began) = (Instant::now(), SystemTime::now());
        let outcome = match check() {
            Ok(detail) => Outcome::Passed(detail),
            Err(error) => match defect {
                Some(why) => Outcome::Theirs(format!("{error:#}: {why}")),
                None => Outcome::Failed(format!("{error:#}")),
            },
        };
        let took = start.elapsed();
        eprintln!("    {} ({:.1} s)", cells(&outcome).join(": "), took.as_secs_f32());
        if matches!(outcome, Outcome::Failed(_))
            && let Err(error) = print_logs(&self.logs, began)
        {
            eprintln!("    the logs cannot be read: {error}");
        }
        self.rows.push(Row { section, name, outcome, took });
    }

    /// Notes what cannot be checked, and why.
    pub fn impossible(&mut self, section: &'static str, name: impl Into<String>, why: &str) {
        let name = name.into();
        if !self.skips(section, &name) {
            let outcome = Outcome::Impossible(why.to_owned());
            self.rows.push(Row { section, name, outcome, took: Duration::ZERO });
        }
    }

    fn skips(&self, section: &str, name: &str) -> bool {
        let text = format!("{section}: {name}");
        self.filter.as_ref().is_some_and(|filter| !text.contains(filter.as_str()))
    }

    /// The checks that failed, and why, a line each.
    pub fn failures(&self) -> Vec<String> {
        self.rows
            .iter()
            .filter_map(|row| match &row.outcome {
                Outcome::Failed(why) => Some(format!("{}: {}: {why}", row.section, row.name)),
                _ => None,
            })
            .collect()
    }

    /// The number of checks.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The results in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = row.section;
                // Writing to a string does not fail.
                let _ = write!(text, "\n## {section}\n\n| check | result | |\n|---|---|---|\n");
            }
            let [result, detail] = cells(&row.outcome);
            let detail = detail.replace('|', "/").replace('\n', " ");
            let _ = writeln!(text, "| {} | {result} | {detail} |", row.name);
        }
        let took: Duration = self.rows.iter().map(|row| row.took).sum();
        let _ = writeln!(
            text,
            "\n{} checks, {} failed, in {} s.",
            self.len(),
            self.failures().len(),
            took.as_secs()
        );
        text
    }
}

/// Prints the ends of the logs that were written to since a time.
fn print_logs(folder: &Path, since: SystemTime) -> io::Result<()> {
    const LINES: usize = 25;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "log") && path.metadata()?.modified()? >= since {
            let bytes = fs::read(&path)?;
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("    the end of {}:", path.display());
            lines
                .iter()
                .skip(lines.len().saturating_sub(LINES))
                .for_each(|l| eprintln!("      {l}"));
        }
    }
    Ok(())
}

fn cells(outcome: &Outcome) -> [&str; 2] {
    match outcome {
        Outcome::Passed(detail) => ["green", detail],
        Outcome::Failed(detail) => ["**red**", detail],
        Outcome::Theirs(detail) => ["red, not ours", detail],
        Outcome::Impossible(why) => ["not possible", why],
    }
}
