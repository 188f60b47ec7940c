//! Connections over pipes: all encodings, and peers that stall, vanish or mean
//! harm.

pub(crate) use super::{encoding::Encoder, message::Message};
use super::{
    encoding::{Decoder, Encoding},
    limits::Limits,
    metrics::RpcMetrics,
    network::Network,
    outbound::Outbound,
    thread::Local,
};
use crate::schema::cluster_capnp::view;
use capnp::{message::Builder, traits::ImbueMut};
use capnp_rpc::{
    RpcSystem, new_broken_cap, new_client,
    rpc_capnp::{message, return_},
    rpc_twoparty_capnp::Side,
};
use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::DuplexStream,
    task::{JoinHandle, LocalSet, spawn_local},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Serves records with a long host: as many as the limit says.
#[derive(Clone, Default)]
pub(super) struct Numbers {
    objects: Rc<()>,
    sent: Rc<Cell<u64>>,
}

const HOST: usize = 200;

impl view::Server for Numbers {
    async fn iter(
        self: Rc<Self>,
        params: view::IterParams,
        _: view::IterResults,
    ) -> capnp::Result<()> {
        let (handler, limit) = {
            let params = params.get()?;
            let constraint = params.get_constraints()?.get(0).which()?;
            let view::constraint::Limit(limit) = constraint else { panic!("no limit") };
            (params.get_handler()?, limit)
        };
        drop(params);
        for n in 0..limit {
            let mut request = handler.recv_request();
            let mut record = request.get().init_record();
            record.set_seq(n);
            record.init_heartbeat().set_host("h".repeat(HOST).as_str());
            request.send().await?;
            self.sent.set(self.sent.get() + 1);
        }
        Ok(())
    }

    async fn reverse(
        self: Rc<Self>,
        _: view::ReverseParams,
        mut results: view::ReverseResults,
    ) -> capnp::Result<()> {
        results.get().set_view(new_client((*self).clone()));
        Ok(())
    }
}

/// Takes records; waits before each while the gate is shut.
struct Sink {
    seqs: Rc<RefCell<Vec<u64>>>,
    gate: tokio::sync::watch::Receiver<bool>,
}

impl view::handler::Server for Sink {
    async fn recv(self: Rc<Self>, params: view::handler::RecvParams) -> capnp::Result<()> {
        let _ = self.gate.clone().wait_for(|open| *open).await;
        self.seqs.borrow_mut().push(params.get()?.get_record()?.get_seq());
        Ok(())
    }
}

fn local(limits: &Limits) -> Local {
    Local::new(limits.clone(), RpcMetrics::default())
}

pub(crate) fn limits() -> Limits {
    Limits { queued_bytes: 64 << 10, ..Limits::default() }
}

/// Runs on the kind of thread that RPC lives on.
pub(crate) fn on_local<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test hangs")
    });
}

/// The same with a clock that jumps over all waiting.
pub(crate) fn on_paused<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

pub(crate) fn pipe(bytes: usize) -> (Compat<DuplexStream>, Compat<DuplexStream>) {
    let (a, b) = tokio::io::duplex(bytes);
    (a.compat(), b.compat())
}

struct Served {
    numbers: Numbers,
    outbound: Rc<Outbound>,
    metrics: RpcMetrics,
    task: JoinHandle<()>,
}

fn serve(stream: Compat<DuplexStream>, encoding: Encoding, limits: &Limits) -> Served {
    let (numbers, metrics) = (Numbers::default(), RpcMetrics::default());
    let client: view::Client = new_client(numbers.clone());
    let (outbound, task) = serve_object(stream, encoding, limits, client, &metrics);
    Served { numbers, outbound, metrics, task }
}

/// Serves an object on a stream. What is queued can be asked for.
fn serve_object(
    stream: Compat<DuplexStream>,
    encoding: Encoding,
    limits: &Limits,
    client: view::Client,
    metrics: &RpcMetrics,
) -> (Rc<Outbound>, JoinHandle<()>) {
    let network =
        Network::new(stream, encoding, Side::Server, &Local::new(limits.clone(), metrics.clone()));
    let outbound = network.outbound();
    let system = RpcSystem::new(Box::new(network), Some(client.client));
    (outbound, spawn_local(async move { drop(system.await) }))
}

/// Serves a view on a stream.
pub(crate) fn serve_view(
    stream: Compat<DuplexStream>,
    encoding: Encoding,
    client: view::Client,
) -> JoinHandle<()> {
    serve_object(stream, encoding, &limits(), client, &RpcMetrics::default()).1
}

/// The messages in some bytes, and where each ends in them.
pub(crate) fn messages(encoding: Encoding, bytes: &[u8]) -> Vec<(usize, Message)> {
    let mut decoder = Decoder::new(encoding, 1 << 20);
    let mut messages = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        decoder.push(&[*byte]);
        while let Some(message) = decoder.next().unwrap() {
            messages.push((at + 1, message));
        }
    }
    assert_eq!(decoder.end(), Ok(()));
    messages
}

pub(crate) fn consume(
    stream: Compat<DuplexStream>,
    encoding: Encoding,
    limits: &Limits,
) -> view::Client {
    let network = Network::new(stream, encoding, Side::Client, &local(limits));
    let mut system = RpcSystem::new(Box::new(network), None);
    let client = system.bootstrap(Side::Server);
    spawn_local(async move { drop(system.await) });
    client
}

fn iteration(
    client: &view::Client,
    limit: u64,
    gate: &tokio::sync::watch::Sender<bool>,
) -> impl Future<Output = capnp::Result<Vec<u64>>> + use<> {
    let seqs = Rc::new(RefCell::new(Vec::new()));
    let handler: view::handler::Client =
        new_client(Sink { seqs: seqs.clone(), gate: gate.subscribe() });
    let mut request = client.iter_request();
    request.get().set_handler(handler.clone());
    request.get().init_selector().set_all(());
    request.get().init_constraints(1).get(0).set_limit(limit);
    async move {
        request.send().promise.await?;
        // Queues behind the records that have not been taken.
        let barrier = handler
            .client
            .new_call::<capnp::any_pointer::Owned, capnp::any_pointer::Owned>(0, 0, None);
        let _ = barrier.send().promise.await;
        Ok(seqs.take())
    }
}

#[test]
fn calls_and_streams_work_in_every_encoding_through_a_narrow_pipe() {
    on_local(async {
        let (gate, _) = tokio::sync::watch::channel(true);
        for encoding in Encoding::ALL {
            let (a, b) = pipe(64);
            let served = serve(a, encoding, &limits());
            let client = consume(b, encoding, &limits());
            let other = client.reverse_request().send().pipeline.get_view();
            for client in [client, other] {
                let seqs = iteration(&client, 300, &gate).await.unwrap();
                assert_eq!(seqs, (0..300).collect::<Vec<_>>(), "{encoding:?}");
            }
            assert!(!served.task.is_finished());
        }
    });
}

#[test]
fn a_reader_that_stalls_costs_a_bounded_number_of_bytes_and_others_nothing() {
    on_local(async {
        let (gate, _) = tokio::sync::watch::channel(true);
        for encoding in Encoding::ALL {
            let (a, mut stalled) = pipe(1024);
            let served = serve(a, encoding, &limits());
            // 40 endless iterations, of which nothing is ever read.
            let mut encoder = Encoder::new(encoding);
            let mut bytes = Vec::new();
            encoder.encode(&bootstrap(0), &mut bytes).unwrap();
            for n in 1..=40 {
                encoder.encode(&iter(n, u64::MAX), &mut bytes).unwrap();
            }
            stalled.write_all(&bytes).await.unwrap();
            settle(|| served.numbers.sent.get()).await;

            let bound = limits().gate() + 40 * (HOST + 400) + 1024;
            let peak = served.outbound.peak();
            println!("{encoding:?}: {peak} bytes queued at most, bound {bound}");
            assert!(served.outbound.queued() > 0 && peak <= bound);

            let (a, b) = pipe(1024);
            let _other = serve(a, encoding, &limits());
            let client = consume(b, encoding, &limits());
            assert_eq!(iteration(&client, 500, &gate).await.unwrap().len(), 500);
        }
    });
}

#[test]
fn a_thousand_iterations_at_once_are_held_back_together_and_all_end() {
    on_local(async {
        let (gate, _) = tokio::sync::watch::channel(false);
        let (a, b) = pipe(4096);
        let served = serve(a, Encoding::Packed, &limits());
        let client = consume(b, Encoding::Packed, &limits());
        let all: Vec<_> = (0..1000).map(|_| spawn_local(iteration(&client, 20, &gate))).collect();
        // No record is taken: what is under way stays within the window.
        settle(|| served.numbers.sent.get()).await;
        let sent = served.numbers.sent.get();
        println!("{sent} of 20000 records under way, {} bytes queued", served.outbound.peak());
        assert!((1..=3000).contains(&sent), "{sent}");
        gate.send_replace(true);
        for seqs in join_all(all).await {
            assert_eq!(seqs.unwrap().unwrap(), (0..20).collect::<Vec<_>>());
        }
        assert!(served.outbound.peak() <= limits().gate() + 1000 * (HOST + 200));
    });
}

#[test]
fn a_reader_that_vanishes_leaves_nothing_behind() {
    on_local(async {
        let (gate, _) = tokio::sync::watch::channel(true);
        for encoding in Encoding::ALL {
            let (a, b) = pipe(4096);
            let served = serve(a, encoding, &limits());
            let network = Network::new(b, encoding, Side::Client, &local(&limits()));
            let mut system = RpcSystem::new(Box::new(network), None);
            let client: view::Client = system.bootstrap(Side::Server);
            let system = spawn_local(async move { drop(system.await) });
            let endless = spawn_local(iteration(&client, u64::MAX, &gate));
            until(|| served.numbers.sent.get() > 100).await;
            // The client stays, without a system that would drive it.
            system.abort();
            served.task.await.unwrap();
            endless.abort();
            assert!(endless.await.unwrap_err().is_cancelled());
            // Only our own clone of the served object is left.
            assert_eq!(Rc::strong_count(&served.numbers.objects), 1);
            assert_eq!(Rc::strong_count(&served.outbound), 1);
        }
    });
}

#[test]
fn a_peer_that_takes_nothing_for_too_long_is_given_up() {
    on_paused(async {
        let (a, mut stalled) = pipe(1024);
        let served = serve(a, Encoding::Plain, &limits());
        let (mut encoder, mut bytes) = (Encoder::new(Encoding::Plain), Vec::new());
        encoder.encode(&bootstrap(0), &mut bytes).unwrap();
        encoder.encode(&iter(1, u64::MAX), &mut bytes).unwrap();
        stalled.write_all(&bytes).await.unwrap();
        let begun = tokio::time::Instant::now();
        served.task.await.unwrap();
        let after = begun.elapsed();
        assert!((limits().stall..limits().stall * 2).contains(&after), "{after:?}");
    });
}

/// Each byte was a sign of life, so that answers were held for as long as their reader
/// liked.
#[test]
fn a_peer_that_takes_a_byte_now_and_then_is_given_up_and_a_slow_one_is_not() {
    on_paused(async {
        let stall = limits().stall;
        let much = || {
            let (a, reader) = pipe(1024);
            let served = serve(a, Encoding::Plain, &limits());
            let mut message = Builder::new_default();
            message.set_root(&vec![0; 2 << 20][..]).unwrap();
            served.outbound.push(&message);
            (served, reader)
        };
        let (served, mut reader) = much();
        let begun = tokio::time::Instant::now();
        while !served.task.is_finished() && begun.elapsed() < stall * 4 {
            let _ = reader.read(&mut [0]).await;
            tokio::time::sleep(stall / 8).await;
        }
        let after = begun.elapsed();
        assert!((stall..stall * 2).contains(&after), "{after:?}");

        let (served, mut reader) = much();
        for _ in 0..2 << 10 {
            reader.read_exact(&mut [0; 1024]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1) / 20).await;
        }
        assert!(!served.task.is_finished());
    });
}

#[test]
fn a_stream_on_which_nothing_happens_is_closed() {
    on_paused(async {
        let (a, b) = pipe(1024);
        let served = serve(a, Encoding::Packed, &limits());
        let client = consume(b, Encoding::Packed, &limits());
        client.reverse_request().send().promise.await.unwrap();
        let begun = tokio::time::Instant::now();
        served.task.await.unwrap();
        assert!(begun.elapsed() >= limits().idle);
        let error = client.reverse_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Disconnected);
    });
}

#[test]
fn calls_and_capabilities_over_the_limit_are_refused_one_by_one() {
    on_local(async {
        let (a, b) = pipe(4096);
        let few = Limits { capabilities: 8, ..limits() };
        let served = serve(a, Encoding::Plain, &few);
        let client = consume(b, Encoding::Plain, &limits());
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept.push(client.reverse_request().send().promise.await);
        }
        let refused = kept.iter().filter_map(|r| r.as_ref().err()).count();
        assert!(kept.iter().flatten().count() <= 8 && refused >= 12);
        let error = kept.pop().unwrap().err().unwrap();
        assert_eq!(error.kind, capnp::ErrorKind::Overloaded);
        assert_eq!(
            served.metrics.refused.get_or_create(&[("reason", "overloaded")]).get() as usize,
            refused
        );
        // Releasing makes room again.
        drop(kept);
        settle(|| served.outbound.queued() as u64).await;
        client.reverse_request().send().promise.await.unwrap();
    });
}

/// What a raw peer gets back, until the stream ends.
async fn answers(hostile: &[Builder<capnp::message::HeapAllocator>]) -> Vec<message_kind::Kind> {
    let (a, mut b) = pipe(1 << 20);
    let served = serve(a, Encoding::Plain, &limits());
    let (mut encoder, mut bytes) = (Encoder::new(Encoding::Plain), Vec::new());
    for message in hostile {
        encoder.encode(message, &mut bytes).unwrap();
    }
    b.write_all(&bytes).await.unwrap();
    b.close().await.unwrap();
    let mut back = Vec::new();
    b.read_to_end(&mut back).await.unwrap();
    served.task.await.unwrap();
    assert_eq!(Rc::strong_count(&served.numbers.objects), 1);
    let mut decoder = Decoder::new(Encoding::Plain, 1 << 20);
    decoder.push(&back);
    let mut kinds = Vec::new();
    while let Some(message) = decoder.next().unwrap() {
        kinds.push(message_kind::of(message.get_root().unwrap()));
    }
    kinds
}

mod message_kind {
    use super::*;

    #[derive(Debug, PartialEq)]
    pub(super) enum Kind {
        Results,
        Exception,
        Abort,
        Other,
    }

    pub(super) fn of(message: message::Reader) -> Kind {
        match message.which() {
            Ok(message::Return(Ok(ret))) => match ret.which() {
                Ok(return_::Results(_)) => Kind::Results,
                Ok(return_::Exception(_)) => Kind::Exception,
                _ => Kind::Other,
            },
            Ok(message::Abort(_)) => Kind::Abort,
            _ => Kind::Other,
        }
    }
}

#[test]
fn a_hostile_caller_gets_errors_and_leaves_nothing_behind() {
    use message_kind::Kind;
    on_local(async {
        // More bootstraps than calls are allowed.
        let flood: Vec<_> = (0..5000).map(bootstrap).collect();
        let back = answers(&flood).await;
        let results = back.iter().filter(|k| **k == Kind::Results).count();
        assert_eq!(results, limits().calls);
        assert!(back.iter().filter(|k| **k == Kind::Exception).count() >= 900);

        // A number that is in use, a target that doesn't exist, an unknown
        // capability to release: each ends the stream.
        let mut release = Builder::new_default();
        let mut body = release.init_root::<message::Builder>().init_release();
        body.set_id(77);
        body.set_reference_count(1);
        for bad in [bootstrap(0), call_to(1, 99), release] {
            let back = answers(&[bootstrap(0), bad]).await;
            assert!(back.contains(&Kind::Results), "{back:?}");
        }
        // A path of many steps, and a table of many capabilities.
        let mut long = Builder::new_default();
        let mut call = long.init_root::<message::Builder>().init_call();
        call.set_question_id(1);
        let mut path = call.init_target().init_promised_answer();
        path.set_question_id(0);
        path.init_transform(100_000);
        let mut wide = Builder::new_default();
        let mut call = wide.init_root::<message::Builder>().init_call();
        call.set_question_id(1);
        call.reborrow().init_target().set_imported_cap(0);
        call.init_params().init_cap_table(30_000);
        for bad in [long, wide] {
            let back = answers(&[bootstrap(0), bad]).await;
            assert_eq!(back.last(), Some(&Kind::Abort), "{back:?}");
        }
    });
}

pub(super) fn bootstrap(question: u32) -> Builder<capnp::message::HeapAllocator> {
    let mut message = Builder::new_default();
    message.init_root::<message::Builder>().init_bootstrap().set_question_id(question);
    message
}

fn call_to(question: u32, export: u32) -> Builder<capnp::message::HeapAllocator> {
    let mut message = Builder::new_default();
    let mut call = message.init_root::<message::Builder>().init_call();
    call.set_question_id(question);
    call.init_target().set_imported_cap(export);
    message
}

/// A call of `View.iter` on what the bootstrap gave.
pub(crate) fn iter(question: u32, limit: u64) -> Builder<capnp::message::HeapAllocator> {
    let mut message = Builder::new_default();
    let mut call = message.init_root::<message::Builder>().init_call();
    call.set_question_id(question);
    call.set_interface_id(0xb8cc_1b0b_a89d_dfd2);
    call.set_method_id(1);
    call.reborrow().init_target().init_promised_answer().set_question_id(0);
    let mut payload = call.init_params();
    payload.reborrow().init_cap_table(1).get(0).set_sender_hosted(question);
    // Only the place in the table that it gets counts.
    let mut table = Vec::new();
    let mut content = payload.init_content();
    content.imbue_mut(&mut table);
    let mut params = content.init_as::<view::iter_params::Builder>();
    let nobody = new_broken_cap(capnp::Error::failed(String::new()));
    params.set_handler(view::handler::Client { client: nobody });
    params.init_constraints(1).get(0).set_limit(limit);
    message
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Waits until a number has stopped to change.
pub(crate) async fn settle(number: impl Fn() -> u64) {
    let (mut last, mut same) = (number(), 0);
    while same < 2000 {
        tokio::task::yield_now().await;
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
}
