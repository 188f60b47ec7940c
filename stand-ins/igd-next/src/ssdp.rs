//! Who says that it is a gateway.

use std::net::{IpAddr, SocketAddr};

/// Where hosts of the network hear who is looked for.
pub(crate) const GROUP: &str = "239.255.255.250:1900";

/// Asks for gateways. Those of version 2 answer too.
pub(crate) const SEARCH: &str = "M-SEARCH * HTTP/1.1\r\n\
    HOST: 239.255.255.250:1900\r\n\
    MAN: \"ssdp:discover\"\r\n\
    MX: 2\r\n\
    ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";

/// Where the host that sent this describes itself, if it is one of a private network and
/// sends nobody elsewhere.
pub(crate) fn description(bytes: &[u8], from: SocketAddr) -> Option<(SocketAddr, String)> {
    let IpAddr::V4(ip) = from.ip() else { return None };
    if !ip.is_private() && !ip.is_link_local() {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let url = fields
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.trim())
        .next()?;
    url.contains("://").then(|| at(url, from)).flatten()
}

/// Where a URL leads on a host: it may name that host, or none.
pub(crate) fn at(url: &str, host: SocketAddr) -> Option<(SocketAddr, String)> {
    // No line of its own can be slipped into a request.
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if !url.contains("://") {
        let path = if url.starts_with('/') { url.to_owned() } else { format!("/{url}") };
        return Some((host, path));
    }
    let scheme = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
    let rest = &url[scheme.len()..];
    let (name, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let at = match name.parse() {
        Ok(at) => at,
        Err(_) => SocketAddr::new(name.parse().ok()?, 80),
    };
    (at.ip() == host.ip()).then(|| (at, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(from: &str, location: &str) -> Option<(SocketAddr, String)> {
        let text = format!("HTTP/1.1 200 OK\r\nST: x\r\nLocation: {location}\r\n\r\n");
        description(text.as_bytes(), from.parse().unwrap())
    }

    #[test]
    fn a_gateway_describes_itself_where_it_is() {
        let home = "192.168.1.1:1900";
        let there = |at: &str, path: &str| Some((at.parse().unwrap(), path.to_owned()));
        assert_eq!(
            told(home, "http://192.168.1.1:5000/r.xml"),
            there("192.168.1.1:5000", "/r.xml")
        );
        assert_eq!(told(home, "HTTP://192.168.1.1"), there("192.168.1.1:80", "/"));
        for elsewhere in [
            "http://192.168.1.2/r.xml",
            "http://127.0.0.1/r.xml",
            "http://8.8.8.8/",
            "http://fritz.box/r.xml",
            "https://192.168.1.1/r.xml",
            "http://192.168.1.1@8.8.8.8/",
            "http://192.168.1.1:99999/",
            "/r.xml",
            "",
        ] {
            assert_eq!(told(home, elsewhere), None, "{elsewhere}");
        }
        // Not from afar, nor from this machine.
        assert_eq!(told("8.8.8.8:1900", "http://8.8.8.8/"), None);
        assert_eq!(told("127.0.0.1:1900", "http://127.0.0.1/"), None);
        assert_eq!(description(b"HTTP/1.1 200 OK\r\n\r\n", home.parse().unwrap()), None);
    }

    #[test]
    fn no_line_is_slipped_into_a_request() {
        let host = "192.168.1.1:80".parse().unwrap();
        assert_eq!(at("ctl", host), Some((host, "/ctl".into())));
        assert_eq!(at("/a HTTP/1.1\r\nHost: x", host), None);
    }
}
