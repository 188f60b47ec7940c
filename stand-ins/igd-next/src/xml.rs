//! As much of XML as a gateway's answers need: names of elements, and the text that
//! follows them. Nothing is nested, so that no depth is too deep.

use crate::{Error, ssdp};
use std::net::SocketAddr;

/// Services of a gateway that are tried: one for each of its lines.
pub(crate) const SERVICES: usize = 4;

/// The kinds that map ports.
const KINDS: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// A service that maps ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) kind: &'static str,
    pub(crate) at: SocketAddr,
    pub(crate) path: String,
}

/// The tags: whether one closes, its name without a namespace, and the text after it.
fn tags(text: &str) -> impl Iterator<Item = (bool, &str, &str)> {
    text.split('<').skip(1).filter_map(|tag| {
        let (tag, text) = tag.split_once('>')?;
        let (closes, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/').next()?;
        let name = name.rsplit(':').next()?;
        Some((closes, name, text.trim()))
    })
}

/// The text of the first element of that name.
pub(crate) fn text<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    tags(text).find(|(closes, name, _)| !closes && *name == wanted).map(|(_, _, text)| text)
}

/// The services of a host, which describes itself so, that map ports there.
pub(crate) fn services(text: &str, host: SocketAddr) -> Vec<Service> {
    let (mut found, mut kind, mut control) = (Vec::new(), None, None);
    for (closes, name, text) in tags(text) {
        match (closes, name) {
            (false, "service") => (kind, control) = (None, None),
            (false, "serviceType") => kind = KINDS.into_iter().find(|kind| *kind == text),
            (false, "controlURL") => control = ssdp::at(&text.replace("&amp;", "&"), host),
            (true, "service") if found.len() < SERVICES => {
                if let (Some(kind), Some((at, path))) = (kind, control.take()) {
                    found.push(Service { kind, at, path });
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a call was carried out.
pub(crate) fn answer(answer: &str, action: &str) -> Result<(), Error> {
    let done = |name: &str| name.strip_suffix("Response") == Some(action);
    if tags(answer).any(|(closes, name, _)| !closes && done(name)) {
        return Ok(());
    }
    let code = text(answer, "errorCode").and_then(|code| code.parse().ok());
    Err(code.map_or(Error::Answer("it says nothing of what was asked"), Error::Refused))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DESCRIPTION: &str = r#"<?xml version="1.0"?>
        <root xmlns="urn:schemas-upnp-org:device-1-0"><device>
        <serviceList><service>
            <serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>
            <controlURL>/l3f</controlURL>
        </service></serviceList>
        <deviceList><device><serviceList>
        <service>
            <serviceType>urn:schemas-upnp-org:service:WANPPPConnection:1</serviceType>
            <controlURL>http://192.168.1.1:5000/ppp?a=1&amp;b=2</controlURL>
        </service>
        <service>
            <controlURL>
                ctl/IPConn
            </controlURL>
            <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
        </service>
        <service>
            <serviceType>urn:schemas-upnp-org:service:WANIPConnection:2</serviceType>
            <controlURL>http://8.8.8.8/ctl</controlURL>
        </service>
        </serviceList></device></deviceList></device></root>"#;

    fn host() -> SocketAddr {
        "192.168.1.1:80".parse().unwrap()
    }

    #[test]
    fn services_that_map_ports_are_found_on_that_host_alone() {
        let found = services(DESCRIPTION, host());
        let found: Vec<_> = found.iter().map(|s| (s.kind, s.at.port(), &*s.path)).collect();
        assert_eq!(found, [(KINDS[2], 5000, "/ppp?a=1&b=2"), (KINDS[0], 80, "/ctl/IPConn")]);
        let many = DESCRIPTION.repeat(100);
        assert_eq!(services(&many, host()).len(), SERVICES);
    }

    #[test]
    fn a_call_was_carried_out_or_refused() {
        let done = r#"<s:Envelope><s:Body><u:AddPortMappingResponse xmlns:u="x"/></s:Body>"#;
        assert!(answer(done, "AddPortMapping").is_ok());
        assert!(matches!(answer(done, "DeletePortMapping"), Err(Error::Answer(_))));
        let refused = "<detail><e:UPnPError><errorCode> 718 </errorCode></e:UPnPError></detail>";
        assert!(matches!(answer(refused, "AddPortMapping"), Err(Error::Refused(718))));
        let is = "<NewExternalIPAddress>45.77.0.1</NewExternalIPAddress>";
        assert_eq!(text(is, "NewExternalIPAddress"), Some("45.77.0.1"));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            crate::read_all(&bytes);
        }

        #[test]
        fn so_can_what_is_nearly_right(at in 0..DESCRIPTION.len(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = DESCRIPTION.as_bytes().to_vec();
            bytes[at] = byte;
            bytes.truncate(if cut { at } else { bytes.len() });
            crate::read_all(&bytes);
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n";
            crate::read_all(&[&head[..], &bytes].concat());
        }
    }
}
