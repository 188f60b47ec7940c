//! Looks after the peers to which the boot addresses lead: if they cannot be
//! reached, somebody should know, and those that were named are tried as long as
//! the node lives.

use super::join::connect;
use crate::{
    Error, ErrorKind, PeerId, PeerInfo, Result,
    boot::{Boot, BootAddr, subject},
    host::Host,
    trouble::Troubles,
};
use futures::future::join_all;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// A cause of trouble.
const UNREACHABLE: &str = "unreachable";
/// How often a peer that was named is tried at first: a search has tried what it
/// found by then.
const LOOK: Duration = Duration::from_secs(10);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest pause between attempts to reach a peer that was named.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// A peer that was named, and when it is tried next.
pub(super) struct Seed {
    source: String,
    peer: PeerInfo,
    next: Instant,
    pause: Duration,
}

/// The peers that the boot addresses name, but for the node itself: a list of
/// all members serves each of them.
pub(super) fn named(boot: &[BootAddr], own: PeerId) -> Vec<Seed> {
    let seed = |addr: &BootAddr| match addr {
        BootAddr::Static { peer: Some(id), addr: at } if *id != own => Some(Seed {
            source: addr.to_string(),
            peer: PeerInfo { id: *id, addrs: vec![at.clone()] },
            next: Instant::now(),
            pause: LOOK,
        }),
        _ => None,
    };
    boot.iter().filter_map(seed).collect()
}

/// Runs as long as the node, but for its pauses. `every` is how often is looked.
pub(super) async fn run(
    host: Host,
    boot: Boot,
    mut seeds: Vec<Seed>,
    troubles: Troubles,
    every: Duration,
) {
    let life = host.life();
    loop {
        life.up().await;
        tokio::select! {
            () = life.down() => {}
            () = look(&host, &boot, &mut seeds, &troubles, every) => {}
        }
    }
}

async fn look(host: &Host, boot: &Boot, seeds: &mut [Seed], troubles: &Troubles, every: Duration) {
    loop {
        sleep(every.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
        join_all(seeds.iter_mut().map(|seed| look_after(host, seed, troubles))).await;
        let mut found = boot.last_found();
        seeds.iter().for_each(|seed| drop(found.remove(&seed.source)));
        look_at(host, &found, troubles).await;
    }
}

async fn look_after(host: &Host, seed: &mut Seed, troubles: &Troubles) {
    if host.is_connected(&seed.peer.id) {
        seed.pause = LOOK;
        return troubles.is_over(&subject(&seed.source), UNREACHABLE);
    }
    if Instant::now() < seed.next {
        return;
    }
    match reach(host, &seed.source, &seed.peer).await {
        Ok(()) => troubles.is_over(&subject(&seed.source), UNREACHABLE),
        Err(error) => {
            troubles.fails(&subject(&seed.source), UNREACHABLE, error);
            seed.next = Instant::now() + seed.pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            seed.pause = (seed.pause * 3 / 2).min(MAX_PAUSE);
        }
    }
}

/// Of what else was found, one must be reachable at least while the node has
/// nobody: its packets pass, and its connections may not. That somebody is
/// connected says nothing of how the source answers now.
async fn look_at(host: &Host, found: &BTreeMap<String, Vec<PeerInfo>>, troubles: &Troubles) {
    let alone = host.connected().is_empty();
    for (source, peers) in found {
        if peers.iter().any(|peer| host.is_connected(&peer.id)) {
            troubles.is_over(&subject(source), UNREACHABLE);
        } else if let (true, Some(peer)) = (alone, peers.first()) {
            match reach(host, source, peer).await {
                Ok(()) => troubles.is_over(&subject(source), UNREACHABLE),
                // The join has tried it just now.
                Err(error) if error.kind() == ErrorKind::Busy => {}
                Err(error) => troubles.fails(&subject(source), UNREACHABLE, error),
            }
        }
    }
}

async fn reach(host: &Host, source: &str, peer: &PeerInfo) -> Result<()> {
    timeout(PATIENCE, connect(host, source, peer)).await.unwrap_or_else(|_| {
        let message = format!("{} does not answer within {} s", peer.id, PATIENCE.as_secs());
        Err(Error::new(ErrorKind::Unreachable, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Keypair, Multiaddr, config::Limits, event::EventBus, host::Addresses, metrics::Metrics,
        scope::Scope,
    };
    use std::net::TcpListener;

    async fn host(scope: &Scope) -> Host {
        let listen: [Multiaddr; 1] = ["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let (key, limits) = (Keypair::generate_ed25519(), Limits::default());
        let (addrs, metrics) = (Addresses::from(&listen), Metrics::default());
        Host::start(key, addrs, &limits, &metrics, EventBus::default(), scope, 0).await.unwrap()
    }

    fn found(source: &str, peer: &PeerInfo) -> BTreeMap<String, Vec<PeerInfo>> {
        BTreeMap::from([(source.to_owned(), vec![peer.clone()])])
    }

    #[tokio::test]
    async fn that_a_peer_is_connected_takes_back_no_other_cause() {
        let (scope, troubles) = (Scope::default(), Troubles::default());
        let (one, other) = (host(&scope).await, host(&scope).await);
        let peer = other.record().borrow().info().clone();
        one.connect(&peer).await.unwrap();
        let named = format!("{}/p2p/{}", peer.addrs[0], peer.id);
        let mut seeds = named_from(&named, one.id());
        for source in ["/dns/x/udp/8822", &named] {
            let found = found(source, &peer);
            for (cause, left) in [("unresolved", 1), ("unanswered", 1), (UNREACHABLE, 0)] {
                troubles.fails(&subject(source), cause, "it fails");
                if source == named {
                    look_after(&one, &mut seeds[0], &troubles).await;
                } else {
                    look_at(&one, &found, &troubles).await;
                }
                assert_eq!(troubles.count().get(), left, "{source} {cause}");
                troubles.forget(&subject(source));
            }
        }
        assert!(scope.close(Duration::from_secs(5)).await);
    }

    fn named_from(addr: &str, own: PeerId) -> Vec<Seed> {
        named(&[addr.parse().unwrap()], own)
    }

    #[tokio::test]
    async fn what_others_answered_is_dialled_with_care() {
        let (scope, troubles) = (Scope::default(), Troubles::default());
        let host = host(&scope).await;
        let victim = TcpListener::bind("127.0.0.1:0").unwrap();
        victim.set_nonblocking(true).unwrap();
        let port = victim.local_addr().unwrap().port();
        // A name that stands for this machine.
        let addrs = vec![format!("/dns4/localhost/tcp/{port}").parse().unwrap()];
        let peer = PeerInfo { id: PeerId::random(), addrs };
        look_at(&host, &found("/ip4/10.0.0.1/udp/8822", &peer), &troubles).await;
        assert!(victim.accept().is_err(), "it was dialled");
        assert_eq!(troubles.count().get(), 1, "and nobody is told");
        // What the program's discovery gives is dialled as it is.
        let all = found("a discovery", &peer);
        let mut looking = std::pin::pin!(look_at(&host, &all, &troubles));
        tokio::select! {
            () = &mut looking => panic!("nobody answers there"),
            () = async {
                while victim.accept().is_err() {
                    sleep(Duration::from_millis(10)).await;
                }
            } => {}
        }
        assert!(scope.close(Duration::from_secs(5)).await);
    }
}
