//! What a node knows of who may be there.

use super::{Certificate, Insert, MAX_AUTHORITIES, Refusal, Revocation, Revoked, check_authority};
use crate::{Error, Namespace, Result, cache::cache};
use libp2p::PeerId;
use lru::LruCache;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    num::NonZeroUsize,
};

/// The most certificates of others that are kept, but for those of pinned peers.
pub const MAX_MEMBERS: usize = 16_384;

/// The members of a cluster, as far as a node knows them. Times are seconds since
/// 1970.
///
/// Of each peer one certificate is kept. Those of [pinned](Self::pin) peers stay; of
/// the others the ones that were shown longest ago make room.
pub struct Members {
    cas: Vec<PeerId>,
    namespace: Namespace,
    own: Certificate,
    revoked: Revoked,
    pinned: HashSet<PeerId>,
    /// Of pinned peers.
    held: HashMap<PeerId, Certificate>,
    /// Of all others.
    seen: LruCache<PeerId, Certificate>,
}

/// What a revocation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoking {
    /// Whether it is new here: others should hear of it.
    pub fresh: bool,
    /// The peer that is no member any more and was one, if there is one: the node
    /// itself, too.
    pub voided: Option<PeerId>,
}

impl Members {
    /// A cluster of which nobody but the node itself is known, whose certificate this
    /// is. Whether its time has come, [`check`](Self::check) says.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if there is no authority, one
    /// that is none or more than [`MAX_AUTHORITIES`], or the certificate is of
    /// another one or for another namespace.
    pub fn new(cas: Vec<PeerId>, namespace: Namespace, own: Certificate) -> Result<Self> {
        if cas.is_empty() || cas.len() > MAX_AUTHORITIES {
            let accepted = format!("name 1 to {MAX_AUTHORITIES} of them, by their peer ids");
            return Err(Error::config("certificate authorities", cas.len(), accepted));
        }
        for ca in &cas {
            check_authority(ca)?;
        }
        if !cas.contains(&own.ca()) {
            let accepted = "the node's certificate is signed by it, and it is none of the \
                            cluster's; name it as an authority, or have a certificate signed by one \
                            of them: `casm admit sign`";
            return Err(Error::config("certificate", own.ca().to_base58(), accepted));
        }
        if own.namespace() != namespace.as_str() {
            let accepted = format!(
                "the node's certificate is for it, and the node's namespace is {:?}; have one \
                 signed for that: `casm admit sign --ns {namespace}`",
                namespace.as_str()
            );
            return Err(Error::config("certificate", own.namespace(), accepted));
        }
        let room = NonZeroUsize::new(MAX_MEMBERS).expect("not 0");
        Ok(Self {
            cas,
            namespace,
            own,
            revoked: Revoked::default(),
            pinned: HashSet::new(),
            held: HashMap::new(),
            seen: cache(room),
        })
    }

    /// Who may sign certificates.
    pub fn cas(&self) -> &[PeerId] {
        &self.cas
    }

    /// The cluster's name.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The node's own certificate.
    pub fn own(&self) -> &Certificate {
        &self.own
    }

    /// The revocations that are held.
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// Takes the node's next certificate.
    ///
    /// # Errors
    /// [`Refusal::OtherPeer`], or why others would refuse it now. The old one stays.
    pub fn renew(&mut self, own: Certificate, now: u64) -> Result<(), Refusal> {
        if own.peer() != self.own.peer() {
            return Err(Refusal::OtherPeer);
        }
        self.judge(&own, now)?;
        self.own = own;
        Ok(())
    }

    /// Takes the certificate of a peer, if it is good. The one that was signed last
    /// stays, unless that is no good any more. One of the node itself is checked and
    /// changes nothing: see [`renew`](Self::renew).
    ///
    /// # Errors
    /// Why its peer is not a member by it.
    pub fn admit(&mut self, certificate: Certificate, now: u64) -> Result<(), Refusal> {
        self.judge(&certificate, now)?;
        let peer = certificate.peer();
        if peer == self.own.peer() {
            return Ok(());
        }
        let last = self.get(&peer).is_none_or(|held| certificate.is_later_than(held));
        if last || self.check(&peer, now).is_err() {
            match self.pinned.contains(&peer) {
                true => drop(self.held.insert(peer, certificate)),
                false => drop(self.seen.put(peer, certificate)),
            }
        } else {
            self.seen.promote(&peer);
        }
        Ok(())
    }

    /// Whether a peer is a member now, by what is known.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, peer: &PeerId, now: u64) -> Result<(), Refusal> {
        self.judge(self.get(peer).ok_or(Refusal::Missing)?, now)
    }

    /// The certificate of a peer, the node itself included. It may be over or revoked.
    pub fn certificate(&self, peer: &PeerId) -> Option<&Certificate> {
        self.get(peer)
    }

    /// What a peer may do: nothing if it is no member now.
    pub fn roles(&self, peer: &PeerId, now: u64) -> &[String] {
        let good = self.get(peer).filter(|certificate| self.judge(certificate, now).is_ok());
        good.map_or(&[], Certificate::roles)
    }

    /// Keeps what is known of a peer, and what will be: it is connected, say.
    pub fn pin(&mut self, peer: PeerId) {
        if self.pinned.insert(peer)
            && let Some(certificate) = self.seen.pop(&peer)
        {
            self.held.insert(peer, certificate);
        }
    }

    /// Keeps it no longer than others.
    pub fn unpin(&mut self, peer: &PeerId) {
        self.pinned.remove(peer);
        if let Some(certificate) = self.held.remove(peer) {
            self.seen.put(*peer, certificate);
        }
    }

    /// Takes a revocation.
    ///
    /// # Errors
    /// As of [`Revocation::check`].
    pub fn revoke(&mut self, revocation: Revocation, now: u64) -> Result<Revoking, Refusal> {
        let peer = revocation.peer();
        let was = self.check(&peer, now).is_ok();
        let fresh = self.revoked.insert(revocation, now, &self.cas)? == Insert::New;
        let voided = (was && self.check(&peer, now).is_err()).then_some(peer);
        Ok(Revoking { fresh, voided })
    }

    /// Takes the revocations that were kept by [`Revoked::encode`], at the start:
    /// whom they put out is not told.
    pub fn restore(&mut self, revoked: &Revoked, now: u64) {
        for revocation in revoked.iter() {
            let _ = self.revoked.insert(revocation.clone(), now, &self.cas);
        }
    }

    /// Lets go of what is over, and tells whose certificates those were: once and again
    /// of the node itself.
    pub fn expired(&mut self, now: u64) -> Vec<PeerId> {
        self.revoked.expire(now);
        let over = |certificate: &Certificate| now > certificate.ends();
        let mut ended: Vec<_> = self
            .held
            .extract_if(|_, certificate| over(certificate))
            .map(|(peer, _)| peer)
            .collect();
        ended.extend(over(&self.own).then(|| self.own.peer()));
        let gone = self.seen.iter().filter(|(_, certificate)| over(certificate));
        let gone: Vec<_> = gone.map(|(peer, _)| *peer).collect();
        for peer in gone {
            self.seen.pop(&peer);
            ended.push(peer);
        }
        ended
    }

    /// The second at which something changes next by itself: a certificate, or what a
    /// revocation takes back, begins to count or is over.
    pub fn next_change(&self, now: u64) -> Option<u64> {
        let certificates = std::iter::once(&self.own)
            .chain(self.held.values())
            .chain(self.seen.iter().map(|(_, certificate)| certificate));
        certificates
            .flat_map(|certificate| [certificate.begins(), certificate.ends().saturating_add(1)])
            .chain(self.revoked.next_end().map(|end| end.saturating_add(1)))
            .filter(|at| *at > now)
            .min()
    }

    /// How many certificates of others are kept.
    pub fn len(&self) -> usize {
        self.held.len() + self.seen.len()
    }

    /// Whether nobody else is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, peer: &PeerId) -> Option<&Certificate> {
        if *peer == self.own.peer() {
            return Some(&self.own);
        }
        self.held.get(peer).or_else(|| self.seen.peek(peer))
    }

    fn judge(&self, certificate: &Certificate, now: u64) -> Result<(), Refusal> {
        certificate.check(now, self.namespace.as_str(), &self.cas)?;
        if self.revoked.voids(certificate) { Err(Refusal::Revoked) } else { Ok(()) }
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("cas", &self.cas)
            .field("own", &self.own)
            .field("certificates", &self.len())
            .field("revoked", &self.revoked.len())
            .finish()
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
