//! Over which interfaces can peers be found?

use super::Finding;
use std::collections::BTreeMap;

/// What is known of an interface.
#[derive(Clone, Debug, Default)]
struct Interface {
    addrs: Vec<String>,
    up: bool,
    /// Unknown where the system doesn't tell.
    multicast: Option<bool>,
    loopback: bool,
}

/// A finding for each interface.
pub fn check() -> Vec<Finding> {
    match interfaces() {
        Ok(interfaces) => judge(&interfaces),
        Err(error) => vec![Finding::warn(
            "interfaces",
            error.message(),
            "name the peers: --boot /ip4/10.0.0.1/udp/8822",
        )],
    }
}

fn judge(interfaces: &BTreeMap<String, Interface>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        interfaces.iter().map(|(name, interface)| one(name, interface)).collect();
    if !interfaces.values().any(|i| i.loopback && i.up) {
        findings.push(Finding::fail(
            "loopback",
            "no loopback interface is up: nodes on this machine cannot find each other",
            "bring it up: ip link set lo up",
        ));
    }
    if !interfaces.values().any(|i| !i.loopback && i.up && !i.addrs.is_empty()) {
        findings.push(Finding::warn(
            "network",
            "no interface but loopback is up and has an address: only nodes on this machine are found",
            "connect this machine to a network if its peers are elsewhere",
        ));
    }
    findings
}

fn one(name: &str, interface: &Interface) -> Finding {
    let label = format!("interface {name}");
    let addrs = interface.addrs.join(", ");
    match interface {
        Interface { up: false, .. } => Finding::warn(
            label,
            "it is down",
            format!("bring it up if peers are there: ip link set {name} up"),
        ),
        Interface { addrs, loopback, .. } if addrs.is_empty() => Finding::warn(
            label,
            "it is up and has no address that others can use, so nobody is found there",
            if *loopback {
                format!("give it its address: ip addr add 127.0.0.1/8 dev {name}")
            } else {
                "give it one, by DHCP or with ip addr add, if peers are there".into()
            },
        ),
        Interface { loopback: true, .. } => Finding::ok(
            label,
            format!("{addrs}: nodes on this machine find each other by the loopback ports"),
        ),
        Interface { multicast: Some(false), .. } => Finding::warn(
            label,
            format!("{addrs}: it cannot multicast, so `auto` finds nobody there"),
            "crawl its network (--boot /ip4/NETWORK/udp/8822/cidr/24, with --serve on the others) or name a peer",
        ),
        Interface { multicast: Some(true), .. } => {
            Finding::ok(label, format!("{addrs}: up, can multicast: `auto` surveys it"))
        }
        Interface { multicast: None, .. } => Finding::ok(
            label,
            format!("{addrs}: up; this system doesn't tell whether it can multicast"),
        ),
    }
}

fn interfaces() -> casm::Result<BTreeMap<String, Interface>> {
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for found in casm::iface::addresses()? {
        let interface = interfaces.entry(found.name).or_default();
        interface.addrs.push(found.ip.to_string());
        interface.loopback |= found.loopback;
        interface.up |= found.up || found.loopback;
    }
    add_flags(&mut interfaces);
    Ok(interfaces)
}

/// Linux tells an interface's flags, also of one without an address.
#[cfg(target_os = "linux")]
fn add_flags(interfaces: &mut BTreeMap<String, Interface>) {
    let Ok(dir) = std::fs::read_dir("/sys/class/net") else { return };
    for entry in dir.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(flags) = std::fs::read_to_string(entry.path().join("flags"))
            .ok()
            .and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok())
        else {
            continue;
        };
        let interface = interfaces.entry(name).or_default();
        // IFF_UP, IFF_LOOPBACK and IFF_MULTICAST of <linux/if.h>.
        interface.up = flags & 0x1 != 0;
        interface.loopback |= flags & 0x8 != 0;
        interface.multicast = Some(flags & 0x1000 != 0);
    }
    // What is down and has no address is not in use.
    interfaces.retain(|_, i| i.up || i.loopback || !i.addrs.is_empty());
}

#[cfg(not(target_os = "linux"))]
fn add_flags(_: &mut BTreeMap<String, Interface>) {}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn interface(up: bool, multicast: Option<bool>, loopback: bool) -> Interface {
        Interface { addrs: vec!["10.0.0.1".into()], up, multicast, loopback }
    }

    #[test]
    fn what_cannot_multicast_is_told_with_another_way() {
        let interfaces = [
            ("lo".to_owned(), interface(true, Some(false), true)),
            ("wg0".to_owned(), interface(true, Some(false), false)),
            ("eth0".to_owned(), interface(true, Some(true), false)),
        ];
        let findings = judge(&interfaces.into());
        let of = |name: &str| findings.iter().find(|f| f.name.ends_with(name)).unwrap();
        assert_eq!(of("lo").status, Status::Ok);
        assert_eq!(of("eth0").status, Status::Ok);
        assert_eq!(of("wg0").status, Status::Warn);
        assert!(of("wg0").advice.as_ref().unwrap().contains("cidr"));
    }

    #[test]
    fn an_interface_without_an_address_is_no_way_to_peers() {
        let bare = |loopback| Interface { addrs: vec![], ..interface(true, Some(true), loopback) };
        let findings =
            judge(&[("lo".to_owned(), bare(true)), ("eth0".to_owned(), bare(false))].into());
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings.iter().all(|f| f.status == Status::Warn), "{findings:?}");
        assert!(findings[2].message.contains("only nodes on this machine"), "{findings:?}");
    }

    #[test]
    fn a_machine_without_loopback_fails() {
        let findings = judge(&[("lo".to_owned(), interface(false, None, true))].into());
        assert!(findings.iter().any(|f| f.status == Status::Fail));
    }
}
