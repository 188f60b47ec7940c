//! Who is taken for a member: the one place that is asked before anything is done
//! for a peer, with a peer, or with what a peer has signed.
//!
//! Whoever keeps something of peers asks again when it [changes](Who::changes).

use crate::{Error, Result, admit::Refusal, members::Members};
use libp2p::PeerId;
use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// The most ids on an allow list, and on a deny list.
pub const MAX_LISTED: usize = 65_536;

/// Why a peer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Stranger {
    /// It is on the deny list.
    #[error("it is on the deny list of this node")]
    Denied,
    /// There is an allow list, and it is not on that.
    #[error("it is not on the allow list of this node")]
    NotAllowed,
    /// Members have certificates, and none of it is accepted.
    #[error("{0}")]
    NoMember(Refusal),
}

impl Stranger {
    /// The reason's name as a metrics label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotAllowed => "not-allowed",
            Self::NoMember(refusal) => refusal.label(),
        }
    }

    /// What a person does about it.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Denied => "take it off the list with `undeny`",
            Self::NotAllowed => "put it on the list with `allow`",
            Self::NoMember(_) => "`casm admit sign` makes another certificate for it",
        }
    }
}

/// Whom a node takes. Pure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    /// Nobody else, if there is such a list.
    allow: Option<HashSet<PeerId>>,
    /// Not these, whether they are allowed or not.
    deny: HashSet<PeerId>,
}

impl Lists {
    /// Whether a peer is taken.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, peer: &PeerId) -> Result<(), Stranger> {
        if self.deny.contains(peer) {
            return Err(Stranger::Denied);
        }
        match &self.allow {
            Some(allow) if !allow.contains(peer) => Err(Stranger::NotAllowed),
            _ => Ok(()),
        }
    }

    /// Whether there is nothing on them that could keep anybody out.
    fn are_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    /// Puts ids on the allow list, which there is from the first one on.
    ///
    /// # Errors
    /// `Config` above [`MAX_LISTED`]: then nothing is changed.
    pub(crate) fn allow(&mut self, ids: &[PeerId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut allow = self.allow.clone().unwrap_or_default();
        allow.extend(ids);
        bounded("allow", &allow)?;
        self.allow = Some(allow);
        Ok(())
    }

    /// Takes ids off the allow list. The last one leaves an empty list: nobody.
    pub(crate) fn disallow(&mut self, ids: &[PeerId]) {
        if let Some(allow) = &mut self.allow {
            for id in ids {
                allow.remove(id);
            }
        }
    }

    /// Puts another allow list, or none, in its place.
    ///
    /// # Errors
    /// As of [`allow`](Self::allow).
    pub(crate) fn set_allowed(&mut self, ids: Option<&[PeerId]>) -> Result<()> {
        let allow = ids.map(|ids| ids.iter().copied().collect());
        allow.iter().try_for_each(|allow| bounded("allow", allow))?;
        self.allow = allow;
        Ok(())
    }

    /// Puts ids on the deny list.
    ///
    /// # Errors
    /// `Config` above [`MAX_LISTED`]: then nothing is changed.
    pub(crate) fn deny(&mut self, ids: &[PeerId]) -> Result<()> {
        let deny = self.deny.iter().chain(ids).copied().collect();
        bounded("deny", &deny)?;
        self.deny = deny;
        Ok(())
    }

    /// Takes ids off the deny list.
    pub(crate) fn undeny(&mut self, ids: &[PeerId]) {
        for id in ids {
            self.deny.remove(id);
        }
    }

    /// Puts another deny list in its place.
    ///
    /// # Errors
    /// As of [`deny`](Self::deny).
    pub(crate) fn set_denied(&mut self, ids: &[PeerId]) -> Result<()> {
        let deny = ids.iter().copied().collect();
        bounded("deny", &deny)?;
        self.deny = deny;
        Ok(())
    }
}

fn bounded(field: &str, list: &HashSet<PeerId>) -> Result<()> {
    if list.len() <= MAX_LISTED {
        return Ok(());
    }
    let accepted = format!("write {MAX_LISTED} ids at most");
    Err(Error::config(field, format_args!("{} ids", list.len()), accepted))
}

/// Sorted, as users see it.
fn sorted(list: &HashSet<PeerId>) -> Vec<PeerId> {
    let mut ids: Vec<_> = list.iter().copied().collect();
    ids.sort_unstable();
    ids
}

/// Whom a node takes, shared by all of its parts. Clones share it. By default
/// everybody is taken.
#[derive(Clone, Default)]
pub(crate) struct Who(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Always taken.
    own: Option<PeerId>,
    /// Whether there is anything to look at: if not, no lock is taken.
    selects: AtomicBool,
    lists: RwLock<Lists>,
    changes: watch::Sender<u64>,
    /// Where members have certificates.
    members: Option<Members>,
}

impl Who {
    /// Of the node `own`: with an allow list, unless it is empty, and a deny list; and
    /// with certificates, where members have some.
    ///
    /// # Errors
    /// `Config` if a list is too long, or denies the node itself.
    pub(crate) fn new(
        own: PeerId,
        allow: &[PeerId],
        deny: &[PeerId],
        members: Option<Members>,
    ) -> Result<Self> {
        let changes = members.as_ref().map(|members| members.fewer().clone());
        let changes = changes.unwrap_or_default();
        let who = Self(Arc::new(Inner { own: Some(own), members, changes, ..Inner::default() }));
        who.allow(allow)?;
        who.deny(deny)?;
        Ok(who)
    }

    /// The certificates, where members have some.
    pub(crate) fn members(&self) -> Option<&Members> {
        self.0.members.as_ref()
    }

    /// Whether a peer is taken by what is known of it: it is on the lists as it
    /// should be, and its certificate is here, if it needs one.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn proven(&self, peer: &PeerId) -> Result<(), Stranger> {
        self.check(peer)?;
        match &self.0.members {
            Some(members) if self.0.own.as_ref() != Some(peer) => {
                members.check(peer).map_err(Stranger::NoMember)
            }
            _ => Ok(()),
        }
    }

    /// Whether a peer may be taken, if it has the certificate that it may need: it is
    /// on the lists as it should be. Cheap, and cheaper still without lists.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, peer: &PeerId) -> Result<(), Stranger> {
        if !self.0.selects.load(Ordering::Acquire) || self.0.own.as_ref() == Some(peer) {
            return Ok(());
        }
        self.read().check(peer)
    }

    /// Tells that some who were taken may not be any more, or the other way round.
    /// Who looks at it after that finds the new state.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(crate) fn allow(&self, ids: &[PeerId]) -> Result<()> {
        self.change(|lists| lists.allow(ids))
    }

    pub(crate) fn disallow(&self, ids: &[PeerId]) {
        self.infallibly(|lists| lists.disallow(ids));
    }

    pub(crate) fn set_allowed(&self, ids: Option<&[PeerId]>) -> Result<()> {
        self.change(|lists| lists.set_allowed(ids))
    }

    pub(crate) fn deny(&self, ids: &[PeerId]) -> Result<()> {
        self.not_own(ids)?;
        self.change(|lists| lists.deny(ids))
    }

    pub(crate) fn undeny(&self, ids: &[PeerId]) {
        self.infallibly(|lists| lists.undeny(ids));
    }

    pub(crate) fn set_denied(&self, ids: &[PeerId]) -> Result<()> {
        self.not_own(ids)?;
        self.change(|lists| lists.set_denied(ids))
    }

    /// The allow list in the order of the ids, if there is one.
    pub(crate) fn allowed(&self) -> Option<Vec<PeerId>> {
        self.read().allow.as_ref().map(sorted)
    }

    /// The deny list in the order of the ids.
    pub(crate) fn denied(&self) -> Vec<PeerId> {
        sorted(&self.read().deny)
    }

    fn not_own(&self, ids: &[PeerId]) -> Result<()> {
        match self.0.own.filter(|own| ids.contains(own)) {
            None => Ok(()),
            Some(own) => Err(Error::config(
                "deny",
                format_args!("{own}"),
                "it is the id of this node itself: leave it out",
            )),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Lists) -> Result<()>) -> Result<()> {
        let mut lists = self.write();
        let mut next = lists.clone();
        change(&mut next)?;
        if *lists == next {
            return Ok(());
        }
        self.0.selects.store(!next.are_open(), Ordering::Release);
        *lists = next;
        drop(lists);
        self.0.changes.send_modify(|turn| *turn += 1);
        Ok(())
    }

    fn infallibly(&self, change: impl FnOnce(&mut Lists)) {
        let changed = self.change(|lists| {
            change(lists);
            Ok(())
        });
        debug_assert!(changed.is_ok(), "lists that get shorter are not too long");
    }

    /// What the lock guards is whole at every moment at which a panic could
    /// strike; so below.
    fn read(&self) -> RwLockReadGuard<'_, Lists> {
        self.0.lists.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.0.lists.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// How many are on the lists.
impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = self.read();
        f.debug_struct("Who")
            .field("allowed", &lists.allow.as_ref().map(HashSet::len))
            .field("denied", &lists.deny.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn ids(n: usize) -> Vec<PeerId> {
        (0..n).map(|_| PeerId::random()).collect()
    }

    #[test]
    fn without_lists_everybody_is_taken() {
        let (peers, who) = (ids(2), Who::default());
        assert!(peers.iter().all(|peer| who.check(peer).is_ok()));
        let who = Who::new(peers[0], &[], &[], None).unwrap();
        assert_eq!((who.check(&peers[1]), who.allowed(), who.denied()), (Ok(()), None, vec![]));
    }

    #[test]
    fn an_allow_list_takes_those_on_it_and_the_node_itself() {
        let (own, peers) = (PeerId::random(), ids(3));
        let who = Who::new(own, &peers[..1], &[], None).unwrap();
        assert_eq!((who.check(&own), who.check(&peers[0])), (Ok(()), Ok(())));
        assert_eq!(who.check(&peers[1]), Err(Stranger::NotAllowed));
        who.allow(&peers[1..2]).unwrap();
        assert_eq!(who.check(&peers[1]), Ok(()));
        let mut both = peers[..2].to_vec();
        both.sort_unstable();
        assert_eq!(who.allowed(), Some(both));
        // The last one leaves nobody, and not everybody.
        who.disallow(&peers);
        assert_eq!(who.allowed(), Some(vec![]));
        assert_eq!((who.check(&peers[0]), who.check(&own)), (Err(Stranger::NotAllowed), Ok(())));
        who.set_allowed(None).unwrap();
        assert_eq!((who.check(&peers[2]), who.allowed()), (Ok(()), None));
        // Nor does taking one off a list that isn't there, or putting none on it, make one.
        who.disallow(&peers);
        who.allow(&[]).unwrap();
        assert_eq!(who.allowed(), None);
    }

    #[test]
    fn who_is_denied_is_not_taken_though_allowed() {
        let (own, peers) = (PeerId::random(), ids(3));
        let who = Who::new(own, &peers[..2], &peers[1..], None).unwrap();
        let is = |n: usize| who.check(&peers[n]);
        assert_eq!((is(0), is(1), is(2)), (Ok(()), Err(Stranger::Denied), Err(Stranger::Denied)));
        who.undeny(&peers);
        assert_eq!((is(0), is(1), is(2)), (Ok(()), Ok(()), Err(Stranger::NotAllowed)));
        who.set_denied(&peers[..1]).unwrap();
        assert_eq!((is(0), who.denied()), (Err(Stranger::Denied), vec![peers[0]]));
    }

    #[test]
    fn nobody_denies_himself() {
        let own = PeerId::random();
        let denied = [PeerId::random(), own];
        let who = Who::new(own, &[], &[], None).unwrap();
        let refused = [
            Who::new(own, &[], &denied, None).err(),
            who.deny(&denied).err(),
            who.set_denied(&denied).err(),
        ];
        for error in refused.map(Option::unwrap) {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(&own.to_string()), "{error}");
        }
        assert_eq!(who.denied(), []);
    }

    #[test]
    fn lists_are_bounded_and_what_is_too_much_changes_nothing() {
        let (peers, who) = (ids(MAX_LISTED + 1), Who::default());
        let (all, fit) = (&peers[..], &peers[..MAX_LISTED]);
        for error in
            [who.allow(all), who.set_allowed(Some(all)), who.deny(all), who.set_denied(all)]
        {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains("65537 ids"), "{error}");
        }
        assert_eq!((who.allowed(), who.denied()), (None, vec![]));
        who.allow(fit).unwrap();
        who.deny(fit).unwrap();
        // Who is on it already takes no place.
        who.allow(fit).unwrap();
        assert!(who.allow(&all[MAX_LISTED..]).is_err() && who.deny(&all[MAX_LISTED..]).is_err());
        assert_eq!(who.denied().len(), MAX_LISTED);
    }

    #[test]
    fn changes_are_told_and_what_changes_nothing_is_none() {
        let (peers, who) = (ids(2), Who::default());
        let mut changes = who.changes();
        let mut told = || {
            let told = changes.has_changed().unwrap();
            changes.mark_unchanged();
            told
        };
        assert!(!told());
        who.deny(&peers[..1]).unwrap();
        assert!(told());
        who.deny(&peers[..1]).unwrap();
        who.undeny(&peers[1..]);
        who.set_denied(&peers[..1]).unwrap();
        assert!(!told());
        who.clone().undeny(&peers);
        assert!(told());
    }
}
