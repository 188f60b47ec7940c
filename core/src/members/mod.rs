//! Who has shown a certificate of membership: what the whole node asks where one is
//! needed.
//!
//! What is decided is in [`admit`], which is pure. `held` and `vetting`
//! have gossip wait for certificates that are not here yet, `service` fetches those,
//! and tells of renewals and revocations (`jobs`: whom of what, `pending`: whom not to
//! ask, `elsewhere`: whom else to ask, `places`: whose questions are answered); `files`
//! reads this node's certificate, and what is revoked, again when the files change.

mod elsewhere;
mod files;
pub mod held;
pub mod jobs;
mod pending;
mod places;
mod service;
mod vetting;

pub(crate) use files::{Files, follow};
pub(crate) use service::{Around, start};
pub(crate) use vetting::Vetting;

use crate::{
    Error, ErrorKind, PeerId, Result,
    admit::{
        self, Certificate, Refusal, Revocation, Revoked,
        gate::Hello,
        talk,
        wire::{Answer, Ask},
    },
    cluster::Roles,
    metrics::{ByLabel, Metrics},
    trouble::Troubles,
};
use held::HOLD;
use jobs::{News, Question};
use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// This node's certificate, to users.
const OWN: &str = "this node's certificate";
/// How long before it ends that is said, in seconds: three days, or the last tenth of
/// its time if that is less.
const WARN: u64 = 3 * 24 * 3600;
/// Certificates that may be asked for at a time, before the service takes them.
const WANTED: usize = 1024;

/// The members that a node knows. Clones share them.
#[derive(Clone)]
pub(crate) struct Members(Arc<Inner>);

struct Inner {
    state: Mutex<admit::Members>,
    /// Changes when somebody may have become a member, and when somebody may be
    /// none any more.
    more: watch::Sender<u64>,
    fewer: watch::Sender<u64>,
    /// Of whom something else may be proven than before.
    others: Mutex<HashSet<PeerId>>,
    other: Notify,
    /// Which own certificate it was said of that it ends soon.
    warned: Mutex<Option<[u8; 16]>>,
    wanted: mpsc::Sender<Wanted>,
    /// Taken by the service when it starts.
    asked: Mutex<Option<mpsc::Receiver<Wanted>>>,
    /// What other nodes are to be told.
    news: Mutex<News>,
    newer: Notify,
    refused: ByLabel,
}

/// Certificates that are not here, and who has them.
#[derive(Debug)]
struct Wanted {
    sources: Vec<PeerId>,
    from: PeerId,
    /// Dropped when that one has been asked for all of them.
    asking: Option<oneshot::Sender<()>>,
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> u64 {
    admit::unix_seconds(SystemTime::now())
}

impl Members {
    /// Those of the node `own`, whose certificate must be for it, and valid.
    ///
    /// # Errors
    /// `Config` if it is not.
    pub(crate) fn new(own: PeerId, state: admit::Members, metrics: &Metrics) -> Result<Self> {
        let refusal = match state.own().peer() == own {
            true => state.check(&own, now()).err(),
            false => Some(Refusal::OtherPeer),
        };
        if let Some(refusal) = refusal {
            return Err(unusable(own, state.own(), refusal));
        }
        let (wanted, asked) = mpsc::channel(WANTED);
        let refused = ByLabel::default();
        metrics.register(
            "admit_refused",
            "Certificates that were not accepted, and connections without one, by reason",
            refused.clone(),
        );
        Ok(Self(Arc::new(Inner {
            state: Mutex::new(state),
            more: watch::Sender::new(0),
            fewer: watch::Sender::new(0),
            others: Mutex::default(),
            other: Notify::new(),
            warned: Mutex::default(),
            wanted,
            asked: Mutex::new(Some(asked)),
            news: Mutex::default(),
            newer: Notify::new(),
            refused,
        })))
    }

    /// This node's certificate.
    pub(crate) fn own(&self) -> Certificate {
        self.state().own().clone()
    }

    /// Takes what a peer has shown on its own connection.
    ///
    /// # Errors
    /// Why it is no member.
    pub(crate) fn shown(&self, peer: &PeerId, shown: &[u8]) -> Result<(), Refusal> {
        // The signature, which takes long, with no lock held.
        let certificate = Hello::decode(shown)?.certificate;
        let news = talk::shown(&mut self.state(), peer, certificate, now())?;
        self.hand_on(self.news(Some(*peer), news));
        Ok(())
    }

    /// Whether a peer is a member now.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn check(&self, peer: &PeerId) -> Result<(), Refusal> {
        self.state().check(peer, now())
    }

    /// What is proven of a peer.
    pub(crate) fn roles(&self, peer: &PeerId) -> Roles {
        self.state().roles(peer, now()).iter().map(String::as_str).collect()
    }

    /// Waits until something else may be proven of somebody, and says of whom.
    pub(crate) async fn others(&self) -> Vec<PeerId> {
        loop {
            let other = self.0.other.notified();
            let others = std::mem::take(&mut *lock(&self.0.others));
            if !others.is_empty() {
                return others.into_iter().collect();
            }
            other.await;
        }
    }

    /// Has the certificate of a source fetched from who passed on what it says.
    pub(crate) fn want(&self, source: PeerId, from: PeerId) {
        // What finds no room is wanted again with the next message of the source.
        let sources = vec![source];
        let _ = self.0.wanted.try_send(Wanted { sources, from, asking: None });
    }

    /// Whether a certificate by which a peer would be a member may come yet.
    fn lacks(&self, peer: &PeerId) -> bool {
        self.check(peer).is_err_and(may_come)
    }

    /// Waits until a partner has been asked for the certificates of these that are not
    /// here, and has answered; or for so long as messages are held.
    pub(crate) async fn proven(&self, sources: Vec<PeerId>, partner: PeerId) {
        let lacked: HashSet<_> = sources.into_iter().filter(|s| self.lacks(s)).collect();
        if lacked.is_empty() {
            return;
        }
        let (asking, asked) = oneshot::channel();
        let wanted =
            Wanted { sources: lacked.into_iter().collect(), from: partner, asking: Some(asking) };
        if self.0.wanted.try_send(wanted).is_ok() {
            // It is dropped when that is done.
            let _ = tokio::time::timeout(HOLD, asked).await;
        }
    }

    /// Changes when somebody may have become a member.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.more.subscribe()
    }

    /// What changes when somebody may be none any more.
    pub(crate) fn fewer(&self) -> &watch::Sender<u64> {
        &self.0.fewer
    }

    /// Revokes what an authority says, and tells the others. How much of it was new.
    ///
    /// # Errors
    /// `Config` if it is of another authority, or of another time: what comes before
    /// it counts.
    pub(crate) fn revoke(&self, revocations: Vec<Revocation>) -> Result<usize> {
        let mut news = talk::News::default();
        let mut refused = None;
        for revocation in revocations {
            let done = self.state().revoke(revocation.clone(), now());
            match done {
                Ok(done) => {
                    news.revocations.extend(done.fresh.then_some(revocation));
                    news.voided.extend(done.voided);
                }
                // One that is over says nothing any more, and stands in the file yet.
                Err(Refusal::Expired) => {}
                Err(refusal) => {
                    refused.get_or_insert((revocation, refusal));
                }
            }
        }
        let new = news.revocations.len();
        self.hand_on(self.news(None, news));
        match refused {
            None => Ok(new),
            Some((revocation, refusal)) => Err(Error::config(
                "revoked",
                format_args!("{} by {}", revocation.peer(), revocation.ca()),
                match refusal {
                    Refusal::OtherAuthority => {
                        "it is signed by none of this node's authorities (`admit`): leave it out, \
                         or have it signed by one of them"
                            .to_owned()
                    }
                    refusal => refusal.to_string(),
                },
            )),
        }
    }

    /// Puts another certificate in the place of this node's own, and tells the others.
    ///
    /// # Errors
    /// `Config` if it is not accepted: then the old one stays.
    pub(crate) fn renew(&self, certificate: Certificate) -> Result<()> {
        let mut state = self.state();
        if *state.own() == certificate {
            return Ok(());
        }
        let own = state.own().peer();
        // Those who have seen the one that it replaces would stay with that.
        if certificate.peer() == own && !certificate.is_later_than(state.own()) {
            let accepted = "it was signed no later than the one that it is to replace, and others \
                            would go on with that; sign another, a second later at least";
            return Err(Error::config("certificate", certificate.issued(), accepted));
        }
        let renewed = state.renew(certificate.clone(), now());
        drop(state);
        renewed.map_err(|refusal| unusable(own, &certificate, refusal))?;
        let admitted = vec![own];
        let renewed = talk::News { admitted, renewed: vec![certificate], ..Default::default() };
        self.hand_on(self.news(None, renewed));
        Ok(())
    }

    /// Takes the revocations that were kept. It checks all their signatures.
    pub(crate) fn restore(&self, kept: &[u8]) {
        let cas = self.state().cas().to_vec();
        match Revoked::decode(kept, now(), &cas) {
            Ok(revoked) => self.state().restore(&revoked, now()),
            Err(error) => tracing::warn!(
                %error,
                "what was kept of revoked certificates can't be read: they are heard of again \
                 from other members"
            ),
        }
        self.changed(&self.0.fewer);
    }

    /// Those that are to be kept.
    pub(crate) fn revoked(&self) -> Vec<u8> {
        self.state().revoked().encode()
    }

    /// Counts, and says, that a connection did not pass.
    pub(crate) fn turned_away(&self, peer: &PeerId, label: &'static str, why: &dyn fmt::Display) {
        self.count(label);
        tracing::debug!(%peer, %why, "a connection did not pass");
    }

    /// What a question says.
    fn question(&self, question: Question) -> (Ask, bool) {
        let state = self.state();
        match question {
            Question::Compare(step) => (step.unwrap_or_else(|| talk::greet(&state)), true),
            Question::News { want, renewed, revoked } => {
                let ask = Ask { want, renewed, revocations: revoked, ..talk::greet(&state) };
                (ask, false)
            }
        }
    }

    /// Answers a question.
    fn answer(&self, peer: &PeerId, ask: Ask) -> (Answer, News) {
        let (answer, news) = talk::answer(&mut self.state(), peer, ask, now());
        (answer, self.news(Some(*peer), news))
    }

    /// Takes an answer.
    fn heard(&self, peer: &PeerId, ask: &Ask, answer: Answer) -> (News, Option<Ask>) {
        let (news, next) = talk::heard(&mut self.state(), ask, answer, now());
        (self.news(Some(*peer), news), next)
    }

    /// Tells the node what has changed. Gives what other nodes should be told.
    fn news(&self, from: Option<PeerId>, news: talk::News) -> News {
        news.refused.iter().for_each(|refusal| self.count(refusal.label()));
        if !news.admitted.is_empty() {
            self.changed(&self.0.more);
            lock(&self.0.others).extend(news.admitted);
            self.0.other.notify_one();
        }
        // Also where nobody is known to be put out: who is not known may be in a table.
        if !news.voided.is_empty() || !news.revocations.is_empty() {
            self.changed(&self.0.fewer);
        }
        News { from, renewed: news.renewed, revoked: news.revocations }
    }

    /// Has the service tell others, and keep what is revoked.
    fn hand_on(&self, news: News) {
        if !news.is_empty() {
            lock(&self.0.news).add(news);
            self.0.newer.notify_one();
        }
    }

    /// Waits until there is something to tell others.
    async fn told(&self) -> News {
        loop {
            let newer = self.0.newer.notified();
            let news = std::mem::take(&mut *lock(&self.0.news));
            if !news.is_empty() {
                return news;
            }
            newer.await;
        }
    }

    /// What the service is asked for.
    fn asked(&self) -> Option<mpsc::Receiver<Wanted>> {
        lock(&self.0.asked).take()
    }

    fn pin(&self, peer: PeerId) {
        self.state().pin(peer);
    }

    fn unpin(&self, peer: &PeerId) {
        self.state().unpin(peer);
    }

    /// Lets go of what is over. Gives when that is to be done next.
    fn look(&self, troubles: &Troubles) -> Duration {
        let now = now();
        let mut state = self.state();
        let ended = !state.expired(now).is_empty();
        let own = state.own().clone();
        let refusal = state.check(&own.peer(), now).err();
        let next = state
            .next_change(now)
            .map_or(Duration::MAX, |at| Duration::from_secs(at.saturating_sub(now).max(1)));
        drop(state);
        if ended {
            self.changed(&self.0.fewer);
        }
        self.say(&own, refusal, now, troubles);
        next
    }

    /// Says when the own certificate has ended, and some time before.
    fn say(&self, own: &Certificate, refusal: Option<Refusal>, now: u64, troubles: &Troubles) {
        match refusal {
            Some(refusal) => {
                let why = format!(
                    "{refusal}; no member connects to this node until it has another: `casm \
                     admit sign --ca FILE --peer {}` makes one",
                    own.peer()
                );
                troubles.fails(OWN, refusal.label(), why);
            }
            None => troubles.works(OWN),
        }
        if let Some(left_s) = self.ends_soon(own, now).filter(|_| refusal.is_none()) {
            let peer = own.peer();
            tracing::warn!(
                left_s,
                "this node's certificate ends soon: `casm admit sign --ca FILE --peer {peer}` \
                 makes another, which is read while the node runs"
            );
        }
    }

    /// For how many seconds yet the own certificate is good, if that is to be said now:
    /// of each it is said once.
    fn ends_soon(&self, own: &Certificate, now: u64) -> Option<u64> {
        let early = WARN.min((own.not_after() - own.not_before()) / 10);
        let left = own.not_after().saturating_sub(now);
        let mut warned = lock(&self.0.warned);
        let soon = left < early && *warned != Some(*own.serial());
        soon.then(|| {
            *warned = Some(*own.serial());
            left
        })
    }

    fn count(&self, reason: &'static str) {
        self.0.refused.get_or_create(&[("reason", reason)]).inc();
    }

    fn changed(&self, what: &watch::Sender<u64>) {
        what.send_modify(|turn| *turn += 1);
    }

    fn state(&self) -> MutexGuard<'_, admit::Members> {
        lock(&self.0.state)
    }
}

/// What these locks guard is whole at every moment at which a panic could strike.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a certificate that is accepted may yet come.
fn may_come(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::Missing | Refusal::Expired | Refusal::Revoked)
}

/// Why a node's own certificate cannot be used.
fn unusable(own: PeerId, certificate: &Certificate, refusal: Refusal) -> Error {
    let why = match refusal {
        Refusal::OtherPeer => format!(
            "it is for the peer {}, and this node's key is that of {own}",
            certificate.peer()
        ),
        Refusal::OtherAuthority => {
            format!("{} signed it, which is none of this node's authorities", certificate.ca())
        }
        Refusal::OtherNamespace => {
            format!("it is for the cluster {:?}", certificate.namespace())
        }
        refusal => refusal.to_string(),
    };
    let message =
        format!("certificate: {why}; `casm admit sign --ca FILE --peer {own}` makes another");
    Error::new(ErrorKind::Config, message)
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&*self.state()).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Keypair, Namespace, admit::Terms};

    /// A certificate for the default namespace.
    pub(crate) fn sign(ca: &Keypair, peer: PeerId, issued: u64, not_after: u64) -> Certificate {
        let terms = Terms {
            peer,
            namespace: Namespace::default(),
            roles: vec![],
            not_before: issued,
            not_after,
            issued,
            serial: rand::random(),
        };
        Certificate::sign(ca, terms).unwrap()
    }

    /// What a node of this authority knows: itself, whose certificate is good for an hour.
    pub(crate) fn state(ca: &Keypair, own: PeerId) -> admit::Members {
        let certificate = sign(ca, own, now() - 10, now() + 3600);
        admit::Members::new(vec![ca.public().to_peer_id()], Namespace::default(), certificate)
            .unwrap()
    }

    pub(crate) fn members(ca: &Keypair, own: PeerId) -> Members {
        Members::new(own, state(ca, own), &Metrics::default()).unwrap()
    }

    #[test]
    fn that_a_certificate_ends_is_said_once_of_each_and_in_time() {
        let (ca, own, day) = (Keypair::generate_ed25519(), PeerId::random(), 24 * 3600);
        let members = members(&ca, own);
        let began = now();
        let [long, next] = [(); 2].map(|()| sign(&ca, own, began, began + 60 * day));
        let end = began + 60 * day;
        assert_eq!(members.ends_soon(&long, end - 3 * day), None);
        assert_eq!(members.ends_soon(&long, end - 3 * day + 1), Some(3 * day - 1));
        assert_eq!(members.ends_soon(&long, end - 5), None, "once");
        assert_eq!(members.ends_soon(&next, end - 5), Some(5), "but of each");
        // Of one that is short, in the last tenth of its time.
        let short = sign(&ca, own, began, began + 600);
        assert_eq!(members.ends_soon(&short, began + 540), None);
        assert_eq!(members.ends_soon(&short, began + 541), Some(59));
    }
}
