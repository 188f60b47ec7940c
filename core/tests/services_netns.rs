//! Services of members that no packet reaches any more, between hosts of their own.

mod netns;

use casm::{ErrorKind, Node, Query, Target, service::CallOptions};
use netns::{Host, Lan, Netns, say};
use std::{
    convert::Infallible,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const SLOW: Duration = Duration::from_secs(60);

/// The processes that run in the namespaces.
#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "member");
    netns::block_on(member(&args));
}

/// `member NAME`: a node without discovery that serves `who`, unless its name is
/// `caller`. It says `addr` with its address, and does what it reads: `connect ADDR`;
/// `ask ADDR` asks that one; `see N` waits until so many serve it; `call N MS` calls so
/// many times, with so much time for each, and says how many of them were in vain.
async fn member(args: &[String]) {
    let builder = Node::builder().namespace("lan").listen("/ip4/0.0.0.0/tcp/0");
    let node = builder.boot(["none"]).pex(None).start().await.unwrap();
    if args[0] != "caller" {
        node.serve("who", async |_| Ok::<_, Infallible>(())).unwrap();
    }
    let (sender, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let _ = sender.blocking_send(line.unwrap());
        }
    });
    let addrs: Vec<String> = node.addrs().iter().map(ToString::to_string).collect();
    let addr = addrs.iter().find(|addr| addr.starts_with("/ip4/10.77.")).expect("one of the LAN");
    say(format!("addr {addr}"));
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let target = || words[1].parse::<Target>().unwrap();
        match words[0] {
            "connect" => drop(node.connect(target()).await.unwrap()),
            "ask" => {
                let to = CallOptions::new().peer(target());
                node.call_with("who", "", to).await.unwrap();
            }
            "see" => {
                let n = words[1].parse().unwrap();
                node.wait_for_query(Query::service("who"), n).await.unwrap();
            }
            "call" => {
                let (n, ms) = (words[1].parse::<u32>().unwrap(), words[2].parse().unwrap());
                let (mut in_vain, mut longest) = (0, Duration::ZERO);
                for _ in 0..n {
                    let begun = Instant::now();
                    let options = CallOptions::new().timeout(Duration::from_millis(ms));
                    if let Err(error) = node.call_with("who", "", options).await {
                        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
                        in_vain += 1;
                    }
                    longest = longest.max(begun.elapsed());
                }
                say(format!("in vain {in_vain} of {n}, the longest took {longest:?}"));
                continue;
            }
            other => panic!("{other:?}"),
        }
        say("done");
    }
}

/// A host that calls, one that works, one that is to be lost: each with its address.
fn hosts(lan: &Lan) -> Vec<(Host, String)> {
    let names = ["caller", "works", "lost"];
    let run = |(host, name): (&Netns, &str)| {
        let host = host.run("member", name);
        let addr = host.expect("addr", SLOW);
        (host, addr)
    };
    lan.hosts.iter().zip(names).map(run).collect()
}

fn tell(host: &mut Host, what: &str) {
    host.write(what);
    host.expect("done", SLOW);
}

/// The first member that was tried had all the time that there was.
#[test]
fn a_member_that_cannot_be_reached_leaves_time_for_another() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(3, 24);
    let mut hosts = hosts(&lan);
    let works = format!("connect {}", hosts[1].1);
    tell(&mut hosts[0].0, &works);
    tell(&mut hosts[2].0, &works);
    // The caller knows of it, and is not connected to it.
    tell(&mut hosts[0].0, "see 2");
    lan.hosts[2].cut_off(Some(&["10.77.0.1"]));
    hosts[0].0.write("call 20 10000");
    let said = hosts[0].0.expect("in vain", SLOW * 4);
    assert!(said.starts_with("0 of 20"), "{said}");
}

/// What was sent may have begun, and is lost: but the next ones are not.
#[test]
fn a_member_that_answers_no_more_is_asked_no_more() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(3, 24);
    let mut hosts = hosts(&lan);
    for n in [1, 2] {
        let addr = hosts[n].1.clone();
        tell(&mut hosts[0].0, &format!("connect {addr}"));
        tell(&mut hosts[0].0, &format!("ask {addr}"));
    }
    tell(&mut hosts[0].0, "see 2");
    lan.hosts[2].cut_off(Some(&["10.77.0.1"]));
    hosts[0].0.write("call 40 1000");
    let said = hosts[0].0.expect("in vain", SLOW * 2);
    let in_vain: u32 = said.split(' ').next().unwrap().parse().unwrap();
    assert!(in_vain <= 2, "{said}");
}
