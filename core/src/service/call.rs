//! Asking one member, or another one instead.

use super::{
    CallOptions, DEFAULT_TIMEOUT, Reply, Services,
    client::{Lost, Question},
    registry::Incoming,
    wire::{self, Failure},
};
use crate::{Error, ErrorKind, PeerId, Result, Target, cluster::Query, name::check_name};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// What an attempt gives: an answer, a failure that the member told, or nothing.
pub(super) type Asked = Result<Result<Reply, Failure>, Lost>;

impl Services {
    /// Asks a member that serves it, or the one that is named.
    ///
    /// # Errors
    /// See [`Node::call`](crate::Node::call).
    pub(crate) async fn call(
        &self,
        name: &str,
        data: Vec<u8>,
        options: CallOptions,
    ) -> Result<Reply> {
        let question = question(name, data, &options, Some(DEFAULT_TIMEOUT))?;
        let asked = self.one(name, &options, |peer| self.ask(peer, question.clone()));
        within(&question, asked).await
    }

    /// Tries members until one has begun.
    pub(super) async fn one<F, Fut>(
        &self,
        name: &str,
        options: &CallOptions,
        ask: F,
    ) -> Result<Reply>
    where
        F: Fn(PeerId) -> Fut,
        Fut: Future<Output = Asked>,
    {
        let (mut tried, mut last) = (Vec::new(), None);
        loop {
            let peer = match &options.peer {
                Some(target) if tried.is_empty() => Some(self.whom(target).await?),
                Some(_) => None,
                None => self.next(name, options, &tried).await?,
            };
            let Some(peer) = peer else {
                return Err(last.unwrap_or_else(|| nobody(name, options)));
            };
            tried.push(peer);
            let (error, again) = match self.measured(peer, ask(peer)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(failure)) => {
                    let whose = format!("the service `{name}` of {peer}");
                    (failure.error(&whose), !failure.kind.begun())
                }
                Err(Lost { error, begun }) => {
                    let lost = options.idempotent && error.kind() == ErrorKind::Unreachable;
                    (error, !begun || lost)
                }
            };
            // A node that is closed finds nobody any more.
            if !again || error.kind() == ErrorKind::Closed {
                return Err(error);
            }
            last = Some(error);
        }
    }

    /// Who is meant, which is connected to if it was not named by its id alone.
    ///
    /// # Errors
    /// As of [`Node::connect`](crate::Node::connect).
    pub(super) async fn whom(&self, target: &Target) -> Result<PeerId> {
        match target {
            Target::Peer(id) => Ok(*id),
            _ => self.0.links.vat().connector().reach(target).await,
        }
    }

    /// Asks this peer, or this node itself.
    pub(super) async fn ask(&self, peer: PeerId, question: Arc<Question>) -> Asked {
        if peer != self.0.own {
            return self.0.links.call(peer, question).await;
        }
        let answer = self.0.registry.run(&question.name, self.incoming(&question), None).await;
        Ok(answer.result)
    }

    /// A question to this node itself.
    pub(super) fn incoming(&self, question: &Question) -> Incoming {
        Incoming {
            peer: self.0.own,
            data: question.data.clone(),
            headers: question.headers.clone(),
            timeout: question.deadline.map(|at| at.saturating_duration_since(Instant::now())),
        }
    }

    /// Takes note of how long a member takes, and whether it takes requests.
    pub(super) async fn measured(&self, peer: PeerId, asked: impl Future<Output = Asked>) -> Asked {
        let mut under_way = UnderWay::new(self, peer);
        let result = asked.await;
        match &result {
            Ok(Err(failure)) if !failure.kind.begun() => under_way.avoid(),
            Ok(_) => under_way.took = Some(under_way.since.elapsed()),
            Err(_) => under_way.avoid(),
        }
        result
    }

    /// The members that serve it, this one too.
    pub(super) fn members(&self, name: &str, options: &CallOptions) -> Vec<PeerId> {
        let inner = &self.0;
        let view = inner.cluster.view();
        let wanted = |record: &crate::Record| {
            options.matching.as_ref().is_none_or(|query| query.matches(record))
        };
        let mut members: Vec<_> = view
            .iter(Query::service(name))
            .filter(|record| record.peer() != inner.own && record.serves(name) && wanted(record))
            .map(|record| record.peer())
            .collect();
        // What this one serves is known here before it is in the view.
        let own = || view.get(&inner.own).map_or(options.matching.is_none(), |own| wanted(&own));
        if inner.registry.lists(name) && own() {
            members.push(inner.own);
        }
        members
    }

    /// A member that was not tried; `None` if there is none.
    async fn next(
        &self,
        name: &str,
        options: &CallOptions,
        tried: &[PeerId],
    ) -> Result<Option<PeerId>> {
        let mut live = None;
        loop {
            let mut members = self.members(name, options);
            members.retain(|member| !tried.contains(member));
            let chosen = self.choice().choose(&members, self.0.epoch.elapsed(), &mut rand::rng());
            if chosen.is_some() || !options.wait || !tried.is_empty() {
                return Ok(chosen);
            }
            // Those that are there when it begins are looked at again.
            let live = live.get_or_insert_with(|| self.0.cluster.subscribe(Query::service(name)));
            live.next().await.ok_or_else(|| Error::closed("node"))?;
        }
    }
}

/// What is asked, if it is acceptable.
pub(super) fn question(
    name: &str,
    data: Vec<u8>,
    options: &CallOptions,
    timeout: Option<Duration>,
) -> Result<Arc<Question>> {
    check_name("service", name)?;
    options.check()?;
    wire::check_data("request", data.len())?;
    let timeout = options.timeout.unwrap_or(timeout);
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let headers = options.headers.clone();
    Ok(Arc::new(Question { name: name.to_owned(), data, headers, deadline }))
}

/// Waits no longer than is wanted.
pub(super) async fn within<T>(
    question: &Question,
    asked: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(deadline) = question.deadline else { return asked.await };
    let begun = Instant::now();
    timeout_at(deadline, asked).await.unwrap_or_else(|_| {
        let message =
            format!("the service `{}`: no answer within {:?}", question.name, deadline - begun);
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

fn nobody(name: &str, options: &CallOptions) -> Error {
    let among = if options.matching.is_some() { " of those that `where` finds" } else { "" };
    let message =
        format!("nobody{among} serves `{name}`: start one that does, or `wait` until there is one");
    Error::new(ErrorKind::NotFound, message)
}

/// A call under way.
struct UnderWay<'a> {
    services: &'a Services,
    peer: PeerId,
    since: Instant,
    took: Option<Duration>,
}

impl<'a> UnderWay<'a> {
    fn new(services: &'a Services, peer: PeerId) -> Self {
        services.choice().begin(peer, services.0.epoch.elapsed());
        Self { services, peer, since: Instant::now(), took: None }
    }

    fn avoid(&self) {
        self.services.choice().avoid(&self.peer, self.services.0.epoch.elapsed());
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.services.choice().end(&self.peer, self.took, self.services.0.epoch.elapsed());
    }
}
