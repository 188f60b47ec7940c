//! Certificates of a node that is running.

use crate::{Node, Result};
use casm::admit::{Certificate, Revocation};

/// What files hold is handed on as it is: a program that renews has it from elsewhere
/// than a file that the node follows. None of these calls waits.
impl Node {
    /// Puts another certificate, as a file has it, in the place of this node's.
    ///
    /// # Errors
    /// `Closed`; `Config` if it is not acceptable, and then the old one stays; `Invalid`
    /// without `admit`.
    pub fn renew(&self, certificate: &[u8]) -> Result<()> {
        let node = self.core()?;
        node.renew(Certificate::parse(certificate)?)
    }

    /// Puts out those whose certificates these revocations, as a file has them, take
    /// back: here and wherever members are. Says how many were new here.
    ///
    /// # Errors
    /// `Closed`; `Config` if one is not acceptable; `Invalid` without `admit`.
    pub fn revoke(&self, revocations: &[u8]) -> Result<usize> {
        let node = self.core()?;
        node.revoke(Revocation::parse(revocations)?)
    }
}
