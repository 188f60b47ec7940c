//! Calls in any order at a channel, from parties that mean harm and from its own
//! node: for the fuzzer and for a property test.

use super::{
    Channel, Conn, Effect, Effects, Ended, Given, Limits, Numbered, Op, PartyId, Sent, Tried,
    Value, Way, Who, Wish,
};
use crate::csp::ticket::Turn;
use libp2p::{PeerId, multihash::Multihash};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct V(u64, usize);

impl Value for V {
    fn size(&self) -> usize {
        self.1
    }
}

const LIMITS: Limits = Limits {
    capacity: 0,
    bytes: 300,
    waiting: 6,
    waiting_of_peer: 3,
    waiting_bytes: 500,
    bytes_of_peer: 250,
    leases_of_peer: 2,
    takes_of_peer: 2,
    parties: 5,
    parties_of_peer: 2,
};

/// Makes the calls that the bytes say, three for each. Panics if a value is received
/// twice or lost, a limit is not kept, or anything is remembered for nothing.
pub(in crate::csp) fn calls(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let limits = Limits { capacity: usize::from(first % 4), ..LIMITS };
    let mut world = World {
        channel: Channel::new(limits),
        now: Duration::from_secs(1),
        conns: Vec::new(),
        ops: BTreeMap::new(),
        leases: BTreeMap::new(),
        accepted: BTreeSet::new(),
        withdrawn: BTreeSet::new(),
        received: BTreeSet::new(),
        values: 0,
    };
    for step in rest.chunks_exact(3) {
        world.step(step[0], step[1], step[2]);
        world.channel.check();
    }
    world.end();
}

/// What an operation that waits is for.
enum Waits {
    /// The value, and whether it is of this node.
    Sends(u64, bool),
    /// Whose it is, and whether it gets the value for good.
    Receives(Who, bool),
}

/// A value that is out on lease.
struct Out {
    value: u64,
    who: Who,
    confirmed: bool,
}

struct World {
    channel: Channel<V, Turn>,
    now: Duration,
    conns: Vec<Conn>,
    ops: BTreeMap<Op, Waits>,
    leases: BTreeMap<u64, Out>,
    accepted: BTreeSet<u64>,
    withdrawn: BTreeSet<u64>,
    received: BTreeSet<u64>,
    values: u64,
}

impl World {
    fn step(&mut self, what: u8, a: u8, b: u8) {
        let mut out = Effects::new();
        let now = self.now;
        let conn = self.conns.get(usize::from(a) % self.conns.len().max(1)).copied();
        let conn = conn.unwrap_or_default();
        let wait = Duration::from_millis(u64::from(b) * 100);
        let lease = self.leases.keys().nth(usize::from(b) % self.leases.len().max(1));
        let lease = lease.copied().unwrap_or_default();
        let who = if a == 0 { Who::Local } else { Who::Remote(conn) };
        let channel = &mut self.channel;
        match what % 16 {
            0 => {
                // As many as there may be, and some more.
                let party = PartyId { peer: peer(a % 4), number: (a / 4 % 4).into() };
                self.conns.extend(channel.join(now, party, &mut out));
            }
            1 => channel.leave(now, conn, &mut out),
            2 | 3 => {
                self.values += 1;
                let value = V(self.values, usize::from(b));
                let tried = channel.send(now, value, Turn::default(), &mut out);
                self.sends(tried, true);
            }
            4 => {
                self.values += 1;
                let (value, number) = (V(self.values, usize::from(b)), u64::from(b % 16));
                let settled = u64::from(a / 16);
                let numbered = Numbered { number, settled, wait };
                let turn = Turn::default();
                let tried = channel.send_numbered(now, conn, numbered, value, turn, &mut out);
                self.sends(tried, false);
            }
            5 => drop(channel.withdraw(now, conn, u64::from(b % 16), &mut out)),
            6 => {
                let way = if a.is_multiple_of(2) { Way::Plain } else { Way::Take };
                let tried = channel.receive(now, way, Turn::default(), &mut out);
                self.receives(tried, Who::Local, way == Way::Plain);
            }
            7 | 8 => {
                let way = if b.is_multiple_of(2) { Way::Confirm } else { Way::Take };
                let settled = u64::from(b / 8);
                let wish = Wish { way, settled, wait };
                let tried = channel.lease(now, conn, wish, Turn::default(), &mut out);
                self.receives(tried, Who::Remote(conn), false);
            }
            9 | 10 => {
                let ours = channel.confirm(now, who, lease, &mut out);
                if let Some(known) = self.leases.get_mut(&lease).filter(|_| ours) {
                    assert!(known.confirmed || known.who == who || self.conns.len() > 1);
                    if !std::mem::replace(&mut known.confirmed, true) {
                        assert!(self.received.insert(known.value), "received twice");
                    }
                }
            }
            11 => drop(channel.give_back(now, who, lease, &mut out)),
            12 => {
                let lost = channel.renew(now, conn, &[lease, lease + 1]);
                assert!(lost.len() <= 2);
            }
            13 => self.call_off(usize::from(a), &mut out),
            14 => {
                self.now += wait;
                channel.tick(self.now, &mut out);
                let next = channel.next_tick();
                assert!(next.is_none_or(|next| next > self.now), "it has more to do");
            }
            _ if a == 0 => drop(channel.close(now, &mut out)),
            _ => channel.look(now, &mut out),
        }
        self.told(out);
    }

    fn sends(&mut self, tried: Tried<Sent>, local: bool) {
        match tried {
            Tried::Waits(op) => drop(self.ops.insert(op, Waits::Sends(self.values, local))),
            Tried::Done(Sent::Accepted) if local => drop(self.accepted.insert(self.values)),
            // Of one that was sent before, if it was taken in.
            Tried::Done(_) => drop(self.withdrawn.insert(self.values)),
        }
    }

    fn receives(&mut self, tried: Tried<Result<Given<V>, Ended>>, who: Who, for_good: bool) {
        match tried {
            Tried::Waits(op) => drop(self.ops.insert(op, Waits::Receives(who, for_good))),
            Tried::Done(Ok(given)) => self.given(given, who, for_good),
            Tried::Done(Err(_)) => (),
        }
    }

    fn given(&mut self, given: Given<V>, who: Who, for_good: bool) {
        let value = given.value.0;
        assert!(!self.withdrawn.contains(&value), "it was withdrawn");
        match given.lease {
            Some(lease) => {
                let before = self.leases.insert(lease, Out { value, who, confirmed: false });
                assert!(before.is_none() && !for_good, "a lease of the same number");
            }
            None => assert!(for_good && self.received.insert(value), "received twice"),
        }
    }

    /// Calls off one that waits here.
    fn call_off(&mut self, nth: usize, out: &mut Effects<V, Turn>) {
        let Some(op) = self.ops.keys().nth(nth % self.ops.len().max(1)).copied() else { return };
        match self.ops.get(&op) {
            Some(Waits::Sends(value, true)) => {
                let value = *value;
                assert!(self.channel.cancel_send(self.now, op, out).is_some());
                self.withdrawn.insert(value);
            }
            Some(Waits::Receives(..)) => assert!(self.channel.cancel_receive(self.now, op, out)),
            _ => return,
        }
        self.ops.remove(&op);
    }

    fn told(&mut self, out: Effects<V, Turn>) {
        // What waits is known when it is told.
        for effect in out {
            match effect {
                Effect::Sent(op, how) => {
                    let Some(Waits::Sends(value, _)) = self.ops.remove(&op) else {
                        panic!("nobody sends so")
                    };
                    let ends = if how == Sent::Accepted {
                        &mut self.accepted
                    } else {
                        &mut self.withdrawn
                    };
                    ends.insert(value);
                }
                Effect::Given(op, given) => {
                    let Some(Waits::Receives(who, for_good)) = self.ops.remove(&op) else {
                        panic!("nobody receives so")
                    };
                    self.given(given, who, for_good);
                }
                Effect::Ended(op, _) => assert!(self.ops.remove(&op).is_some()),
                Effect::Look(_) | Effect::Count(_) => (),
            }
        }
    }

    /// All go; what was taken in and not received is still there.
    fn end(mut self) {
        let mut out = Effects::new();
        for conn in std::mem::take(&mut self.conns) {
            self.channel.leave(self.now, conn, &mut out);
        }
        self.told(std::mem::take(&mut out));
        while !self.ops.is_empty() {
            self.call_off(0, &mut out);
            self.told(std::mem::take(&mut out));
        }
        for lease in self.leases.keys() {
            self.channel.give_back(self.now, Who::Local, *lease, &mut out);
        }
        self.channel.close(self.now, &mut out);
        self.channel.check();
        while let Tried::Done(Ok(given)) =
            self.channel.receive(self.now, Way::Plain, Turn::default(), &mut out)
        {
            self.given(given, Who::Local, true);
        }
        assert_eq!(self.received, self.accepted, "what was taken in and what was received");
        assert!(self.received.is_disjoint(&self.withdrawn));
    }
}

impl Channel<V, Turn> {
    /// What is counted is there, and within the limits.
    fn check(&self) {
        let limits = &self.limits;
        let size = |value: &V| value.1;
        let reserved = self.leases.values().filter(|l| l.sender.is_none() && l.way == Way::Confirm);
        assert_eq!(self.reserved, reserved.clone().count());
        let buffered: usize = self.buffer.iter().map(|(_, value)| size(value)).sum();
        let kept = self.leases.values().filter(|lease| lease.keeps_bytes());
        let kept: usize = kept.map(|lease| size(&lease.value)).sum();
        assert_eq!(self.bytes, buffered + kept);
        let remote = self.senders.values().filter(|sender| sender.of.is_some());
        assert_eq!(self.waiting_bytes, remote.map(|s| size(&s.value)).sum::<usize>());
        assert!(self.senders.len() - self.parties.waiting_sends() <= limits.waiting);
        assert!(self.receivers.len() - self.parties.waiting_receives() <= limits.waiting);
        let held_up: usize = self.held_up.values().map(BTreeSet::len).sum();
        assert_eq!(self.ready.len() + held_up, self.receivers.len());
        for line in self.held_up.keys() {
            let way = if line.1 { Way::Take } else { Way::Confirm };
            let is_of =
                |who| matches!(who, Who::Remote(conn) if self.line(conn, way) == Some(*line));
            let one = self.ready.iter().map(|op| &self.receivers[op]);
            let mut one = one.filter(|r| r.way == way && is_of(r.who));
            assert!(!self.parties.may_hold(&line.0, way, limits) || one.next().is_some());
        }
        #[cfg(test)]
        assert!(!self.receives_too_few());
        let due = self.leases.values().filter(|lease| lease.who != Who::Local).count()
            + self.senders.values().filter(|sender| sender.until.is_some()).count()
            + self.receivers.values().filter(|receiver| receiver.until.is_some()).count();
        assert_eq!(self.due.len(), due, "what is to be ended and what there is");
        assert!(self.waiting_bytes <= limits.waiting_bytes);
        self.parties.check(limits);
    }
}

fn peer(n: u8) -> PeerId {
    let hash = Multihash::wrap(0, &[n; 32]).expect("it is short");
    PeerId::from_multihash(hash).expect("it is an identity")
}
