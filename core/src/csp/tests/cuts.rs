//! Connections that are cut in the middle of whatever is under way.

use super::*;
use crate::{
    csp::link::NAME,
    schema::csp_capnp::{Outcome, channels},
};
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn connections_that_are_cut_cost_no_value_and_bring_none_twice() {
    let (owner, from, to) = (Place::start().await, Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 3);
    let (sends, receives) = (from.open("jobs", &owner).await, to.open("jobs", &owner).await);
    const N: u32 = 400;
    let sending = async {
        for n in 0..N {
            sends.send(n.to_be_bytes()).await.unwrap();
        }
        own.close().await.unwrap();
    };
    let (count, begun) = (AtomicUsize::new(0), std::time::Instant::now());
    let receiving = async {
        let mut got = Vec::new();
        loop {
            match receives.recv().await {
                Ok(value) => got.push(number(&value)),
                Err(error) if error.kind() == ErrorKind::Closed => return got,
                Err(error) => panic!("{error}"),
            }
            count.store(got.len(), Ordering::Relaxed);
        }
    };
    // In the middle of whatever is under way, but not before some have come.
    let cutting = async {
        for at in 1.. {
            while count.load(Ordering::Relaxed) < 20 * at {
                tokio::time::sleep(MS).await;
            }
            let place = if at % 2 == 0 { &from } else { &to };
            println!("cut {at} after {:?}", begun.elapsed());
            place.vat.host.disconnect(owner.id()).await;
        }
    };
    let hangs = async {
        tokio::time::sleep(50_000 * MS).await;
        for channel in [&own, &sends, &receives] {
            println!("{}\n", channel.dump());
        }
    };
    let got = within(async {
        tokio::select! {
            ((), got) = async { tokio::join!(sending, receiving) } => got,
            () = cutting => unreachable!("it never ends"),
            () = hangs => panic!("it hangs"),
        }
    });
    let got = got.await;
    let once: BTreeSet<_> = got.iter().copied().collect();
    assert_eq!(got.len(), once.len(), "a value came twice");
    assert_eq!(once, (0..N).collect(), "a value is lost");
    for place in [owner, from, to] {
        place.close().await;
    }
}

#[tokio::test]
async fn a_send_that_went_with_its_call_is_taken_in_when_it_is_sent_again() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 1);
    own.send("first").await.unwrap();
    other.vat.host.connect(&owner.vat.info()).await.unwrap();
    let remote = other.vat.vat.connect::<channels::Client>(owner.id(), NAME).await.unwrap();
    let here = own.clone();
    let sent = remote.with(async move |channels: channels::Client| {
        let member = hostile::join(&channels, "jobs", 1).await?;
        let send = || {
            let mut request = member.send_request();
            let mut params = request.get();
            params.set_number(7);
            params.set_wait_ms(60_000);
            params.set_value(b"second");
            request.send().promise
        };
        // There is no room; what comes after the call is dropped is answered after
        // the owner has heard of that.
        drop(send());
        let mut request = member.renew_request();
        request.get().init_leases(0);
        request.send().promise.await?;
        let again = send();
        assert_eq!(here.recv().await.unwrap(), b"first");
        again.await?.get()?.get_outcome().map_err(Into::into)
    });
    assert_eq!(within(sent).await.unwrap(), Outcome::Accepted);
    assert_eq!(within(own.recv()).await.unwrap(), b"second");
    owner.close().await;
    other.close().await;
}
