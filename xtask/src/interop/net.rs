//! Hosts on a bridge, and some behind NATs, in network namespaces that exist only here:
//! nothing leaves the machine.

use crate::shell;
use anyhow::Result;
use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// A network namespace, deleted when dropped.
#[derive(Debug)]
pub struct Netns(String);

impl Netns {
    /// A namespace with a loopback interface that is up.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let netns = Self(format!("casm-interop-{}-{n}", std::process::id()));
        ip(&format!("netns add {}", netns.0))?;
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Runs `ip ARGS` in the namespace.
    fn ip(&self, args: &str) -> Result<()> {
        ip(&format!("-n {} {args}", self.0))
    }

    /// Sends nothing more to another host.
    pub fn block(&self, host: usize) -> Result<()> {
        self.ip(&format!("route add blackhole {}/32", address(host)))
    }

    /// A command that runs a program in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // The namespace is empty, and a left one harms nobody.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Hosts with the addresses 10.77.0.1 and up, each with an interface `eth0`.
#[derive(Debug)]
pub struct Lan {
    hosts: Vec<Netns>,
    addresses: Vec<String>,
    bridge: Netns,
    /// Those before hosts that are at home.
    routers: Vec<Netns>,
}

/// Where a host of an "Internet" is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has a public address.
    Public,
    /// Behind a router that gives it a port which is the same to all, but lets in only
    /// what comes from where it has sent to.
    Home,
    /// Behind one that gives it another port to each: nobody can know it.
    Symmetric,
}

impl Lan {
    /// A network of so many hosts.
    pub fn new(hosts: usize) -> Result<Self> {
        let bridge = Netns::new()?;
        // Without snooping nothing waits for a membership report. The second
        // bridge is for those that a partition cuts off.
        for name in ["br0", "br1"] {
            bridge.ip(&format!("link add {name} type bridge mcast_snooping 0"))?;
            bridge.ip(&format!("link set {name} up"))?;
        }
        let addresses: Vec<String> = (0..hosts).map(address).collect();
        let hosts = addresses.iter().enumerate().map(|(i, at)| join(&bridge, i, at));
        Ok(Self { hosts: hosts.collect::<Result<_>>()?, addresses, bridge, routers: vec![] })
    }

    /// An "Internet" of the public addresses 45.77.0.1 and up: hosts that have theirs, and
    /// hosts that are 192.168.1.2 behind a router which has it.
    pub fn internet(places: &[Place]) -> Result<Self> {
        let mut net = Self::new(0)?;
        for (i, place) in places.iter().enumerate() {
            let public = format!("45.77.0.{}", i + 1);
            let host = join(&net.bridge, i, &public)?;
            if *place == Place::Public {
                net.hosts.push(host);
                net.addresses.push(public);
                continue;
            }
            net.hosts.push(home(&host, *place == Place::Symmetric)?);
            net.addresses.push("192.168.1.2".into());
            net.routers.push(host);
        }
        Ok(net)
    }

    /// The address of one of the hosts.
    pub fn address(&self, host: usize) -> &str {
        &self.addresses[host]
    }

    /// One of the hosts.
    pub fn host(&self, i: usize) -> &Netns {
        &self.hosts[i]
    }

    /// Cuts some hosts off from the others, or brings them back.
    pub fn cut_off(&self, hosts: &[usize], cut: bool) -> Result<()> {
        let bridge = if cut { "br1" } else { "br0" };
        hosts.iter().try_for_each(|i| self.bridge.ip(&format!("link set v{i} master {bridge}")))
    }
}

/// A host on the bridge.
fn join(bridge: &Netns, i: usize, address: &str) -> Result<Netns> {
    let host = Netns::new()?;
    bridge.ip(&format!("link add v{i} type veth peer name eth0 netns {}", host.0))?;
    bridge.ip(&format!("link set v{i} master br0 up"))?;
    host.ip(&format!("addr add {address}/24 dev eth0"))?;
    host.ip("link set eth0 up")?;
    Ok(host)
}

/// A host behind a router.
fn home(router: &Netns, symmetric: bool) -> Result<Netns> {
    let inner = Netns::new()?;
    router.ip(&format!("link add lan type veth peer name eth0 netns {}", inner.0))?;
    router.ip("addr add 192.168.1.1/24 dev lan")?;
    router.ip("link set lan up")?;
    inner.ip("addr add 192.168.1.2/24 dev eth0")?;
    inner.ip("link set eth0 up")?;
    inner.ip("route add default via 192.168.1.1")?;
    let random = if symmetric { " random,fully-random" } else { "" };
    // What is for a port that leads nowhere is dropped, also by the router itself: its
    // answer would tell the other side that nobody is there.
    let rules = format!(
        "table ip home {{
            chain post {{
                type nat hook postrouting priority 100;
                oifname eth0 masquerade{random};
            }}
            chain in {{
                type filter hook input priority 0;
                iifname eth0 ct state new drop;
            }}
            chain through {{
                type filter hook forward priority 0;
                iifname eth0 ct state new drop;
            }}
        }}"
    );
    let mut forward = router.command("sh");
    shell::output(forward.args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]))?;
    shell::output(router.command("nft").arg(rules))?;
    Ok(inner)
}

/// The address of a host of a [`Lan::new`].
pub fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

fn ip(args: &str) -> Result<()> {
    shell::output(Command::new("ip").args(args.split(' '))).map(drop)
}
