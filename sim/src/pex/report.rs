//! One line per cycle.

use super::{Args, engine::Work, graph::Graph, scenario::Scenario};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Line {
    cycle: u32,
    dead_links: f64,
    indegree_mean: f64,
    indegree_sd: f64,
    clustering: f64,
    path_length: f64,
    components: usize,
    live: usize,
    indegree_max: u32,
    indegree_node0: u32,
    hostile_share: f64,
    rounds_per_node: f64,
    contacts_per_node: f64,
    failed_per_node: f64,
    seed: u64,
}

pub fn print(graph: &Graph, scenario: &Scenario, cycle: u32, work: Work, seed: u64, args: &Args) {
    let entries = graph.entries.max(1) as f64;
    let honest = graph.live.iter().filter(|&&n| !scenario.is_hostile(n)).count().max(1) as f64;
    let (indegree_mean, indegree_sd) = graph.indegree();
    let line = Line {
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
    };
    if args.json {
        println!("{}", serde_json::to_string(&line).expect("numbers only"));
        return;
    }
    println!(
        "{:>5}  dead {:>7.4}  in-degree {:>6.2} sd {:>5.2} max {:>4}  clustering {:.4}  path {:.3}  components {}  hostile {:.4}  contacts {:.1}",
        line.cycle,
        line.dead_links,
        line.indegree_mean,
        line.indegree_sd,
        line.indegree_max,
        line.clustering,
        line.path_length,
        line.components,
        line.hostile_share,
        line.contacts_per_node,
    );
}

/// Four decimals are enough, and make lines that can be compared.
fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}
