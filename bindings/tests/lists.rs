//! Allow and deny lists over real nodes, which listen on the loopback interface only.

use casm_bindings::{
    Dispatcher, Error, ErrorKind, Event, LeaveReason, Node, Options, Query, Result, block,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    block("the test", future, Some(PATIENCE), || Ok(()))
}

fn options() -> Options {
    Options {
        namespace: Some("lists".into()),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec!["none".into()]),
        ..Options::default()
    }
}

fn start(options: Options) -> Result<Node> {
    wait(Node::start(options, Dispatcher::default()))
}

/// The kind of an error whose message names this.
fn kind<T>(result: Result<T>, named: &str) -> ErrorKind {
    let error = result.err().expect("an error");
    assert!(error.message().contains(named), "{error} does not name {named}");
    error.kind()
}

#[test]
fn a_peer_that_is_denied_leaves_the_view_and_comes_back_when_it_is_not() {
    let (node, other) = (start(options()).unwrap(), start(options()).unwrap());
    let both = |node: &Node| wait(node.wait_for(Query::all(), 2)).unwrap();
    wait(node.connect(other.addrs().unwrap())).unwrap();
    both(&node);
    let events = node.events().unwrap();
    let denied = [other.id().to_owned()];
    node.deny(&denied).unwrap();
    assert_eq!(node.denied().unwrap(), denied);
    // It leaves the view, and its connection is closed.
    let (mut left, mut disconnected) = (None, false);
    while left.is_none() || !disconnected {
        for event in wait(events.next_batch()).unwrap() {
            match event {
                Event::PeerLeft { peer, reason } if peer.to_base58() == other.id() => {
                    left = Some(reason);
                }
                Event::Disconnected { peer } => disconnected |= peer.to_base58() == other.id(),
                _ => {}
            }
        }
    }
    assert_eq!((left, node.view().unwrap().len()), (Some(LeaveReason::Left), 1));
    assert_eq!(
        kind(wait(node.connect(other.addrs().unwrap())), other.id()),
        ErrorKind::Unreachable
    );
    node.undeny(&denied).unwrap();
    both(&node);
    assert!(node.denied().unwrap().is_empty());
    for node in [node, other] {
        wait(node.close(None, false)).unwrap();
    }
}

#[test]
fn the_lists_are_what_the_calls_and_the_options_make_them() {
    let other = start(options()).unwrap();
    let id = [other.id().to_owned()];
    let lists = Options { allow: id.to_vec(), deny: id.to_vec(), ..options() };
    let node = start(lists).unwrap();
    assert_eq!((node.allowed().unwrap(), node.denied().unwrap()), (Some(id.to_vec()), id.to_vec()));
    node.disallow(&id).unwrap();
    // Nobody, which is not everybody.
    assert_eq!(node.allowed().unwrap(), Some(vec![]));
    node.allow_all().unwrap();
    assert_eq!(node.allowed().unwrap(), None);
    node.allow(&id).unwrap();
    node.set_allowed(&[]).unwrap();
    assert_eq!(node.allowed().unwrap(), Some(vec![]));
    node.set_denied(&[]).unwrap();
    assert!(node.denied().unwrap().is_empty());
}

#[test]
fn what_is_no_id_and_the_own_id_are_refused_and_named() {
    let node = start(options()).unwrap();
    let bad = [node.id().to_owned(), "me".to_owned()];
    type Call = fn(&Node, &[String]) -> Result<()>;
    let calls: [(&str, Call); 6] = [
        ("allow", Node::allow),
        ("disallow", Node::disallow),
        ("set_allowed", Node::set_allowed),
        ("deny", Node::deny),
        ("undeny", Node::undeny),
        ("set_denied", Node::set_denied),
    ];
    for (name, call) in calls {
        assert_eq!(kind(call(&node, &bad), &format!("{name}: peer id \"me\"")), ErrorKind::Address);
    }
    for call in [Node::deny, Node::set_denied] {
        assert_eq!(kind(call(&node, &bad[..1]), node.id()), ErrorKind::Config);
    }
    assert_eq!((node.allowed().unwrap(), node.denied().unwrap()), (None, vec![]));
    for (field, options) in [
        ("allow: peer id \"me\"", Options { allow: vec!["me".into()], ..options() }),
        ("deny: peer id \"me\"", Options { deny: vec!["me".into()], ..options() }),
    ] {
        assert_eq!(kind(start(options), field), ErrorKind::Address);
    }
    wait(node.close(None, false)).unwrap();
    for (_, call) in calls {
        assert_eq!(kind(call(&node, &[]), "closed"), ErrorKind::Closed);
    }
    let errors: [Option<Error>; 3] =
        [node.allow_all().err(), node.allowed().err(), node.denied().err()];
    assert!(errors.into_iter().all(|e| e.unwrap().kind() == ErrorKind::Closed));
}
