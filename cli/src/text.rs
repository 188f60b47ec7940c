//! Lines for people.

use crate::json::{
    CertificateLine, Line, PacketLine, ReachabilityLine, RecordLine, RevocationLine, Said,
    ServiceLine,
};
pub use casm::logs::clean;
use casm::logs::is_harmful;
use crossterm::style::{Color, Stylize};
use std::{
    borrow::Cow,
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

/// A line as text, without its end.
pub fn of(line: &Line, colour: bool) -> String {
    match line {
        Line::Listening { peer, addrs } => {
            let mut text = format!("{} {peer}", word("listening", Color::Cyan, colour));
            for addr in addrs {
                let _ = write!(text, "\n           {}", clean(addr));
            }
            text
        }
        Line::PeersFound { source, peer, addrs } => {
            let word = word("found", Color::Cyan, colour);
            let addrs = addrs.iter().map(|addr| clean(addr)).collect::<Vec<_>>().join(" ");
            format!("{word} {peer} at {addrs}, from {}", clean(source))
        }
        Line::PeerJoined { record } => {
            format!("{} {}", word("joined", Color::Green, colour), described(record))
        }
        Line::PeerUpdated { record } => {
            format!("{} {}", word("updated", Color::Yellow, colour), described(record))
        }
        Line::PeerLeft { peer, reason } => {
            format!("{} {peer} ({})", word("left", Color::Red, colour), clean(reason))
        }
        Line::ViewChanged { peers } => {
            format!("{} {} peers", word("overlay", Color::DarkGrey, colour), peers.len())
        }
        Line::Connected { peer } => {
            format!("{} {peer}", word("connect", Color::DarkGrey, colour))
        }
        Line::Disconnected { peer } => {
            format!("{} {peer}", word("discon", Color::DarkGrey, colour))
        }
        Line::Relayed { peer } => {
            format!("{} {peer}", word("relayed", Color::Yellow, colour))
        }
        Line::Direct { peer } => format!("{} {peer}", word("direct", Color::Green, colour)),
        Line::ReachabilityChanged { reachability } => of_reachability(reachability, colour),
        Line::View { records, .. } => view(records, colour),
        Line::Reply { peer, said, .. } => match peer {
            Some(peer) => format!("{peer}  {}", said_text(said, colour)),
            None => said_text(said, colour),
        },
        Line::Part { said } => said_text(said, colour),
        Line::Ended { reason } => format!("{} {reason}", word("ended", Color::DarkGrey, colour)),
        Line::Services { services } => of_services(services, colour),
        Line::ClockDiffers { offset_ms, peers } => {
            let (by, way) = (duration(offset_ms.unsigned_abs()), *offset_ms > 0);
            let way = if way { "behind" } else { "ahead of" };
            let whose = match &peers[..] {
                [peer] => format!("that of {peer}: one of the two is wrong"),
                _ => format!("those of {} peers: set it, best by NTP", peers.len()),
            };
            format!("{} {by} {way} {whose}", word("clock", Color::Red, colour))
        }
        Line::KeyShared { record } => {
            let word = word("key", Color::Red, colour);
            let who = described(record);
            format!("{word} another node uses this node's key: give each its own ({who})")
        }
        Line::Message { topic, source, said, .. } => {
            let (topic, said) = (word(&clean(topic), Color::Cyan, colour), said_text(said, colour));
            format!("{topic} {source}: {said}")
        }
        Line::Published { topic, messages, peers } => {
            let word = word("published", Color::Green, colour);
            let (count, topic) = (counted(*messages, "message"), clean(topic));
            format!("{word} {count} on {topic}, to {}", counted(*peers as u64, "peer"))
        }
        Line::Dropped { count } => {
            format!("{} {count} events", word("dropped", Color::Red, colour))
        }
        Line::Error { kind, message } => {
            format!("{} {}: {}", word("error", Color::Red, colour), kind, clean(message))
        }
        Line::Summary { nodes, complete, first_peer_ms, full_view_ms, first_answer_ms } => {
            let outcome = if *complete {
                word("complete", Color::Green, colour)
            } else {
                word("incomplete", Color::Red, colour)
            };
            format!(
                "{outcome} {nodes} nodes; first peer after {}; full view after {}; \
                 answered by another after {}",
                times(first_peer_ms),
                times(full_view_ms),
                times(first_answer_ms)
            )
        }
        Line::Packet(packet) => of_packet(packet, colour),
        Line::Sent { kind, packets } => {
            format!("{} {packets} packets, {kind}", word("sent", Color::Cyan, colour))
        }
        Line::Check { name, status, message, advice } => {
            let tone = match &**status {
                "ok" => Color::Green,
                "warn" => Color::Yellow,
                _ => Color::Red,
            };
            let mut text =
                format!("{} {}: {}", word(status, tone, colour), clean(name), clean(message));
            if let Some(advice) = advice {
                let _ = write!(text, "\n           {}", clean(advice));
            }
            text
        }
        Line::Key { peer, .. } => peer.clone(),
        Line::Secret { fingerprint, .. } => fingerprint.clone(),
        Line::Certificate(certificate) => of_certificate(certificate, colour),
        Line::Revocation(revocation) => of_revocation(revocation, colour),
    }
}

fn of_reachability(known: &ReachabilityLine, colour: bool) -> String {
    let tone = match &*known.reach {
        "public" => Color::Green,
        "private" => Color::Yellow,
        _ => Color::DarkGrey,
    };
    let mut text = format!("{} {}", word("reach", tone, colour), clean(&known.reach));
    for known in &known.addrs {
        let _ = write!(text, "\n           {} ({})", clean(&known.addr), clean(&known.found));
    }
    text
}

fn of_certificate(line: &CertificateLine, colour: bool) -> String {
    let CertificateLine { peer, ca, ns, serial, .. } = line;
    let state = state(&line.state, colour);
    let roles = match &line.roles[..] {
        [] => "none".to_owned(),
        roles => clean(&roles.join(" ")).into_owned(),
    };
    let (from, to, issued) = (time(line.not_before), time(line.not_after), time(line.issued));
    format!(
        "{state} {peer}\n  namespace  {}\n  roles      {roles}\n  from       {from}\n  \
         until      {to}\n  signed     {issued}\n  by         {ca}\n  serial     {serial}",
        clean(ns)
    )
}

fn of_revocation(line: &RevocationLine, colour: bool) -> String {
    let RevocationLine { peer, ca, .. } = line;
    let state = match &*line.state {
        "valid" => word("revoked", Color::Yellow, colour),
        other => state(other, colour),
    };
    let (at, until) = (time(line.at), time(line.until));
    format!("{state} {peer}: what {ca} signed for it until {at}; kept until {until}")
}

/// Whether a certificate counts.
fn state(state: &str, colour: bool) -> String {
    word(state, if state == "valid" { Color::Green } else { Color::Red }, colour)
}

/// A second since 1970, by the calendar as far as that goes.
fn time(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799; // The end of 9999.
    match seconds <= LAST {
        true => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        }
        false => format!("second {seconds}"),
    }
}

/// A view as a table.
fn view(records: &[RecordLine], colour: bool) -> String {
    let hosts: Vec<_> = records.iter().map(|r| clean(&r.host)).collect();
    let width = hosts.iter().map(|h| h.chars().count()).max().unwrap_or(0).max(4);
    let id = records.iter().map(|r| r.peer.len()).max().unwrap_or(0).max(4);
    let all_roles: Vec<_> = records.iter().map(roles).collect();
    // A column of their own where there are any: what is proven must not look like what
    // a peer says.
    let roles_width = all_roles.iter().map(|roles| roles.chars().count()).max().unwrap_or(0);
    let roles_width = if roles_width > 0 { roles_width.max(5) } else { 0 };
    let column = |text: &str| match roles_width {
        0 => String::new(),
        width => format!("  {text:width$}"),
    };
    let roles_head = column("ROLES");
    let head = format!("{:id$}  {:width$}  {:>6}{roles_head}  META", "PEER", "HOST", "TTL");
    let mut text = if colour { head.bold().to_string() } else { head };
    for ((record, host), roles) in records.iter().zip(hosts).zip(&all_roles) {
        let (ttl, roles) = (duration(record.ttl_ms), column(roles));
        let _ = write!(text, "\n{:id$}  {host:width$}  {ttl:>6}{roles}", record.peer);
        let meta = meta(record);
        if !meta.is_empty() {
            let _ = write!(text, "  {meta}");
        }
        if !record.verified {
            text.push_str("  (not verified)");
        }
    }
    text
}

fn said_text(said: &Said, colour: bool) -> String {
    match said {
        Said::Text(text) => clean(text).into_owned(),
        Said::Base64(text) => format!("{} {text}", word("base64", Color::DarkGrey, colour)),
        Said::Error { kind, message } => {
            format!("{} {kind}: {}", word("error", Color::Red, colour), clean(message))
        }
    }
}

/// Services as a table.
fn of_services(services: &[ServiceLine], colour: bool) -> String {
    let names: Vec<_> = services.iter().map(|s| clean(&s.name)).collect();
    let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).max(7);
    let head = format!("{:width$}  {:>7}  PEERS", "SERVICE", "VERSION");
    let mut text = if colour { head.bold().to_string() } else { head };
    for (service, name) in services.iter().zip(names) {
        let version = clean(&service.version);
        let _ = write!(text, "\n{name:width$}  {version:>7}  {}", service.peers.join(" "));
    }
    text
}

fn described(record: &RecordLine) -> String {
    let meta = meta(record);
    let gap = if meta.is_empty() { "" } else { "  " };
    let roles = roles(record);
    // At the id, where nothing stands that the peer says.
    let roles = if roles.is_empty() { roles } else { format!(" ({roles})") };
    format!("{}{roles}  {}{gap}{meta}", record.peer, clean(&record.host))
}

/// A record's roles.
pub fn roles(record: &RecordLine) -> String {
    record.roles.iter().map(|role| clean(role)).collect::<Vec<_>>().join(", ")
}

/// A record's meta fields in one line.
pub fn meta(record: &RecordLine) -> String {
    let fields = record.meta.iter().map(|(k, v)| format!("{}={}", clean(k), clean(v)));
    let mut text = fields.collect::<Vec<_>>().join(" ");
    if !record.services.is_empty() {
        let gap = if text.is_empty() { "" } else { "  " };
        let names = record.services.keys().map(|name| clean(name)).collect::<Vec<_>>().join(", ");
        let _ = write!(text, "{gap}serves {names}");
    }
    text
}

fn of_packet(packet: &PacketLine, colour: bool) -> String {
    let tone = if packet.peer.is_none() { Color::Red } else { Color::Cyan };
    let mut text = word(&packet.kind, tone, colour);
    let _ = write!(text, " {} bytes from {}", packet.bytes, packet.from);
    if let Some(peer) = &packet.peer {
        let _ = write!(text, ", peer {peer}");
    }
    if let Some(ns) = &packet.ns {
        let _ = write!(text, ", namespace {}", clean(ns));
    }
    if let Some(distance) = packet.distance {
        let _ = write!(text, ", distance {distance}");
    }
    let _ = write!(text, ", {}", packet.verdict);
    for addr in &packet.addrs {
        let _ = write!(text, "\n           {}", clean(addr));
    }
    text
}

/// JSON that cannot steer a terminal, and says the same.
pub fn clean_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_harmful) {
        return json.into();
    }
    let mut clean = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if !is_harmful(c) {
            clean.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(clean, "\\u{unit:04x}");
        }
    }
    clean.into()
}

/// A time as `10s`, `1m30s` or `500ms`.
pub fn duration(ms: u64) -> String {
    humantime::format_duration(std::time::Duration::from_millis(ms)).to_string().replace(' ', "")
}

fn counted(count: u64, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

fn times(ms: &[Option<u64>]) -> String {
    let known: Vec<u64> = ms.iter().flatten().copied().collect();
    match (known.iter().min(), known.iter().max()) {
        (Some(min), Some(max)) if known.len() == ms.len() => format!("{min} to {max} ms"),
        (Some(min), Some(max)) => {
            format!("{min} to {max} ms in {} of {} nodes", known.len(), ms.len())
        }
        _ => "never".into(),
    }
}

fn word(word: &str, tone: Color, colour: bool) -> String {
    let word = format!("{word:<10}");
    if colour { word.with(tone).to_string() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::ReachableLine;

    fn record(host: &str) -> RecordLine {
        RecordLine {
            peer: "12D3".into(),
            server: String::new(),
            seq: "1".into(),
            ttl_ms: 10_000,
            host: host.into(),
            meta: [("role".to_owned(), "a\u{1b}[31m".to_owned())].into(),
            addrs: Vec::new(),
            services: Default::default(),
            channels: Vec::new(),
            roles: Vec::new(),
            verified: true,
        }
    }

    #[test]
    fn text_from_the_network_cannot_steer_the_terminal() {
        let line = Line::PeerJoined { record: record("h\u{1b}]0;owned\u{7}\u{202e}") };
        let text = of(&line, false);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}') && !text.contains('\u{202e}'));
        assert!(text.contains("\\u{1b}"), "{text}");
        let Line::PeerJoined { record } = line else { unreachable!() };
        let table = of(&Line::View { n: 1, records: vec![record] }, false);
        assert!(!table.contains('\u{1b}'), "{table}");
    }

    #[test]
    fn a_record_on_the_word_of_another_alone_is_marked() {
        let [proven, hearsay] = [true, false].map(|verified| {
            let records = vec![RecordLine { verified, ..record("h") }];
            of(&Line::View { n: 1, records }, false)
        });
        assert!(!proven.contains("verified") && hearsay.ends_with("(not verified)"), "{hearsay}");
    }

    #[test]
    fn no_line_shows_an_address_or_a_message_that_steers_the_terminal() {
        let text = "/dns/h\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\u{2028}\u{61c}\u{200b}/tcp/1";
        let addrs = || vec![text.to_owned()];
        let packet = PacketLine { addrs: addrs(), ns: Some(text.into()), ..PacketLine::default() };
        for line in [
            Line::Listening { peer: "p".into(), addrs: addrs() },
            Line::PeersFound { source: text.into(), peer: "p".into(), addrs: addrs() },
            Line::Packet(packet),
            Line::ReachabilityChanged {
                reachability: ReachabilityLine {
                    reach: "public".into(),
                    addrs: vec![ReachableLine { addr: text.into(), found: "announced".into() }],
                },
            },
            Line::Error { kind: "Io".into(), message: text.into() },
            Line::Message {
                topic: text.into(),
                source: "p".into(),
                seq: "1".into(),
                said: Said::Text(text.into()),
            },
            Line::Part { said: Said::Error { kind: "Remote".into(), message: text.into() } },
            Line::Check {
                name: text.into(),
                status: "warn".into(),
                message: text.into(),
                advice: Some(text.into()),
            },
        ] {
            let shown = of(&line, false);
            let harmful = |c| c != '\n' && is_harmful(c);
            assert!(!shown.contains(harmful) && shown.contains("owned"), "{shown:?}");
            let json = serde_json::to_string(&line).unwrap();
            let shown = clean_json(&json);
            assert!(!shown.contains(is_harmful), "{shown:?}");
            assert_eq!(serde_json::from_str::<Line>(&shown).unwrap(), line, "it says the same");
        }
    }

    #[test]
    fn what_is_beyond_the_first_plane_of_unicode_is_two_units_of_json() {
        let json = clean_json("\"a\u{e0041}\"");
        assert_eq!(json, r#""a\udb40\udc41""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "a\u{e0041}");
    }

    #[test]
    fn a_view_is_a_table_with_a_head() {
        let text = of(&Line::View { n: 2, records: vec![record("h"), record("longer")] }, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "PEER  HOST       TTL  META");
        assert!(lines[1].starts_with("12D3  h          10s  role=a"), "{text}");
    }

    #[test]
    fn roles_stand_where_nothing_else_can() {
        let worker = RecordLine { roles: vec!["eu".into(), "worker".into()], ..record("h") };
        let joined = of(&Line::PeerJoined { record: worker.clone() }, false);
        assert!(joined.contains("12D3 (eu, worker)  h  role=a"), "{joined}");
        let text = of(&Line::View { n: 2, records: vec![record("h"), worker] }, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "PEER  HOST     TTL  ROLES       META");
        assert!(lines[1].starts_with("12D3  h        10s              role=a"), "{text}");
        assert!(lines[2].starts_with("12D3  h        10s  eu, worker  role=a"), "{text}");
    }

    #[test]
    fn reachability_tells_where_and_how_that_is_known() {
        let addr = ReachableLine { addr: "/ip4/8.8.8.8/tcp/1".into(), found: "mapped".into() };
        let reachability = ReachabilityLine { reach: "public".into(), addrs: vec![addr] };
        let text = of(&Line::ReachabilityChanged { reachability }, false);
        assert!(text.starts_with("reach") && text.contains(" public\n"), "{text}");
        assert!(text.ends_with("/ip4/8.8.8.8/tcp/1 (mapped)"), "{text}");
        let [relayed, direct] =
            [Line::Relayed { peer: "p".into() }, Line::Direct { peer: "p".into() }];
        let [relayed, direct] = [of(&relayed, false), of(&direct, false)];
        assert!(relayed.starts_with("relayed") && relayed.ends_with(" p"), "{relayed}");
        assert!(direct.starts_with("direct") && direct.ends_with(" p"), "{direct}");
    }

    #[test]
    fn a_summary_tells_how_long_it_took() {
        let line = Line::Summary {
            nodes: 2,
            complete: false,
            first_peer_ms: vec![Some(10), Some(30)],
            full_view_ms: vec![None, Some(40)],
            first_answer_ms: vec![Some(50), Some(60)],
        };
        let text = of(&line, false);
        assert!(text.contains("10 to 30 ms") && text.contains("40 to 40 ms in 1 of 2 nodes"));
        assert!(text.starts_with("incomplete") && text.ends_with("after 50 to 60 ms"), "{text}");
    }

    #[test]
    fn colour_is_only_there_when_asked_for() {
        let line = Line::Connected { peer: "p".into() };
        assert!(!of(&line, false).contains('\u{1b}'));
    }
}
