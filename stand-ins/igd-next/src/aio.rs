//! Gateways, asked without waiting.

use crate::{Error, PortMappingProtocol, http, xml, xml::Service};
use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

/// The network's gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    service: Service,
}

impl Gateway {
    /// The address at which others see what is behind it, as it says.
    ///
    /// # Errors
    /// If it gives no answer that is one.
    pub async fn get_external_ip(&self) -> Result<IpAddr, Error> {
        let answer = self.call("GetExternalIPAddress", &[]).await?;
        let ip = xml::text(&answer, "NewExternalIPAddress").and_then(|ip| ip.parse().ok());
        ip.ok_or(Error::Answer("it names no address"))
    }

    /// Has what comes to one of its ports go to an address, for some seconds.
    ///
    /// # Errors
    /// If it refuses, or gives no answer that is one.
    pub async fn add_port(
        &self,
        protocol: PortMappingProtocol,
        external_port: u16,
        local_addr: SocketAddr,
        lease_duration: u32,
        description: &str,
    ) -> Result<(), Error> {
        let arguments = [
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", external_port.to_string()),
            ("NewProtocol", protocol.to_string()),
            ("NewInternalPort", local_addr.port().to_string()),
            ("NewInternalClient", local_addr.ip().to_string()),
            ("NewEnabled", "1".into()),
            ("NewPortMappingDescription", description.into()),
            ("NewLeaseDuration", lease_duration.to_string()),
        ];
        self.call("AddPortMapping", &arguments).await.map(drop)
    }

    /// Has it do so no more.
    ///
    /// # Errors
    /// If it refuses, or gives no answer that is one.
    pub async fn remove_port(
        &self,
        protocol: PortMappingProtocol,
        external_port: u16,
    ) -> Result<(), Error> {
        let arguments = [
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", external_port.to_string()),
            ("NewProtocol", protocol.to_string()),
        ];
        self.call("DeletePortMapping", &arguments).await.map(drop)
    }

    async fn call(&self, action: &str, arguments: &[(&str, String)]) -> Result<String, Error> {
        let Service { kind, at, path } = &self.service;
        let mut body = format!(
            "<?xml version=\"1.0\"?>\r\n\
             <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\">\
             <s:Body><u:{action} xmlns:u=\"{kind}\">"
        );
        for (name, value) in arguments {
            let _ = write!(body, "<{name}>{value}</{name}>");
        }
        let _ = write!(body, "</u:{action}></s:Body></s:Envelope>\r\n");
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\
             Content-Type: text/xml; charset=\"utf-8\"\r\nContent-Length: {}\r\n\
             SOAPAction: \"{kind}#{action}\"\r\n\r\n{body}",
            body.len(),
        );
        let answer = http::ask(*at, &request).await?;
        xml::answer(&answer, action)?;
        Ok(answer)
    }
}

/// The search for one.
pub mod tokio {
    use super::Gateway;
    use crate::{Error, SearchOptions, http, ssdp, xml};
    use std::{net::SocketAddr, time::Duration};
    use tokio::{
        net::UdpSocket,
        time::{Instant, timeout, timeout_at},
    };

    /// How long is waited for answers before it is asked again, and then to the end.
    const WAITS: [u64; 3] = [1, 2, 3600];
    /// Answers that are looked at, and of those, hosts that are asked what they are.
    const ANSWERS: usize = 256;
    const HOSTS: usize = 8;

    /// Looks for the network's gateway: the first one that says its address.
    ///
    /// # Errors
    /// If none is found in time.
    pub async fn search_gateway(options: SearchOptions) -> Result<Gateway, Error> {
        timeout(options.timeout, search()).await.unwrap_or(Err(Error::NotFound))
    }

    async fn search() -> Result<Gateway, Error> {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        let (mut buffer, mut answers, mut asked) = ([0; 1500], 0, Vec::new());
        for wait in WAITS {
            socket.send_to(ssdp::SEARCH.as_bytes(), ssdp::GROUP).await?;
            let until = Instant::now() + Duration::from_secs(wait);
            while let Ok(got) = timeout_at(until, socket.recv_from(&mut buffer)).await {
                let (length, from) = got?;
                answers += 1;
                if answers > ANSWERS {
                    return Err(Error::NotFound);
                }
                let Some(place) = ssdp::description(&buffer[..length], from) else { continue };
                if asked.contains(&place) || asked.len() == HOSTS {
                    continue;
                }
                asked.push(place.clone());
                if let Some(gateway) = described(place).await {
                    return Ok(gateway);
                }
            }
        }
        Err(Error::NotFound)
    }

    async fn described((at, path): (SocketAddr, String)) -> Option<Gateway> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        let description = http::ask(at, &request).await.ok()?;
        for service in xml::services(&description, at) {
            let gateway = Gateway { service };
            if gateway.get_external_ip().await.is_ok() {
                return Some(gateway);
            }
        }
        None
    }
}
