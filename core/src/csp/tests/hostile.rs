//! Peers that mean harm cost little, are counted, and disturb nobody.

use super::*;
use crate::csp::link::NAME;
use crate::schema::csp_capnp::{channels, lease, member};

type Raw = crate::rpc::Remote<channels::Client>;

async fn raw(hostile: &Place, owner: &Place) -> Raw {
    hostile.vat.host.connect(&owner.vat.info()).await.unwrap();
    hostile.vat.vat.connect::<channels::Client>(owner.id(), NAME).await.unwrap()
}

pub(super) async fn join(
    channels: &channels::Client,
    name: &str,
    party: u64,
) -> capnp::Result<member::Client> {
    let mut request = channels.open_request();
    request.get().set_name(name);
    let channel = request.send().promise.await?.get()?.get_channel()?;
    let mut request = channel.join_request();
    request.get().set_party(party);
    request.send().promise.await?.get()?.get_member()
}

pub(super) fn lease(
    member: &member::Client,
    wait: u32,
) -> capnp::capability::RemotePromise<member::lease_results::Owned> {
    let mut request = member.lease_request();
    request.get().set_wait_ms(wait);
    request.get().set_settled(u64::MAX);
    request.send()
}

#[tokio::test]
async fn one_that_leases_and_confirms_nothing_holds_nobody_up_for_long() {
    let (owner, hostile, honest) =
        (Place::start().await, Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 1);
    own.send("x").await.unwrap();
    let remote = raw(&hostile, &owner).await;
    let (tell, leased) = tokio::sync::oneshot::channel();
    let held = remote.with(async move |channels: channels::Client| {
        let member = join(&channels, "jobs", 1).await?;
        let leased = lease(&member, 1000).promise.await?;
        assert!(matches!(leased.get()?.get_lease()?.which()?, lease::Value(_)));
        let _ = tell.send(());
        // It comes back after five seconds, and then there is nothing for a while.
        loop {
            let answer = lease(&member, 1000).promise.await?;
            if let lease::Busy(()) = answer.get()?.get_lease()?.which()? {
                return Ok(());
            }
        }
    });
    let channel = honest.open("jobs", &owner).await;
    let received = async {
        leased.await.unwrap();
        channel.recv().await
    };
    let (held, value) = within(async { tokio::join!(held, received) }).await;
    held.unwrap();
    assert_eq!(value.unwrap(), b"x");
    assert!(owner.counted("lease-expired") && owner.counted("receive-busy"));
    for place in [owner, hostile, honest] {
        place.close().await;
    }
}

#[tokio::test]
async fn what_is_not_its_to_close_to_confirm_or_to_open_is_refused() {
    let (owner, hostile) = (Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 4);
    own.send("x").await.unwrap();
    let job = own.take().await.unwrap();
    let remote = raw(&hostile, &owner).await;
    let tried = remote.with(async |channels: channels::Client| {
        let member = join(&channels, "jobs", 1).await?;
        let closed = member.close_request().send().promise.await?;
        assert!(closed.get()?.get_refused());
        for number in 0..50 {
            let mut request = member.confirm_request();
            request.get().set_lease(number);
            assert!(!request.send().promise.await?.get()?.get_ok());
            let mut request = member.give_back_request();
            request.get().set_lease(number);
            request.send().promise.await?;
        }
        let error = join(&channels, "no such", 1).await.err();
        assert!(error.is_some_and(|error| error.extra.contains("notFound")));
        Ok(())
    });
    within(tried).await.unwrap();
    job.done().await.unwrap();
    let channel = hostile.open("jobs", &owner).await;
    let error = within(channel.close()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for event in ["close-refused", "lease-unknown", "channel-unknown"] {
        assert!(owner.counted(event), "{event}");
    }
    own.send("y").await.unwrap();
    assert_eq!(within(channel.recv()).await.unwrap(), b"y");
    owner.close().await;
    hostile.close().await;
}

#[tokio::test]
async fn thousands_of_parties_receives_and_sends_are_bounded() {
    let (owner, hostile, honest) =
        (Place::start().await, Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 1);
    let channel = honest.open("jobs", &owner).await;
    let remote = raw(&hostile, &owner).await;
    let flood = remote.with(async |channels: channels::Client| {
        let mut members = Vec::new();
        let mut refused = 0;
        for party in 0..200 {
            match join(&channels, "jobs", party).await {
                Ok(member) => members.push(member),
                Err(_) => refused += 1,
            }
        }
        // No more receives and sends wait of a party than may.
        let waiting: Vec<_> = (0..1500).map(|_| lease(&members[0], 60_000).promise).collect();
        let last = lease(&members[0], 60_000).promise.await?;
        let busy = matches!(last.get()?.get_lease()?.which()?, lease::Busy(()));
        drop(waiting);
        Ok((members.len(), refused, busy))
    });
    let (members, refused, busy) = within(flood).await.unwrap();
    assert!(members <= 16 && refused >= 184 && busy, "{members} {refused} {busy}");
    // Nobody else is disturbed.
    for n in 0..20u32 {
        own.send(n.to_be_bytes()).await.unwrap();
        assert_eq!(number(&within(channel.recv()).await.unwrap()), n);
    }
    assert!(owner.counted("parties-full") && owner.counted("receive-busy"));
    for place in [owner, hostile, honest] {
        place.close().await;
    }
}
