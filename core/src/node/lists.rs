//! Who is taken, as the program changes it.

use super::Node;
use crate::{PeerId, Result};

/// Allow and deny lists. A peer that is on the deny list, or not on the allow list if
/// there is one, is a stranger to this node: it gets no connection and no answer, is
/// not dialled, and what it has signed is neither taken nor handed on, whoever brings
/// it. Each node has lists of its own: others may take whom this one doesn't.
///
/// A change counts at once. Connections of who became a stranger are closed, and its
/// record leaves the view ([`PeerLeft`](crate::Event::PeerLeft), with the reason
/// [`Left`](crate::LeaveReason::Left)). Who is taken again comes back by itself.
impl Node {
    /// Takes these peers too. With the first one there is an allow list, and who is not
    /// on it is a stranger. This node itself is taken, on it or not. Without any,
    /// nothing is changed.
    ///
    /// # Errors
    /// `Config` above [`MAX_LISTED`](crate::config::MAX_LISTED): then nothing is
    /// changed.
    pub fn allow(&self, ids: impl IntoIterator<Item = PeerId>) -> Result<()> {
        self.0.who.allow(&all(ids))
    }

    /// Takes peers off the allow list. When the last one has gone, it is an empty list:
    /// nobody is taken. [`allow_all`](Self::allow_all) takes everybody. Without an allow
    /// list it does nothing: [`deny`](Self::deny) keeps somebody out then.
    pub fn disallow(&self, ids: impl IntoIterator<Item = PeerId>) {
        self.0.who.disallow(&all(ids));
    }

    /// Does without an allow list: everybody is taken who is not denied.
    pub fn allow_all(&self) {
        // Nothing is too long.
        let _ = self.0.who.set_allowed(None);
    }

    /// Puts these in the place of the allow list, in one step: none of them means that
    /// nobody is taken.
    ///
    /// # Errors
    /// As of [`allow`](Self::allow).
    pub fn set_allowed(&self, ids: impl IntoIterator<Item = PeerId>) -> Result<()> {
        self.0.who.set_allowed(Some(&all(ids)))
    }

    /// Doesn't take these peers any more, whether they are allowed or not.
    ///
    /// # Errors
    /// `Config` if this node is among them, or above
    /// [`MAX_LISTED`](crate::config::MAX_LISTED): then nothing is changed.
    pub fn deny(&self, ids: impl IntoIterator<Item = PeerId>) -> Result<()> {
        self.0.who.deny(&all(ids))
    }

    /// Takes peers off the deny list.
    pub fn undeny(&self, ids: impl IntoIterator<Item = PeerId>) {
        self.0.who.undeny(&all(ids));
    }

    /// Puts these in the place of the deny list, in one step.
    ///
    /// # Errors
    /// As of [`deny`](Self::deny).
    pub fn set_denied(&self, ids: impl IntoIterator<Item = PeerId>) -> Result<()> {
        self.0.who.set_denied(&all(ids))
    }

    /// The allow list, in the order of the ids; `None` if there is none and everybody
    /// is taken.
    pub fn allowed(&self) -> Option<Vec<PeerId>> {
        self.0.who.allowed()
    }

    /// The deny list, in the order of the ids.
    pub fn denied(&self) -> Vec<PeerId> {
        self.0.who.denied()
    }
}

fn all(ids: impl IntoIterator<Item = PeerId>) -> Vec<PeerId> {
    ids.into_iter().collect()
}
