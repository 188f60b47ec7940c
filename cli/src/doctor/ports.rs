//! Are the ports free that a node would take, and does loopback carry packets?

use super::Finding;
use casm::{
    Multiaddr,
    boot::addr::{AUTO_PORTS, DEFAULT_PORT},
};
use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

/// Findings on loopback, the boot ports and the listen addresses.
pub fn check(listen: &[Multiaddr]) -> Vec<Finding> {
    let mut findings = vec![loopback(), boot_ports(free_boot_ports())];
    findings.extend(listen.iter().filter_map(listen_address));
    findings
}

fn free_boot_ports() -> u16 {
    let ports = DEFAULT_PORT..DEFAULT_PORT + AUTO_PORTS;
    let free = ports.filter(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).count();
    u16::try_from(free).unwrap_or(AUTO_PORTS)
}

fn boot_ports(free: u16) -> Finding {
    let range = format!("127.0.0.1, UDP {DEFAULT_PORT} to {}", DEFAULT_PORT + AUTO_PORTS - 1);
    match free {
        0 => Finding::fail(
            "boot ports",
            format!("{range}: none is free, so others on this machine cannot find a new node"),
            "end what holds them (ss -lunp shows it), or serve elsewhere: --serve /ip4/127.0.0.1/udp/9000",
        ),
        1..4 => Finding::warn(
            "boot ports",
            format!("{range}: only {free} free"),
            "end nodes that are not needed (ss -lunp shows what holds the ports)",
        ),
        _ => Finding::ok("boot ports", format!("{range}: {free} of {AUTO_PORTS} free")),
    }
}

/// A datagram to ourselves must come back.
fn loopback() -> Finding {
    let echo = || -> io::Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(b"casm", socket.local_addr()?)?;
        let mut bytes = [0; 8];
        Ok(socket.recv(&mut bytes)? == 4)
    };
    match echo() {
        Ok(true) => Finding::ok("loopback", "UDP packets pass on 127.0.0.1"),
        Ok(false) => Finding::fail("loopback", "a UDP packet came back changed", LOOPBACK_ADVICE),
        Err(error) => Finding::fail(
            "loopback",
            format!("no UDP packet passes on 127.0.0.1: {error}"),
            LOOPBACK_ADVICE,
        ),
    }
}

const LOOPBACK_ADVICE: &str =
    "allow UDP on the loopback interface in the firewall, and bring it up: ip link set lo up";

/// Whether a listen address with a fixed port can be had.
fn listen_address(addr: &Multiaddr) -> Option<Finding> {
    let text = addr.to_string();
    let parts: Vec<&str> = text.split('/').collect();
    if !matches!(parts[..], ["", "ip4" | "ip6", _, "tcp" | "udp", ..]) {
        return None;
    }
    let bound = casm::ensure_free(addr);
    Some(match bound {
        Ok(()) => Finding::ok("listen", format!("{text}: free")),
        Err(error) => Finding::fail(
            "listen",
            format!("{text}: it cannot be had: {error}"),
            "choose another port, or 0 for any; choose an address of this machine, or 0.0.0.0 for all",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_that_is_taken_fails_and_says_what_to_choose() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let finding =
            listen_address(&format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()).unwrap();
        assert_eq!(finding.status, Status::Fail);
        assert!(finding.advice.unwrap().contains("another port"));
        let any = listen_address(&"/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
        assert_eq!(any.status, Status::Ok);
    }

    #[test]
    fn no_free_boot_port_fails() {
        assert_eq!(boot_ports(0).status, Status::Fail);
        assert_eq!(boot_ports(2).status, Status::Warn);
        assert_eq!(boot_ports(30).status, Status::Ok);
    }

    #[test]
    fn loopback_carries_a_packet() {
        assert_eq!(loopback().status, Status::Ok);
    }
}
