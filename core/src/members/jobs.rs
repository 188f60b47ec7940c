//! What each peer is to be asked and told. Pure: who is asked next, and what goes into
//! one question.

use crate::{
    PeerId,
    admit::{Certificate, MAX_WANT, Revocation},
};
use std::collections::{HashMap, HashSet, VecDeque};

/// Certificates that are waited for from one peer: those that find no room are wanted
/// again with the next message of their source.
const WANTED: usize = 4 * MAX_WANT;
/// Certificates and revocations that wait to be told to one peer. With more, all
/// revocations are compared, and of certificates the oldest are left out: whoever
/// lacks one asks for it.
const TOLD: usize = 4 * MAX_WANT;

/// What is new here, and who has told it.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Who, if it was a peer.
    pub from: Option<PeerId>,
    /// Certificates in the place of others.
    pub renewed: Vec<Certificate>,
    /// What is revoked.
    pub revoked: Vec<Revocation>,
}

impl News {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.renewed.is_empty() && self.revoked.is_empty()
    }
}

/// What goes into one question.
#[derive(Debug, Default)]
pub struct Question {
    /// Whose certificates are wanted.
    pub want: Vec<PeerId>,
    /// Certificates that are told.
    pub renewed: Vec<Certificate>,
    /// Revocations that are told.
    pub revoked: Vec<Revocation>,
    /// Whether all revocations are compared.
    pub compare: bool,
}

/// What one peer is to be asked and told.
#[derive(Debug, Default)]
pub struct Job {
    want: VecDeque<PeerId>,
    renewed: VecDeque<Certificate>,
    revoked: VecDeque<Revocation>,
    compare: bool,
}

impl Job {
    /// Wants the certificate of a source.
    pub fn want(&mut self, source: PeerId) {
        if self.want.len() < WANTED && !self.want.contains(&source) {
            self.want.push_back(source);
        }
    }

    /// Compares all revocations.
    pub fn compare(&mut self) {
        self.compare = true;
    }

    /// Tells what is new.
    pub fn tell(&mut self, news: &News) {
        self.renewed.extend(news.renewed.iter().cloned());
        let excess = self.renewed.len().saturating_sub(TOLD);
        self.renewed.drain(..excess);
        if self.revoked.len() + news.revoked.len() > TOLD {
            self.revoked.clear();
            self.compare = true;
        } else {
            self.revoked.extend(news.revoked.iter().cloned());
        }
    }

    fn is_empty(&self) -> bool {
        self.want.is_empty() && self.renewed.is_empty() && self.revoked.is_empty() && !self.compare
    }

    fn next(&mut self) -> Question {
        Question {
            want: first(&mut self.want),
            renewed: first(&mut self.renewed),
            revoked: first(&mut self.revoked),
            compare: std::mem::take(&mut self.compare),
        }
    }
}

fn first<T>(queue: &mut VecDeque<T>) -> Vec<T> {
    queue.drain(..queue.len().min(MAX_WANT)).collect()
}

/// What is to be asked and told, by peer.
#[derive(Debug, Default)]
pub struct Jobs {
    of_peer: HashMap<PeerId, Job>,
    /// Those for whom there is something, in their turn.
    turns: VecDeque<PeerId>,
    busy: HashSet<PeerId>,
}

impl Jobs {
    /// Adds to what a peer is asked and told.
    pub fn add(&mut self, peer: PeerId, what: impl FnOnce(&mut Job)) {
        let job = self.of_peer.entry(peer).or_default();
        let was_empty = job.is_empty();
        what(job);
        match (was_empty, job.is_empty()) {
            (true, false) => self.turns.push_back(peer),
            (true, true) => drop(self.of_peer.remove(&peer)),
            _ => {}
        }
    }

    /// The next question, and to whom: to each one at a time, until
    /// [`done`](Self::done).
    pub fn next(&mut self) -> Option<(PeerId, Question)> {
        let at = self.turns.iter().position(|peer| !self.busy.contains(peer))?;
        let peer = self.turns.remove(at)?;
        let job = self.of_peer.get_mut(&peer)?;
        let question = job.next();
        if job.is_empty() {
            self.of_peer.remove(&peer);
        } else {
            self.turns.push_back(peer);
        }
        self.busy.insert(peer);
        Some((peer, question))
    }

    /// A question is answered, or was in vain.
    pub fn done(&mut self, peer: &PeerId) {
        self.busy.remove(peer);
    }

    /// Whether a peer is being asked.
    pub fn is_busy(&self, peer: &PeerId) -> bool {
        self.busy.contains(peer)
    }

    /// A peer is gone.
    pub fn forget(&mut self, peer: &PeerId) {
        self.of_peer.remove(peer);
        self.turns.retain(|other| other != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_is_asked_one_thing_at_a_time_and_all_have_their_turn() {
        let mut jobs = Jobs::default();
        let (a, b) = (PeerId::random(), PeerId::random());
        let sources: Vec<_> = (0..MAX_WANT + 1).map(|_| PeerId::random()).collect();
        for source in &sources {
            jobs.add(a, |job| job.want(*source));
            jobs.add(a, |job| job.want(*source));
        }
        jobs.add(b, Job::compare);
        jobs.add(b, |_| ());
        let (first, question) = jobs.next().unwrap();
        assert_eq!((first, question.want), (a, sources[..MAX_WANT].to_vec()));
        let (second, question) = jobs.next().unwrap();
        assert!(second == b && question.compare && question.want.is_empty());
        assert!(jobs.next().is_none() && jobs.is_busy(&a));
        jobs.done(&a);
        assert_eq!(jobs.next().unwrap().1.want, sources[MAX_WANT..]);
        jobs.done(&a);
        jobs.done(&b);
        assert!(jobs.next().is_none() && jobs.of_peer.is_empty() && jobs.turns.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_goes_with_its_peer() {
        let mut jobs = Jobs::default();
        let peer = PeerId::random();
        for _ in 0..2 * WANTED {
            jobs.add(peer, |job| job.want(PeerId::random()));
        }
        assert_eq!(jobs.of_peer[&peer].want.len(), WANTED);
        jobs.forget(&peer);
        assert!(jobs.next().is_none() && jobs.of_peer.is_empty());
    }
}
