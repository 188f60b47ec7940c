//! Channels and semaphores over loopback connections.

mod cuts;
mod fake;
mod hostile;
mod large;
mod links;
mod names;
mod now;
mod plain;
mod select;
mod semaphores;
mod vectors;

use super::*;
use crate::{
    Error, ErrorKind, PeerId, PeerInfo, Result,
    host::Host,
    rpc::{Limits, TestVat},
};
use futures::future::BoxFuture;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;

pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A node as far as channels need one.
pub(super) struct Place {
    pub(super) vat: TestVat,
    pub(super) csp: Csp,
    known: Arc<Mutex<Vec<PeerInfo>>>,
    records: Records,
}

/// What stands in the records that a node knows, its own among them.
type Records = Arc<Mutex<Vec<(PeerId, What, String)>>>;

struct Here {
    host: Host,
    known: Arc<Mutex<Vec<PeerInfo>>>,
    records: Records,
}

impl Around for Here {
    fn reach(&self, peer: PeerId) -> BoxFuture<'static, Result<()>> {
        let known = self.known.lock().unwrap().iter().find(|info| info.id == peer).cloned();
        let host = self.host.clone();
        Box::pin(async move {
            match known {
                Some(known) => host.connect(&known).await,
                None if host.is_connected(&peer) => Ok(()),
                None => Err(Error::new(ErrorKind::Unreachable, "nobody knows where it is")),
            }
        })
    }

    fn offer(&self, what: What, name: &str) -> Result<Offered> {
        let field = (self.host.id(), what, name.to_owned());
        let mut records = self.records.lock().unwrap();
        // As in a record: once, and only so many.
        assert!(!records.contains(&field), "{field:?} stands there already");
        if records.len() >= ROOM {
            return Err(Error::new(ErrorKind::TooLarge, "no room"));
        }
        records.push(field.clone());
        Ok(Box::new(Standing(self.records.clone(), field)))
    }

    fn owners(&self, what: What, name: &str) -> Vec<PeerId> {
        let records = self.records.lock().unwrap();
        let of = |record: &&(PeerId, What, String)| record.1 == what && record.2 == name;
        records.iter().filter(of).map(|record| record.0).collect()
    }
}

const ROOM: usize = 64;

struct Standing(Records, (PeerId, What, String));

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.lock().unwrap().retain(|field| *field != self.1);
    }
}

impl Place {
    pub(super) async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub(super) async fn start_with(limits: Limits) -> Self {
        Self::start_at(TCP, limits).await
    }

    pub(super) async fn start_at(listen: &str, limits: Limits) -> Self {
        let vat = TestVat::start(listen, limits).await;
        let known = Arc::new(Mutex::new(Vec::<PeerInfo>::new()));
        let (host, addrs) = (vat.host.clone(), known.clone());
        let records = Records::default();
        let around = Arc::new(Here { host, known: addrs, records: records.clone() });
        let csp = Csp::new(vat.host.id(), vat.vat.clone(), around, &vat.metrics, &vat.scope);
        Self { vat, csp, known, records }
    }

    pub(super) fn id(&self) -> PeerId {
        self.vat.host.id()
    }

    pub(super) fn knows(&self, other: &Self) {
        self.known.lock().unwrap().push(other.vat.info());
    }

    pub(super) fn channel(&self, name: &str, capacity: usize) -> Channel {
        self.csp.channel(name, ChannelOptions::new().capacity(capacity)).unwrap()
    }

    /// Opens a channel of another, to which it connects.
    pub(super) async fn open(&self, name: &str, owner: &Self) -> Channel {
        self.knows(owner);
        within(self.csp.open_channel(name, Some(owner.id()))).await.unwrap()
    }

    pub(super) fn counted(&self, event: &str) -> bool {
        let line = format!("casm_channel_events_total{{event=\"{event}\"}}");
        self.vat.metrics.encode().contains(&line)
    }

    pub(super) async fn close(self) {
        drop(self.csp);
        self.vat.close().await;
    }
}

/// What takes longer than this hangs.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("it hangs")
}

pub(super) const MS: Duration = Duration::from_millis(1);

fn number(value: &[u8]) -> u32 {
    u32::from_be_bytes(value.try_into().unwrap())
}

#[tokio::test]
async fn values_go_from_any_node_to_any_node_once_and_in_order() {
    let (owner, from, to) = (Place::start().await, Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 4);
    let (sends, receives) = (from.open("jobs", &owner).await, to.open("jobs", &owner).await);
    let sending = async {
        for n in 0..200u32 {
            sends.send(n.to_be_bytes()).await.unwrap();
        }
        // Full: whoever sends waits, and what is withdrawn does not come.
        own.send("a").await.unwrap();
        own.close().await.unwrap();
        assert_eq!(own.close().await.unwrap_err().kind(), ErrorKind::Closed);
    };
    let receiving = async {
        for n in 0..200u32 {
            assert_eq!(number(&receives.recv().await.unwrap()), n);
        }
        assert_eq!(receives.recv().await.unwrap(), b"a");
        let error = receives.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    };
    within(async { tokio::join!(sending, receiving) }).await;
    let error = within(sends.send("late")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    for place in [owner, from, to] {
        place.close().await;
    }
}

#[tokio::test]
async fn what_is_full_makes_senders_wait_and_a_timeout_means_withdrawn() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let own = owner.channel("narrow", 1);
    let sends = other.open("narrow", &owner).await;
    within(sends.send_timeout("first", 10_000 * MS)).await.unwrap();
    for channel in [&own, &sends] {
        let error = within(channel.send_timeout("withdrawn", 50 * MS)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    }
    assert_eq!(own.waiting(), Some(1));
    assert_eq!(within(own.recv()).await.unwrap(), b"first");
    let error = within(own.recv_timeout(50 * MS)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    // A rendezvous.
    let own = owner.channel("hand", 0);
    let sends = other.open("hand", &owner).await;
    let error = within(own.send_timeout("nobody", Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let (sent, received) = within(async { tokio::join!(sends.send("b"), own.recv()) }).await;
    assert_eq!((sent.unwrap(), received.unwrap()), ((), b"b".to_vec()));
    let too_large = vec![0; MAX_VALUE + 1];
    assert_eq!(sends.send(too_large).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let largest = vec![7; MAX_VALUE];
    let (sent, received) =
        within(async { tokio::join!(sends.send(largest.clone()), own.recv()) }).await;
    sent.unwrap();
    assert!(received.unwrap() == largest);
    owner.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_receive_that_is_called_off_loses_nothing() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 2);
    let receives = other.open("jobs", &owner).await;
    const N: u32 = 150;
    let sending = async {
        for n in 0..N {
            own.send(n.to_be_bytes()).await.unwrap();
        }
    };
    let receiving = async {
        let mut got = Vec::new();
        let mut wait = Duration::from_micros(1);
        while got.len() < N as usize {
            // Sometimes too short for an answer, sometimes not.
            wait = if wait > 3 * MS { Duration::from_micros(50) } else { wait * 2 };
            match timeout(wait, receives.recv()).await {
                Ok(value) => got.push(number(&value.unwrap())),
                Err(_) => match receives.recv_timeout(wait).await {
                    Ok(value) => got.push(number(&value)),
                    Err(error) => {
                        let kinds = [ErrorKind::Timeout, ErrorKind::Unreachable];
                        assert!(kinds.contains(&error.kind()), "{error}");
                    }
                },
            }
        }
        got
    };
    let ((), got) = within(async { tokio::join!(sending, receiving) }).await;
    let once: BTreeSet<_> = got.iter().collect();
    assert_eq!((got.len(), once.len()), (N as usize, N as usize));
    owner.close().await;
    other.close().await;
}

#[tokio::test]
async fn jobs_come_back_when_their_workers_go() {
    let (owner, a, b) = (Place::start().await, Place::start().await, Place::start().await);
    let own = owner.channel("jobs", 10);
    let (of_a, of_b) = (a.open("jobs", &owner).await, b.open("jobs", &owner).await);
    for job in ["1", "2", "3"] {
        own.send(job).await.unwrap();
    }
    let first = within(of_a.take()).await.unwrap();
    let second = within(of_b.take()).await.unwrap();
    assert_eq!((first.data(), second.data()), (&b"1"[..], &b"2"[..]));
    within(second.give_back()).await.unwrap();
    let second = within(of_b.take()).await.unwrap();
    assert_eq!(second.data(), b"2", "it goes back to the head");
    within(second.done()).await.unwrap();
    // A worker that goes.
    let held = within(of_a.take()).await.unwrap();
    assert_eq!(held.data(), b"3");
    a.vat.host.disconnect(owner.id()).await;
    within(held.lost()).await;
    assert!(held.is_lost() && first.is_lost());
    let again = within(own.take()).await.unwrap();
    assert_eq!(again.data(), b"1");
    drop(again);
    let again = [within(of_b.take()).await.unwrap(), within(of_b.take()).await.unwrap()];
    assert_eq!([again[0].data(), again[1].data()], [b"1", b"3"]);
    let error = within(first.done()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    for job in again {
        within(job.done()).await.unwrap();
    }
    own.close().await.unwrap();
    assert_eq!(within(of_b.take()).await.unwrap_err().kind(), ErrorKind::Closed);
    for place in [owner, a, b] {
        place.close().await;
    }
}

#[tokio::test]
async fn who_waits_fails_when_the_owner_goes_and_does_not_end() {
    let (owner, other) = (Place::start().await, Place::start().await);
    owner.channel("jobs", 1);
    let channel = other.open("jobs", &owner).await;
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { channel.recv().await }
    });
    within(channel.send("x")).await.unwrap();
    assert_eq!(within(waiting).await.unwrap().unwrap(), b"x");
    let waiting = tokio::spawn(async move { channel.recv().await });
    tokio::time::sleep(50 * MS).await;
    owner.close().await;
    let error = within(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    other.close().await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let kind = |result: Result<Channel>| result.unwrap_err().kind();
    for name in ["", "a b", "ä", &"x".repeat(49)] {
        assert_eq!(kind(owner.csp.channel(name, ChannelOptions::new())), ErrorKind::Config);
    }
    let large = ChannelOptions::new().capacity(MAX_CAPACITY + 1);
    assert_eq!(kind(owner.csp.channel("a", large)), ErrorKind::Config);
    owner.channel("a", 1);
    owner.channel("a", 1);
    assert_eq!(kind(owner.csp.channel("a", ChannelOptions::new())), ErrorKind::Config);
    other.knows(&owner);
    assert_eq!(
        kind(within(other.csp.open_channel("b", Some(owner.id()))).await),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(within(owner.csp.open_channel("b", Some(owner.id()))).await),
        ErrorKind::NotFound
    );
    // One that serves no channels at all, and one that nobody knows.
    owner.knows(&other);
    assert_eq!(
        kind(within(owner.csp.open_channel("b", Some(other.id()))).await),
        ErrorKind::NotFound
    );
    let nobody = PeerId::random();
    let unknown = kind(within(owner.csp.open_channel("b", Some(nobody))).await);
    assert_eq!(unknown, ErrorKind::Unreachable);
    assert!(owner.counted("channel-unknown"));
    let (csp, channel) = (owner.csp.clone(), owner.channel("a", 1));
    owner.close().await;
    assert_eq!(kind(csp.channel("c", ChannelOptions::new())), ErrorKind::Closed);
    assert_eq!(within(channel.recv()).await.unwrap_err().kind(), ErrorKind::Closed);
    other.close().await;
}
