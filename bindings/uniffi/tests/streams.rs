//! Exported byte streams, over real nodes on the loopback interface.

use casm_uniffi::{ByteStream, CasmError, Config, ListenerError, Node, StreamListener};
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

const PATIENCE: Option<f64> = Some(60.0);

fn node() -> Node {
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        boot: Some(vec!["none".into()]),
        ..Config::default()
    };
    Node::start(config, PATIENCE, None).unwrap()
}

/// Sends on the streams it is given, but for the first.
struct Streams(mpsc::Sender<(Arc<ByteStream>, String)>, std::sync::atomic::AtomicBool);

impl StreamListener for Streams {
    fn on_stream(&self, stream: Arc<ByteStream>, peer: String) -> Result<(), ListenerError> {
        if !self.1.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return Err(ListenerError::Failed { reason: "on purpose".into() });
        }
        let _ = self.0.send((stream, peer));
        Ok(())
    }
}

#[test]
fn bytes_go_both_ways_and_a_listener_that_fails_resets_its_stream() {
    let (a, b) = (node(), node());
    let (sender, came) = mpsc::channel();
    let listener = Arc::new(Streams(sender, false.into()));
    let subscription = b.on_stream("/x/1".into(), listener).unwrap();

    let refused = a.open_stream(b.addrs().unwrap(), "/x/1".into(), PATIENCE).unwrap();
    let broken = refused.read(1, PATIENCE).unwrap_err();
    assert!(matches!(broken, CasmError::Unreachable(_)), "{broken}");
    assert_eq!(subscription.failed(), 1);

    let here = a.open_stream(vec![b.id()], "/x/1".into(), PATIENCE).unwrap();
    let (there, peer) = came.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((peer, here.peer(), there.protocol()), (a.id(), b.id(), "/x/1".into()));
    let late = there.read(1, Some(0.02)).unwrap_err();
    assert!(matches!(late, CasmError::Timeout(_)), "{late}");
    here.write(b"hello".to_vec(), PATIENCE).unwrap();
    here.close_write(PATIENCE).unwrap();
    assert_eq!(there.read(100, PATIENCE).unwrap(), b"hello");
    assert!(there.read(100, PATIENCE).unwrap().is_empty());
    there.write(b"bye".to_vec(), PATIENCE).unwrap();
    there.close(PATIENCE).unwrap();
    assert!(there.closed() && !here.closed());
    assert_eq!(here.read(100, PATIENCE).unwrap(), b"bye");
    here.reset();
    assert!(matches!(here.read(1, PATIENCE).unwrap_err(), CasmError::Closed(_)));

    subscription.cancel();
    a.close(PATIENCE, None, false).unwrap();
    b.close(PATIENCE, None, false).unwrap();
    let closed = a.open_stream(vec![b.id()], "/x/1".into(), PATIENCE).err().unwrap();
    assert!(matches!(closed, CasmError::Closed(_)), "{closed}");
}
