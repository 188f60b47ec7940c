//! One exchange, on any stream.

use super::{
    digest::{Digest, DigestDifference, ShortId},
    wire::{self, Item, SyncError},
};
use crate::{
    Namespace,
    cluster::{Cluster, Handed, Outcome, View, heartbeat::Heartbeat},
    pubsub::{keys::Keys, signed::SignedMessage},
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Heartbeats that one side hands over in an exchange, and their bytes.
pub(super) const MAX_HANDED: usize = 4096;
const MAX_BYTES: usize = 4 << 20;
/// Heartbeats that are verified in one go, and bytes written in one. (The buffers
/// of a connection keep the size of the longest write.)
const BATCH: usize = 16;
const CHUNK: usize = 4 << 10;

/// What became of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Heartbeats that were handed over, as far as they were news.
    pub(super) received: usize,
    /// Those of peers that were not known, the other node left aside.
    pub(super) joined: usize,
    /// Heartbeats that were sent.
    pub(super) sent: usize,
    /// Whether there was more than fits in one exchange.
    pub(super) more: bool,
}

impl Done {
    /// What became of both directions.
    fn with(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            joined: self.joined + other.joined,
            sent: self.sent + other.sent,
            more: self.more || other.more,
        }
    }
}

/// What both sides of an exchange need.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) cluster: Cluster,
    pub(super) namespace: Namespace,
    pub(super) keys: Arc<Keys>,
}

impl Exchange {
    /// Opens an exchange with a node about the peers from `first` on. Gives where
    /// the next one is to begin.
    pub(super) async fn open(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        first: ShortId,
    ) -> Result<(Done, ShortId), SyncError> {
        let (mut reader, mut writer) = stream.split();
        let digest = Digest::of(&self.cluster.view(), first);
        wire::write_frame(&mut writer, &wire::encode_digest(&digest)).await?;
        let wanted = wire::decode_ids(&wire::read_list(&mut reader).await?)?;
        let wanted: HashSet<_> = wanted.into_iter().collect();
        let view = self.cluster.view();
        let wanted: Vec<_> = view
            .signed()
            .map(|signed| signed.peer)
            .filter(|peer| wanted.contains(&Digest::id(peer)))
            .collect();
        let (received, sent) = futures::future::try_join(
            self.receive(other, &mut reader),
            self.send(&mut writer, &view, wanted),
        )
        .await?;
        Ok((received.with(sent), digest.next()))
    }

    /// Takes part in an exchange that another node has opened.
    pub(super) async fn accept(
        &self,
        other: PeerId,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<Done, SyncError> {
        let (mut reader, mut writer) = stream.split();
        let digest = wire::decode_digest(&wire::read_list(&mut reader).await?)?;
        let view = self.cluster.view();
        let DigestDifference { newer, mut older } = digest.compare(&view);
        older.truncate(MAX_HANDED);
        wire::write_frame(&mut writer, &wire::encode_ids(&older)).await?;
        // It knows what it wants of us only by its own view: so do we of it.
        let (received, sent) = futures::future::try_join(
            self.receive(other, &mut reader),
            self.send(&mut writer, &view, newer),
        )
        .await?;
        Ok(received.with(sent))
    }

    /// Sends the signed heartbeats of these peers, as far as an exchange goes.
    async fn send(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        view: &View,
        mut peers: Vec<PeerId>,
    ) -> Result<Done, SyncError> {
        // From anywhere: who exchanges with several nodes at once gets different
        // heartbeats first from each, and verifies few of them more than once.
        let from = rand::random_range(0..peers.len().max(1));
        peers.rotate_left(from);
        let now = self.cluster.elapsed();
        let (mut sent, mut bytes, mut chunk, mut more) = (0, 0, Vec::new(), false);
        for signed in peers.iter().filter_map(|peer| view.signed_of(peer)) {
            bytes += signed.message.len();
            if sent == MAX_HANDED || bytes > MAX_BYTES {
                more = true;
                break;
            }
            let age = now.saturating_sub(signed.received).saturating_add(signed.age);
            wire::push_handed(age, signed.message, &mut chunk);
            sent += 1;
            if chunk.len() >= CHUNK {
                writer.write_all(&chunk).await?;
                chunk.clear();
            }
        }
        wire::push_end(more, &mut chunk);
        writer.write_all(&chunk).await?;
        writer.close().await?;
        Ok(Done { sent, more, ..Done::default() })
    }

    /// Takes the heartbeats that the other node sends.
    async fn receive(
        &self,
        other: PeerId,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<Done, SyncError> {
        let (mut done, mut count, mut bytes) = (Done::default(), 0, 0);
        let mut batch = Vec::new();
        loop {
            let item = wire::read_item(reader).await?;
            let end = match item {
                Item::Handed(age, message) => {
                    count += 1;
                    bytes += message.len();
                    if count > MAX_HANDED || bytes > MAX_BYTES {
                        return Err(SyncError::TooMany);
                    }
                    batch.push((age, message));
                    None
                }
                Item::End { more } => Some(more),
            };
            if end.is_some() || batch.len() == BATCH {
                done = done.with(self.take(other, std::mem::take(&mut batch)).await?);
            }
            if let Some(more) = end {
                return Ok(Done { more, ..done });
            }
        }
    }

    /// Verifies heartbeats and puts them in the table. One whose signature is
    /// wrong ends the exchange: an honest node has none.
    async fn take(
        &self,
        other: PeerId,
        batch: Vec<(Duration, Vec<u8>)>,
    ) -> Result<Done, SyncError> {
        let mut handed: HashMap<PeerId, Handed> = HashMap::new();
        for (age, signed) in batch {
            let message = SignedMessage::decode(&signed).map_err(|_| SyncError::Forged)?;
            // What is no news is not worth a verification.
            let source = PeerId::from_bytes(&message.from).map_err(|_| SyncError::Forged)?;
            let seq = message.seqno.first_chunk().map_or(0, |seq| u64::from_be_bytes(*seq));
            let known = self.cluster.view().get(&source).is_some_and(|record| record.seq() >= seq)
                || handed.get(&source).is_some_and(|other| other.seq >= seq);
            if known || message.data.len() > Heartbeat::MAX_LEN {
                continue;
            }
            let verified = message.verify(&self.keys).map_err(|_| SyncError::Forged)?;
            if verified.topic != self.namespace.as_str() {
                return Err(SyncError::Forged);
            }
            let (source, seq, data) = (verified.source, verified.seq, verified.data);
            handed.insert(source, Handed { source, seq, data, signed, age });
            tokio::task::yield_now().await;
        }
        if handed.is_empty() {
            return Ok(Done::default());
        }
        let handed: Vec<_> = handed.into_values().collect();
        let strangers: Vec<_> = handed.iter().map(|handed| handed.source != other).collect();
        let outcomes =
            self.cluster.insert_verified(other, handed).await.map_err(|_| SyncError::Closed)?;
        let joined = |outcome: &&Result<Outcome, _>| matches!(outcome, Ok(Outcome::Joined));
        let of_strangers = outcomes.iter().zip(strangers).filter(|(_, stranger)| *stranger);
        Ok(Done {
            received: outcomes.iter().flatten().filter(|outcome| outcome.is_accepted()).count(),
            joined: of_strangers.map(|(outcome, _)| outcome).filter(joined).count(),
            ..Done::default()
        })
    }
}
