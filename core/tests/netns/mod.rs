//! Network namespaces for tests: hosts on a bridge that exist only here, so
//! that nothing leaves the machine. A host runs a role of the test's own
//! binary, which speaks to the test in lines on its standard output.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// What a role's line on standard output begins with; libtest writes others.
const MARK: &str = "@@ ";
const ROLE: &str = "CASM_TEST_ROLE";
const ARGS: &str = "CASM_TEST_ARGS";

/// A network namespace, deleted when dropped.
pub struct Netns(String);

impl Netns {
    /// A namespace with a loopback interface that is up.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let ns = Self(format!("casm-{}-{n}", std::process::id()));
        ip(&format!("netns add {}", ns.0));
        ns.ip("link set lo up");
        ns
    }

    /// Runs `ip ARGS` in the namespace.
    pub fn ip(&self, args: &str) {
        ip(&format!("-n {} {args}", self.0));
    }

    /// Runs many `ip ARGS` in the namespace, as fast as can be.
    pub fn ip_batch(&self, lines: impl IntoIterator<Item = String>) {
        let lines = lines.into_iter().collect::<Vec<_>>().join("\n");
        self.feed(&["ip", "-batch", "-"], &lines);
    }

    /// Sets a kernel variable of the namespace.
    pub fn set(&self, variable: &str, value: impl ToString) {
        let path = format!("/proc/sys/{}", variable.replace('.', "/"));
        self.feed(&["tee", &path], &value.to_string());
    }

    /// Runs a program in the namespace, which reads this and must succeed.
    fn feed(&self, program: &[&str], input: &str) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.0])
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program ip");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success(), "{program:?}: {input}");
    }

    /// Runs the ignored test `role` of this binary in the namespace.
    pub fn run(&self, role: &str, args: &str) -> Host {
        let exe = std::env::current_exe().expect("this binary");
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.0])
            .arg(exe)
            .args(["--exact", "role", "--ignored", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(ARGS, args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip netns exec");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // libtest writes the test's name before the first line.
                if let Some(at) = line.find(MARK) {
                    let _ = sender.send(line[at + MARK.len()..].to_owned());
                }
            }
        });
        Host { child, lines }
    }
}

impl Netns {
    /// Makes programs that are run in the namespace from now on ask this name
    /// server.
    pub fn name_server(&self, ip: &str) {
        std::fs::create_dir_all(self.etc()).expect("root may write");
        std::fs::write(self.etc().join("resolv.conf"), format!("nameserver {ip}\n")).unwrap();
    }

    /// Gives programs that are run in the namespace from now on these lines of
    /// `/etc/hosts`, and no name server that answers.
    pub fn names(&self, lines: &[String]) {
        self.name_server("127.0.0.1");
        std::fs::write(self.etc().join("hosts"), lines.join("\n")).unwrap();
    }

    /// Drops every packet from and to these hosts, or no longer does: its own, and those
    /// of hosts behind this one.
    pub fn cut_off(&self, from: Option<&[&str]>) {
        let rules = match from {
            Some(hosts) => {
                let hosts = hosts.join(", ");
                format!(
                    "table ip cut {{
                        chain in {{ type filter hook input priority 0; ip saddr {{ {hosts} }} drop; }}
                        chain out {{ type filter hook output priority 0; ip daddr {{ {hosts} }} drop; }}
                        chain through {{
                            type filter hook forward priority 0;
                            ip saddr {{ {hosts} }} drop;
                            ip daddr {{ {hosts} }} drop;
                        }}
                    }}"
                )
            }
            None => "delete table ip cut".into(),
        };
        self.feed(&["nft", "-f", "-"], &rules);
    }

    /// Drops every packet from and to other hosts, or no longer does.
    pub fn go_dark(&self, dark: bool) {
        let rules = match dark {
            true => {
                "table inet dark {
                    chain in { type filter hook input priority 0; iifname eth0 drop; }
                    chain out { type filter hook output priority 0; oifname eth0 drop; }
                }"
            }
            false => "delete table inet dark",
        };
        self.feed(&["nft", "-f", "-"], rules);
    }

    /// A host behind this one, 172.17.0.2, to which this one maps ports of its
    /// own `eth0`, as Docker's `-p` does: what comes from there to a port goes
    /// to the same port behind.
    pub fn container(&self, tcp: &str, udp: &str) -> Self {
        let inner = Self::new();
        self.ip(&format!("link add docker0 type veth peer name eth0 netns {}", inner.0));
        self.ip("addr add 172.17.0.1/24 dev docker0");
        self.ip("link set docker0 up");
        inner.ip("addr add 172.17.0.2/24 dev eth0");
        inner.ip("link set eth0 up");
        inner.ip("route add default via 172.17.0.1");
        self.set("net.ipv4.ip_forward", 1);
        let rules = format!(
            "table ip mapped {{
                chain pre {{
                    type nat hook prerouting priority -100;
                    iifname eth0 tcp dport {{ {tcp} }} dnat to 172.17.0.2;
                    iifname eth0 udp dport {{ {udp} }} dnat to 172.17.0.2;
                }}
                chain post {{
                    type nat hook postrouting priority 100;
                    oifname eth0 masquerade;
                }}
            }}"
        );
        self.feed(&["nft", "-f", "-"], &rules);
        inner
    }

    /// What `ip netns exec` puts in the place of files of /etc.
    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.0)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.etc());
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A process in a namespace, killed when dropped.
pub struct Host {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Host {
    /// Waits for a line that begins with this, and gives back what follows.
    pub fn expect(&self, start: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => match line.strip_prefix(start) {
                    Some(rest) => return rest.trim().to_owned(),
                    None => println!("a host says: {line}"),
                },
                Err(error) => panic!("no line {start:?} within {within:?}: {error}"),
            }
        }
    }

    /// Waits for a line that begins with one of these.
    pub fn expect_any(&self, starts: &[&str], within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line =
                line.unwrap_or_else(|e| panic!("no line of {starts:?} within {within:?}: {e}"));
            if starts.iter().any(|start| line.starts_with(start)) {
                return line;
            }
            println!("a host says: {line}");
        }
    }

    /// The lines that are there by now and begin with this; all others are gone.
    pub fn rest(&self, start: &str) -> Vec<String> {
        self.lines.try_iter().filter(|line| line.starts_with(start)).collect()
    }

    /// The lines that it has said by now, and no call of these gave back.
    pub fn said(&self) -> impl Iterator<Item = String> {
        self.lines.try_iter()
    }

    /// The same of a process that has ended, to the last.
    pub fn said_at_end(&self) -> impl Iterator<Item = String> {
        self.lines.iter()
    }

    /// Kills the process, and gives back what it said before.
    pub fn last_words(mut self) -> Vec<String> {
        self.kill();
        self.said_at_end().collect()
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("it is ours")
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to the role's standard input.
    pub fn write(&mut self, line: impl std::fmt::Display) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("the role reads");
    }

    /// Writes an empty line: a role that waits goes on.
    pub fn tell(&mut self) {
        self.write("");
    }

    /// Sends the process a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &*pid]).status();
        assert!(status.expect("the program kill").success(), "{name}");
    }

    /// Kills the process without warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Hosts on one bridge, 10.77.0.1 and fd00:77::1 up, each with an interface
/// `eth0`.
pub struct Lan {
    /// The hosts.
    pub hosts: Vec<Netns>,
    bridge: Netns,
}

impl Lan {
    /// `n` hosts whose addresses have this prefix length.
    pub fn new(n: u8, prefix: u8) -> Self {
        let bridge = Netns::new();
        // Without snooping nothing waits for a membership report.
        bridge.ip("link add br0 type bridge mcast_snooping 0");
        bridge.ip("link set br0 up");
        let hosts: Vec<Netns> = (1..=n)
            .map(|i| {
                let host = Netns::new();
                bridge.ip(&format!("link add v{i} type veth peer name eth0 netns {}", host.0));
                bridge.ip(&format!("link set v{i} master br0 up"));
                host.ip(&format!("addr add 10.77.0.{i}/{prefix} dev eth0"));
                host.ip(&format!("addr add fd00:77::{i}/124 dev eth0 nodad"));
                host.ip("link set eth0 up");
                host
            })
            .collect();
        Self { hosts, bridge }
    }

    /// Where all that hosts say to each other passes.
    pub fn bridge(&self) -> &Netns {
        &self.bridge
    }
}

/// How a home's router gives its address to what is behind it. Nobody gets in who was not
/// spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// A port is the same to all, but lets in only what comes from where it has sent to.
    PortRestricted,
    /// A port is another one to each: nobody can know it. (Who tries is told so at once,
    /// which those of homes don't do: tests are to see punches fail.)
    Symmetric,
    /// A port is the same to all, and lets in from any port who was spoken to.
    AddressRestricted,
}

/// An "Internet" of public addresses, 45.77.0.1 up, which exists only here; and homes in
/// it, behind a router each. All hosts have an interface `eth0`.
pub struct Internet {
    bridge: Netns,
    next: std::cell::Cell<u8>,
}

impl Internet {
    /// With nobody in it.
    pub fn new() -> Self {
        let bridge = Netns::new();
        bridge.ip("link add br0 type bridge mcast_snooping 0");
        bridge.ip("link set br0 up");
        Self { bridge, next: 1.into() }
    }

    /// A host with a public address, and that.
    pub fn host(&self) -> (Netns, String) {
        let i = self.next.replace(self.next.get() + 1);
        let host = Netns::new();
        self.bridge.ip(&format!("link add v{i} type veth peer name eth0 netns {}", host.0));
        self.bridge.ip(&format!("link set v{i} master br0 up"));
        host.ip(&format!("addr add 45.77.0.{i}/24 dev eth0"));
        host.ip("link set eth0 up");
        (host, format!("45.77.0.{i}"))
    }

    /// A router, and a host behind it, 192.168.1.2 in every home.
    pub fn home(&self, nat: Nat) -> (Netns, Netns) {
        let (router, _) = self.host();
        let inner = Netns::new();
        router.ip(&format!("link add lan type veth peer name eth0 netns {}", inner.0));
        router.ip("addr add 192.168.1.1/24 dev lan");
        router.ip("link set lan up");
        inner.ip("addr add 192.168.1.2/24 dev eth0");
        inner.ip("link set eth0 up");
        inner.ip("route add default via 192.168.1.1");
        router.set("net.ipv4.ip_forward", 1);
        let random = if nat == Nat::Symmetric { " random,fully-random" } else { "" };
        let (out, back, lets) = match nat {
            Nat::AddressRestricted => (
                "iifname lan add @spoken { ip daddr };",
                "iifname eth0 ip saddr @spoken dnat to 192.168.1.2;",
                "iifname eth0 ip saddr @spoken accept;",
            ),
            _ => ("", "", ""),
        };
        let refuse = if nat == Nat::Symmetric { "reject" } else { "drop" };
        // What is for a port that leads nowhere is dropped, also by the router itself: its
        // answer would tell the other side that nobody is there.
        let rules = format!(
            "table ip home {{
                set spoken {{ type ipv4_addr; flags dynamic; size 64; }}
                chain pre {{
                    type nat hook prerouting priority -100;
                    {back}
                }}
                chain post {{
                    type nat hook postrouting priority 100;
                    oifname eth0 masquerade{random};
                }}
                chain in {{
                    type filter hook input priority 0;
                    iifname eth0 ct state new {refuse};
                }}
                chain through {{
                    type filter hook forward priority 0;
                    {out}
                    {lets}
                    iifname eth0 ct state new {refuse};
                }}
            }}"
        );
        router.feed(&["nft", "-f", "-"], &rules);
        (router, inner)
    }
}

/// Whether namespaces can be made. In CI their absence is a failure.
pub fn available() -> bool {
    // Once: two that are made and deleted under one name get in each other's way.
    static WORKS: LazyLock<bool> = LazyLock::new(|| {
        let name = format!("casm-probe-{}", std::process::id());
        let ip = |command| Command::new("ip").args(["netns", command, &name]).output();
        let works = ip("add").is_ok_and(|output| output.status.success());
        let _ = ip("del");
        works
    });
    assert!(*WORKS || std::env::var_os("CI").is_none(), "network namespaces cannot be made");
    if !*WORKS {
        println!("skipped: network namespaces cannot be made here");
    }
    *WORKS
}

/// The role that this process was started for, and its arguments. A last one
/// such as `without=netlink,ipv6` is kept to here.
pub fn role() -> Option<(String, Vec<String>)> {
    let role = std::env::var(ROLE).ok()?;
    let args = std::env::var(ARGS).unwrap_or_default();
    let mut args: Vec<String> = args.split_whitespace().map(Into::into).collect();
    if let Some(families) = args.last().and_then(|arg| arg.strip_prefix("without=")) {
        forbid(families);
        args.pop();
    }
    Some((role, args))
}

/// Runs what a role does, with one worker: with more, each that wakes up may wake another
/// one to look for work.
pub fn block_on(role: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(role);
}

/// Has the system refuse sockets of some families to this process, from now on,
/// as systemd does for services with `RestrictAddressFamilies`.
#[cfg(target_os = "linux")]
fn forbid(families: &str) {
    use seccompiler::*;
    let rule = |family: &str| {
        let family = match family {
            "netlink" => 16,
            "ipv6" => 10,
            other => panic!("no family {other}"),
        };
        let is = SeccompCmpOp::Eq;
        let first = SeccompCondition::new(0, SeccompCmpArgLen::Dword, is, family).unwrap();
        SeccompRule::new(vec![first]).unwrap()
    };
    // socket(2) on x86-64 and on others.
    let socket = if cfg!(target_arch = "x86_64") { 41 } else { 198 };
    let filter = SeccompFilter::new(
        [(socket, families.split(',').map(rule).collect())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(97),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter(&program).unwrap();
    assert_eq!(socket_error(16), families.contains("netlink").then_some(97));
}

#[cfg(not(target_os = "linux"))]
fn forbid(_: &str) {
    unreachable!("there are no namespaces");
}

/// The error of opening a socket of a family.
#[cfg(target_os = "linux")]
fn socket_error(family: i32) -> Option<i32> {
    let opened = socket2::Socket::new(family.into(), socket2::Type::DGRAM, None);
    opened.err().and_then(|error| error.raw_os_error())
}

/// The memory that this process has, in KiB.
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The time that this process has had of a processor, in ms.
pub fn processor_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // In hundredths of a second, behind the name, which is in brackets.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    fields.skip(11).take(2).map(|ticks| 10 * ticks.parse::<u64>().unwrap()).sum()
}

/// Says a line to the test.
pub fn say(line: impl std::fmt::Display) {
    println!("\n{MARK}{line}");
}

/// Waits until the test has dropped this host.
pub async fn until_killed() {
    std::future::pending().await
}

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("the program ip");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args}: {problem}");
}
