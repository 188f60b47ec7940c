//! The network interfaces of this machine, and their changes.

use crate::{Result, scope::Scope};
use futures::StreamExt;
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
    /// Its addresses that can be bound without naming the interface.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v6 = self.v6.iter().filter(|ip| !ip.is_unicast_link_local());
        self.v4.iter().copied().map(IpAddr::V4).chain(v6.copied().map(IpAddr::V6))
    }
}

/// The interfaces as they are now.
pub(crate) fn list() -> Result<Vec<Iface>> {
    let mut found: BTreeMap<String, Iface> = BTreeMap::new();
    for addr in if_addrs::get_if_addrs()? {
        if addr.oper_status == if_addrs::IfOperStatus::Down {
            continue;
        }
        let iface = found.entry(addr.name.clone()).or_insert_with(|| Iface {
            multicast: can_multicast(&addr.name, addr.is_loopback(), addr.is_p2p()),
            name: addr.name.clone(),
            index: addr.index.unwrap_or(0),
            v4: Vec::new(),
            v6: Vec::new(),
        });
        match addr.ip() {
            IpAddr::V4(ip) => iface.v4.push(ip),
            IpAddr::V6(ip) => iface.v6.push(ip),
        }
    }
    Ok(found.into_values().collect())
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
