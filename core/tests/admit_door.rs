//! Strangers that connect to a member again and again, over loopback sockets.

mod raw;

use casm::{
    Keypair, Node,
    admit::{Certificate, Terms, unix_seconds},
};
use std::time::{Duration, Instant, SystemTime};

const NS: &str = "orchard";
/// How many handshakes a network may waste at once; then two a second.
const BURST: u64 = 32;
/// How often the stranger comes.
const TRIES: u64 = 150;

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within 60 s: {what}"));
}

async fn member(key: &Keypair, ca: &Keypair, listen: &str) -> Node {
    let issued = unix_seconds(SystemTime::now()) - 10;
    let terms = Terms {
        peer: key.public().to_peer_id(),
        namespace: NS.parse().unwrap(),
        roles: vec![],
        not_before: issued,
        not_after: issued + 3600,
        issued,
        serial: rand::random(),
    };
    let builder = Node::builder().namespace(NS).boot(["none"]).pex(None).listen(listen);
    let builder = builder.key(key.clone()).admit([ca.public().to_peer_id()]);
    builder.certificate(Certificate::sign(ca, terms).unwrap()).start().await.unwrap()
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.metrics().encode();
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_ends_at_the_gate_is_charged_to_the_network_it_came_from() {
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let [ca, one, other] = std::array::from_fn(|_| Keypair::generate_ed25519());
        let [one, other] = [member(&one, &ca, listen).await, member(&other, &ca, listen).await];
        one.connect(&other.info()).await.unwrap();
        let addr = one.info().addrs[0].clone();
        let began = Instant::now();
        for nth in 0..TRIES {
            let key = Keypair::generate_ed25519();
            let mut transport = raw::transport(&key, &addr);
            // What comes of it is for the member to say.
            let dial = tokio::time::timeout(Duration::from_secs(1), async {
                let (_, mut muxer) = raw::dial(&mut transport, &addr).await.ok()?;
                let mut stream = raw::open(&mut muxer).await?;
                let told = raw::read_to_end(&mut stream, Duration::from_millis(1));
                raw::on(&mut muxer, told).await
            });
            let _ = dial.await;
            if nth >= BURST
                && metric(&one, "casm_strangers_refused_total{reason=\"no-handshake\"}") > 20
            {
                break;
            }
        }
        until("no handshake is begun any more", || {
            metric(&one, "casm_strangers_refused_total{reason=\"no-handshake\"}") > 20
        })
        .await;
        let (gate, took) = (metric(&one, "casm_admit_refused_total{"), began.elapsed());
        println!("{listen}: {gate} handshakes in {took:?}");
        // One may have been under way each time that it was looked.
        assert!(gate >= BURST && gate <= BURST + 2 * took.as_secs() + 4, "{gate} in {took:?}");
        assert!(one.connected().contains(&other.id()));
        for node in [one, other] {
            node.close().await.unwrap();
        }
    }
}
