//! What need not wait.

use super::*;
use std::pin::pin;

/// It overtakes nobody, and leaves nothing behind when it would have to wait.
#[tokio::test]
async fn what_need_not_wait_is_done_at_once_and_what_must_leaves_no_trace() {
    let place = Place::start().await;
    let channel = place.channel("values", 2);
    assert_eq!(channel.recv_now(), None);
    for value in ["1", "2"] {
        assert_eq!(channel.send_now(value.into()).unwrap(), None);
    }
    assert_eq!(channel.send_now("3".into()).unwrap(), Some(b"3".to_vec()));

    let mut sending = pin!(channel.send("3"));
    assert!(futures::poll!(&mut sending).is_pending());
    // There is room in a moment: it is of who waits.
    assert_eq!(channel.recv_now(), Some(b"1".to_vec()));
    within(sending).await.unwrap();
    assert_eq!(channel.send_now("4".into()).unwrap(), Some(b"4".to_vec()));
    for value in ["2", "3"] {
        assert_eq!(channel.recv_now(), Some(value.into()));
    }

    let mut receiving = pin!(channel.recv());
    assert!(futures::poll!(&mut receiving).is_pending());
    // It is of who waits.
    assert_eq!(channel.send_now("5".into()).unwrap(), Some(b"5".to_vec()));
    within(channel.send("5")).await.unwrap();
    assert_eq!(within(receiving).await.unwrap(), b"5");

    let handed = place.channel("handed", 0);
    assert_eq!(handed.send_now("1".into()).unwrap(), Some(b"1".to_vec()));
    assert_eq!(handed.recv_now(), None);

    assert_eq!(channel.send_now("6".into()).unwrap(), None);
    channel.close().await.unwrap();
    assert_eq!(channel.send_now("7".into()).unwrap_err().kind(), ErrorKind::Closed);
    let large = channel.send_now(vec![0; (1 << 20) + 1]).unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    assert_eq!(channel.recv_now(), Some(b"6".to_vec()));
    assert_eq!(channel.recv_now(), None);
    assert_eq!(within(channel.recv()).await.unwrap_err().kind(), ErrorKind::Closed);
    place.close().await;
}
