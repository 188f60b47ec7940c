//! Topics of real nodes, which listen on the loopback interface only.

use casm_uniffi::{
    CasmError, Config, ListenerError, Message, MessageListener, Node, Query, SubscribeOptions,
    TopicOptions,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

const PATIENCE: Option<f64> = Some(60.0);

fn node(boot: &str) -> Node {
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec![boot.into()]),
        ..Config::default()
    };
    Node::start(config, PATIENCE, None).unwrap()
}

/// Sends on what it is told, having failed at the first call.
struct Flaky(mpsc::Sender<Message>, AtomicBool);

impl MessageListener for Flaky {
    fn on_message(&self, message: Message) -> Result<(), ListenerError> {
        if !self.1.swap(true, Ordering::Relaxed) {
            return Err(ListenerError::Failed { reason: "it is to be counted".into() });
        }
        let _ = self.0.send(message);
        Ok(())
    }
}

#[test]
fn what_is_published_is_pulled_and_told() {
    let first = node("none");
    let second = node(&first.addrs().unwrap()[0]);
    let topic = first.topic("news".into(), TopicOptions::default()).unwrap();
    let theirs = second.topic("news".into(), TopicOptions::default()).unwrap();
    assert_eq!(topic.name(), "news");
    assert_eq!(topic.full_name(), "/casm/1.0.0/casm/topic/news");
    assert_eq!(topic.wait_for_peers(1, PATIENCE).unwrap(), [second.id()]);
    let (sender, told) = mpsc::channel();
    let flaky = Arc::new(Flaky(sender, AtomicBool::new(false)));
    let subscription = theirs.on_message(flaky, SubscribeOptions::default()).unwrap();
    let messages = theirs.subscribe(SubscribeOptions::default()).unwrap();
    for data in [b"lost", b"told"] {
        assert_eq!(topic.publish(data.to_vec(), PATIENCE).unwrap(), 1);
        let message = messages.next(PATIENCE).unwrap().unwrap();
        assert_eq!((message.source, message.data), (first.id(), data.to_vec()));
    }
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap().data, b"told");
    assert_eq!((subscription.failed(), subscription.dropped(), messages.dropped()), (1, 0, 0));
    subscription.cancel();
    assert_eq!(topic.peers().unwrap(), [second.id()]);
    theirs.close();
    assert!(matches!(theirs.peers(), Err(CasmError::Closed(_))));
    second.close(PATIENCE, None, false).unwrap();
    assert!(messages.next(PATIENCE).unwrap().is_none());
    first.close(PATIENCE, None, false).unwrap();
    assert!(matches!(topic.publish(vec![], None), Err(CasmError::Closed(_))));
}

#[test]
fn what_is_wrong_is_named() {
    let node = node("none");
    let wrong = [
        ("a/b", TopicOptions::default(), "another character"),
        ("/casm/x", TopicOptions { exact: true, ..TopicOptions::default() }, "CASM's own"),
        ("a", TopicOptions { max_data: Some(0), ..TopicOptions::default() }, "max_data"),
        (
            "a",
            TopicOptions {
                accept: Some(Query { matching: Some("x".into()), ..Query::default() }),
                ..TopicOptions::default()
            },
            "query",
        ),
    ];
    for (name, options, said) in wrong {
        let error = node.topic(name.into(), options).err().unwrap();
        assert!(matches!(error, CasmError::Config(_)), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let topic = node.topic("a".into(), TopicOptions::default()).unwrap();
    let options = SubscribeOptions { full: Some("block".into()), ..SubscribeOptions::default() };
    assert!(matches!(topic.subscribe(options), Err(CasmError::Config(_))));
    node.close(PATIENCE, None, false).unwrap();
}
