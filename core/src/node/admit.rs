//! Certificates of a node's members: what its configuration says of them, and what it
//! changes while it runs.

use super::{Node, in_time};
use crate::{
    Config, Error, ErrorKind, PeerId, Result,
    admit::{self, Certificate, Revocation},
    cluster::{Cluster, RolesOf},
    event::EventBus,
    host::Host,
    members::{self, Around, Files, Members},
    metrics::Metrics,
    pex::Store,
    scope::Scope,
};
use std::sync::Arc;
use tokio::sync::watch;

/// The members of a cluster with certificates, of whom nobody is known yet.
///
/// # Errors
/// `Config` if the authorities or the node's certificate are not acceptable.
pub(super) fn members(config: &Config, own: PeerId, metrics: &Metrics) -> Result<Option<Members>> {
    let Some(certificate) = config.certificate.clone().filter(|_| !config.admit.is_empty()) else {
        return Ok(None);
    };
    let state = admit::Members::new(config.admit.clone(), config.namespace.clone(), certificate)?;
    Members::new(own, state, metrics).map(Some)
}

/// Takes what is known to be revoked: from an earlier run, and from the file.
///
/// # Errors
/// `Io` or `Config` if the data or the file can't be used; `Timeout`.
pub(super) async fn restore(
    members: &Members,
    config: &Config,
    store: &Store,
    scope: &Scope,
) -> Result<()> {
    let kept = in_time("its data", store.revoked()).await?;
    let (members, file) = (members.clone(), config.revoked_file.clone());
    // Thousands of signatures may be checked.
    let read = scope.block(move || {
        kept.iter().for_each(|kept| members.restore(kept));
        file.map_or(Ok(()), |file| members.revoke(Revocation::load(file)?).map(drop))
    });
    let read = async { read.await.unwrap_or_else(|| Err(Error::closed("node"))) };
    in_time("what is revoked", read).await
}

/// Has members tell each other of certificates and revocations.
pub(super) fn start(
    members: Members,
    config: &Config,
    store: &Store,
    host: &Host,
    events: &EventBus,
    metrics: &Metrics,
    scope: &Scope,
) -> Result<()> {
    let (keep, kept) = watch::channel(Vec::new());
    scope.spawn(store.clone().keep_revoked(kept));
    let around = Around {
        host: host.clone(),
        members: members.clone(),
        events: events.clone(),
        troubles: metrics.troubles.clone(),
        keep,
    };
    members::start(around, &config.namespace, metrics, scope)?;
    let files = Files {
        certificate: config.certificate_file.clone(),
        revoked: config.revoked_file.clone(),
    };
    let every = config.power.profile().care;
    members::follow(files, members, every, metrics.troubles.clone(), scope);
    Ok(())
}

/// What is proven of members, where they have certificates.
pub(super) fn roles(members: Option<&Members>) -> Option<RolesOf> {
    let members = members?.clone();
    Some(Arc::new(move |peer| members.roles(peer)))
}

/// Has the cluster look again at those of whom something else is proven now.
pub(super) async fn follow_roles(members: Members, cluster: Cluster) {
    loop {
        let peers = members.others().await;
        if cluster.roles_changed(peers).await.is_err() {
            return;
        }
    }
}

/// Certificates, where the configuration names authorities
/// ([`Config::admit`](crate::Config::admit)): who shows none is no member. Others are told of what is changed here.
impl Node {
    /// This node's certificate, if it has one.
    pub fn certificate(&self) -> Option<Certificate> {
        self.0.who.members().map(Members::own)
    }

    /// Puts another certificate in the place of this node's, before the old one ends:
    /// connections go on.
    ///
    /// # Errors
    /// `Config` if it is not acceptable, and then the old one stays; `Invalid` without
    /// [`Config::admit`].
    pub fn renew(&self, certificate: Certificate) -> Result<()> {
        self.certified()?.renew(certificate)
    }

    /// Puts out those whose certificates these revoke, here and wherever members are.
    /// Says how many of them were new here.
    ///
    /// # Errors
    /// `Config` if one is not acceptable, and then the others count; `Invalid` without
    /// [`Config::admit`].
    pub fn revoke(&self, revocations: Vec<Revocation>) -> Result<usize> {
        self.certified()?.revoke(revocations)
    }

    fn certified(&self) -> Result<&Members> {
        self.0.who.members().ok_or_else(|| {
            let message = "the node has no authorities, and its cluster no certificates: start it \
                           with `admit`";
            Error::new(ErrorKind::Invalid, message)
        })
    }
}
