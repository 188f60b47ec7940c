//! Selects over channels here and elsewhere.

use super::*;
use std::collections::BTreeMap;

#[tokio::test]
async fn one_selects_among_channels_here_and_elsewhere_and_is_fair() {
    let (here, a, b) = (Place::start().await, Place::start().await, Place::start().await);
    let own = here.channel("own", 100);
    let (of_a, of_b) = (a.channel("a", 100), b.channel("b", 100));
    let (at_a, at_b) = (here.open("a", &a).await, here.open("b", &b).await);
    const N: usize = 60;
    for _ in 0..N {
        for channel in [&own, &of_a, &of_b] {
            channel.send(channel.name()).await.unwrap();
        }
    }
    let mut got = BTreeMap::<String, usize>::new();
    let mut half = BTreeMap::new();
    for n in 0..3 * N {
        let branches = [own.receiving(), at_a.receiving(), at_b.receiving()];
        let (at, value) = within(select(branches, None)).await.unwrap();
        let value = String::from_utf8(value.unwrap()).unwrap();
        assert_eq!(value, ["own", "a", "b"][at]);
        *got.entry(value).or_default() += 1;
        if n == 3 * N / 2 {
            half = got.clone();
        }
    }
    assert!(got.values().all(|count| *count == N), "{got:?}");
    assert!(half.len() == 3, "one channel kept the others waiting: {half:?}");
    let branches = [own.receiving(), at_a.receiving()];
    let error = within(select(branches, Some(30 * MS))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    for channel in [&own, &of_a, &of_b] {
        channel.close().await.unwrap();
    }
    let branches = [own.receiving(), at_a.receiving(), at_b.receiving()];
    let error = within(select(branches, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    for place in [here, a, b] {
        place.close().await;
    }
}

#[tokio::test]
async fn what_is_not_chosen_has_had_no_effect() {
    let (here, other) = (Place::start().await, Place::start().await);
    let (full, hand) = (here.channel("full", 1), here.channel("hand", 0));
    full.send("x").await.unwrap();
    let elsewhere = other.channel("elsewhere", 5);
    let at_other = here.open("elsewhere", &other).await;
    for round in 0..40u32 {
        elsewhere.send(round.to_be_bytes()).await.unwrap();
        let branches = [full.sending("no"), hand.sending("no"), at_other.receiving()];
        let (at, value) = within(select(branches, None)).await.unwrap();
        assert_eq!((at, number(&value.unwrap())), (2, round));
    }
    // What is called off takes nothing and sends nothing.
    for _ in 0..20 {
        let branches = [hand.receiving(), at_other.receiving(), full.sending("no")];
        let called_off = timeout(2 * MS, select(branches, None)).await;
        assert!(called_off.is_err());
    }
    assert_eq!(full.waiting(), Some(1));
    elsewhere.send("last").await.unwrap();
    assert_eq!(within(elsewhere.recv()).await.unwrap(), b"last");
    assert_eq!(within(full.recv()).await.unwrap(), b"x");
    let error = within(select([at_other.sending("no")], None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(select([], None).await.unwrap_err().kind(), ErrorKind::Invalid);
    here.close().await;
    other.close().await;
}

#[tokio::test]
async fn two_that_select_to_each_other_do_not_lock() {
    let (a, b) = (Place::start().await, Place::start().await);
    let (of_a, of_b) = (a.channel("a", 0), b.channel("b", 0));
    let (a_at_b, b_at_a) = (a.open("b", &b).await, b.open("a", &a).await);
    const N: usize = 25;
    // Each sends on its own channel, or receives from the other's.
    let party = async |own: Channel, other: Channel| {
        let (mut sent, mut received) = (0, 0);
        while sent + received < N {
            let branches = [own.sending("x"), other.receiving()];
            match select(branches, None).await.unwrap() {
                (0, None) => sent += 1,
                (1, Some(_)) => received += 1,
                other => panic!("{other:?}"),
            }
        }
        (sent, received)
    };
    let (one, other) =
        within(async { tokio::join!(party(of_a, a_at_b), party(of_b, b_at_a)) }).await;
    assert_eq!((one.0, one.1), (other.1, other.0), "each was sent what the other received");
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn two_selects_of_one_node_meet() {
    let here = Place::start().await;
    let channel = here.channel("c", 0);
    // Nobody is served by itself.
    let both = [channel.sending("x"), channel.receiving()];
    let error = within(select(both, Some(20 * MS))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    for _ in 0..100 {
        let sends = select([channel.sending("x")], None);
        let receives = select([channel.receiving()], None);
        let (sent, received) = within(async { tokio::join!(sends, receives) }).await;
        assert_eq!(sent.unwrap(), (0, None));
        assert_eq!(received.unwrap(), (0, Some(b"x".to_vec())));
    }
    here.close().await;
}
