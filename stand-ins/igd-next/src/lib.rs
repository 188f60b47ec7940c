//! The crate `igd-next`, as far as `libp2p-upnp` uses it: finds the network's gateway by
//! UPnP and has it let others in. `[patch.crates-io]` in the workspace puts it in that
//! crate's place.
//!
//! Whoever is in the network may say that it is the gateway, so that less is believed
//! than there: answers come from the host that is asked, in a private network, over plain
//! HTTP, have 64 KiB and 5 s at most, and lead to no other host.

pub mod aio;
mod http;
mod ssdp;
mod xml;

use std::{fmt, io, time::Duration};

/// How a gateway is looked for.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    timeout: Duration,
}

impl Default for SearchOptions {
    /// For 10 s.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10) }
    }
}

/// What a port is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::upper_case_acronyms, reason = "as it is called there")]
pub enum PortMappingProtocol {
    /// TCP.
    TCP,
    /// UDP.
    UDP,
}

impl fmt::Display for PortMappingProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TCP => "TCP",
            Self::UDP => "UDP",
        })
    }
}

/// Why a gateway was not found, or did not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// Nobody has answered as a gateway does.
    NotFound,
    /// The network doesn't work.
    Io(io::Error),
    /// It did not answer in time.
    Late,
    /// Its answer is none.
    Answer(&'static str),
    /// It refused, with this code of UPnP.
    Refused(u16),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no gateway has answered"),
            Self::Io(error) => write!(f, "the gateway can't be asked: {error}"),
            Self::Late => f.write_str("the gateway did not answer in time"),
            Self::Answer(problem) => write!(f, "the gateway's answer: {problem}"),
            Self::Refused(code) => write!(f, "the gateway refuses, with code {code}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads what anybody may have sent, in every way in which an answer is read.
#[doc(hidden)]
pub fn read_all(bytes: &[u8]) {
    let at = "192.168.1.1:80".parse().expect("an address");
    ssdp::description(bytes, at);
    let text = http::body(bytes, true).ok().flatten();
    for text in text.as_deref().into_iter().chain(std::str::from_utf8(bytes)) {
        assert!(xml::services(text, at).len() <= xml::SERVICES);
        let _ = xml::answer(text, "AddPortMapping");
        xml::text(text, "NewExternalIPAddress");
    }
}
