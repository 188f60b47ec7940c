//! Where nodes listen, on hosts that lack something: an address family, the
//! loopback interface, all addresses but one. In network namespaces of their
//! own.

mod netns;

use casm::{Event, Node};
use netns::{Host, Lan, Netns, say};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const SLOW: Duration = Duration::from_secs(60);

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    netns::block_on(async {
        match role.as_str() {
            "listener" => listener(&args).await,
            "member" => member(&args).await,
            "caller" => caller(&args).await,
            other => panic!("no role {other}"),
        }
    });
}

/// `listener BOOT LISTEN…`: a node that says `started`, its addresses, `error`
/// if it doesn't start; then, each time that they change, `addrs` with how often
/// they have.
async fn listener(args: &[String]) {
    let builder = Node::builder().boot([&args[0]]);
    let node = match args[1..].iter().fold(builder, |node, addr| node.listen(addr)).start().await {
        Ok(node) => node,
        Err(error) => return say(format!("error {} {error}", error.kind())),
    };
    let mut events = node.events();
    let text = |addrs: Vec<casm::Multiaddr>| {
        addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    say(format!("started {}", text(node.addrs())));
    let mut told = 0;
    loop {
        if let Event::Listening { addrs, .. } = events.next().await.unwrap() {
            told += 1;
            say(format!("addrs {told} {}", text(addrs)));
        }
    }
}

/// `member N LISTEN…`: a node that says `full` when it has N in its view.
async fn member(args: &[String]) {
    let node = args[1..].iter().fold(Node::builder(), |node, addr| node.listen(addr));
    let node = node.start().await.unwrap();
    node.wait_for(args[0].parse().unwrap()).await.unwrap();
    say("full");
    netns::until_killed().await;
}

/// `caller LISTEN… to ADDR…`: a node that says `reached` when it has connected to
/// each of these addresses, which it tries until it has.
async fn caller(args: &[String]) {
    let (listen, to) = args.split_at(args.iter().position(|arg| arg == "to").unwrap());
    let node = listen.iter().fold(Node::builder().boot(["none"]), |node, addr| node.listen(addr));
    let node = node.start().await.unwrap();
    for addr in &to[1..] {
        let peer = loop {
            match node.connect(addr.parse::<casm::Target>().unwrap()).await {
                Ok(peer) => break peer,
                Err(error) => say(error),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        node.disconnect(peer).await;
    }
    say("reached");
}

/// The kinds of addresses in a list of them, such as `/ip4/127.0.0.1/tcp`.
fn kinds(addrs: &str) -> BTreeSet<String> {
    let kind = |addr: &str| addr.split('/').take(4).collect::<Vec<_>>().join("/");
    addrs.split(' ').filter(|addr| addr.starts_with('/')).map(kind).collect()
}

fn set(kinds: &[&str]) -> BTreeSet<String> {
    kinds.iter().map(ToString::to_string).collect()
}

/// Waits until a node's addresses are of these kinds, and gives how often they
/// had changed by then.
fn until(node: &Host, wanted: &[&str]) -> u32 {
    loop {
        let told = node.expect("addrs", SLOW);
        if kinds(&told) == set(wanted) {
            return told.split(' ').next().unwrap().parse().unwrap();
        }
    }
}

const V4: [&str; 2] = ["/ip4/127.0.0.1/tcp", "/ip4/127.0.0.1/udp"];
const BOTH: [&str; 4] =
    ["/ip4/127.0.0.1/tcp", "/ip4/127.0.0.1/udp", "/ip6/::1/tcp", "/ip6/::1/udp"];

#[test]
fn a_host_whose_ipv6_is_switched_off_starts_without_and_takes_it_when_it_comes() {
    if netns::available() {
        let host = Netns::new();
        host.set("net.ipv6.conf.all.disable_ipv6", 1);
        let pair =
            "/ip4/0.0.0.0/tcp/0 /ip6/::/tcp/0 /ip4/0.0.0.0/udp/0/quic-v1 /ip6/::/udp/0/quic-v1";
        for listen in ["", pair] {
            let node = host.run("listener", &format!("auto {listen}"));
            assert_eq!(kinds(&node.expect("started", SLOW)), set(&V4), "{listen}");
            host.set("net.ipv6.conf.all.disable_ipv6", 0);
            until(&node, &BOTH);
            host.set("net.ipv6.conf.all.disable_ipv6", 1);
            until(&node, &V4);
        }
        // An address that there is not is an error, at once.
        let error = host.run("listener", "none /ip6/::1/tcp/0").expect("error Bind", SLOW);
        assert!(error.contains("cannot listen at /ip6/::1/tcp/0: "), "{error}");
    }
}

#[test]
fn a_host_without_loopback_starts_and_takes_the_addresses_that_come() {
    if netns::available() {
        let host = Netns::new();
        host.ip("link set lo down");
        host.ip("addr flush dev lo");
        let node = host.run("listener", "auto");
        assert_eq!(node.expect("started", SLOW), "");
        host.ip("addr add 127.0.0.1/8 dev lo");
        host.ip("addr add ::1/128 dev lo");
        host.ip("link set lo up");
        until(&node, &BOTH);
    }
}

#[test]
fn a_family_that_is_forbidden_or_not_there_is_skipped() {
    if netns::available() {
        let host = Netns::new();
        for listen in ["", "/ip4/0.0.0.0/tcp/0 /ip6/::/tcp/0 /ip4/0.0.0.0/udp/0/quic-v1"] {
            let node = host.run("listener", &format!("auto {listen} without=ipv6"));
            assert_eq!(kinds(&node.expect("started", SLOW)), set(&V4), "{listen}");
        }
        let alone = host.run("listener", "none /ip6/::/tcp/0 without=ipv6");
        let error = alone.expect("error Bind", SLOW);
        assert!(error.contains("/ip6/::/tcp/0: this machine has no IPv6;"), "{error}");
    }
}

#[test]
fn without_netlink_a_node_follows_its_addresses_by_looking() {
    if netns::available() {
        let host = Netns::new();
        host.ip("link add d0 type veth peer name d1");
        host.ip("link set d1 up");
        host.ip("link set d0 up");
        let pair =
            "/ip4/0.0.0.0/tcp/0 /ip6/::/tcp/0 /ip4/0.0.0.0/udp/0/quic-v1 /ip6/::/udp/0/quic-v1";
        for listen in ["", pair] {
            let node = host.run("listener", &format!("auto {listen} without=netlink"));
            assert_eq!(kinds(&node.expect("started", SLOW)), set(&BOTH), "{listen}");
            host.ip("addr add 10.9.8.7/24 dev d0");
            let more = ["/ip4/10.9.8.7/tcp", "/ip4/10.9.8.7/udp"];
            until(&node, &[&BOTH[..], &more].concat());
            host.ip("addr del 10.9.8.7/24 dev d0");
            until(&node, &BOTH);
        }
        // A port that another has is told as ever.
        let _node = host.run("listener", "none /ip4/0.0.0.0/tcp/4001 without=netlink");
        _node.expect("started", SLOW);
        let other = host.run("listener", "none /ip4/0.0.0.0/tcp/4001 without=netlink");
        other.expect("error Bind cannot listen at /ip4/0.0.0.0/tcp/4001: ", SLOW);
    }
}

#[test]
fn hosts_without_netlink_find_each_other_and_connect() {
    if netns::available() {
        let lan = Lan::new(5, 24);
        for listen in ["", "/ip4/0.0.0.0/udp/0/quic-v1"] {
            let without = ["without=netlink", "without=netlink,ipv6", ""];
            let members: Vec<Host> = lan
                .hosts
                .iter()
                .zip(without.iter().cycle())
                .map(|(host, without)| host.run("member", &format!("5 {listen} {without}")))
                .collect();
            for member in &members {
                member.expect("full", SLOW);
            }
        }
    }
}

/// The loopback's socket listens too, and is not the one to dial from.
#[test]
fn a_node_that_listens_at_single_addresses_dials_out_over_quic() {
    if netns::available() {
        let lan = Lan::new(2, 24);
        let quic = |ip: &str, port| format!("/ip4/{ip}/udp/{port}/quic-v1");
        let there: Vec<String> = (4001..=4008).map(|port| quic("10.77.0.2", port)).collect();
        let there = there.join(" ");
        let called = lan.hosts[1].run("listener", &format!("none {there}"));
        called.expect("started", SLOW);
        for (listen, without) in [
            (format!("{} {}", quic("127.0.0.1", 0), quic("10.77.0.1", 0)), ""),
            (quic("0.0.0.0", 0), "without=netlink"),
        ] {
            let caller = lan.hosts[0].run("caller", &format!("{listen} to {there} {without}"));
            caller.expect("reached", SLOW);
        }
    }
}

#[test]
fn a_node_is_reached_again_at_an_address_that_was_taken_away_and_came_back() {
    if netns::available() {
        let lan = Lan::new(2, 24);
        let there = "/ip4/10.77.0.1/tcp/4001 /ip4/10.77.0.1/udp/4001/quic-v1";
        let call = |to: &str| {
            let listen = "/ip4/0.0.0.0/tcp/0 /ip4/0.0.0.0/udp/0/quic-v1";
            lan.hosts[1].run("caller", &format!("{listen} to {to}"))
        };
        let listener = lan.hosts[0].run("listener", &format!("none {there}"));
        listener.expect("started", SLOW);
        call(there).expect("reached", SLOW);
        lan.hosts[0].ip("addr del 10.77.0.1/24 dev eth0");
        let caller = call(there);
        // Nobody is there.
        caller.expect("", SLOW);
        lan.hosts[0].ip("addr add 10.77.0.1/24 dev eth0");
        caller.expect("reached", SLOW);
    }
}

/// libp2p's usual pair, of one port.
#[test]
fn ipv4_and_ipv6_share_a_port_in_either_order() {
    if netns::available() {
        let host = Netns::new();
        for end in ["tcp/4001", "udp/4001/quic-v1"] {
            let (v4, v6) = (format!("/ip4/0.0.0.0/{end}"), format!("/ip6/::/{end}"));
            for pair in [format!("{v4} {v6}"), format!("{v6} {v4}")] {
                let mut node = host.run("listener", &format!("none {pair}"));
                let started = node.expect("started", SLOW);
                let proto = &end[..3];
                let wanted = [format!("/ip4/127.0.0.1/{proto}"), format!("/ip6/::1/{proto}")];
                assert_eq!(kinds(&started), set(&wanted.each_ref().map(String::as_str)), "{pair}");
                // Whoever comes second is told which, and why.
                for addr in [&v4, &v6] {
                    let error = host.run("listener", &format!("none {addr}"));
                    let error = error.expect("error Bind", SLOW);
                    let why = std::io::Error::from_raw_os_error(98).to_string();
                    let wanted = format!("cannot listen at {addr}: {why}; ");
                    assert!(error.starts_with(&wanted), "{error}");
                }
                node.kill();
            }
        }
        let error = host.run("listener", "none /ip4/10.1.1.1/udp/0/quic-v1");
        let error = error.expect("error Bind", SLOW);
        assert!(error.contains("(os error 99)"), "{error}");
    }
}

#[test]
fn many_addresses_are_told_together() {
    if netns::available() {
        const MANY: usize = 250;
        let host = Netns::new();
        host.ip("link add d0 type veth peer name d1");
        host.ip("link set d1 up");
        host.ip("link set d0 up");
        let add = || host.ip_batch((1..=MANY).map(|i| format!("addr add 10.0.0.{i}/24 dev d0")));
        let all = |addrs: &str| addrs.matches("/ip4/10.0.0.").count() == MANY;
        add();
        let node = host.run("listener", "none /ip4/0.0.0.0/tcp/0");
        let started = node.expect("started", SLOW);
        assert!(all(&started), "{started}");
        // What changes within 100 ms is told once, and a slow machine takes longer.
        let begun = Instant::now();
        let wait = |node: &Host, wanted: usize| loop {
            let told = node.expect("addrs", SLOW);
            if told.matches("/ip4/10.0.0.").count() == wanted {
                let most = 4 + begun.elapsed().as_millis() / 100;
                break (told.split(' ').next().unwrap().parse::<u128>().unwrap(), most);
            }
        };
        host.ip("addr flush dev d0");
        let told = wait(&node, 0);
        add();
        let told = [told, wait(&node, MANY)];
        println!("{MANY} addresses went and came: {told:?} events, and the most");
        assert!(told.iter().all(|(events, most)| events <= most), "{told:?}");
    }
}
