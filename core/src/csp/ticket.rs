//! Who waits at several places at once and may be served at one only.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};
use tokio::sync::Notify;

/// What a waiting party says when it is to be served. One that waits at one place
/// only always says yes.
pub(crate) trait Ticket: Clone {
    /// Reserves the party for the asker. Nobody waits for the answer: "not now"
    /// means that it is reserved for another at this moment.
    fn claim(&self) -> Claim;
    /// The asker has served it, once and for all.
    fn commit(&self);
    /// The asker did not serve it after all. True if somebody was told "not now"
    /// meanwhile: then all the places where it waits must look again.
    fn release(&self) -> bool;
    /// Whether both are of one party, which cannot serve itself.
    fn is(&self, other: &Self) -> bool;
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Yes,
    NotNow,
    /// It was served elsewhere, or has gone away.
    Gone,
}

const FREE: u8 = 0;
const HELD: u8 = 1;
/// Held, and another has asked.
const ASKED: u8 = 2;
const DONE: u8 = 3;

/// The ticket of a select, which all its branches show; or of nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Option<Arc<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    told: Notify,
}

impl Turn {
    /// A ticket for several places.
    pub(crate) fn shared() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether it was served, or has gone away.
    pub(crate) fn is_done(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.state.load(Ordering::Acquire) == DONE)
    }

    #[cfg(test)]
    pub(crate) fn is_free(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.state.load(Ordering::Acquire) == FREE)
    }

    /// Goes away. False if it has been served, or is reserved at this moment: then
    /// it is told when it is free.
    pub(crate) fn leave(&self) -> bool {
        let Some(Shared { state, .. }) = self.0.as_deref() else { return true };
        let before = state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| match now {
            FREE => Some(DONE),
            HELD => Some(ASKED),
            _ => None,
        });
        before == Ok(FREE)
    }

    /// Tells the select that it was asked for, and is free again.
    pub(crate) fn tell(&self) {
        if let Some(shared) = &self.0 {
            shared.told.notify_one();
        }
    }

    /// Waits until that is told.
    pub(crate) async fn told(&self) {
        match &self.0 {
            Some(shared) => shared.told.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Ticket for Turn {
    fn claim(&self) -> Claim {
        let Some(Shared { state, .. }) = self.0.as_deref() else { return Claim::Yes };
        let before = state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| match now {
            FREE => Some(HELD),
            HELD => Some(ASKED),
            _ => None,
        });
        match before {
            Ok(FREE) => Claim::Yes,
            Err(DONE) => Claim::Gone,
            _ => Claim::NotNow,
        }
    }

    fn commit(&self) {
        if let Some(shared) = &self.0 {
            shared.state.store(DONE, Ordering::Release);
        }
    }

    fn release(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.state.swap(FREE, Ordering::AcqRel) == ASKED)
    }

    fn is(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Some(a), Some(b)) if Arc::ptr_eq(a, b))
    }
}

/// The same select, or nobody's.
#[cfg(test)]
impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || (self.0.is_none() && other.0.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_served_and_who_was_refused_meanwhile_is_told() {
        let turn = Turn::shared();
        let same = turn.clone();
        assert_eq!(turn.claim(), Claim::Yes);
        assert!(!turn.release(), "nobody has asked");
        assert_eq!(turn.claim(), Claim::Yes);
        assert_eq!(same.claim(), Claim::NotNow);
        assert_eq!(same.claim(), Claim::NotNow);
        assert!(!same.leave(), "it is reserved");
        assert!(turn.release());
        assert_eq!(same.claim(), Claim::Yes);
        same.commit();
        assert_eq!(turn.claim(), Claim::Gone);
        assert!(turn.is_done() && !turn.leave());
        assert!(turn.is(&same) && !turn.is(&Turn::shared()));
        let nobody = Turn::default();
        assert_eq!((nobody.claim(), nobody.claim()), (Claim::Yes, Claim::Yes));
        assert!(!nobody.is_done() && !nobody.is(&Turn::default()));
    }
}
