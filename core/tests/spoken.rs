//! What a node says that it speaks, to a peer of libp2p on the loopback interface, and
//! what it asks there. Without a secret, certificates and lists nothing of these is in it.

mod certified;

use casm::{Multiaddr, Node, NodeBuilder};
use certified::{TCP, key, soon};
use futures::StreamExt;
use libp2p::{Swarm, SwarmBuilder, identify, noise, swarm::SwarmEvent, tcp, yamux};
use std::{collections::BTreeSet, time::Duration};

/// What every node speaks, in the namespace `casm`.
const ALL: &[&str] = &[
    "/casm/0.0.0/casm/pex",
    "/casm/0.0.0/casm/svc",
    "/casm/0.0.0/casm/view",
    "/casm/0.0.0/casm/view/lz4",
    "/casm/0.0.0/casm/view/packed",
    "/casm/0.0.0/casm/view/packed/lz4",
    "/casm/1.0.0/casm/sync/2",
    "/ipfs/id/1.0.0",
    "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
    "/meshsub/1.0.0",
    "/meshsub/1.1.0",
    "/meshsub/1.2.0",
];
/// What one that can use relays speaks as well: it takes what a relay brings, and dials
/// by which it is tried.
const USES: &[&str] = &["/libp2p/circuit/relay/0.2.0/stop", "/libp2p/autonat/2/dial-back"];
/// What a relay speaks in the place of that.
const RELAYS: &[&str] = &["/libp2p/circuit/relay/0.2.0/hop", "/libp2p/autonat/2/dial-request"];

/// What a node says by identify, until it is this; or after ten seconds whatever it was.
async fn spoken(node: &Node, expected: &BTreeSet<String>) -> BTreeSet<String> {
    let mut swarm: Swarm<identify::Behaviour> = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            identify::Behaviour::new(identify::Config::new("other".into(), key.public()))
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let at: Multiaddr = node.info().addrs[0].clone();
    swarm.dial(at).unwrap();
    let mut said = BTreeSet::new();
    let whole = async {
        while said != *expected {
            if let SwarmEvent::Behaviour(identify::Event::Received { info, .. }) =
                swarm.select_next_some().await
            {
                said = info.protocols.iter().map(ToString::to_string).collect();
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), whole).await;
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_speaks_what_is_said_of_it_and_nothing_else() {
    let plain = || Node::builder().listen(TCP).boot(["none"]);
    let cases: [(&str, NodeBuilder, &[&[&str]]); 3] = [
        ("by default", plain(), &[ALL, USES]),
        ("without relays", plain().use_relays(false), &[ALL]),
        ("a relay", plain().relay(true), &[ALL, RELAYS]),
    ];
    for (what, builder, expected) in cases {
        let node = builder.start().await.unwrap();
        let expected = expected.iter().flat_map(|some| some.iter()).map(ToString::to_string);
        let expected: BTreeSet<String> = expected.collect();
        assert_eq!(spoken(&node, &expected).await, expected, "{what}");
        node.close().await.unwrap();
    }
}

/// The vector of this name of those in the specification.
fn datagram(name: &str) -> Vec<u8> {
    let vectors = include_str!("../../docs/spec/vectors/boot.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let mut packets = vectors["packets"].as_array().unwrap().iter();
    let hex = packets.find(|packet| packet["name"] == name).unwrap()["hex"].as_str().unwrap();
    let byte = |n: usize| u8::from_str_radix(&hex[n..n + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_cluster_is_asked_for_as_it_always_was() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = format!("/ip4/127.0.0.1/udp/{}", socket.local_addr().unwrap().port());
    let builder = Node::builder().namespace("casm/a.b").key(key(1)).listen(TCP);
    let node = builder.boot([at.as_str()]).serve(["none"]).start().await.unwrap();
    let mut asked = [0; 2048];
    let (n, _) = soon(socket.recv_from(&mut asked)).await.unwrap();
    assert_eq!(asked[..n], datagram("request by ed25519-1, padded"));
    node.close().await.unwrap();
}
