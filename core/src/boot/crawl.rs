//! Asking many addresses, one by one, in random order and at a bounded rate.

use super::{
    PeerSink,
    desk::{Desk, Outcome},
    packet::Body,
    permute::Permutation,
    responder::{Asked, Medium},
    socket,
    turns::Turns,
};
use crate::{Namespace, PeerInfo, Result};
use rand::RngExt;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};
use tokio::{net::UdpSocket, time::Instant};

/// The addresses that a crawl asks, all of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Targets {
    /// `count` hosts from `first` up, at one port.
    Hosts { first: IpAddr, count: u64, port: u16 },
    /// Consecutive ports of one host.
    Ports { ip: IpAddr, first: u16, count: u16 },
    /// These.
    List(Vec<SocketAddr>),
}

impl Targets {
    /// The hosts of a block. Network and broadcast address are left out where
    /// there are such (RFC 3021 has none in a /31), and so is the
    /// subnet-router anycast address of IPv6 (RFC 4291, section 2.6.1).
    pub(crate) fn block(ip: IpAddr, prefix: u8, port: u16) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let bits = 32u32.saturating_sub(prefix.into());
                let size = 1u64 << bits;
                let network = (u64::from(ip.to_bits()) / size * size) as u32;
                let (skip, count) = if bits > 1 { (1, size - 2) } else { (0, size) };
                Self::Hosts { first: IpAddr::V4((network + skip).into()), count, port }
            }
            IpAddr::V6(ip) => {
                let bits = 128u32.saturating_sub(prefix.into()).min(32);
                let size = 1u64 << bits;
                let network = ip.to_bits() / u128::from(size) * u128::from(size);
                let skip = u64::from(bits > 1);
                let first = IpAddr::V6((network + u128::from(skip)).into());
                Self::Hosts { first, count: size - skip, port }
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Hosts { count, .. } => *count,
            Self::Ports { count, .. } => (*count).into(),
            Self::List(list) => list.len() as u64,
        }
    }

    fn get(&self, index: u64) -> Option<SocketAddr> {
        if index >= self.len() {
            return None;
        }
        Some(match self {
            Self::Hosts { first, port, .. } => {
                let ip = match first {
                    IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() + index as u32).into()),
                    IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() + u128::from(index)).into()),
                };
                SocketAddr::new(ip, *port)
            }
            Self::Ports { ip, first, .. } => SocketAddr::new(*ip, first + index as u16),
            Self::List(list) => list[index as usize],
        })
    }

    fn contains(&self, at: SocketAddr) -> bool {
        match self {
            Self::Hosts { first, count, port } => {
                let offset = match (first, at.ip()) {
                    (IpAddr::V4(first), IpAddr::V4(ip)) => {
                        ip.to_bits().checked_sub(first.to_bits()).map(u128::from)
                    }
                    (IpAddr::V6(first), IpAddr::V6(ip)) => {
                        ip.to_bits().checked_sub(first.to_bits())
                    }
                    _ => None,
                };
                at.port() == *port && offset.is_some_and(|offset| offset < u128::from(*count))
            }
            Self::Ports { ip, first, count } => {
                let offset = at.port().checked_sub(*first);
                at.ip() == *ip && offset.is_some_and(|offset| offset < *count)
            }
            Self::List(list) => list.contains(&at),
        }
    }
}

/// How fast a crawl goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    rate: NonZeroU32,
    burst: u32,
}

impl Pace {
    const BURST: u32 = 8;
    /// This machine can be asked faster than a network.
    const LOOPBACK: NonZeroU32 = NonZeroU32::new(1000).expect("not 0");

    /// So many requests per second, faster on the loopback interface.
    pub(crate) fn new(rate: NonZeroU32, targets: &Targets) -> Self {
        let loopback = targets.get(0).is_some_and(|first| first.ip().is_loopback());
        let rate = if loopback { rate.max(Self::LOOPBACK) } else { rate };
        Self { rate, burst: Self::BURST.max(rate.get() / 50) }
    }

    /// How long `burst` requests take.
    fn per_burst(self) -> Duration {
        Duration::from_secs(1) * self.burst / self.rate.get()
    }
}

/// Between the rounds of a crawl: nodes that start together must not miss each
/// other.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Crawls again and again until the sink is closed.
pub(crate) async fn crawl(
    desk: Arc<Desk>,
    targets: Targets,
    rate: NonZeroU32,
    namespace: Namespace,
    sink: PeerSink,
) {
    let Some(first) = targets.get(0) else { return };
    let prepared = socket::asking(first.ip())
        .map_err(|error| socket::bind_error("a port to ask from", error))
        .and_then(|socket| Ok((socket, desk.sign(&namespace, 0, Body::Request)?)));
    let (socket, request) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            sink.fails("unasked", &error);
            return sink.error(error).await;
        }
    };
    let crawl =
        Crawl { pace: Pace::new(rate, &targets), desk, targets, namespace, socket, request };
    crawl.run(&sink).await;
}

struct Crawl {
    desk: Arc<Desk>,
    targets: Targets,
    pace: Pace,
    namespace: Namespace,
    socket: UdpSocket,
    request: Vec<u8>,
}

impl Crawl {
    async fn run(&self, sink: &PeerSink) {
        let mut buffer = socket::buffer();
        let total = self.targets.len();
        let (mut round, mut sent, mut answers) = (1, 0, 0);
        let mut order = Permutation::new(total, &mut rand::rng());
        let mut pause = FIRST_PAUSE;
        let mut next = Instant::now();
        let mut found: Turns<SocketAddr, PeerInfo> = Turns::default();
        let (mut passed, mut failed) = (false, None);
        loop {
            tokio::select! {
                () = sink.closed() => return,
                () = sink.found_first(&found) => drop(found.pop()),
                (len, source) = socket::receive(&self.socket, &mut buffer) => {
                    if let Some(peer) = self.answer(&buffer[..len], source) {
                        answers += 1;
                        sink.progress(round, sent, total, answers);
                        found.push(source, peer, &mut rand::rng());
                    }
                }
                () = tokio::time::sleep_until(next) => {
                    for _ in 0..self.pace.burst {
                        let Some(to) = order.get(sent).and_then(|i| self.targets.get(i)) else {
                            break;
                        };
                        sent += 1;
                        // One address that cannot be asked ends nothing.
                        match self.ask(to).await {
                            Ok(()) => passed = true,
                            Err(error) => failed = Some(error),
                        }
                    }
                    sink.progress(round, sent, total, answers);
                    next = Instant::now() + self.pace.per_burst();
                    if sent >= total {
                        next += pause.mul_f64(rand::rng().random_range(0.5..1.0));
                        pause = (pause * 3 / 2).min(MAX_PAUSE);
                        order = Permutation::new(total, &mut rand::rng());
                        (round, sent) = (round + 1, 0);
                        sink.asked(passed, failed.take(), self.expected());
                        passed = false;
                    }
                }
            }
        }
    }

    async fn ask(&self, to: SocketAddr) -> io::Result<()> {
        let request = self.desk.sealing.seal(&self.namespace, &self.request)?;
        socket::try_send(&self.socket, &request, to).await?;
        self.desk.sent("request");
        Ok(())
    }

    /// What is wrong if nobody answers, where somebody should: at an address that
    /// was named, and that is not this node's.
    fn expected(&self) -> Option<String> {
        let Targets::List(list) = &self.targets else { return None };
        let others = list.iter().filter(|at| !self.desk.serves(at)).count();
        (others > 0).then(|| {
            let secret = if self.desk.sealing.is_on() { " and holds the same secret" } else { "" };
            format!(
                "nobody answers there for the namespace `{}`: is a node running that serves \
                 it{secret}, and does UDP pass?",
                self.namespace
            )
        })
    }

    fn answer(&self, bytes: &[u8], source: SocketAddr) -> Option<PeerInfo> {
        let asked = |packet: &super::packet::Packet| {
            if packet.namespace == self.namespace && self.targets.contains(source) {
                Asked::Yes
            } else {
                Asked::No
            }
        };
        match self.desk.receive(bytes, source, Medium::Asking, asked) {
            Outcome::Found(packet) => match packet.body {
                Body::Response { addrs } => {
                    let addrs = self.desk.sensible(&addrs, source.ip());
                    (!addrs.is_empty()).then_some(PeerInfo { id: packet.peer, addrs })
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// How long answers to [`ask_once`] are heard.
const ANSWERS: Duration = Duration::from_secs(5);

/// Sends one request to each target, once, at the given pace. Gives back how
/// many were sent. What answers them is counted, and seen by taps.
pub(crate) async fn ask_once(
    desk: &Arc<Desk>,
    targets: &Targets,
    rate: NonZeroU32,
    namespace: &Namespace,
) -> Result<u64> {
    let Some(first) = targets.get(0) else { return Ok(0) };
    let crawl = Crawl {
        pace: Pace::new(rate, targets),
        desk: Arc::clone(desk),
        targets: targets.clone(),
        namespace: namespace.clone(),
        socket: socket::asking(first.ip())?,
        request: desk.sign(namespace, 0, Body::Request)?,
    };
    let order = Permutation::new(targets.len(), &mut rand::rng());
    let mut sent = 0;
    for (i, to) in order.iter().filter_map(|i| targets.get(i)).enumerate() {
        if i > 0 && (i as u64).is_multiple_of(crawl.pace.burst.into()) {
            tokio::time::sleep(crawl.pace.per_burst()).await;
        }
        sent += u64::from(crawl.ask(to).await.is_ok());
    }
    desk.scope.spawn(async move {
        let mut buffer = socket::buffer();
        let hear = async {
            loop {
                let (len, source) = socket::receive(&crawl.socket, &mut buffer).await;
                crawl.answer(&buffer[..len], source);
            }
        };
        // It goes on until the time is over.
        let _ = tokio::time::timeout(ANSWERS, hear).await;
    });
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(ip: &str, prefix: u8) -> Targets {
        Targets::block(ip.parse().unwrap(), prefix, 8822)
    }

    #[test]
    fn a_block_has_its_hosts_and_no_others() {
        for (ip, prefix, len, first, last) in [
            ("10.0.0.77", 24, 254, "10.0.0.1", "10.0.0.254"),
            ("10.0.0.65", 26, 62, "10.0.0.65", "10.0.0.126"),
            ("10.0.0.7", 31, 2, "10.0.0.6", "10.0.0.7"),
            ("10.0.0.7", 32, 1, "10.0.0.7", "10.0.0.7"),
            ("255.255.255.255", 32, 1, "255.255.255.255", "255.255.255.255"),
            ("10.0.0.7", 0, (1 << 32) - 2, "0.0.0.1", "255.255.255.254"),
            ("fd00::7", 112, 65535, "fd00::1", "fd00::ffff"),
            ("fd00::7", 127, 2, "fd00::6", "fd00::7"),
            ("fd00::7", 128, 1, "fd00::7", "fd00::7"),
            ("fd00::7", 96, (1 << 32) - 1, "fd00::1", "fd00::ffff:ffff"),
        ] {
            let targets = block(ip, prefix);
            let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 8822);
            assert_eq!(targets.len(), len, "{ip}/{prefix}");
            assert_eq!(targets.get(0), Some(at(first)), "{ip}/{prefix}");
            assert_eq!(targets.get(len - 1), Some(at(last)), "{ip}/{prefix}");
            assert_eq!(targets.get(len), None);
        }
    }

    proptest! {
        #[test]
        fn a_target_is_contained_and_its_neighbours_only_if_they_are_targets(
            ip: u32, prefix in 20u8..=32, port in 1u16..60000, count in 1u16..99, at: u64,
        ) {
            let ip = IpAddr::V4(ip.into());
            for targets in [
                Targets::block(ip, prefix, port),
                Targets::Ports { ip, first: port, count },
            ] {
                let one = targets.get(at % targets.len()).unwrap();
                prop_assert!(targets.contains(one));
                prop_assert!(!targets.contains(SocketAddr::new(ip, port.wrapping_sub(1))));
                prop_assert!(!targets.contains(SocketAddr::new("::1".parse().unwrap(), port)));
            }
        }
    }

    #[test]
    fn a_network_is_asked_slowly_and_this_machine_fast() {
        let rate = NonZeroU32::new(32).unwrap();
        let slow = Pace::new(rate, &block("10.0.0.0", 24));
        assert_eq!((slow.burst, slow.per_burst()), (8, Duration::from_millis(250)));
        let fast = Pace::new(rate, &block("127.0.0.1", 32));
        assert_eq!(fast.per_burst() / fast.burst, Duration::from_millis(1));
    }
}
