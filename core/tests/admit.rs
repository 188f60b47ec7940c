//! Clusters whose members have certificates, over loopback sockets.

mod certified;
mod raw;

use casm::{
    ErrorKind, Keypair, Node, NodeBuilder, PeerId, Secret,
    admit::{
        Certificate, Revocation, SKEW, Terms,
        gate::{Hello, PROTOCOL},
    },
    cluster::Query,
    service::{CallOptions, ServeOptions},
};
use certified::*;
use futures::AsyncWriteExt;
use multistream_select::{Version, dialer_select_proto};
use std::{collections::BTreeSet, time::Duration};

fn refused(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("casm_admit_refused_total{{reason=\"{reason}\"}}"))
}

async fn close(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_authority_see_each_other() {
    for listen in [TCP, QUIC] {
        let mut nodes = Vec::new();
        for n in 1..=4 {
            nodes.push(member(n, listen).start().await.unwrap());
        }
        // A line: the first and the last one know of each other by others alone.
        for pair in nodes.windows(2) {
            soon(pair[0].connect(&pair[1].info())).await.unwrap();
        }
        for node in &nodes {
            soon(node.wait_for(4)).await.unwrap();
        }
        let topics: Vec<_> = nodes.iter().map(|node| node.topic("news").unwrap()).collect();
        let mut messages = topics[3].subscribe();
        soon(topics[0].wait_for_peers(1)).await.unwrap();
        soon(topics[2].wait_for_peers(2)).await.unwrap();
        soon(topics[1].wait_for_peers(2)).await.unwrap();
        topics[0].publish(b"hello").await.unwrap();
        let message = soon(messages.next()).await.unwrap();
        assert_eq!((message.source(), message.data()), (nodes[0].id(), &b"hello"[..]));
        close(nodes).await;
    }
}

/// Who is not a member, and why a member says that it is not.
fn strangers() -> Vec<(&'static str, NodeBuilder, &'static str)> {
    let other = other_ca();
    let with = |n: u8, change: &dyn Fn(&mut Terms)| {
        let mut terms = terms(id(&key(n)));
        change(&mut terms);
        Certificate::sign(&ca(), terms).unwrap()
    };
    let of_other = Certificate::sign(&other, terms(id(&key(11)))).unwrap();
    let old = with(12, &|terms| {
        (terms.issued, terms.not_before) = (terms.issued - 7200, terms.not_before - 7200);
        terms.not_after = now() - SKEW + 4;
    });
    let elsewhere = with(14, &|terms| terms.namespace = "vineyard".parse().unwrap());
    let of = |n: u8| bare(&key(n), TCP).admit([id(&ca())]);
    vec![
        ("open", bare(&key(10), TCP), "asks for no certificates"),
        (
            "other-ca",
            bare(&key(11), TCP).admit([id(&other), id(&ca())]).certificate(of_other),
            "signed by another authority",
        ),
        ("expired", of(12).certificate(old), "has expired"),
        // It refuses the member's, too, which the member shows first.
        (
            "other-namespace",
            of(14).namespace("vineyard").certificate(elsewhere),
            "of another authority or namespace",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_valid_certificate_gets_no_connection_and_is_told_why() {
    let nodes = [member(1, TCP).start().await.unwrap(), member(2, TCP).start().await.unwrap()];
    soon(nodes[0].connect(&nodes[1].info())).await.unwrap();
    for node in &nodes {
        soon(node.wait_for(2)).await.unwrap();
    }
    for (reason, builder, why) in strangers() {
        println!("stranger: {reason}");
        let stranger = builder.start().await.unwrap();
        if reason == "expired" {
            let over = || now() > stranger.certificate().unwrap().not_after() + SKEW;
            until("its certificate ends", over).await;
        }
        // It dials: it is shown nothing, and the connection ends.
        let dialled = soon(stranger.connect(&nodes[0].info())).await;
        if let Err(error) = &dialled {
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        }
        until("it is put out", || !stranger.connected().contains(&nodes[0].id())).await;
        // It is dialled.
        let error = soon(nodes[0].connect(&stranger.info())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        // One that knows of no gate may also end the connection first.
        let ended = reason == "open" && error.message().contains("the connection ended");
        assert!(ended || error.message().contains(why), "{error}");
        let counted = || match reason {
            "open" => refused(&nodes[0], reason) + refused(&nodes[0], "io") >= 2,
            "other-namespace" => {
                refused(&nodes[0], reason) >= 1 && refused(&nodes[0], "not-accepted") >= 1
            }
            _ => refused(&nodes[0], reason) >= 2,
        };
        until("each is counted", counted).await;
        // As long as it takes until a connection that did not pass has ended there too.
        until("nothing is left of it", || stranger.connected().is_empty()).await;
        assert_eq!(stranger.view().len(), 1);
        stranger.close().await.unwrap();
    }
    for node in &nodes {
        assert_eq!((node.view().len(), node.connected().len()), (2, 1));
    }
    close(nodes).await;
}

/// Connects as a stranger does, says something on the stream of the gate, and waits
/// until the member ends it.
async fn says(key: &Keypair, member: &Node, says: &[u8]) {
    let addr = member.info().addrs[0].clone();
    let mut transport = raw::transport(key, &addr);
    let (_, mut muxer) = raw::dial(&mut transport, &addr).await.unwrap();
    let stream = raw::open(&mut muxer).await.unwrap();
    let told = raw::on(&mut muxer, async {
        let selected = dialer_select_proto(stream, [PROTOCOL], Version::V1).await;
        let (_, mut stream) = selected.unwrap();
        // It may have had enough in the middle.
        let _ = stream.write_all(says).await;
        let _ = stream.flush().await;
        raw::read_to_end(&mut stream, Duration::from_secs(30)).await
    });
    assert_eq!(soon(told).await.unwrap_or_default(), b"", "it is shown nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_thing_that_is_shown_is_refused_and_counted_by_its_reason() {
    let frame = |certificate| Hello { certificate }.frame();
    let of = |change: &dyn Fn(&mut Terms)| {
        let mut terms = terms(id(&key(20)));
        change(&mut terms);
        frame(Certificate::sign(&ca(), terms).unwrap())
    };
    let good = of(&|_| ());
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let other_ca = Certificate::sign(&other_ca(), terms(id(&key(20)))).unwrap();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("other-ca", frame(other_ca)),
        ("other-namespace", of(&|terms| terms.namespace = "vineyard".parse().unwrap())),
        ("other-peer", frame(sign(id(&key(21))))),
        (
            "expired",
            of(&|terms| {
                (terms.issued, terms.not_before) = (terms.issued - 7200, terms.not_before - 7200);
                terms.not_after = now() - SKEW - 1;
            }),
        ),
        (
            "not-yet-valid",
            of(&|terms| {
                (terms.not_before, terms.not_after) = (now() + SKEW + 60, now() + SKEW + 600);
            }),
        ),
        ("bad-signature", forged),
        ("malformed", [&[3], &b"abc"[..]].concat()),
        ("too-large", [&[0x80, 0x80, 0x40][..], &[0; 1 << 20]].concat()),
        ("garbage", vec![0x81, 0]),
        // Cut in the middle, and then nothing.
        ("timeout", good[..good.len() / 2].to_vec()),
        ("timeout", vec![]),
    ];
    for listen in [TCP, QUIC] {
        let member = member(1, listen).start().await.unwrap();
        for (_, said) in &cases {
            says(&key(20), &member, said).await;
        }
        for reason in cases.iter().map(|(reason, _)| *reason).collect::<BTreeSet<_>>() {
            let times = cases.iter().filter(|(of, _)| *of == reason).count() as u64;
            until(reason, || refused(&member, reason) == times).await;
        }
        assert_eq!((member.view().len(), member.connected().len()), (1, 0));
        member.close().await.unwrap();
    }
}

fn with_roles(peer: PeerId, roles: &[&str]) -> Certificate {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Certificate::sign(&ca(), Terms { roles, ..terms(peer) }).unwrap()
}

/// Nodes in a line, each of which sees all.
async fn line(nodes: impl IntoIterator<Item = NodeBuilder>) -> Vec<Node> {
    let mut line: Vec<Node> = Vec::new();
    for node in nodes {
        let node = node.start().await.unwrap();
        if let Some(last) = line.last() {
            soon(last.connect(&node.info())).await.unwrap();
        }
        line.push(node);
    }
    for node in &line {
        soon(node.wait_for(line.len())).await.unwrap();
    }
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_is_put_out_everywhere_and_after_a_restart_too() {
    let dir = tempfile::tempdir().unwrap();
    let (list, data) = (dir.path().join("revoked"), dir.path().join("data"));
    std::fs::write(&list, "").unwrap();
    let nodes = line([
        member(1, TCP).revoked_file(&list),
        member(2, TCP),
        member(3, TCP).data(&data),
        member(4, TCP),
    ])
    .await;
    let out = nodes[3].id();
    soon(nodes[0].connect(&nodes[3].info())).await.unwrap();
    let revocation = Revocation::sign(&ca(), out, now()).unwrap();
    std::fs::write(&list, revocation.to_text()).unwrap();
    for node in &nodes[..3] {
        until("it is out of the view", || {
            node.view().len() == 3 && !node.connected().contains(&out)
        })
        .await;
        let error = soon(node.connect(&nodes[3].info())).await.unwrap_err();
        assert!(error.message().contains("revoked"), "{error}");
    }
    // It may say what it likes: it says it to nobody.
    soon(nodes[3].connect(&nodes[1].info())).await.unwrap_err();
    assert_eq!(nodes[3].connected(), []);
    // What was told over the network outlasts the node that heard of it.
    nodes[2].close().await.unwrap();
    let again = member(3, TCP).data(&data).start().await.unwrap();
    let error = soon(again.connect(&nodes[3].info())).await.unwrap_err();
    assert!(error.message().contains("revoked"), "{error}");
    // A later certificate is good again.
    let mut later = terms(out);
    (later.issued, later.not_before) = (now() + 1, now() + 1);
    let later = Certificate::sign(&ca(), later).unwrap();
    nodes[3].renew(later).unwrap();
    soon(again.connect(&nodes[3].info())).await.unwrap();
    soon(again.wait_for(2)).await.unwrap();
    close(nodes.into_iter().chain([again])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_ends_its_connections_unless_it_is_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("certificate");
    let ends_soon = |n: u8| {
        let mut terms = terms(id(&key(n)));
        (terms.issued, terms.not_before) = (terms.issued - 3600, terms.not_before - 3600);
        terms.not_after = now() - SKEW + 8;
        Certificate::sign(&ca(), terms).unwrap()
    };
    let [renewed, ended] = [2, 3].map(ends_soon);
    std::fs::write(&file, renewed.to_text()).unwrap();
    let of = |n: u8| bare(&key(n), TCP).admit([id(&ca())]);
    let nodes =
        line([member(1, TCP), of(2).certificate_file(&file), of(3).certificate(ended)]).await;
    std::fs::write(&file, with_roles(nodes[1].id(), &["worker"]).to_text()).unwrap();
    until("the new one is known", || {
        nodes[0].view().get(&nodes[1].id()).is_some_and(|record| record.roles().len() == 1)
    })
    .await;
    for node in &nodes[..2] {
        until("the other one has ended", || node.view().len() == 2).await;
    }
    until("it has no connection", || nodes[2].connected().is_empty()).await;
    // Each end notices it by itself.
    until("the others know that", || nodes[0].connected() == [nodes[1].id()]).await;
    // Nor does one that others would not take in the place of the last.
    let early = terms(nodes[1].id());
    let early = Terms { issued: early.issued - 60, not_before: early.not_before - 60, ..early };
    let error = nodes[1].renew(Certificate::sign(&ca(), early).unwrap()).unwrap_err();
    assert!(error.message().contains("no later than"), "{error}");
    // One that is none changes nothing.
    let error = nodes[1].renew(sign(nodes[0].id())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains(&nodes[1].id().to_string()), "{error}");
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_seen_found_and_asked_for_and_change_while_nodes_run() {
    let of = |n: u8, roles: &[&str]| {
        let key = key(n);
        let certificate = with_roles(id(&key), roles);
        bare(&key, TCP).admit([id(&ca())]).certificate(certificate)
    };
    // The first and the last one are not connected.
    let nodes = line([of(1, &["head"]), of(2, &[]), of(3, &["worker", "gpu"])]).await;
    let roles = |node: &Node, of: &Node| {
        let record = node.view().get(&of.id()).unwrap();
        record.roles().map(str::to_owned).collect::<Vec<_>>()
    };
    for node in &nodes {
        assert_eq!(roles(node, &nodes[2]), ["gpu", "worker"]);
        assert_eq!(roles(node, &nodes[1]), [""; 0]);
        assert_eq!(node.view().count(&Query::role("worker")), 1);
    }
    let served = ServeOptions::default().allow("head");
    let _serving = nodes[1]
        .serve_with("secrets", &served, |_| async { Ok::<_, String>(b"42".to_vec()) })
        .unwrap();
    let ask = CallOptions::new().peer(nodes[1].id());
    let answer = soon(nodes[0].call_with("secrets", *b"?", ask.clone())).await.unwrap();
    assert_eq!(answer.data, b"42");
    let refused = soon(nodes[2].call_with("secrets", *b"?", ask.clone())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
    assert!(refused.message().contains("`head`"), "{refused}");
    // With another certificate it has another role, also where it is not connected.
    // Signed later: of two of the same second the serial number, by chance, decides.
    let terms = Terms { roles: vec!["head".into()], issued: now() - 5, ..terms(nodes[2].id()) };
    nodes[2].renew(Certificate::sign(&ca(), terms).unwrap()).unwrap();
    for node in &nodes {
        until("its role is known", || roles(node, &nodes[2]) == ["head"]).await;
    }
    soon(nodes[2].call_with("secrets", *b"?", ask)).await.unwrap();
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_go_with_a_secret_with_lists_and_over_pauses() {
    let of = |n: u8| member(n, TCP).secret(Secret::from_bytes([7; 32]));
    let nodes = line([of(1), of(2), of(3)]).await;
    // Who holds the secret alone is as far from it as who has a certificate alone.
    let key = key(4);
    let holds = bare(&key, TCP).secret(Secret::from_bytes([7; 32])).start().await.unwrap();
    let certified = member(5, TCP).start().await.unwrap();
    for stranger in [&holds, &certified] {
        soon(nodes[0].connect(&stranger.info())).await.unwrap_err();
        assert_eq!(nodes[0].view().len(), 3);
    }
    // A pause takes nothing from what is known, and no new swarm is without its gate.
    nodes[1].pause().await.unwrap();
    nodes[1].resume().await.unwrap();
    soon(nodes[0].connect(&nodes[1].info())).await.unwrap();
    soon(nodes[1].connect(&nodes[2].info())).await.unwrap();
    soon(nodes[1].connect(&holds.info())).await.unwrap_err();
    until("it is put out by a list", || {
        nodes[0].deny([nodes[2].id()]).unwrap();
        nodes[0].view().len() == 2
    })
    .await;
    assert_eq!(nodes[1].view().len(), 3);
    close(nodes.into_iter().chain([holds, certified])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_together_is_told_at_the_start() {
    let own = key(1);
    let cases = [
        (bare(&own, TCP).admit([id(&ca())]), "casm admit sign"),
        (bare(&own, TCP).certificate(sign(id(&own))), "without `admit`"),
        (member(1, TCP).admit([id(&Keypair::generate_ecdsa())]), "12D3KooW"),
        (bare(&own, TCP).admit([id(&ca())]).certificate(sign(id(&key(2)))), "is for the peer"),
        (member(1, TCP).namespace("other"), "namespace"),
        (bare(&own, TCP).admit([id(&key(7))]).certificate(sign(id(&own))), "signed by it"),
        (
            Node::builder().boot(["none"]).admit([id(&ca())]).certificate(sign(id(&own))),
            "key: there is none",
        ),
    ];
    for (builder, said) in cases {
        let error = builder.start().await.unwrap_err();
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.message().contains(said), "{said}: {error}");
    }
    let error = member(1, TCP).revoked_file("/nowhere/revoked").start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let open = bare(&own, TCP).start().await.unwrap();
    assert_eq!(open.renew(sign(id(&own))).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(open.revoke(vec![]).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(open.certificate(), None);
    open.close().await.unwrap();
}
