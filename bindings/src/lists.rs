//! Whom a node takes, as its program changes it.

use crate::{Node, Result, options::peer_ids};

/// Allow and deny lists of peer ids; see [`casm::Node::allow`]. None of these calls
/// waits.
impl Node {
    /// Takes these peers too. With the first one there is an allow list.
    ///
    /// # Errors
    /// `Closed`; `Address` if one is no peer id; `Config` if the list gets too long.
    pub fn allow(&self, ids: &[String]) -> Result<()> {
        let node = self.core()?;
        node.allow(peer_ids("allow", ids)?)
    }

    /// Takes peers off the allow list: the last one leaves nobody.
    ///
    /// # Errors
    /// `Closed`; `Address` if one is no peer id.
    pub fn disallow(&self, ids: &[String]) -> Result<()> {
        let node = self.core()?;
        node.disallow(peer_ids("disallow", ids)?);
        Ok(())
    }

    /// Does without an allow list.
    ///
    /// # Errors
    /// `Closed`.
    pub fn allow_all(&self) -> Result<()> {
        self.core()?.allow_all();
        Ok(())
    }

    /// Puts these in the place of the allow list: none means nobody.
    ///
    /// # Errors
    /// As of [`allow`](Self::allow).
    pub fn set_allowed(&self, ids: &[String]) -> Result<()> {
        let node = self.core()?;
        node.set_allowed(peer_ids("set_allowed", ids)?)
    }

    /// Doesn't take these peers any more, whether they are allowed or not.
    ///
    /// # Errors
    /// As of [`allow`](Self::allow); `Config` if this node is among them.
    pub fn deny(&self, ids: &[String]) -> Result<()> {
        let node = self.core()?;
        node.deny(peer_ids("deny", ids)?)
    }

    /// Takes peers off the deny list.
    ///
    /// # Errors
    /// As of [`disallow`](Self::disallow).
    pub fn undeny(&self, ids: &[String]) -> Result<()> {
        let node = self.core()?;
        node.undeny(peer_ids("undeny", ids)?);
        Ok(())
    }

    /// Puts these in the place of the deny list.
    ///
    /// # Errors
    /// As of [`deny`](Self::deny).
    pub fn set_denied(&self, ids: &[String]) -> Result<()> {
        let node = self.core()?;
        node.set_denied(peer_ids("set_denied", ids)?)
    }

    /// The allow list, in the order of the ids; `None` if there is none and everybody
    /// is taken.
    ///
    /// # Errors
    /// `Closed`.
    pub fn allowed(&self) -> Result<Option<Vec<String>>> {
        Ok(self.core()?.allowed().map(texts))
    }

    /// The deny list, in the order of the ids.
    ///
    /// # Errors
    /// `Closed`.
    pub fn denied(&self) -> Result<Vec<String>> {
        Ok(texts(self.core()?.denied()))
    }
}

/// In their order, as `connected` has it.
fn texts(ids: Vec<crate::PeerId>) -> Vec<String> {
    ids.iter().map(|id| id.to_base58()).collect()
}
