//! The task of one topic: it judges what comes, and hands it to those who have
//! subscribed.

use super::{
    Message, Validator,
    judge::{Arrival, Judge, Refusal},
    queue::Queue,
};
use crate::{
    Result, View,
    cluster::Query,
    metrics::{ByLabel, Metrics, verdict},
    pubsub::{Received, Topic, TopicEvent, Verdict},
};
use libp2p::PeerId;
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Who has subscribed to one topic.
#[derive(Default)]
pub(super) struct Subscribers {
    queues: Mutex<Queues>,
    closed: CancellationToken,
}

#[derive(Default)]
struct Queues {
    /// Each with whether it wants this node's own messages too.
    open: Vec<(Weak<Queue>, bool)>,
    closed: bool,
}

impl Subscribers {
    /// Adds one. It is closed at once if the topic is over.
    pub(super) fn add(&self, queue: &Arc<Queue>, echo: bool) {
        let mut queues = self.lock();
        if queues.closed {
            return queue.close();
        }
        // Also here, since on a quiet topic nothing is delivered.
        queues.open.retain(|(queue, _)| queue.strong_count() > 0);
        queues.open.push((Arc::downgrade(queue), echo));
    }

    /// Hands a message to everybody, or to those who want this node's own.
    /// Gives back how many messages were lost by it.
    pub(super) fn deliver(&self, message: &Message, own: bool) -> u64 {
        let mut lost = 0;
        self.lock().open.retain(|(queue, echo)| {
            let Some(queue) = queue.upgrade() else { return false };
            if *echo || !own {
                lost += queue.push(message.clone());
            }
            true
        });
        lost
    }

    /// Waits until the topic is over.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// The topic is over.
    fn close(&self) {
        self.closed.cancel();
        let mut queues = self.lock();
        queues.closed = true;
        queues.open.drain(..).filter_map(|(queue, _)| queue.upgrade()).for_each(|q| q.close());
    }

    /// How many messages wait for all of them.
    pub(super) fn waiting(&self) -> usize {
        self.lock().open.iter().filter_map(|(queue, _)| queue.upgrade()).map(|q| q.len()).sum()
    }

    /// What the lock guards is whole at every moment at which a panic could
    /// strike.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a topic for those who have subscribed when its task is dropped: also one that
/// never ran, since the node closed before its turn.
pub(super) struct Closing(pub(super) Arc<Subscribers>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Looks at the cluster as it is now.
pub(super) type Look = Arc<dyn Fn() -> View + Send + Sync>;

/// What a topic's task works with.
pub(super) struct Task {
    pub(super) own: PeerId,
    pub(super) max_data: usize,
    pub(super) accept: Option<Query>,
    pub(super) validator: Option<Validator>,
    pub(super) look: Look,
    pub(super) subscribers: Closing,
    /// Ends the topic.
    pub(super) over: CancellationToken,
    pub(super) messages: ByLabel,
    pub(super) metrics: Metrics,
}

impl Task {
    /// Joins the topic and takes what comes, until nobody has the topic any more.
    pub(super) async fn run(self, join: impl Future<Output = Result<Topic>>) {
        let epoch = Instant::now();
        let mut judge = Judge::new(self.own, self.max_data);
        let take = async {
            let Ok(mut topic) = join.await else { return };
            while let Some(event) = topic.next().await {
                let TopicEvent::Received(received) = event else { continue };
                let ticket = received.ticket();
                let verdict = self.take(&mut judge, received, epoch);
                topic.report(ticket, verdict).await;
            }
        };
        self.over.run_until_cancelled(take).await;
    }

    /// Judges a message, and delivers it.
    fn take(&self, judge: &mut Judge, received: Received, epoch: Instant) -> Verdict {
        let Received { message, from } = received;
        let message = Message(message);
        let source = message.source();
        let (seq, len) = (message.seq(), message.data().len());
        let arrival = Arrival { source: &source, seq, len, from: &from };
        let judged = judge.judge(
            arrival,
            epoch.elapsed(),
            || self.accepts(&source),
            || self.is_valid(&message),
        );
        let label = judged.map_or_else(Refusal::label, |()| "delivered");
        self.messages.get_or_create(&verdict(label)).inc();
        if let Err(refusal) = judged {
            if refusal == Refusal::Panicked {
                tracing::error!(topic = message.topic(), "a topic's validator panicked");
            }
            return match refusal {
                Refusal::Rejected => Verdict::Reject,
                _ => Verdict::Ignore,
            };
        }
        self.count_lost(self.subscribers.0.deliver(&message, false));
        Verdict::Accept
    }

    fn count_lost(&self, lost: u64) {
        if lost > 0 {
            self.metrics.dropped.get_or_create(&[("queue", "messages")]).inc_by(lost);
        }
    }

    /// Whether a source is one that the topic takes.
    fn accepts(&self, source: &PeerId) -> Result<(), Refusal> {
        let Some(accept) = &self.accept else { return Ok(()) };
        match (self.look)().get(source) {
            None => Err(Refusal::NoRecord),
            Some(record) if accept.matches(&record) => Ok(()),
            Some(_) => Err(Refusal::NotAccepted),
        }
    }

    /// Whether the program takes a message.
    fn is_valid(&self, message: &Message) -> Result<(), Refusal> {
        let Some(Validator(valid)) = &self.validator else { return Ok(()) };
        match catch_unwind(AssertUnwindSafe(|| valid(message))) {
            Ok(Verdict::Accept) => Ok(()),
            Ok(Verdict::Ignore) => Err(Refusal::Ignored),
            Ok(Verdict::Reject) => Err(Refusal::Rejected),
            Err(_) => Err(Refusal::Panicked),
        }
    }
}
