//! The stacks, and how a peer on each is started.

use super::{build::Programs, net::Lan, peer::Peer};
use anyhow::Result;
use std::{fmt, path::PathBuf, process::Command};

/// An implementation of libp2p, with a CASM peer on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stack {
    Rust,
    Go,
    Js,
    Py,
    /// Rust-libp2p, with the gossipsub that comes with it.
    Libp2p,
}

impl Stack {
    /// Those that are checked in pairs. (The transports of `Libp2p` are Rust's.)
    pub const ALL: [Self; 4] = [Self::Rust, Self::Go, Self::Js, Self::Py];

    /// Whether it is a whole CASM node, which finds peers by itself.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Rust | Self::Go)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::Js => "js",
            Self::Py => "py",
            Self::Libp2p => "rust-libp2p",
        })
    }
}

/// A way to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    TcpNoise,
    TcpTls,
    Quic,
}

impl Transport {
    pub const ALL: [Self; 3] = [Self::TcpNoise, Self::TcpTls, Self::Quic];

    /// The one security that is offered over TCP, where that can be chosen.
    fn security(self) -> Option<&'static str> {
        match self {
            Self::TcpNoise => Some("noise"),
            Self::TcpTls => Some("tls"),
            Self::Quic => None,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcpNoise => "TCP, noise, yamux",
            Self::TcpTls => "TCP, TLS, yamux",
            Self::Quic => "QUIC",
        })
    }
}

/// What a peer is told at its start.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    pub stack: Stack,
    /// The host of the network that it runs on.
    pub host: usize,
    pub namespace: &'a str,
    pub boot: Vec<String>,
    pub serve: Vec<String>,
    pub ttl: &'a str,
    /// Only this transport; all that the stack has if there is none.
    pub transport: Option<Transport>,
    pub key: Option<PathBuf>,
    /// The file of a pre-shared key: then there is TCP alone.
    pub secret: Option<PathBuf>,
    pub pex_tick: Option<&'a str>,
    /// How often Rust writes its view.
    pub view: &'a str,
    /// More options, in the stack's own syntax.
    pub options: Vec<String>,
    /// A service that Rust serves, and the command that answers its requests.
    pub service: Option<(&'a str, &'a [&'a str])>,
}

impl<'a> Start<'a> {
    pub fn new(stack: Stack, host: usize, namespace: &'a str) -> Self {
        Self {
            stack,
            host,
            namespace,
            boot: vec![],
            serve: vec![],
            ttl: "10s",
            transport: None,
            key: None,
            secret: None,
            pex_tick: None,
            view: "200ms",
            options: vec![],
            service: None,
        }
    }

    pub fn boot(mut self, addr: impl Into<String>) -> Self {
        self.boot.push(addr.into());
        self
    }

    pub fn serve(mut self, addr: impl Into<String>) -> Self {
        self.serve.push(addr.into());
        self
    }

    pub fn ttl(mut self, ttl: &'a str) -> Self {
        self.ttl = ttl;
        self
    }

    pub fn transport(mut self, transport: Option<Transport>) -> Self {
        self.transport = transport;
        self
    }

    pub fn key(mut self, key: impl Into<PathBuf>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub fn secret(mut self, secret: impl Into<PathBuf>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    pub fn pex_tick(mut self, tick: &'a str) -> Self {
        self.pex_tick = Some(tick);
        self
    }

    pub fn view(mut self, pace: &'a str) -> Self {
        self.view = pace;
        self
    }

    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    pub fn service(mut self, name: &'a str, command: &'a [&'a str]) -> Self {
        self.service = Some((name, command));
        self
    }

    /// Starts the peer, and waits until it listens.
    pub fn start(&self, programs: &Programs, lan: &Lan) -> Result<Peer> {
        let name = format!("{}-{}", self.stack, self.host);
        let mut command = self.command(programs, lan);
        command.args(self.arguments(&name, lan.address(self.host)));
        if let Some((_, answers)) = self.service {
            command.arg("--").args(answers);
        }
        Peer::start(self.stack, name, &mut command, &programs.scratch)
    }

    fn command(&self, programs: &Programs, lan: &Lan) -> Command {
        let host = lan.host(self.host);
        match self.stack {
            Stack::Rust => {
                let mut command = host.command(&programs.casm.to_string_lossy());
                match self.service {
                    Some((name, _)) => command.args(["serve", name, "--json", "-v"]),
                    None => command.args(["run", "--json", "-v", "--view", self.view]),
                };
                command
            }
            Stack::Go => host.command(&programs.go.to_string_lossy()),
            Stack::Js => {
                let mut command = host.command("node");
                command.arg(&programs.js);
                command
            }
            Stack::Py => {
                let mut command = host.command(&programs.python.to_string_lossy());
                command.current_dir(&programs.python_folder).args(["-m", "casm_py"]);
                command
            }
            Stack::Libp2p => host.command(&programs.libp2p.to_string_lossy()),
        }
    }

    fn arguments(&self, name: &str, ip: &str) -> Vec<String> {
        let mut list = vec![];
        let mut add = |option: &str, value: &str| {
            list.extend([format!("--{option}"), value.to_owned()]);
        };
        add("ns", self.namespace);
        add("host", name);
        add("meta", &format!("stack={}", self.stack));
        add("ttl", self.ttl);
        for addr in self.listen(ip) {
            add("listen", &addr);
        }
        if self.stack.is_whole() {
            for addr in &self.serve {
                add("serve", addr);
            }
            for addr in &self.boot {
                add("boot", addr);
            }
            if self.stack == Stack::Rust && self.boot.is_empty() {
                add("boot", "none");
            }
            if let Some(tick) = self.pex_tick {
                add("pex-tick", tick);
            }
        }
        if let Some(key) = &self.key {
            add("key", &key.to_string_lossy());
        }
        if let Some(secret) = &self.secret {
            add("secret", &secret.to_string_lossy());
        }
        if let (Some(security), false) =
            (self.transport.and_then(Transport::security), self.stack == Stack::Rust)
        {
            add("security", security);
        }
        list.extend(self.options.iter().cloned());
        list
    }

    fn listen(&self, ip: &str) -> Vec<String> {
        let tcp = format!("/ip4/{ip}/tcp/0");
        let quic = format!("/ip4/{ip}/udp/0/quic-v1");
        match self.transport {
            Some(Transport::Quic) => vec![quic],
            Some(_) => vec![tcp],
            None if self.stack.is_whole() && self.secret.is_none() => vec![tcp, quic],
            None => vec![tcp],
        }
    }
}
