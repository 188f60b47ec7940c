//! One exchange, on any stream.

use super::{
    digest::{Digest, DigestDifference, ShortId},
    heard::Heard,
    meter::Meter,
    wire::{self, Frame, Header, SyncError},
};
use crate::{
    Namespace,
    admit::wire::MAX_ITEMS,
    cluster::{Cluster, Handed, Outcome, Table, View, heartbeat::Heartbeat},
    pubsub::{keys::Keys, signed::SignedMessage},
    record::unix_nanos,
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future::BoxFuture};
use libp2p::PeerId;
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

/// Heartbeats that one side hands over in an exchange, goodbyes that it pushes,
/// and their bytes.
pub(super) const MAX_HANDED: usize = 4096;
pub(super) const MAX_PUSHED: usize = 1024;
const MAX_BYTES: usize = 4 << 20;
/// Heartbeats that are verified in one go, and bytes written in one. (The buffers
/// of a connection keep the size of the longest write.)
const BATCH: usize = 16;
const CHUNK: usize = 2 << 10;
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

    /// Opens an exchange with a node about the peers from `first` on. Gives where
    /// the next one is to begin.
    pub(super) async fn open(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        first: ShortId,
    ) -> Result<(Done, ShortId), SyncError> {
        let meter = Meter::default();
        meter.limit(self.compare(other, meter.on(stream), first, &meter)).await
    }

    async fn compare(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        first: ShortId,
        meter: &Meter,
    ) -> Result<(Done, ShortId), SyncError> {
        let (mut reader, mut writer) = stream.split();
        let heard = self.heard().all(self.cluster.elapsed());
        let digest = Digest::with(&self.cluster.view(), heard.into_iter(), first);
        let next = digest.next();
        wire::write(&mut writer, &[header(), Frame::Digest(digest)]).await?;
        self.greeted(other, &mut reader).await?;
        let Frame::Wanted(wanted) = wire::read(&mut reader).await? else {
            return Err(SyncError::Unexpected);
        };
        let mut wanted: HashSet<_> = wanted.into_iter().collect();
        if !(self.may_have)(other) {
            wanted.clear();
        }
        let view = self.cluster.view();
        let known = view.known().map(|(peer, _)| peer);
        let wanted = known.filter(|peer| wanted.contains(&Digest::id(peer))).collect();
        let (received, sent) = futures::future::try_join(
            self.receive(other, &mut reader, Purpose::Compare, None),
            self.send(other, &mut writer, &view, wanted, meter),
        )
        .await?;
        Ok((received.with(sent), next))
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
        of: Vec<PeerId>,
        meter: &Meter,
    ) -> Result<Done, SyncError> {
        let (mut reader, mut writer) = stream.split();
        wire::write(&mut writer, &[header()]).await?;
        let sent = self.send(other, &mut writer, view, of, meter).await?;
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
        self.greeted(other, &mut reader).await?;
        let digest = match wire::read(&mut reader).await? {
            Frame::Digest(digest) => digest,
            first @ (Frame::Handed(..) | Frame::End { .. }) => {
                let _turn = meter.pardon(PATIENCE, admit(Purpose::Push)).await?;
                let push = async {
                    let done = self.receive(other, &mut reader, Purpose::Push, Some(first)).await?;
                    wire::write(&mut writer, &[header(), Frame::End { more: false }]).await?;
                    writer.close().await?;
                    Ok(done)
                };
                return timeout(PUSH, push).await.unwrap_or(Err(SyncError::Timeout));
            }
            _ => return Err(SyncError::Unexpected),
        };
        let _turn = meter.pardon(PATIENCE, admit(Purpose::Compare)).await?;
        let view = self.cluster.view();
        let DigestDifference { newer, mut older } =
            digest.compare_with(&view, &self.heard(), self.cluster.elapsed());
        older.truncate(MAX_HANDED);
        wire::write(&mut writer, &[header(), Frame::Wanted(older)]).await?;
        // It knows what it wants of us only by its own view: so do we of it.
        let (received, sent) = futures::future::try_join(
            self.receive(other, &mut reader, Purpose::Compare, None),
            self.send(other, &mut writer, &view, newer, meter),
        )
        .await?;
        Ok(received.with(sent))
    }

    /// Reads what the other side says of itself.
    async fn greeted(
        &self,
        other: PeerId,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), SyncError> {
        let Frame::Header(Header { time }) = wire::read(reader).await? else {
            return Err(SyncError::Unexpected);
        };
        if let Some(time) = time {
            (self.time_of)(other, time);
        }
        Ok(())
    }

    /// Sends the signed heartbeats of these peers, as far as an exchange goes.
    async fn send(
        &self,
        other: PeerId,
        writer: &mut (impl AsyncWrite + Unpin),
        view: &View,
        mut peers: Vec<PeerId>,
        meter: &Meter,
    ) -> Result<Done, SyncError> {
        // From anywhere: who exchanges with several nodes at once gets different
        // heartbeats first from each, and verifies few of them more than once.
        let from = rand::random_range(0..peers.len().max(1));
        peers.rotate_left(from);
        let now = self.cluster.elapsed();
        let (mut sent, mut bytes, mut chunk, mut more) = (0, 0, Vec::new(), false);
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

    /// Takes the heartbeats that the other node sends; the first frame may have
    /// been read already.
    async fn receive(
        &self,
        other: PeerId,
        reader: &mut (impl AsyncRead + Unpin),
        purpose: Purpose,
        mut first: Option<Frame>,
    ) -> Result<Done, SyncError> {
        let (mut done, mut count, mut bytes) = (Done::default(), 0, 0);
        let (mut batch, mut full) = (Vec::new(), false);
        let most = if purpose == Purpose::Push { MAX_PUSHED } else { MAX_HANDED };
        loop {
            let frame = match first.take() {
                Some(frame) => frame,
                None => wire::read(reader).await?,
            };
            let end = match frame {
                Frame::Handed(age, message) => {
                    count += 1;
                    bytes += message.len();
                    if count > most || bytes > MAX_BYTES {
                        return Err(SyncError::TooMany);
                    }
                    batch.push((age, message));
                    None
                }
                Frame::End { more } => Some(more),
                _ => return Err(SyncError::Unexpected),
            };
            // Certificates are fetched for all of a batch at once.
            let together = if self.prove.is_some() { MAX_ITEMS } else { BATCH };
            if end.is_some() || batch.len() == together {
                let batch = std::mem::take(&mut batch);
                done = done.with(self.take(other, batch, purpose, &mut full).await?);
            }
            if let Some(more) = end {
                // Whoever says so without end would be exchanged with without end.
                let much = count == MAX_HANDED || bytes > MAX_BYTES - Table::MAX_SIGNED;
                return Ok(Done { more: more && much && done.received >= WORTH, ..done });
            }
        }
    }

    /// Verifies heartbeats and puts them in the table. One whose signature is
    /// wrong ends the exchange: an honest node has none. Once the table is full,
    /// also of what this partner may hand over, strangers are passed over.
    async fn take(
        &self,
        other: PeerId,
        batch: Vec<(Duration, Vec<u8>)>,
        purpose: Purpose,
        full: &mut bool,
    ) -> Result<Done, SyncError> {
        if let Some(prove) = &self.prove {
            let sources = batch.iter().filter_map(|(_, signed)| {
                SignedMessage::decode(signed).ok().map(|message| message.source())
            });
            prove(other, sources.collect()).await;
        }
        let mut handed: HashMap<PeerId, Handed> = HashMap::new();
        for (age, signed) in batch {
            let message = SignedMessage::decode(&signed).map_err(|_| SyncError::Forged)?;
            // What is no news is not worth a verification.
            let (source, seq) = (message.source(), message.seq());
            let now = self.cluster.elapsed();
            let last = self.cluster.view().last_seq(&source);
            let known = last.is_some_and(|last| last >= seq)
                || self.heard().get(&Digest::id(&source), now).is_some_and(|last| last >= seq)
                || handed.get(&source).is_some_and(|other| other.seq >= seq);
            let refused = self.cluster.refuses(&source);
            if refused
                || known
                || message.data().len() > Heartbeat::MAX_LEN
                || (*full && last.is_none())
            {
                continue;
            }
            let leaves = || Heartbeat::decode(message.data()).is_ok_and(|beat| beat.ttl.is_none());
            if purpose == Purpose::Push && !leaves() {
                return Err(SyncError::Unexpected);
            }
            if !(self.may_verify)(other, purpose) {
                return Err(SyncError::Refused("refused-signatures"));
            }
            // Gossip hears of these sources too.
            message.verify(Keys::shared()).map_err(|_| SyncError::Forged)?;
            if message.topic() != self.namespace.as_str() {
                return Err(SyncError::Forged);
            }
            // Nothing that somebody put beside the message is handed on.
            let (data, signed) = (message.data().to_vec(), message.encoded().to_vec());
            handed.insert(source, Handed { source, seq, data, signed, age });
            tokio::task::yield_now().await;
        }
        if handed.is_empty() {
            return Ok(Done::default());
        }
        let handed: Vec<_> = handed.into_values().collect();
        let said: Vec<_> = handed.iter().map(|handed| (handed.source, handed.seq)).collect();
        let outcomes =
            self.cluster.insert_verified(other, handed).await.map_err(|_| SyncError::Closed)?;
        let (view, now) = (self.cluster.view(), self.cluster.elapsed());
        let mut joined = 0;
        for ((source, seq), outcome) in said.into_iter().zip(&outcomes) {
            joined += usize::from(*outcome == Ok(Outcome::Joined) && source != other);
            *full |= matches!(outcome, Ok(Outcome::Full | Outcome::Share));
            // What is over, and not kept, isn't wanted again.
            let over = matches!(outcome, Ok(Outcome::Left | Outcome::Replayed));
            if over && view.last_seq(&source).is_none() {
                self.heard().note(Digest::id(&source), seq, now);
            }
        }
        let received = outcomes.iter().flatten().filter(|outcome| outcome.is_accepted()).count();
        let own = outcomes.contains(&Ok(Outcome::OwnAhead));
        Ok(Done { received, joined, own, ..Done::default() })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this node says of itself.
fn header() -> Frame {
    Frame::Header(Header { time: Some(unix_nanos() / 1_000_000) })
}
