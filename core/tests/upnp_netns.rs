//! Nodes behind a router that maps ports by UPnP, or does worse: homes in an "Internet"
//! of namespaces. The search for gateways stays in a home's own network.
#![cfg(target_os = "linux")]

mod gateway;
mod netns;

use casm::{Event, Node};
use netns::{Host, Internet, Nat, Netns, say};
use std::time::Duration;

const SLOW: Duration = Duration::from_secs(60);

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    match role.as_str() {
        "gateway" => gateway::run(&args),
        "web" => gateway::web(),
        "node" => netns::block_on(node(&args)),
        other => panic!("no role {other}"),
    }
}

/// `node UPNP [BOOT]`: a node at port 4001 that says `at` with its id, and how it is found; does
/// what it is told: `pause`, `resume`, `close`, and `upnp` to tell what came of that.
async fn node(args: &[String]) {
    let boot = args.get(1).map_or("none", String::as_str);
    let listen = ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"];
    let builder = listen.iter().fold(Node::builder(), |builder, addr| builder.listen(addr));
    let builder = builder.namespace("homes").boot([boot]).upnp(args[0] == "upnp");
    let mut events = builder.events();
    let node = builder.start().await.unwrap();
    say(format!("at {}", node.id()));
    let (told, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| told.send(line))
    });
    loop {
        let order = tokio::select! {
            Some(order) = orders.recv() => order,
            Some(event) = events.next() => {
                happened(event);
                continue;
            }
        };
        match order.as_str() {
            "pause" => node.pause().await.unwrap(),
            "resume" => node.resume().await.unwrap(),
            "close" => {
                node.close().await.unwrap();
                say("closed");
            }
            result => {
                let count = format!("casm_upnp_total{{result=\"{result}\"}} ");
                while !node.metrics().encode().contains(&count) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                say(format!("counted {result} {}", node.reachability().reach.name()));
                say(format!("told {:?}", node.addrs()));
            }
        }
    }
}

fn happened(event: Event) {
    match event {
        Event::ReachabilityChanged { reachability } => {
            let found =
                reachability.addrs.iter().map(|at| format!(" {} {}", at.found.name(), at.addr));
            say(format!("reach {}{}", reachability.reach.name(), found.collect::<String>()));
        }
        Event::Listening { addrs, .. } => say(format!("record {addrs:?}")),
        Event::Connected { peer } => say(format!("connected {peer}")),
        _ => {}
    }
}

const TCP: &str = "/ip4/45.77.0.1/tcp/4001";
const QUIC: &str = "/ip4/45.77.0.1/udp/4001/quic-v1";

/// Waits until the node says that it is reached where the first router maps its ports,
/// and until its record says so; in any order.
fn is_reached(node: &Host) {
    let wanted = [
        ("reach public ", [TCP, QUIC].map(|addr| format!("mapped {addr}"))),
        ("record ", [TCP, QUIC].map(|addr| format!("{addr}/p2p/"))),
    ];
    let mut said = [false; 2];
    while said.contains(&false) {
        let line = node.expect("", SLOW);
        println!("a node says: {line}");
        for (said, (start, parts)) in said.iter_mut().zip(&wanted) {
            *said |= line.starts_with(start) && parts.iter().all(|part| line.contains(part));
        }
    }
}

fn home(internet: &Internet, gateway: &str) -> (Host, Netns, Netns) {
    let (router, inner) = internet.home(Nat::PortRestricted);
    let gateway = router.run("gateway", gateway);
    gateway.expect("ready", SLOW);
    (gateway, inner, router)
}

/// The next that the gateway is asked is to map both ports, in any order, for an hour.
fn maps(gateway: &Host, to: &str) {
    let mut mapped: Vec<String> = (0..2).map(|_| gateway.expect("", SLOW)).collect();
    mapped.sort();
    assert_eq!(mapped, ["tcp", "udp"].map(|p| format!("mapped {p} 4001 to {to} for 3600")));
}

#[test]
fn a_node_is_reached_at_ports_that_the_gateway_maps() {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let (gateway, inner, _router) = home(&internet, "45.77.0.1");
    let mut node = inner.run("node", "upnp");
    let id = node.expect("at ", SLOW);
    maps(&gateway, "192.168.1.2");
    is_reached(&node);
    for addr in [TCP, QUIC] {
        let (host, _) = internet.host();
        let other = host.run("node", &format!("no {addr}/p2p/{id}"));
        assert_eq!(other.expect("connected ", SLOW), id, "{addr}");
    }

    // Elsewhere in the home.
    inner.ip("addr del 192.168.1.2/24 dev eth0");
    node.expect("reach unknown", SLOW);
    inner.ip("addr add 192.168.1.3/24 dev eth0");
    inner.ip("route add default via 192.168.1.1");
    maps(&gateway, "192.168.1.3");
    is_reached(&node);

    node.write("pause");
    node.expect("reach unknown", SLOW);
    node.write("resume");
    maps(&gateway, "192.168.1.3");
    is_reached(&node);

    // The gateway forgets the ports when their hour is over: nobody asks it to before.
    node.write("close");
    node.expect("closed", SLOW);
    assert_eq!(gateway.rest(""), Vec::<String>::new());
}

#[test]
fn a_gateway_that_is_none_changes_nothing() {
    if !netns::available() {
        return;
    }
    let internet = Internet::new();
    let (web, ip) = internet.host();
    let web = web.run("web", "");
    web.expect("ready", SLOW);
    let gateways = [
        ("45.77.0.9 garbage", "no-gateway"),
        ("45.77.0.9 huge", "no-gateway"),
        ("45.77.0.9 silent", "no-gateway"),
        (&*format!("{ip} elsewhere"), "no-gateway"),
        ("none", "no-gateway"),
        ("10.0.0.1", "not-public"),
        ("100.64.0.1", "not-public"),
        ("224.0.0.1", "not-public"),
    ];
    let mut homes = gateways.map(|(gateway, result)| {
        let (gateway, inner, router) = match gateway {
            "none" => {
                let (router, inner) = internet.home(Nat::PortRestricted);
                (None, inner, router)
            }
            gateway => {
                let (gateway, inner, router) = home(&internet, gateway);
                (Some(gateway), inner, router)
            }
        };
        let node = inner.run("node", "upnp");
        node.expect("at ", SLOW);
        (gateway, node, result, inner, router)
    });
    for (_, node, result, ..) in &mut homes {
        node.write(*result);
        assert_eq!(node.expect("counted ", SLOW), format!("{result} unknown"));
        let told = node.expect("told ", SLOW);
        assert!(told.contains("/ip4/192.168.1.2/tcp/4001"), "{told}");
        assert_eq!(told.matches("/tcp/4001").count(), 2, "with that of loopback: {told}");
        node.write("close");
        node.expect("closed", SLOW);
    }
    // It was not read to an end that never comes.
    let huge = homes[1].0.as_ref().unwrap();
    let sent: usize = huge.expect("cut ", SLOW).parse().unwrap();
    println!("{sent} bytes were sent of an answer without an end");
    assert_eq!(web.rest("asked"), Vec::<String>::new());
}
