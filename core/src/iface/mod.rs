//! The network interfaces of this machine, and their changes.

#[cfg(target_os = "linux")]
mod ioctl;

use crate::{Error, ErrorKind, Result, error::reason, scope::Scope, trouble::Troubles};
use futures::{FutureExt, Stream, StreamExt};
use if_watch::tokio::IfWatcher;
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Once},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// An interface that is up and has an address. IPv6's link-local ones are left
/// out: without the interface's name they can neither be bound nor told to others.
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
    pub(crate) fn addrs(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.v4.iter().copied().map(IpAddr::V4).chain(self.v6.iter().copied().map(IpAddr::V6))
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
    /// Whether the interface is up and has a link.
    pub up: bool,
    /// Whether it can multicast, as far as the system tells.
    pub multicast: bool,
    /// Whether it leads to this machine only.
    pub loopback: bool,
}

/// Every address of the machine, also those of interfaces that are down, but
/// not IPv6's link-local ones.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if the system doesn't tell.
pub fn addresses() -> Result<Vec<Address>> {
    #[cfg(target_os = "linux")]
    let found = by_library().or_else(|_| ioctl::addresses());
    #[cfg(not(target_os = "linux"))]
    let found = by_library();
    found.map_err(|error| {
        let message = format!("the addresses of this machine cannot be listed: {}", reason(&error));
        Error::new(ErrorKind::Io, message).with_source(error)
    })
}

/// The same by the system's library, which needs netlink on Linux.
fn by_library() -> io::Result<Vec<Address>> {
    let found = if_addrs::get_if_addrs()?.into_iter().map(|found| Address {
        multicast: can_multicast(&found.name, found.is_loopback(), found.is_p2p()),
        index: found.index.unwrap_or(0),
        ip: found.ip(),
        up: found.is_oper_up(),
        loopback: found.is_loopback(),
        name: found.name,
    });
    Ok(found.collect())
}

/// The interfaces as they are now.
pub(crate) fn list() -> Result<Vec<Iface>> {
    let mut found: BTreeMap<String, Iface> = BTreeMap::new();
    // On Unix an interface without a link keeps its addresses, and may get one.
    let usable = addresses()?.into_iter().filter(|addr| cfg!(unix) || addr.up);
    for Address { name, index, ip, multicast, .. } in usable {
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

/// Whether the system tells of changes. If not, that is said once: they are
/// looked for then.
pub(crate) fn is_told() -> bool {
    watcher().is_some()
}

fn watcher() -> Option<IfWatcher> {
    static SAID: Once = Once::new();
    let refused = |error: &io::Error| {
        SAID.call_once(|| {
            tracing::warn!(
                error = reason(error),
                "this process may have no netlink socket: it looks for changes of the interfaces \
                 now and then (every 5 s; with low power every minute), and listens at each address \
                 by itself; allow AF_NETLINK to have them told (RestrictAddressFamilies in systemd)"
            );
        });
    };
    IfWatcher::new().inspect_err(refused).ok()
}

/// How often the interfaces are looked at where the system tells of changes (some,
/// such as that of a flag, come without a notice), and where it does not.
pub(crate) type Rescan = (Duration, Duration);
/// How long after a try to be told of changes the next one may be.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// What changes within this time is looked at once: an interface that comes up
/// may have hundreds of addresses.
const MOMENT: Duration = Duration::from_millis(50);

/// The interfaces, as long as the scope lasts: the receiver is told of changes.
pub(crate) fn follow(
    scope: &Scope,
    troubles: &Troubles,
    rescan: Rescan,
) -> watch::Receiver<Arc<[Iface]>> {
    let troubles = troubles.clone();
    let list = move || match list() {
        Ok(ifaces) => {
            troubles.works(SUBJECT);
            Some(ifaces)
        }
        Err(error) => {
            troubles.fails(SUBJECT, "unlisted", error);
            None
        }
    };
    follow_by(scope, rescan, list, watcher)
}

/// Following the interfaces, as users read of it.
const SUBJECT: &str = "following this machine's interfaces";

/// The same, as `list` gives them, told by what `watch` gives. What has failed or
/// was refused is asked for again.
fn follow_by<W, T>(
    scope: &Scope,
    (told, untold): Rescan,
    mut list: impl FnMut() -> Option<Vec<Iface>> + Send + 'static,
    mut watch: impl FnMut() -> Option<W> + Send + 'static,
) -> watch::Receiver<Arc<[Iface]>>
where
    W: Stream<Item = io::Result<T>> + Unpin + Send + 'static,
    T: Send,
{
    let (changes, ifaces) = watch::channel(Arc::from(list().unwrap_or_default()));
    let (mut watcher, mut asked) = (watch(), Instant::now());
    scope.spawn(async move {
        loop {
            let pause = if watcher.is_some() { told } else { untold };
            let notice = async {
                match &mut watcher {
                    Some(watcher) => watcher.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changes.closed() => return,
                noticed = tokio::time::timeout(pause, notice) => {
                    if let Ok(Some(Err(_)) | None) = noticed {
                        watcher = None;
                    }
                }
            }
            tokio::time::sleep(MOMENT).await;
            while let Some(Some(Some(Ok(_)))) = watcher.as_mut().map(|w| w.next().now_or_never()) {}
            if watcher.is_none() && asked.elapsed() >= ASK_AGAIN {
                (watcher, asked) = (watch(), Instant::now());
            }
            let Some(now) = list() else { continue };
            changes.send_if_modified(|known: &mut Arc<[Iface]>| {
                let changed = known[..] != now[..];
                if changed {
                    *known = now.into();
                }
                changed
            });
        }
    });
    ifaces
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use tokio::sync::mpsc;

    #[tokio::test(start_paused = true)]
    async fn who_told_of_changes_and_failed_is_asked_again_until_he_does() {
        let scope = Scope::default();
        let (asks, mut asked) = mpsc::unbounded_channel();
        let mut nth = 0;
        let _ifaces = follow_by(
            &scope,
            (Duration::from_secs(15), Duration::from_secs(5)),
            || Some(vec![]),
            move || {
                nth += 1;
                asks.send(Instant::now()).unwrap();
                let failed = stream::iter([Err::<(), _>(io::Error::other("no buffer space"))]);
                match nth {
                    1 => Some(failed.chain(stream::pending()).boxed()),
                    2 => None,
                    3 => Some(stream::empty().boxed()),
                    _ => Some(stream::pending().boxed()),
                }
            },
        );
        let mut last = asked.recv().await.unwrap();
        for _ in 0..3 {
            let next = asked.recv().await.unwrap();
            assert!((ASK_AGAIN..2 * ASK_AGAIN).contains(&(next - last)));
            last = next;
        }
        // He tells.
        let more = tokio::time::timeout(20 * ASK_AGAIN, asked.recv()).await;
        assert!(more.is_err(), "asked although he tells");
    }
}
