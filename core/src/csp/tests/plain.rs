//! Those who know the interface of Go's successor only.

use super::*;
use crate::{csp::link::NAME, schema::csp_capnp::channels};
use capnp::data;

#[tokio::test]
async fn one_that_knows_the_plain_interface_sends_receives_and_closes() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let options = ChannelOptions::new().close_by_others(true);
    let own = owner.csp.channel("jobs", options).unwrap();
    other.vat.host.connect(&owner.vat.info()).await.unwrap();
    let remote = other.vat.vat.connect::<channels::Client>(owner.id(), NAME).await.unwrap();
    let go = Arc::new(tokio::sync::Notify::new());
    let going = go.clone();
    let used = remote.with(async move |channels: channels::Client| {
        use crate::schema::chan_capnp::chan::Client;
        let mut request = channels.open_request();
        request.get().set_name("jobs");
        let channel = request.send().promise.await?.get()?.get_channel()?;
        let chan: Client<data::Owned> = capnp::capability::FromClientHook::new(channel.client.hook);
        let parts = chan.new_send_closer_request().send().promise.await?;
        let send_closer = parts.get()?.get_send_closer()?;
        let recver = chan.new_recver_request().send().promise.await?;
        let recver = recver.get()?.get_recver()?;
        let sender = send_closer.new_sender_request().send().promise.await?;
        let sender = sender.get()?.get_sender()?;
        // Two sends before two receives.
        let mut sends = Vec::new();
        for value in ["1", "2"] {
            let mut request = sender.send_request();
            request.get().set_value(value.as_bytes())?;
            sends.push(request.send().promise);
        }
        for value in ["1", "2"] {
            let received = recver.recv_request().send().promise.await?;
            assert_eq!(received.get()?.get_value()?, value.as_bytes());
        }
        for send in sends {
            send.await?;
        }
        going.notify_one();
        // A receive that is cancelled loses nothing.
        drop(recver.recv_request().send().promise);
        let mut request = sender.send_request();
        request.get().set_value(&b"3"[..])?;
        request.send().promise.await?;
        let closer = send_closer.new_closer_request().send().promise.await?;
        let closer = closer.get()?.get_closer()?;
        closer.close_request().send().promise.await?;
        let twice = closer.close_request().send().promise.await;
        let closed = recver.recv_request().send().promise.await;
        let error = |error: capnp::Error| error.extra;
        Ok((twice.err().map(error), closed.err().map(error)))
    });
    let third = async {
        // When the other two have been received.
        go.notified().await;
        own.recv().await
    };
    let (used, received) = within(async { tokio::join!(used, third) }).await;
    let (twice, closed) = used.unwrap();
    assert!(twice.unwrap().contains("already closed"));
    assert!(closed.unwrap().contains("closed"));
    assert_eq!(received.unwrap(), b"3");
    owner.close().await;
    other.close().await;
}
