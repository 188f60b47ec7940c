//! Asking for an answer in parts.

use super::{
    CallOptions, Parts, Services,
    call::{Asked, question, within},
    client::{Item, Question},
};
use crate::{Error, PeerId, Result};
use futures::{Stream, StreamExt};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Parts that wait until they are taken.
const WAITING: usize = 4;

impl Services {
    /// Asks a member for parts, or the one that is named.
    ///
    /// # Errors
    /// See [`Node::call_stream`](crate::Node::call_stream).
    pub(crate) fn call_stream(
        &self,
        name: &str,
        data: Vec<u8>,
        options: CallOptions,
    ) -> Result<ReplyParts> {
        let question = question(name, data, &options, None)?;
        let (to, items) = mpsc::channel(WAITING);
        let (this, cancel) = (self.clone(), CancellationToken::new());
        let cancelled = cancel.clone();
        self.0.registry.spawn(async move {
            let asked = this.one(&question.name, &options, |peer| {
                this.ask_for_parts(peer, question.clone(), to.clone())
            });
            let asked = cancelled.run_until_cancelled(within(&question, asked));
            if let Some(result) = asked.await {
                // Behind the parts that wait for room.
                let _ = to.send(Item::End(result.map(drop))).await;
            }
        });
        Ok(ReplyParts { items: Some(items), _cancel: cancel.drop_guard() })
    }

    async fn ask_for_parts(
        &self,
        peer: PeerId,
        question: Arc<Question>,
        to: mpsc::Sender<Item>,
    ) -> Asked {
        if peer != self.0.own {
            return self.0.links.stream(peer, question, to).await;
        }
        let (sender, mut parts) = mpsc::channel(1);
        let incoming = self.incoming(&question);
        let run = self.0.registry.run(&question.name, incoming, Some(Parts(sender)));
        let hand_on = async {
            while let Some(part) = parts.recv().await {
                if to.send(Item::Part(part)).await.is_err() {
                    break;
                }
            }
        };
        let (answer, ()) = tokio::join!(run, hand_on);
        Ok(answer.result)
    }
}

/// The parts of an answer, as they come: a stream, which ends after the last one
/// or the first error. The other side waits while they are not taken; dropping
/// this ends it there.
#[must_use = "dropping this calls it off"]
pub struct ReplyParts {
    items: Option<mpsc::Receiver<Item>>,
    _cancel: DropGuard,
}

impl ReplyParts {
    /// The next part; `None` after the last one.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>>> {
        StreamExt::next(self).await
    }
}

impl Stream for ReplyParts {
    type Item = Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(items) = &mut self.items else { return Poll::Ready(None) };
        let item = ready!(items.poll_recv(cx));
        if let Some(Item::Part(part)) = item {
            return Poll::Ready(Some(Ok(part)));
        }
        self.items = None;
        Poll::Ready(match item {
            Some(Item::End(Ok(()))) => None,
            Some(Item::End(Err(error))) => Some(Err(error)),
            _ => Some(Err(Error::closed("node"))),
        })
    }
}

impl fmt::Debug for ReplyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyParts").finish_non_exhaustive()
    }
}
