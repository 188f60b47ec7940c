//! Where peers may be that somebody wants to connect to.

use crate::{Namespace, Record, cluster::Cluster, pex::Pex, target::Whereabouts};
use futures::FutureExt;
use std::{future::ready, sync::Arc};

/// Where a peer's record in the view says that it is.
pub(super) fn by_record(cluster: &Cluster) -> Whereabouts {
    let cluster = cluster.clone();
    Arc::new(move |peer| {
        let record = cluster.view().get(&peer);
        ready(record.as_ref().map(Record::addrs).unwrap_or_default()).boxed()
    })
}

/// Where peer exchange says that it is, if it keeps it in mind.
pub(super) fn by_exchange(pex: Option<&Pex>, namespace: &Namespace) -> Whereabouts {
    let known = pex.map(|pex| pex.known(namespace));
    Arc::new(move |peer| match &known {
        Some(known) => known(peer),
        None => ready(Vec::new()).boxed(),
    })
}
