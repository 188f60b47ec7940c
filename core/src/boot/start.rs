//! Boot addresses made ready: what is searched, bound and joined when the boot
//! service starts.

use super::{
    BootAddr,
    addr::{AUTO_PORTS, DEFAULT_PORT, Family},
    crawl::Targets,
    desk::Desk,
    group::Groups,
    serve::{serve, serve_everywhere, serve_first, serve_later},
    socket,
};
use crate::{
    Error, ErrorKind, Multiaddr, PeerId, Result,
    iface::{self, Iface, Rescan},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::sync::watch;

/// A boot address, ready to be searched.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) way: Way,
}

/// How it is searched.
pub(super) enum Way {
    Crawl(Targets),
    Survey { groups: Groups, gradual: bool },
    Name(String, Family, u16),
    Static(Option<PeerId>, Multiaddr),
}

/// The group that Go's CASM uses too, and one for networks without IPv4.
fn auto_groups() -> Vec<SocketAddr> {
    // Transient, link-local (RFC 4291, section 2.7).
    let v6 = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x8822);
    vec![
        SocketAddr::new(Ipv4Addr::new(228, 8, 8, 8).into(), DEFAULT_PORT),
        SocketAddr::new(v6.into(), DEFAULT_PORT),
    ]
}

fn auto_ports() -> impl Iterator<Item = SocketAddr> {
    ports(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT, AUTO_PORTS)
}

fn ports(ip: IpAddr, first: u16, count: u16) -> impl Iterator<Item = SocketAddr> {
    (0..count).filter_map(move |i| Some(SocketAddr::new(ip, first.checked_add(i)?)))
}

/// What is bound and joined while the service starts.
pub(super) struct Starting {
    desk: Arc<Desk>,
    ifaces: watch::Receiver<Arc<[Iface]>>,
    joined: HashMap<(SocketAddr, String), Groups>,
    /// What is served already, by its string.
    served: Vec<String>,
    /// Ports that are served on every IPv4 or IPv6 address: what came of it.
    everywhere: HashMap<(u16, bool), Result<()>>,
}

impl Starting {
    pub(super) fn new(desk: Arc<Desk>, rescan: Rescan) -> Self {
        let ifaces = iface::follow(&desk.scope, &desk.metrics.troubles, rescan);
        Self {
            desk,
            ifaces,
            joined: HashMap::new(),
            served: Vec::new(),
            everywhere: HashMap::new(),
        }
    }

    /// Makes a boot address ready to be searched.
    pub(super) fn boot(&mut self, addr: &BootAddr, sources: &mut Vec<Source>) -> Result<()> {
        let name = addr.to_string();
        let mut add = |way| sources.push(Source { name: name.clone(), way });
        match addr {
            BootAddr::None => {}
            BootAddr::Auto => {
                let (ip, first) = (Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT);
                add(Way::Crawl(Targets::Ports { ip, first, count: AUTO_PORTS }));
                add(Way::Survey { groups: self.auto_groups()?, gradual: true });
            }
            BootAddr::Cidr { ip, prefix, port } => {
                add(Way::Crawl(Targets::block(*ip, *prefix, *port)));
            }
            BootAddr::Single(at) => {
                check_target(addr, at.ip())?;
                add(Way::Crawl(Targets::List(vec![*at])));
            }
            BootAddr::Ports { ip, first, count } => {
                check_target(addr, *ip)?;
                add(Way::Crawl(Targets::Ports { ip: *ip, first: *first, count: *count }));
            }
            BootAddr::Multicast { group, interface, gradual } => {
                let groups = self.groups(*group, interface)?;
                add(Way::Survey { groups, gradual: *gradual });
            }
            BootAddr::Dns { name, family, port } => add(Way::Name(name.clone(), *family, *port)),
            BootAddr::Static { peer, addr } => add(Way::Static(*peer, addr.clone())),
        }
        Ok(())
    }

    /// Answers on this kind of address.
    pub(super) fn serve(&mut self, addr: &BootAddr) -> Result<()> {
        let name = addr.to_string();
        if self.served.contains(&name) {
            return Ok(());
        }
        let desk = &self.desk;
        match addr {
            BootAddr::None | BootAddr::Static { .. } => {}
            BootAddr::Auto => {
                self.auto_groups()?;
                let desk = &self.desk;
                if serve_first(desk, auto_ports()).is_none() {
                    let (first, last) = (DEFAULT_PORT, DEFAULT_PORT + AUTO_PORTS - 1);
                    let what = format!("answering boot requests at 127.0.0.1, {first} to {last},");
                    serve_later(desk, Some(what), auto_ports().collect());
                }
            }
            BootAddr::Ports { ip, first, count } => {
                if serve_first(desk, ports(*ip, *first, *count)).is_none() {
                    return Err(Error::new(
                        ErrorKind::Bind,
                        format!("not one port of {name} can be bound: serve more, or others"),
                    ));
                }
            }
            BootAddr::Single(at) if !at.ip().is_unspecified() => {
                let socket = socket::bind(*at).map_err(|error| socket::bind_error(addr, error))?;
                serve(desk, socket);
            }
            BootAddr::Single(at) => {
                self.serve_everywhere(at.port(), at.is_ipv4())?;
            }
            BootAddr::Cidr { ip, port, .. } => {
                self.serve_everywhere(*port, ip.is_ipv4())?;
            }
            BootAddr::Dns { port, family, .. } => {
                let mut served = Vec::new();
                for (v4, other) in [(true, Family::V6), (false, Family::V4)] {
                    if *family != other {
                        served.push(self.serve_everywhere(*port, v4));
                    }
                }
                if served.iter().all(Result::is_err) {
                    served.into_iter().collect::<Result<()>>()?;
                }
            }
            BootAddr::Multicast { group, interface, .. } => {
                self.groups(*group, interface)?;
            }
        }
        self.served.push(name);
        Ok(())
    }

    /// Once, whichever addresses ask for it.
    fn serve_everywhere(&mut self, port: u16, v4: bool) -> Result<()> {
        let served = self.everywhere.entry((port, v4));
        served
            .or_insert_with(|| serve_everywhere(&self.desk, self.ifaces.clone(), port, v4))
            .clone()
    }

    /// Answers on this kind of address as soon as that can be had. One that is
    /// somebody else's is no trouble: it is also where he is looked for. What is
    /// served on every address is tried again anyway.
    pub(super) fn serve_later(&self, addr: &BootAddr) {
        match addr {
            BootAddr::Single(at) => serve_later(&self.desk, None, vec![*at]),
            BootAddr::Ports { ip, first, count } => {
                let what = format!("answering boot requests at {addr}");
                let ours =
                    self.ifaces.borrow().iter().any(|iface| iface.addrs().any(|own| own == *ip));
                serve_later(&self.desk, ours.then_some(what), ports(*ip, *first, *count).collect());
            }
            _ => {}
        }
    }

    fn auto_groups(&mut self) -> Result<Groups> {
        let key = (auto_groups()[0], String::new());
        if let Some(groups) = self.joined.get(&key) {
            return Ok(groups.clone());
        }
        let groups = Groups::join(&self.desk, auto_groups(), None, self.ifaces.clone())?;
        self.joined.insert(key, groups.clone());
        Ok(groups)
    }

    fn groups(&mut self, group: SocketAddr, interface: &str) -> Result<Groups> {
        let key = (group, interface.to_owned());
        if let Some(groups) = self.joined.get(&key) {
            return Ok(groups.clone());
        }
        let named = Some(interface.to_owned());
        let groups = Groups::join(&self.desk, vec![group], named, self.ifaces.clone())?;
        self.joined.insert(key, groups.clone());
        Ok(groups)
    }
}

fn check_target(addr: &BootAddr, ip: IpAddr) -> Result<()> {
    if !ip.is_unspecified() {
        return Ok(());
    }
    Err(Error::config(
        "boot",
        addr.to_string(),
        "nobody can be asked there: write a host's address, or serve it instead",
    ))
}
