//! Connections that are cut in the middle of whatever is under way.

use super::*;
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
