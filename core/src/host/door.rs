//! Which networks may begin a handshake: one whose handshakes ended in refusals has
//! cost enough for a while. A state machine that takes times as arguments and does no
//! I/O.
//!
//! Only a handshake proves who somebody is, so that who isn't taken costs one. Each is
//! charged to the network that it came from, or to the relay that it came over. A
//! network in which both members and strangers are (behind one NAT or relay, say) still
//! gets one handshake per [`EACH`], whoever comes first; and an address from which a
//! member was connected lately is let in whatever its neighbours do: members dial from
//! the port at which they listen, and a relay knows them by name.

use crate::{cache::cache, prefix::Prefix};
use libp2p::Multiaddr;
use lru::LruCache;
use std::{num::NonZeroUsize, time::Duration};

/// How many handshakes a network may waste at once.
pub(super) const BURST: u32 = 32;
/// After how long it may waste another one.
pub(super) const EACH: Duration = Duration::from_millis(500);
/// The most that a network owes: handshakes that were under way when it had wasted
/// enough count as well.
const OWED: u32 = 2 * BURST;
/// For how long the address of a member is let in.
const KNOWN: Duration = Duration::from_secs(3600);
/// Networks, and addresses of members, that are remembered: the last.
const MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");

/// Where somebody comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    network: Prefix,
    /// Behind a relay it is the name that the relay knows it by.
    addr: &'a Multiaddr,
}

impl<'a> Origin<'a> {
    pub(super) fn new(local: &Multiaddr, remote: &'a Multiaddr) -> Self {
        Self { network: Prefix::of_incoming(local, remote), addr: remote }
    }
}

/// The door of a host. Times are since it was made.
#[derive(Debug)]
pub(super) struct Door {
    /// When a network will have made up for all that it has wasted.
    owes: LruCache<Prefix, Duration>,
    /// Until when the addresses of members are let in.
    members: LruCache<Multiaddr, Duration>,
}

impl Door {
    pub(super) fn new() -> Self {
        Self { owes: cache(MAX), members: cache(MAX) }
    }

    /// Whether who comes from there may begin a handshake.
    pub(super) fn admits(&self, from: Origin<'_>, now: Duration) -> bool {
        let owed =
            self.owes.peek(&from.network).map_or(Duration::ZERO, |until| until.saturating_sub(now));
        owed <= EACH * (BURST - 1) || self.members.peek(from.addr).is_some_and(|until| *until > now)
    }

    /// A handshake from there has shown somebody who isn't taken.
    pub(super) fn wasted(&mut self, from: Origin<'_>, now: Duration) {
        self.members.pop(from.addr);
        self.given_up(from, now);
    }

    /// A handshake from there was for nothing, whoever that was.
    pub(super) fn given_up(&mut self, from: Origin<'_>, now: Duration) {
        let until = self.owes.get(&from.network).map_or(now, |until| now.max(*until));
        self.owes.put(from.network, (until + EACH).min(now + EACH * OWED));
    }

    /// A handshake from there has shown a member.
    pub(super) fn member(&mut self, from: Origin<'_>, now: Duration) {
        self.members.put(from.addr.clone(), now + KNOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    /// It comes to an address of this node.
    fn direct(remote: &Multiaddr) -> Origin<'_> {
        Origin::new(&addr("/ip4/10.0.0.1/tcp/1"), remote)
    }

    /// Somebody who tries each millisecond: how many handshakes it gets.
    fn handshakes(door: &mut Door, from: Origin<'_>, times: std::ops::Range<u64>) -> u32 {
        let mut got = 0;
        for now in times.map(Duration::from_millis) {
            if door.admits(from, now) {
                door.wasted(from, now);
                got += 1;
            }
        }
        got
    }

    #[test]
    fn who_hammers_gets_a_burst_and_then_two_a_second() {
        let (mut door, from) = (Door::new(), addr("/ip4/8.8.8.8/tcp/1"));
        let from = direct(&from);
        assert_eq!(handshakes(&mut door, from, 0..100), BURST);
        let minute = handshakes(&mut door, from, 100..60_100);
        assert!((119..=121).contains(&minute), "{minute}");
        // From any address of the network, and no other network suffers from it.
        let later = Duration::from_millis(60_100);
        assert!(!door.admits(direct(&addr("/ip4/8.8.8.9/udp/2/quic-v1")), later));
        for other in ["/ip4/8.8.9.8/tcp/1", "/ip6/2001:db8::1/tcp/1", "/ip4/10.0.0.1/tcp/1"] {
            assert!(door.admits(direct(&addr(other)), later), "{other}");
        }
        // It has its burst again once it was quiet for as long.
        let quiet = 60_100 + (EACH * BURST).as_millis() as u64;
        assert_eq!(handshakes(&mut door, from, quiet..quiet + 100), BURST);
    }

    #[test]
    fn handshakes_that_were_under_way_are_paid_for_and_no_debt_is_endless() {
        let (mut door, from) = (Door::new(), addr("/ip4/8.8.8.8/tcp/1"));
        let from = direct(&from);
        (0..10_000).for_each(|_| door.wasted(from, Duration::ZERO));
        let free = EACH * (OWED - BURST + 1);
        assert!(!door.admits(from, free - Duration::from_millis(1)));
        assert!(door.admits(from, free));
    }

    #[test]
    fn a_member_is_let_in_beside_strangers_until_it_is_one() {
        let mut door = Door::new();
        let (member, stranger) = (addr("/ip4/8.8.8.8/tcp/4001"), addr("/ip4/8.8.8.8/tcp/5"));
        let (member, stranger) = (direct(&member), direct(&stranger));
        door.member(member, Duration::ZERO);
        handshakes(&mut door, stranger, 0..100);
        let now = Duration::from_millis(100);
        assert!(!door.admits(stranger, now) && door.admits(member, now));
        // An hour later it has to prove itself as others have.
        (0..OWED).for_each(|_| door.wasted(stranger, KNOWN));
        assert!(!door.admits(member, KNOWN));
        door.member(member, KNOWN);
        assert!(door.admits(member, KNOWN));
        door.wasted(member, KNOWN);
        assert!(!door.admits(member, KNOWN));
    }

    #[test]
    fn a_relay_answers_for_whom_it_brings_and_others_do_not() {
        let mut door = Door::new();
        let relays = [(); 2]
            .map(|()| addr(&format!("/ip4/8.8.8.8/tcp/1/p2p/{}/p2p-circuit", PeerId::random())));
        let some = || addr(&format!("/p2p/{}", PeerId::random()));
        let (member, newcomer) = (some(), some());
        door.member(Origin::new(&relays[0], &member), Duration::ZERO);
        // A stranger with another id each time.
        let got = (0..1000).filter(|_| {
            let id = some();
            let from = Origin::new(&relays[0], &id);
            let admitted = door.admits(from, Duration::ZERO);
            admitted.then(|| door.wasted(from, Duration::ZERO)).is_some()
        });
        assert_eq!(got.count(), BURST as usize);
        assert!(!door.admits(Origin::new(&relays[0], &newcomer), Duration::ZERO));
        // Over another one, directly, even from where the relay is, and who was here.
        assert!(door.admits(Origin::new(&relays[1], &newcomer), Duration::ZERO));
        assert!(door.admits(direct(&addr("/ip4/8.8.8.8/tcp/1")), Duration::ZERO));
        assert!(door.admits(Origin::new(&relays[0], &member), Duration::ZERO));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut door = Door::new();
        for n in 0..2 * MAX.get() as u32 {
            let ip = std::net::Ipv4Addr::from(0x0808_0000 + (n << 8));
            let from = addr(&format!("/ip4/{ip}/tcp/1"));
            door.wasted(direct(&from), Duration::ZERO);
            door.member(direct(&from), Duration::ZERO);
        }
        assert_eq!((door.owes.len(), door.members.len()), (MAX.get(), MAX.get()));
    }
}
