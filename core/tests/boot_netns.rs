//! Discovery between hosts, in network namespaces that the tests make.

mod netns;

use casm::{
    Keypair, Multiaddr, Namespace,
    boot::{Boot, BootAddr, BootConfig, Emit, FindOptions, Tapped},
};
use futures::StreamExt;
use hickory_resolver::proto::{
    op::Message,
    rr::{Name, RData, Record, rdata::TXT},
};
use netns::{Host, Lan, Netns};
use std::{
    net::IpAddr,
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
            "listener" => listen(&args).await,
            "emitter" => emit(&args).await,
            "names" => serve_names(&args).await,
            "caller" => call(&args).await,
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

/// Shows every boot packet: `BOOT`.
async fn listen(args: &[String]) {
    let (_addrs, boot) = tool(&args[0]);
    let mut tap = boot.tap();
    netns::say("ready");
    while let Some(Tapped::Datagram(tapped)) = tap.next().await {
        netns::say(format_args!("tap {} {:?}", tapped.verdict, tapped.packet.map(|p| p.body)));
    }
}

/// Sends one packet of each kind: `UNICAST GROUP`.
async fn emit(args: &[String]) {
    let namespace = Namespace::default();
    let (_addrs, boot) = tool(&args[1]);
    for what in [Emit::Survey { distance: 9 }, Emit::Response] {
        assert_eq!(boot.emit(&namespace, what).await.unwrap(), 1);
    }
    let error = boot.emit(&namespace, Emit::Request).await.unwrap_err();
    netns::say(format_args!("refused {:?}", error.kind()));
    let (_addrs, boot) = tool(&args[0]);
    let mut tap = boot.tap();
    assert_eq!(boot.emit(&namespace, Emit::Request).await.unwrap(), 1);
    let Some(Tapped::Datagram(answer)) = tap.next().await else { panic!() };
    netns::say(format_args!("answer {} {:?}", answer.verdict, answer.packet.map(|p| p.body)));
    netns::until_killed().await;
}

fn tool(boot: &str) -> (watch::Sender<Arc<[Multiaddr]>>, Boot) {
    let (addrs, watch) = watch::channel(Arc::from([addr(1).parse().unwrap()]));
    let mut config = BootConfig::default();
    config.boot = BootAddr::parse_list(boot).unwrap();
    (addrs, Boot::standalone(config, Keypair::generate_ed25519(), watch).unwrap())
}

/// A name server: `NAME=DATA`, an address or a text, for each record.
async fn serve_names(args: &[String]) {
    let records: Vec<(Name, RData)> = args
        .iter()
        .map(|record| {
            let (name, data) = record.split_once('=').unwrap();
            let data = match data.parse() {
                Ok(IpAddr::V4(ip)) => RData::A(ip.into()),
                Ok(IpAddr::V6(ip)) => RData::AAAA(ip.into()),
                Err(_) => RData::TXT(TXT::new(vec![data.into()])),
            };
            (Name::from_ascii(name).unwrap(), data)
        })
        .collect();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:53").await.unwrap();
    netns::say("ready");
    let mut buffer = [0; 2048];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer[..len]).unwrap();
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.add_query(query.clone());
        for (name, data) in &records {
            if query.name() == name && query.query_type() == data.record_type() {
                answer.add_answer(Record::from_rdata(name.clone(), 60, data.clone()));
            }
        }
        socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
    }
}

/// `LISTEN CALL`: a node that listens, says `ready`, and calls until it has
/// reached who is there; says `failed` of each call that has not.
async fn call(args: &[String]) {
    let node = casm::Node::builder().boot(["none"]).listen(&args[0]).start().await.unwrap();
    netns::say("ready");
    let addr: Multiaddr = args[1].parse().unwrap();
    while let Err(error) = node.connect(addr.clone()).await {
        netns::say(format_args!("failed {error}"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    netns::say("reached");
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
fn auto_joins_every_family_that_an_interface_has() {
    if netns::available() {
        let lan = Lan::new(3, 24);
        let [both, v6, v4] = &lan.hosts[..] else { panic!() };
        v6.ip("-4 addr flush dev eth0");
        v4.set("net.ipv6.conf.eth0.disable_ipv6", 1);
        let start = |i: usize, host: &Netns, others: usize| {
            host.run("node", &format!("{} auto {others}", addr(i)))
        };
        let nodes = [start(1, both, 2), start(2, v6, 1), start(3, v4, 1)];
        let found = |i: usize| nodes[i].expect("all", PATIENCE);
        assert!(found(0).ends_with(&format!("{} {}", addr(2), addr(3))));
        assert!(found(1).ends_with(&addr(1)));
        assert!(found(2).ends_with(&addr(1)));
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

#[test]
fn hosts_find_each_other_over_ipv6() {
    if netns::available() {
        let lan = Lan::new(3, 24);
        let hosts: Vec<&Netns> = lan.hosts.iter().collect();
        all_find_each_other(&hosts, "/ip6/fd00:77::/udp/8822/cidr/124");
        all_find_each_other(&hosts, "/ip6/ff12::8822/udp/8822/multicast/eth0/survey");
    }
}

#[test]
fn a_tap_shows_what_passes_also_what_is_refused() {
    if netns::available() {
        let lan = Lan::new(2, 24);
        let group = "/ip4/228.8.8.8/udp/8822/multicast/eth0";
        let listener = lan.hosts[0].run("listener", group);
        listener.expect("ready", PATIENCE);
        let unicast = "/ip4/10.77.0.1/udp/8823";
        let server = lan.hosts[0].run("node", &format!("{} {unicast} 0", addr(1)));
        server.expect("all", PATIENCE);
        let emitter = lan.hosts[1].run("emitter", &format!("{unicast} {group}"));
        assert_eq!(emitter.expect("refused", PATIENCE), "Address");
        let survey = listener.expect("tap", PATIENCE);
        assert_eq!(survey, "not-advertised Some(Survey { distance: 9 })");
        let response = listener.expect("tap", PATIENCE);
        let body = format!("Some(Response {{ addrs: [{}] }})", addr(1));
        assert_eq!(response, format!("unasked {body}"));
        assert_eq!(emitter.expect("answer", PATIENCE), format!("found {body}"));
    }
}

#[test]
fn peers_are_found_by_name() {
    if netns::available() {
        let id = Keypair::generate_ed25519().public().to_peer_id();
        let host = Netns::new();
        host.name_server("127.0.0.1");
        let listed = format!("{}/p2p/{id}", addr(7));
        let names = host.run(
            "names",
            &format!(
                "casm.test.=127.0.0.1 casm.test.=::1 _dnsaddr.all.test.=dnsaddr=/dnsaddr/one.test \
                 _dnsaddr.one.test.=dnsaddr={listed} _dnsaddr.one.test.=nonsense"
            ),
        );
        names.expect("ready", PATIENCE);
        let by_v4 = host.run("node", &format!("{} /ip4/127.0.0.1/udp/8822 0", addr(1)));
        let by_v6 = host.run("node", &format!("{} /ip6/::1/udp/8822 0", addr(2)));
        for node in [&by_v4, &by_v6] {
            node.expect("all", PATIENCE);
        }
        let asker = host.run("node", &format!("{} /dns/casm.test./udp/8822 2", addr(3)));
        let found = asker.expect("all", PATIENCE);
        assert!(found.ends_with(&format!("{} {}", addr(1), addr(2))), "{found}");
        for boot in
            ["/dnsaddr/all.test.".to_owned(), format!("/dnsaddr/one.test./p2p/{id}"), listed]
        {
            let asker = host.run("node", &format!("{} {boot} 1", addr(3)));
            assert!(asker.expect("all", PATIENCE).ends_with(&addr(7)), "{boot}");
        }
        let asker = host.run("node", &format!("{} /dnsaddr/none.test. 1", addr(3)));
        asker.expect("error the name \"none.test.\" does not resolve", PATIENCE);
    }
}

/// Also of those that are dialled: the system is asked which servers there are
/// each time.
#[test]
fn a_node_follows_a_change_of_the_name_servers() {
    if netns::available() {
        let host = Netns::new();
        // Nobody is there.
        host.name_server("127.0.0.2");
        let names = host.run("names", "casm.test.=127.0.0.1");
        names.expect("ready", PATIENCE);
        let called = host.run("caller", "/ip4/127.0.0.1/tcp/4001 /ip4/127.0.0.1/tcp/1");
        called.expect("ready", PATIENCE);
        let caller = host.run("caller", "/ip4/127.0.0.1/tcp/4003 /dns4/casm.test./tcp/4001");
        caller.expect("failed", PATIENCE);
        host.name_server("127.0.0.1");
        caller.expect("reached", PATIENCE);
    }
}
