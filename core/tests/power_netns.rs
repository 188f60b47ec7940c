//! How often an idle node wakes the processor, as the system sees it: the voluntary
//! context switches of all threads of its process in a minute, in network namespaces,
//! with multicast and all else that is on by default. They are counted from outside: a
//! node that counts by itself wakes up for that.

mod netns;

use casm::{Node, Power};
use netns::{Host, Lan, say};
use std::time::Duration;

const SLOW: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);
/// How many minutes a node has to come to rest: at first it exchanges what it knows
/// often, and so do the others, with it.
const MINUTES: usize = 10;

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "idle");
    netns::block_on(idle(&args));
}

/// `idle POWER N`: a node that looks for others by `auto`, and says `full` when it
/// sees N.
async fn idle(args: &[String]) {
    let (power, n): (Power, usize) = (args[0].parse().unwrap(), args[1].parse().unwrap());
    let node = Node::builder().namespace("lan").power(power).start().await.unwrap();
    node.wait_for(n).await.unwrap();
    say("full");
    netns::until_killed().await;
}

/// The voluntary context switches of a process's threads so far.
fn switches(host: &Host) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", host.id())).unwrap();
    let of = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    threads.filter_map(|thread| of(thread.ok()?)).sum()
}

/// How often each of them wakes up in a minute.
fn minute(hosts: &[Host]) -> Vec<u64> {
    let before: Vec<u64> = hosts.iter().map(switches).collect();
    std::thread::sleep(MINUTE);
    hosts.iter().zip(before).map(|(host, before)| switches(host) - before).collect()
}

/// Nodes of a profile, which are together.
fn nodes(lan: &Lan, power: &str) -> Vec<Host> {
    let role = format!("{power} {}", lan.hosts.len());
    let hosts: Vec<Host> = lan.hosts.iter().map(|host| host.run("idle", &role)).collect();
    hosts.iter().for_each(|host| drop(host.expect("full", SLOW)));
    hosts
}

/// A node of a profile alone, and four of it together. Each comes to rest: it has a
/// minute in which it doesn't wake up more often than this. Or else two are counted.
fn rests(power: &str, most: Option<[u64; 2]>) {
    if std::env::var_os("CASM_BESIDE").is_some_and(|test| test == "power_netns") {
        println!("it runs beside the other tests");
        return;
    }
    if !netns::available() {
        return;
    }
    let (alone, together) = (Lan::new(1, 24), Lan::new(4, 24));
    let mut hosts = nodes(&alone, power);
    hosts.extend(nodes(&together, power));
    let mut least = vec![u64::MAX; hosts.len()];
    for _ in 0..most.map_or(2, |_| MINUTES) {
        let counts = minute(&hosts);
        println!("{power}: alone {}, four together {:?} in a minute", counts[0], &counts[1..]);
        least = least.into_iter().zip(counts).map(|(least, count)| least.min(count)).collect();
        let rested =
            |[one, each]: [u64; 2]| least[0] <= one && least[1..].iter().all(|n| *n <= each);
        if most.is_some_and(rested) {
            return;
        }
    }
    assert!(most.is_none(), "in {MINUTES} minutes, at the least: {least:?}");
}

#[test]
fn with_low_power_an_idle_node_seldom_wakes_the_processor() {
    rests("low", Some([12, 30]));
}

#[test]
fn the_usual_profile_beside_it() {
    rests("normal", None);
}
