//! What is printed.

use super::{engine::Work, graph::Graph, scenario::Scenario};
use serde::Serialize;
use std::time::Duration;

/// The overlay at the end of a cycle.
#[derive(Debug, PartialEq, Serialize)]
pub struct Line {
    pub cycle: u32,
    pub dead_links: f64,
    pub indegree_mean: f64,
    pub indegree_sd: f64,
    pub clustering: f64,
    path_length: f64,
    pub components: usize,
    live: usize,
    indegree_max: u32,
    pub indegree_node0: u32,
    pub hostile_share: f64,
    rounds_per_node: f64,
    contacts_per_node: f64,
    failed_per_node: f64,
    seed: u64,
}

impl Line {
    pub fn new(graph: &Graph, scenario: &Scenario, cycle: u32, work: Work, seed: u64) -> Self {
        let entries = graph.entries.max(1) as f64;
        let honest = graph.live.iter().filter(|&&n| !scenario.is_hostile(n)).count().max(1) as f64;
        let (indegree_mean, indegree_sd) = graph.indegree();
        Self {
            cycle,
            dead_links: round(graph.dead as f64 / entries),
            indegree_mean: round(indegree_mean),
            indegree_sd: round(indegree_sd),
            clustering: round(graph.clustering(seed)),
            path_length: round(graph.path_length(seed)),
            components: graph.components(),
            live: graph.live.len(),
            indegree_max: graph.live.iter().map(|&n| graph.indegree[n as usize]).max().unwrap_or(0),
            indegree_node0: graph.indegree[0],
            hostile_share: round(graph.hostile as f64 / entries),
            rounds_per_node: round(work.rounds as f64 / honest),
            contacts_per_node: round(work.contacts as f64 / honest),
            failed_per_node: round(work.failed as f64 / honest),
            seed,
        }
    }

    pub fn print(&self, json: bool) {
        if json {
            return print_json(self);
        }
        println!(
            "{:>5}  dead {:>7.4}  in-degree {:>6.2} sd {:>5.2} max {:>4}  clustering {:.4}  path {:.3}  components {}  hostile {:.4}  contacts {:.1}",
            self.cycle,
            self.dead_links,
            self.indegree_mean,
            self.indegree_sd,
            self.indegree_max,
            self.clustering,
            self.path_length,
            self.components,
            self.hostile_share,
            self.contacts_per_node,
        );
    }
}

/// How a partition healed in one run.
#[derive(Debug, Serialize)]
pub struct Healing {
    pub seed: u64,
    /// In which cycle after the partition all were one component, from 1;
    /// `None` if not in the run.
    pub healed_after: Option<u32>,
}

/// Percentiles (nearest rank) of all runs; a run that doesn't heal is the worst.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    runs: usize,
    pub healed_after_p50: Option<u32>,
    pub healed_after_p99: Option<u32>,
    pub healed_after_max: Option<u32>,
}

impl Percentiles {
    pub fn new(runs: &[Healing]) -> Self {
        let mut sorted: Vec<u32> =
            runs.iter().map(|r| r.healed_after.unwrap_or(u32::MAX)).collect();
        sorted.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().filter(|&cycles| cycles < u32::MAX)
        };
        Self {
            runs: runs.len(),
            healed_after_p50: percentile(50),
            healed_after_p99: percentile(99),
            healed_after_max: percentile(100),
        }
    }
}

/// Prints each run's healing, and the percentiles of all.
pub fn healings(runs: &[Healing], json: bool) {
    let all = Percentiles::new(runs);
    if json {
        runs.iter().for_each(print_json);
        return print_json(&all);
    }
    let cycles = |n: Option<u32>| n.map_or("never".into(), |n| n.to_string());
    for run in runs {
        println!("seed {:>4}  one component in cycle {}", run.seed, cycles(run.healed_after));
    }
    println!(
        "{} runs  p50 {}  p99 {}  max {}",
        all.runs,
        cycles(all.healed_after_p50),
        cycles(all.healed_after_p99),
        cycles(all.healed_after_max),
    );
}

/// Says on standard error what the simulation took: it isn't the same each time.
pub fn cost(elapsed: Duration) {
    let threads = rayon::current_num_threads();
    let processor =
        processor_time().map_or(String::new(), |s| format!(", {s:.1} s of processor time"));
    let memory =
        peak_memory().map_or(String::new(), |mib| format!(", at most {mib} MiB of memory"));
    eprintln!("{:.1} s on {threads} threads{processor}{memory}", elapsed.as_secs_f64());
}

/// The processor time of all threads of this process, in seconds, where the
/// system tells (Linux).
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    // A hundred a second towards programs, whatever the kernel's own are.
    Some((user + system) as f64 / 100.0)
}

/// The most memory that this process has had resident, in MiB, where the
/// system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

fn print_json(line: &impl Serialize) {
    println!("{}", serde_json::to_string(line).expect("plain values"));
}

/// Four decimals are enough, and make lines that can be compared.
fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}
