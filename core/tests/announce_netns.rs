//! Nodes behind port mappings: each in a container of its host, all containers
//! with the same address, so that what a node sees of itself is of no use to
//! the others.

mod netns;

use casm::{Event, Keypair, Node};
use netns::{Host, Lan, say};
use std::{collections::BTreeMap, time::Duration};

const SLOW: Duration = Duration::from_secs(60);

/// The processes that run in the namespaces.
#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "mapped");
    netns::block_on(mapped(&args));
}

/// `mapped BOOT KEY HOST ONLY`: a node that announces its ports at HOST, an
/// address or a name. It
/// says `id` and `addrs`, the sizes of its view and of its connections as they
/// change, and the meta field `life` of others. On a line it sets that field,
/// and on the line `leave` it leaves.
async fn mapped(args: &[String]) {
    let key = Keypair::ed25519_from_bytes([args[1].parse::<u8>().unwrap(); 32]).unwrap();
    let mut pex = casm::pex::Config::default();
    pex.tick = Duration::from_secs(1);
    let mut builder = Node::builder().namespace("mapped").key(key).boot([&args[0]]).pex(pex);
    for transport in ["tcp/4001", "udp/4001/quic-v1"] {
        builder = builder.listen(format!("/ip4/0.0.0.0/{transport}"));
        builder = builder.announce(format!("{}/{transport}", args[2]));
    }
    let builder = builder.announce_only(args[3] == "only").serve(["/ip4/0.0.0.0/udp/8822"]);
    let node = builder.ttl(Duration::from_secs(3)).start().await.unwrap();
    say(format!("id {}", node.id()));
    let addrs: Vec<String> = node.info().addrs.iter().map(ToString::to_string).collect();
    say(format!("addrs {}", addrs.join(" ")));
    let told = node.clone();
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let node = told.clone();
            tokio::runtime::Handle::current().block_on(async {
                if line == "leave" {
                    node.close().await.unwrap();
                    say("closed");
                    // The read of standard input would keep the runtime from ending.
                    std::process::exit(0);
                }
                node.set_meta(BTreeMap::from([("life".into(), line)])).await.unwrap();
            });
        }
    });
    let mut events = node.events();
    let mut last = (0, 0);
    loop {
        let now = (node.view().len(), node.connected().len());
        if now != last {
            say(format!("view {} connected {}", now.0, now.1));
            last = now;
        }
        let Some(event) = events.next().await else { return };
        if let Event::PeerUpdated { record } = event {
            let life = record.meta().get("life").unwrap_or_default().to_owned();
            say(format!("life {life} of {}", record.peer()));
        }
    }
}

fn a_seed_may_go(announced: &str, only: &str) {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(3, 24);
    let containers: Vec<_> =
        lan.hosts.iter().map(|host| host.container("4001", "4001, 8822")).collect();
    let names: Vec<String> = (1..=3).map(|i| format!("10.77.0.{i} host{i}")).collect();
    containers.iter().for_each(|container| container.names(&names));
    let mut nodes: Vec<Host> = Vec::new();
    for (i, container) in (1..).zip(&containers) {
        let boot = if i == 1 { "none" } else { "/ip4/10.77.0.1/udp/8822" };
        nodes.push(container.run("mapped", &format!("{boot} {i} {announced}{i} {only}")));
    }
    let ids: Vec<String> = nodes.iter().map(|node| node.expect("id", SLOW)).collect();
    for (i, node) in (1..).zip(&nodes) {
        let addrs = node.expect("addrs", SLOW);
        let addrs_of = format!("{announced}{i}/tcp/4001 {announced}{i}/udp/4001/quic-v1");
        assert!(addrs.starts_with(&addrs_of), "{addrs}");
        assert_eq!(addrs == addrs_of, only == "only", "{addrs}");
    }
    for node in &nodes {
        node.expect("view 3 connected 2", SLOW);
    }
    let mut seed = nodes.remove(0);
    seed.write("leave");
    for node in &nodes {
        node.expect("view 2 connected 1", SLOW);
    }
    // Longer than a record lasts without its peer.
    for life in 0..2 {
        for n in 0..2 {
            nodes[n].write(format_args!("{n}{life}"));
            nodes[1 - n].expect(&format!("life {n}{life} of {}", ids[n + 1]), SLOW);
        }
    }
}

#[test]
fn nodes_behind_port_mappings_keep_each_other_when_their_seed_goes() {
    a_seed_may_go("/ip4/10.77.0.", "too");
}

#[test]
fn nodes_that_tell_nothing_but_what_is_mapped_keep_each_other_too() {
    a_seed_may_go("/ip4/10.77.0.", "only");
}

#[test]
fn nodes_that_tell_nothing_but_a_name_keep_each_other_too() {
    a_seed_may_go("/dns/host", "only");
}
