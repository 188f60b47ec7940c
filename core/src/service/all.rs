//! Asking everybody who serves it.

use super::{CallOptions, Reply, Services, call::question, client::Lost};
use crate::{DEFAULT_TIMEOUT, Error, ErrorKind, PeerId, Result, Target};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::{Sleep, sleep_until};

/// Members that are asked at once.
const AT_ONCE: usize = 64;

/// What one of those that were asked said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerReply {
    /// Who was asked.
    pub peer: PeerId,
    /// Its answer, or why there is none.
    pub result: Result<Reply>,
}

/// Why no more replies come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// All who were asked have replied.
    All,
    /// There were as many as were wanted.
    Limit,
    /// The time was over.
    Timeout,
}

impl Ended {
    /// Its name: `all`, `limit` or `timeout`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Limit => "limit",
            Self::Timeout => "timeout",
        }
    }
}

impl Services {
    /// Asks all who serve it now.
    ///
    /// # Errors
    /// See [`Node::call_all`](crate::Node::call_all).
    pub(crate) fn call_all(
        &self,
        name: &str,
        data: Vec<u8>,
        options: &CallOptions,
    ) -> Result<Replies> {
        let question = question(name, data, options, Some(DEFAULT_TIMEOUT))?;
        let members = match &options.peer {
            Some(target) => vec![(named(target)?, Some(target.clone()))],
            None => self.members(name, options).into_iter().map(|peer| (peer, None)).collect(),
        };
        let (this, name) = (self.clone(), name.to_owned());
        let timer = question.deadline.map(|at| Box::pin(sleep_until(at)));
        let ask = move |(peer, target): (PeerId, Option<Target>)| {
            let (this, question, name) = (this.clone(), question.clone(), name.clone());
            async move {
                let ask = async |attempt| {
                    if let Some(target) = target {
                        this.whom(&target).await.map_err(Lost::unreached)?;
                    }
                    this.ask(peer, question.clone(), attempt).await
                };
                let result = match this.measured(&question, peer, None, ask).await {
                    Ok(Ok(reply)) => Ok(reply),
                    Ok(Err(failure)) => {
                        Err(failure.error(&format!("the service `{name}` of {peer}")))
                    }
                    Err(Lost { error, .. }) => Err(error),
                };
                PeerReply { peer, result }
            }
        };
        Ok(Replies {
            replies: Some(stream::iter(members).map(ask).buffer_unordered(AT_ONCE).boxed()),
            timer,
            left: options.limit.unwrap_or(usize::MAX),
            ended: None,
        })
    }
}

/// Who is meant, which a reply has to say.
fn named(target: &Target) -> Result<PeerId> {
    target.id().ok_or_else(|| {
        Error::config(
            "peer",
            target.to_string(),
            "write it with its id, as …/p2p/12D3KooW…, to call all",
        )
    })
}

/// The replies of all, as they come: a stream. Dropping it calls off what is
/// still under way.
#[must_use = "nobody is asked before the first reply is"]
pub struct Replies {
    replies: Option<BoxStream<'static, PeerReply>>,
    timer: Option<Pin<Box<Sleep>>>,
    left: usize,
    ended: Option<Ended>,
}

impl Replies {
    /// The next reply; `None` when there is none any more.
    pub async fn next(&mut self) -> Option<PeerReply> {
        StreamExt::next(self).await
    }

    /// Why no more replies come; `None` as long as they may.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    fn end(&mut self, why: Ended) -> Poll<Option<PeerReply>> {
        self.ended.get_or_insert(why);
        self.replies = None;
        Poll::Ready(None)
    }
}

impl Stream for Replies {
    type Item = PeerReply;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PeerReply>> {
        let this = &mut *self;
        let Some(replies) = &mut this.replies else { return Poll::Ready(None) };
        if this.left == 0 {
            return this.end(Ended::Limit);
        }
        let late = this.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        match replies.poll_next_unpin(cx) {
            // Its clock says what ours does.
            Poll::Ready(Some(reply)) if late && is_timeout(&reply) => this.end(Ended::Timeout),
            Poll::Ready(Some(reply)) => {
                this.left -= 1;
                Poll::Ready(Some(reply))
            }
            Poll::Ready(None) => this.end(Ended::All),
            Poll::Pending if late => this.end(Ended::Timeout),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn is_timeout(reply: &PeerReply) -> bool {
    reply.result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout)
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("ended", &self.ended).finish_non_exhaustive()
    }
}
