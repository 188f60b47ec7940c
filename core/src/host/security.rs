//! How connections over TCP are secured: by noise, or TLS for who wants it.

use super::tls::Lazy;
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    futures::{
        FutureExt, TryFutureExt,
        future::{BoxFuture, Either},
    },
    identity::Keypair,
    noise, tls,
};
use std::{convert::Infallible, io};

/// Noise before TLS.
#[derive(Clone)]
pub(super) struct Security {
    noise: noise::Config,
    tls: Lazy,
}

impl Security {
    /// # Errors
    /// Of a key that noise cannot prove.
    pub(super) fn new(key: &Keypair) -> Result<Self, noise::Error> {
        let tls = Lazy::new(key).unwrap_or_else(|never: Infallible| match never {});
        Ok(Self { noise: noise::Config::new(key)?, tls })
    }

    fn is_tls(&self, info: &str) -> bool {
        self.tls.protocol_info().any(|name| name == info)
    }
}

type Infos<U> = <U as UpgradeInfo>::InfoIter;

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::iter::Chain<Infos<noise::Config>, Infos<Lazy>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.noise.protocol_info().chain(self.tls.protocol_info())
    }
}

/// A peer, and the connection to it.
type Secured<N, T> = (PeerId, Either<N, T>);

impl<C, N, T> InboundConnectionUpgrade<C> for Security
where
    noise::Config: InboundConnectionUpgrade<C, Output = (PeerId, N), Error = noise::Error>
        + UpgradeInfo<Info = &'static str>,
    Lazy: InboundConnectionUpgrade<C, Output = (PeerId, T), Error = tls::UpgradeError>
        + UpgradeInfo<Info = &'static str>,
    <noise::Config as InboundConnectionUpgrade<C>>::Future: Send + 'static,
    <Lazy as InboundConnectionUpgrade<C>>::Future: Send + 'static,
{
    type Output = Secured<N, T>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        match self.is_tls(info) {
            true => self
                .tls
                .upgrade_inbound(socket, info)
                .map_ok(|(peer, stream)| (peer, Either::Right(stream)))
                .map_err(io::Error::other)
                .boxed(),
            false => self
                .noise
                .upgrade_inbound(socket, info)
                .map_ok(|(peer, stream)| (peer, Either::Left(stream)))
                .map_err(io::Error::other)
                .boxed(),
        }
    }
}

impl<C, N, T> OutboundConnectionUpgrade<C> for Security
where
    noise::Config: OutboundConnectionUpgrade<C, Output = (PeerId, N), Error = noise::Error>
        + UpgradeInfo<Info = &'static str>,
    Lazy: OutboundConnectionUpgrade<C, Output = (PeerId, T), Error = tls::UpgradeError>
        + UpgradeInfo<Info = &'static str>,
    <noise::Config as OutboundConnectionUpgrade<C>>::Future: Send + 'static,
    <Lazy as OutboundConnectionUpgrade<C>>::Future: Send + 'static,
{
    type Output = Secured<N, T>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        match self.is_tls(info) {
            true => self
                .tls
                .upgrade_outbound(socket, info)
                .map_ok(|(peer, stream)| (peer, Either::Right(stream)))
                .map_err(io::Error::other)
                .boxed(),
            false => self
                .noise
                .upgrade_outbound(socket, info)
                .map_ok(|(peer, stream)| (peer, Either::Left(stream)))
                .map_err(io::Error::other)
                .boxed(),
        }
    }
}
