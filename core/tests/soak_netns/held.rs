//! What a process holds of the machine, as Linux counts it.

use std::{
    fs,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Resident memory, in KiB.
    pub memory: u64,
    pub threads: u64,
    pub files: u64,
}

impl Held {
    /// By the process of this number, which runs.
    pub fn by(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let number = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {field} in {status}"))
        };
        let files = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count() as u64;
        Self { memory: number("VmRSS:"), threads: number("Threads:"), files }
    }
}

/// What each thread of a process does: its name, its state, and what it waits for in
/// the kernel. To find out why nothing happens any more.
pub fn threads(process: u32) -> String {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return "gone".into() };
    let thread = |task: fs::DirEntry| {
        let read = |what| fs::read_to_string(task.path().join(what)).unwrap_or_default();
        let (stat, name) = (read("stat"), read("comm"));
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?');
        format!("{} {state} {}", name.trim(), read("wchan"))
    };
    tasks.flatten().map(thread).collect::<Vec<_>>().join(", ")
}

/// What a process held over the time of the load.
#[derive(Default)]
pub struct History(Vec<(Duration, Held)>);

impl History {
    pub fn note(&mut self, since: Instant, held: Held) {
        self.0.push((since.elapsed(), held));
    }

    /// The mean memory between these parts of the whole time, in KiB.
    pub fn memory(&self, from: f64, to: f64) -> u64 {
        let (whole, _) = self.0.last().expect("it was looked at");
        let within = |at: &Duration| (from..=to).contains(&at.div_duration_f64(*whole));
        let some: Vec<_> = self.0.iter().filter(|(at, _)| within(at)).collect();
        some.iter().map(|(_, held)| held.memory).sum::<u64>() / some.len().max(1) as u64
    }

    /// The most threads and files at any time.
    pub fn most(&self) -> (u64, u64) {
        let most = |what: fn(&Held) -> u64| self.0.iter().map(|(_, held)| what(held)).max();
        (most(|held| held.threads).unwrap_or(0), most(|held| held.files).unwrap_or(0))
    }
}
