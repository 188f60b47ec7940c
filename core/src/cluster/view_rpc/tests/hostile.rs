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
        let found = found.map(|told| told.record);
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

/// A call of `View.lookup` on what the bootstrap gave, and one more pointer in
/// it: to a text of so many bytes, in place of the parameters or of the
/// constraints.
fn lookup_with_text(bytes: usize) -> Vec<u64> {
    use capnp_rpc::rpc_capnp::message;
    let mut message = Builder::new_default();
    let mut call = message.init_root::<message::Builder>().init_call();
    call.set_question_id(1);
    call.set_interface_id(0xb8cc_1b0b_a89d_dfd2);
    call.reborrow().init_target().init_promised_answer().set_question_id(0);
    let mut content = call.init_params().init_content();
    content.set_as(&*"x".repeat(bytes)).unwrap();
    let mut encoded = Vec::new();
    rpc::tests::Encoder::new(Encoding::Plain).encode(&message, &mut encoded).unwrap();
    encoded.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// Where the pointer to a text of so many bytes stands, and where the text.
fn text_in(words: &[u64], bytes: usize) -> (usize, usize) {
    const BYTES: u64 = 2;
    let list = |word: &u64| word & 3 == 1 && word >> 32 == BYTES | (bytes as u64 + 1) << 3;
    let at = words.iter().position(list).unwrap();
    let offset = (words[at] as u32 >> 2) as usize;
    (at, at + 1 + offset)
}

fn list_pointer(offset: usize, size: u64, count: u64) -> u64 {
    1 | (offset as u64) << 2 | size << 32 | count << 35
}

#[test]
fn pointers_that_go_deep_and_lists_that_weigh_nothing_cost_nothing() {
    const LEN: usize = 320_000;
    const POINTERS: u64 = 6;
    const NOTHING: u64 = 0;
    const COMPOSITE: u64 = 7;
    // Lists in lists, 40,000 deep.
    let mut deep = lookup_with_text(LEN);
    let (at, text) = text_in(&deep, LEN);
    deep[at] = list_pointer(text - at - 1, POINTERS, 1);
    deep[text..text + LEN / 8].fill(list_pointer(0, POINTERS, 1));
    deep[text + LEN / 8 - 1] = 0;
    // Parameters with 2^29 - 1 constraints that take no bytes.
    let mut wide = lookup_with_text(LEN);
    let (at, text) = text_in(&wide, LEN);
    wide[at] = (text as u64 - at as u64 - 1) << 2 | 2 << 48;
    wide[text] = 0;
    wide[text + 1] = list_pointer(0, NOTHING, (1 << 29) - 1);
    // The same as structures: 2^29 - 1 of no words each, in a tag.
    let mut tagged = wide.clone();
    tagged[text + 1] = list_pointer(0, COMPOSITE, 0);
    tagged[text + 2] = ((1 << 29) - 1) << 2;

    for (name, hostile) in [("deep", deep), ("wide", wide), ("tagged", tagged)] {
        on_local(async move {
            let view = table(3).view();
            let (a, mut b) = pipe(1 << 20);
            let server = serve_view(a, Encoding::Plain, object(view.clone()));
            let mut bytes = Vec::new();
            let mut first = Builder::new_default();
            let root = first.init_root::<capnp_rpc::rpc_capnp::message::Builder>();
            root.init_bootstrap().set_question_id(0);
            rpc::tests::Encoder::new(Encoding::Plain).encode(&first, &mut bytes).unwrap();
            bytes.extend(hostile.iter().flat_map(|word| word.to_le_bytes()));
            b.write_all(&bytes).await.unwrap();
            b.close().await.unwrap();
            let mut back = Vec::new();
            b.read_to_end(&mut back).await.unwrap();
            server.await.expect("no panic");
            let errors = rpc::tests::messages(Encoding::Plain, &back);
            let errors = errors.iter().filter(|(_, said)| is_error(said)).count();
            assert!(errors >= 1, "{name}");
            assert_eq!(view.strong_count(), 1);
        });
    }
}

fn is_error(said: &rpc::tests::Message) -> bool {
    use capnp_rpc::rpc_capnp::{message, return_};
    match said.get_root::<message::Reader>().unwrap().which() {
        Ok(message::Return(ret)) => {
            matches!(ret.unwrap().which(), Ok(return_::Exception(_)))
        }
        Ok(message::Abort(_)) => true,
        _ => false,
    }
}
