//! Members that crash, on hosts of their own: their neighbours see it, and it is known
//! to all long before the TTL is over. The waits print what they took.

mod netns;

use casm::{Event, Node};
use netns::{Host, Lan, say};
use std::{
    collections::HashMap,
    io::BufRead,
    time::{Duration, Instant},
};

const SLOW: Duration = Duration::from_secs(60);
/// The TTL while they get to know each other, and from then on: of this, two thirds are
/// left at least when somebody crashes, far more than what is waited for below.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);
/// How soon all see that a process has crashed whose connections break. What is aimed at
/// is 6 s; as much again is for a machine that has much else to do.
const PROCESS_SEEN: Duration = Duration::from_secs(12);
/// The same of a host, and whoever else falls silent without a word: 9 s are aimed at.
const HOST_SEEN: Duration = Duration::from_secs(15);

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "member");
    netns::block_on(member(&args));
}

/// `member N LISTEN [ADDR…]`: one of so many, which is always to be connected there. It
/// says `addr`, `established` when the others have been there for long enough, `long`
/// when it and they have the long TTL, which it gets when it is told to, and then who
/// leaves and joins.
async fn member(args: &[String]) {
    let all: usize = args[0].parse().unwrap();
    let node = Node::builder().namespace("lan").pex(None).listen(&args[1]);
    let mut limits = node.limits_so_far();
    limits.table.probation = SHORT;
    let node = if args.len() > 2 { node.boot(&args[2..]) } else { node.boot(["none"]) };
    let node = node.ttl(SHORT).limits(limits).start().await.unwrap();
    let mut events = node.events();
    let addrs: Vec<String> = node.addrs().iter().map(ToString::to_string).collect();
    say(format!("addr {}", addrs.iter().find(|addr| addr.starts_with("/ip4/10.77.")).unwrap()));
    let (mut heard, begun) = (HashMap::<_, Vec<u64>>::new(), Instant::now());
    loop {
        for record in node.view().iter(casm::Query::all()) {
            let numbers = heard.entry(record.peer()).or_default();
            if numbers.last() != Some(&record.seq()) {
                numbers.push(record.seq());
            }
        }
        let often = heard.values().filter(|numbers| numbers.len() > 9).count();
        if often == all && begun.elapsed() > 2 * SHORT {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    say(format!("established {}", node.id()));
    let (told, go_on) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let told_to = std::io::stdin().lock().lines().next();
        drop(told.send(told_to.unwrap().unwrap()));
    });
    go_on.await.unwrap();
    node.set_ttl(LONG).await.unwrap();
    while node.view().iter(casm::Query::all()).filter(|record| record.ttl() == LONG).count() < all {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    say("long");
    loop {
        match events.next().await.unwrap() {
            Event::PeerLeft { peer, reason } => say(format!("left {peer} {}", reason.name())),
            Event::PeerJoined { record } => say(format!("joined {}", record.peer())),
            _ => {}
        }
    }
}

/// Members on hosts of their own, each connected to all others, and their ids.
struct Members {
    lan: Lan,
    nodes: Vec<Host>,
    ids: Vec<String>,
}

impl Members {
    fn new(n: u8, listen: &str) -> Self {
        let lan = Lan::new(n, 24);
        let (mut nodes, mut addrs) = (Vec::new(), Vec::new());
        for host in &lan.hosts {
            let node = host.run("member", &format!("{n} {listen} {}", addrs.join(" ")));
            addrs.push(node.expect("addr", SLOW));
            nodes.push(node);
        }
        let ids = nodes.iter().map(|node| node.expect("established", SLOW)).collect();
        nodes.iter_mut().for_each(Host::tell);
        nodes.iter().for_each(|node| drop(node.expect("long", SLOW)));
        // What they saw while they got to know each other.
        nodes.iter().for_each(|node| drop(node.rest("")));
        Self { lan, nodes, ids }
    }

    /// Waits until these have seen that some are gone, in whatever order.
    fn see(&self, seeing: &[usize], gone: &[usize], within: Duration) {
        let begun = Instant::now();
        for by in seeing {
            let mut missing: Vec<_> = gone.iter().map(|n| self.ids[*n].as_str()).collect();
            while !missing.is_empty() {
                let left = self.nodes[*by].expect("left", within.saturating_sub(begun.elapsed()));
                let (id, reason) = left.split_once(' ').unwrap();
                assert!(missing.contains(&id) && reason == "failed", "{by}: {left}");
                missing.retain(|other| *other != id);
            }
            println!("{by} has seen that {gone:?} are gone after {:?}", begun.elapsed());
        }
    }

    /// Nobody else has left for these.
    fn nobody_else(&self, seeing: &[usize]) {
        for by in seeing {
            assert_eq!(self.nodes[*by].rest("left"), Vec::<String>::new(), "{by}");
        }
    }
}

fn crash(listen: &str, host: bool, within: Duration) {
    if !netns::available() {
        return;
    }
    let mut members = Members::new(6, listen);
    match host {
        true => members.lan.hosts[5].go_dark(true),
        false => members.nodes[5].kill(),
    }
    let others = [0, 1, 2, 3, 4];
    members.see(&others, &[5], within);
    members.nobody_else(&others);
    if host {
        // It has lost everybody at once, and takes nobody for gone; and it is back as
        // soon as it is heard.
        members.nobody_else(&[5]);
        members.lan.hosts[5].go_dark(false);
        let begun = Instant::now();
        for by in others {
            members.nodes[by].expect(&format!("joined {}", members.ids[5]), SLOW);
            println!("{by} has seen that it is back after {:?}", begun.elapsed());
        }
        members.nobody_else(&others);
    }
}

#[test]
fn a_process_that_crashes_is_gone_from_all_views() {
    crash("/ip4/0.0.0.0/tcp/0", false, PROCESS_SEEN);
}

#[test]
fn a_host_that_goes_dark_is_gone_from_all_views() {
    crash("/ip4/0.0.0.0/tcp/0", true, HOST_SEEN);
}

/// Nothing tells there that a process has ended: pings do, as of a host.
#[test]
fn over_quic_too() {
    crash("/ip4/0.0.0.0/udp/0/quic-v1", false, HOST_SEEN);
}

/// A process that is stopped says nothing, as one that has crashed: and says that it
/// lives as soon as it goes on.
#[test]
fn a_process_that_is_stopped_is_back_as_soon_as_it_goes_on() {
    if !netns::available() {
        return;
    }
    let members = Members::new(4, "/ip4/0.0.0.0/tcp/0");
    members.nodes[3].signal("STOP");
    members.see(&[0, 1, 2], &[3], HOST_SEEN);
    members.nodes[3].signal("CONT");
    let begun = Instant::now();
    for by in [0, 1, 2] {
        members.nodes[by].expect(&format!("joined {}", members.ids[3]), SLOW);
        println!("{by} has seen that it is back after {:?}", begun.elapsed());
    }
    members.nobody_else(&[0, 1, 2, 3]);
}

#[test]
fn in_a_partition_each_half_removes_the_other_and_it_heals_without_more() {
    if !netns::available() {
        return;
    }
    let members = Members::new(8, "/ip4/0.0.0.0/tcp/0");
    let (one, other) = ([0, 1, 2, 3], [4, 5, 6, 7]);
    let addrs: Vec<_> = (1..=8).map(|n| format!("10.77.0.{n}")).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    // From both sides, so that nothing that was under way arrives.
    (0..8).for_each(|n| {
        members.lan.hosts[n].cut_off(Some(if n < 4 { &addrs[4..] } else { &addrs[..4] }));
    });
    for (half, gone) in [(one, other), (other, one)] {
        members.see(&half, &gone, HOST_SEEN);
    }
    members.nobody_else(&[0, 1, 2, 3, 4, 5, 6, 7]);
    (0..8).for_each(|n| members.lan.hosts[n].cut_off(None));
    let begun = Instant::now();
    for (half, back) in [(one, other), (other, one)] {
        for by in half {
            let mut missing: Vec<_> = back.iter().map(|n| members.ids[*n].clone()).collect();
            while !missing.is_empty() {
                let joined = members.nodes[by].expect("joined", SLOW);
                missing.retain(|id| *id != joined);
            }
        }
        println!("a half is whole again after {:?}", begun.elapsed());
    }
    members.nobody_else(&[0, 1, 2, 3, 4, 5, 6, 7]);
}
