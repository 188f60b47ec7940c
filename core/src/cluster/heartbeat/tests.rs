//! Heartbeats as they should be, as they may be, and as they must not be.

use super::{Addrs, Heartbeat, HeartbeatError};
use crate::{pubsub::Verdict, schema::cluster_capnp::heartbeat};
use capnp::{message, serialize_packed, text};
use proptest::prelude::*;
use std::time::Duration;

fn beat(meta: &[&str]) -> Heartbeat {
    Heartbeat {
        server: 7,
        ttl: Some(Duration::from_secs(10)),
        host: "node-1.example".into(),
        meta: meta.iter().map(|&m| m.into()).collect(),
        sent_at: None,
        addrs: Default::default(),
    }
}

/// A heartbeat with raw bytes in its texts.
pub(in crate::cluster) fn raw(ttl: u32, host: &[u8], meta: &[&[u8]]) -> Vec<u8> {
    let mut message = message::Builder::new_default();
    let mut root = message.init_root::<heartbeat::Builder<'_>>();
    root.set_ttl(ttl);
    root.set_host(text::Reader(host));
    let mut fields = root.init_meta(meta.len() as u32);
    for (i, field) in (0..).zip(meta) {
        fields.set(i, text::Reader(field));
    }
    let mut bytes = Vec::new();
    serialize_packed::write_message(&mut bytes, &message).unwrap();
    bytes
}

/// A message of one segment, packed.
pub(in crate::cluster) fn packed(words: &[u64]) -> Vec<u8> {
    packed_with_zeros(words, 0)
}

/// The same with so many runs of 256 words of zeros behind it.
fn packed_with_zeros(words: &[u64], runs: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let table = (words.len() as u64 + 256 * u64::from(runs)) << 32;
    for word in std::iter::once(&table).chain(words) {
        let word = word.to_le_bytes();
        bytes.push((0..8).fold(0, |tag, i| tag | (u8::from(word[i] != 0) << i)));
        bytes.extend(word.iter().filter(|b| **b != 0));
        if word == [0; 8] || !word.contains(&0) {
            bytes.push(0);
        }
    }
    bytes.extend([0, 0xff].repeat(runs.into()));
    bytes
}

#[test]
fn the_heartbeats_of_go_nodes_are_what_the_index_says() {
    let Some(folder) = std::env::var_os("CASM_GOLDEN").map(std::path::PathBuf::from) else {
        return println!("skipped: CASM_GOLDEN is not set");
    };
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let mut seen = 0;
    for entry in index.as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        if !file.starts_with("heartbeat-") {
            continue;
        }
        let bytes = std::fs::read(folder.join(file)).unwrap();
        assert_eq!(bytes.len() as u64, entry["len"].as_u64().unwrap());
        let beat = Heartbeat::decode(&bytes).unwrap();
        assert_eq!(format!("{:016x}", beat.server), entry["server"]);
        let ttl = beat.ttl.unwrap().as_millis() as u64;
        assert_eq!(ttl, entry["ttl_ms"].as_u64().unwrap());
        assert_eq!(beat.host, entry["host"]);
        assert_eq!(serde_json::json!(beat.meta), entry["meta"]);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn ttls_are_brought_into_range_and_one_millisecond_is_a_goodbye() {
    let secs = Duration::from_secs;
    for (ms, ttl) in [
        (0, Some(secs(10))),
        (1, None),
        (2, Some(secs(1))),
        (1500, Some(Duration::from_millis(1500))),
        (u32::MAX, Some(secs(86_400))),
    ] {
        assert_eq!(Heartbeat::decode(&raw(ms, b"h", &[])).unwrap().ttl, ttl, "{ms}");
    }
    let goodbye = Heartbeat { ttl: None, ..beat(&[]) };
    assert_eq!(Heartbeat::decode(&goodbye.encode()).unwrap(), goodbye);
}

#[test]
fn what_is_over_a_limit_is_ignored_and_named() {
    let many = vec![&b"a=b"[..]; Heartbeat::MAX_META + 1];
    let long = vec![b'='; Heartbeat::MAX_META_LEN + 1];
    for (bytes, error) in [
        (raw(1, &[b'h'; Heartbeat::MAX_HOST + 1], &[]), HeartbeatError::HostTooLong),
        (raw(1, b"h", &many), HeartbeatError::MetaTooMany),
        (raw(1, b"h", &[&long]), HeartbeatError::MetaTooLong),
        (raw(1, b"h", &[&long[1..], b"="]), HeartbeatError::MetaTooLong),
        (raw(1, b"h", &[b"a=b", b"ab"]), HeartbeatError::NotKeyValue),
        (raw(1, b"h", &[b"a=\xff"]), HeartbeatError::NotUtf8),
        (raw(1, b"\xc0h", &[]), HeartbeatError::NotUtf8),
        (vec![0; Heartbeat::MAX_LEN + 1], HeartbeatError::TooLarge),
    ] {
        assert_eq!(Heartbeat::decode(&bytes), Err(error));
        assert_eq!(error.verdict(), Verdict::Ignore);
    }
    let most = vec![&b"a=b"[..]; Heartbeat::MAX_META];
    Heartbeat::decode(&raw(1, &[b'h'; Heartbeat::MAX_HOST], &most)).unwrap();
    Heartbeat::decode(&raw(1, b"h", &[&long[1..]])).unwrap();
}

#[test]
fn what_cannot_be_decoded_is_rejected() {
    const ROOT: u64 = 2 << 32 | 2 << 48; // two words of data, two pointers
    let far_host = packed(&[ROOT, 0, 0, 0x7fff_0001 | 1 << 33, 0]);
    let host_is_a_struct = packed(&[ROOT, 0, 0, 4 | 1 << 32, 0, 0]);
    let meta_of_bytes = packed(&[ROOT, 0, 0, 0, 1 | (8 << 3 | 2) << 32, 0]);
    let text_without_end = packed(&[ROOT, 0, 0, 5 | (8 << 3 | 2) << 32, 0, u64::MAX]);
    let loop_of_far_pointers = packed(&[2]);
    for bytes in [
        &[][..],
        &[0x10],
        &[0x10, 0x05, 0x50],
        &far_host,
        &host_is_a_struct,
        &meta_of_bytes,
        &text_without_end,
        &loop_of_far_pointers,
        &[0x01, 0xff, 0x00, 0x00],
    ] {
        let error = Heartbeat::decode(bytes).unwrap_err();
        assert_eq!(error, HeartbeatError::Malformed, "{bytes:02x?}");
        assert_eq!(error.verdict(), Verdict::Reject);
    }
}

#[test]
fn bombs_are_refused_before_they_expand() {
    // 16 MiB of zeros in 16 KiB.
    let mut zeros = vec![0x40, 0x20];
    zeros.extend([0, 0xff].repeat(8192));
    assert_eq!(Heartbeat::decode(&zeros), Err(HeartbeatError::TooLarge));
    // Nobody pays for a small one before: it may not unpack to much.
    const EMPTY: &[u64] = &[2 << 32 | 2 << 48, 0, 0, 0, 0];
    assert!(Heartbeat::decode(&packed_with_zeros(EMPTY, 31)).is_ok());
    for runs in [32, 255] {
        let zeros = packed_with_zeros(EMPTY, runs);
        assert!(zeros.len() < 1024);
        assert_eq!(Heartbeat::decode(&zeros), Err(HeartbeatError::TooLarge), "{runs}");
    }
    // A list of 2^29 structs without a size.
    let list = packed(&[2 << 32 | 2 << 48, 0, 0, 0, 1 | 7 << 32, (1 << 29) << 2, 0]);
    let error = Heartbeat::decode(&list).unwrap_err();
    assert_ne!(error.verdict(), Verdict::Accept, "{error}");
}

#[test]
fn each_limit_of_the_own_heartbeat_is_named() {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let many = (0..65).map(|i| (i.to_string(), String::new())).collect();
    for (error, part) in [
        (Heartbeat::check_ttl(Duration::from_millis(999)), "`1s` to `24h`"),
        (Heartbeat::check_host(&"h".repeat(256)), "256 bytes"),
        (Heartbeat::check_meta(&many), "at most 64"),
        (Heartbeat::check_meta(&map(&[("", "v")])), "key=value"),
        (Heartbeat::check_meta(&map(&[("a=b", "v")])), "a=b"),
        (Heartbeat::check_meta(&map(&[("k", &"v".repeat(4095))])), "4097 bytes"),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        assert!(error.message().contains(part), "{error}");
    }
    Heartbeat::check_meta(&map(&[("k", &"v".repeat(4094))])).unwrap();
}

#[test]
fn a_large_message_with_orphaned_bytes_is_read() {
    const HOST: u64 = 60_000;
    let mut words = vec![2 << 32 | 2 << 48, 0, 0, 1 | HOST << 2 | (3 << 3 | 2) << 32, 0];
    words.extend((0..HOST).map(|i| i << 32 | 0xffff));
    words[4 + HOST as usize] = u64::from_le_bytes(*b"ab\0\0\0\0\0\0");
    let bytes = packed(&words);
    assert!(bytes.len() > 200_000);
    assert_eq!(Heartbeat::decode(&bytes).unwrap().host, "ab");

    // Who says when it was sent does not do that.
    words[0] = 3 << 32 | 2 << 48;
    words.insert(3, 1_800_000_000_000);
    let bytes = packed(&words);
    assert_eq!(Heartbeat::decode(&bytes), Err(HeartbeatError::TooLarge));
    let excess = Heartbeat::excess(&bytes, HeartbeatError::TooLarge);
    assert_eq!(excess, format!("{} bytes, where 16384 are the most", bytes.len()));
    let most = Heartbeat {
        sent_at: Some(Duration::from_secs(1)),
        host: "h".repeat(Heartbeat::MAX_HOST),
        meta: vec![format!("{}=", "k".repeat(63)); Heartbeat::MAX_META],
        ..beat(&[])
    };
    assert!(most.encode().len() < Heartbeat::MAX_OURS / 2);
    assert_eq!(Heartbeat::decode(&most.encode()), Ok(most));
}

proptest! {
    #[test]
    fn a_heartbeat_comes_back_as_it_was_sent(
        server: u64,
        ttl in proptest::option::of(1000_u64..86_400_000),
        host in ".{0,60}",
        meta in proptest::collection::vec("[a-c]{0,3}=.{0,10}", 0..10),
        sent_at in proptest::option::of(1_u64..),
        ports in proptest::collection::vec(1_u16.., 0..9),
    ) {
        let [ttl, sent_at] = [ttl, sent_at].map(|ms| ms.map(Duration::from_millis));
        let addrs: Vec<_> =
            ports.iter().map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()).collect();
        let addrs = Addrs::told(&addrs);
        let beat = Heartbeat { server, ttl, host, meta, sent_at, addrs };
        prop_assert_eq!(Heartbeat::decode(&beat.encode()), Ok(beat));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Heartbeat::decode(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let addrs = Addrs::told(&["/ip4/10.0.0.1/tcp/1", "/dns/a.example/udp/1/quic-v1"].map(|a| a.parse().unwrap()));
        let meta = ["role=worker", "zone=a=b", "empty="];
        let mut bytes = Heartbeat { addrs, ..beat(&meta) }.encode();
        for (at, with) in flips {
            let at = at % bytes.len();
            bytes[at] ^= with;
        }
        let _ = Heartbeat::decode(&bytes);
    }
}
