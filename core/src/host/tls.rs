//! TLS, made ready when the first connection asks for it.
//!
//! Two nodes of ours settle on noise. The certificates, and the tables of
//! sessions that TLS would resume, are made for a peer that wants TLS.

use libp2p::{
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    futures::future::{Either, Ready, ready},
    identity::Keypair,
    tls::{self, UpgradeError},
};
use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

/// The TLS of a node. Clones share it.
#[derive(Clone)]
pub(super) struct Lazy(Arc<Inner>);

struct Inner {
    key: Keypair,
    config: OnceLock<tls::Config>,
}

impl Lazy {
    /// TLS that proves this key.
    ///
    /// # Errors
    /// None: a certificate that cannot be made fails the connection that needs
    /// it.
    pub(super) fn new(key: &Keypair) -> Result<Self, Infallible> {
        Ok(Self(Arc::new(Inner { key: key.clone(), config: OnceLock::new() })))
    }

    fn config(&self) -> Result<tls::Config, UpgradeError> {
        if let Some(config) = self.0.config.get() {
            return Ok(config.clone());
        }
        // Of two that are made at once, one is kept.
        let made = tls::Config::new(&self.0.key)?;
        Ok(self.0.config.get_or_init(|| made).clone())
    }
}

impl UpgradeInfo for Lazy {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/tls/1.0.0")
    }
}

/// What an upgrade waits for: the other end, unless there is no certificate.
type Upgrade<F, T> = Either<F, Ready<Result<T, UpgradeError>>>;

impl<C, T> InboundConnectionUpgrade<C> for Lazy
where
    tls::Config: InboundConnectionUpgrade<C, Output = T, Error = UpgradeError>
        + UpgradeInfo<Info = Self::Info>,
{
    type Output = T;
    type Error = UpgradeError;
    type Future = Upgrade<<tls::Config as InboundConnectionUpgrade<C>>::Future, T>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        match self.config() {
            Ok(config) => Either::Left(config.upgrade_inbound(socket, info)),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}

impl<C, T> OutboundConnectionUpgrade<C> for Lazy
where
    tls::Config: OutboundConnectionUpgrade<C, Output = T, Error = UpgradeError>
        + UpgradeInfo<Info = Self::Info>,
{
    type Output = T;
    type Error = UpgradeError;
    type Future = Upgrade<<tls::Config as OutboundConnectionUpgrade<C>>::Future, T>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        match self.config() {
            Ok(config) => Either::Left(config.upgrade_outbound(socket, info)),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}
