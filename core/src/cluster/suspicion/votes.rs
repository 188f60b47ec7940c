//! Who is accused by whom, and who is taken for gone because of it. Pure: the time is
//! an argument.

use libp2p::PeerId;
use smallvec::SmallVec;
use std::{
    collections::{BTreeSet, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    time::Duration,
};

/// For how long enough accusers must stand against a peer that says nothing.
pub(super) const TIME: Duration = Duration::from_secs(3);
/// Accusers of one peer that are remembered.
pub(super) const MAX_ACCUSERS: usize = 8;
/// Peers that are accused at a time, of which something is remembered.
pub(super) const MAX_ACCUSED: usize = 16_384;
/// When what led to nothing is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Why an accusation is not noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotNoted {
    /// So many others accuse the peer.
    Enough,
    /// So many others are accused.
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    /// A keyed hash of its id, which takes a third of the memory.
    by: u64,
    seq: u64,
}

#[derive(Debug)]
struct Accused {
    votes: SmallVec<[Vote; 2]>,
    /// Since when there are enough.
    since: Option<Duration>,
    last: Duration,
}

/// All accusations that are remembered.
#[derive(Debug, Default)]
pub(super) struct Votes {
    accused: HashMap<PeerId, Accused>,
    due: BTreeSet<(Duration, PeerId)>,
    swept: Duration,
    hasher: RandomState,
}

impl Votes {
    /// Somebody accuses a peer, whose last heartbeat it knows has this number; the last
    /// that is known here has another one, or the same.
    ///
    /// # Errors
    /// Why that is not noted.
    pub(super) fn note(
        &mut self,
        now: Duration,
        (by, peer): (&PeerId, PeerId),
        seq: u64,
        known: u64,
    ) -> Result<(), NotNoted> {
        if self.accused.len() >= MAX_ACCUSED && !self.accused.contains_key(&peer) {
            return Err(NotNoted::Full);
        }
        let by = self.hasher.hash_one(by);
        let accused = self.entry(now, peer);
        let of = |vote: &Vote| vote.by == by;
        if let Some(vote) = accused.votes.iter_mut().find(|vote| of(vote)) {
            vote.seq = vote.seq.max(seq);
        } else if accused.votes.len() < MAX_ACCUSERS {
            accused.votes.push(Vote { by, seq });
        } else {
            // What counts takes the place of what does not count yet, and may never.
            let ahead = accused.votes.iter_mut().find(|vote| vote.seq != known);
            let vote = ahead.filter(|_| seq == known).ok_or(NotNoted::Enough)?;
            *vote = Vote { by, seq };
        }
        accused.last = now;
        Ok(())
    }

    /// This node accuses a peer itself.
    pub(super) fn note_own(&mut self, now: Duration, peer: PeerId) {
        self.entry(now, peer).last = now;
    }

    /// A heartbeat of a peer has this number: whether that answers an accusation that
    /// counted until now.
    pub(super) fn heard(&mut self, peer: &PeerId, seq: u64) -> bool {
        let Some(accused) = self.accused.get_mut(peer) else { return false };
        let before = accused.votes.len();
        accused.votes.retain(|vote| vote.seq >= seq);
        accused.votes.len() < before
    }

    /// How many others accuse a peer with this very number.
    pub(super) fn count(&self, peer: &PeerId, seq: u64) -> usize {
        let votes = self.accused.get(peer).map(|accused| &accused.votes[..]).unwrap_or_default();
        votes.iter().filter(|vote| vote.seq == seq).count()
    }

    /// Whether there are enough against a peer.
    pub(super) fn enough(&mut self, now: Duration, peer: &PeerId, enough: bool) {
        let Some(accused) = self.accused.get_mut(peer) else { return };
        match (accused.since, enough) {
            (None, true) => {
                accused.since = Some(now);
                self.due.insert((now.saturating_add(TIME), *peer));
            }
            (Some(since), false) => {
                accused.since = None;
                self.due.remove(&(since.saturating_add(TIME), *peer));
            }
            _ => {}
        }
    }

    /// All wait anew.
    pub(super) fn wait_again(&mut self, now: Duration) {
        let waiting: Vec<_> = self.due.iter().map(|(_, peer)| *peer).collect();
        for peer in waiting {
            self.enough(now, &peer, false);
            self.enough(now, &peer, true);
        }
    }

    /// Whose time is over.
    pub(super) fn over(&self, now: Duration) -> Option<PeerId> {
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, peer)| *peer)
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Duration> {
        let sweep = (!self.accused.is_empty()).then(|| self.swept.saturating_add(FORGOTTEN));
        self.due.first().map(|(due, _)| *due).into_iter().chain(sweep).min()
    }

    /// Forgets what led to nothing, now and then.
    pub(super) fn sweep(&mut self, now: Duration) {
        if self.accused.is_empty() || now < self.swept.saturating_add(FORGOTTEN) {
            return;
        }
        self.swept = now;
        let over = |accused: &&Accused| now >= accused.last.saturating_add(FORGOTTEN);
        let gone: Vec<_> =
            self.accused.iter().filter(|(_, a)| over(a)).map(|(peer, _)| *peer).collect();
        gone.iter().for_each(|peer| self.forget(peer));
    }

    /// A peer is gone, or has nothing to answer for.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        if let Some(since) = self.accused.remove(peer).and_then(|accused| accused.since) {
            self.due.remove(&(since.saturating_add(TIME), *peer));
        }
    }

    /// Whether there is something against a peer.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.accused.contains_key(peer)
    }

    pub(super) fn len(&self) -> usize {
        self.accused.len()
    }

    fn entry(&mut self, now: Duration, peer: PeerId) -> &mut Accused {
        let new = || Accused { votes: SmallVec::new(), since: None, last: now };
        self.accused.entry(peer).or_insert_with(new)
    }
}
