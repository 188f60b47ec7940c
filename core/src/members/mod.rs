//! Who has shown a certificate of membership: what the whole node asks where one is
//! needed.
//!
//! What is decided is in [`admit`](crate::admit), which is pure. `held` and `vetting`
//! have gossip wait for certificates that are not here yet, `service` fetches those,
//! and tells of renewals and revocations.

pub mod held;
mod service;
mod vetting;

pub(crate) use service::{Around, start};
pub(crate) use vetting::Vetting;

use crate::{
    Error, ErrorKind, PeerId, Result,
    admit::{self, Certificate, Refusal, Revocation},
    metrics::{ByLabel, Metrics},
    record::unix_nanos,
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, watch};

/// Certificates that may be waited for at a time.
const WANTED: usize = 1024;

/// The members that a node knows. Clones share them.
#[derive(Clone)]
pub(crate) struct Members(Arc<Inner>);

struct Inner {
    own: PeerId,
    state: Mutex<admit::Members>,
    /// Counts what is new.
    changed: watch::Sender<u64>,
    wanted: mpsc::Sender<Wanted>,
    /// Taken by the service when it starts.
    asked: Mutex<Option<mpsc::Receiver<Wanted>>>,
    turned_away: ByLabel,
}

/// A certificate that is not here, and who has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) source: PeerId,
    pub(crate) from: PeerId,
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> u64 {
    unix_nanos() / 1_000_000_000
}

impl Members {
    pub(crate) fn new(own: PeerId, state: admit::Members, metrics: &Metrics) -> Self {
        let (wanted, asked) = mpsc::channel(WANTED);
        let turned_away = ByLabel::default();
        metrics.register(
            "admit_refused",
            "Connections that did not pass the gate of certificates, by reason",
            turned_away.clone(),
        );
        Self(Arc::new(Inner {
            own,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            wanted,
            asked: Mutex::new(Some(asked)),
            turned_away,
        }))
    }

    /// This node's certificate.
    pub(crate) fn own(&self) -> Certificate {
        self.state().own().clone()
    }

    /// Takes what a peer has shown on its own connection.
    ///
    /// # Errors
    /// Why it is no member.
    pub(crate) fn shown(&self, peer: &PeerId, encoded: &[u8]) -> Result<(), Refusal> {
        // The signature, which takes long, with no lock held.
        let certificate = Certificate::decode(encoded)?;
        if certificate.peer() != *peer {
            return Err(Refusal::OtherPeer);
        }
        self.take(certificate)
    }

    /// Takes a certificate, whoever brought it.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn take(&self, certificate: Certificate) -> Result<(), Refusal> {
        self.state().admit(certificate, now())?;
        self.changed();
        Ok(())
    }

    /// Whether a peer is a member now.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn check(&self, peer: &PeerId) -> Result<(), Refusal> {
        self.state().check(peer, now())
    }

    /// Has the certificate of a source fetched from who passed on what it says.
    pub(crate) fn want(&self, source: PeerId, from: PeerId) {
        // What finds no room is not waited for: it comes again with the next message.
        let _ = self.0.wanted.try_send(Wanted { source, from });
    }

    /// Changes with everything that is new.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Revokes what an authority says. Whether that was new.
    ///
    /// # Errors
    /// Why it does not count here.
    pub(crate) fn revoke(&self, revocation: Revocation) -> Result<bool, Refusal> {
        let new = self.state().revoke(revocation, now())?;
        if new {
            self.changed();
        }
        Ok(new)
    }

    /// Replaces this node's own certificate.
    ///
    /// # Errors
    /// `Config` if it is not accepted here.
    pub(crate) fn renew(&self, certificate: Certificate) -> Result<()> {
        let shown = certificate.clone();
        self.state().renew(certificate, now()).map_err(|refusal| refused(&shown, refusal))?;
        self.changed();
        Ok(())
    }

    /// Counts, and says, that a connection did not pass.
    pub(crate) fn turned_away(
        &self,
        peer: &PeerId,
        dialled: bool,
        label: &'static str,
        why: &dyn fmt::Display,
    ) {
        self.0.turned_away.get_or_create(&[("reason", label)]).inc();
        tracing::debug!(%peer, dialled, %why, "a connection did not pass");
    }

    fn changed(&self) {
        self.0.changed.send_modify(|n| *n += 1);
    }

    fn state(&self) -> MutexGuard<'_, admit::Members> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why this node's own certificate cannot be used.
fn refused(certificate: &Certificate, refusal: Refusal) -> Error {
    let message = format!(
        "certificate: that of {} by {} is not accepted: {refusal}; `casm admit show` shows it, \
         `casm admit sign` makes another",
        certificate.peer(),
        certificate.ca(),
    );
    Error::new(ErrorKind::Config, message)
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("own", &self.0.own).finish_non_exhaustive()
    }
}
