//! Asking for an answer in parts.

use super::{
    CallOptions, Parts, Services,
    attempt::Attempt,
    call::{Asked, question, within},
    client::{Item, Question},
    places::Reader,
    registry::Answered,
    wire::{Failure, FailureKind},
};
use crate::{Error, PeerId, Result};
use futures::{Stream, StreamExt};
use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{sync::mpsc, time::Instant};
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
        let (cancelled, over) = (cancel.clone(), CancellationToken::new());
        let ends = over.clone().drop_guard();
        self.0.registry.spawn(async move {
            let _ends = ends;
            let ask = |peer, attempt| {
                Box::pin(this.ask_for_parts(peer, question.clone(), to.clone(), attempt)) as _
            };
            let asked = this.one(&question, &options, &ask);
            let asked = cancelled.run_until_cancelled(within(&question, asked));
            if let Some(result) = asked.await {
                // Behind the parts that wait for room.
                let _ = to.send(Item::End(result.map(drop))).await;
            }
        });
        let over = Box::pin(over.cancelled_owned());
        Ok(ReplyParts { items: Some(items), over, _cancel: cancel.drop_guard() })
    }

    async fn ask_for_parts(
        &self,
        peer: PeerId,
        question: Arc<Question>,
        to: mpsc::Sender<Item>,
        attempt: Attempt,
    ) -> Asked {
        if peer != self.0.own {
            return self.0.links.stream(peer, question, to, attempt).await;
        }
        let ((sender, parts), reader) = (mpsc::channel(1), Reader::default());
        let incoming = self.incoming(&question);
        let to_reader = Some((Parts(sender), reader.clone()));
        let run = self.0.registry.run(&question.name, incoming, to_reader);
        let send = move |part| {
            let to = to.clone();
            attempt.first();
            async move { to.send(Item::Part(part)).await }
        };
        // Who reads them has gone, and calls this off.
        let gone = |_| Failure::new(FailureKind::Cancelled, "nobody takes the parts").into();
        Ok(hand_on(run, parts, &reader, send).await.unwrap_or_else(gone).result)
    }
}

/// Hands on the parts that a handler sends until it is done, and gives what it
/// answers: also if somebody keeps the other end, which sends nothing any more
/// then. One that was ended is not waited for, whether its parts are taken or not.
///
/// # Errors
/// That of `send`, which ends the handler.
pub(super) async fn hand_on<E, F: Future<Output = Result<(), E>>>(
    run: impl Future<Output = Answered>,
    mut parts: mpsc::Receiver<Vec<u8>>,
    reader: &Reader,
    send: impl Fn(Vec<u8>) -> F,
) -> Result<Answered, E> {
    let mut run = pin!(run);
    let mut answer = None;
    loop {
        tokio::select! {
            biased;
            done = &mut run, if answer.is_none() => {
                parts.close();
                answer = Some(done);
            }
            part = parts.recv() => match (part, answer.take()) {
                (Some(part), done) => {
                    answer = done;
                    reader.waits(Some(Instant::now()));
                    let mut sending = pin!(send(part));
                    loop {
                        tokio::select! {
                            biased;
                            sent = &mut sending => break sent?,
                            done = &mut run, if answer.is_none() => {
                                if was_ended(&done) {
                                    return Ok(done);
                                }
                                parts.close();
                                answer = Some(done);
                            }
                        }
                    }
                    reader.waits(None);
                }
                (None, Some(done)) => return Ok(done),
                // It sends nothing more, and is not done.
                (None, None) => return Ok(run.await),
            },
        }
    }
}

/// Whether a handler was ended before it was done.
pub(super) fn was_ended(answer: &Answered) -> bool {
    let ended =
        |failure: &Failure| matches!(failure.kind, FailureKind::Deadline | FailureKind::Cancelled);
    answer.result.as_ref().is_err_and(ended)
}

/// The parts of an answer, as they come: a stream, which ends after the last one
/// or the first error. The other side waits while they are not taken; dropping
/// this ends it there.
#[must_use = "dropping this calls it off"]
pub struct ReplyParts {
    items: Option<mpsc::Receiver<Item>>,
    /// Whoever asks has ended, with the node if no end was told: others that could send
    /// something may be kept by what nobody looks at any more.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
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
        let this = &mut *self;
        let Some(items) = &mut this.items else { return Poll::Ready(None) };
        let mut item = items.poll_recv(cx);
        if item.is_pending() && this.over.as_mut().poll(cx).is_ready() {
            // What was told before it ended may have come meanwhile.
            item = Poll::Ready(items.try_recv().ok());
        }
        let item = ready!(item);
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
