//! One node: what it knows of members, and what it has to ask and tell.

use super::EPOCH;
use casm::{
    Keypair, Namespace, PeerId,
    admit::{
        Certificate, Refusal, Revocation, Revoked, Terms, talk,
        wire::{Answer, Ask, MAX_MESSAGE, unframe},
    },
    jobs::{Job, Jobs, News, Question},
};
use rand::Rng;
use std::time::Duration;

/// Questions that are under way at a time, as in a node.
const ASKED: usize = 64;

pub struct Node {
    pub id: PeerId,
    certificate: Certificate,
    pub members: casm::admit::Members,
    jobs: Jobs,
    running: usize,
    /// Those that it is connected with.
    pub peers: Vec<usize>,
    /// What it keeps of revocations where it stays while it is down.
    kept: Vec<u8>,
    pub up: bool,
    /// Counts its starts.
    pub run: u32,
}

/// A question under way.
pub struct Asked {
    pub ask: Ask,
    /// Whether all revocations are being compared.
    pub compares: bool,
}

impl Node {
    /// One that is not up.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn new(ca: &Keypair, namespace: &Namespace, rng: &mut impl Rng) -> casm::Result<Self> {
        let id = key(rng).public().to_peer_id();
        let mut serial = [0; 16];
        rng.fill_bytes(&mut serial);
        let certificate = Certificate::sign(
            ca,
            Terms {
                peer: id,
                namespace: namespace.clone(),
                roles: vec!["worker".into()],
                not_before: EPOCH,
                not_after: EPOCH + 30 * 24 * 3600,
                issued: EPOCH,
                serial,
            },
        )?;
        Ok(Self {
            id,
            members: fresh(&certificate, namespace)?,
            certificate,
            jobs: Jobs::default(),
            running: 0,
            peers: Vec::new(),
            kept: Vec::new(),
            up: false,
            run: 0,
        })
    }

    /// Starts, with what it has kept and nothing else.
    ///
    /// # Errors
    /// If what it kept cannot be read.
    pub fn start(&mut self, now: Duration) -> anyhow::Result<()> {
        let namespace = self.members.namespace().clone();
        self.members = fresh(&self.certificate, &namespace)?;
        let cas = self.members.cas().to_vec();
        let kept = Revoked::decode(&self.kept, unix(now), &cas)?;
        self.members.restore(&kept, unix(now));
        (self.jobs, self.running, self.up) = (Jobs::default(), 0, true);
        self.run += 1;
        Ok(())
    }

    pub fn stop(&mut self) {
        self.peers.clear();
        self.up = false;
        self.run += 1;
    }

    /// Whether the certificate of a peer is known here to be revoked.
    pub fn has(&self, ca: &Keypair, peer: &PeerId) -> bool {
        self.members.revoked().get(&ca.public().to_peer_id(), peer).is_some()
    }

    /// Takes the certificate of a peer at the gate.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn meets(&mut self, now: Duration, other: &Self) -> Result<(), Refusal> {
        let shown = other.certificate.clone();
        talk::shown(&mut self.members, &shown.peer(), shown.clone(), unix(now)).map(drop)
    }

    /// It is connected with a peer.
    pub fn connected(&mut self, nth: usize, peer: PeerId) {
        self.peers.push(nth);
        self.members.pin(peer);
        // Both ends would say the same.
        if self.id < peer {
            self.compare(peer);
        }
    }

    pub fn compare(&mut self, peer: PeerId) {
        self.jobs.add(peer, Job::compare);
    }

    /// The connection with a peer is gone.
    pub fn disconnected(&mut self, nth: usize, peer: &PeerId) {
        self.peers.retain(|other| *other != nth);
        self.members.unpin(peer);
        self.jobs.forget(peer);
    }

    /// Revokes something here. Gives what is new.
    ///
    /// # Errors
    /// If it does not count.
    pub fn revoke(&mut self, now: Duration, revocations: &[Revocation]) -> anyhow::Result<News> {
        let mut news = News::default();
        for revocation in revocations {
            let done = self.members.revoke(revocation.clone(), unix(now))?;
            news.revoked.extend(done.fresh.then(|| revocation.clone()));
        }
        Ok(news)
    }

    /// The questions that can be asked now.
    pub fn questions(&mut self) -> Vec<(PeerId, Asked)> {
        let mut asked = Vec::new();
        while self.running < ASKED
            && let Some((peer, question)) = self.jobs.take()
        {
            self.running += 1;
            let greeting = || talk::greet(&self.members);
            asked.push(match question {
                Question::Compare(step) => {
                    (peer, Asked { ask: step.unwrap_or_else(greeting), compares: true })
                }
                Question::News { want, renewed, revoked } => {
                    let ask = Ask { want, renewed, revocations: revoked, ..greeting() };
                    (peer, Asked { ask, compares: false })
                }
            });
        }
        asked
    }

    /// Answers a question, as it is on the wire.
    ///
    /// # Errors
    /// If it is none.
    pub fn answer(
        &mut self,
        now: Duration,
        from: PeerId,
        frame: &[u8],
    ) -> anyhow::Result<(Vec<u8>, News)> {
        let ask = Ask::decode(message(frame)?)?;
        let (answer, news) = talk::answer(&mut self.members, &from, ask, unix(now));
        anyhow::ensure!(news.refused.is_empty(), "refused: {:?}", news.refused);
        Ok((answer.frame(), told_by(from, news)))
    }

    /// Takes the answer to a question.
    ///
    /// # Errors
    /// If it is none.
    pub fn heard(
        &mut self,
        now: Duration,
        from: PeerId,
        asked: &Asked,
        frame: &[u8],
    ) -> anyhow::Result<News> {
        let answer = Answer::decode(message(frame)?)?;
        let (news, next) = talk::heard(&mut self.members, &asked.ask, answer, unix(now));
        anyhow::ensure!(news.refused.is_empty(), "refused: {:?}", news.refused);
        if let Some(next) = next.filter(|_| asked.compares) {
            self.jobs.add(from, |job| job.go_on(next));
        }
        Ok(told_by(from, news))
    }

    /// A question is answered, or was in vain.
    pub fn done(&mut self, peer: &PeerId) {
        self.running -= 1;
        self.jobs.done(peer);
        self.jobs.tidy(peer);
    }

    /// Keeps what is new, and tells these of it.
    pub fn pass_on(&mut self, news: &News, peers: &[PeerId]) {
        if news.is_empty() {
            return;
        }
        self.kept = self.members.revoked().encode();
        for peer in peers.iter().filter(|peer| Some(**peer) != news.from) {
            self.jobs.add(*peer, |job| job.tell(news));
        }
    }
}

fn fresh(certificate: &Certificate, namespace: &Namespace) -> casm::Result<casm::admit::Members> {
    casm::admit::Members::new(vec![certificate.ca()], namespace.clone(), certificate.clone())
}

/// A key of a simulation.
pub fn key(rng: &mut impl Rng) -> Keypair {
    let mut secret = [0; 32];
    rng.fill_bytes(&mut secret);
    Keypair::ed25519_from_bytes(secret).expect("any 32 bytes are a key")
}

/// The time as certificates have it.
pub fn unix(now: Duration) -> u64 {
    EPOCH + now.as_secs()
}

fn told_by(from: PeerId, news: talk::News) -> News {
    News { from: Some(from), renewed: news.renewed, revoked: news.revocations }
}

fn message(frame: &[u8]) -> anyhow::Result<&[u8]> {
    let (message, rest) =
        unframe(frame, MAX_MESSAGE)?.ok_or_else(|| anyhow::anyhow!("a frame is cut"))?;
    anyhow::ensure!(rest.is_empty(), "more than a frame");
    Ok(message)
}
