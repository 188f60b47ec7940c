//! How a boot service seals what it sends and opens what it receives, if its cluster
//! is private: its seals, behind a lock, and the randomness of nonces.

use super::{
    packet::{MAX_LEN, Packet, PacketError},
    seal::{self, NONCE, Nonce, Opened, Seals},
};
use crate::{Namespace, Secret};
use rand::{TryRng, rngs::SysRng};
use std::{
    borrow::Cow,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The seals of a private cluster, or none.
pub(crate) struct Sealing(Option<Mutex<Seals>>);

/// What a datagram holds.
pub(super) struct Envelope<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// The namespace that it was sealed for, and the nonce.
    sealed: Option<(Namespace, Nonce)>,
}

impl Envelope<'_> {
    /// Checks that what it holds is for what it was sealed for.
    pub(super) fn check(&self, claim: &Packet) -> Result<(), PacketError> {
        match &self.sealed {
            Some((namespace, _)) if *namespace != claim.namespace => {
                Err(PacketError::SealNamespace)
            }
            _ => Ok(()),
        }
    }
}

impl Sealing {
    pub(super) fn new(secret: Option<Secret>) -> Self {
        Self(secret.map(|secret| Mutex::new(Seals::new(secret))))
    }

    /// Whether the cluster is private.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    fn seals(&self) -> Option<MutexGuard<'_, Seals>> {
        self.0.as_ref().map(|seals| seals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sealed packets of this namespace are opened from now on.
    pub(super) fn opens(&self, namespace: &Namespace) {
        if let Some(mut seals) = self.seals() {
            seals.of(namespace);
        }
    }

    /// The bytes that an envelope may have in a datagram of so many.
    pub(super) fn room(&self, budget: usize) -> usize {
        let overhead = if self.is_on() { seal::OVERHEAD } else { 0 };
        budget.min(MAX_LEN).saturating_sub(overhead)
    }

    /// The datagram of an envelope: no two are the same in a private cluster, so that
    /// those which are played again are known.
    ///
    /// # Errors
    /// If the system has no random bytes. They are asked of it each time: what a
    /// process keeps of them a fork has too, and a nonce must be used once.
    pub(super) fn seal<'a>(
        &self,
        namespace: &Namespace,
        signed: &'a [u8],
    ) -> io::Result<Cow<'a, [u8]>> {
        let Some(mut seals) = self.seals() else { return Ok(Cow::Borrowed(signed)) };
        let seal = seals.of(namespace);
        drop(seals);
        let mut nonce = [0; NONCE];
        SysRng.try_fill_bytes(&mut nonce).map_err(io::Error::other)?;
        Ok(Cow::Owned(seal.close(signed, nonce)))
    }

    /// Opens a datagram, which is the envelope itself in a cluster that is open.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Result<Envelope<'a>, PacketError> {
        let Some(seals) = self.seals() else {
            return Ok(Envelope { bytes: Cow::Borrowed(bytes), sealed: None });
        };
        let Opened { envelope, namespace, nonce } = seals.open(bytes)?;
        Ok(Envelope { bytes: Cow::Owned(envelope), sealed: Some((namespace, nonce)) })
    }

    /// Whether a datagram was used before.
    pub(super) fn knows(&self, envelope: &Envelope<'_>) -> bool {
        let sealed = envelope.sealed.as_ref().zip(self.seals());
        sealed.is_some_and(|((_, nonce), seals)| seals.knows(nonce))
    }

    /// Notes that a datagram is used. False if it was before.
    pub(super) fn uses(&self, envelope: &Envelope<'_>) -> bool {
        let sealed = envelope.sealed.as_ref().zip(self.seals());
        sealed.is_none_or(|((_, nonce), mut seals)| seals.uses(nonce))
    }
}
