//! Crashes are seen by neighbours: who is connected to a peer that answers no more says
//! so on a topic of its own, and who hears it of enough of them takes the peer for gone,
//! unless that contradicts them by a heartbeat.
//!
//! - `grounds`: what this node found out itself; `losses`: whether that are too many for
//!   it to be their fault (pure)
//! - `votes`: who accuses whom, and when that is enough (pure)
//! - `sources`: how often somebody may accuse others (pure)
//! - `wire`: what is said (pure)
//! - `service`: joins them to the topic `/casm/1.0.0/<namespace>/suspect`, which Go's
//!   nodes don't know, and to the host
//!
//! What a liar can bring about is that somebody says that it lives. Two that are believed
//! can have a peer removed that lives if that does not hear of it, or what it says is
//! lost on its way: docs/decisions/0051 says how.

mod grounds;
#[cfg(test)]
mod liar_tests;
mod losses;
#[cfg(test)]
mod model_tests;
mod service;
mod sources;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod votes;
mod wire;

pub use grounds::Sign;
pub(crate) use service::{SignSuspects, start};
pub use wire::{Suspect, Suspects, SuspectsError};

use super::table::Knows;
use crate::pubsub::Verdict;
use grounds::Grounds;
use libp2p::PeerId;
use sources::Sources;
use std::{collections::BTreeMap, time::Duration};
use votes::{NotNoted, Votes};

/// From an answer of a node that is accused to its next one.
const ANSWERS: Duration = Duration::from_secs(2);
/// From a message to the next one.
const MESSAGES: Duration = Duration::from_secs(1);
/// What is found out within this time of each other goes in one message.
const MOMENT: Duration = Duration::from_millis(50);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial a peer, within a second, and tell what came of it.
    Dial(PeerId),
    /// Ping the neighbours now, and tell when one of them has answered a ping that was
    /// sent after this time.
    Ask(Duration),
    /// Publish these.
    Say(Suspects),
    /// Take a peer for gone, if no higher number is known of it.
    Remove(PeerId, u64),
}

/// What becomes of a message with suspicions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What gossip is told.
    pub verdict: Verdict,
    /// When this node is to send a heartbeat, since it is accused itself.
    pub answer: Option<Duration>,
}

/// Who is suspected, by this node and by others.
pub struct Suspicion {
    own: PeerId,
    /// Whether this node accuses others, and has something to answer with: not one that
    /// only looks on.
    accuses: bool,
    begun: Duration,
    grounds: Grounds,
    votes: Votes,
    sources: Sources,
    /// When the last message was published.
    said: Option<Duration>,
    /// The last own heartbeat: its number, and when it was sent.
    spoke: (u64, Duration),
    answered: Option<Duration>,
    counts: BTreeMap<&'static str, u64>,
}

impl Suspicion {
    /// One of the node `own`, which begins now.
    pub fn new(own: PeerId, observer: bool, now: Duration) -> Self {
        Self {
            own,
            accuses: !observer,
            begun: now,
            grounds: Grounds::default(),
            votes: Votes::default(),
            sources: Sources::default(),
            said: None,
            spoke: (0, Duration::ZERO),
            answered: None,
            counts: BTreeMap::new(),
        }
    }

    /// Something was noticed of a neighbour.
    pub fn note(&mut self, now: Duration, peer: PeerId, sign: Sign, table: &impl Knows) {
        if self.accuses && peer != self.own {
            self.grounds.note(now, peer, sign);
            self.weigh(now, &peer, table);
        }
    }

    /// A neighbour has answered a ping that was sent then.
    pub fn answered(&mut self, sent: Duration) {
        self.grounds.answered(sent);
    }

    /// This node was held up, and finds everything out anew.
    pub fn held_up(&mut self, now: Duration) {
        self.grounds.dial_again();
        self.votes.wait_again(now);
    }

    /// A heartbeat of a peer was taken, which others had already for so long.
    pub fn heartbeat(
        &mut self,
        now: Duration,
        age: Duration,
        (peer, seq): (PeerId, u64),
        table: &impl Knows,
    ) {
        self.grounds.heard(now.saturating_sub(age), &peer, seq);
        if self.votes.heard(&peer, seq) {
            self.count("cleared", 1);
        }
        self.weigh(now, &peer, table);
    }

    /// This node has sent a heartbeat.
    pub fn spoke(&mut self, now: Duration, seq: u64) {
        self.spoke = (seq, now);
    }

    /// A message of this source came on the topic.
    pub fn hear(
        &mut self,
        now: Duration,
        (from, seq): (PeerId, u64),
        data: &[u8],
        table: &impl Knows,
    ) -> Heard {
        if from == self.own {
            self.count("refused-own", 1);
            return Heard { verdict: Verdict::Ignore, answer: None };
        }
        let suspects = match Suspects::decode(data) {
            Ok(suspects) => suspects,
            Err(error) => {
                self.count(error.label(), 1);
                return Heard { verdict: error.verdict(), answer: None };
            }
        };
        // Whoever says it, and however often: others may believe it.
        let answer = self.contradict(now, &suspects);
        let known = table.known(&from);
        let established = known.is_some_and(|known| known.established);
        // Who is new knows nobody for long, and must not keep what others need.
        let counts = established || (self.is_new(now, table) && known.is_some());
        let taken = match counts {
            true => self.sources.says(&from, seq, established, now),
            false => Err("refused-stranger"),
        };
        if let Err(why) = taken {
            self.count(why, 1);
            return Heard { verdict: Verdict::Ignore, answer };
        }
        let own = self.own;
        for suspect in suspects.0.into_iter().filter(|suspect| suspect.peer != own) {
            if let Err(why) = self.accused(now, from, established, suspect, table) {
                self.count(why, 1);
            }
        }
        Heard { verdict: Verdict::Accept, answer }
    }

    /// A message came that this node takes from nobody of the kind that its source is of,
    /// and others may take: when this node is to answer it.
    pub fn overhear(&mut self, now: Duration, data: &[u8]) -> Option<Duration> {
        self.contradict(now, &Suspects::decode(data).ok()?)
    }

    fn contradict(&mut self, now: Duration, suspects: &Suspects) -> Option<Duration> {
        let own = suspects.0.iter().filter(|suspect| suspect.peer == self.own);
        let seq = own.map(|suspect| suspect.seq).max()?;
        self.answer(now, seq)
    }

    /// What is to be done by now.
    pub fn act(&mut self, now: Duration, table: &impl Knows) -> Vec<Action> {
        let mut actions = Vec::new();
        // Those who don't know this node for long don't count what it says.
        let counts = !self.is_new(now, table) || needed(table) == 1;
        for peer in self.grounds.act(now, counts, table, &mut actions) {
            self.votes.note_own(now, peer);
            self.weigh(now, &peer, table);
        }
        if self.next_message().is_some_and(|due| due <= now) {
            let said = self.grounds.to_say(now).take(Suspects::MAX);
            let said: Vec<_> = said.map(|(peer, seq)| Suspect { peer, seq }).collect();
            said.iter().for_each(|suspect| self.grounds.said(now, &suspect.peer));
            self.count("accused", said.len() as u64);
            self.said = Some(now);
            actions.push(Action::Say(Suspects(said)));
        }
        while let Some(peer) = self.votes.over(now) {
            self.weigh(now, &peer, table);
            // Who has contradicted meanwhile has nothing to answer for.
            let enough = self.votes.over(now) == Some(peer);
            if let Some(known) = table.known(&peer).filter(|_| enough) {
                self.count("removed", 1);
                actions.push(Action::Remove(peer, known.seq));
            }
            if enough {
                self.votes.forget(&peer);
                self.grounds.forget(&peer);
            }
        }
        self.votes.sweep(now);
        actions
    }

    /// When [`act`](Self::act) has something to do, unless something happens before.
    pub fn next(&self) -> Option<Duration> {
        [self.next_message(), self.grounds.next(), self.votes.next()].into_iter().flatten().min()
    }

    /// What happened since this was last called, by metrics labels.
    pub fn take_counts(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts)
    }

    /// How many peers something is remembered against.
    pub fn len(&self) -> usize {
        self.votes.len()
    }

    /// Whether that is nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn accused(
        &mut self,
        now: Duration,
        from: PeerId,
        established: bool,
        Suspect { peer, seq }: Suspect,
        table: &impl Knows,
    ) -> Result<(), &'static str> {
        if !established {
            return Err("refused-stranger");
        }
        if peer == from {
            return Err("refused-self");
        }
        let known = table.known(&peer).ok_or("refused-unknown")?;
        if !known.answers {
            return Err("refused-no-answer");
        }
        if seq < known.seq {
            return Err("refused-outdated");
        }
        self.votes.note(now, (&from, peer), seq, known.seq).map_err(|why| match why {
            NotNoted::Enough => "refused-enough",
            NotNoted::Full => "refused-full",
        })?;
        self.count("noted", 1);
        self.weigh(now, &peer, table);
        Ok(())
    }

    fn is_new(&self, now: Duration, table: &impl Knows) -> bool {
        now.saturating_sub(self.begun) < table.probation()
    }

    /// When this node is to answer, if it is accused with this number.
    fn answer(&mut self, now: Duration, seq: u64) -> Option<Duration> {
        let (last, at) = self.spoke;
        // What was sent a moment ago says it already.
        let said = seq < last && now.saturating_sub(at) < ANSWERS;
        if !self.accuses || said {
            return None;
        }
        if let Some(due) = self.answered.filter(|due| *due > now) {
            return Some(due);
        }
        let due = self.answered.map_or(now, |at| now.max(at.saturating_add(ANSWERS)));
        self.answered = Some(due);
        self.count("answered", 1);
        Some(due)
    }

    /// Sees whether there are enough accusers of a peer.
    fn weigh(&mut self, now: Duration, peer: &PeerId, table: &impl Knows) {
        if !self.votes.has(peer) {
            return;
        }
        let Some(known) = table.known(peer).filter(|known| known.answers) else {
            return self.votes.forget(peer);
        };
        let own = self.grounds.accuses(peer) == Some(known.seq);
        let count = self.votes.count(peer, known.seq) + usize::from(own);
        let enough = count >= needed(table);
        self.votes.enough(now, peer, enough);
    }

    fn next_message(&self) -> Option<Duration> {
        let due = self.grounds.next_said()?.saturating_add(MOMENT);
        Some(self.said.map_or(due, |at| due.max(at.saturating_add(MESSAGES))))
    }

    fn count(&mut self, what: &'static str, n: u64) {
        if n > 0 {
            *self.counts.entry(what).or_default() += n;
        }
    }
}

/// How many must accuse a peer: two, unless there are hardly as many who could.
fn needed(table: &impl Knows) -> usize {
    let others = table.records().saturating_sub(1);
    if others < 3 { 1 } else { 2 }
}
