//! Step by step, and in random interleavings with holders that stop.

use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn remote(number: u64, acquire: u64) -> Holder {
    // The same peer for the same number.
    let mut digest = [0; 32];
    digest[0] = number as u8;
    let key = libp2p::identity::Keypair::ed25519_from_bytes(digest).unwrap();
    Holder::Remote(PartyId { peer: key.public().to_peer_id(), number }, acquire)
}

fn party(holder: Holder) -> PartyId {
    match holder {
        Holder::Remote(party, _) => party,
        Holder::Local(_) => panic!("it is here"),
    }
}

const S: Duration = Duration::from_secs(1);

#[test]
fn grants_go_in_order_and_tokens_grow() {
    let (mut semaphore, mut out) = (Semaphore::new(2, 40), Vec::new());
    let [a, b, c, d] = [1, 2, 3, 4].map(|number| remote(number, 1));
    let acquire = |s: &mut Semaphore, h| s.acquire(S, h, Some(9 * S), &mut Vec::new());
    assert_eq!(acquire(&mut semaphore, a), Acquired::Token(41));
    assert_eq!(acquire(&mut semaphore, b), Acquired::Token(42));
    let Acquired::Waits(third) = acquire(&mut semaphore, c) else { panic!("too many") };
    let Acquired::Waits(fourth) = acquire(&mut semaphore, d) else { panic!("too many") };
    // Asked again, it is the same.
    assert_eq!(acquire(&mut semaphore, a), Acquired::Token(41));
    assert!(semaphore.release(S, &b, &mut out));
    assert_eq!(out, [Told::Granted(third, 43)]);
    assert!(!semaphore.release(S, &b, &mut out), "it was released");
    out.clear();
    semaphore.tick(9 * S, &mut out);
    assert_eq!(out, [Told::Nothing(fourth)]);
    assert_eq!(semaphore.renew_tokens(S, party(a), &[41, 43, 7]), [43, 7]);
    out.clear();
    semaphore.tick(13 * S, &mut out);
    assert_eq!(semaphore.granted(), 0, "{out:?}");
    assert_eq!(semaphore.token(), 43);
}

#[test]
fn a_connection_that_ends_leaves_its_grants_and_not_its_place() {
    let (mut semaphore, mut out) = (Semaphore::new(1, 0), Vec::new());
    let (a, b) = (remote(1, 1), remote(2, 1));
    semaphore.acquire(S, a, None, &mut out);
    let Acquired::Waits(op) = semaphore.acquire(S, b, None, &mut out) else { panic!("two") };
    assert!(semaphore.call_off(&b, op) && !semaphore.call_off(&b, op));
    assert!(!semaphore.call_off(&a, op));
    assert_eq!(semaphore.granted(), 1);
    let mut out = Vec::new();
    let Acquired::Waits(op) = semaphore.acquire(S, b, None, &mut out) else { panic!("two") };
    assert!(semaphore.close(&mut out) && !semaphore.close(&mut out));
    assert_eq!(out, [Told::Closed(op)]);
    assert_eq!(semaphore.acquire(S, b, None, &mut out), Acquired::Closed);
    assert_eq!(semaphore.renew_tokens(S, party(a), &[1]), [1]);
}

#[test]
fn one_peer_cannot_fill_the_queue() {
    let (mut semaphore, mut out) = (Semaphore::new(1, 0), Vec::new());
    semaphore.acquire(S, Holder::Local(1), None, &mut out);
    for number in 0..WAITING_OF_PEER as u64 {
        let acquired = semaphore.acquire(S, remote(1, number), None, &mut out);
        assert!(matches!(acquired, Acquired::Waits(_)));
    }
    assert_eq!(semaphore.acquire(S, remote(1, 5000), None, &mut out), Acquired::Busy);
    let other = semaphore.acquire(S, remote(2, 1), None, &mut out);
    assert!(matches!(other, Acquired::Waits(_)));
    // Nor many; and this node has its own.
    for peer in 3..40 {
        for number in 0..WAITING_OF_PEER as u64 {
            semaphore.acquire(S, remote(peer, number), None, &mut out);
        }
    }
    assert_eq!(semaphore.remote, WAITING);
    let here = semaphore.acquire(S, Holder::Local(2), None, &mut out);
    assert!(matches!(here, Acquired::Waits(_)));
    let waiting: Vec<_> = semaphore.waiting.values().map(|waiting| waiting.holder).collect();
    for holder in waiting {
        assert!(semaphore.release(S, &holder, &mut out));
    }
    assert!(semaphore.of_peer.is_empty() && semaphore.waiting.is_empty());
    assert!(semaphore.due.is_empty() && semaphore.by_holder.len() == 1);
}

/// The time of a grant, as its holder counts it.
#[derive(Clone, Copy)]
struct Term(Duration);

impl Term {
    fn is_over(self, now: Duration) -> bool {
        now >= self.0 + TTL
    }

    fn renewed(&mut self, asked: Duration) {
        self.0 = self.0.max(asked);
    }
}

/// A holder on a slow network, which may be stopped for any time.
struct Client {
    holder: Holder,
    next: u64,
    term: Option<(u64, Term)>,
    /// Answers on their way: when they come, when they were asked for, the token.
    answers: Vec<(Duration, Duration, u64)>,
    stopped: Duration,
}

#[test]
fn never_more_hold_it_than_may_whatever_the_network_does() {
    for seed in 0..1500 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let permits = rng.random_range(1..=2);
        let mut semaphore = Semaphore::new(permits, 0);
        let mut clients: Vec<_> = (1..5)
            .map(|number| Client {
                holder: remote(number, 1),
                next: 1,
                term: None,
                answers: Vec::new(),
                stopped: Duration::ZERO,
            })
            .collect();
        let (mut now, mut held) = (S, 0);
        let mut tokens = HashMap::new();
        for _ in 0..600 {
            now += Duration::from_millis(rng.random_range(10..1500));
            let mut out = Vec::new();
            semaphore.tick(now, &mut out);
            let at = rng.random_range(0..clients.len());
            // The answers to those that waited are lost: they ask again.
            drop(out);
            let client = &mut clients[at];
            if now < client.stopped {
                continue;
            }
            client.answers.sort();
            let come = client.answers.iter().take_while(|(at, ..)| *at <= now).count();
            for (_, asked, token) in client.answers.drain(..come) {
                match &mut client.term {
                    Some((own, term)) if *own == token => term.renewed(asked),
                    _ => client.term = Some((token, Term(asked))),
                }
            }
            if client.term.is_some_and(|(_, term)| term.is_over(now)) {
                client.term = None;
                client.next += 1;
                client.holder = remote(at as u64 + 1, client.next);
                client.answers.clear();
            }
            match rng.random_range(0..10) {
                0 => client.stopped = now + Duration::from_millis(rng.random_range(0..30_000)),
                1 if client.term.take().is_some() => {
                    semaphore.release(now, &client.holder, &mut Vec::new());
                    client.next += 1;
                    client.holder = remote(at as u64 + 1, client.next);
                    client.answers.clear();
                }
                _ => {
                    // The question takes a while, and the answer may be lost.
                    let asked = now - Duration::from_millis(rng.random_range(0..9)).min(now);
                    let until = Some(now + 5 * S);
                    let acquired = semaphore.acquire(now, client.holder, until, &mut Vec::new());
                    if let Acquired::Token(token) = acquired {
                        let of = *tokens.entry(token).or_insert(client.holder);
                        assert_eq!(of, client.holder, "seed {seed}: {token} is given twice");
                        if rng.random_bool(0.7) {
                            let late = Duration::from_millis(rng.random_range(0..4000));
                            client.answers.push((now + late, asked, token));
                        }
                    }
                }
            }
            let holders = clients
                .iter()
                .filter(|client| client.term.is_some_and(|(_, term)| !term.is_over(now)));
            let holders = holders.count();
            assert!(holders <= permits, "seed {seed}: {holders} hold what {permits} may");
            held += holders;
        }
        assert!(held > 0, "seed {seed}: nobody ever held it");
    }
}

#[test]
fn one_that_has_too_many_holds_nobody_else_up() {
    let (mut semaphore, mut out) = (Semaphore::new(GRANTS_OF_PEER + 1, 0), Vec::new());
    for acquire in 0..GRANTS_OF_PEER as u64 {
        let acquired = semaphore.acquire(S, remote(1, acquire), Some(9 * S), &mut out);
        assert!(matches!(acquired, Acquired::Token(_)));
    }
    let one_more = semaphore.acquire(S, remote(1, u64::MAX), Some(9 * S), &mut out);
    assert!(matches!(one_more, Acquired::Waits(_)));
    let other = semaphore.acquire(S, remote(2, 1), Some(9 * S), &mut out);
    assert!(matches!(other, Acquired::Token(_)), "{other:?}");
}

#[test]
fn one_that_asks_again_keeps_its_place_and_is_told_where_it_asked_last() {
    let (mut semaphore, mut out) = (Semaphore::new(1, 0), Vec::new());
    let [a, b, c] = [1, 2, 3].map(|number| remote(number, 1));
    semaphore.acquire(S, a, None, &mut out);
    let wait = |s: &mut Semaphore, holder, until, out: &mut Vec<Told>| {
        let Acquired::Waits(op) = s.acquire(S, holder, until, out) else { panic!("at once") };
        op
    };
    let first = wait(&mut semaphore, b, Some(5 * S), &mut out);
    let later = wait(&mut semaphore, c, None, &mut out);
    let again = wait(&mut semaphore, b, Some(9 * S), &mut out);
    assert_ne!(first, again, "who asked first is not told what comes of the second");
    assert_eq!(out, [Told::Nothing(first)]);
    out.clear();
    // The first connection ends late.
    assert!(!semaphore.call_off(&b, first));
    semaphore.tick(6 * S, &mut out);
    assert!(semaphore.release(6 * S, &a, &mut out));
    assert_eq!(out, [Told::Granted(again, 2)]);
    out.clear();
    assert!(semaphore.release(7 * S, &b, &mut out));
    assert_eq!(out, [Told::Granted(later, 3)]);
    assert!(semaphore.waiting.is_empty() && semaphore.due.len() == 1);
}

#[test]
fn one_that_is_made_anew_grants_nothing_while_the_last_one_is_believed_in() {
    let (mut before, mut out) = (Semaphore::new(2, 0), Vec::new());
    before.acquire(S, Holder::Local(1), None, &mut out);
    assert_eq!(before.believed(), None, "this node knows at once");
    before.acquire(S, remote(1, 1), None, &mut out);
    before.renew_tokens(4 * S, party(remote(1, 1)), &[2]);
    before.close(&mut out);
    let until = before.believed().unwrap();
    assert_eq!(until, 4 * S + TTL + SPARE);
    let mut semaphore = Semaphore::new(1, 2);
    semaphore.be_quiet(until);
    assert_eq!(semaphore.believed(), Some(until), "nor does one after this");
    let Acquired::Waits(op) = semaphore.acquire(5 * S, remote(2, 1), None, &mut out) else {
        panic!("too soon")
    };
    out.clear();
    assert_eq!(semaphore.next_tick(), Some(until));
    semaphore.tick(until - S, &mut out);
    assert!(out.is_empty());
    semaphore.tick(until, &mut out);
    assert_eq!(out, [Told::Granted(op, 3)]);
}
