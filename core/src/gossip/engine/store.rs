//! The messages of the last seconds: what is offered, and sent to who asks.

use super::{config, peer::PeerKey, spare::Spare as _};
use crate::{gossip::id::MessageId, pubsub::signed::SignedMessage};
use smallvec::SmallVec;
use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
    mem,
    time::Duration,
};

/// Good messages that were accepted, none for long.
#[derive(Default)]
pub(super) struct Store {
    /// The oldest first.
    kept: VecDeque<Kept>,
    /// Where each is, the first one ever kept being at 0.
    places: HashMap<ById, u64>,
    /// Where the oldest is.
    first: u64,
    bytes: usize,
}

/// A message, found by its id, which stands in it.
struct ById(SignedMessage);

impl Borrow<MessageId> for ById {
    fn borrow(&self) -> &MessageId {
        self.0.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

struct Kept {
    message: SignedMessage,
    at: Duration,
    /// Who has it, or was offered it.
    holders: SmallVec<[PeerKey; 8]>,
    /// Who asked for it, and how often.
    asked: Vec<(PeerKey, u8)>,
}

/// What becomes of it when a peer asks for a message.
pub(super) enum Asked {
    /// It is not there, or not any more.
    Unknown,
    /// It was sent often enough.
    Again,
    Sent(SignedMessage),
}

impl Store {
    /// Keeps a message, and who has it; gives back how many others were forgotten
    /// for it before their time.
    #[must_use]
    pub(super) fn insert(
        &mut self,
        now: Duration,
        message: SignedMessage,
        holders: SmallVec<[PeerKey; 8]>,
    ) -> u64 {
        self.bytes += message.encoded().len();
        let kept = Kept { message, at: now, holders, asked: Vec::new() };
        if let Some(former) = self.get(kept.message.id()) {
            // Where it stands, it would keep those behind it.
            let at = former.at;
            let former = mem::replace(former, Kept { at, ..kept });
            self.bytes -= former.message.encoded().len();
        } else {
            let place = self.first + self.kept.len() as u64;
            self.places.insert(ById(kept.message.clone()), place);
            self.kept.push_back(kept);
        }
        let mut forgotten = 0;
        while self.kept.len() > config::MAX_KEPT || self.bytes > config::MAX_KEPT_BYTES {
            self.forget_oldest();
            forgotten += 1;
        }
        forgotten
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Duration) {
        let old = |kept: &Kept| now.saturating_sub(kept.at) > config::KEPT;
        while self.kept.front().is_some_and(old) {
            self.forget_oldest();
        }
        self.kept.give_back();
        self.places.give_back();
    }

    /// The bytes of all messages.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages that are so young that they are offered, or will be, and who has
    /// them; the youngest first.
    pub(super) fn young(
        &self,
        now: Duration,
    ) -> impl Iterator<Item = (&SignedMessage, &[PeerKey])> {
        let kept = self.kept.iter().rev();
        kept.take_while(move |kept| now.saturating_sub(kept.at) <= config::OFFER_UNTIL)
            .map(|kept| (&kept.message, &kept.holders[..]))
    }

    fn forget_oldest(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.places.remove(kept.message.id());
            self.first += 1;
            self.bytes -= kept.message.encoded().len();
        }
    }

    fn get(&mut self, id: &MessageId) -> Option<&mut Kept> {
        let place = self.places.get(id)?.checked_sub(self.first)?;
        self.kept.get_mut(usize::try_from(place).ok()?)
    }

    /// A peer sent a message that is here.
    pub(super) fn has(&mut self, id: &MessageId, peer: PeerKey) {
        if let Some(kept) = self.get(id)
            && !kept.holders.contains(&peer)
        {
            kept.holders.push(peer);
        }
    }

    /// The ids of a topic that a peer may lack. They are not offered to it again,
    /// but for those that it has asked for, while it may ask once more and there are
    /// not many others: it may have had no room for what came.
    pub(super) fn offer(
        &mut self,
        now: Duration,
        topic: &str,
        peer: PeerKey,
        room: usize,
    ) -> Vec<MessageId> {
        let (mut offered, mut again) = (Vec::new(), Vec::new());
        for kept in self.kept.iter_mut().rev() {
            let age = now.saturating_sub(kept.at);
            if age > config::OFFER_UNTIL || offered.len() == room {
                break;
            }
            let may_lack = age >= config::OFFER_FROM
                && !kept.holders.contains(&peer)
                && kept.message.is_of(topic);
            if may_lack && kept.asked.iter().any(|(by, _)| *by == peer) {
                again.push(kept.message.id().clone());
            } else if may_lack {
                kept.holders.push(peer);
                offered.push(kept.message.id().clone());
            }
        }
        again.truncate(config::MAX_AGAIN.min(room).saturating_sub(offered.len()));
        again.iter().for_each(|id| self.has(id, peer));
        offered.append(&mut again);
        offered
    }

    /// A peer asks for a message.
    pub(super) fn asked(&mut self, id: &MessageId, peer: PeerKey) -> Asked {
        let Some(kept) = self.get(id) else { return Asked::Unknown };
        let times = match kept.asked.iter_mut().find(|(by, _)| *by == peer) {
            Some((_, times)) => times,
            None => {
                kept.asked.push((peer, 0));
                let (_, times) = kept.asked.last_mut().expect("it was pushed");
                times
            }
        };
        if *times == config::MAX_ASKED {
            return Asked::Again;
        }
        *times += 1;
        if *times < config::MAX_ASKED {
            kept.holders.retain(|holder| *holder != peer);
        }
        Asked::Sent(kept.message.clone())
    }
}
