//! Values of options. Each refusal says what to write instead.

use casm::{
    Multiaddr, Pace, PeerId, Target,
    admit::{MAX_LIFETIME, is_role},
    cluster::Limits,
};
use std::time::Duration;

/// The range of TTLs that a node may have.
const TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// The range of paces of peer exchange.
const PEX_TICK: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// A duration, such as `500ms`, `10s`, `1m30s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|e| format!("{e}; write a number and its unit, such as 500ms, 10s or 5m"))
}

/// A pause between two of something.
pub fn pace(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        d if d < Duration::from_millis(10) => Err("too short; write 10ms or more".into()),
        d => Ok(d),
    }
}

/// A TTL.
pub fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if TTL.contains(&ttl) {
        return Ok(ttl);
    }
    Err("a TTL is at least 1s and at most 24h; write one such as 10s".into())
}

/// Heartbeats of the whole cluster a second.
pub fn budget(text: &str) -> Result<u32, String> {
    let budget = text.parse().ok().filter(|budget| Pace::BUDGETS.contains(budget));
    let (least, most) = (Pace::BUDGETS.start(), Pace::BUDGETS.end());
    budget.ok_or_else(|| {
        format!(
            "write how many heartbeats the whole cluster may send in a second, {least} to {most}"
        )
    })
}

/// The pace of peer exchange; none if it is off. (A type of its own, as an
/// option without a value means something else to clap.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PexTick(pub Option<Duration>);

/// The pace of peer exchange, or `off`.
pub fn pex_tick(text: &str) -> Result<PexTick, String> {
    if matches!(text, "off" | "0") {
        return Ok(PexTick(None));
    }
    let tick = duration(text)?;
    match tick {
        Duration::ZERO => Ok(PexTick(None)),
        _ if PEX_TICK.contains(&tick) => Ok(PexTick(Some(tick))),
        _ => Err("a tick is at least 100ms and at most 24h; write one such as 5m, or off".into()),
    }
}

/// An authority, by its peer id.
pub fn authority(text: &str) -> Result<PeerId, String> {
    casm::admit::authority(text).map_err(|error| error.message().to_owned())
}

/// A limit of the table behind the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLimit {
    /// See [`Limits::records`].
    Records(usize),
    /// See [`Limits::bytes`].
    Bytes(usize),
    /// See [`Limits::remembered`].
    Remembered(usize),
    /// See [`Limits::probation`].
    Probation(Duration),
}

impl TableLimit {
    /// Sets it.
    pub fn set(self, limits: &mut Limits) {
        match self {
            Self::Records(n) => limits.records = n,
            Self::Bytes(n) => limits.bytes = n,
            Self::Remembered(n) => limits.remembered = n,
            Self::Probation(d) => limits.probation = d,
        }
    }
}

/// A limit of the table behind the view. (Its range is that of the configuration.)
pub fn table_limit(text: &str) -> Result<TableLimit, String> {
    const HINT: &str = "write records=N, bytes=N, remembered=N or probation=D, such as \
                        records=4096 or probation=5m";
    let (key, value) = text.split_once('=').ok_or_else(|| format!("it has no `=`; {HINT}"))?;
    let n = || value.parse().map_err(|_| format!("{value:?} is no whole number; {HINT}"));
    match key {
        "records" => n().map(TableLimit::Records),
        "bytes" => n().map(TableLimit::Bytes),
        "remembered" => n().map(TableLimit::Remembered),
        "probation" => duration(value).map(TableLimit::Probation),
        _ => Err(format!("{key:?} is no limit; {HINT}")),
    }
}

/// A field of meta data.
pub fn meta(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("it has no key before its `=`; write one such as role=worker".into()),
        Some((key, value)) => Ok((key.into(), value.into())),
        None => Err("it has no `=`; write key=value, such as role=worker".into()),
    }
}

/// An address to listen at.
pub fn listen(text: &str) -> Result<Multiaddr, String> {
    text.parse().map_err(|e| {
        format!("{e}; write one such as /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/0/quic-v1")
    })
}

/// An address at which others reach the node.
pub fn announce(text: &str) -> Result<Multiaddr, String> {
    text.parse().map_err(|e| {
        format!("{e}; write one such as /ip4/203.0.113.7/tcp/4001 or /dns/NAME/udp/4001/quic-v1")
    })
}

/// The address of a peer.
pub fn peer(text: &str) -> Result<Multiaddr, String> {
    let hint = "write one such as /ip4/10.0.0.1/tcp/4001/p2p/PEER";
    let addr: Multiaddr = text.parse().map_err(|e| format!("{e}; {hint}"))?;
    if addr.is_empty() { Err(hint.into()) } else { Ok(addr) }
}

/// A peer, by its id or its address.
pub fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|error: casm::Error| error.message().to_owned())
}

/// A peer, by its id.
pub fn peer_id(text: &str) -> Result<PeerId, String> {
    text.parse().map_err(|e| format!("{e}; write a peer id, such as `casm key show FILE` prints"))
}

/// How long a certificate lives.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        d if d.as_secs() == 0 => Err("too short; write a second or more, such as 30d".into()),
        d if d > Duration::from_secs(MAX_LIFETIME) => {
            Err("a certificate lives for 366d at most; write a time such as 30d".into())
        }
        d => Ok(d),
    }
}

/// What a member may do.
pub fn role(text: &str) -> Result<String, String> {
    match is_role(text) {
        true => Ok(text.into()),
        false => Err("write a word of 1 to 64 bytes without spaces, such as worker".into()),
    }
}

/// How many, at least one.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number, 1 or more".into()),
        Ok(n) => Ok(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_says_what_to_write() {
        for (refusal, hint) in [
            (duration("10").unwrap_err(), "500ms, 10s or 5m"),
            (pace("0s").unwrap_err(), "10ms"),
            (ttl("500ms").unwrap_err(), "at least 1s"),
            (ttl("25h").unwrap_err(), "at most 24h"),
            (pex_tick("99ms").unwrap_err(), "5m, or off"),
            (pex_tick("5").unwrap_err(), "500ms, 10s or 5m"),
            (table_limit("4096").unwrap_err(), "records=4096"),
            (table_limit("rows=4096").unwrap_err(), "records=4096"),
            (table_limit("bytes=1MiB").unwrap_err(), "bytes=N"),
            (table_limit("probation=10").unwrap_err(), "500ms, 10s or 5m"),
            (meta("role").unwrap_err(), "role=worker"),
            (meta("=x").unwrap_err(), "role=worker"),
            (listen("10.0.0.1:80").unwrap_err(), "/ip4/0.0.0.0/tcp/4001"),
            (announce("203.0.113.7:4001").unwrap_err(), "/ip4/203.0.113.7/tcp/4001"),
            (peer("10.0.0.1:80").unwrap_err(), "/p2p/PEER"),
            (target("nobody").unwrap_err(), "/p2p/"),
            (peer_id("nobody").unwrap_err(), "casm key show"),
            (lifetime("0s").unwrap_err(), "30d"),
            (lifetime("367d").unwrap_err(), "366d at most"),
            (role("a b").unwrap_err(), "such as worker"),
            (count("0").unwrap_err(), "1 or more"),
        ] {
            assert!(refusal.contains(hint), "{refusal}");
        }
    }

    #[test]
    fn peer_exchange_has_a_pace_or_is_off() {
        assert_eq!(pex_tick("5m"), Ok(PexTick(Some(Duration::from_secs(300)))));
        for off in ["off", "0", "0s", "0ms"] {
            assert_eq!(pex_tick(off), Ok(PexTick(None)), "{off}");
        }
    }

    #[test]
    fn a_limit_of_the_table_changes_that_one() {
        let mut limits = Limits::default();
        for text in ["records=64", "bytes=2097152", "remembered=8", "probation=1m"] {
            table_limit(text).unwrap().set(&mut limits);
        }
        let set = (limits.records, limits.bytes, limits.remembered, limits.probation);
        assert_eq!(set, (64, 2 << 20, 8, Duration::from_secs(60)));
    }

    #[test]
    fn a_meta_field_is_split_at_its_first_equals_sign() {
        assert_eq!(meta("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(meta("a="), Ok(("a".into(), String::new())));
    }
}
