//! Test vectors of channels and semaphores: the interfaces' ids, and what their
//! calls and answers are in messages.

use crate::{
    csp::value::MAX_VALUE,
    schema::{
        chan_capnp::{chan, closer, recver, send_closer, sender},
        csp_capnp::{
            Outcome, channel, channels, grant, holder, lease, member, member::lease_params,
            member::send_params, semaphore,
        },
    },
    vectors::{bytes, compare, hex, list, number, text},
};
use capnp::{
    data,
    message::{Builder, HeapAllocator, Reader, ReaderOptions},
    serialize::{self, OwnedSegments},
    traits::HasTypeId,
};
use serde_json::{Value, json};

const ABOUT: &str = "Channels and semaphores. interfaces: their ids. leases: the parameters of \
                     Member.lease; leased: the struct Lease that answers them; sends: the parameters \
                     of Member.send; outcomes: the numbers of what answers them; grants: the struct \
                     Grant. All as plain messages, in hex.";

type Message = Builder<HeapAllocator>;

fn plain(message: &Message) -> String {
    hex(serialize::write_message_to_words(message))
}

fn read(hex: &[u8]) -> Reader<OwnedSegments> {
    serialize::read_message(hex, ReaderOptions::new()).unwrap()
}

fn interfaces() -> Value {
    let ids: [(&str, u64); 11] = [
        ("Closer", closer::Client::TYPE_ID),
        ("Sender", sender::Client::<data::Owned>::TYPE_ID),
        ("Recver", recver::Client::<data::Owned>::TYPE_ID),
        ("SendCloser", send_closer::Client::<data::Owned>::TYPE_ID),
        ("Chan", chan::Client::<data::Owned>::TYPE_ID),
        ("Channels", channels::Client::TYPE_ID),
        ("Channel", channel::Client::TYPE_ID),
        ("Member", member::Client::TYPE_ID),
        ("Semaphore", semaphore::Client::TYPE_ID),
        ("Holder", holder::Client::TYPE_ID),
        ("Lease", <lease::Reader<'_> as HasTypeId>::TYPE_ID),
    ];
    ids.iter().map(|(name, id)| ((*name).to_owned(), json!(format!("{id:016x}")))).collect()
}

fn leases() -> Vec<Value> {
    let asked = [(1u64, false, 60_000u32, u64::MAX), (7, true, 0, 3)];
    let lease = |(request, take, wait, settled): (u64, bool, u32, u64)| {
        let mut message = Message::new_default();
        let mut params = message.init_root::<lease_params::Builder<'_>>();
        params.set_request(request);
        params.set_take(take);
        params.set_wait_ms(wait);
        params.set_settled(settled);
        json!({
            "request": request.to_string(), "take": take, "wait_ms": wait,
            "settled": settled.to_string(), "hex": plain(&message),
        })
    };
    asked.map(lease).into()
}

fn leased() -> Vec<Value> {
    let mut all = Vec::new();
    for what in ["nothing", "closed", "busy", "value"] {
        let mut message = Message::new_default();
        let mut lease = message.init_root::<lease::Builder<'_>>();
        let mut told = json!({ "is": what });
        match what {
            "nothing" => lease.set_nothing(()),
            "closed" => lease.set_closed(()),
            "busy" => lease.set_busy(()),
            _ => {
                let mut value = lease.init_value();
                value.set_lease(42);
                value.set_data(b"a value");
                told["lease"] = json!("42");
                told["data"] = json!(hex("a value"));
            }
        }
        told["hex"] = json!(plain(&message));
        all.push(told);
    }
    all
}

fn sends() -> Vec<Value> {
    let mut message = Message::new_default();
    let mut params = message.init_root::<send_params::Builder<'_>>();
    params.set_number(5);
    params.set_settled(4);
    params.set_wait_ms(1500);
    params.set_value(b"a value");
    vec![json!({
        "number": "5", "settled": "4", "wait_ms": 1500, "value": hex("a value"),
        "hex": plain(&message),
    })]
}

fn grants() -> Vec<Value> {
    let mut message = Message::new_default();
    let mut grant = message.init_root::<grant::Builder<'_>>();
    grant.set_token(0x18ea_8940_15c0_b7d2);
    grant.set_ttl_ms(10_000);
    let token = 0x18ea_8940_15c0_b7d2_u64.to_string();
    vec![json!({ "token": token, "ttl_ms": 10_000, "hex": plain(&message) })]
}

fn outcomes() -> Value {
    let all = [
        ("accepted", Outcome::Accepted),
        ("withdrawn", Outcome::Withdrawn),
        ("closed", Outcome::Closed),
        ("busy", Outcome::Busy),
        ("tooLarge", Outcome::TooLarge),
        ("stale", Outcome::Stale),
    ];
    all.iter().map(|(name, outcome)| ((*name).to_owned(), json!(*outcome as u16))).collect()
}

#[test]
fn vectors() {
    let made = json!({
        "about": ABOUT,
        "max_value": MAX_VALUE,
        "interfaces": interfaces(),
        "leases": leases(),
        "leased": leased(),
        "sends": sends(),
        "outcomes": outcomes(),
        "grants": grants(),
    });
    let file = compare("csp.json", &made);

    for told in list(&file, "leases") {
        let message = read(&bytes(told, "hex"));
        let params = message.get_root::<lease_params::Reader<'_>>().unwrap();
        assert_eq!(params.get_request(), number(told, "request"));
        assert_eq!(params.get_settled(), number(told, "settled"));
        assert_eq!(json!(params.get_take()), told["take"]);
        assert_eq!(json!(params.get_wait_ms()), told["wait_ms"]);
    }
    for told in list(&file, "leased") {
        let message = read(&bytes(told, "hex"));
        let lease = message.get_root::<lease::Reader<'_>>().unwrap();
        let is = match lease.which().unwrap() {
            lease::Nothing(()) => "nothing",
            lease::Closed(()) => "closed",
            lease::Busy(()) => "busy",
            lease::Value(value) => {
                let value = value.unwrap();
                assert_eq!(value.get_lease(), number(told, "lease"));
                assert_eq!(value.get_data().unwrap(), bytes(told, "data"));
                "value"
            }
        };
        assert_eq!(is, text(told, "is"));
    }
    for told in list(&file, "sends") {
        let message = read(&bytes(told, "hex"));
        let params = message.get_root::<send_params::Reader<'_>>().unwrap();
        assert_eq!(params.get_number(), number(told, "number"));
        assert_eq!(params.get_settled(), number(told, "settled"));
        assert_eq!(params.get_value().unwrap(), bytes(told, "value"));
    }
    for told in list(&file, "grants") {
        let message = read(&bytes(told, "hex"));
        let grant = message.get_root::<grant::Reader<'_>>().unwrap();
        assert!(
            matches!(grant.which().unwrap(), grant::Token(token) if token == number(told, "token"))
        );
    }
}
