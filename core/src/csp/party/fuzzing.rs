//! Answers of any kind in any order to one who uses a channel elsewhere: for the
//! fuzzer and for a property test.

use super::{
    CallId, Ended, Fault, GRACE, Op, Out, Outcome, Outs, PATIENCE, Party, Reply, Request, Sent,
    Value,
};
use crate::csp::ticket::Turn;
use std::{collections::BTreeSet, time::Duration};

#[derive(Clone, Debug, PartialEq, Eq)]
struct V(u8);

impl Value for V {
    fn size(&self) -> usize {
        1
    }
}

/// Does what the bytes say, three for each thing that happens. Panics if one that
/// waits is told twice, or never.
pub(in crate::csp) fn replies(bytes: &[u8]) {
    let mut world = World {
        party: Party::new(1),
        now: Duration::from_secs(1),
        ops: BTreeSet::new(),
        jobs: Vec::new(),
        calls: Vec::new(),
        connects: 0,
    };
    for step in bytes.chunks_exact(3) {
        world.step(step[0], step[1], step[2]);
        world.check();
    }
    world.end();
}

struct World {
    party: Party<V, Turn>,
    now: Duration,
    ops: BTreeSet<Op>,
    jobs: Vec<u64>,
    /// The calls of the connection, and what they ask.
    calls: Vec<(CallId, Request<V>)>,
    /// Attempts that are under way.
    connects: usize,
}

impl World {
    fn step(&mut self, what: u8, a: u8, b: u8) {
        let mut out = Outs::new();
        let now = self.now;
        // Some without, some with one that may have passed.
        let deadline =
            (!a.is_multiple_of(4)).then(|| now + Duration::from_millis(u64::from(b) * 50));
        let op = self.ops.iter().nth(usize::from(a) % self.ops.len().max(1)).copied();
        let party = &mut self.party;
        match what % 16 {
            0..=2 => {
                let op =
                    party.receive(now, a.is_multiple_of(2), Turn::default(), deadline, &mut out);
                self.ops.insert(op);
            }
            3 => drop(self.ops.insert(party.send(now, V(b), deadline, &mut out))),
            4 if !self.jobs.is_empty() => {
                let lease = self.jobs.swap_remove(usize::from(b) % self.jobs.len());
                self.ops.insert(party.finish(now, lease, a.is_multiple_of(2), deadline, &mut out));
            }
            4 => drop(self.ops.insert(party.finish(now, b.into(), true, deadline, &mut out))),
            5 => match a {
                0 => drop(self.ops.insert(party.close(now, deadline, &mut out))),
                _ => drop(self.ops.insert(party.open(now, &mut out))),
            },
            6 => {
                if let Some(op) = op.filter(|op| self.ops.remove(op)) {
                    party.cancel(now, op, &mut out);
                }
            }
            7 => {
                if let Some(op) = op {
                    party.doubt_op(op, &mut out);
                }
            }
            8 if self.connects > 0 => {
                self.connects -= 1;
                self.calls.clear();
                party.connected(now, u64::from(b % 2), b % 8 < 6, &mut out);
            }
            9 if self.connects > 0 => {
                self.connects -= 1;
                let faults = [Fault::Unreachable, Fault::NotFound, Fault::Paused, Fault::Closed];
                party.connect_failed(now, faults[usize::from(b) % faults.len()], &mut out);
            }
            10 if a == 0 => {
                self.calls.clear();
                party.disconnected(now, &mut out);
            }
            11 => {
                self.now += Duration::from_millis(u64::from(b) * 20);
                party.tick(self.now, &mut out);
            }
            12 if a.is_multiple_of(2) => party.look(now, &mut out),
            12 => party.keep(now, V(b), &mut out),
            _ if !self.calls.is_empty() => {
                let (call, request) = self.calls.remove(usize::from(a & 15) % self.calls.len());
                let reply = reply(&request, a >> 4, b);
                party.reply(now, call, reply, &mut out);
            }
            _ => (),
        }
        self.told(out);
    }

    fn told(&mut self, out: Outs<V, Turn>) {
        for out in out {
            match out {
                Out::Connect => self.connects += 1,
                Out::Disconnect => self.calls.clear(),
                Out::Call(id, request) => self.calls.push((id, request)),
                Out::Done(op, outcome) => {
                    assert!(self.ops.remove(&op), "{op} was told already: {outcome:?}");
                    if let Outcome::Taken { lease, .. } = outcome {
                        self.jobs.push(lease);
                    }
                }
                Out::Lost(lease) => self.jobs.retain(|job| *job != lease),
                Out::Look(_) | Out::Count(_) => (),
            }
        }
    }

    /// Whoever waits is known to wait.
    fn check(&self) {
        let party = &self.party;
        let waiting = party.waiting.keys().copied();
        let confirming = party.confirming.values().filter_map(|confirming| confirming.op);
        let sending = party.sends.values().filter_map(|sending| sending.op());
        let others = party.finishing.keys().chain(party.closing.keys()).chain(&party.opening);
        let all: Vec<_> = waiting.chain(confirming).chain(sending).chain(others.copied()).collect();
        let once: BTreeSet<_> = all.iter().copied().collect();
        assert_eq!((all.len(), once), (self.ops.len(), self.ops.clone()), "who waits");
    }

    /// The owner is gone: then all end in time.
    fn end(mut self) {
        let mut out = Outs::new();
        self.party.disconnected(self.now, &mut out);
        self.told(std::mem::take(&mut out));
        let end = self.now + 2 * PATIENCE + GRACE;
        while self.now < end {
            self.now += Duration::from_millis(500);
            self.party.connect_failed(self.now, Fault::Unreachable, &mut out);
            self.party.tick(self.now, &mut out);
            self.told(std::mem::take(&mut out));
        }
        assert!(self.ops.is_empty(), "they wait for ever: {:?}", self.party);
    }
}

/// A fitting answer, or another.
fn reply(request: &Request<V>, kind: u8, b: u8) -> Reply<V> {
    let value = || Reply::Value { lease: (b / 8).into(), value: V(b) };
    let sent = [Sent::Accepted, Sent::Withdrawn, Sent::Closed, Sent::Busy, Sent::Stale];
    let ended = [Ended::Closed, Ended::Nothing, Ended::Busy];
    match (request, kind) {
        (Request::Lease { .. }, 0..=8) => value(),
        (Request::Lease { .. }, 9..=14) => Reply::Ended(ended[usize::from(b) % 3]),
        (Request::Confirm { .. }, 0..=14) => Reply::Confirmed(!b.is_multiple_of(4)),
        (Request::Renew { leases }, 0..=14) => Reply::Lost(
            leases.iter().copied().filter(|lease| lease % 2 == u64::from(b % 2)).collect(),
        ),
        (Request::Send { .. } | Request::Withdraw { .. }, 0..=13) => {
            Reply::Sent(sent[usize::from(b) % 5])
        }
        (Request::Close, 0..=14) => Reply::Closed { refused: b.is_multiple_of(2) },
        (Request::Cancel { .. } | Request::GiveBack { .. }, _) => Reply::Done,
        (_, 14) => Reply::TooLarge,
        _ if b.is_multiple_of(2) => value(),
        _ => Reply::Lost(vec![b.into()]),
    }
}
