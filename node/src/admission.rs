//! Whom a node takes.

use crate::{call::guard, errors::Result, node::Node};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

#[napi]
impl Node {
    #[napi]
    pub fn allow(&self, ids: Vec<String>) -> Result<()> {
        guard("allow", || self.facade().allow(&ids))
    }

    #[napi]
    pub fn disallow(&self, ids: Vec<String>) -> Result<()> {
        guard("disallow", || self.facade().disallow(&ids))
    }

    #[napi]
    pub fn allow_all(&self) -> Result<()> {
        guard("allowAll", || self.facade().allow_all())
    }

    #[napi]
    pub fn set_allowed(&self, ids: Vec<String>) -> Result<()> {
        guard("setAllowed", || self.facade().set_allowed(&ids))
    }

    #[napi]
    pub fn deny(&self, ids: Vec<String>) -> Result<()> {
        guard("deny", || self.facade().deny(&ids))
    }

    #[napi]
    pub fn undeny(&self, ids: Vec<String>) -> Result<()> {
        guard("undeny", || self.facade().undeny(&ids))
    }

    #[napi]
    pub fn set_denied(&self, ids: Vec<String>) -> Result<()> {
        guard("setDenied", || self.facade().set_denied(&ids))
    }

    #[napi]
    pub fn allowed(&self) -> Result<Option<Vec<String>>> {
        guard("allowed", || self.facade().allowed())
    }

    #[napi]
    pub fn denied(&self) -> Result<Vec<String>> {
        guard("denied", || self.facade().denied())
    }

    #[napi]
    pub fn renew(&self, certificate: Uint8Array) -> Result<()> {
        guard("renew", || self.facade().renew(&certificate))
    }

    #[napi]
    pub fn revoke(&self, revocations: Uint8Array) -> Result<u32> {
        let new = guard("revoke", || self.facade().revoke(&revocations))?;
        // There are fewer than that.
        Ok(u32::try_from(new).unwrap_or(u32::MAX))
    }
}
