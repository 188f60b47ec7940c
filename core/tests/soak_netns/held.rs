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
