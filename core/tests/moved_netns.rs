//! A host whose network goes and comes back as another one, as a phone's does: no
//! call is needed. The waits print what they took.

mod netns;

use casm::{Event, Node, Secret};
use netns::{Host, Lan, say};
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_secs(60);
/// How soon it is seen under its new address once there is a link. The rest is for a
/// machine that has much else to do.
const SEEN: Duration = Duration::from_secs(2 + 6);

#[test]
#[ignore = "a role of the other tests"]
fn role() {
    let Some((role, args)) = netns::role() else { return };
    assert_eq!(role, "member");
    netns::block_on(member(&args));
}

/// `member POWER BOOT [SECRET]`: a node that says `id`, who joins and leaves, which addresses
/// a record has that is another one than before, where it listens, and at which
/// address each connection has its other end.
async fn member(args: &[String]) {
    let power = args[0].parse().unwrap();
    let builder = Node::builder().namespace("lan").power(power).boot([&args[1]]);
    let builder = match args.get(2) {
        Some(secret) => builder.secret(Secret::from_bytes([secret.parse().unwrap(); 32])),
        None => builder,
    };
    let builder = builder.ttl(Duration::from_secs(4));
    let mut events = builder.events();
    let node = builder.start().await.unwrap();
    say(format!("id {}", node.id()));
    loop {
        match events.next().await.unwrap() {
            Event::PeerLeft { peer, reason } => say(format!("left {peer} {}", reason.name())),
            Event::PeerJoined { record } => say(format!("joined {}", record.peer())),
            Event::PeerUpdated { record } => {
                say(format!("updated {} {:?}", record.peer(), record.addrs()));
            }
            Event::Connected { peer } => {
                let status = node.peer_status(&peer);
                let addrs = status.map(|status| status.addrs).unwrap_or_default();
                say(format!("connected {peer} {addrs:?}"));
            }
            Event::Listening { addrs, .. } => say(format!("listening {addrs:?}")),
            _ => {}
        }
    }
}

/// Waits for a line that begins with this and has this in it.
fn says_with(host: &Host, start: &str, ip: &str, within: Duration) {
    let begun = Instant::now();
    while !host.expect(start, within.saturating_sub(begun.elapsed())).contains(ip) {}
}

/// The first host's Wi-Fi: to none, for so long, and to another address.
fn from_wifi_to_none_to_another(power: &str, boot: &str, without: Duration) {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(2, 24);
    let moving = lan.hosts[0].run("member", &format!("{power} {boot}"));
    let staying = lan.hosts[1].run("member", &format!("{power} {boot}"));
    let ids = [&moving, &staying].map(|host| host.expect("id", SLOW));
    staying.expect(&format!("joined {}", ids[0]), SLOW);
    moving.expect(&format!("joined {}", ids[1]), SLOW);

    let phone = &lan.hosts[0];
    phone.ip("link set eth0 down");
    phone.ip("addr flush dev eth0");
    let begun = Instant::now();
    staying.expect(&format!("left {} expired", ids[0]), SLOW);
    std::thread::sleep(without.saturating_sub(begun.elapsed()));
    phone.ip("addr add 10.77.0.101/24 dev eth0");
    phone.ip("link set eth0 up");
    let begun = Instant::now();
    staying.expect(&format!("joined {}", ids[0]), SEEN);
    println!("seen again after {:?}", begun.elapsed());
    // It had dropped the other one too.
    moving.expect(&format!("joined {}", ids[1]), SEEN);
    // Another one that comes finds it in the group, under the new address.
    drop(staying);
    moving.expect(&format!("left {}", ids[1]), SLOW);
    let third = lan.hosts[1].run("member", &format!("{power} {boot}"));
    third.expect("id", SLOW);
    says_with(&third, &format!("connected {}", ids[0]), "10.77.0.101", SLOW);
}

const GROUP: &str = "/ip4/228.8.8.8/udp/8822/multicast/eth0";

#[test]
fn a_phone_that_changes_its_network_is_seen_again_at_once() {
    from_wifi_to_none_to_another("normal", GROUP, Duration::from_secs(8));
}

/// When the others have given its connections up, and the pauses between its
/// searches have grown.
#[test]
fn a_phone_that_was_without_network_for_long_is_seen_again_at_once() {
    from_wifi_to_none_to_another("low", "auto", Duration::from_secs(30));
}

/// Nothing is down in between: the old connections look alive.
#[test]
fn a_host_whose_address_is_swapped_is_seen_under_the_new_one() {
    with_another_address("");
}

#[test]
fn a_host_of_a_private_cluster_whose_address_is_swapped_is_seen_under_the_new_one() {
    with_another_address("7");
}

fn with_another_address(secret: &str) {
    if !netns::available() {
        return;
    }
    let lan = Lan::new(2, 24);
    let [moving, staying] =
        [0, 1].map(|host| lan.hosts[host].run("member", &format!("normal {GROUP} {secret}")));
    let ids = [&moving, &staying].map(|host| host.expect("id", SLOW));
    staying.expect(&format!("joined {}", ids[0]), SLOW);
    moving.expect(&format!("joined {}", ids[1]), SLOW);
    // IPv6 would do as well.
    lan.hosts[0].ip("-6 addr flush dev eth0");
    lan.hosts[0].ip("addr flush dev eth0");
    lan.hosts[0].ip("addr add 10.77.0.101/24 dev eth0");
    let begun = Instant::now();
    says_with(&staying, &format!("updated {}", ids[0]), "10.77.0.101", SEEN);
    println!("seen under the new address after {:?}", begun.elapsed());
    std::thread::sleep(Duration::from_secs(6));
    // Nobody was dropped, though the TTL is over: it went on under the new address.
    assert_eq!(staying.rest("left"), Vec::<String>::new());
    assert_eq!(moving.rest("left"), Vec::<String>::new());
}
