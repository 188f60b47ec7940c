//! What a certificate says.

use super::{
    AdmitError,
    envelope::{once, peer_id, there},
};
use crate::{
    Error, ErrorKind, Namespace, Result,
    pubsub::fields::{Fields, Value, write_field, write_number},
};
use libp2p::PeerId;
use rand::{TryRng, rngs::SysRng};

/// The most roles of a certificate.
pub const MAX_ROLES: usize = 16;
/// The longest role, in bytes.
pub const MAX_ROLE: usize = 64;
/// The longest that a certificate is valid, in seconds: 366 days.
pub const MAX_LIFETIME: u64 = 366 * 24 * 3600;
/// By how much clocks may differ, in seconds: 10 minutes.
pub const SKEW: u64 = 600;

/// What a certificate says. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who is a member.
    pub peer: PeerId,
    /// Of which cluster.
    pub namespace: Namespace,
    /// What it may do there: up to [`MAX_ROLES`], of 1 to [`MAX_ROLE`] bytes
    /// without white space and control characters.
    pub roles: Vec<String>,
    /// From when on.
    pub not_before: u64,
    /// Until when, that second included.
    pub not_after: u64,
    /// When it was signed: a revocation takes back what was signed before it.
    pub issued: u64,
    /// Random bytes, by which it can be told from others.
    pub serial: [u8; 16],
}

impl Terms {
    /// A serial number, of the system's randomness.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system has no random bytes.
    pub fn random_serial() -> Result<[u8; 16]> {
        let mut serial = [0; 16];
        SysRng.try_fill_bytes(&mut serial).map_err(|e| {
            let message = format!("nothing can be signed: the system gives no random bytes: {e}");
            Error::new(ErrorKind::Io, message).with_source(e)
        })?;
        Ok(serial)
    }

    /// Puts roles into their order, and checks all of it.
    pub(super) fn checked(mut self) -> Result<Self> {
        self.roles.sort_unstable();
        self.roles.dedup();
        if self.roles.len() > MAX_ROLES {
            let accepted = format!("a certificate has at most {MAX_ROLES} roles; name fewer");
            return Err(Error::config("roles", self.roles.len(), accepted));
        }
        if let Some(bad) = self.roles.iter().find(|role| !is_role(role)) {
            let accepted = format!(
                "a role has 1 to {MAX_ROLE} bytes, and neither spaces nor control characters; \
                 write one such as `worker`"
            );
            let shown: String = bad.chars().take(MAX_ROLE).collect();
            return Err(Error::config("role", shown, accepted));
        }
        if self.not_after <= self.not_before {
            let accepted = format!("it must be after the first second, {}", self.not_before);
            return Err(Error::config("not-after", self.not_after, accepted));
        }
        if self.lifetime() > MAX_LIFETIME {
            let accepted = "a certificate is valid for 366 days at most, from when it is signed and \
                            from its first second; sign a new one in time";
            return Err(Error::config("not-after", self.not_after, accepted));
        }
        Ok(self)
    }

    /// How long it can be valid: no revocation need be kept for longer.
    fn lifetime(&self) -> u64 {
        self.not_after.saturating_sub(self.not_before.min(self.issued))
    }

    /// Its one encoding.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        write_field(1, &self.peer.to_bytes(), &mut to);
        write_field(2, self.namespace.as_str().as_bytes(), &mut to);
        for role in &self.roles {
            write_field(3, role.as_bytes(), &mut to);
        }
        write_number(4, self.not_before, &mut to);
        write_number(5, self.not_after, &mut to);
        write_number(6, self.issued, &mut to);
        write_field(7, &self.serial, &mut to);
        to
    }

    /// Fields that are unknown are skipped.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, AdmitError> {
        let mut roles: Vec<String> = Vec::new();
        let (mut peer, mut namespace, mut serial) = (None, None, None);
        let (mut not_before, mut not_after, mut issued) = (None, None, None);
        for field in Fields(payload) {
            match field? {
                (1, Value::Bytes(id)) => once(&mut peer, peer_id(id)?)?,
                (2, Value::Bytes(name)) => once(&mut namespace, named(name)?)?,
                (3, Value::Bytes(role)) => {
                    let role = str::from_utf8(role).ok().filter(|role| is_role(role));
                    let role = there(role, "a role is none")?;
                    if roles.last().is_some_and(|last| last.as_str() >= role) {
                        return Err(AdmitError::Malformed("its roles are not in order"));
                    }
                    if roles.len() == MAX_ROLES {
                        return Err(AdmitError::Malformed("it has too many roles"));
                    }
                    roles.push(role.to_owned());
                }
                (4, Value::Number(at)) => once(&mut not_before, at)?,
                (5, Value::Number(at)) => once(&mut not_after, at)?,
                (6, Value::Number(at)) => once(&mut issued, at)?,
                (7, Value::Bytes(bytes)) => {
                    let bytes = bytes.try_into().ok();
                    once(&mut serial, there(bytes, "its serial number has not 16 bytes")?)?;
                }
                (1..=7, _) => return Err(AdmitError::Malformed("a field is of another kind")),
                _ => {}
            }
        }
        let terms = Self {
            peer: there(peer, "it names no peer")?,
            namespace: there(namespace, "it names no namespace")?,
            roles,
            not_before: there(not_before, "it has no first second")?,
            not_after: there(not_after, "it has no end")?,
            issued: there(issued, "it does not say when it was signed")?,
            serial: there(serial, "it has no serial number")?,
        };
        if terms.not_after <= terms.not_before {
            return Err(AdmitError::Malformed("it ends before it begins"));
        }
        if terms.lifetime() > MAX_LIFETIME {
            return Err(AdmitError::Malformed("it is valid for more than 366 days"));
        }
        Ok(terms)
    }
}

fn named(name: &[u8]) -> Result<Namespace, AdmitError> {
    let name = str::from_utf8(name).ok().and_then(|name| Namespace::new(name).ok());
    there(name, "its namespace is none")
}

/// Whether a text can be a role: 1 to [`MAX_ROLE`] bytes, with neither spaces nor control
/// characters.
pub fn is_role(role: &str) -> bool {
    (1..=MAX_ROLE).contains(&role.len())
        && !role.chars().any(|c| c.is_control() || c.is_whitespace())
}
