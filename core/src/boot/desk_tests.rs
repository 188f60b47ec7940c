use super::*;

fn addrs(list: &[&str]) -> Vec<Multiaddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

#[test]
fn an_asker_gets_the_addresses_that_it_can_reach_nearest_first() {
    let all = addrs(&[
        "/ip4/127.0.0.1/tcp/1",
        "/ip6/fd00::1/tcp/1",
        "/ip4/192.168.1.1/tcp/1",
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/10.0.0.1/tcp/0",
        "/ip4/10.0.0.1/udp/0/quic-v1",
        "/ip4/0.0.0.0/tcp/1",
    ]);
    let to = |ip: &str| useful_first(&all, &[], ip.parse().unwrap());
    let lan = ["/ip4/10.0.0.1/tcp/1", "/ip4/192.168.1.1/tcp/1", "/ip6/fd00::1/tcp/1"];
    assert_eq!(to("10.0.0.7"), addrs(&lan));
    assert_eq!(to("127.0.0.1")[0], all[0]);
    assert_eq!(to("fd00::9")[0], all[1]);
}

#[test]
fn what_is_announced_is_told_to_all_after_what_is_on_their_own_network() {
    let all = addrs(&["/ip4/127.0.0.1/tcp/9", "/ip4/172.17.0.2/tcp/1", "/ip4/10.0.0.1/tcp/1"]);
    let announced =
        addrs(&["/dns/a.example.org/tcp/1", "/ip6/fd00::1/tcp/1", "/ip4/127.0.0.1/tcp/9"]);
    let to = |ip: &str| useful_first(&all, &announced, ip.parse().unwrap());
    let local = addrs(&["/ip4/10.0.0.1/tcp/1", "/ip4/172.17.0.2/tcp/1"]);
    assert_eq!(to("8.8.8.8"), [&announced[..], &[all[1].clone(), all[2].clone()]].concat());
    assert_eq!(to("10.0.0.7"), [&local[..1], &announced, &local[1..]].concat());
}

#[test]
fn changed_addresses_invalidate_signed_answers() {
    let key = Keypair::ed25519_from_bytes([1; 32]).unwrap();
    let list = |port| Arc::from(addrs(&[&format!("/ip4/10.0.0.1/tcp/{port}")]));
    let (change, watch) = watch::channel(list(1));
    let (scope, metrics) = (Scope::default(), Metrics::default());
    let lasting = Lasting::new(None, Who::default());
    let desk = Desk::new(key, watch, vec![], Arc::new(|| 0), metrics, scope, lasting);
    let ns = Namespace::default();
    let echo = |nonce| {
        let reply = Reply { namespace: ns.clone(), nonce, budget: 1000 };
        let bytes = desk.answer(&reply, "10.0.0.2".parse().unwrap()).unwrap();
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!(packet.nonce, nonce);
        match packet.body {
            Body::Response { addrs } => addrs,
            other => panic!("{other:?}"),
        }
    };
    let answer = || echo(0);
    assert_eq!(answer()[..], list(1)[..]);
    assert_eq!(desk.answers.lock().unwrap().signed.len(), 1);
    change.send(list(2)).unwrap();
    assert_eq!(answer()[..], list(2)[..]);
    assert_eq!(echo(5)[..], list(2)[..]);
    assert_eq!(desk.answers.lock().unwrap().signed.len(), 1);
}

fn member(secret: Option<u8>) -> Desk {
    member_with(secret, Who::default())
}

fn member_with(secret: Option<u8>, who: Who) -> Desk {
    let key = Keypair::generate_ed25519();
    let watch = watch::channel(Arc::from(addrs(&["/ip4/10.0.0.1/tcp/1"]))).1;
    let lasting = Lasting::new(secret.map(|n| Secret::from_bytes([n; 32])), who);
    let (scope, metrics) = (Scope::default(), Metrics::default());
    Desk::new(key, watch, vec![], Arc::new(|| 0), metrics, scope, lasting)
}

/// How many datagrams got this verdict.
fn count(desk: &Desk, label: &'static str) -> u64 {
    desk.metrics.boot_received.get_or_create(&verdict(label)).get()
}

#[test]
fn a_sealed_question_is_of_use_once() {
    let ns = Namespace::default();
    let (asker, desk) = (member(Some(1)), member(Some(1)));
    assert!(desk.responder().advertise(&ns, Responder::TTL, Instant::now()));
    desk.sealing.opens(&ns);
    let source = |port| SocketAddr::from(([10, 0, 0, 2], port));
    let signed = asker.sign(&ns, 0, Body::Request).unwrap();
    let receive =
        |datagram: &[u8], port| match desk
            .receive(datagram, source(port), Medium::Served, |_| Asked::No)
        {
            Outcome::Answer(reply) => desk.answer(&reply, source(port).ip()),
            Outcome::Nothing => None,
            Outcome::Found(packet) => panic!("{packet:?}"),
        };
    let first = asker.sealing.seal(&ns, &signed).unwrap();
    let second = asker.sealing.seal(&ns, &signed).unwrap();
    assert_ne!(first, second);
    // From another port it would be no repetition, if it were not known.
    let answer = receive(&first, 1).unwrap();
    assert!(answer.len() <= first.len() + crate::boot::packet::MAX_GROWTH);
    assert_eq!((receive(&first, 2), count(&desk, "replay")), (None, 1));
    let again = receive(&second, 3).unwrap();
    assert!(again != answer && again.len() == answer.len(), "sealed anew");
    // An answer is one for who holds the secret.
    for (desk, taken) in [(&asker, 1), (&member(Some(2)), 0), (&member(None), 0)] {
        desk.sealing.opens(&ns);
        let outcome = desk.receive(&answer, source(4), Medium::Asking, |_| Asked::Yes);
        assert_eq!(matches!(outcome, Outcome::Found(_)), taken == 1);
        assert_eq!(count(desk, "found"), taken);
    }
}

#[test]
fn what_one_socket_has_no_use_for_another_may_have() {
    let ns = Namespace::default();
    let (other, desk) = (member(Some(1)), member(Some(1)));
    desk.sealing.opens(&ns);
    let response = Body::Response { addrs: addrs(&["/ip4/10.0.0.1/tcp/1"]) };
    let signed = other.sign(&ns, 7, response).unwrap();
    let sealed = other.sealing.seal(&ns, &signed).unwrap();
    let receive = |asked| {
        let source = SocketAddr::from(([10, 0, 0, 2], 1));
        desk.receive(&sealed, source, Medium::Group, |_| asked) != Outcome::Nothing
    };
    assert!(!receive(Asked::Stale) && !receive(Asked::No), "of an interface that has not asked");
    assert!(receive(Asked::Yes));
    assert!(!receive(Asked::Yes));
    assert_eq!((count(&desk, "found"), count(&desk, "replay")), (1, 1));
}

#[test]
fn a_member_cannot_speak_for_another_nor_from_another_namespace() {
    let ns = Namespace::default();
    let (other, desk) = (member(Some(1)), member(Some(1)));
    desk.sealing.opens(&ns);
    let elsewhere = Namespace::new("elsewhere").unwrap();
    let signed = other.sign(&elsewhere, 0, Body::Request).unwrap();
    let mut forged = other.sign(&ns, 0, Body::Request).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    assert!(desk.responder().advertise(&ns, Responder::TTL, Instant::now()));
    for (signed, label) in [(signed, "wrong-seal"), (forged, "bad-signature")] {
        let sealed = other.sealing.seal(&ns, &signed).unwrap();
        let source = SocketAddr::from(([10, 0, 0, 2], 1));
        let outcome = desk.receive(&sealed, source, Medium::Served, |_| Asked::No);
        assert_eq!((outcome, count(&desk, label)), (Outcome::Nothing, 1), "{label}");
    }
}

#[test]
fn who_is_not_taken_is_not_answered_and_its_answers_find_nobody() {
    let (ns, who) = (Namespace::default(), Who::default());
    let (asker, desk) = (member(None), member_with(None, who.clone()));
    assert!(desk.responder().advertise(&ns, Responder::TTL, Instant::now()));
    let question = asker.sign(&ns, 0, Body::Request).unwrap();
    let response = Body::Response { addrs: addrs(&["/ip4/10.0.0.1/tcp/1"]) };
    let answer = asker.sign(&ns, 7, response).unwrap();
    let mut port = 0;
    let mut receive = |bytes: &[u8], medium, asked| {
        port += 1;
        let source = SocketAddr::from(([10, 0, 0, 2], port));
        desk.receive(bytes, source, medium, |_| asked)
    };
    let is_taken = |outcome| outcome != Outcome::Nothing;
    assert!(is_taken(receive(&question, Medium::Served, Asked::No)));
    assert!(is_taken(receive(&answer, Medium::Asking, Asked::Yes)));
    who.deny(&[asker.own]).unwrap();
    assert!(!is_taken(receive(&question, Medium::Served, Asked::No)));
    assert!(!is_taken(receive(&answer, Medium::Asking, Asked::Yes)));
    who.set_denied(&[]).unwrap();
    who.allow(&[PeerId::random()]).unwrap();
    assert!(!is_taken(receive(&question, Medium::Served, Asked::No)));
    assert_eq!((count(&desk, "denied"), count(&desk, "not-allowed")), (2, 1));
    who.set_allowed(None).unwrap();
    assert!(is_taken(receive(&question, Medium::Served, Asked::No)));
}
