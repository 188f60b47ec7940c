//! Signs of a firewall, or of a network that multicast doesn't cross.

use super::Finding;
use std::{fs, path::Path};

/// What to let through.
const RULES: &str = "UDP 8822 (also to 228.8.8.8, for surveys), and the ports given to --listen";

/// What the signs point at.
pub fn check() -> Vec<Finding> {
    let mut findings = signs(Path::new("/"));
    if findings.is_empty() {
        findings.push(Finding::ok(
            "firewall",
            "no sign of one that this program knows; a network between machines may have its own",
        ));
    }
    findings
}

fn signs(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    if text("etc/ufw/ufw.conf").lines().any(|line| line.trim() == "ENABLED=yes") {
        findings.push(Finding::warn(
            "firewall",
            "ufw is on",
            format!("let through {RULES}: ufw allow 8822/udp"),
        ));
    }
    if root.join("run/firewalld").exists() {
        findings.push(Finding::warn(
            "firewall",
            "firewalld is on",
            format!("let through {RULES}: firewall-cmd --add-port=8822/udp"),
        ));
    }
    if text("proc/net/ip_tables_names").lines().any(|line| line.trim() == "filter") {
        findings.push(Finding::warn(
            "firewall",
            "iptables has filter rules",
            format!("see that they let through {RULES}: iptables -L -n"),
        ));
    }
    if cfg!(target_os = "macos") {
        findings.push(Finding::warn(
            "firewall",
            "macOS may ask before a program receives from the network",
            "allow `casm` in System Settings, Network, Firewall",
        ));
    }
    if cfg!(windows) {
        findings.push(Finding::warn(
            "firewall",
            "Windows may ask before a program receives from the network",
            format!("allow `casm` in Windows Defender Firewall: {RULES}"),
        ));
    }
    if root.join("var/run/secrets/kubernetes.io").exists() {
        findings.push(Finding::warn(
            "network",
            "this is a pod in Kubernetes, where most networks carry no multicast",
            "make a headless service and search it: --boot /dns/NAME/udp/8822 --serve /ip4/0.0.0.0/udp/8822",
        ));
    } else if root.join(".dockerenv").exists() {
        findings.push(Finding::warn(
            "network",
            "this is a container: multicast reaches other containers of its bridge, not other machines",
            "to find other machines, share the host's network, or name a peer with --boot",
        ));
    }
    findings
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_firewall_that_is_on_is_seen_and_one_that_is_off_is_not() {
        let root = tempfile::tempdir().unwrap();
        assert!(signs(root.path()).is_empty());
        fs::create_dir_all(root.path().join("etc/ufw")).unwrap();
        let conf = root.path().join("etc/ufw/ufw.conf");
        fs::write(&conf, "# ufw\nENABLED=no\n").unwrap();
        assert!(signs(root.path()).is_empty());
        fs::write(&conf, "# ufw\nENABLED=yes\n").unwrap();
        let findings = signs(root.path());
        assert!(findings[0].advice.as_ref().unwrap().contains("8822/udp"));
    }

    #[test]
    fn a_pod_is_told_of_headless_services() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("var/run/secrets/kubernetes.io")).unwrap();
        assert!(signs(root.path())[0].advice.as_ref().unwrap().contains("/dns/NAME"));
    }
}
