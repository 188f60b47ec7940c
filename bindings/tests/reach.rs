//! Whether others can reach a node, and relays, over real nodes, which listen on the
//! loopback interface only.

use casm_bindings::{
    Dispatcher, Error, ErrorKind, Node, Options, Query, RelayLimitOptions, Result, block,
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

#[test]
fn a_relay_connects_as_any_node_does() {
    let limits = RelayLimitOptions { circuits: Some(4), ..RelayLimitOptions::default() };
    let relay = start(relaying(limits)).unwrap();
    let node = start(Options { use_relays: Some(false), ..options() }).unwrap();
    wait(node.connect(relay.addrs().unwrap())).unwrap();
    assert!(wait(node.wait_for(Query::all(), 2)).unwrap().len() == 2);
    for node in [relay, node] {
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
