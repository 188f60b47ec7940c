//! To whom this node has spoken lately: who comes and is not among them has got in by
//! himself.

use libp2p::PeerId;
use std::{collections::HashMap, net::IpAddr, time::Duration};

/// For how long a NAT may let somebody in since this node spoke to him.
const LATELY: Duration = Duration::from_secs(3600);
/// Those who are remembered.
const MOST: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whom {
    Host(IpAddr),
    /// One whose name was dialled is at a host that isn't known.
    Peer(PeerId),
}

/// Those to whom this node has spoken. Times are since it was made.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    to: HashMap<Whom, Duration>,
    /// Until when it is not known, since there were too many.
    until: Duration,
}

impl Spoken {
    /// This node dials a peer, if it knows which, at these hosts.
    pub(crate) fn to(
        &mut self,
        peer: Option<PeerId>,
        hosts: impl IntoIterator<Item = IpAddr>,
        now: Duration,
    ) {
        let hosts = hosts.into_iter().map(|host| Whom::Host(host.to_canonical()));
        for whom in peer.map(Whom::Peer).into_iter().chain(hosts) {
            if self.to.len() >= MOST && !self.to.contains_key(&whom) {
                self.to.retain(|_, at| now.saturating_sub(*at) < LATELY);
                if self.to.len() >= MOST {
                    self.until = now + LATELY;
                    continue;
                }
            }
            self.to.insert(whom, now);
        }
    }

    /// Whether a peer that comes from a host is one to whom this node hasn't spoken.
    pub(crate) fn is_stranger(&self, peer: PeerId, host: IpAddr, now: Duration) -> bool {
        let lately = |whom| self.to.get(&whom).is_some_and(|at| now.saturating_sub(*at) < LATELY);
        now >= self.until && !lately(Whom::Peer(peer)) && !lately(Whom::Host(host.to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0808_0000 + n).into()
    }

    #[test]
    fn who_was_spoken_to_lately_is_no_stranger_at_any_port_or_host() {
        let (mut spoken, peer, other) = (Spoken::default(), PeerId::random(), PeerId::random());
        let second = Duration::from_secs(1);
        assert!(spoken.is_stranger(peer, host(1), second));
        spoken.to(Some(peer), [host(1)], second);
        assert!(!spoken.is_stranger(other, host(1), 2 * second));
        assert!(!spoken.is_stranger(peer, host(2), 2 * second));
        assert!(spoken.is_stranger(other, host(2), 2 * second));
        assert!(spoken.is_stranger(peer, host(1), second + LATELY));
    }

    #[test]
    fn where_there_are_too_many_to_know_nobody_is_one() {
        let (mut spoken, peer) = (Spoken::default(), PeerId::random());
        let second = Duration::from_secs(1);
        (0..5000).for_each(|n| spoken.to(None, [host(n)], second));
        assert_eq!(spoken.to.len(), MOST);
        assert!(!spoken.is_stranger(peer, host(4999), second));
        assert!(!spoken.is_stranger(peer, host(9999), second));
        assert!(spoken.is_stranger(peer, host(9999), second + LATELY));
    }
}
