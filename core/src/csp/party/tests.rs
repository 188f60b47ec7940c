//! One party, step by step.

use super::*;
use crate::csp::ticket::{Claim, Turn};

#[derive(Clone, Debug, PartialEq, Eq)]
struct V(u32);

impl Value for V {
    fn size(&self) -> usize {
        4
    }
}

type Out0 = Outs<V, Turn>;

const S: Duration = Duration::from_secs(1);

/// A party that is connected.
fn connected() -> Party<V, Turn> {
    let mut party = Party::new(1);
    party.open(S, &mut Out0::new());
    party.connected(S, 7, true, &mut Out0::new());
    party
}

fn receive(party: &mut Party<V, Turn>, now: Duration, until: Option<Duration>) -> (Op, Out0) {
    let mut out = Out0::new();
    (party.receive(now, false, Turn::default(), until, &mut out), out)
}

/// The call for which there is a request like this.
fn call(out: &[Out<V, Turn>], like: impl Fn(&Request<V>) -> bool) -> CallId {
    let calls = out.iter().filter_map(|out| match out {
        Out::Call(id, request) if like(request) => Some(*id),
        _ => None,
    });
    calls.last().unwrap_or_else(|| panic!("no such call in {out:?}"))
}

fn done(out: &[Out<V, Turn>]) -> Vec<(Op, Outcome<V>)> {
    let done = out.iter().filter_map(|out| match out {
        Out::Done(op, outcome) => Some((*op, outcome.clone())),
        _ => None,
    });
    done.collect()
}

#[test]
fn a_value_in_doubt_is_handed_to_the_next_receiver() {
    let mut party = connected();
    let (op, out) = receive(&mut party, S, Some(5 * S));
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    let mut out = Out0::new();
    party.reply(2 * S, asked, Reply::Value { lease: 3, value: V(9) }, &mut out);
    assert!(done(&out).is_empty(), "it is not seen before it is confirmed");
    call(&out, |r| *r == Request::Confirm { lease: 3 });
    out.clear();
    party.disconnected(3 * S, &mut out);
    assert_eq!(out, [Out::Connect]);
    out.clear();
    party.tick(5 * S, &mut out);
    assert_eq!(done(&out), [(op, Outcome::Failed(Fault::Unknown))]);
    assert_eq!(party.in_doubt(), 1);
    let (next, _) = receive(&mut party, 6 * S, None);
    out.clear();
    party.connected(7 * S, 7, true, &mut out);
    let confirms = call(&out, |r| *r == Request::Confirm { lease: 3 });
    out.clear();
    party.reply(8 * S, confirms, Reply::Confirmed(true), &mut out);
    assert_eq!(done(&out), [(next, Outcome::Received(V(9)))]);
    assert_eq!(party.in_doubt(), 0);
    // An owner that is another one knows nothing of it.
    out.clear();
    let (op, asks) = receive(&mut party, 8 * S, None);
    assert!(asks.is_empty(), "what was asked for the last one is under way still");
    let mut out = Out0::new();
    party.reply(8 * S, confirms + 1, Reply::Value { lease: 4, value: V(10) }, &mut out);
    party.disconnected(9 * S, &mut out);
    party.connected(9 * S, 8, false, &mut out);
    assert!(done(&out).contains(&(op, Outcome::Failed(Fault::Unknown))));
    assert!(out.contains(&Out::Count("value-in-doubt")));
}

#[test]
fn a_timeout_of_a_send_is_certain_and_else_it_says_so() {
    let send = |party: &mut Party<V, Turn>, now| {
        let mut out = Out0::new();
        (party.send(now, V(1), Some(now + S), &mut out), out)
    };
    let withdraws = |r: &Request<V>| matches!(r, Request::Withdraw { .. });
    // The owner says that it is withdrawn, or that it came too late for that.
    for (how, outcome) in [
        (Sent::Withdrawn, Outcome::Failed(Fault::Timeout)),
        (Sent::Accepted, Outcome::Sent),
        (Sent::Closed, Outcome::Failed(Fault::Closed)),
    ] {
        let mut party = connected();
        let (op, _) = send(&mut party, S);
        let mut out = Out0::new();
        party.tick(2 * S, &mut out);
        let withdrawal = call(&out, withdraws);
        assert!(done(&out).is_empty());
        party.reply(2 * S, withdrawal, Reply::Sent(how), &mut out);
        assert_eq!(done(&out), [(op, outcome)]);
        assert!(party.is_idle());
    }
    // It says nothing.
    let mut party = connected();
    let (op, _) = send(&mut party, S);
    let mut out = Out0::new();
    party.tick(2 * S, &mut out);
    party.tick(2 * S + GRACE, &mut out);
    assert_eq!(done(&out), [(op, Outcome::Failed(Fault::Unknown))]);
    // It was never asked.
    let mut party = Party::<V, Turn>::new(1);
    let (op, out) = send(&mut party, S);
    assert_eq!(out, [Out::Connect]);
    let mut out = Out0::new();
    party.tick(2 * S, &mut out);
    assert_eq!(done(&out), [(op, Outcome::Failed(Fault::Timeout))]);
}

#[test]
fn one_that_is_reserved_says_not_now_and_asks_again_when_it_is_told() {
    let mut party = connected();
    let (turn, mut out) = (Turn::shared(), Out0::new());
    let op = party.receive(S, false, turn.clone(), None, &mut out);
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    assert_eq!(turn.claim(), Claim::Yes, "another branch is about to be served");
    out.clear();
    party.reply(S, asked, Reply::Value { lease: 1, value: V(1) }, &mut out);
    call(&out, |r| *r == Request::GiveBack { lease: 1 });
    out.clear();
    party.tick(S + Duration::from_millis(20), &mut out);
    assert!(out.is_empty(), "nobody has told that it is free: {out:?}");
    assert!(turn.release(), "it was asked meanwhile");
    party.look(S + Duration::from_millis(20), &mut out);
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    out.clear();
    party.reply(2 * S, asked, Reply::Value { lease: 2, value: V(1) }, &mut out);
    let confirms = call(&out, |r| *r == Request::Confirm { lease: 2 });
    assert_eq!(turn.claim(), Claim::NotNow, "it is this one's");
    party.reply(2 * S, confirms, Reply::Confirmed(true), &mut out);
    assert_eq!(done(&out), [(op, Outcome::Received(V(1)))]);
    assert!(turn.is_done());
}

#[test]
fn what_nobody_comes_back_for_is_given_back_soon() {
    let mut party = connected();
    let (op, out) = receive(&mut party, S, None);
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    let mut out = Out0::new();
    party.cancel(S, op, &mut out);
    party.tick(S + LINGER, &mut out);
    call(&out, |r| *r == Request::Cancel { request: asked });
    // It came all the same; the next has it at once.
    party.reply(S + LINGER, asked, Reply::Value { lease: 5, value: V(2) }, &mut out);
    let (_, out) = receive(&mut party, S + LINGER, None);
    call(&out, |r| *r == Request::Confirm { lease: 5 });
    // An owner that answers nothing is given up.
    let mut out = Out0::new();
    party.tick(S + LINGER + ANSWER, &mut out);
    assert!(out.contains(&Out::Disconnect) && out.contains(&Out::Connect));
    // And who waits for one that can't be reached fails, but not at once.
    out.clear();
    let now = S + LINGER + ANSWER;
    party.connect_failed(now, Fault::Unreachable, &mut out);
    assert!(done(&out).is_empty());
    party.tick(now + PATIENCE, &mut out);
    party.tick(now + PATIENCE, &mut out);
    assert_eq!(done(&out).len(), 1, "{out:?}");
}

#[test]
fn an_owner_that_leases_a_value_twice_makes_nobody_wait_for_ever() {
    let mut party = connected();
    let (first, out) = receive(&mut party, S, Some(5 * S));
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    let (second, out) = receive(&mut party, S, Some(5 * S));
    let again = call(&out, |r| matches!(r, Request::Lease { .. }));
    let mut out = Out0::new();
    party.reply(S, asked, Reply::Value { lease: 3, value: V(9) }, &mut out);
    party.reply(S, again, Reply::Value { lease: 3, value: V(9) }, &mut out);
    assert!(out.contains(&Out::Count("reply-malformed")) && out.contains(&Out::Disconnect));
    party.tick(5 * S, &mut out);
    let ended =
        [(second, Outcome::Failed(Fault::Timeout)), (first, Outcome::Failed(Fault::Unknown))];
    assert_eq!(done(&out), ended);
}

#[test]
fn one_that_was_forgotten_does_not_know_what_became_of_what_it_sent_or_received() {
    let mut party = connected();
    let (received, out) = receive(&mut party, S, None);
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    let mut out = Out0::new();
    party.reply(S, asked, Reply::Value { lease: 3, value: V(9) }, &mut out);
    let sent = party.send(S, V(1), None, &mut out);
    let now = 700 * S;
    party.disconnected(now, &mut out);
    // It has not gone out, and does now.
    let later = party.send(now, V(2), None, &mut out);
    out.clear();
    party.connected(now, 7, false, &mut out);
    let unknown = |op| (op, Outcome::Failed(Fault::Unknown));
    assert_eq!(done(&out), [unknown(received), unknown(sent)]);
    assert!(out.contains(&Out::Count("party-forgotten")));
    assert!(out.contains(&Out::Count("value-in-doubt")));
    assert!(!out.iter().any(|out| matches!(out, Out::Call(_, Request::Confirm { .. }))));
    let number = call(&out, |r| matches!(r, Request::Send { number: 2, .. }));
    party.reply(now, number, Reply::Sent(Sent::Accepted), &mut out);
    assert!(done(&out).contains(&(later, Outcome::Sent)));
}

#[test]
fn an_owner_that_has_nothing_at_once_or_ends_at_once_is_not_asked_at_once() {
    let mut party = connected();
    let (_, out) = receive(&mut party, S, None);
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    let mut out = Out0::new();
    party.reply(S, asked, Reply::Ended(Ended::Nothing), &mut out);
    party.tick(S + BUSY / 2, &mut out);
    assert!(out.is_empty(), "{out:?}");
    party.tick(S + BUSY, &mut out);
    let asked = call(&out, |r| matches!(r, Request::Lease { .. }));
    // One that has nothing at the end of its time is.
    out.clear();
    party.reply(S + BUSY + WAIT, asked, Reply::Ended(Ended::Nothing), &mut out);
    call(&out, |r| matches!(r, Request::Lease { .. }));
    out.clear();
    let now = S + BUSY + WAIT;
    party.disconnected(now, &mut out);
    assert_eq!(out, [Out::Connect], "it was there for long");
    party.connected(now, 7, true, &mut out);
    out.clear();
    party.disconnected(now, &mut out);
    party.tick(now + BUSY / 2, &mut out);
    assert!(out.is_empty(), "{out:?}");
    party.tick(now + BUSY, &mut out);
    assert_eq!(out, [Out::Connect]);
}
