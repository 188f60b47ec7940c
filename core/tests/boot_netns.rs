//! Discovery between hosts, in network namespaces that the tests make.

mod netns;

use casm::{
    Keypair, Multiaddr, Namespace,
    boot::{Boot, BootAddr, BootConfig, FindOptions},
};
use futures::StreamExt;
use netns::{Host, Lan, Netns};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);

/// A node's boot service: advertises, and looks for as many others as it is
/// told. `PORT BOOT LIMIT`: its address is made up, but must be found as it is.
#[test]
#[ignore = "runs in a namespace that another test makes"]
fn role() {
    let (name, args) = netns::role().expect("started by another test");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match name.as_str() {
            "node" => node(&args).await,
            other => panic!("no role {other}"),
        }
    });
}

async fn node(args: &[String]) {
    let [addr, boot, limit] = args else { panic!("{args:?}") };
    let addr: Multiaddr = addr.parse().unwrap();
    let (_addrs, watch) = watch::channel(Arc::from([addr]));
    let mut config = BootConfig::default();
    config.boot = BootAddr::parse_list(boot).unwrap();
    let start = Instant::now();
    let boot = Boot::standalone(config, Keypair::generate_ed25519(), watch).unwrap();
    let namespace = Namespace::default();
    boot.advertise(&namespace);
    netns::say("ready");
    let mut found =
        boot.find_peers(&namespace, FindOptions::default().limit(limit.parse().unwrap()));
    let mut addrs = Vec::new();
    while let Some(next) = found.next().await {
        match next {
            Ok(found) => {
                if addrs.is_empty() {
                    netns::say(format_args!("first {}", start.elapsed().as_millis()));
                }
                addrs.extend(found.peer.addrs.iter().map(ToString::to_string));
            }
            Err(error) => netns::say(format_args!("error {error}")),
        }
    }
    addrs.sort();
    addrs.dedup();
    netns::say(format_args!("all {} {}", start.elapsed().as_millis(), addrs.join(" ")));
    netns::until_killed().await;
}

fn addr(i: usize) -> String {
    format!("/ip4/10.77.0.{i}/tcp/{}", 4000 + i)
}

/// Starts one node on each host, and checks that each finds all others.
fn all_find_each_other(hosts: &[&Netns], boot: &str) {
    let n = hosts.len();
    let nodes: Vec<Host> = hosts
        .iter()
        .enumerate()
        .map(|(i, host)| host.run("node", &format!("{} {boot} {}", addr(i + 1), n - 1)))
        .collect();
    for (i, node) in nodes.iter().enumerate() {
        let first = node.expect("first", PATIENCE);
        let all = node.expect("all", PATIENCE);
        let mut words = all.split(' ');
        println!(
            "{boot}: host {}: first after {first} ms, all after {} ms",
            i + 1,
            words.next().unwrap()
        );
        let mut expected: Vec<String> = (1..=n).filter(|j| *j != i + 1).map(addr).collect();
        expected.sort();
        assert_eq!(words.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn eight_hosts_find_each_other_by_gradual_survey_only() {
    if netns::available() {
        let lan = Lan::new(8, 24);
        let hosts: Vec<&Netns> = lan.hosts.iter().collect();
        all_find_each_other(&hosts, "/ip4/228.8.8.8/udp/8822/multicast/eth0/survey");
    }
}

#[test]
fn hosts_find_each_other_by_plain_survey() {
    if netns::available() {
        let lan = Lan::new(3, 24);
        let hosts: Vec<&Netns> = lan.hosts.iter().collect();
        all_find_each_other(&hosts, "/ip4/228.8.8.8/udp/8822/multicast/eth0");
    }
}

#[test]
fn two_hosts_find_each_other_by_a_crawl() {
    if netns::available() {
        let lan = Lan::new(2, 26);
        let hosts: Vec<&Netns> = lan.hosts.iter().collect();
        all_find_each_other(&hosts, "/ip4/10.77.0.0/udp/8822/cidr/26");
    }
}

#[test]
fn hosts_find_each_other_by_auto() {
    if netns::available() {
        let lan = Lan::new(3, 24);
        let hosts: Vec<&Netns> = lan.hosts.iter().collect();
        all_find_each_other(&hosts, "auto");
    }
}

#[test]
fn auto_finds_the_others_where_loopback_has_no_multicast() {
    if netns::available() {
        let host = Netns::new();
        host.ip("link set lo multicast off");
        let start = |i: usize, limit: usize| {
            host.run("node", &format!("/ip4/127.0.0.1/tcp/{i} auto {limit}"))
        };
        let nodes = [start(1, 2), start(2, 2), start(3, 2)];
        for node in &nodes {
            let all = node.expect("all", PATIENCE);
            println!("auto on loopback: all after {} ms", all.split(' ').next().unwrap());
            assert_eq!(all.split(' ').count(), 3, "{all}");
        }
    }
}

#[test]
fn auto_follows_an_interface_that_comes_later() {
    if netns::available() {
        let lan = Lan::new(2, 24);
        lan.hosts[1].ip("link set eth0 down");
        let first = lan.hosts[0].run("node", &format!("{} auto 1", addr(1)));
        let second = lan.hosts[1].run("node", &format!("{} auto 1", addr(2)));
        first.expect("ready", PATIENCE);
        second.expect("ready", PATIENCE);
        lan.hosts[1].ip("link set eth0 up");
        assert!(first.expect("all", PATIENCE).ends_with(&addr(2)));
        assert!(second.expect("all", PATIENCE).ends_with(&addr(1)));
    }
}
