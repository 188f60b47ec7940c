//! The signatures that are under check, or wait for it in `queues`.

use super::{config, peer::PeerKey, spare::Spare};
use crate::{gossip::id::MessageId, pubsub::signed::SignedMessage};
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};

/// A signature under check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub(in crate::gossip) u64);

/// Messages that are not known to be good yet.
#[derive(Default)]
pub(super) struct Checks {
    all: BTreeMap<CheckId, Check>,
    /// The copies under an id, which differ.
    by_id: HashMap<MessageId, SmallVec<[CheckId; 1]>>,
    next: u64,
    running: usize,
    bytes: usize,
}

pub(super) struct Check {
    pub(super) message: SignedMessage,
    /// Who sent it first.
    pub(super) by: PeerKey,
    /// Whether it had been asked for it.
    pub(super) asked: bool,
    /// Who else has sent the same.
    pub(super) also: SmallVec<[PeerKey; 4]>,
    running: bool,
    /// In how many peers' queues it waits.
    queues: usize,
}

/// What a copy is to those that are under check.
pub(super) enum Copy {
    /// There is none like it, whatever else there is under its id.
    New,
    /// The same is under check already, or waits for it.
    Same {
        /// The check, if it is not begun: it can wait in the peer's queue too.
        waits: Option<CheckId>,
    },
    /// The same, and as many as can be noted have sent it.
    Crowded {
        /// As above.
        waits: Option<CheckId>,
    },
    /// The peer has another one there, or sends the same again.
    Refused,
}

impl Spare for Checks {
    fn give_back(&mut self) {
        self.by_id.give_back();
    }
}

impl Checks {
    /// The most peers that are noted to have sent the same.
    const ALSO: usize = 64;

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let nothing = self.running == 0 && self.bytes == 0;
        self.all.is_empty() && self.by_id.is_empty() && nothing
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.by_id.contains_key(id)
    }

    /// A copy of a message came from a peer: what it is to the others.
    pub(super) fn compare(&mut self, message: &SignedMessage, by: PeerKey) -> Copy {
        let Some(copies) = self.by_id.get(message.id()) else { return Copy::New };
        let mut same = None;
        for id in copies {
            let Some(check) = self.all.get(id) else { continue };
            if check.by == by || check.also.contains(&by) {
                return Copy::Refused;
            }
            if check.message.is_copy_of(message) {
                same = Some(*id);
            }
        }
        let Some(check) = same.and_then(|id| self.all.get_mut(&id)) else { return Copy::New };
        let waits = same.filter(|_| !check.running);
        if check.also.len() == Self::ALSO {
            return Copy::Crowded { waits };
        }
        check.also.push(by);
        Copy::Same { waits }
    }

    /// Whether there is room for so many bytes more.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= config::MAX_WAITING_IN_ALL
    }

    /// A message that came from a peer. It waits in no queue yet.
    pub(super) fn add(&mut self, message: SignedMessage, by: PeerKey, asked: bool) -> CheckId {
        let id = CheckId(self.next);
        self.next += 1;
        self.bytes += message.encoded().len();
        self.by_id.entry(message.id().clone()).or_default().push(id);
        let (also, running, queues) = (SmallVec::new(), false, 0);
        self.all.insert(id, Check { message, by, asked, also, running, queues });
        id
    }

    /// One that waits.
    pub(super) fn get(&self, id: CheckId) -> Option<&Check> {
        self.all.get(&id).filter(|check| !check.running)
    }

    /// It waits in another queue.
    pub(super) fn queued(&mut self, id: CheckId) {
        if let Some(check) = self.all.get_mut(&id) {
            check.queues += 1;
        }
    }

    /// It doesn't wait in one of its queues any more. Whether it waits in none now.
    pub(super) fn unqueued(&mut self, id: CheckId) -> bool {
        let check = self.all.get_mut(&id).filter(|check| !check.running);
        check.is_some_and(|check| {
            check.queues = check.queues.saturating_sub(1);
            check.queues == 0
        })
    }

    /// Whether another check can be started.
    pub(super) fn is_idle(&self) -> bool {
        self.running < config::MAX_RUNNING
    }

    /// Starts a check, unless that was done, or it is not there any more.
    pub(super) fn start(&mut self, id: CheckId) -> Option<SignedMessage> {
        let check = self.all.get_mut(&id).filter(|check| !check.running)?;
        check.running = true;
        self.running += 1;
        Some(check.message.clone())
    }

    /// Ends a check, or has it not wait any more.
    pub(super) fn remove(&mut self, id: CheckId) -> Option<Check> {
        let check = self.all.remove(&id)?;
        self.running -= usize::from(check.running);
        self.bytes -= check.message.encoded().len();
        if let Some(copies) = self.by_id.get_mut(check.message.id()) {
            copies.retain(|copy| *copy != id);
            if copies.is_empty() {
                self.by_id.remove(check.message.id());
            }
        }
        Some(check)
    }

    /// The copies under an id that nobody checks yet.
    pub(super) fn waiting(&self, id: &MessageId) -> SmallVec<[CheckId; 1]> {
        let copies = self.by_id.get(id).into_iter().flatten().copied();
        copies.filter(|copy| self.all.get(copy).is_some_and(|check| !check.running)).collect()
    }
}
