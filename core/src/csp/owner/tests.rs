//! One channel, step by step.

use super::*;
use crate::csp::ticket::Turn;

#[derive(Clone, Debug, PartialEq, Eq)]
struct V(u32, usize);

impl Value for V {
    fn size(&self) -> usize {
        self.1
    }
}

fn v(n: u32) -> V {
    V(n, 10)
}

type Owner = Channel<V, Turn>;
type Out = Effects<V, Turn>;

const S: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(300);

fn channel(capacity: usize) -> Owner {
    Channel::new(Limits { capacity, ..Limits::default() })
}

fn party(number: u64) -> PartyId {
    party_of(3, number)
}

fn party_of(peer: u8, number: u64) -> PartyId {
    let key = libp2p::identity::Keypair::ed25519_from_bytes([peer; 32]).unwrap();
    PartyId { peer: key.public().to_peer_id(), number }
}

fn wish(way: Way) -> Wish {
    Wish { way, settled: 0, wait: LONG }
}

fn numbered(number: u64) -> Numbered {
    Numbered { number, settled: 0, wait: LONG }
}

fn none() -> Turn {
    Turn::default()
}

/// Leases a value that is there.
fn leased(owner: &mut Owner, now: Duration, conn: Conn, way: Way) -> (u64, V) {
    let mut out = Out::new();
    let Tried::Waits(op) = owner.lease(now, conn, wish(way), none(), &mut out) else {
        panic!("refused")
    };
    let given = out.into_iter().find_map(|effect| match effect {
        Effect::Given(of, given) if of == op => Some(given),
        _ => None,
    });
    let given = given.expect("a value is there");
    (given.lease.unwrap(), given.value)
}

fn received(owner: &mut Owner, now: Duration) -> Option<u32> {
    match owner.receive(now, Way::Plain, none(), &mut Out::new()) {
        Tried::Done(given) => given.ok().map(|given| given.value.0),
        Tried::Waits(op) => {
            owner.cancel_receive(now, op, &mut Out::new());
            None
        }
    }
}

#[test]
fn a_lease_that_is_not_confirmed_goes_back_before_what_came_later() {
    let (mut owner, mut out) = (channel(5), Out::new());
    for n in 1..=3 {
        assert_eq!(owner.send(S, v(n), none(), &mut out), Tried::Done(Sent::Accepted));
    }
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let (first, value) = leased(&mut owner, S, conn, Way::Confirm);
    let (second, _) = leased(&mut owner, S, conn, Way::Confirm);
    assert_eq!(value, v(1));
    assert!(owner.give_back(S, Who::Remote(conn), second, &mut out));
    assert!(!owner.give_back(S, Who::Remote(conn), second, &mut out), "it is back");
    owner.tick(S + CONFIRM, &mut out);
    assert!(out.contains(&Effect::Count("lease-expired")));
    assert!(!owner.confirm(7 * S, Who::Remote(conn), first, &mut out), "too late");
    // It lets no more expire for a while.
    let refused = owner.lease(7 * S - S / 2, conn, wish(Way::Confirm), none(), &mut out);
    assert_eq!(refused, Tried::Done(Err(Ended::Busy)));
    let got: Vec<_> = (0..4).map(|_| received(&mut owner, 9 * S)).collect();
    assert_eq!(got, [Some(1), Some(2), Some(3), None]);
}

#[test]
fn a_confirmation_is_answered_again_also_over_another_connection() {
    let (mut owner, mut out) = (channel(5), Out::new());
    owner.send(S, v(1), none(), &mut out);
    owner.send(S, v(2), none(), &mut out);
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let (first, _) = leased(&mut owner, S, conn, Way::Confirm);
    let (second, _) = leased(&mut owner, S, conn, Way::Confirm);
    assert!(owner.confirm(S, Who::Remote(conn), first, &mut out));
    // The other goes back with the connection that ends when it comes anew.
    let again = owner.join(2 * S, party(1), &mut out).unwrap();
    assert!(owner.confirm(2 * S, Who::Remote(again), first, &mut out));
    assert!(!owner.confirm(2 * S, Who::Remote(again), second, &mut out));
    assert!(!owner.confirm(2 * S, Who::Remote(conn), second, &mut out), "it is fenced off");
    let other = owner.join(2 * S, party(2), &mut out).unwrap();
    assert!(!owner.confirm(2 * S, Who::Remote(other), first, &mut out), "it is not its own");
    assert_eq!(received(&mut owner, 2 * S), Some(2));
    // For ten minutes after it has gone.
    owner.leave(3 * S, again, &mut out);
    owner.tick(3 * S + REMEMBER - S, &mut out);
    assert_eq!(owner.parties.len(), 2);
    owner.leave(3 * S, other, &mut out);
    assert!(owner.knows(&party(1)));
    owner.tick(3 * S + REMEMBER, &mut out);
    assert_eq!(owner.parties.len(), 0);
    assert!(!owner.knows(&party(1)), "and then it is told that it is not known");
}

#[test]
fn a_number_is_taken_in_once_and_never_after_it_was_withdrawn() {
    let (mut owner, mut out) = (channel(1), Out::new());
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let send = |owner: &mut Owner, conn, number| {
        owner.send_numbered(S, conn, numbered(number), v(7), none(), &mut Out::new())
    };
    assert!(matches!(send(&mut owner, conn, 1), Tried::Waits(_)), "and is told by an effect");
    assert_eq!(send(&mut owner, conn, 1), Tried::Done(Sent::Accepted));
    assert_eq!(owner.len(), 1);
    assert!(matches!(send(&mut owner, conn, 2), Tried::Waits(_)));
    assert_eq!(owner.withdraw(S, conn, 2, &mut out), Sent::Withdrawn);
    assert_eq!(send(&mut owner, conn, 2), Tried::Done(Sent::Withdrawn));
    // One that never came, and comes late.
    assert_eq!(owner.withdraw(S, conn, 3, &mut out), Sent::Withdrawn);
    assert_eq!(send(&mut owner, conn, 3), Tried::Done(Sent::Withdrawn));
    assert_eq!(owner.withdraw(S, conn, 1, &mut out), Sent::Accepted);
    let settled = Numbered { number: 4, settled: 4, wait: S };
    owner.send_numbered(S, conn, settled, v(8), none(), &mut out);
    assert_eq!(send(&mut owner, conn, 1), Tried::Done(Sent::Stale));
    // What waits too long may be sent again.
    owner.tick(3 * S, &mut out);
    assert!(matches!(send(&mut owner, conn, 4), Tried::Waits(_)));
    let again = owner.join(4 * S, party(1), &mut out).unwrap();
    assert_eq!(owner.senders.len(), 0, "it went with its connection");
    assert!(matches!(send(&mut owner, again, 4), Tried::Waits(_)));
    assert_eq!(send(&mut owner, conn, 5), Tried::Done(Sent::Stale));
    owner.close(5 * S, &mut out);
    assert_eq!(send(&mut owner, again, 4), Tried::Done(Sent::Closed));
    assert_eq!((received(&mut owner, 5 * S), received(&mut owner, 5 * S)), (Some(7), None));
}

#[test]
fn a_rendezvous_is_over_when_the_value_is_confirmed() {
    let (mut owner, mut out) = (channel(0), Out::new());
    let Tried::Waits(sender) = owner.send(S, v(1), none(), &mut out) else { panic!("no room") };
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let (lease, _) = leased(&mut owner, S, conn, Way::Confirm);
    assert!(owner.give_back(S, Who::Remote(conn), lease, &mut out));
    let (lease, _) = leased(&mut owner, S, conn, Way::Confirm);
    assert!(owner.confirm(S, Who::Remote(conn), lease, &mut out));
    assert!(out.contains(&Effect::Sent(sender, Sent::Accepted)));
    // A sender that goes calls its value back.
    let Tried::Waits(sender) = owner.send(S, v(2), none(), &mut out) else { panic!("no room") };
    let (lease, _) = leased(&mut owner, S, conn, Way::Confirm);
    assert_eq!(owner.cancel_send(S, sender, &mut out), Some(v(2)));
    assert!(!owner.confirm(S, Who::Remote(conn), lease, &mut out));
    // One whose value was leased when the channel was closed learns how that ended.
    for done in [true, false] {
        let (mut owner, mut out) = (channel(0), Out::new());
        let conn = owner.join(S, party(1), &mut out).unwrap();
        let Tried::Waits(sender) = owner.send(S, v(2), none(), &mut out) else { panic!("no room") };
        let (lease, _) = leased(&mut owner, S, conn, Way::Confirm);
        assert!(owner.close(S, &mut out) && !owner.close(S, &mut out));
        let how = if done {
            assert!(owner.confirm(S, Who::Remote(conn), lease, &mut out));
            Sent::Accepted
        } else {
            assert!(owner.give_back(S, Who::Remote(conn), lease, &mut out));
            Sent::Closed
        };
        assert!(out.contains(&Effect::Sent(sender, how)));
    }
}

#[test]
fn who_waits_at_a_closed_channel_ends_when_nothing_can_come_back() {
    let (mut owner, mut out) = (channel(5), Out::new());
    owner.send(S, v(1), none(), &mut out);
    let (a, b) = (owner.join(S, party(1), &mut out), owner.join(S, party(2), &mut out));
    let (a, b) = (a.unwrap(), b.unwrap());
    let (job, _) = leased(&mut owner, S, a, Way::Take);
    owner.close(S, &mut out);
    let Tried::Waits(waits) = owner.lease(S, b, wish(Way::Take), none(), &mut out) else {
        panic!("refused")
    };
    assert!(!out.contains(&Effect::Ended(waits, Ended::Closed)), "the job may come back");
    // Its worker is gone, and the other gets it.
    owner.leave(S, a, &mut out);
    assert!(out.iter().any(|effect| matches!(effect, Effect::Given(op, _) if *op == waits)));
    assert!(!owner.confirm(S, Who::Remote(b), job, &mut out), "that is another lease");
    // Two who hold jobs and wait for more don't wait for each other.
    let (mut owner, mut out) = (channel(5), Out::new());
    owner.send(S, v(1), none(), &mut out);
    owner.send(S, v(2), none(), &mut out);
    let (a, b) = (owner.join(S, party(1), &mut out), owner.join(S, party(2), &mut out));
    for conn in [a, b] {
        leased(&mut owner, S, conn.unwrap(), Way::Take);
    }
    for conn in [a, b] {
        owner.lease(S, conn.unwrap(), wish(Way::Take), none(), &mut out);
    }
    owner.close(S, &mut out);
    let ended = out.iter().filter(|e| matches!(e, Effect::Ended(_, Ended::Closed)));
    assert_eq!(ended.count(), 2);
}

#[test]
fn a_job_is_renewed_as_long_as_it_is_held() {
    let (mut owner, mut out) = (channel(5), Out::new());
    owner.send(S, v(1), none(), &mut out);
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let (job, _) = leased(&mut owner, S, conn, Way::Take);
    assert_eq!(owner.renew(10 * S, conn, &[job, 99]), [99]);
    owner.tick(19 * S, &mut out);
    assert_eq!(owner.len(), 0);
    owner.tick(10 * S + RENEW, &mut out);
    assert_eq!((owner.len(), owner.renew(21 * S, conn, &[job])), (1, vec![job]));
}

#[test]
fn bytes_and_numbers_are_bounded() {
    let limits = Limits {
        capacity: 100,
        bytes: 50,
        waiting_of_peer: 3,
        bytes_of_peer: 25,
        leases_of_peer: 2,
        parties_of_peer: 2,
        ..Limits::default()
    };
    let (mut owner, mut out) = (Owner::new(limits), Out::new());
    // One may always wait, however large.
    assert_eq!(owner.send(S, V(0, 80), none(), &mut out), Tried::Done(Sent::Accepted));
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let send = |owner: &mut Owner, number, size| {
        let mut out = Out::new();
        owner.send_numbered(S, conn, numbered(number), V(0, size), none(), &mut out)
    };
    assert!(matches!(send(&mut owner, 1, 60), Tried::Waits(_)));
    assert_eq!(send(&mut owner, 2, 1), Tried::Done(Sent::Busy));
    owner.withdraw(S, conn, 1, &mut out);
    for number in 3..6 {
        assert!(matches!(send(&mut owner, number, 1), Tried::Waits(_)));
    }
    assert_eq!(send(&mut owner, 6, 1), Tried::Done(Sent::Busy));
    assert_eq!(received(&mut owner, S), Some(0));
    assert_eq!((owner.len(), owner.waiting_bytes, owner.bytes), (3, 0, 3));
    // Leases that are out, and receives that wait.
    leased(&mut owner, S, conn, Way::Confirm);
    leased(&mut owner, S, conn, Way::Confirm);
    for _ in 0..3 {
        let waits = owner.lease(S, conn, wish(Way::Confirm), none(), &mut out);
        assert!(matches!(waits, Tried::Waits(_)));
    }
    let busy = owner.lease(S, conn, wish(Way::Confirm), none(), &mut out);
    assert_eq!(busy, Tried::Done(Err(Ended::Busy)));
    assert_eq!(owner.len(), 1, "it has its share");
    // Parties: one that is away makes room, one that is there does not.
    owner.join(S, party(2), &mut out).unwrap();
    assert_eq!(owner.join(S, party(3), &mut out), None);
    owner.leave(S, conn, &mut out);
    assert_eq!((owner.len(), owner.receivers.len(), owner.reserved), (3, 0, 0));
    assert!(owner.join(S, party(3), &mut out).is_some());
    assert_eq!(owner.parties.len(), 2);
}

#[test]
fn what_is_called_off_leaves_nothing_behind() {
    let (mut owner, mut out) = (channel(0), Out::new());
    let conn = owner.join(S, party(1), &mut out).unwrap();
    for number in 0..100 {
        let Tried::Waits(op) = owner.lease(S, conn, wish(Way::Confirm), none(), &mut out) else {
            panic!("refused")
        };
        assert!(owner.cancel_receive(S, op, &mut out));
        let tried = owner.send_numbered(S, conn, numbered(number), v(1), none(), &mut out);
        assert!(matches!(tried, Tried::Waits(_)));
        owner.withdraw(S, conn, number, &mut out);
    }
    assert!(owner.due.is_empty(), "{:?}", owner.due);
}

/// How many a party is handed when it takes whatever there is.
fn takes(owner: &mut Owner, conn: Conn) -> Vec<u64> {
    let mut leases = Vec::new();
    loop {
        let mut out = Out::new();
        let Tried::Waits(op) = owner.lease(S, conn, wish(Way::Take), none(), &mut out) else {
            return leases;
        };
        let given = out.into_iter().find_map(|effect| match effect {
            Effect::Given(of, given) if of == op => given.lease,
            _ => None,
        });
        let Some(lease) = given else {
            owner.cancel_receive(S, op, &mut Out::new());
            return leases;
        };
        leases.push(lease);
    }
}

#[test]
fn what_is_taken_stays_within_the_bytes_of_the_channel_until_it_is_done() {
    let limits = Limits { capacity: 100, bytes: 100, ..Limits::default() };
    let (mut owner, mut out) = (Owner::new(limits.clone()), Out::new());
    for n in 0..10 {
        assert_eq!(owner.send(S, v(n), none(), &mut out), Tried::Done(Sent::Accepted));
    }
    let Tried::Waits(sender) = owner.send(S, v(10), none(), &mut out) else { panic!("no room") };
    let (one, other) =
        (owner.join(S, party_of(1, 1), &mut out), owner.join(S, party_of(2, 1), &mut out));
    let (one, other) = (one.unwrap(), other.unwrap());
    // Whatever number of parties a peer comes as, it leaves some to others.
    let again = owner.join(S, party_of(1, 2), &mut out).unwrap();
    let taken = takes(&mut owner, one);
    assert_eq!((taken.len(), takes(&mut owner, again).len()), (5, 0));
    assert_eq!(takes(&mut owner, other).len(), 3);
    assert_eq!((owner.len(), owner.bytes), (2, 100), "what is taken is still here");
    assert!(!out.contains(&Effect::Sent(sender, Sent::Accepted)));
    assert!(owner.confirm(S, Who::Remote(one), taken[0], &mut out));
    assert!(out.contains(&Effect::Sent(sender, Sent::Accepted)), "there is room for one");
    owner.leave(S, one, &mut out);
    assert_eq!((owner.len(), owner.bytes), (7, 100));
    // Nor do those who take from senders that wait get more.
    let (mut owner, mut out) = (Owner::new(Limits { capacity: 0, ..limits }), Out::new());
    let conns: Vec<_> = (1..=9).map(|n| owner.join(S, party_of(n, 1), &mut out).unwrap()).collect();
    for n in 0..50 {
        assert!(matches!(owner.send(S, v(n), none(), &mut out), Tried::Waits(_)));
    }
    let taken: usize = conns.iter().map(|conn| takes(&mut owner, *conn).len()).sum();
    assert!((8..=10).contains(&taken), "{taken}");
    assert_eq!(owner.bytes, taken * 10);
    // What this node takes is in its own hands.
    let Tried::Waits(_) = owner.receive(S, Way::Take, none(), &mut out) else { panic!("at once") };
    assert_eq!(owner.bytes, taken * 10);
}

#[test]
fn one_that_lets_values_expire_is_refused_under_every_number() {
    let (mut owner, mut out) = (channel(5), Out::new());
    for n in 0..5 {
        owner.send(S, v(n), none(), &mut out);
    }
    let mut now = S;
    for number in 0..3 {
        let conn = owner.join(now, party(number), &mut out).unwrap();
        leased(&mut owner, now, conn, Way::Confirm);
        now += CONFIRM;
        owner.tick(now, &mut out);
        owner.leave(now, conn, &mut out);
        // Longer each time, and for others not at all.
        let refused = S * (1 << number);
        let next = owner.join(now, party(100 + number), &mut out).unwrap();
        let lease = |owner: &mut Owner, now, conn| {
            owner.lease(now, conn, wish(Way::Confirm), none(), &mut Out::new())
        };
        let busy = lease(&mut owner, now + refused - S / 10, next);
        assert_eq!(busy, Tried::Done(Err(Ended::Busy)), "number {number}");
        let other = owner.join(now, party_of(7, 1), &mut out).unwrap();
        assert!(matches!(lease(&mut owner, now, other), Tried::Waits(_)));
        owner.leave(now, other, &mut out);
        owner.leave(now, next, &mut out);
        now += refused;
    }
}

#[test]
fn one_peer_fills_no_table_under_any_number_of_names_and_this_node_has_its_own() {
    let limits = Limits {
        waiting: 16,
        waiting_of_peer: 8,
        waiting_bytes: 160,
        bytes_of_peer: 80,
        leases_of_peer: 2,
        ..Limits::default()
    };
    let (mut owner, mut out) = (Owner::new(limits), Out::new());
    let mut fill = |owner: &mut Owner, peer: u8| {
        let (mut sends, mut receives) = (0, 0);
        for number in 0..4 {
            let conn = owner.join(S, party_of(peer, number), &mut out).unwrap();
            for n in 0..4 {
                let tried = owner.lease(S, conn, wish(Way::Confirm), none(), &mut out);
                receives += usize::from(matches!(tried, Tried::Waits(_)));
                let turn = none();
                // To nobody: each has a receive of its own waiting before it.
                let tried = owner.send_numbered(S, conn, numbered(n), v(1), turn, &mut out);
                sends += usize::from(matches!(tried, Tried::Waits(_)));
            }
        }
        (sends, receives)
    };
    let first = fill(&mut owner, 1);
    // Two of the receives are served.
    assert!(first.0 <= 8 && first.1 <= 10, "{first:?}");
    for peer in 2..10 {
        fill(&mut owner, peer);
    }
    assert!(owner.parties.waiting_sends() <= 16 && owner.parties.waiting_receives() <= 16);
    for _ in 0..16 {
        assert!(matches!(owner.send(S, v(2), none(), &mut out), Tried::Waits(_)));
        assert!(matches!(owner.receive(S, Way::Take, none(), &mut out), Tried::Waits(_)));
    }
}

#[test]
fn a_peer_that_waits_and_holds_all_that_it_may_is_not_looked_at() {
    let limits = Limits { capacity: 100, leases_of_peer: 2, ..Limits::default() };
    let (mut owner, mut out) = (Owner::new(limits), Out::new());
    for n in 0..50 {
        owner.send(S, v(n), none(), &mut out);
    }
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let mut leases = Vec::new();
    let given = |out: &mut Out| {
        let given = out.drain(..).filter_map(|effect| match effect {
            Effect::Given(_, given) => given.lease,
            _ => None,
        });
        given.collect::<Vec<_>>()
    };
    for _ in 0..40 {
        let tried = owner.lease(S, conn, wish(Way::Confirm), none(), &mut out);
        assert!(matches!(tried, Tried::Waits(_)));
        leases.extend(given(&mut out));
    }
    assert_eq!((leases.len(), owner.ready.len(), owner.receivers.len()), (2, 0, 38));
    // One after the other they are served, the first first.
    let mut waiting: Vec<_> = owner.receivers.keys().copied().collect();
    while let Some(lease) = leases.pop() {
        assert!(owner.confirm(S, Who::Remote(conn), lease, &mut out));
        leases.extend(given(&mut out));
        if !waiting.is_empty() {
            waiting.remove(0);
        }
        assert!(owner.receivers.keys().eq(&waiting), "{:?}", owner.receivers);
        assert!(owner.ready.len() <= 1);
    }
    assert!(owner.receivers.is_empty() && owner.held_up.is_empty());
    assert_eq!(owner.len(), 10);
}

#[test]
fn the_time_of_a_large_value_begins_when_it_is_written() {
    let (mut owner, mut out) = (channel(5), Out::new());
    for n in 0..3 {
        owner.send(S, V(n, 1 << 20), none(), &mut out);
    }
    let conn = owner.join(S, party(1), &mut out).unwrap();
    let (written, _) = leased(&mut owner, S, conn, Way::Confirm);
    let (lies, _) = leased(&mut owner, S, conn, Way::Confirm);
    let other = owner.join(S, party_of(7, 1), &mut out).unwrap();
    owner.written(2 * S, other, written);
    owner.tick(20 * S, &mut out);
    assert_eq!(owner.len(), 1, "they are on their way");
    owner.written(20 * S, conn, written);
    owner.tick(20 * S + CONFIRM, &mut out);
    assert_eq!(owner.len(), 2);
    // But not for ever.
    owner.written(10_000 * S, conn, lies);
    owner.tick(S + 64 * S + CONFIRM, &mut out);
    assert_eq!(owner.len(), 3);
}
