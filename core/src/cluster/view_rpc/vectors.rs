//! Test vectors of RPC: the four encodings of a stream, and what a view's
//! queries and records are in messages.

use super::{NAME, proof::Verifier, wire};
use crate::{
    Namespace, PeerId,
    cluster::{Heartbeat, Index, Query, Record, Select},
    pubsub::signed::SignedMessage,
    rpc::{Decoder, Encoder, Encoding},
    schema::cluster_capnp::view,
    vectors::{bytes, compare, hex, key, list, number, peer, text, texts},
};
use capnp::{
    message::{Builder, HeapAllocator, Reader, ReaderOptions},
    serialize::{self, OwnedSegments},
    traits::HasTypeId,
};
use capnp_rpc::rpc_capnp;
use serde_json::{Value, json};
use std::time::Duration;

const ABOUT: &str = "RPC. interfaces: their ids. queries, records: the parameters of View.lookup \
                     and the parameters of Handler.recv as plain messages, in hex; signed: what proves the \
                     record, if anything. session: what a \
                     client asks (to_server) and a server says (to_client), as plain messages; in \
                     each encoding, the bytes of each message and of the end of the stream.";

const SEQ: u64 = 0x18ea_8940_15c0_b7d2;

type Message = Builder<HeapAllocator>;

fn plain(message: &Message) -> String {
    hex(serialize::write_message_to_words(message))
}

fn read(hex: &[u8]) -> Reader<OwnedSegments> {
    serialize::read_message(hex, ReaderOptions::new()).unwrap()
}

fn queries() -> Vec<Query> {
    vec![
        Query::all(),
        Query::matching(Index::meta("role", "worker")),
        Query::matching(Index::host("node-")).prefix().limit(10),
        Query::matching(Index::server(0xfedc_ba98_7654_3210)),
        Query::from(Index::peer(&peer("ed25519-1"))),
        Query::from(Index::host("a")).to(Index::host("b")).limit(1),
        Query::all().to(Index::meta("role", "x")),
    ]
}

fn index(index: &Index) -> Value {
    json!({"field": index.field.name(), "key": index.key})
}

fn said(query: &Query) -> Value {
    let (select, of, prefix) = match &query.select {
        Select::All => ("all", None, false),
        Select::Match { index, prefix } => ("match", Some(index), *prefix),
        Select::From(index) => ("from", Some(index), false),
    };
    json!({
        "select": select,
        "index": of.map(index),
        "prefix": prefix,
        "to": query.to.as_ref().map(index),
        "limit": query.limit,
    })
}

fn write_query(query: &Query, mut params: view::lookup_params::Builder) {
    wire::write_selector(query, params.reborrow().init_selector()).unwrap();
    wire::write_constraints(query, params.init_constraints(wire::constraints(query))).unwrap();
}

/// The message that proves a record: one has it, the other is a Go node's.
fn proof(of: &str) -> Vec<u8> {
    if of == "rsa" {
        return Vec::new();
    }
    let data = beat().encode();
    SignedMessage::sign(&key(of), "casm", SEQ, &data).unwrap().encoded().to_vec()
}

fn beat() -> Heartbeat {
    Heartbeat {
        server: 0xfedc_ba98_7654_3210,
        ttl: Some(Duration::from_secs(10)),
        host: "node-1.example".into(),
        meta: vec!["role=worker".into(), "zone=a=b".into()],
        sent_at: None,
        addrs: Default::default(),
    }
}

fn record(key: &str) -> Record {
    Record::new(peer(key), SEQ, Duration::from_secs(10), &beat())
}

fn told(record: &Record) -> Value {
    json!({
        "peer": record.peer_text(),
        "peer_bytes": hex(record.peer().to_bytes()),
        "server": record.server_text(),
        "seq": record.seq().to_string(),
        "ttl_ms": u64::try_from(record.ttl().as_millis()).unwrap(),
        "host": record.host(),
        "meta": record.fields().collect::<Vec<_>>(),
    })
}

fn rpc(fill: impl FnOnce(rpc_capnp::message::Builder)) -> Message {
    let mut message = Builder::new_default();
    fill(message.init_root());
    message
}

/// A lookup: the bootstrap, the call on what it promises, the end of both.
fn to_server() -> Vec<(&'static str, Message)> {
    let call = rpc(|message| {
        let mut call = message.init_call();
        call.set_question_id(1);
        call.set_interface_id(view::Client::TYPE_ID);
        call.set_method_id(0);
        call.reborrow().init_target().init_promised_answer().set_question_id(0);
        write_query(&queries()[1], call.init_params().init_content().init_as());
    });
    let finish = |id| rpc(|message| message.init_finish().set_question_id(id));
    vec![
        ("bootstrap", rpc(|message| message.init_bootstrap().set_question_id(0))),
        ("call View.lookup", call),
        ("finish", finish(1)),
        ("finish", finish(0)),
    ]
}

/// The answer, and a record that is sent to a handler.
fn to_client() -> Vec<(&'static str, Message)> {
    let found = rpc(|message| {
        let mut answer = message.init_return();
        answer.set_answer_id(1);
        answer.set_release_param_caps(false);
        let results: view::lookup_results::Builder = answer.init_results().init_content().init_as();
        let proof = proof("ed25519-1");
        wire::write_record(&record("ed25519-1"), &proof, results.init_result().init_just());
    });
    let told = rpc(|message| {
        let mut call = message.init_call();
        call.set_question_id(0);
        call.set_interface_id(view::handler::Client::TYPE_ID);
        call.set_method_id(0);
        call.reborrow().init_target().set_imported_cap(0);
        let params: view::handler::recv_params::Builder =
            call.init_params().init_content().init_as();
        wire::write_record(&record("rsa"), &proof("rsa"), params.init_record());
    });
    vec![("return of View.lookup", found), ("call Handler.recv", told)]
}

fn streams(messages: &[(&'static str, Message)]) -> Value {
    let encodings: Vec<_> = Encoding::ALL
        .iter()
        .map(|encoding| {
            let mut encoder = Encoder::new(*encoding);
            let chunks: Vec<_> = messages
                .iter()
                .map(|(_, message)| {
                    let mut out = Vec::new();
                    encoder.encode(message, &mut out).unwrap();
                    hex(out)
                })
                .collect();
            let mut end = Vec::new();
            encoder.finish(&mut end).unwrap();
            let protocol = Namespace::default().protocol(&format!("{NAME}{}", encoding.suffix()));
            json!({"protocol": protocol.as_ref(), "chunks": chunks, "end": hex(end)})
        })
        .collect();
    let messages: Vec<_> = messages
        .iter()
        .map(|(name, message)| json!({"name": name, "hex": plain(message)}))
        .collect();
    json!({"messages": messages, "encodings": encodings})
}

fn made() -> Value {
    let queries: Vec<_> = queries()
        .iter()
        .map(|query| {
            let mut message = Builder::new_default();
            write_query(query, message.init_root());
            let mut vector = said(query);
            vector["hex"] = plain(&message).into();
            vector
        })
        .collect();
    let records: Vec<_> = ["ed25519-1", "rsa"]
        .map(|key| {
            let mut message = Builder::new_default();
            let params: view::handler::recv_params::Builder = message.init_root();
            wire::write_record(&record(key), &proof(key), params.init_record());
            let mut vector = told(&record(key));
            vector["signed"] = hex(proof(key)).into();
            vector["hex"] = plain(&message).into();
            vector
        })
        .into();
    json!({
        "about": ABOUT,
        "interfaces": [
            {"name": "View", "id": format!("{:016x}", view::Client::TYPE_ID)},
            {"name": "View.Handler", "id": format!("{:016x}", view::handler::Client::TYPE_ID)},
        ],
        "queries": queries,
        "records": records,
        "to_server": streams(&to_server()),
        "to_client": streams(&to_client()),
    })
}

#[test]
fn vectors_of_rpc() {
    let file = compare("rpc.json", &made());
    for vector in list(&file, "queries") {
        let message = read(&bytes(vector, "hex"));
        let params: view::lookup_params::Reader = message.get_root().unwrap();
        let (selector, constraints) =
            (params.get_selector().unwrap(), params.get_constraints().unwrap());
        let mut meaning = said(&wire::read_query(selector, constraints, false).unwrap());
        meaning["hex"] = vector["hex"].clone();
        assert_eq!(meaning, *vector);
    }
    for vector in list(&file, "records") {
        let message = read(&bytes(vector, "hex"));
        let params: view::handler::recv_params::Reader = message.get_root().unwrap();
        let told = wire::read_record(params.get_record().unwrap()).unwrap();
        assert_eq!(told.signed, bytes(vector, "signed"));
        let proven = !told.signed.is_empty();
        let record = Verifier::new(Namespace::default()).check(peer("ecdsa"), told, 0).unwrap();
        assert_eq!(record.verified(), proven);
        assert_eq!(record.peer(), PeerId::from_bytes(&bytes(vector, "peer_bytes")).unwrap());
        assert_eq!(
            (record.peer_text(), record.host()),
            (text(vector, "peer"), text(vector, "host"))
        );
        assert_eq!(
            (record.server_text(), record.seq()),
            (text(vector, "server"), number(vector, "seq"))
        );
        assert_eq!(record.fields().collect::<Vec<_>>(), texts(vector, "meta"));
        assert_eq!(vector["ttl_ms"], u64::try_from(record.ttl().as_millis()).unwrap());
    }
    for direction in ["to_server", "to_client"] {
        let messages: Vec<_> =
            list(&file[direction], "messages").iter().map(|m| bytes(m, "hex")).collect();
        let encodings = list(&file[direction], "encodings");
        for (encoding, vector) in Encoding::ALL.into_iter().zip(encodings) {
            let mut decoder = Decoder::new(encoding, 1 << 20);
            for (chunk, message) in texts(vector, "chunks").iter().zip(&messages) {
                decoder.push(&bytes(&json!({"hex": chunk}), "hex"));
                let got = decoder.next().unwrap().expect("a chunk is a message").into_segments();
                assert_eq!(serialize::write_message_segments_to_words(&got), *message);
                assert!(decoder.next().unwrap().is_none());
            }
            decoder.push(&bytes(vector, "end"));
            assert!(decoder.next().unwrap().is_none());
            decoder.end().unwrap();
        }
    }
}
