//! Sealed datagrams: those of a private cluster, which nobody can read or make
//! who doesn't hold its secret. Pure: nonces are arguments.
//!
//! `00 'C' 'S' 01`, the key's id, a random nonce, and the signed envelope
//! encrypted by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). The first byte
//! is no field of a protobuf message, so that who knows envelopes alone drops the
//! whole. Key and id are derived of the secret and the namespace.

use super::packet::{MAX_LEN, PacketError};
use crate::{Namespace, Secret, cache::cache};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use lru::LruCache;
use std::{
    collections::{HashSet, VecDeque},
    fmt,
    num::NonZeroUsize,
    sync::Arc,
};

const MAGIC: [u8; 3] = [0, b'C', b'S'];
const VERSION: u8 = 1;
const ID: usize = 4;
const TAG: usize = 16;
const PURPOSE: &[u8] = b"casm-boot";
/// Before the nonce: what is authenticated and not encrypted.
const HEAD: usize = MAGIC.len() + 1 + ID;

/// The bytes of a nonce.
pub const NONCE: usize = 24;
/// How much longer than its envelope a sealed datagram is, in bytes.
pub const OVERHEAD: usize = HEAD + NONCE + TAG;

/// A number that no two sealed datagrams share.
pub type Nonce = [u8; NONCE];

/// Seals and opens the datagrams of one namespace.
pub struct Seal {
    namespace: Namespace,
    id: [u8; ID],
    cipher: XChaCha20Poly1305,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Whether a datagram says that it is sealed.
pub fn is_sealed(datagram: &[u8]) -> bool {
    datagram.starts_with(&MAGIC)
}

/// A sealed datagram in its parts.
struct Parts<'a> {
    head: &'a [u8],
    id: [u8; ID],
    nonce: Nonce,
    encrypted: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(datagram: &'a [u8]) -> Result<Self, PacketError> {
        if datagram.len() > MAX_LEN {
            return Err(PacketError::TooLarge);
        }
        if !is_sealed(datagram) {
            return Err(PacketError::Unsealed);
        }
        let malformed = PacketError::SealForm;
        let (head, rest) = datagram.split_at_checked(HEAD).ok_or(malformed)?;
        let (nonce, encrypted) = rest.split_first_chunk().ok_or(malformed)?;
        let (start, id) = head.split_last_chunk().ok_or(malformed)?;
        if start.last() != Some(&VERSION) || encrypted.len() <= TAG {
            return Err(malformed);
        }
        Ok(Self { head, id: *id, nonce: *nonce, encrypted })
    }
}

impl Seal {
    /// That of a namespace among those who hold a secret.
    pub fn new(secret: &Secret, namespace: &Namespace) -> Self {
        let derived = secret.derive::<{ 32 + ID }>(&[PURPOSE, namespace.as_str().as_bytes()]);
        let (key, id) = derived.split_first_chunk::<32>().expect("32 and some");
        let id = id.try_into().expect("the rest");
        Self { namespace: namespace.clone(), id, cipher: XChaCha20Poly1305::new(key.into()) }
    }

    /// Seals an envelope. The nonce must be random: a second datagram with the
    /// same would give both away.
    pub fn close(&self, envelope: &[u8], nonce: Nonce) -> Vec<u8> {
        let mut head = [0; HEAD];
        head[..MAGIC.len()].copy_from_slice(&MAGIC);
        head[MAGIC.len()] = VERSION;
        head[HEAD - ID..].copy_from_slice(&self.id);
        let payload = Payload { msg: envelope, aad: &head };
        let encrypted = self.cipher.encrypt(&nonce.into(), payload);
        // The limit is 256 GiB.
        let encrypted = encrypted.expect("an envelope is short");
        [&head[..], &nonce, &encrypted].concat()
    }

    /// Opens a datagram: the envelope, whose signature is still to be checked.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn open(&self, datagram: &[u8]) -> Result<(Vec<u8>, Nonce), PacketError> {
        let parts = Parts::of(datagram)?;
        if parts.id != self.id {
            return Err(PacketError::SealKey);
        }
        self.decrypt(&parts)
    }

    fn decrypt(&self, parts: &Parts<'_>) -> Result<(Vec<u8>, Nonce), PacketError> {
        let payload = Payload { msg: parts.encrypted, aad: parts.head };
        let opened = self.cipher.decrypt(&parts.nonce.into(), payload);
        opened.map(|envelope| (envelope, parts.nonce)).map_err(|_| PacketError::Seal)
    }
}

/// A datagram that was opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// The envelope.
    pub envelope: Vec<u8>,
    /// The namespace that it was sealed for, which the packet must name.
    pub namespace: Namespace,
    /// Its nonce.
    pub nonce: Nonce,
}

/// The seals of a node: one for each namespace that it has to do with.
#[derive(Debug)]
pub struct Seals {
    secret: Secret,
    seals: LruCache<Namespace, Arc<Seal>>,
    seen: Seen,
}

impl Seals {
    /// More than a node advertises.
    const MOST: NonZeroUsize = NonZeroUsize::new(2048).expect("not 0");

    /// Those of who holds the secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, seals: cache(Self::MOST), seen: Seen::default() }
    }

    /// The seal of a namespace, whose datagrams are opened from now on.
    pub fn of(&mut self, namespace: &Namespace) -> Arc<Seal> {
        let secret = &self.secret;
        let seal = || Arc::new(Seal::new(secret, namespace));
        Arc::clone(self.seals.get_or_insert(namespace.clone(), seal))
    }

    /// Opens a datagram of one of the namespaces.
    ///
    /// # Errors
    /// The reason why it is refused.
    pub fn open(&self, datagram: &[u8]) -> Result<Opened, PacketError> {
        let parts = Parts::of(datagram)?;
        let mut refused = PacketError::SealKey;
        for (namespace, seal) in self.seals.iter().filter(|(_, seal)| seal.id == parts.id) {
            match seal.decrypt(&parts) {
                Ok((envelope, nonce)) => {
                    return Ok(Opened { envelope, namespace: namespace.clone(), nonce });
                }
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }

    /// Whether a datagram with this nonce was [used](Self::uses) lately.
    pub fn knows(&self, nonce: &Nonce) -> bool {
        self.seen.contains(nonce)
    }

    /// Notes that a datagram is used. False if it was before: somebody plays it
    /// again.
    pub fn uses(&mut self, nonce: &Nonce) -> bool {
        self.seen.insert(nonce)
    }
}

/// The last nonces of datagrams that were used. There is no clock in them, so
/// that one which is older than all of these passes as new.
#[derive(Debug, Default)]
struct Seen {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Seen {
    const MOST: usize = 8192;

    /// Nonces are random, and only who holds the secret chooses one: 8 bytes
    /// tell them apart.
    fn key(nonce: &Nonce) -> u64 {
        u64::from_le_bytes(*nonce.first_chunk().expect("24 bytes"))
    }

    fn contains(&self, nonce: &Nonce) -> bool {
        self.known.contains(&Self::key(nonce))
    }

    fn insert(&mut self, nonce: &Nonce) -> bool {
        let key = Self::key(nonce);
        if !self.known.insert(key) {
            return false;
        }
        if self.order.len() == Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(key);
        true
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
