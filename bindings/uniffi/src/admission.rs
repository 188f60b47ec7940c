//! Whom a node takes.

use crate::{call::guard, errors::Result, node::Node};

#[uniffi::export]
impl Node {
    /// Takes these peers too. With the first one there is an allow list, and who is not
    /// on it gets no connection and no answer, and is in no view.
    pub fn allow(&self, ids: Vec<String>) -> Result<()> {
        guard("allow", || self.facade().allow(&ids))
    }

    /// Takes peers off the allow list: the last one leaves nobody. Without an allow list
    /// it does nothing.
    pub fn disallow(&self, ids: Vec<String>) -> Result<()> {
        guard("disallow", || self.facade().disallow(&ids))
    }

    /// Does without an allow list: everybody is taken who is not denied.
    pub fn allow_all(&self) -> Result<()> {
        guard("allow_all", || self.facade().allow_all())
    }

    /// Puts these in the place of the allow list, in one step: none means nobody.
    pub fn set_allowed(&self, ids: Vec<String>) -> Result<()> {
        guard("set_allowed", || self.facade().set_allowed(&ids))
    }

    /// Doesn't take these peers any more, whether they are allowed or not.
    pub fn deny(&self, ids: Vec<String>) -> Result<()> {
        guard("deny", || self.facade().deny(&ids))
    }

    /// Takes peers off the deny list. They come back by themselves.
    pub fn undeny(&self, ids: Vec<String>) -> Result<()> {
        guard("undeny", || self.facade().undeny(&ids))
    }

    /// Puts these in the place of the deny list, in one step.
    pub fn set_denied(&self, ids: Vec<String>) -> Result<()> {
        guard("set_denied", || self.facade().set_denied(&ids))
    }

    /// The allow list, in the order of the ids; none if there is none and everybody is
    /// taken.
    pub fn allowed(&self) -> Result<Option<Vec<String>>> {
        guard("allowed", || self.facade().allowed())
    }

    /// The deny list, in the order of the ids.
    pub fn denied(&self) -> Result<Vec<String>> {
        guard("denied", || self.facade().denied())
    }

    /// Puts another certificate, as its file has it, in the place of this node's, before
    /// that one ends. Connections go on.
    pub fn renew(&self, certificate: Vec<u8>) -> Result<()> {
        guard("renew", || self.facade().renew(&certificate))
    }

    /// Puts out those whose certificates these revocations, as a file has them, take
    /// back: here and wherever members are. Says how many were new here.
    pub fn revoke(&self, revocations: Vec<u8>) -> Result<u32> {
        let new = guard("revoke", || self.facade().revoke(&revocations))?;
        // There are fewer than that.
        Ok(u32::try_from(new).unwrap_or(u32::MAX))
    }
}
