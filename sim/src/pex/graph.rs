//! The overlay as a graph, and its measures.

use super::scenario::Scenario;
use crate::rng::stream;
use rand::seq::index;
use rayon::prelude::*;
use std::collections::HashSet;

/// Nodes whose clustering is computed, and what a search for paths may cost in
/// edges.
const SAMPLED_NODES: usize = 1000;
const PATH_EDGES: usize = 4_000_000;

/// All views: who has whom.
#[derive(Debug)]
pub struct Graph {
    /// Entries of honest live nodes that lead to the dead.
    pub dead: usize,
    /// Entries of honest live nodes that lead to hostile ones.
    pub hostile: usize,
    /// All entries of honest live nodes.
    pub entries: usize,
    /// Live nodes.
    pub live: Vec<u32>,
    /// In-degrees by node, from honest live nodes.
    pub indegree: Vec<u32>,
    /// Undirected neighbours by node, live and linked, sorted.
    starts: Vec<usize>,
    neighbours: Vec<u32>,
}

impl Graph {
    pub fn new(
        nodes: usize,
        scenario: &Scenario,
        view: impl Fn(u32, &mut Vec<u32>) + Sync,
    ) -> Self {
        let live: Vec<u32> = (0..nodes as u32).filter(|&n| scenario.lives(n)).collect();
        let views: Vec<Vec<u32>> = live
            .par_iter()
            .map(|&n| {
                let mut out = Vec::new();
                if !scenario.is_hostile(n) {
                    view(n, &mut out);
                }
                out
            })
            .collect();
        let (mut dead, mut hostile, mut entries) = (0, 0, 0);
        let mut indegree = vec![0; nodes];
        let mut degree = vec![0usize; nodes + 1];
        for (&n, peers) in live.iter().zip(&views) {
            for &peer in peers {
                entries += 1;
                dead += usize::from(!scenario.lives(peer));
                hostile += usize::from(scenario.is_hostile(peer));
                indegree[peer as usize] += 1;
                if scenario.lives(peer) && scenario.linked(n, peer) {
                    degree[n as usize + 1] += 1;
                    degree[peer as usize + 1] += 1;
                }
            }
        }
        for i in 1..degree.len() {
            degree[i] += degree[i - 1];
        }
        let starts = degree;
        let mut fill = starts.clone();
        let mut neighbours = vec![0u32; starts[nodes]];
        for (&n, peers) in live.iter().zip(&views) {
            for &peer in peers {
                if scenario.lives(peer) && scenario.linked(n, peer) {
                    for (from, to) in [(n, peer), (peer, n)] {
                        neighbours[fill[from as usize]] = to;
                        fill[from as usize] += 1;
                    }
                }
            }
        }
        Self { dead, hostile, entries, live, indegree, starts, neighbours }
    }

    fn neighbours(&self, node: u32) -> &[u32] {
        &self.neighbours[self.starts[node as usize]..self.starts[node as usize + 1]]
    }

    /// Mean and standard deviation of the in-degree of live nodes.
    pub fn indegree(&self) -> (f64, f64) {
        let n = self.live.len().max(1) as f64;
        let degrees = || self.live.iter().map(|&n| f64::from(self.indegree[n as usize]));
        let mean = degrees().sum::<f64>() / n;
        let variance = degrees().map(|d| (d - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }

    /// The mean local clustering coefficient of (at most a thousand sampled)
    /// live nodes: how many of a node's neighbours are each other's.
    pub fn clustering(&self, seed: u64) -> f64 {
        let sample = self.sample(SAMPLED_NODES, seed);
        let sum: f64 = sample
            .par_iter()
            .map(|&node| {
                let mut around: Vec<u32> = self.neighbours(node).to_vec();
                around.sort_unstable();
                around.dedup();
                if around.len() < 2 {
                    return 0.0;
                }
                let set: HashSet<u32> = around.iter().copied().collect();
                let mut links = 0;
                for &peer in &around {
                    let mut theirs: Vec<u32> =
                        self.neighbours(peer).iter().copied().filter(|p| set.contains(p)).collect();
                    theirs.sort_unstable();
                    theirs.dedup();
                    links += theirs.len();
                }
                links as f64 / (around.len() * (around.len() - 1)) as f64
            })
            // A sum of floats depends on its order: collect first.
            .collect::<Vec<f64>>()
            .into_iter()
            .sum();
        sum / sample.len().max(1) as f64
    }

    /// The mean length of shortest paths from sampled nodes to all that they
    /// reach, directions ignored.
    pub fn path_length(&self, seed: u64) -> f64 {
        let sources = (PATH_EDGES / self.neighbours.len().max(1)).clamp(1, 100);
        let sums: Vec<(u64, u64)> =
            self.sample(sources, seed).par_iter().map(|&source| self.distances(source)).collect();
        let (length, pairs) = sums.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        length as f64 / pairs.max(1) as f64
    }

    fn distances(&self, source: u32) -> (u64, u64) {
        let mut seen = vec![false; self.indegree.len()];
        seen[source as usize] = true;
        let (mut border, mut distance) = (vec![source], 0);
        let (mut length, mut reached) = (0, 0);
        while !border.is_empty() {
            distance += 1;
            let mut next = Vec::new();
            for node in border {
                for &peer in self.neighbours(node) {
                    if !std::mem::replace(&mut seen[peer as usize], true) {
                        next.push(peer);
                    }
                }
            }
            length += distance * next.len() as u64;
            reached += next.len() as u64;
            border = next;
        }
        (length, reached)
    }

    /// The number of components among the live, directions ignored.
    pub fn components(&self) -> usize {
        let mut seen = vec![false; self.indegree.len()];
        let mut components = 0;
        let mut todo = Vec::new();
        for &start in &self.live {
            if std::mem::replace(&mut seen[start as usize], true) {
                continue;
            }
            components += 1;
            todo.push(start);
            while let Some(node) = todo.pop() {
                for &peer in self.neighbours(node) {
                    if !std::mem::replace(&mut seen[peer as usize], true) {
                        todo.push(peer);
                    }
                }
            }
        }
        components
    }

    fn sample(&self, many: usize, seed: u64) -> Vec<u32> {
        if self.live.len() <= many {
            return self.live.clone();
        }
        let chosen = index::sample(&mut stream(seed, u64::MAX, 3), self.live.len(), many);
        chosen.into_iter().map(|i| self.live[i]).collect()
    }
}
