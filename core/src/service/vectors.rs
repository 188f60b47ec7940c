//! Test vectors of services: the parameters and answers of their calls.

use super::{
    Headers, Reply,
    wire::{self, Failure, FailureKind},
};
use crate::{
    schema::service_capnp::{answer, service, services},
    vectors::{bytes, compare, hex, list, text},
};
use capnp::{
    message::{Builder, HeapAllocator, ReaderOptions},
    serialize,
    traits::HasTypeId,
};
use serde_json::{Value, json};

const ABOUT: &str = "Services. interfaces: their ids. calls: the parameters of Service.call as \
                     plain messages, in hex. answers: what it answers (Answer); failed: the kind \
                     of failure, if it is one. parts: the parameters of Service.Parts.part.";

type Message = Builder<HeapAllocator>;

fn plain(message: &Message) -> String {
    hex(serialize::write_message_to_words(message))
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn call((data, timeout_ms, headers): &(&[u8], u32, Headers)) -> Value {
    let mut message = Message::new_default();
    let mut params = message.init_root::<service::call_params::Builder>();
    params.set_request(data);
    params.set_timeout_ms(*timeout_ms);
    wire::write_headers(headers, params.init_headers(wire::count(headers)));
    json!({"request": hex(data), "timeout_ms": timeout_ms, "headers": headers, "hex": plain(&message)})
}

fn answered(result: &Result<Reply, Failure>) -> Value {
    let mut message = Message::new_default();
    wire::write_answer(result, message.init_root());
    let hex_of = plain(&message);
    match result {
        Ok(reply) => json!({
            "ok": hex(&reply.data), "headers": reply.headers, "failed": null, "hex": hex_of,
        }),
        Err(failure) => json!({
            "failed": failure.kind.name(), "message": failure.message, "hex": hex_of,
        }),
    }
}

fn part(data: &[u8]) -> Value {
    let mut message = Message::new_default();
    message.init_root::<service::parts::part_params::Builder>().set_data(data);
    json!({"data": hex(data), "hex": plain(&message)})
}

#[test]
fn vectors_of_services() {
    let calls = [
        (&b"hello"[..], 2000, headers(&[])),
        (&b""[..], 0, headers(&[("traceparent", "00-0af7651916cd43dd-b7ad6b7169203331-01")])),
    ];
    let mut answers = vec![
        Ok(Reply { data: b"HELLO".to_vec(), headers: headers(&[("k", "v")]) }),
        Ok(Reply::default()),
    ];
    for kind in [
        FailureKind::Busy,
        FailureKind::Closing,
        FailureKind::NotFound,
        FailureKind::Remote,
        FailureKind::Deadline,
        FailureKind::TooLarge,
        FailureKind::Parts,
    ] {
        answers.push(Err(Failure::new(kind, "why")));
    }
    let interfaces = [
        ("Services", services::Client::TYPE_ID),
        ("Service", service::Client::TYPE_ID),
        ("Service.Parts", service::parts::Client::TYPE_ID),
    ];
    let made = json!({
        "about": ABOUT,
        "interfaces": interfaces
            .map(|(name, id)| json!({"name": name, "id": format!("{id:016x}")})),
        "calls": calls.iter().map(call).collect::<Vec<_>>(),
        "answers": answers.iter().map(answered).collect::<Vec<_>>(),
        "parts": [part(b"one"), part(b"")],
    });
    let file = compare("service.json", &made);
    for (vector, made) in list(&file, "answers").iter().zip(&answers) {
        let message = bytes(vector, "hex");
        let message = serialize::read_message(&message[..], ReaderOptions::new()).unwrap();
        let read = wire::read_answer(message.get_root::<answer::Reader>().unwrap()).unwrap();
        assert_eq!(&read, made, "{vector}");
    }
    for vector in list(&file, "calls") {
        let message = bytes(vector, "hex");
        let message = serialize::read_message(&message[..], ReaderOptions::new()).unwrap();
        let params = message.get_root::<service::call_params::Reader>().unwrap();
        assert_eq!(hex(params.get_request().unwrap()), text(vector, "request"));
        assert_eq!(json!(params.get_timeout_ms()), vector["timeout_ms"]);
        let headers = wire::read_headers(params.get_headers().unwrap()).unwrap().unwrap();
        assert_eq!(json!(headers), vector["headers"]);
    }
}
