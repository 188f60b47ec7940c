//! Asking one member, or another one instead.

use super::{
    Answer, CallOptions, Reply, Services,
    attempt::{Attempt, UnderWay, patience},
    choice::Said,
    client::{Lost, Question},
    registry::Incoming,
    wire::{self, Failure, FailureKind},
};
use crate::{
    DEFAULT_TIMEOUT, Error, ErrorKind, PeerId, Result, Target, cluster::Query, life::Life,
    name::check_name,
};
use futures::{FutureExt as _, future::BoxFuture};
use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};
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
    ) -> Result<Answer> {
        let question = question(name, data, &options, Some(DEFAULT_TIMEOUT))?;
        let ask = |peer, attempt| self.ask(peer, question.clone(), attempt).boxed();
        within(&question, self.one(&question, &options, &ask)).await
    }

    /// Tries members until one has begun. One that cannot be asked soon is passed over
    /// for the others, and waited for behind them.
    pub(super) async fn one<'a>(
        &'a self,
        question: &Arc<Question>,
        options: &CallOptions,
        ask: &(dyn Fn(PeerId, Attempt) -> BoxFuture<'a, Asked> + Send + Sync),
    ) -> Result<Answer> {
        let name = &*question.name;
        let (mut tried, mut slow, mut last) = (Vec::new(), VecDeque::new(), None);
        loop {
            let (peer, patience) = match &options.peer {
                Some(target) if tried.is_empty() => (Some(self.whom(target).await?), None),
                Some(_) => (None, None),
                None => match self.next(name, options, &tried).await? {
                    Some(peer) => (Some(peer), Some(patience(question.deadline))),
                    None => (slow.pop_front(), None),
                },
            };
            let Some(peer) = peer else {
                self.life().check()?;
                return Err(last.unwrap_or_else(|| nobody(name, options)));
            };
            tried.push(peer);
            let asked = self.measured(question, peer, patience, |attempt| ask(peer, attempt));
            let (error, again) = match asked.await {
                Ok(Ok(reply)) => return Ok(Answer::new(peer, reply)),
                Ok(Err(failure)) => {
                    let whose = format!("the service `{name}` of {peer}");
                    (failure.error(&whose), !failure.kind.begun())
                }
                Err(lost) => {
                    slow.extend(lost.slow.then_some(peer));
                    let twice = options.idempotent && lost.error.kind() == ErrorKind::Unreachable;
                    (lost.error, !lost.begun || twice)
                }
            };
            // A node that is closed or paused finds nobody any more.
            if !again || matches!(error.kind(), ErrorKind::Closed | ErrorKind::Paused) {
                return Err(error);
            }
            last = Some(error);
        }
    }

    fn life(&self) -> &Life {
        self.0.links.vat().connector().host().life()
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
    pub(super) async fn ask(
        &self,
        peer: PeerId,
        question: Arc<Question>,
        attempt: Attempt,
    ) -> Asked {
        if peer != self.0.own {
            return self.0.links.call(peer, question, attempt).await;
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

    /// Takes note of how long a member takes, and whether it does what it is asked.
    pub(super) async fn measured<Fut: Future<Output = Asked>>(
        &self,
        question: &Arc<Question>,
        peer: PeerId,
        patience: Option<Duration>,
        ask: impl FnOnce(Attempt) -> Fut,
    ) -> Asked {
        let (under_way, attempt) = UnderWay::new(self, question, peer, patience);
        let result = ask(attempt).await;
        under_way.end(match &result {
            Ok(Ok(_)) => Said::Answer,
            Ok(Err(failure)) => match failure.kind {
                // What is asked is at fault, rather than who is.
                FailureKind::TooLarge | FailureKind::Parts => Said::Nothing,
                _ => Said::Failure,
            },
            Err(_) => Said::Failure,
        });
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
            // While it is paused, this node has nobody but itself.
            let up = self.life().is_up();
            members.retain(|member| up || *member == self.0.own);
            let now = self.0.epoch.elapsed();
            let chosen = self.choice().choose(name, &members, now, &mut rand::rng());
            if chosen.is_some() || !options.wait || !tried.is_empty() || !up {
                return Ok(chosen);
            }
            // Those that are there when it begins are looked at again.
            let live = live.get_or_insert_with(|| self.0.cluster.subscribe(Query::service(name)));
            tokio::select! {
                next = live.next() => next.ok_or_else(|| Error::closed("node"))?,
                () = self.life().down() => return Ok(None),
            };
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
