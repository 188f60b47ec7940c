//! Queries the view of another node.

use super::{
    NAME,
    position::Position,
    proof::{Told, Verifier},
    wire,
};
use crate::{
    Error, ErrorKind, Result,
    cluster::{
        query::{Index, Query, Select},
        record::{Field, Record},
        table::Limits,
    },
    record::unix_nanos,
    rpc::{Encoding, Remote, Vat},
    schema::cluster_capnp::view,
    target::Target,
};
use capnp_rpc::new_client;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, ready};
use libp2p::PeerId;
use std::{
    collections::HashSet,
    fmt,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Records that wait for a reader of [`RemoteRecords`], and those that wait to be
/// verified. Beyond them the other node waits.
const WAITING: usize = 64;
const UNVERIFIED: usize = 16;

/// The cluster view of another node, as it is there: each query is answered by
/// that node when it is asked. Clones share a connection.
///
/// Each record comes with the heartbeat that its peer signed, which is verified
/// here. Where the other node has none to give (Go's nodes never do, ours not for
/// heartbeats above 8 KiB), or one of so long ago that its peer must be gone,
/// [`Record::verified`] is false.
///
/// Roles are what each node knows itself, and are not told: the records have none, and
/// a query by role is an error.
#[derive(Clone)]
pub struct RemoteView {
    vat: Vat,
    peer: PeerId,
    remote: Arc<Mutex<Remote<view::Client>>>,
    verifier: Arc<Verifier>,
    /// The most records that are put in order, or compared with those that came
    /// before, on behalf of a node that doesn't do it.
    most: usize,
}

impl RemoteView {
    /// Connects to the view of a peer.
    ///
    /// # Errors
    /// As of [`Vat::connect`].
    pub(crate) async fn connect(vat: Vat, peer: impl Into<Target>) -> Result<Self> {
        Self::connect_with(vat, peer, &Encoding::ALL).await
    }

    pub(super) async fn connect_with(
        vat: Vat,
        peer: impl Into<Target>,
        encodings: &[Encoding],
    ) -> Result<Self> {
        let remote = vat.connect_with(peer, NAME, encodings).await?;
        let peer = remote.peer();
        let verifier = Arc::new(Verifier::new(vat.namespace().clone()));
        let (remote, most) = (Arc::new(Mutex::new(remote)), Limits::default().records);
        Ok(Self { vat, peer, remote, verifier, most })
    }

    /// Has so many records at most kept here, to be put in order or compared, where the
    /// other node does neither.
    pub(crate) fn keeping(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The node whose view it is.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The record of a peer.
    ///
    /// # Errors
    /// As of [`lookup`](Self::lookup).
    pub async fn get(&self, peer: &PeerId) -> Result<Option<Record>> {
        self.lookup(&Query::matching(Index::peer(peer))).await
    }

    /// The first record that the query finds.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] if the node cannot be reached,
    /// [`ErrorKind::Busy`] if it has too much to do, [`ErrorKind::Protocol`] if
    /// its answer makes no sense or its proof of a record is wrong,
    /// [`ErrorKind::Invalid`] if the query does not, or is by role.
    pub async fn lookup(&self, query: &Query) -> Result<Option<Record>> {
        check(query)?;
        if query.limit == Some(0) || query.range().is_none() {
            return Ok(None);
        }
        if !query.reverse {
            let asked = portable(query);
            let found = self.remote().await?.with(|view| lookup(view, asked)).await?;
            let found = found.map(|told| self.check(told)).transpose()?;
            // Go's nodes find `foobar` for `foo`, and don't mind where to end.
            if found.as_ref().is_none_or(|record| query.matches(record)) {
                return Ok(found);
            }
        }
        self.iter(query.clone().limit(1)).next().await.transpose()
    }

    /// How many records the query finds. They are all sent here for that.
    ///
    /// # Errors
    /// As of [`lookup`](Self::lookup).
    pub async fn count(&self, query: &Query) -> Result<usize> {
        let (mut records, mut count) = (self.iter(query.clone()), 0);
        while let Some(record) = records.next().await {
            record?;
            count += 1;
        }
        Ok(count)
    }

    /// The records that the query finds, in its order, as they come. The other
    /// node waits while they are not taken; dropping what this gives ends the
    /// query there. Go's nodes don't go backwards, and tell a record for each of its
    /// keys: what they find is kept here for that, up to 131,072 records, or
    /// `limits.table.records` of this node if that is more; beyond that the query ends
    /// with [`ErrorKind::TooLarge`].
    pub fn iter(&self, query: Query) -> RemoteRecords {
        let (send, records) = mpsc::channel(WAITING);
        let (this, asked) = (self.clone(), query.clone());
        let driver = async move { this.send_all(asked, send).await };
        RemoteRecords {
            filter: Filter::new(query, self.most),
            records,
            driver: Some(driver.boxed()),
            done: false,
        }
    }

    fn check(&self, told: Told) -> Result<Record> {
        self.verifier.check(self.peer, told, unix_nanos())
    }

    /// A connection, made again if the last one has ended.
    async fn remote(&self) -> Result<Remote<view::Client>> {
        let remote = || self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        let current = remote().clone();
        if !current.is_closed() && !current.stale().is_cancelled() {
            return Ok(current);
        }
        let new = self.vat.connect(self.peer, NAME).await?;
        *remote() = new.clone();
        Ok(new)
    }

    async fn send_all(self, query: Query, to: mpsc::Sender<Record>) -> Result<()> {
        check(&query)?;
        if query.range().is_none() || query.limit == Some(0) {
            return Ok(());
        }
        let remote = self.remote().await?;
        match self.send_verified(&remote, portable(&query), to.clone()).await {
            // Go's nodes cannot go backwards.
            Err(error) if query.reverse && error.kind() == ErrorKind::Protocol => {
                let (send, records) = mpsc::channel(WAITING);
                let forward = forward(&query);
                let all = self.send_verified(&remote, forward, send);
                let (all, kept) = tokio::join!(all, keep(&query, records, self.most));
                let kept = kept?;
                all?;
                for record in kept {
                    if to.send(record).await.is_err() {
                        break;
                    }
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Sends what the other node tells, verified: one signature at a time, so
    /// that thousands hold nobody up.
    async fn send_verified(
        &self,
        remote: &Remote<view::Client>,
        query: Query,
        to: mpsc::Sender<Record>,
    ) -> Result<()> {
        let (send, mut told) = mpsc::channel(UNVERIFIED);
        let verify = async {
            while let Some(next) = told.recv().await {
                let record = self.check(next)?;
                if to.send(record).await.is_err() {
                    // Nor is anything taken any more, so that the other node ends.
                    told.close();
                    break;
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        let tell = remote.with(|view| iterate(view, query, send));
        tokio::try_join!(tell, verify).map(drop)
    }
}

impl fmt::Debug for RemoteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteView").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Checks that another node can be asked it.
fn check(query: &Query) -> Result<()> {
    query.check()?;
    let by_role = |index: &&Index| index.field == Field::Role;
    let start = match &query.select {
        Select::Match { index, .. } | Select::From(index) => Some(index),
        Select::All => None,
    };
    match start.into_iter().chain(&query.to).find(by_role) {
        None => Ok(()),
        Some(index) => {
            let message = format!(
                "query: `{index}`: another node's view cannot be asked for roles, which each node \
                 knows by itself: ask this node's own view, or look there for the peers that you \
                 find"
            );
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

/// The same query for a node that doesn't mind where it is to end: what it then
/// gives too much comes last, or is told by its fields.
fn portable(query: &Query) -> Query {
    let select = match (&query.select, &query.to) {
        // The order is that of the end's field.
        (Select::All, Some(to)) if !query.reverse => {
            Select::From(Index::new(to.field, String::new()))
        }
        (select, _) => select.clone(),
    };
    Query { select, ..query.clone() }
}

/// All that a reversed query finds, and perhaps more, in some order.
fn forward(query: &Query) -> Query {
    let all = Query { limit: None, reverse: false, ..query.clone() };
    let select = match (query.select.clone(), query.range()) {
        (found @ Select::Match { .. }, _) => found,
        (_, Some(range)) if range.field != Field::Peer || !range.low.is_empty() => {
            let low = String::from_utf8_lossy(range.low).into_owned();
            Select::From(Index::new(range.field, low))
        }
        _ => Select::All,
    };
    Query { select, to: None, ..all }
}

/// Takes all records that the query finds, and puts them in its order.
async fn keep(
    query: &Query,
    mut records: mpsc::Receiver<Record>,
    most: usize,
) -> Result<Vec<Record>> {
    let mut kept = Vec::new();
    while let Some(record) = records.recv().await {
        if let Some(position) = Position::of(query, &record) {
            if kept.len() == most {
                let message = format!("more than {most} records would have to be put in order");
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            kept.push((position, record));
        }
    }
    kept.sort_by(|(a, _), (b, _)| b.cmp(a));
    Ok(kept.into_iter().map(|(_, record)| record).collect())
}

/// The view that goes the query's way.
fn directed(view: view::Client, query: &Query) -> view::Client {
    if query.reverse { view.reverse_request().send().pipeline.get_view() } else { view }
}

pub(super) async fn lookup(view: view::Client, query: Query) -> capnp::Result<Option<Told>> {
    let mut request = view.lookup_request();
    let mut params = request.get();
    wire::write_selector(&query, params.reborrow().init_selector())?;
    wire::write_constraints(&query, params.init_constraints(wire::constraints(&query)))?;
    let response = request.send().promise.await?;
    match response.get()?.get_result()?.which()? {
        view::maybe_record::Nothing(()) => Ok(None),
        view::maybe_record::Just(record) => {
            wire::read_record(record?).map(Some).map_err(|e| capnp::Error::failed(e.to_string()))
        }
    }
}

pub(super) async fn iterate(
    view: view::Client,
    query: Query,
    records: mpsc::Sender<Told>,
) -> capnp::Result<()> {
    let handler: view::handler::Client = new_client(Handler { records });
    let mut request = directed(view, &query).iter_request();
    let mut params = request.get();
    params.set_handler(handler.clone());
    wire::write_selector(&query, params.reborrow().init_selector())?;
    wire::write_constraints(&query, params.init_constraints(wire::constraints(&query)))?;
    request.send().promise.await?;
    // The answer may overtake records that are not taken yet. A call of our
    // own, though of nothing, takes its place behind them.
    use capnp::any_pointer::Owned;
    let behind = handler.client.new_call::<Owned, Owned>(0, 0, None);
    let _ = behind.send().promise.await;
    Ok(())
}

/// Takes the records that another node sends, one after the other.
struct Handler {
    records: mpsc::Sender<Told>,
}

impl view::handler::Server for Handler {
    async fn recv(self: Rc<Self>, params: view::handler::RecvParams) -> capnp::Result<()> {
        let record = match wire::read_record(params.get()?.get_record()?) {
            Ok(record) => record,
            Err(error) => {
                // One bad record is not the end of the others.
                tracing::debug!(%error, "a record of a remote view is left out");
                return Ok(());
            }
        };
        drop(params);
        let gone = |_| capnp::Error::failed("the query was called off".into());
        self.records.send(record).await.map_err(gone)
    }
}

/// What a query finds, of all that comes. Go's nodes don't mind limits and
/// ends, and send a record once for each of its keys.
struct Filter {
    query: Query,
    left: usize,
    /// Set where a record can come more than once.
    seen: Option<HashSet<PeerId>>,
    /// How many of these there may be.
    most: usize,
}

impl Filter {
    fn new(query: Query, most: usize) -> Self {
        let repeats = query.range().is_some_and(|r| r.field.is_many() && !r.is_single());
        let (left, seen) = (query.limit.unwrap_or(usize::MAX), repeats.then(HashSet::new));
        Self { query, left, seen, most }
    }

    fn takes(&mut self, record: &Record) -> Result<bool> {
        if !self.query.matches(record) {
            return Ok(false);
        }
        if let Some(seen) = &mut self.seen {
            if !seen.insert(record.peer()) {
                return Ok(false);
            }
            if seen.len() > self.most {
                let message = format!("the remote view has more than {} records", self.most);
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
        }
        self.left = self.left.saturating_sub(1);
        Ok(true)
    }
}

/// The records that a query finds in the view of another node: a stream, which
/// ends after the last record or the first error.
#[must_use = "nothing is asked before the first record is"]
pub struct RemoteRecords {
    filter: Filter,
    records: mpsc::Receiver<Record>,
    driver: Option<BoxFuture<'static, Result<()>>>,
    done: bool,
}

impl RemoteRecords {
    /// The next record; `None` after the last one.
    pub async fn next(&mut self) -> Option<Result<Record>> {
        StreamExt::next(self).await
    }

    fn end(&mut self) {
        self.done = true;
        self.driver = None;
        self.records.close();
    }
}

impl Stream for RemoteRecords {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        if this.filter.left == 0 {
            this.end();
            return Poll::Ready(None);
        }
        let mut failed = None;
        if let Some(driver) = &mut this.driver
            && let Poll::Ready(result) = driver.poll_unpin(cx)
        {
            this.driver = None;
            failed = result.err();
        }
        if let Some(error) = failed {
            this.end();
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let Some(record) = ready!(this.records.poll_recv(cx)) else {
                // All senders are gone, so the driver has said all it had to.
                match &mut this.driver {
                    Some(driver) => {
                        let result = ready!(driver.poll_unpin(cx));
                        this.end();
                        return Poll::Ready(result.err().map(Err));
                    }
                    None => {
                        this.end();
                        return Poll::Ready(None);
                    }
                }
            };
            match this.filter.takes(&record) {
                Ok(true) => return Poll::Ready(Some(Ok(record))),
                Ok(false) => continue,
                Err(error) => {
                    this.end();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl fmt::Debug for RemoteRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRecords").field("query", &self.filter.query).finish_non_exhaustive()
    }
}
