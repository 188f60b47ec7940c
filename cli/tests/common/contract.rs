//! What each line of JSON must look like: exactly these keys, of these types.

use serde_json::Value;

/// A line, checked.
pub fn checked(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    check(&value).unwrap_or_else(|problem| panic!("{problem}: {line}"));
    value
}

type Check = fn(&Value) -> bool;

fn check(value: &Value) -> Result<(), String> {
    let fields: &[(&str, Check)] = match value["event"].as_str().ok_or("no event")? {
        "listening" => &[("peer", id), ("addrs", own_addrs)],
        "peers-found" => &[("source", Value::is_string), ("peer", id), ("addrs", addrs)],
        "peer-joined" | "peer-updated" | "key-shared" => &[("record", record)],
        "peer-left" => &[("peer", id), ("reason", reason)],
        "view-changed" => &[("peers", ids)],
        "connected" | "disconnected" | "relayed" | "direct" => &[("peer", id)],
        "reachability-changed" => &[("reachability", reachability)],
        "view" => {
            let records = value["records"].as_array().map_or(0, Vec::len);
            if value["n"].as_u64() != Some(records as u64) {
                return Err("n is not the number of records".into());
            }
            &[("n", Value::is_u64), ("records", records_of)]
        }
        "reply" => return said(value, &["peer", "node", "headers"]),
        "part" => return said(value, &[]),
        "ended" => &[("reason", |v| matches!(v.as_str(), Some("all" | "limit" | "timeout")))],
        "services" => &[("services", services)],
        "clock-differs" => &[("offset_ms", Value::is_i64), ("peers", ids)],
        "message" => return message(value),
        "published" => {
            &[("topic", Value::is_string), ("messages", Value::is_u64), ("peers", Value::is_u64)]
        }
        "dropped" => &[("count", Value::is_u64)],
        "error" => &[("kind", Value::is_string), ("message", Value::is_string)],
        "summary" => &[
            ("nodes", Value::is_u64),
            ("complete", Value::is_boolean),
            ("first_peer_ms", times),
            ("full_view_ms", times),
            ("first_answer_ms", times),
        ],
        "packet" => return packet(value),
        "sent" => &[("kind", Value::is_string), ("packets", Value::is_u64)],
        "check" => &[
            ("name", Value::is_string),
            ("status", |v| matches!(v.as_str(), Some("ok" | "warn" | "fail"))),
            ("message", Value::is_string),
            ("advice", |v| v.is_null() || v.is_string()),
        ],
        "key" => &[("path", Value::is_string), ("peer", id), ("type", Value::is_string)],
        "secret" => {
            &[("path", Value::is_string), ("fingerprint", |v| is_string(v, |s| s.len() == 32))]
        }
        "certificate" => {
            let fields: &[(&str, Check)] = &[
                ("peer", id),
                ("ca", id),
                ("ns", Value::is_string),
                ("roles", Value::is_array),
                ("not_before", Value::is_u64),
                ("not_after", Value::is_u64),
                ("issued", Value::is_u64),
                ("serial", |v| is_string(v, |s| s.len() == 32)),
                ("state", Value::is_string),
            ];
            return keys(value, fields, &["event", "text"]);
        }
        "revocation" => {
            let fields: &[(&str, Check)] = &[
                ("peer", id),
                ("ca", id),
                ("at", Value::is_u64),
                ("until", Value::is_u64),
                ("state", Value::is_string),
            ];
            return keys(value, fields, &["event", "text"]);
        }
        other => return Err(format!("unknown event {other}")),
    };
    // The demo says which of its nodes tells a line.
    keys(value, fields, &["event", "node"])
}

fn keys(value: &Value, fields: &[(&str, Check)], more: &[&str]) -> Result<(), String> {
    let object = value.as_object().ok_or("not an object")?;
    for (key, check) in fields {
        let field = object.get(*key).ok_or(format!("{key} is missing"))?;
        if !check(field) {
            return Err(format!("{key} is wrong"));
        }
    }
    let known =
        |key: &&String| more.contains(&key.as_str()) || fields.iter().any(|(k, _)| k == *key);
    match object.keys().find(|key| !known(key)) {
        Some(key) => Err(format!("{key} is not in the contract")),
        None => Ok(()),
    }
}

fn message(value: &Value) -> Result<(), String> {
    if value["text"].is_string() == value["base64"].is_string() {
        return Err("it has both text and Base64, or neither".into());
    }
    let fields: &[(&str, Check)] = &[
        ("topic", Value::is_string),
        ("source", id),
        ("seq", |v| is_string(v, |s| s.parse::<u64>().is_ok())),
    ];
    keys(value, fields, &["event", "text", "base64"])
}

/// Bytes as text or as base64, or why there are none.
fn said(value: &Value, more: &[&str]) -> Result<(), String> {
    let fields: &[(&str, Check)] = match value {
        Value::Object(object) if object.contains_key("text") => &[("text", Value::is_string)],
        Value::Object(object) if object.contains_key("base64") => &[("base64", Value::is_string)],
        _ => &[("error", |v| v["kind"].is_string() && v["message"].is_string())],
    };
    keys(value, fields, &[&["event"], more].concat())
}

fn services(value: &Value) -> bool {
    let fields: &[(&str, Check)] =
        &[("name", Value::is_string), ("version", Value::is_string), ("peers", ids)];
    let service = |service: &Value| keys(service, fields, &[]).is_ok();
    value.as_array().is_some_and(|services| services.iter().all(service))
}

fn packet(value: &Value) -> Result<(), String> {
    let optional = ["event", "peer", "ns", "distance", "nonce", "addrs"];
    let fields: &[(&str, Check)] = &[
        ("kind", |v| matches!(v.as_str(), Some("request" | "survey" | "response" | "invalid"))),
        ("from", Value::is_string),
        ("bytes", Value::is_u64),
        ("verdict", Value::is_string),
    ];
    keys(value, fields, &optional)
}

fn record(value: &Value) -> bool {
    let fields: &[(&str, Check)] = &[
        ("peer", id),
        ("server", |v| is_string(v, |s| s.len() == 16 && s.chars().all(|c| c.is_ascii_hexdigit()))),
        ("seq", |v| is_string(v, |s| s.parse::<u64>().is_ok())),
        ("ttl_ms", Value::is_u64),
        ("host", Value::is_string),
        ("meta", |v| v.as_object().is_some_and(|m| m.values().all(Value::is_string))),
        ("addrs", addrs),
        ("services", |v| v.as_object().is_some_and(|m| m.values().all(Value::is_string))),
        ("channels", |v| v.as_array().is_some_and(|c| c.iter().all(Value::is_string))),
        ("roles", |v| v.as_array().is_some_and(|c| c.iter().all(Value::is_string))),
        ("verified", Value::is_boolean),
    ];
    keys(value, fields, &[]).is_ok()
}

fn records_of(value: &Value) -> bool {
    value.as_array().is_some_and(|records| records.iter().all(record))
}

fn is_string(value: &Value, is: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(is)
}

fn id(value: &Value) -> bool {
    is_string(value, |s| s.parse::<casm::PeerId>().is_ok())
}

fn ids(value: &Value) -> bool {
    value.as_array().is_some_and(|ids| ids.iter().all(id))
}

fn addrs(value: &Value) -> bool {
    let addr = |v: &Value| is_string(v, |s| s.parse::<casm::Multiaddr>().is_ok());
    value.as_array().is_some_and(|addrs| addrs.iter().all(addr))
}

fn own_addrs(value: &Value) -> bool {
    let whole = |v: &Value| is_string(v, |s| s.contains("/p2p/"));
    addrs(value) && value.as_array().is_some_and(|addrs| addrs.iter().all(whole))
}

fn reachability(value: &Value) -> bool {
    let reach = |v: &Value| matches!(v.as_str(), Some("public" | "private" | "unknown"));
    let found =
        |v: &Value| matches!(v.as_str(), Some("announced" | "mapped" | "dialled" | "relay"));
    let addr = |v: &Value| is_string(v, |s| s.parse::<casm::Multiaddr>().is_ok());
    let known = |v: &Value| keys(v, &[("addr", addr), ("found", found)], &[]).is_ok();
    let addrs = value["addrs"].as_array().is_some_and(|addrs| addrs.iter().all(known));
    reach(&value["reach"]) && addrs && value.as_object().is_some_and(|object| object.len() == 2)
}

fn reason(value: &Value) -> bool {
    matches!(value.as_str(), Some("left" | "expired" | "failed"))
}

fn times(value: &Value) -> bool {
    value.as_array().is_some_and(|times| times.iter().all(|t| t.is_null() || t.is_u64()))
}
