//! The network interfaces of this machine, and their changes.

use crate::{Result, scope::Scope};
use futures::{FutureExt, StreamExt};
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// An interface that is up and has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Iface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
    pub(crate) multicast: bool,
}

impl Iface {
    /// Its addresses.
    pub(crate) fn all(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.v4.iter().copied().map(IpAddr::V4).chain(self.v6.iter().copied().map(IpAddr::V6))
    }

    /// Its addresses that can be bound without naming the interface.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.all().filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
    }
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's name.
    pub name: String,
    /// Its index, 0 if it is not known.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// Whether the interface is up.
    pub up: bool,
    /// Whether it can multicast, as far as the system tells.
    pub multicast: bool,
}

/// Every address of the machine, also those of interfaces that are down.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if the system doesn't tell.
pub fn addresses() -> Result<Vec<Address>> {
    let found = if_addrs::get_if_addrs()?.into_iter().map(|found| Address {
        multicast: can_multicast(&found.name, found.is_loopback(), found.is_p2p()),
        index: found.index.unwrap_or(0),
        ip: found.ip(),
        up: found.oper_status != if_addrs::IfOperStatus::Down,
        name: found.name,
    });
    Ok(found.collect())
}

/// The interfaces as they are now.
pub(crate) fn list() -> Result<Vec<Iface>> {
    let mut found: BTreeMap<String, Iface> = BTreeMap::new();
    for Address { name, index, ip, multicast, .. } in addresses()?.into_iter().filter(|a| a.up) {
        let iface = found.entry(name.clone()).or_insert_with(|| Iface {
            name,
            index,
            v4: Vec::new(),
            v6: Vec::new(),
            multicast,
        });
        match ip {
            IpAddr::V4(ip) => iface.v4.push(ip),
            IpAddr::V6(ip) => iface.v6.push(ip),
        }
    }
    Ok(found.into_values().collect())
}

/// Whether the system has an address family at all: IPv6 may be compiled out,
/// switched off at boot, or forbidden to this process. It says nothing about
/// addresses.
pub(crate) fn has_family(v4: bool) -> bool {
    let opens = |domain| Socket::new(domain, Type::DGRAM, None).is_ok();
    let (asked, other) =
        if v4 { (Domain::IPV4, Domain::IPV6) } else { (Domain::IPV6, Domain::IPV4) };
    // If neither opens, it is sockets that are lacking, not the family.
    opens(asked) || !opens(other)
}

/// Whether the system says that an interface can multicast.
fn can_multicast(name: &str, loopback: bool, point_to_point: bool) -> bool {
    const IFF_MULTICAST: u32 = 0x1000;
    if cfg!(target_os = "linux") {
        let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok();
        let flags = flags.as_deref().and_then(|text| text.trim().strip_prefix("0x"));
        if let Some(flags) = flags.and_then(|hex| u32::from_str_radix(hex, 16).ok()) {
            return flags & IFF_MULTICAST != 0;
        }
    }
    !loopback && !point_to_point
}

/// The interfaces, as long as the scope lasts: the receiver is told of changes.
pub(crate) fn follow(scope: &Scope) -> Result<watch::Receiver<Arc<[Iface]>>> {
    // Some changes, such as a flag, come without a notice.
    const RESCAN: Duration = Duration::from_secs(15);
    const MOMENT: Duration = Duration::from_millis(50);
    let (changes, ifaces) = watch::channel(Arc::from(list()?));
    let mut watcher = if_watch::tokio::IfWatcher::new()
        .inspect_err(|error| tracing::debug!(%error, "interface changes are seen by polling"))
        .ok();
    scope.spawn(async move {
        loop {
            let notice = async {
                match &mut watcher {
                    Some(watcher) => watcher.next().await,
                    None => std::future::pending().await,
                }
            };
            if let Ok(Some(Err(_)) | None) = tokio::time::timeout(RESCAN, notice).await {
                watcher = None;
            }
            // An interface that comes up may have hundreds of addresses.
            tokio::time::sleep(MOMENT).await;
            while let Some(Some(Some(Ok(_)))) = watcher.as_mut().map(|w| w.next().now_or_never()) {}
            let Ok(now) = list() else { continue };
            changes.send_if_modified(|known: &mut Arc<[Iface]>| {
                let changed = known[..] != now[..];
                if changed {
                    *known = now.into();
                }
                changed
            });
            if changes.is_closed() {
                return;
            }
        }
    });
    Ok(ifaces)
}
