//! Whole nodes on hosts of their own: network namespaces on a bridge.
//!
//! The waits print what they took; their limits are those that users are
//! promised.

mod netns;

use casm::{Event, Keypair, Node, Query};
use netns::{Host, Lan, Netns, say};
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_secs(60);

/// The processes that run in the namespaces.
#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    netns::block_on(async {
        match role.as_str() {
            "member" => member(&args).await,
            "addresses" => addresses().await,
            "exchanger" => exchanger(&args).await,
            other => panic!("no role {other}"),
        }
    });
}

/// `member BOOT N KEY LIFE`: a node that says `id`, then `full` when its view
/// holds N, then who leaves, joins and changes; it leaves when it reads a line.
async fn member(args: &[String]) {
    let key = Keypair::ed25519_from_bytes([args[2].parse::<u8>().unwrap(); 32]).unwrap();
    let builder = Node::builder().namespace("lan").boot([&args[0]]).key(key);
    let node = builder.meta("life", &args[3]).start().await.unwrap();
    say(format!("id {}", node.id()));
    let mut events = node.events();
    node.wait_for(args[1].parse().unwrap()).await.unwrap();
    say("full");
    assert_eq!(node.view().count(&Query::all()), node.view().len());
    let leave = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let told = async {
        loop {
            match events.next().await.unwrap() {
                Event::PeerLeft { peer, reason } => say(format!("left {peer} {}", reason.name())),
                Event::PeerJoined { record } => say(format!("joined {}", record.peer())),
                Event::PeerUpdated { record } => {
                    let life = record.meta().get("life").unwrap_or_default().to_owned();
                    say(format!("life {life} of {}", record.peer()));
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        _ = leave => node.close().await.unwrap(),
        () = told => {}
    }
    say("closed");
    // A blocked read of standard input would keep the runtime from ending.
    std::process::exit(0);
}

/// `exchanger IP`: a node without discovery that exchanges peers every second.
/// It says `addr`, connects to the addresses that it reads, and says `view`
/// with the sizes of its cluster view and of its connections as they change.
async fn exchanger(args: &[String]) {
    let mut pex = casm::pex::Config::default();
    (pex.tick, pex.timeout) = (Duration::from_secs(1), Duration::from_secs(2));
    let builder = Node::builder().namespace("lan").boot(["none"]).pex(pex);
    let builder = builder.ttl(Duration::from_secs(3)).listen(format!("/ip4/{}/tcp/0", args[0]));
    let node = builder.start().await.unwrap();
    say(format!("addr {}", node.addrs()[0]));
    let told = node.clone();
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines() {
            let addr: casm::Multiaddr = line.unwrap().parse().unwrap();
            let node = told.clone();
            tokio::runtime::Handle::current().spawn(async move { node.connect(addr).await });
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
        events.next().await.unwrap();
    }
}

/// Says every list of addresses that the node announces.
async fn addresses() {
    let node = Node::builder().boot(["none"]).start().await.unwrap();
    let mut events = node.events();
    say(format!("addrs {:?}", node.addrs()));
    loop {
        if let Event::Listening { addrs, .. } = events.next().await.unwrap() {
            say(format!("addrs {addrs:?}"));
        }
    }
}

fn start(hosts: &[Netns], boot: &str, n: usize) -> Vec<(Host, String)> {
    let started: Vec<Host> = hosts
        .iter()
        .enumerate()
        .map(|(i, host)| host.run("member", &format!("{boot} {n} {} 1", i + 1)))
        .collect();
    started
        .into_iter()
        .map(|host| {
            let id = host.expect("id", SLOW);
            (host, id)
        })
        .collect()
}

#[test]
fn eight_hosts_with_a_gradual_survey_fill_every_view() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(8, 24);
    let members = start(&lan.hosts, "/ip4/228.8.8.8/udp/8822/multicast/eth0/survey", 8);
    let begun = Instant::now();
    for (host, id) in &members {
        host.expect("full", Duration::from_secs(5));
        println!("{id}: full view after {:?} from the last one's start", begun.elapsed());
    }
}

#[test]
fn hosts_of_one_family_and_of_both_are_one_cluster() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(4, 24);
    lan.hosts[1].ip("-4 addr flush dev eth0");
    lan.hosts[2].ip("-4 addr flush dev eth0");
    lan.hosts[3].set("net.ipv6.conf.eth0.disable_ipv6", 1);
    let members = start(&lan.hosts, "auto", 4);
    for (host, _) in &members {
        host.expect("full", SLOW);
    }
}

#[test]
fn a_leave_a_kill_and_a_restart_are_seen() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(3, 26);
    let boot = "/ip4/10.77.0.0/udp/8822/cidr/26";
    let mut members = start(&lan.hosts, boot, 3);
    for (host, _) in &members {
        host.expect("full", Duration::from_secs(20));
    }

    let (mut leaver, id) = members.pop().unwrap();
    let begun = Instant::now();
    leaver.tell();
    members[0].0.expect(&format!("left {id} left"), Duration::from_secs(1));
    println!("the leave was seen after {:?}", begun.elapsed());

    let (mut killed, id) = members.pop().unwrap();
    killed.kill();
    let again = lan.hosts[1].run("member", "/ip4/10.77.0.1/udp/8822 2 2 2");
    assert_eq!(again.expect("id", SLOW), id, "the same key");
    let begun = Instant::now();
    members[0].0.expect(&format!("life 2 of {id}"), Duration::from_secs(2));
    println!("the restarted node was seen after {:?}", begun.elapsed());
    again.expect("full", SLOW);
    println!("and saw the other after {:?}", begun.elapsed());
}

#[test]
fn auto_works_on_a_host_that_has_only_loopback() {
    if !netns::available() {
        return;
    }
    let host = Netns::new();
    let members: Vec<Host> =
        (1..=2).map(|key| host.run("member", &format!("auto 2 {key} 1"))).collect();
    for member in &members {
        member.expect("id", SLOW);
    }
    let begun = Instant::now();
    for member in &members {
        member.expect("full", Duration::from_secs(20));
    }
    println!("both views were full after {:?}", begun.elapsed());
}

#[test]
fn listen_addresses_follow_the_interfaces() {
    if !netns::available() {
        return;
    }
    let host = Netns::new();
    host.ip("link add d0 type veth peer name d1");
    host.ip("link set d1 up");
    host.ip("link set d0 up");
    let node = host.run("addresses", "");
    let before = node.expect("addrs", SLOW);
    assert!(before.contains("/ip4/127.0.0.1/tcp/") && !before.contains("10.9.8.7"), "{before}");
    host.ip("addr add 10.9.8.7/24 dev d0");
    let seen = |what: &str, wanted: bool| {
        let begun = Instant::now();
        loop {
            let addrs = node.expect("addrs", Duration::from_secs(20));
            if addrs.contains(&format!("/ip4/10.9.8.7/{what}")) == wanted {
                return println!("{what} {wanted}: seen after {:?}", begun.elapsed());
            }
        }
    };
    seen("tcp", true);
    host.ip("addr del 10.9.8.7/24 dev d0");
    seen("tcp", false);
}

#[test]
fn halves_that_were_apart_for_a_minute_find_each_other_without_discovery() {
    if !netns::available() {
        return;
    }
    const HALF: usize = 3;
    let lan = Lan::new(2 * HALF as u8, 24);
    let ips: Vec<String> = (1..=2 * HALF).map(|i| format!("10.77.0.{i}")).collect();
    let mut nodes: Vec<Host> =
        lan.hosts.iter().zip(&ips).map(|(host, ip)| host.run("exchanger", ip)).collect();
    // Each knows the one before it, and no more.
    let addrs: Vec<String> = nodes.iter().map(|node| node.expect("addr", SLOW)).collect();
    for (node, before) in nodes.iter_mut().skip(1).zip(&addrs) {
        node.write(before);
    }
    let all = |what: &str| {
        let begun = Instant::now();
        nodes.iter().for_each(|node| drop(node.expect(what, SLOW)));
        println!("{what}: all after {:?}", begun.elapsed());
    };
    all("view 6 connected 5");

    let far: Vec<&str> = ips[HALF..].iter().map(String::as_str).collect();
    let begun = Instant::now();
    lan.hosts[..HALF].iter().for_each(|host| host.cut_off(Some(&far)));
    // The connections to the other half are given up too, so that nothing of it
    // is left but what peer exchange remembers.
    all("view 3 connected 2");
    std::thread::sleep(Duration::from_secs(60).saturating_sub(begun.elapsed()));
    lan.hosts[..HALF].iter().for_each(|host| host.cut_off(None));
    all("view 6");
}

/// The seed could tell of any private network, but this is theirs as well.
#[test]
fn nodes_of_one_private_network_that_share_a_public_seed_find_each_other() {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(3, 24);
    let [seed, members @ ..] = &lan.hosts[..] else { unreachable!() };
    seed.ip("addr add 203.0.113.1/32 dev eth0");
    members.iter().for_each(|host| host.ip("route add 203.0.113.1/32 dev eth0"));
    let public = seed.run("exchanger", "203.0.113.1");
    let mut nodes: Vec<Host> = (2..)
        .zip(members)
        .map(|(i, host)| host.run("exchanger", &format!("10.77.0.{i}")))
        .collect();
    let at = public.expect("addr", SLOW);
    for node in &mut nodes {
        node.expect("addr", SLOW);
        node.write(&at);
    }
    public.expect("view 3 connected 2", SLOW);
    nodes.iter().for_each(|node| drop(node.expect("view 3 connected 2", SLOW)));
}
