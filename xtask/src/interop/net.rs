//! Hosts on a bridge, in network namespaces that exist only here: nothing
//! leaves the machine.

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
    bridge: Netns,
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
        let hosts = (0..hosts)
            .map(|i| {
                let host = Netns::new()?;
                bridge.ip(&format!("link add v{i} type veth peer name eth0 netns {}", host.0))?;
                bridge.ip(&format!("link set v{i} master br0 up"))?;
                host.ip(&format!("addr add {}/24 dev eth0", address(i)))?;
                host.ip("link set eth0 up")?;
                Ok(host)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { hosts, bridge })
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

/// The address of a host.
pub fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

fn ip(args: &str) -> Result<()> {
    shell::output(Command::new("ip").args(args.split(' '))).map(drop)
}
