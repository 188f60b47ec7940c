//! How often an idle node wakes the processor, as the system sees it: the voluntary
//! context switches of all threads of its process in a minute, in network namespaces,
//! with multicast and all else that is on by default. It has just come, and is not
//! quite at rest. What is promised of one at rest is in `power`.

mod netns;

use casm::{Node, Power};
use netns::{Host, Lan, say};
use std::time::Duration;

const SLOW: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);
/// How many minutes a node has to come to rest.
const MINUTES: usize = 6;

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "idle");
    // With more, each that wakes up may wake another one to look for work.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(idle(&args));
}

/// `idle POWER N`: a node that looks for others by `auto`, and says `full` when it
/// sees N. Then it says `woke` with how often it did in each minute.
async fn idle(args: &[String]) {
    let (power, n): (Power, usize) = (args[0].parse().unwrap(), args[1].parse().unwrap());
    let node = Node::builder().namespace("lan").power(power).start().await.unwrap();
    node.wait_for(n).await.unwrap();
    say("full");
    let mut before = switches();
    for _ in 0..MINUTES {
        tokio::time::sleep(MINUTE).await;
        let now = switches();
        say(format!("woke {}", now - before));
        before = now;
    }
    netns::until_killed().await;
}

/// The voluntary context switches of this process's threads so far.
fn switches() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |thread: std::fs::DirEntry| {
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    threads.filter_map(|thread| of(thread.ok()?)).sum()
}

/// The counts of a node, until one is as low as is promised, if anything is.
fn minutes(host: &Host, most: Option<u64>) -> Vec<u64> {
    let mut counts = Vec::new();
    while counts.len() < MINUTES {
        let woke: u64 = host.expect("woke", MINUTE + SLOW).parse().unwrap();
        counts.push(woke);
        if most.is_some_and(|most| woke <= most) || (most.is_none() && counts.len() == 2) {
            break;
        }
    }
    counts
}

/// A node of a profile alone, and four of it together: at rest the first of them
/// wakes up so often a minute at most.
fn rests(power: &str, most: Option<(u64, u64)>) {
    if !netns::available() {
        return;
    }
    let (alone, together) = (Lan::new(1, 24), Lan::new(4, 24));
    let one = alone.hosts[0].run("idle", &format!("{power} 1"));
    let four: Vec<Host> =
        together.hosts.iter().map(|host| host.run("idle", &format!("{power} 4"))).collect();
    for host in four.iter().chain([&one]) {
        host.expect("full", SLOW);
    }
    let (one, first) = (
        minutes(&one, most.map(|(alone, _)| alone)),
        minutes(&four[0], most.map(|(_, together)| together)),
    );
    println!("{power}: alone {one:?}, with three others {first:?} times a minute");
    if let Some((alone, together)) = most {
        assert!(*one.last().unwrap() <= alone && *first.last().unwrap() <= together);
    }
}

#[test]
fn with_low_power_an_idle_node_seldom_wakes_the_processor() {
    // With three others it is 22 on average once all is settled, which takes longer than
    // this test, and more on a machine that has much else to do.
    rests("low", Some((12, 50)));
}

#[test]
fn the_usual_profile_beside_it() {
    rests("normal", None);
}
