//! What a partner hands over: verified, and put in the table.

use super::{
    exchange::{BATCH, Done, Exchange, MAX_BYTES, MAX_HANDED, MAX_PUSHED, Purpose, WORTH},
    items::short_id,
    wire::{self, Frame, SyncError},
};
use crate::{
    admit::wire::MAX_ITEMS,
    cluster::{Handed, Outcome, Table, heartbeat::Heartbeat},
    pubsub::{keys::Keys, signed::SignedMessage},
};
use futures::AsyncRead;
use libp2p::PeerId;
use std::{collections::HashMap, time::Duration};

impl Exchange {
    /// Takes the heartbeats that the other node sends; the first frame may have
    /// been read already.
    pub(super) async fn receive(
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
                || self.heard().get(&short_id(&source), now).is_some_and(|last| last >= seq)
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
                self.heard().note(short_id(&source), seq, now);
            }
        }
        let received = outcomes.iter().flatten().filter(|outcome| outcome.is_accepted()).count();
        let own = outcomes.contains(&Ok(Outcome::OwnAhead));
        Ok(Done { received, joined, own, ..Done::default() })
    }
}
