//! Callers that mean harm.

use super::*;
use crate::rpc::tests::{consume, limits, on_local, pipe, serve_view};
use capnp::{message::Builder, text};
use futures::{AsyncReadExt, AsyncWriteExt};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn a_query_that_makes_no_sense_is_answered_with_an_error_alone() {
    on_local(async {
        let (a, b) = pipe(4096);
        let _server = serve_view(a, Encoding::Plain, object(table(3).view()));
        let view = consume(b, Encoding::Plain, &limits());
        let long = "x".repeat(4097);
        type Ask<'a> = &'a dyn Fn(view::lookup_params::Builder);
        let asks: [(&str, Ask); 6] = [
            ("not UTF-8", &|p| p.init_selector().init_from().set_host(text::Reader(b"\xff"))),
            ("4096 bytes", &|p| p.init_selector().init_match().set_meta(long.as_str())),
            ("not UTF-8", &|p| p.init_selector().init_match().set_server(b"\xff")),
            ("8 constraints", &|p| {
                p.init_constraints(1000);
            }),
            ("more than one", &|p| {
                let mut constraints = p.init_constraints(2);
                constraints.reborrow().get(0).init_to().set_host("a");
                constraints.get(1).init_to().set_host("b");
            }),
            ("one field", &|mut p| {
                p.reborrow().init_selector().init_from().set_host("a");
                p.init_constraints(1).get(0).init_to().set_meta("b");
            }),
        ];
        for (problem, ask) in asks {
            let mut request = view.lookup_request();
            ask(request.get());
            let error = request.send().promise.await.err().unwrap();
            assert!(error.extra.contains(problem), "{error}");
        }
        let found = client::lookup(view, Query::all()).await.unwrap();
        assert_eq!(found, table(3).view().lookup(&Query::all()));
    });
}

/// The bytes of a caller: bootstrap, a lookup, and iterations from everywhere.
fn caller(encoding: Encoding) -> Vec<u8> {
    use capnp_rpc::rpc_capnp::message;
    let (mut encoder, mut bytes) = (rpc::tests::Encoder::new(encoding), Vec::new());
    let mut first = Builder::new_default();
    first.init_root::<message::Builder>().init_bootstrap().set_question_id(0);
    encoder.encode(&first, &mut bytes).unwrap();
    for question in 1..=6 {
        encoder.encode(&rpc::tests::iter(question, u64::MAX), &mut bytes).unwrap();
    }
    bytes
}

#[test]
fn damaged_calls_end_their_own_stream_at_worst() {
    let seed = 7;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    on_local(async move {
        let view = table(20).view();
        let mut answered = 0;
        for round in 0..400 {
            let encoding = Encoding::ALL[round % 4];
            let mut bytes = caller(encoding);
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            let (a, mut b) = pipe(1 << 20);
            let served = object(view.clone());
            let server = serve_view(a, encoding, served);
            b.write_all(&bytes).await.unwrap();
            b.close().await.unwrap();
            let mut back = Vec::new();
            let _ = b.read_to_end(&mut back).await;
            answered += usize::from(!back.is_empty());
            server.await.expect("no panic");
        }
        assert!(answered > 200, "{answered}");
        // Nobody else noticed, and nothing keeps the snapshot.
        assert_eq!(view.strong_count(), 1);
    });
}

#[test]
fn endless_iterations_of_one_caller_take_nothing_from_another() {
    on_local(async {
        let view = table(200).view();
        let mut greedy = Vec::new();
        for _ in 0..4 {
            let (a, mut b) = pipe(1024);
            let server = serve_view(a, Encoding::Plain, object(view.clone()));
            let (mut encoder, mut bytes) = (rpc::tests::Encoder::new(Encoding::Plain), Vec::new());
            let mut first = Builder::new_default();
            first
                .init_root::<capnp_rpc::rpc_capnp::message::Builder>()
                .init_bootstrap()
                .set_question_id(0);
            encoder.encode(&first, &mut bytes).unwrap();
            for question in 1..=2000 {
                encoder.encode(&rpc::tests::iter(question, u64::MAX), &mut bytes).unwrap();
            }
            // It takes what it can get rid of, and reads nothing.
            let _ = tokio::time::timeout(Duration::from_millis(100), b.write_all(&bytes)).await;
            greedy.push((server, b));
        }
        let (a, b) = pipe(1024);
        let _server = serve_view(a, Encoding::Packed, object(view.clone()));
        let other = consume(b, Encoding::Packed, &limits());
        let (send, mut records) = tokio::sync::mpsc::channel(8);
        let iteration = client::iterate(other, Query::all(), send);
        let count = async {
            let mut n = 0;
            while records.recv().await.is_some() {
                n += 1;
            }
            n
        };
        let (done, n) = tokio::join!(iteration, count);
        done.unwrap();
        assert_eq!(n, 200);
        for (server, stream) in greedy {
            assert!(!server.is_finished());
            drop(stream);
            server.await.unwrap();
        }
        // Ours, and that of the object which still serves the other one.
        assert_eq!(view.strong_count(), 2);
    });
}
