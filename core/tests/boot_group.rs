//! Nodes in a multicast group with a hostile member, and groups that formed
//! apart: in network namespaces that the tests make.

mod netns;

use casm::{
    Keypair, Multiaddr, Node,
    boot::packet::{Body, Packet},
};
use netns::{Host, Lan, say};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(120);
const SURVEY: &str = "/ip4/228.8.8.8/udp/8822/multicast/eth0/survey";
const GROUP: Ipv4Addr = Ipv4Addr::new(228, 8, 8, 8);
const PORT: u16 = 8822;
/// Addresses of the hostile host: twice as many as answers make an own one
/// unnecessary, and those from which it floods, whose limits that uses up.
const FACES: u8 = 16 + LOUD;
const LOUD: u8 = 4;

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    match role.as_str() {
        "cluster" => runtime.block_on(cluster(&args)),
        "hostile" => hostile(),
        other => panic!("no role {other}"),
    }
}

/// `cluster N ALL`: so many nodes without peer exchange. It says `full` when
/// each is connected to all others, then `all` when every view holds ALL, and
/// what became of boot datagrams.
async fn cluster(args: &[String]) {
    let [n, all] = args else { panic!("{args:?}") };
    let (n, all): (usize, usize) = (n.parse().unwrap(), all.parse().unwrap());
    let mut nodes = Vec::new();
    for _ in 0..n {
        let builder = Node::builder().namespace("groups").boot([SURVEY]).pex(None);
        // Not IPv6, which a cut does not stop.
        let builder = builder.listen("/ip4/0.0.0.0/tcp/0");
        nodes.push(builder.start().await.unwrap());
    }
    while !nodes.iter().all(|node| node.view().len() >= n && node.connected().len() + 1 >= n) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    say(format!("full {}", nodes.iter().map(|node| node.view().len()).max().unwrap()));
    for node in &nodes {
        node.wait_for(all).await.unwrap();
    }
    let text = nodes[0].metrics().encode();
    let counts = text.lines().filter_map(|line| line.strip_prefix("casm_boot_received_total"));
    say(format!("all {}", counts.collect::<Vec<_>>().join(" ")));
    netns::until_killed().await;
}

/// Answers each survey at once: for peers that don't exist, with its nonce and
/// from many addresses; with all answers that it heard before; and without end
/// with wrong signatures.
fn hostile() {
    let ears = socket();
    ears.set_reuse_address(true).unwrap();
    ears.set_reuse_port(true).unwrap();
    ears.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Address(face(0))).unwrap();
    ears.bind(&SocketAddr::from((GROUP, PORT)).into()).unwrap();
    let ears = UdpSocket::from(ears);
    let mut faces: Vec<UdpSocket> = (0..FACES)
        .map(|i| {
            let socket = socket();
            socket.set_multicast_if_v4(&face(i)).unwrap();
            socket.bind(&SocketAddr::from((face(i), 0)).into()).unwrap();
            socket.into()
        })
        .collect();
    let flood = Arc::new(Mutex::new(Vec::new()));
    let (wrong, loud) = (flood.clone(), faces.split_off(usize::from(FACES - LOUD)));
    std::thread::spawn(move || shout(&wrong, loud));
    let mut heard: Vec<Vec<u8>> = Vec::new();
    say("ready");
    let mut buffer = [0; 2048];
    loop {
        let (len, source) = ears.recv_from(&mut buffer).unwrap();
        let Ok(packet) = Packet::decode(&buffer[..len]) else { continue };
        if is_face(source.ip()) {
            continue;
        }
        if packet.body.name() == "response" {
            heard.push(buffer[..len].to_vec());
            continue;
        }
        for (i, face) in (0..).zip(&faces) {
            let key = Keypair::generate_ed25519();
            let nowhere: Multiaddr = format!("/ip4/10.77.0.{}/tcp/1", 200 + i).parse().unwrap();
            let body = Body::Response { addrs: vec![nowhere] };
            let peer = key.public().to_peer_id();
            let mut answer = packet.clone();
            (answer.peer, answer.body) = (peer, body);
            let mut answer = answer.encode(&key).unwrap();
            send(face, &answer);
            *answer.last_mut().unwrap() ^= 1;
            *flood.lock().unwrap() = answer;
        }
        for (old, face) in heard.iter().rev().take(64).zip(faces.iter().cycle()) {
            send(face, old);
        }
    }
}

/// Sends a datagram with a wrong signature from each of these addresses, 1000
/// times a second.
fn shout(wrong: &Mutex<Vec<u8>>, faces: Vec<UdpSocket>) {
    loop {
        let bytes = wrong.lock().unwrap().clone();
        if !bytes.is_empty() {
            faces.iter().for_each(|face| send(face, &bytes));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn send(face: &UdpSocket, bytes: &[u8]) {
    // What the system does not take is lost, as anything may be.
    let _ = face.send_to(bytes, (GROUP, PORT));
}

fn socket() -> Socket {
    Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap()
}

fn face(i: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + i)
}

fn is_face(ip: IpAddr) -> bool {
    (0..FACES).any(|i| ip == face(i))
}

#[test]
fn a_hostile_member_of_the_group_does_not_keep_the_others_from_finding_each_other() {
    if !netns::available() {
        return;
    }
    const HONEST: usize = 4;
    let lan = Lan::new(HONEST as u8 + 1, 24);
    for i in 0..FACES {
        lan.hosts[HONEST].ip(&format!("addr add {}/24 dev eth0", face(i)));
    }
    let hostile = lan.hosts[HONEST].run("hostile", "");
    hostile.expect("ready", PATIENCE);
    let honest: Vec<Host> = lan.hosts[..HONEST]
        .iter()
        .map(|host| host.run("cluster", &format!("1 {HONEST}")))
        .collect();
    let begun = Instant::now();
    let mut counted = String::new();
    for node in &honest {
        counted += &node.expect("all", PATIENCE);
    }
    println!("all found each other after {:?}; counted: {counted}", begun.elapsed());
    for verdict in ["stale", "bad-signature", "source-rate"] {
        assert!(counted.contains(&format!("\"{verdict}\"")), "{verdict} is not in {counted}");
    }
}

#[test]
fn groups_that_formed_apart_merge_without_peer_exchange() {
    if !netns::available() {
        return;
    }
    // Each of nine is connected to eight, and needs nobody.
    const EACH: usize = 9;
    let lan = Lan::new(2, 24);
    let ips = ["10.77.0.1", "10.77.0.2"];
    lan.hosts[0].cut_off(Some(&ips[1..]));
    lan.hosts[1].cut_off(Some(&ips[..1]));
    let args = format!("{EACH} {}", 2 * EACH);
    let groups: Vec<Host> = lan.hosts.iter().map(|host| host.run("cluster", &args)).collect();
    for group in &groups {
        assert_eq!(group.expect("full", PATIENCE), EACH.to_string(), "they were not apart");
    }
    // Until the searches of the start are over.
    std::thread::sleep(Duration::from_secs(35));
    lan.hosts.iter().for_each(|host| host.cut_off(None));
    let begun = Instant::now();
    for group in &groups {
        group.expect("all", Duration::from_secs(300));
    }
    println!("merged after {:?}", begun.elapsed());
}
