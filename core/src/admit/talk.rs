//! What a node makes of questions and answers of other members, and what it asks.
//!
//! Comparing revocations takes up to three steps: digests; ids, and what the asker
//! lacks; what the other side lacks. A message has [`MAX_ITEMS`] at most, so that the
//! second one may be done again, each time for later ids. Whoever is told of something
//! new tells others.

use super::{
    Certificate, MAX_REVOKED, Members, Refusal, Revocation, ShortId,
    wire::{Answer, Ask, MAX_ITEMS},
};
use libp2p::PeerId;

/// How many questions a comparison takes at most, if the other side is honest.
pub const MAX_STEPS: usize = 3 + 2 * MAX_REVOKED / MAX_ITEMS;

/// What a message changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Revocations that are new here: other members should be told.
    pub revocations: Vec<Revocation>,
    /// Who was a member and is none any more, the node itself perhaps.
    pub voided: Vec<PeerId>,
    /// Whose certificates were taken.
    pub admitted: Vec<PeerId>,
    /// Those that took the place of others: other members should be told.
    pub renewed: Vec<Certificate>,
    /// Why other certificates and revocations were not.
    pub refused: Vec<Refusal>,
}

impl News {
    fn admit(&mut self, members: &mut Members, certificate: Certificate, now: u64) {
        let peer = certificate.peer();
        match members.admit(certificate, now) {
            Ok(()) => self.admitted.push(peer),
            Err(refusal) => self.refused.push(refusal),
        }
    }

    /// Takes a certificate that its peer, or somebody else, says is a later one. Of a
    /// peer that is not known here it is of no use: it can be asked for.
    fn renew(&mut self, members: &mut Members, from: &PeerId, certificate: Certificate, now: u64) {
        let peer = certificate.peer();
        let held = members.certificate(&peer);
        let later = held.is_some_and(|held| certificate.is_later_than(held));
        if !later && peer != *from {
            return;
        }
        match members.admit(certificate.clone(), now) {
            Ok(()) => {
                self.admitted.push(peer);
                self.renewed.extend(later.then_some(certificate));
            }
            Err(refusal) => self.refused.push(refusal),
        }
    }

    fn revoke(&mut self, members: &mut Members, revocations: Vec<Revocation>, now: u64) {
        for revocation in revocations {
            match members.revoke(revocation.clone(), now) {
                Ok(done) => {
                    self.revocations.extend(done.fresh.then_some(revocation));
                    self.voided.extend(done.voided);
                }
                Err(refusal) => self.refused.push(refusal),
            }
        }
    }
}

/// Takes the certificate that a peer has shown on its own connection.
///
/// # Errors
/// [`Refusal::OtherPeer`], or why the peer is no member by it.
pub fn shown(
    members: &mut Members,
    peer: &PeerId,
    certificate: Certificate,
    now: u64,
) -> Result<News, Refusal> {
    if certificate.peer() != *peer {
        return Err(Refusal::OtherPeer);
    }
    let mut news = News::default();
    news.renew(members, peer, certificate, now);
    match news.refused.pop() {
        Some(refusal) => Err(refusal),
        None => Ok(news),
    }
}

/// Answers a member's question, and says what it changed.
pub fn answer(members: &mut Members, from: &PeerId, ask: Ask, now: u64) -> (Answer, News) {
    let mut news = News::default();
    news.revoke(members, ask.revocations, now);
    for renewed in ask.renewed {
        news.renew(members, from, renewed, now);
    }
    let known = ask.want.iter().filter(|peer| members.check(peer, now).is_ok());
    let certificates = known.filter_map(|peer| members.certificate(peer)).cloned();
    let certificates = certificates.take(MAX_ITEMS).collect();
    let revoked = members.revoked();
    let mut answer = Answer { certificates, digest: revoked.digest(), ..Answer::default() };
    if let Some(held) = ask.held.filter(|_| ask.digest != answer.digest) {
        let mut lacks: Vec<_> = revoked.lacking(&held).filter(|r| r.id() >= ask.from).collect();
        lacks.sort_unstable_by_key(|revocation| revocation.id());
        let unknown = revoked.unknown(&held);
        // As far as both lists go.
        let ends = [lacks.get(MAX_ITEMS).map(|r| r.id()), unknown.get(MAX_ITEMS).copied()];
        answer.next = ends.into_iter().flatten().min();
        let within = |id: ShortId| answer.next.is_none_or(|next| id < next);
        let lacks = lacks.into_iter().filter(|revocation| within(revocation.id()));
        answer.revocations = lacks.cloned().collect();
        answer.lacking = unknown.into_iter().filter(|id| within(*id)).collect();
    }
    (answer, news)
}

/// The question with which a comparison begins: at the start of a connection.
pub fn greet(members: &Members) -> Ask {
    Ask { digest: members.revoked().digest(), ..Ask::default() }
}

/// Asks for the certificates of peers: of the first [`MAX_ITEMS`] of them.
pub fn want(members: &Members, peers: &[PeerId]) -> Ask {
    let want = peers.iter().take(MAX_ITEMS).copied().collect();
    Ask { want, ..greet(members) }
}

/// Tells of later certificates: of the first [`MAX_ITEMS`] of them.
pub fn renewed(members: &Members, certificates: &[Certificate]) -> Ask {
    let renewed = certificates.iter().take(MAX_ITEMS).cloned().collect();
    Ask { renewed, ..greet(members) }
}

/// Tells of revocations: of the first [`MAX_ITEMS`] of them.
pub fn tell(members: &Members, revocations: &[Revocation]) -> Ask {
    let revocations = revocations.iter().take(MAX_ITEMS).cloned().collect();
    Ask { revocations, ..greet(members) }
}

/// Takes the answer to a question, and says what it changed, and what to ask next, if
/// anything. A comparison begins with [`greet`], and goes on until the two hold the same,
/// but for what one of them refuses.
///
/// Of certificates those alone are taken that were asked for.
pub fn heard(members: &mut Members, asked: &Ask, answer: Answer, now: u64) -> (News, Option<Ask>) {
    let mut news = News::default();
    for certificate in answer.certificates {
        match asked.want.contains(&certificate.peer()) {
            true => news.admit(members, certificate, now),
            false => news.refused.push(Refusal::OtherPeer),
        }
    }
    news.revoke(members, answer.revocations, now);
    let revoked = members.revoked();
    let (digest, ids) = (revoked.digest(), revoked.ids());
    if digest == answer.digest {
        return (news, None);
    }
    let from = match asked.held {
        // Each step is of later ids than the last one, or it would go on for ever with
        // one that lies, or refuses what it is told.
        Some(_) => answer.next.filter(|next| *next > asked.from),
        None => is_greeting(asked).then_some(0),
    };
    let told = asked.held.as_ref().map_or(&[][..], |held| held);
    let lacks = |revocation: &&Revocation| {
        let id = revocation.id();
        answer.lacking.contains(&id) && told.binary_search(&id).is_ok()
    };
    let revocations: Vec<_> = revoked.iter().filter(lacks).take(MAX_ITEMS).cloned().collect();
    let next = (from.is_some() || !revocations.is_empty()).then(|| {
        let held = from.map(|from| ids.into_iter().filter(|id| *id >= from).collect());
        Ask { digest, held, from: from.unwrap_or_default(), revocations, ..Ask::default() }
    });
    (news, next)
}

fn is_greeting(ask: &Ask) -> bool {
    ask.want.is_empty() && ask.renewed.is_empty() && ask.revocations.is_empty()
}

#[cfg(test)]
#[path = "talk_tests.rs"]
mod tests;
