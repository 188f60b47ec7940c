//! Answers queries of other nodes.

use super::{NAME, position::Position, wire};
use crate::{
    Result,
    cluster::{query::Query, record::Record, snapshot::View},
    rpc::{Export, Vat},
    schema::cluster_capnp::view,
};
use capnp::{capability::Promise, traits::HasTypeId};
use capnp_rpc::new_client;
use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// For how long an iteration may keep a snapshot: what has changed since is
/// kept in memory for it. One that takes longer goes on with a newer one.
const HOLD: Duration = Duration::from_secs(10);
/// So old may a snapshot be that another iteration keeps already.
const SHARE: Duration = Duration::from_millis(250);
/// With fewer iterations each gets the latest snapshot.
const CROWD: usize = 16;
/// How long a reader may take over the last record; over the others it may take
/// as long as [`Limits::stall`](crate::rpc::Limits::stall) says.
const LAST: Duration = Duration::from_secs(60);
/// Records that are passed over in one go.
const SKIP: usize = 256;
/// The number of `Handler.recv`.
const RECV: u16 = 0;

/// Serves the view that `latest` gives, until what this gives is dropped.
pub(crate) fn serve(
    vat: &Vat,
    latest: impl Fn() -> View + Send + Sync + 'static,
) -> Result<Export> {
    let snapshots = Snapshots::new(latest);
    vat.export(NAME, move |_| object(&snapshots))
}

/// The object that answers queries.
pub(super) fn object(snapshots: &Arc<Snapshots>) -> view::Client {
    new_client(Server { snapshots: snapshots.clone(), reverse: false })
}

/// Hands out snapshots, few different ones to many iterations.
pub(super) struct Snapshots {
    latest: Box<dyn Fn() -> View + Send + Sync>,
    /// The one that was taken last, as long as somebody keeps it.
    shared: Mutex<Weak<Taken>>,
    /// Counts who keeps one, beside itself.
    users: Arc<()>,
}

struct Taken {
    view: View,
    at: Instant,
}

/// A snapshot, and until when it may be kept.
pub(super) struct Snapshot {
    taken: Arc<Taken>,
    until: Instant,
    _user: Arc<()>,
}

impl Snapshots {
    pub(super) fn new(latest: impl Fn() -> View + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { latest: Box::new(latest), shared: Mutex::default(), users: Arc::default() })
    }

    pub(super) fn take(&self) -> Snapshot {
        let now = Instant::now();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let crowded = Arc::strong_count(&self.users) > CROWD;
        let taken = shared
            .upgrade()
            .filter(|taken| crowded && now < taken.at + SHARE)
            .unwrap_or_else(|| Arc::new(Taken { view: (self.latest)(), at: now }));
        *shared = Arc::downgrade(&taken);
        Snapshot { until: taken.at + HOLD, taken, _user: self.users.clone() }
    }
}

/// One of the two directions of a view.
struct Server {
    snapshots: Arc<Snapshots>,
    reverse: bool,
}

impl view::Server for Server {
    async fn lookup(
        self: Rc<Self>,
        params: view::LookupParams,
        mut results: view::LookupResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let query =
            wire::read_query(params.get_selector()?, params.get_constraints()?, self.reverse)?;
        let mut result = results.get().init_result();
        let view = (self.snapshots.latest)();
        match view.lookup(&query) {
            Some(record) => {
                wire::write_record(
                    &record,
                    &view.signed_bytes_of(&record.peer()),
                    result.init_just(),
                );
            }
            None => result.set_nothing(()),
        }
        Ok(())
    }

    async fn iter(
        self: Rc<Self>,
        params: view::IterParams,
        _: view::IterResults,
    ) -> capnp::Result<()> {
        let (handler, query) = {
            let params = params.get()?;
            let (selector, constraints) = (params.get_selector()?, params.get_constraints()?);
            (params.get_handler()?, wire::read_query(selector, constraints, self.reverse)?)
        };
        // Not kept while a slow reader reads.
        drop(params);
        send_all(&self.snapshots, query, handler).await
    }

    async fn reverse(
        self: Rc<Self>,
        _: view::ReverseParams,
        mut results: view::ReverseResults,
    ) -> capnp::Result<()> {
        let Self { snapshots, reverse } = &*self;
        let other = Self { snapshots: snapshots.clone(), reverse: !reverse };
        results.get().set_view(new_client(other));
        Ok(())
    }
}

/// Sends what the query finds, on one snapshot if the reader is fast.
async fn send_all(
    snapshots: &Snapshots,
    query: Query,
    handler: view::handler::Client,
) -> capnp::Result<()> {
    let left = query.limit.unwrap_or(usize::MAX);
    let mut sending = Sending { query, handler, left, taken: None };
    while let Some(held_up) = sending.send_some(snapshots.take()).await? {
        held_up.await?;
    }
    sending.send_last().await
}

/// An iteration under way.
struct Sending {
    query: Query,
    handler: view::handler::Client,
    /// How many records may still be taken.
    left: usize,
    /// The last record that was taken, and that is yet to be sent.
    taken: Option<(Record, Arc<[u8]>)>,
}

impl Sending {
    /// Sends all but the last of what the query still finds, for as long as the
    /// snapshot may be kept. If that was not long enough, gives the sending
    /// that was held up.
    async fn send_some(
        &mut self,
        snapshot: Snapshot,
    ) -> capnp::Result<Option<Promise<(), capnp::Error>>> {
        let Self { query, handler, left, taken } = self;
        let after = taken.as_ref().and_then(|(record, _)| Position::of(query, record));
        let rest = after.as_ref().map_or_else(|| query.clone(), |last| last.rest_of(query));
        let mut passed = 0;
        for record in snapshot.taken.view.iter(rest) {
            if *left == 0 {
                break;
            }
            if after.as_ref().is_some_and(|last| !last.is_before(query, &record)) {
                passed += 1;
                if passed % SKIP == 0 {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            *left -= 1;
            let proof = snapshot.taken.view.signed_bytes_of(&record.peer());
            let Some((previous, proof)) = taken.replace((record, proof)) else { continue };
            let mut request = handler.recv_request();
            wire::write_record(&previous, &proof, request.get().init_record());
            let mut sent = request.send();
            tokio::select! {
                biased;
                sent = &mut sent => sent?,
                () = sleep_until(snapshot.until) => return Ok(Some(sent)),
            }
        }
        Ok(None)
    }

    /// Sends the last record, and waits until it has been taken, and so all
    /// before it: a reader may think that none comes after our answer.
    async fn send_last(self) -> capnp::Result<()> {
        let Some((record, proof)) = self.taken else { return Ok(()) };
        // As a call whose answer is waited for, which streaming ones are not.
        let mut request = self
            .handler
            .client
            .new_call::<view::handler::recv_params::Owned, capnp::any_pointer::Owned>(
                view::handler::Client::TYPE_ID,
                RECV,
                None,
            );
        wire::write_record(&record, &proof, request.get().init_record());
        let taken = timeout(LAST, request.send().promise).await;
        let late = |_| capnp::Error::overloaded("the handler does not answer".into());
        taken.map_err(late)?.map(drop)
    }
}
