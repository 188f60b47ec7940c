//! Namespaces routed to different discoveries.

use super::{Discovery, FindOptions, Finding};
use crate::{Error, ErrorKind, Namespace, Result};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use std::{future::ready, sync::Arc, time::Duration};

/// Sends each namespace to the discovery that is meant for it.
///
/// A route holds for a namespace and for all below it: `team` for `team` and
/// `team/service`, not for `teams`. The longest one counts.
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<(Namespace, Arc<dyn Discovery>)>,
    fallback: Option<Arc<dyn Discovery>>,
}

impl Router {
    /// A router that sends everything here.
    pub fn new(fallback: Arc<dyn Discovery>) -> Self {
        Self { routes: Vec::new(), fallback: Some(fallback) }
    }

    /// Sends this namespace, and those below it, there.
    pub fn route(mut self, namespace: Namespace, to: Arc<dyn Discovery>) -> Self {
        self.routes.retain(|(known, _)| *known != namespace);
        self.routes.push((namespace, to));
        self
    }

    fn target(&self, namespace: &Namespace) -> Result<&Arc<dyn Discovery>> {
        let holds = |route: &Namespace| {
            let rest = namespace.as_str().strip_prefix(route.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.routes
            .iter()
            .filter(|(route, _)| holds(route))
            .max_by_key(|(route, _)| route.as_str().len())
            .map(|(_, to)| to)
            .or(self.fallback.as_ref())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    format!("no discovery is routed for namespace {namespace}: add a route for it"),
                )
            })
    }
}

impl Discovery for Router {
    fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        match self.target(namespace) {
            Ok(target) => target.find_peers(namespace, options),
            Err(error) => stream::once(ready(Err(error))).boxed(),
        }
    }

    fn advertise(&self, namespace: &Namespace, ttl: Duration) -> BoxFuture<'static, Result<()>> {
        match self.target(namespace) {
            Ok(target) => target.advertise(namespace, ttl),
            Err(error) => ready(Err(error)).boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PeerId, PeerInfo, boot::Found};

    struct Named(&'static str);

    impl Discovery for Named {
        fn find_peers(&self, _: &Namespace, _: FindOptions) -> Finding {
            let peer = PeerInfo { id: PeerId::random(), addrs: vec![] };
            stream::once(ready(Ok(Found { source: self.0.into(), peer }))).boxed()
        }

        fn advertise(&self, _: &Namespace, _: Duration) -> BoxFuture<'static, Result<()>> {
            ready(Ok(())).boxed()
        }
    }

    async fn source(router: &Router, namespace: &str) -> Result<String> {
        let namespace = Namespace::new(namespace)?;
        let mut found = router.find_peers(&namespace, FindOptions::default());
        found.next().await.unwrap().map(|found| found.source)
    }

    #[tokio::test]
    async fn the_longest_route_that_holds_counts() {
        let ns = |name| Namespace::new(name).unwrap();
        let routes = Router::default()
            .route(ns("team"), Arc::new(Named("team")))
            .route(ns("team/a"), Arc::new(Named("a")));
        assert_eq!(source(&routes, "team").await.unwrap(), "team");
        assert_eq!(source(&routes, "team/a/b").await.unwrap(), "a");
        assert_eq!(source(&routes, "team/ab").await.unwrap(), "team");
        assert_eq!(source(&routes, "teams").await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(routes.advertise(&ns("other"), Duration::from_secs(1)).await.is_err());
        let routes = Router { fallback: Some(Arc::new(Named("all"))), ..routes };
        assert_eq!(source(&routes, "teams").await.unwrap(), "all");
    }
}
