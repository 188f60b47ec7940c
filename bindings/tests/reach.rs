//! Whether others can reach a node, and relays, over real nodes, which listen on the
//! loopback interface only.

use casm_bindings::{
    Dispatcher, Error, ErrorKind, Event, Events, Node, Options, RelayLimitOptions, Result, Stream,
    block,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    block("the test", future, Some(PATIENCE), || Ok(()))
}

fn options() -> Options {
    Options {
        namespace: Some("reach".into()),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec!["none".into()]),
        ..Options::default()
    }
}

fn start(options: Options) -> Result<Node> {
    wait(Node::start(options, Dispatcher::default()))
}

fn relaying(relay_limits: RelayLimitOptions) -> Options {
    Options { relay: true, relay_limits: Some(relay_limits), ..options() }
}

/// What a node knows of its reachability, by the names that languages have.
fn known(node: &Node) -> (&'static str, Vec<(String, &'static str)>) {
    let known = node.reachability().unwrap();
    let addrs = known.addrs.iter().map(|a| (a.addr.to_string(), a.found.name()));
    (known.reach.name(), addrs.collect())
}

#[test]
fn who_announces_an_address_is_public_and_of_others_nothing_is_known() {
    let mapped = "/ip4/203.0.113.7/tcp/4001".to_owned();
    let node = start(Options { announce: vec![mapped.clone()], ..options() }).unwrap();
    assert_eq!(known(&node), ("public", vec![(mapped, "announced")]));
    let fresh = start(options()).unwrap();
    assert_eq!(known(&fresh), ("unknown", vec![]));
    for node in [node, fresh] {
        wait(node.close(None, false)).unwrap();
        assert_eq!(node.reachability().err().map(|e| e.kind()), Some(ErrorKind::Closed));
    }
}

/// One that others can't reach at an address that a relay knows: it comes there over TCP,
/// and listens on QUIC alone.
fn hidden(namespace: &str, use_relays: Option<bool>) -> Node {
    let listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()];
    let namespace = Some(namespace.into());
    start(Options { listen, namespace, use_relays, ..options() }).unwrap()
}

/// Waits for an event.
fn told<T>(events: &Stream<Events>, is_it: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let batch = wait(events.next_batch()).unwrap();
        assert!(!batch.is_empty(), "the events ended");
        if let Some(it) = batch.into_iter().find_map(&is_it) {
            return it;
        }
    }
}

#[test]
fn a_peer_is_reached_over_a_relay_unless_it_uses_none() {
    let limits = RelayLimitOptions { circuits: Some(4), ..RelayLimitOptions::default() };
    let relay = start(relaying(limits)).unwrap();
    // Each in another namespace: they don't hear of each other, nor meet over QUIC.
    let (alone, node) = (hidden("alone", Some(false)), hidden("reach", None));
    let other = start(Options { namespace: Some("other".into()), ..options() }).unwrap();
    let (changes, events) = (node.events().unwrap(), other.events().unwrap());
    for node in [&alone, &node] {
        wait(node.connect(relay.addrs().unwrap())).unwrap();
    }
    let at = told(&changes, |event| {
        let Event::ReachabilityChanged { reachability } = event else { return None };
        let at = reachability.addrs.iter().find(|at| at.found.name() == "relay")?;
        assert_eq!(reachability.reach.name(), "private");
        Some(format!("{}/p2p/{}", at.addr, node.id()))
    });
    assert!(at.contains(&format!("{}/p2p-circuit", relay.id())), "{at}");
    wait(other.connect(at)).unwrap();
    told(&events, |event| match event {
        Event::Relayed { peer } => (peer.to_base58() == node.id()).then_some(()),
        _ => None,
    });
    // It was there before, and asked for nothing.
    assert_eq!(known(&alone).1, vec![]);
    for node in [relay, alone, node, other] {
        wait(node.close(None, false)).unwrap();
    }
}

#[test]
fn limits_of_a_relay_that_cannot_be_are_refused_with_the_field_and_the_value() {
    let refused = |options: Options| -> Error { start(options).err().expect("an error") };
    let none = RelayLimitOptions::default;
    for (wrong, said) in [
        (RelayLimitOptions { reservations: Some(0), ..none() }, "relay.reservations: 0"),
        (RelayLimitOptions { circuits: Some(4097), ..none() }, "relay.circuits: 4097"),
        (RelayLimitOptions { circuit_bytes: Some(1), ..none() }, "relay.circuit_bytes: 1"),
        (
            RelayLimitOptions { circuit_time: Some(Duration::from_secs(9)), ..none() },
            "relay.circuit_time: 9s",
        ),
    ] {
        let error = refused(relaying(wrong));
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(said), "{error}");
    }
    let error = refused(Options { relay_limits: Some(none()), ..options() });
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("relay: false"), "{error}");
}
