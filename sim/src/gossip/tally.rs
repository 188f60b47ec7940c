//! What is counted, and the figures.

use super::{Args, frame::Content, node::Node};
use serde::Serialize;
use std::time::Duration;

/// How long a node has to be up before a message is published, and after, to be
/// owed it.
const OWED: Duration = Duration::from_secs(10);
/// In place of hops, at a node that a message hasn't reached.
const NEVER: u8 = u8::MAX;

/// What is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    nodes: usize,
    connections: usize,
    loss: f64,
    churn: f64,
    hostile: f64,
    seed: u64,
    /// Messages that were published, and those that found no peer to go to.
    messages: usize,
    pub unpublished: usize,
    /// The part of what was owed that was delivered, and what was not: each
    /// message to each honest node that was up ten seconds before and after, if
    /// who published it was so after.
    pub delivery: f64,
    pub missing: usize,
    /// Deliveries to a node that had the message.
    pub delivered_twice: usize,
    /// Copies of a message that an honest node gets beside the one that it
    /// needs, in the mean.
    pub duplicates: f64,
    pub hops_mean: f64,
    pub hops_p99: u8,
    pub hops_max: u8,
    /// From publishing to delivery.
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    latency_max_ms: f64,
    /// Ids that honest nodes asked for, for each delivery.
    pub asked: f64,
    /// What an honest node sends in a second from the first message on: frames,
    /// bytes of messages, and all other bytes.
    frames: f64,
    message_bytes: f64,
    control_bytes: f64,
    messages_per_frame: f64,
    /// The connections of an honest node at the end, in the mean.
    connections_mean: f64,
    pub crashes: usize,
    /// Connections that an honest node closed because of what the peer did:
    /// with hostile nodes, and with honest ones.
    pub closed_hostile: usize,
    pub closed_honest: usize,
    /// Simulated seconds, and events.
    simulated_s: f64,
    events: u64,
}

/// One delivery.
#[derive(Clone, Copy)]
struct Delivery {
    micros: u32,
    hops: u8,
}

/// What is counted.
pub struct Tally {
    nodes: usize,
    /// When each message was published, and by whom.
    published: Vec<(Duration, usize)>,
    /// For each message, what became of it at each node.
    deliveries: Vec<Vec<Delivery>>,
    /// From when on frames are counted.
    from: Duration,
    sent: Content,
    frames: u64,
    copies: u64,
    pub unpublished: usize,
    pub crashes: usize,
    pub closed_hostile: usize,
    pub closed_honest: usize,
    twice: usize,
}

impl Tally {
    pub fn new(nodes: usize, from: Duration) -> Self {
        Self {
            nodes,
            from,
            published: vec![],
            deliveries: vec![],
            sent: Content::default(),
            frames: 0,
            copies: 0,
            unpublished: 0,
            crashes: 0,
            closed_hostile: 0,
            closed_honest: 0,
            twice: 0,
        }
    }

    /// The number of the next message.
    pub fn next(&self) -> usize {
        self.published.len()
    }

    /// A message is published.
    pub fn published(&mut self, now: Duration, by: usize) {
        self.published.push((now, by));
        let mut deliveries = vec![Delivery { micros: 0, hops: NEVER }; self.nodes];
        deliveries[by].hops = 0;
        self.deliveries.push(deliveries);
    }

    /// An honest node sends a frame.
    pub fn sent(&mut self, now: Duration, content: Content) {
        if now < self.from {
            return;
        }
        self.frames += 1;
        self.sent.messages += content.messages;
        self.sent.message_bytes += content.message_bytes;
        self.sent.bytes += content.bytes;
        self.sent.asked += content.asked;
    }

    /// Messages arrive at an honest node.
    pub fn arrived(&mut self, messages: u64) {
        self.copies += messages;
    }

    /// A message is delivered to a node that is up since then.
    pub fn delivered(
        &mut self,
        now: Duration,
        number: usize,
        at: usize,
        from: usize,
        up: Duration,
    ) {
        let Some(&(published, _)) = self.published.get(number) else { return };
        let hops = self.deliveries[number][from].hops.saturating_add(1).min(NEVER - 1);
        let delivery = &mut self.deliveries[number][at];
        if delivery.hops == NEVER {
            let micros = (now - published).as_micros().try_into().unwrap_or(u32::MAX);
            *delivery = Delivery { micros, hops };
        } else if up <= published {
            self.twice += 1;
        }
    }

    pub fn report(self, args: &Args, nodes: &[Node], end: Duration, events: u64) -> Report {
        let honest: Vec<_> =
            (0..nodes.len()).filter(|place| nodes[*place].hostile.is_none()).collect();
        let (mut hops, mut latencies, mut missing) = (vec![], vec![], 0);
        for (&(published, by), deliveries) in self.published.iter().zip(&self.deliveries) {
            let span = (published.saturating_sub(OWED), (published + OWED).min(end));
            let owed = |times: &(Duration, Duration)| times.0 <= span.0 && times.1 >= span.1;
            let stays = |times: &(Duration, Duration)| times.0 <= published && times.1 >= span.1;
            if !nodes[by].times.iter().any(stays) {
                continue;
            }
            for &place in honest.iter().filter(|place| **place != by) {
                if !nodes[place].times.iter().any(owed) {
                    continue;
                }
                let Delivery { micros, hops: n } = deliveries[place];
                if n == NEVER {
                    missing += 1;
                } else {
                    hops.push(n);
                    latencies.push(micros);
                }
            }
        }
        hops.sort_unstable();
        latencies.sort_unstable();
        // Copies came to all that were up, also to those that are owed nothing.
        let reached = |deliveries: &Vec<Delivery>| {
            honest.iter().filter(|place| !matches!(deliveries[**place].hops, 0 | NEVER)).count()
        };
        let delivered: usize = self.deliveries.iter().map(reached).sum();
        let per_delivery = |n: u64| n as f64 / delivered.max(1) as f64;
        let seconds = (end - self.from).as_secs_f64();
        let up: f64 = honest.iter().map(|place| nodes[*place].seconds(self.from, end)).sum();
        let per_node_s = |n: u64| round(n as f64 / up.max(f64::MIN_POSITIVE));
        let ups = honest.iter().filter_map(|place| nodes[*place].up.as_ref());
        let links: Vec<_> = ups.map(|up| up.links.len()).collect();
        let ms = |micros: Option<u32>| f64::from(micros.unwrap_or_default()) / 1000.0;
        Report {
            nodes: args.nodes,
            connections: args.connections,
            loss: args.loss,
            churn: args.churn,
            hostile: args.hostile,
            seed: args.seed,
            messages: self.published.len(),
            unpublished: self.unpublished,
            delivery: hops.len() as f64 / (hops.len() + missing).max(1) as f64,
            missing,
            delivered_twice: self.twice,
            duplicates: round(per_delivery(self.copies) - 1.0),
            hops_mean: round(mean(hops.iter().map(|n| f64::from(*n)))),
            hops_p99: percentile(&hops, 99).unwrap_or_default(),
            hops_max: percentile(&hops, 100).unwrap_or_default(),
            latency_p50_ms: ms(percentile(&latencies, 50)),
            latency_p99_ms: ms(percentile(&latencies, 99)),
            latency_max_ms: ms(percentile(&latencies, 100)),
            asked: round(per_delivery(self.sent.asked)),
            frames: per_node_s(self.frames),
            message_bytes: per_node_s(self.sent.message_bytes),
            control_bytes: per_node_s(self.sent.bytes - self.sent.message_bytes),
            messages_per_frame: round(self.sent.messages as f64 / self.frames.max(1) as f64),
            connections_mean: round(mean(links.iter().map(|n| *n as f64))),
            crashes: self.crashes,
            closed_hostile: self.closed_hostile,
            closed_honest: self.closed_honest,
            simulated_s: round(seconds),
            events,
        }
    }
}

impl Node {
    /// How long it was up in a span of time.
    fn seconds(&self, from: Duration, until: Duration) -> f64 {
        let within = |(start, end): &(Duration, Duration)| {
            end.min(&until).saturating_sub(*start.max(&from)).as_secs_f64()
        };
        self.times.iter().map(within).sum()
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1);
    values.sum::<f64>() / n as f64
}

/// By the nearest rank.
fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
