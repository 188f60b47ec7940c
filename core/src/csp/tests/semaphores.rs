//! Semaphores over connections.

use super::*;
use crate::{
    csp::{link::NAME, links::PLAIN},
    schema::csp_capnp::{channels, grant, holder},
};
use tokio::time::Instant;

#[tokio::test]
async fn so_many_hold_it_as_may_and_tokens_grow() {
    let (owner, a, b) = (Place::start().await, Place::start().await, Place::start().await);
    let own = owner.csp.semaphore("leader", 1, (100, None)).unwrap();
    a.knows(&owner);
    b.knows(&owner);
    let of_a = within(a.csp.open_semaphore("leader", Some(owner.id()))).await.unwrap();
    let of_b = within(b.csp.open_semaphore("leader", Some(owner.id()))).await.unwrap();
    let first = within(of_a.acquire()).await.unwrap();
    assert!(first.token() > 100 && !first.is_lost());
    for semaphore in [&own, &of_b] {
        let error = within(semaphore.acquire_timeout(30 * MS)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    }
    // One that is called off takes no place.
    assert!(timeout(20 * MS, of_b.acquire()).await.is_err());
    let waiting = of_b.acquire();
    let release = async {
        tokio::time::sleep(30 * MS).await;
        let token = first.token();
        first.release();
        token
    };
    let (second, token) = within(async { tokio::join!(waiting, release) }).await;
    let second = second.unwrap();
    assert!(second.token() > token);
    drop(second);
    let third = within(own.acquire()).await.unwrap();
    assert!(third.token() > token + 1);
    let waiting = of_a.acquire();
    let close = async {
        tokio::time::sleep(30 * MS).await;
        own.close()
    };
    let (waited, closed) = within(async { tokio::join!(waiting, close) }).await;
    closed.unwrap();
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Closed);
    within(third.lost()).await;
    assert!(third.is_lost());
    assert_eq!(of_a.close().unwrap_err().kind(), ErrorKind::Invalid);
    for name in ["leader", "other"] {
        let error = within(a.csp.open_semaphore("none", Some(owner.id()))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
    }
    assert_eq!(owner.csp.semaphore("x", 0, (0, None)).unwrap_err().kind(), ErrorKind::Config);
    for place in [owner, a, b] {
        place.close().await;
    }
}

#[tokio::test]
async fn a_holder_that_cannot_be_reached_loses_it_before_another_gets_it() {
    let (owner, holder) = (Place::start().await, Place::start().await);
    let own = owner.csp.semaphore("leader", 1, (0, None)).unwrap();
    holder.knows(&owner);
    let of_holder = within(holder.csp.open_semaphore("leader", Some(owner.id()))).await.unwrap();
    let lease = within(of_holder.acquire()).await.unwrap();
    // A cut that is mended costs nothing.
    holder.vat.host.disconnect(owner.id()).await;
    tokio::time::sleep(500 * MS).await;
    assert!(!lease.is_lost());
    let token = lease.token();
    // From here on it can't come back.
    holder.known.lock().unwrap().clear();
    holder.vat.host.disconnect(owner.id()).await;
    let begun = Instant::now();
    let lost = async {
        lease.lost().await;
        Instant::now()
    };
    let acquired = async {
        let acquired = own.acquire().await.unwrap();
        (Instant::now(), acquired)
    };
    let (lost, (acquired, second)) = within(async { tokio::join!(lost, acquired) }).await;
    assert!(lost < acquired, "lost after {:?}, {:?}", lost - begun, acquired - begun);
    assert!(second.token() > token && lease.is_lost());
    assert!(owner.counted("grant-expired"));
    owner.close().await;
    holder.close().await;
}

async fn holder(channels: &channels::Client, party: u64) -> capnp::Result<holder::Client> {
    let mut request = channels.semaphore_request();
    request.get().set_name("leader");
    let semaphore = request.send().promise.await?.get()?.get_semaphore()?;
    let mut request = semaphore.join_request();
    request.get().set_party(party);
    request.send().promise.await?.get()?.get_holder()
}

#[tokio::test]
async fn one_that_comes_over_another_connection_keeps_its_place() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let own = owner.csp.semaphore("leader", 1, (0, None)).unwrap();
    let first = within(own.acquire()).await.unwrap();
    other.vat.host.connect(&owner.vat.info()).await.unwrap();
    let connect = || other.vat.vat.connect_as::<channels::Client>(owner.id(), NAME, PLAIN);
    let (before, now) = (connect().await.unwrap(), connect().await.unwrap());
    // What it waits for over one connection it asks for over the next.
    let (tell, asked) = tokio::sync::oneshot::channel();
    let waits = |tell: Option<tokio::sync::oneshot::Sender<()>>| {
        async move |channels: channels::Client| {
            let holder = holder(&channels, 7).await?;
            let mut request = holder.acquire_request();
            request.get().set_number(1);
            request.get().set_wait_ms(60_000);
            let answer = request.send().promise;
            // What comes after it is answered.
            let mut request = holder.renew_request();
            request.get().init_tokens(0);
            request.send().promise.await?;
            if let Some(tell) = tell {
                let _ = tell.send(());
            }
            let answer = answer.await?;
            let grant: grant::Reader<'_> = answer.get()?.get_grant()?;
            match grant.which()? {
                grant::Token(token) => Ok(Some(token)),
                _ => Ok(None),
            }
        }
    };
    let early = tokio::spawn(async move {
        let answered = before.with(waits(Some(tell))).await;
        drop(before);
        answered
    });
    within(asked).await.unwrap();
    // One that asks later.
    let next = tokio::spawn({
        let own = own.clone();
        async move { own.acquire().await }
    });
    let (tell, asked) = tokio::sync::oneshot::channel();
    let again = tokio::spawn(async move { now.with(waits(Some(tell))).await });
    within(asked).await.unwrap();
    assert_eq!(within(early).await.unwrap().unwrap(), None, "it was asked again");
    // The end of the first connection calls off nothing of the second.
    tokio::time::sleep(100 * MS).await;
    drop(first);
    assert_eq!(within(again).await.unwrap().unwrap(), Some(2));
    // It is not given back, nor lost with its connection.
    assert!(timeout(100 * MS, next).await.is_err());
    owner.close().await;
    other.close().await;
}
