//! Peers that want all there is, or never come to an end.

use super::{
    encoding::Encoding,
    limits::Limits,
    metrics::RpcMetrics,
    network::Network,
    tests::{
        Encoder, Numbers, bootstrap, consume, limits, on_local, on_paused, pipe, serve_view, settle,
    },
    thread::Local,
};
use crate::schema::cluster_capnp::view;
use capnp::{
    message::{Builder, HeapAllocator},
    traits::HasTypeId,
};
use capnp_rpc::{
    RpcSystem, new_client,
    rpc_capnp::{exception, message},
    rpc_twoparty_capnp::Side,
};
use futures::AsyncWriteExt;
use std::{cell::Cell, rc::Rc};
use tokio::{
    io::DuplexStream,
    task::{JoinHandle, spawn_local},
    time::{Duration, Instant},
};
use tokio_util::compat::Compat;

/// Never answers, and counts its calls under way.
#[derive(Clone, Default)]
struct Never(Rc<Cell<usize>>);

struct Waiting(Rc<Cell<usize>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Never {
    async fn wait(&self) -> capnp::Result<()> {
        self.0.set(self.0.get() + 1);
        let _waiting = Waiting(self.0.clone());
        std::future::pending().await
    }
}

impl view::Server for Never {
    async fn reverse(
        self: Rc<Self>,
        _: view::ReverseParams,
        _: view::ReverseResults,
    ) -> capnp::Result<()> {
        self.wait().await
    }

    async fn iter(
        self: Rc<Self>,
        params: view::IterParams,
        _: view::IterResults,
    ) -> capnp::Result<()> {
        // What was brought is held as long as the call is under way.
        let _params = params;
        self.wait().await
    }
}

impl view::handler::Server for Never {
    async fn recv(self: Rc<Self>, _: view::handler::RecvParams) -> capnp::Result<()> {
        self.wait().await
    }
}

fn serve(stream: Compat<DuplexStream>, local: &Local, object: Never) -> JoinHandle<()> {
    let network = Network::new(stream, Encoding::Plain, Side::Server, local);
    let object: view::Client = new_client(object);
    let system = RpcSystem::new(Box::new(network), Some(object.client));
    spawn_local(async move { drop(system.await) })
}

#[test]
fn a_call_that_is_never_answered_ends_its_stream() {
    on_paused(async {
        let (a, b) = pipe(1024);
        let never = Never::default();
        let served = serve(a, &Local::new(limits(), RpcMetrics::default()), never.clone());
        let client =
            consume(b, Encoding::Plain, &Limits { call: Duration::from_secs(1 << 20), ..limits() });
        let begun = Instant::now();
        let error = client.reverse_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected, "{error}");
        let after = begun.elapsed();
        assert!(after >= limits().call && after < limits().call * 2, "{after:?}");
        served.await.unwrap();
        assert_eq!(never.0.get(), 0, "the call was called off");
    });
}

#[test]
fn a_handler_that_answers_nothing_is_given_up() {
    on_paused(async {
        let (a, b) = pipe(1 << 16);
        let numbers: view::Client = new_client(Numbers::default());
        let served = serve_view(a, Encoding::Plain, numbers);
        let client = consume(b, Encoding::Plain, &limits());
        let never = Never::default();
        let mut request = client.iter_request();
        request.get().set_handler(new_client(never.clone()));
        request.get().init_selector().set_all(());
        request.get().init_constraints(1).get(0).set_limit(u64::MAX);
        let begun = Instant::now();
        let error = request.send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Overloaded, "{error}");
        let after = begun.elapsed();
        assert!(after >= limits().stall && after < limits().stall * 2, "{after:?}");
        // The stream serves others as before.
        assert!(!served.is_finished());
        client.reverse_request().send().promise.await.unwrap();
    });
}

#[test]
fn many_streams_together_hold_no_more_than_the_budget() {
    on_local(async {
        let total = 4 << 20;
        let local = Local::new(Limits { total_bytes: total, ..limits() }, RpcMetrics::default());
        let never = Never::default();
        let mut hostile = Vec::new();
        for n in 0..64 {
            let (a, mut b) = pipe(1 << 20);
            let task = serve(a, &local, never.clone());
            let (mut encoder, mut bytes) = (Encoder::new(Encoding::Plain), Vec::new());
            encoder.encode(&bootstrap(0), &mut bytes).unwrap();
            if n % 2 == 0 {
                // Calls that are held, of 50 KiB each.
                for call in 1..=20 {
                    encoder.encode(&padded(call), &mut bytes).unwrap();
                }
            } else {
                // A message of 1 MiB less 8 bytes, of which the last never come.
                bytes.extend([0u8, 0, 0, 0, 0xff, 0xff, 1, 0]);
                bytes.resize(bytes.len() + (1 << 20) - 64, 0);
            }
            hostile.push((
                spawn_local(async move {
                    let _ = b.write_all(&bytes).await;
                    b
                }),
                task,
            ));
        }
        let mut writers = Vec::new();
        for (writer, task) in hostile {
            writers.push((writer.await.unwrap(), task));
        }
        settle(|| local.budget.used() as u64).await;
        let used = local.budget.used();
        println!("{used} bytes of {total}");
        // Each may be over its share by one message that was under way.
        assert!(used > total / 8 && used <= total + (2 << 20), "{used}");

        // Somebody else is served.
        let (a, b) = pipe(1024);
        let _served = serve(a, &local, never.clone());
        let client = consume(b, Encoding::Plain, &limits());
        let calls = never.0.get();
        let call =
            spawn_local(async move { client.reverse_request().send().promise.await.is_ok() });
        while never.0.get() == calls {
            tokio::task::yield_now().await;
        }
        call.abort();
        drop(writers);
        while local.budget.used() >= 64 << 10 {
            tokio::task::yield_now().await;
        }
    });
}

/// A call of `View.iter` that is held, with 50 KiB that nobody reads.
fn padded(question: u32) -> Builder<HeapAllocator> {
    let mut message = Builder::new_default();
    let mut call = message.init_root::<message::Builder>().init_call();
    call.set_question_id(question);
    call.set_interface_id(view::Client::TYPE_ID);
    call.set_method_id(1);
    call.reborrow().init_target().init_promised_answer().set_question_id(0);
    let content = call.init_params().init_content();
    content.init_as::<view::iter_params::Builder>().init_constraints(3 << 10);
    message
}

/// Each byte was a sign of life, so that what came of a message was held for as
/// long as its sender liked.
#[test]
fn a_message_of_which_a_byte_comes_now_and_then_ends_its_stream() {
    on_paused(async {
        let (a, mut slow) = pipe(64 << 10);
        let metrics = RpcMetrics::default();
        let served = serve(a, &Local::new(limits(), metrics.clone()), Never::default());
        let (mut encoder, mut bytes) = (Encoder::new(Encoding::Plain), Vec::new());
        // Whole ones take no time.
        encoder.encode(&bootstrap(0), &mut bytes).unwrap();
        slow.write_all(&bytes).await.unwrap();
        tokio::time::sleep(limits().stall * 3).await;
        assert!(!served.is_finished());
        let begun = Instant::now();
        for byte in &bytes[..bytes.len() - 1] {
            if slow.write_all(&[*byte]).await.is_err() || served.is_finished() {
                break;
            }
            tokio::time::sleep(limits().stall / 8).await;
        }
        served.await.unwrap();
        let after = begun.elapsed();
        assert!((limits().stall..limits().stall * 2).contains(&after), "{after:?}");
    });
}

/// `overloaded` would say of the calls under way that they have not begun.
#[test]
fn what_ends_a_stream_says_of_no_call_that_it_has_not_begun() {
    on_local(async {
        // The stream is ended where it is served, for want of room for a message.
        let (a, b) = pipe(1024);
        let tight = Local::new(Limits { total_bytes: 16 << 10, ..limits() }, RpcMetrics::default());
        let never = Never::default();
        let _served = serve(a, &tight, never.clone());
        let client = consume(b, Encoding::Plain, &limits());
        let begun = client.reverse_request().send().promise;
        let begun = spawn_local(async move { begun.await.err().unwrap().kind });
        while never.0.get() == 0 {
            tokio::task::yield_now().await;
        }
        let mut large = client.iter_request();
        large.get().init_constraints(3 << 10);
        let error = large.send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected, "{error}");
        assert_eq!(begun.await.unwrap(), capnp::ErrorKind::Disconnected);

        // Whatever the peer calls it.
        let (mut a, b) = pipe(1024);
        let client = consume(b, Encoding::Plain, &limits());
        let called = spawn_local(async move { client.reverse_request().send().promise.await });
        let (mut message, mut bytes) = (Builder::new_default(), Vec::new());
        let mut abort = message.init_root::<message::Builder>().init_abort();
        abort.set_type(exception::Type::Overloaded);
        abort.set_reason("too much to do");
        Encoder::new(Encoding::Plain).encode(&message, &mut bytes).unwrap();
        a.write_all(&bytes).await.unwrap();
        let error = called.await.unwrap().err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected, "{error}");
        assert!(error.to_string().contains("too much to do"), "{error}");
    });
}
