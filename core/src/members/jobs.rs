//! What each peer is to be asked and told. Pure: who is asked next, and what goes into
//! one question.

use crate::{
    PeerId,
    admit::{
        Certificate, MAX_REVOKED, Revocation,
        talk::MAX_STEPS,
        wire::{Ask, MAX_ITEMS},
    },
};
use std::collections::{HashMap, HashSet, VecDeque};

/// Certificates that are waited for from one peer: those that find no room are wanted
/// again with the next message of their source.
const WANTED: usize = 4 * MAX_ITEMS;
/// Certificates and revocations that wait to be told to one peer. With more, all
/// revocations are compared, and of certificates the oldest are left out: whoever
/// lacks one asks for it.
const TOLD: usize = 4 * MAX_ITEMS;

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
    /// Adds later ones, from whomever they are. Of certificates the last stay: whoever
    /// lacks one asks for it.
    pub fn add(&mut self, later: Self) {
        self.from = if self.is_empty() { later.from } else { None };
        self.renewed.extend(later.renewed);
        self.renewed.drain(..self.renewed.len().saturating_sub(TOLD));
        // No more than there is room for in the set that they are new to.
        self.revoked.extend(later.revoked);
        self.revoked.drain(..self.revoked.len().saturating_sub(MAX_REVOKED));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.renewed.is_empty() && self.revoked.is_empty()
    }
}

/// What one question is about.
#[derive(Debug)]
pub enum Question {
    /// Certificates that are wanted, and what is new here.
    News {
        /// Whose certificates.
        want: Vec<PeerId>,
        /// Certificates in the place of others.
        renewed: Vec<Certificate>,
        /// What is revoked.
        revoked: Vec<Revocation>,
    },
    /// All revocations, which are compared: the first step, or this one.
    Compare(Option<Ask>),
}

/// What one peer is to be asked and told.
#[derive(Debug, Default)]
pub struct Job {
    want: VecDeque<PeerId>,
    renewed: VecDeque<Certificate>,
    revoked: VecDeque<Revocation>,
    compare: Option<Option<Ask>>,
    /// How many steps of that there have been.
    steps: usize,
}

impl Job {
    /// Wants the certificate of a source. Whether there was room for that.
    pub fn want(&mut self, source: PeerId) -> bool {
        let is_wanted = self.want.contains(&source);
        let room = self.want.len() < WANTED;
        if room && !is_wanted {
            self.want.push_back(source);
        }
        room || is_wanted
    }

    /// Compares all revocations.
    pub fn compare(&mut self) {
        (self.compare, self.steps) = (Some(None), 0);
    }

    /// Goes on with that, unless it has taken as long as it can.
    pub fn go_on(&mut self, step: Ask) {
        if self.steps < MAX_STEPS {
            self.compare.get_or_insert(Some(step));
        }
    }

    /// Tells what is new.
    pub fn tell(&mut self, news: &News) {
        self.renewed.extend(news.renewed.iter().cloned());
        let excess = self.renewed.len().saturating_sub(TOLD);
        self.renewed.drain(..excess);
        if self.revoked.len() + news.revoked.len() > TOLD {
            self.revoked.clear();
            self.compare();
        } else {
            self.revoked.extend(news.revoked.iter().cloned());
        }
    }

    fn is_empty(&self) -> bool {
        self.want.is_empty()
            && self.renewed.is_empty()
            && self.revoked.is_empty()
            && self.compare.is_none()
    }

    /// What is wanted comes first: messages wait for it.
    fn next(&mut self) -> Question {
        let news = !(self.want.is_empty() && self.renewed.is_empty() && self.revoked.is_empty());
        match self.compare.take_if(|_| !news) {
            Some(step) => {
                self.steps += 1;
                Question::Compare(step)
            }
            None => Question::News {
                want: first(&mut self.want),
                renewed: first(&mut self.renewed),
                revoked: first(&mut self.revoked),
            },
        }
    }
}

fn first<T>(queue: &mut VecDeque<T>) -> Vec<T> {
    queue.drain(..queue.len().min(MAX_ITEMS)).collect()
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
    pub fn add<T>(&mut self, peer: PeerId, what: impl FnOnce(&mut Job) -> T) -> T {
        let job = self.of_peer.entry(peer).or_default();
        let was_empty = job.is_empty();
        let done = what(job);
        if was_empty && !job.is_empty() {
            self.turns.push_back(peer);
        }
        self.tidy(&peer);
        done
    }

    /// The next question, and to whom: to each one at a time, until
    /// [`done`](Self::done).
    pub fn take(&mut self) -> Option<(PeerId, Question)> {
        let at = self.turns.iter().position(|peer| !self.busy.contains(peer))?;
        let peer = self.turns.remove(at)?;
        let job = self.of_peer.get_mut(&peer)?;
        let question = job.next();
        if !job.is_empty() {
            self.turns.push_back(peer);
        }
        self.busy.insert(peer);
        Some((peer, question))
    }

    /// Whether certificates of a peer are wanted, or it is being asked.
    pub fn wants(&self, peer: &PeerId) -> bool {
        self.busy.contains(peer) || self.of_peer.get(peer).is_some_and(|job| !job.want.is_empty())
    }

    /// A question is answered, or was in vain.
    pub fn done(&mut self, peer: &PeerId) {
        self.busy.remove(peer);
    }

    /// There is nothing more to ask of a peer, if that is so.
    pub fn tidy(&mut self, peer: &PeerId) {
        if !self.busy.contains(peer) && self.of_peer.get(peer).is_some_and(Job::is_empty) {
            self.of_peer.remove(peer);
        }
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
        let sources: Vec<_> = (0..MAX_ITEMS + 1).map(|_| PeerId::random()).collect();
        for source in &sources {
            jobs.add(a, |job| job.want(*source));
            jobs.add(a, |job| job.want(*source));
        }
        jobs.add(b, Job::compare);
        jobs.add(b, |_| ());
        assert_eq!(wanted(jobs.take()), (a, sources[..MAX_ITEMS].to_vec()));
        let (second, question) = jobs.take().unwrap();
        assert!(second == b && matches!(question, Question::Compare(None)));
        assert!(jobs.take().is_none());
        jobs.done(&a);
        assert_eq!(wanted(jobs.take()), (a, sources[MAX_ITEMS..].to_vec()));
        for peer in [a, b] {
            jobs.done(&peer);
            jobs.tidy(&peer);
        }
        assert!(jobs.take().is_none() && jobs.of_peer.is_empty() && jobs.turns.is_empty());
    }

    fn wanted(next: Option<(PeerId, Question)>) -> (PeerId, Vec<PeerId>) {
        match next {
            Some((peer, Question::News { want, .. })) => (peer, want),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_comparison_has_an_end_whatever_the_other_says() {
        let (mut jobs, peer) = (Jobs::default(), PeerId::random());
        jobs.add(peer, Job::compare);
        let mut steps = 0;
        while let Some((_, question)) = jobs.take() {
            assert!(matches!(question, Question::Compare(_)));
            steps += 1;
            jobs.add(peer, |job| job.go_on(Ask::default()));
            jobs.done(&peer);
        }
        assert_eq!(steps, MAX_STEPS);
        // Until it is begun anew.
        jobs.add(peer, Job::compare);
        assert!(jobs.take().is_some());
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
        assert!(jobs.take().is_none() && jobs.of_peer.is_empty());
    }
}
