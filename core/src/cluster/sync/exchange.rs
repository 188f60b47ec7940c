//! One exchange, on any stream.

use super::{
    heard::Heard,
    items::{Items, ShortId, short_id},
    meter::Meter,
    reconcile::{Found, Reconcile},
    sums::Key,
    wire::{self, Frame, Header, MAX_IDS, SyncError},
};
use crate::{
    Namespace,
    cluster::{Cluster, View},
    record::unix_nanos,
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future::BoxFuture};
use libp2p::PeerId;
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

/// Heartbeats that one side hands over in an exchange, goodbyes that it pushes,
/// and their bytes.
pub(super) const MAX_HANDED: usize = 4096;
pub(super) const MAX_PUSHED: usize = 1024;
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Heartbeats that are verified in one go, and bytes written in one. (The buffers
/// of a connection keep the size of the longest write.)
pub(super) const BATCH: usize = 16;
const CHUNK: usize = 2 << 10;
/// Until the next frame of a comparison comes a partner is not blamed for so long:
/// there may be little to move, and a long way.
const ROUND: Duration = Duration::from_secs(1);
/// Of so many that a partner lacks, and more than half of all, it is new itself:
/// that it lacks this node says nothing.
const NEW: usize = 64;
/// How much news an exchange brings at least that another follows for more.
pub(super) const WORTH: usize = 32;
/// How long a partner waits for its turn at most: it gives up by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a push may take, as long as who pushes waits.
pub(super) const PUSH: Duration = Duration::from_secs(5);

/// What became of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Heartbeats that were handed over, as far as they were news.
    pub(super) received: usize,
    /// Those of peers that were not known, the other node left aside.
    pub(super) joined: usize,
    /// Whether one came back in this node's own name that it did not send.
    pub(super) own: bool,
    /// Heartbeats that were sent.
    pub(super) sent: usize,
    /// Whether another exchange is worth its while: there was more than fits in
    /// one, and what came was as much as fits, and brought news.
    pub(super) more: bool,
}

impl Done {
    /// What became of both directions.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            joined: self.joined + other.joined,
            own: self.own || other.own,
            sent: self.sent + other.sent,
            more: self.more || other.more,
        }
    }
}

/// What a partner has opened an exchange for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To compare what both have.
    Compare,
    /// To tell what it has just heard.
    Push,
}

/// What both sides of an exchange need.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) cluster: Cluster,
    pub(super) namespace: Namespace,
    heard: Arc<Mutex<Heard>>,
    /// Told what time it is where a partner is, in ms since 1970.
    pub(super) time_of: Arc<dyn Fn(PeerId, u64) + Send + Sync>,
    /// Told how many bytes a partner is handed: gives how long to wait before.
    pub(super) hand: Arc<dyn Fn(PeerId, usize) -> Duration + Send + Sync>,
    /// Whether a partner may be handed anything.
    pub(super) may_have: Arc<dyn Fn(PeerId) -> bool + Send + Sync>,
    /// Whether another signature that a partner hands over is checked.
    pub(super) may_verify: Arc<dyn Fn(PeerId, Purpose) -> bool + Send + Sync>,
    /// Where members have certificates: fetches those of sources from a partner.
    pub(super) prove: Option<Prove>,
}

/// Waits until the certificates of these sources are here, or a partner has none.
pub(super) type Prove = Arc<dyn Fn(PeerId, Vec<PeerId>) -> BoxFuture<'static, ()> + Send + Sync>;

impl Exchange {
    pub(super) fn new(cluster: Cluster, namespace: Namespace) -> Self {
        let (time_of, hand) = (Arc::new(|_, _| ()), Arc::new(|_, _| Duration::ZERO));
        let heard = Arc::default();
        let (may_have, may_verify) = (Arc::new(|_| true), Arc::new(|_, _| true));
        let prove = None;
        Self { cluster, namespace, heard, time_of, hand, may_have, may_verify, prove }
    }

    /// Opens an exchange with a node.
    pub(super) async fn open(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<Done, SyncError> {
        let meter = Meter::default();
        meter.limit(self.compare(other, meter.on(stream), &meter)).await
    }

    async fn compare(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        meter: &Meter,
    ) -> Result<Done, SyncError> {
        let (reader, writer) = stream.split();
        let key: Key = rand::random();
        let mut side = self.side(&other, &key);
        let say = vec![header(Some(key)), Frame::Ranges(side.begin())];
        self.even_out(other, (reader, writer), (side, say), false, meter).await
    }

    /// Tells a node of goodbyes, and waits until it has taken them.
    pub(super) async fn push(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        view: &View,
        of: Vec<PeerId>,
    ) -> Result<Done, SyncError> {
        let meter = Meter::default();
        meter.limit(self.tell(other, meter.on(stream), view, of, &meter)).await
    }

    async fn tell(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        view: &View,
        mut of: Vec<PeerId>,
        meter: &Meter,
    ) -> Result<Done, SyncError> {
        let (mut reader, mut writer) = stream.split();
        wire::write(&mut writer, &[header(None)]).await?;
        turn(&mut of);
        let sent = self.send(other, &mut writer, view, (of, false), meter).await?;
        self.greeted(other, &mut reader).await?;
        match wire::read(&mut reader).await? {
            Frame::End { .. } => Ok(sent),
            _ => Err(SyncError::Unexpected),
        }
    }

    /// Takes part in an exchange that another node has opened. Once it has said
    /// what for, `admit` gives it its turn within [`PATIENCE`], or refuses.
    pub(super) async fn accept<T, A: Future<Output = Result<T, SyncError>>>(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        admit: impl FnOnce(Purpose) -> A,
    ) -> Result<Done, SyncError> {
        let meter = Meter::default();
        meter.limit(self.answer(other, meter.on(stream), admit, &meter)).await
    }

    async fn answer<T, A: Future<Output = Result<T, SyncError>>>(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        admit: impl FnOnce(Purpose) -> A,
        meter: &Meter,
    ) -> Result<Done, SyncError> {
        let (mut reader, mut writer) = stream.split();
        let Header { key, .. } = self.greeted(other, &mut reader).await?;
        let (key, first) = match (wire::read(&mut reader).await?, key) {
            (Frame::Ranges(first), Some(key)) => (key, first),
            (first @ (Frame::Handed(..) | Frame::End { .. }), _) => {
                let _turn = meter.pardon(PATIENCE, admit(Purpose::Push)).await?;
                let push = async {
                    let done = self.receive(other, &mut reader, Purpose::Push, Some(first)).await?;
                    wire::write(&mut writer, &[header(None), Frame::End { more: false }]).await?;
                    writer.close().await?;
                    Ok(done)
                };
                return timeout(PUSH, push).await.unwrap_or(Err(SyncError::Timeout));
            }
            _ => return Err(SyncError::Unexpected),
        };
        let _turn = meter.pardon(PATIENCE, admit(Purpose::Compare)).await?;
        let mut side = self.side(&other, &key);
        let answer = side.take(&first, rand::random())?.map(Frame::Ranges);
        let say = [header(None)].into_iter().chain(answer).collect();
        self.even_out(other, (reader, writer), (side, say), true, meter).await
    }

    /// What this node has, to be compared with a partner. Of the partner only what is
    /// in the view: one that was removed as crashed is to see that it is missed here,
    /// also if somebody has handed its last heartbeat over since. To others that still
    /// have it nothing is missing, so that none of them hands it over again and again.
    fn side(&self, other: &PeerId, key: &Key) -> Reconcile {
        let (view, other) = (self.cluster.view(), short_id(other));
        let heard = self.heard().all(self.cluster.elapsed());
        let heard = heard.into_iter().filter(|(id, _)| *id != other);
        let known = view.known().map(|(peer, seq)| (short_id(&peer), seq));
        Reconcile::new(Items::new(known, heard, key))
    }

    /// Finds what each side lacks, and hands over what is of use to the other one.
    /// `say`: what is to be sent next; `greeted`: whether the other one's header was
    /// read.
    async fn even_out(
        &self,
        other: PeerId,
        (mut reader, mut writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
        (mut side, mut say): (Reconcile, Vec<Frame>),
        mut greeted: bool,
        meter: &Meter,
    ) -> Result<Done, SyncError> {
        let known = side.known();
        while !side.is_over() {
            wire::write(&mut writer, &say).await?;
            if !std::mem::replace(&mut greeted, true) {
                self.greeted(other, &mut reader).await?;
            }
            meter.excuse(ROUND);
            let Frame::Ranges(said) = wire::read(&mut reader).await? else {
                return Err(SyncError::Unexpected);
            };
            say = side.take(&said, rand::random())?.map(Frame::Ranges).into_iter().collect();
        }
        let Found { hand, mut want, mut left } = side.found();
        turn(&mut want);
        left |= want.len() > MAX_IDS;
        want.truncate(MAX_IDS);
        say.push(Frame::Wanted(want));
        // Both sides say it at the same time: none waits until the other one has read.
        let hear = async {
            if !greeted {
                self.greeted(other, &mut reader).await?;
            }
            match wire::read(&mut reader).await? {
                Frame::Wanted(wanted) => Ok(wanted),
                _ => Err(SyncError::Unexpected),
            }
        };
        let (wanted, ()) = futures::future::try_join(hear, wire::write(&mut writer, &say)).await?;
        let hand = self.to_hand(other, known, [hand, wanted].concat());
        let view = self.cluster.view();
        let (received, sent) = futures::future::try_join(
            self.receive(other, &mut reader, Purpose::Compare, None),
            self.send(other, &mut writer, &view, some_of(&view, hand), meter),
        )
        .await?;
        let done = received.with(sent);
        // The next one finds less to compare.
        Ok(Done { more: done.more || (left && done.received.max(done.sent) >= WORTH), ..done })
    }

    /// Whose heartbeats are handed to a partner that lacks these, of so many that are
    /// known here.
    fn to_hand(&self, other: PeerId, known: usize, mut hand: Vec<ShortId>) -> Vec<ShortId> {
        hand.sort_unstable();
        hand.dedup();
        let new = hand.len() > NEW && hand.len() > known / 2;
        if !new && hand.binary_search(&short_id(&self.cluster.own())).is_ok() {
            self.cluster.is_missed();
        }
        if !(self.may_have)(other) {
            hand.clear();
        }
        hand
    }

    /// Reads what the other side says of itself.
    async fn greeted(
        &self,
        other: PeerId,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<Header, SyncError> {
        let Frame::Header(header) = wire::read(reader).await? else {
            return Err(SyncError::Unexpected);
        };
        if let Some(time) = header.time {
            (self.time_of)(other, time);
        }
        Ok(header)
    }

    /// Sends the signed heartbeats of these peers, as far as an exchange goes; and
    /// says whether there are more.
    async fn send(
        &self,
        other: PeerId,
        writer: &mut (impl AsyncWrite + Unpin),
        view: &View,
        (peers, mut more): (Vec<PeerId>, bool),
        meter: &Meter,
    ) -> Result<Done, SyncError> {
        let now = self.cluster.elapsed();
        let (mut sent, mut bytes, mut chunk) = (0, 0, Vec::new());
        for signed in peers.iter().filter_map(|peer| view.proof_of(peer)) {
            bytes += signed.message.len();
            if sent == MAX_HANDED || bytes > MAX_BYTES {
                more = true;
                break;
            }
            let age = now.saturating_sub(signed.received).saturating_add(signed.age);
            wire::push_handed(age, signed.message, &mut chunk);
            sent += 1;
            if chunk.len() >= CHUNK {
                self.wait_for_turn(other, chunk.len(), meter).await;
                writer.write_all(&chunk).await?;
                chunk.clear();
            }
        }
        Frame::End { more }.push(&mut chunk);
        self.wait_for_turn(other, chunk.len(), meter).await;
        writer.write_all(&chunk).await?;
        writer.close().await?;
        Ok(Done { sent, more, ..Done::default() })
    }

    /// Waits until so many bytes may be handed over.
    async fn wait_for_turn(&self, other: PeerId, bytes: usize, meter: &Meter) {
        let wait = (self.hand)(other, bytes);
        if !wait.is_zero() {
            meter.excuse(wait);
            tokio::time::sleep(wait).await;
        }
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this node says of itself; with the key of the sums if it is to compare.
fn header(key: Option<Key>) -> Frame {
    Frame::Header(Header { time: Some(unix_nanos() / 1_000_000), key })
}

/// Has a list begin anywhere: who exchanges with several nodes at once gets different
/// heartbeats first from each, and verifies few of them more than once.
fn turn<T>(list: &mut [T]) {
    let from = rand::random_range(0..list.len().max(1));
    list.rotate_left(from);
}

/// The peers with these ids, as many as an exchange may hand over, and whether there
/// are more. In the order of their ids: so what is left for the next exchange lies
/// together.
fn some_of(view: &View, mut ids: Vec<ShortId>) -> (Vec<PeerId>, bool) {
    turn(&mut ids);
    let more = ids.len() > MAX_HANDED;
    ids.truncate(MAX_HANDED);
    if ids.is_empty() {
        return (vec![], more);
    }
    let places: HashMap<_, _> = ids.into_iter().zip(0_usize..).collect();
    let known = view.known().map(|(peer, _)| peer);
    let mut peers: Vec<_> =
        known.filter_map(|peer| Some((*places.get(&short_id(&peer))?, peer))).collect();
    peers.sort_unstable_by_key(|(place, _)| *place);
    (peers.into_iter().map(|(_, peer)| peer).collect(), more)
}
