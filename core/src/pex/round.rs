//! What to make of the records that came in a round.

use super::{
    codec::Raw,
    error::RoundError,
    network::networks,
    view::{Gossip, Record},
};
use crate::{
    cache::cache,
    dials::{Hearing, sensible},
    metrics::ByLabel,
    prefix::Prefix,
    record::{RecordError, SignedRecord},
};
use libp2p::PeerId;
use lru::LruCache;
use std::{
    hash::Hash,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

/// The highest hop that is believed. Each adds at least a few seconds to a
/// record's age: who tells more is lying.
const MAX_HOP: u64 = 1 << 20;

impl Record for SignedRecord {
    type Id = PeerId;

    fn id(&self) -> PeerId {
        self.peer()
    }

    fn seq(&self) -> u64 {
        SignedRecord::seq(self)
    }

    fn networks(&self) -> impl Iterator<Item = impl Hash> {
        networks(&self.info().addrs, self.met())
    }

    fn learn(&mut self, other: &Self) -> bool {
        let before = self.met();
        self.meet(other.met());
        self.met() != before
    }
}

/// Records that were verified lately: the same ones come again and again, and a
/// signature costs more than everything else about them.
#[derive(Debug)]
pub(super) struct Verifier(Mutex<LruCache<Box<[u8]>, SignedRecord>>);

impl Default for Verifier {
    fn default() -> Self {
        let many = NonZeroUsize::new(512).expect("not zero");
        Self(Mutex::new(cache(many)))
    }
}

impl Verifier {
    fn decode(&self, envelope: &[u8]) -> Result<SignedRecord, RecordError> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = lock().get(envelope) {
            return Ok(record.clone());
        }
        let record = SignedRecord::decode(envelope)?;
        lock().put(envelope.into(), record.clone());
        Ok(record)
    }
}

/// What a peer told, verified.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The peer's own record.
    pub(super) sender: SignedRecord,
    /// What it knows of others, one record for each.
    pub(super) others: Vec<Gossip<SignedRecord>>,
    /// Why some records were skipped.
    pub(super) skipped: Vec<&'static str>,
}

impl Told {
    /// Keeps the addresses that are sensible where this was told. What is told
    /// on stays whole. A peer that has none left cannot be reached by this
    /// node.
    pub(super) fn keep_sensible(&mut self, from: Hearing, skipped: &ByLabel) {
        let keep = |record: &SignedRecord| {
            record.with_addrs(sensible(&record.info().addrs, from, skipped))
        };
        self.sender = keep(&self.sender);
        let before = self.others.len();
        self.others.iter_mut().for_each(|gossip| gossip.record = keep(&gossip.record));
        self.others.retain(|gossip| !gossip.record.info().addrs.is_empty());
        self.skipped.extend((self.others.len()..before).map(|_| "no-address"));
    }

    /// Notes of those that were met from where they are.
    pub(super) fn meet(&mut self, network: impl Fn(&PeerId) -> Option<Prefix>) {
        let others = self.others.iter_mut().map(|gossip| &mut gossip.record);
        for record in others.chain([&mut self.sender]) {
            record.meet(network(&record.peer()));
        }
    }
}

/// Verifies what the peer at the other end of a stream told.
///
/// The last record must be its own, with hop 0, or the round is refused whole.
/// Any other bad record is skipped. Of several records of a peer the higher
/// sequence number counts, then the lower hop.
pub(super) fn judge(
    mut raw: Vec<Raw>,
    peer: PeerId,
    verifier: &Verifier,
) -> Result<Told, RoundError> {
    let last = raw.pop().ok_or(RoundError::Empty)?;
    let sender = verifier.decode(&last.envelope).map_err(|_| RoundError::Sender)?;
    if last.hop != 0 || sender.peer() != peer {
        return Err(RoundError::Sender);
    }
    let mut told = Told { sender, others: Vec::new(), skipped: Vec::new() };
    for Raw { hop, envelope } in raw {
        let age = u32::try_from(hop).ok().filter(|_| (1..=MAX_HOP).contains(&hop));
        let Some(hop) = age else {
            told.skipped.push(if hop == 0 { "no-hop" } else { "absurd-hop" });
            continue;
        };
        let record = match verifier.decode(&envelope) {
            Ok(record) if record.peer() == peer => {
                told.skipped.push("own-again");
                continue;
            }
            Ok(record) if record.info().addrs.is_empty() => {
                told.skipped.push("no-address");
                continue;
            }
            Ok(record) => record,
            Err(error) => {
                told.skipped.push(error.label());
                continue;
            }
        };
        let gossip = Gossip { record, hop };
        let known = told.others.iter_mut().find(|g| g.record.peer() == gossip.record.peer());
        match known {
            None => told.others.push(gossip),
            Some(known) => {
                told.skipped.push("duplicate");
                let order = |g: &Gossip<SignedRecord>| (std::cmp::Reverse(g.record.seq()), g.hop);
                if order(&gossip) < order(known) {
                    *known = gossip;
                }
            }
        }
    }
    Ok(told)
}
