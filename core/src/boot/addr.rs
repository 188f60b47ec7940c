//! Boot addresses: one string syntax that says where peers are looked for, on
//! the command line, in configuration, and in every language.

use crate::{Error, ErrorKind, Result};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// The UDP port at which boot services are found by default, and the first of
/// the range that `auto` uses on the loopback interface.
pub const DEFAULT_PORT: u16 = 8822;

/// How many loopback ports, from [`DEFAULT_PORT`] up, `auto` uses.
pub const AUTO_PORTS: u16 = 32;

/// The most addresses that a crawled block may have.
pub const MAX_BLOCK: u64 = 1 << 32;

/// Where peers are looked for.
///
/// ```
/// # use casm::boot::BootAddr;
/// let block: BootAddr = "/ip4/10.0.0.0/udp/8822/cidr/24".parse()?;
/// assert_eq!(block.to_string(), "/ip4/10.0.0.0/udp/8822/cidr/24");
/// # Ok::<(), casm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BootAddr {
    /// `auto`: a multicast survey on every interface that can, in each address
    /// family that it has, raced with a crawl of the loopback ports 8822 to 8853.
    Auto,
    /// `none`: no discovery.
    None,
    /// `/ip4/10.0.0.0/udp/8822/cidr/24`: every host of a block, at one port.
    Cidr {
        /// An address in the block.
        ip: IpAddr,
        /// The length of the block's prefix, in bits.
        prefix: u8,
        /// The UDP port.
        port: u16,
    },
    /// `/ip4/127.0.0.1/udp/8822`: one address.
    Single(SocketAddr),
    /// `/ip4/127.0.0.1/udp/8822/ports/32`: consecutive ports of one host.
    Ports {
        /// The host.
        ip: IpAddr,
        /// The first UDP port.
        first: u16,
        /// How many ports.
        count: u16,
    },
    /// `/ip4/228.8.8.8/udp/8822/multicast/eth0`, and the same with `/survey`.
    Multicast {
        /// The multicast group and its UDP port.
        group: SocketAddr,
        /// The name of the interface.
        interface: String,
        /// Whether the survey widens step by step, so that a large group is
        /// not asked all at once.
        gradual: bool,
    },
    /// `/dns/NAME/udp/8822`: every address that a name resolves to.
    Dns {
        /// The name.
        name: String,
        /// Which address records are asked for.
        family: Family,
        /// The UDP port.
        port: u16,
    },
    /// `/…/p2p/<peer id>` or `/dnsaddr/NAME`: a peer whose address is known.
    Static {
        /// The peer; unknown only with `/dnsaddr/NAME`.
        peer: Option<PeerId>,
        /// The address, without the final `/p2p/<peer id>`.
        addr: Multiaddr,
    },
}

/// The address records that a name is resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A and AAAA: `/dns/`.
    Any,
    /// A: `/dns4/`.
    V4,
    /// AAAA: `/dns6/`.
    V6,
}

const FORMS: &str = "write `auto`, `none`, `/ip4/10.0.0.0/udp/8822/cidr/24`, \
    `/ip4/127.0.0.1/udp/8822`, `/ip4/127.0.0.1/udp/8822/ports/32`, \
    `/ip4/228.8.8.8/udp/8822/multicast/eth0/survey`, `/dns/NAME/udp/8822`, \
    `/ip4/10.0.0.1/tcp/4001/p2p/<peer id>` or `/dnsaddr/NAME`";

fn refuse(text: &str, why: impl fmt::Display) -> Error {
    let shown: String = text.chars().take(200).collect();
    Error::new(ErrorKind::Address, format!("boot address {shown:?}: {why}"))
}

impl BootAddr {
    /// Parses a list divided by commas, as in the variable `CASM_BOOT`.
    ///
    /// # Errors
    /// As [`BootAddr::from_str`], for the first one that is wrong; also if
    /// `none` is not alone.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let list: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(str::parse)
            .collect::<Result<_>>()?;
        Self::check_list(&list)?;
        Ok(list)
    }

    /// Refuses a list in which `none` is not alone.
    pub(crate) fn check_list(list: &[Self]) -> Result<()> {
        if list.len() > 1 && list.contains(&Self::None) {
            let shown: Vec<String> = list.iter().map(ToString::to_string).collect();
            return Err(Error::config(
                "boot",
                shown.join(","),
                "`none` means no discovery: leave it out, or write it alone",
            ));
        }
        Ok(())
    }

    fn parse_static(text: &str) -> Result<Self> {
        let mut addr: Multiaddr =
            text.parse().map_err(|e| refuse(text, format!("{e}; {FORMS}")))?;
        if let Some(Protocol::P2p(peer)) = addr.iter().last() {
            addr.pop();
            if addr.is_empty() {
                return Err(refuse(
                    text,
                    "it names a peer but not where it is: write `/ip4/10.0.0.1/tcp/4001/p2p/<peer id>`",
                ));
            }
            return Ok(Self::Static { peer: Some(peer), addr });
        }
        let parts: Vec<Protocol<'_>> = addr.iter().collect();
        if let [Protocol::Dnsaddr(_)] = parts[..] {
            return Ok(Self::Static { peer: None, addr });
        }
        Err(refuse(text, format!("it does not end in `/p2p/<peer id>`; {FORMS}")))
    }

    fn parse_udp(text: &str, host: Host, port: &str, rest: &[&str]) -> Result<Self> {
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(refuse(text, format!("{port:?} is not a UDP port: write 1 to 65535"))),
        };
        let ip = match (host, rest) {
            (Host::Ip(ip), _) => ip,
            (Host::Name(name, family), []) => return Ok(Self::Dns { name, family, port }),
            (Host::Name(..), _) => {
                return Err(refuse(
                    text,
                    "nothing may follow the port of a name: write `/dns/NAME/udp/8822`",
                ));
            }
        };
        if ip.is_multicast() != matches!(rest, ["multicast", ..]) {
            return Err(refuse(
                text,
                if ip.is_multicast() {
                    format!(
                        "{ip} is a multicast group: add the interface, as in `{}/multicast/eth0`",
                        prefix(ip, port)
                    )
                } else {
                    format!(
                        "{ip} is not a multicast group: write one such as `/ip4/228.8.8.8/udp/{port}/multicast/eth0`"
                    )
                },
            ));
        }
        match rest {
            [] => Ok(Self::Single(SocketAddr::new(ip, port))),
            ["cidr", bits] => Self::cidr(text, ip, port, bits),
            ["ports", count] => match count.parse::<u16>() {
                Ok(count) if count > 0 && port.checked_add(count - 1).is_some() => {
                    Ok(Self::Ports { ip, first: port, count })
                }
                _ => Err(refuse(
                    text,
                    format!(
                        "{count:?} is not a number of ports: write 1 to {}",
                        65536 - u32::from(port)
                    ),
                )),
            },
            ["multicast", interface] | ["multicast", interface, "survey"]
                if !interface.is_empty() && interface.len() <= 64 =>
            {
                Ok(Self::Multicast {
                    group: SocketAddr::new(ip, port),
                    interface: (*interface).into(),
                    gradual: rest.len() == 3,
                })
            }
            ["multicast", ..] => Err(refuse(
                text,
                format!(
                    "after `multicast` comes the interface, and `survey` at most: write `{}/multicast/eth0/survey`",
                    prefix(ip, port)
                ),
            )),
            _ => Err(refuse(text, format!("{:?} is not known here; {FORMS}", rest.join("/")))),
        }
    }

    fn cidr(text: &str, ip: IpAddr, port: u16, bits: &str) -> Result<Self> {
        let width: u8 = if ip.is_ipv4() { 32 } else { 128 };
        // Larger blocks could not be crawled in a lifetime.
        let least = width.saturating_sub(32);
        match bits.parse::<u8>() {
            Ok(bits) if bits > width => Err(refuse(
                text,
                format!("the prefix of an address of {width} bits is at most {width}"),
            )),
            Ok(bits) if bits < least => Err(refuse(
                text,
                format!(
                    "a /{bits} has more than 2^32 addresses: write a prefix of {least} to {width}, or use multicast"
                ),
            )),
            Ok(bits) => Ok(Self::Cidr { ip, prefix: bits, port }),
            Err(_) => {
                Err(refuse(text, format!("{bits:?} is not a prefix length: write 0 to {width}")))
            }
        }
    }
}

enum Host {
    Ip(IpAddr),
    Name(String, Family),
}

fn prefix(ip: IpAddr, port: u16) -> String {
    format!("/{}/{ip}/udp/{port}", if ip.is_ipv4() { "ip4" } else { "ip6" })
}

impl FromStr for BootAddr {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Address`] that names the string and says what to write
    /// instead.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::None),
            _ => {}
        }
        if text.len() > 1024 {
            return Err(refuse(text, "it is longer than 1024 bytes"));
        }
        let Some(path) = text.strip_prefix('/') else {
            return Err(refuse(text, FORMS));
        };
        let parts: Vec<&str> = path.split('/').collect();
        let beyond_ascii = |pair: &&[&str]| pair[0].starts_with("dns") && !pair[1].is_ascii();
        if let Some([_, name]) = parts.windows(2).find(beyond_ascii) {
            return Err(refuse(
                text,
                format!("{name:?} is not ASCII: write it in Punycode, as `xn--bcher-kva.example`"),
            ));
        }
        let [kind, host, "udp", port, rest @ ..] = &parts[..] else {
            return Self::parse_static(text);
        };
        // What goes on with a transport is a peer's address.
        if parts.contains(&"p2p") {
            return Self::parse_static(text);
        }
        let family = match *kind {
            "ip4" | "ip6" => {
                let ip = match *kind {
                    "ip4" => host.parse().map(IpAddr::V4),
                    _ => host.parse().map(IpAddr::V6),
                };
                let ip = ip.map_err(|_| {
                    refuse(text, format!("{host:?} is not an {kind} address; {FORMS}"))
                })?;
                return Self::parse_udp(text, Host::Ip(ip), port, rest);
            }
            "dns" => Family::Any,
            "dns4" => Family::V4,
            "dns6" => Family::V6,
            _ => return Self::parse_static(text),
        };
        if host.is_empty() || host.len() > 253 {
            return Err(refuse(
                text,
                "the name is empty or longer than 253 bytes: write `/dns/NAME/udp/8822`",
            ));
        }
        Self::parse_udp(text, Host::Name((*host).into(), family), port, rest)
    }
}

impl fmt::Display for BootAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Cidr { ip, prefix: bits, port } => {
                write!(f, "{}/cidr/{bits}", prefix(*ip, *port))
            }
            Self::Single(at) => f.write_str(&prefix(at.ip(), at.port())),
            Self::Ports { ip, first, count } => write!(f, "{}/ports/{count}", prefix(*ip, *first)),
            Self::Multicast { group, interface, gradual } => {
                write!(f, "{}/multicast/{interface}", prefix(group.ip(), group.port()))?;
                if *gradual { f.write_str("/survey") } else { Ok(()) }
            }
            Self::Dns { name, family, port } => {
                let kind = match family {
                    Family::Any => "dns",
                    Family::V4 => "dns4",
                    Family::V6 => "dns6",
                };
                write!(f, "/{kind}/{name}/udp/{port}")
            }
            Self::Static { peer: Some(peer), addr } => write!(f, "{addr}/p2p/{peer}"),
            Self::Static { peer: None, addr } => addr.fmt(f),
        }
    }
}

#[cfg(test)]
#[path = "addr_tests.rs"]
mod tests;
