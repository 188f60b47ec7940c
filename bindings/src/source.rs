//! What streams: events, changes of a query, peers of a search.

use crate::{Change, Error, Event, Found, Result};
use casm::{boot::Finding, cluster::LiveQuery};
use futures::{FutureExt, StreamExt};
use std::future::{Future, ready};
use tokio::task::unconstrained;

/// Something that gives items until it is over. What is not taken in time is
/// dropped by the source, the oldest first if nothing else is said, and told by an
/// item of its own, or by [`lost`](Self::lost).
pub trait Source: Send + 'static {
    /// What it gives.
    type Item: Send + 'static;

    /// The next item; `None` when it is over. Dropping the future loses
    /// nothing.
    fn next(&mut self) -> impl Future<Output = Option<Result<Self::Item>>> + Send;

    /// How many items were dropped, if the item tells that.
    fn dropped(item: &Self::Item) -> u64 {
        let _ = item;
        0
    }

    /// What tells how many items were dropped, if no item does.
    fn lost(&self) -> Option<Box<dyn Fn() -> u64 + Send + Sync>> {
        None
    }
}

/// A source from which several items are taken at once.
pub(crate) struct Pulled<S> {
    source: S,
    /// What came behind the items of the last batch.
    failed: Option<Error>,
}

impl<S: Source> Pulled<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source, failed: None }
    }

    /// Waits for one item, and takes with it those that are there already, up to
    /// `most`. Empty when the source is over.
    pub(crate) async fn next_batch(&mut self, most: usize) -> Result<Vec<S::Item>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(first) = self.source.next().await else { return Ok(Vec::new()) };
        let mut batch = vec![first?];
        while batch.len() < most {
            match unconstrained(self.source.next()).now_or_never() {
                Some(Some(Ok(item))) => batch.push(item),
                Some(Some(Err(error))) => {
                    // Some sources tell it only once.
                    self.failed = Some(error);
                    break;
                }
                // The end comes again.
                Some(None) | None => break,
            }
        }
        Ok(batch)
    }
}

/// The events of a node.
pub struct Events(pub(crate) casm::Events);

impl Source for Events {
    type Item = Event;

    async fn next(&mut self) -> Option<Result<Event>> {
        self.0.next().await.map(Ok)
    }

    fn dropped(item: &Event) -> u64 {
        if let Event::Dropped { count } = item { *count } else { 0 }
    }
}

/// What a query finds, and every change to that. After a gap the whole picture
/// comes again.
pub struct Changes(pub(crate) LiveQuery);

impl Source for Changes {
    type Item = Change;

    async fn next(&mut self) -> Option<Result<Change>> {
        self.0.next().await.map(Ok)
    }

    fn dropped(item: &Change) -> u64 {
        if let Change::Dropped { count } = item { *count } else { 0 }
    }
}

/// The peers that a search finds. One boot address that fails doesn't end the
/// search; its error is told if no other found anything.
pub struct Peers {
    finding: Finding,
    found: bool,
    error: Option<Error>,
}

impl Peers {
    pub(crate) fn new(finding: Finding) -> Self {
        Self { finding, found: false, error: None }
    }
}

impl Source for Peers {
    type Item = Found;

    async fn next(&mut self) -> Option<Result<Found>> {
        loop {
            match self.finding.next().await {
                Some(Ok(found)) => {
                    self.found = true;
                    return Some(Ok(found));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a boot address does not work");
                    self.error.get_or_insert(error);
                }
                None => return self.error.take().filter(|_| !self.found).map(Err),
            }
        }
    }
}

/// The same event, once or many times: for measuring the way to a callback, and tests.
#[derive(Clone, Debug)]
pub struct Synthetic {
    /// The event.
    pub event: Event,
    /// How many more times it comes.
    pub left: u64,
}

impl Source for Synthetic {
    type Item = Event;

    fn next(&mut self) -> impl Future<Output = Option<Result<Event>>> + Send {
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        ready(left.map(|_| Ok(self.event.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use casm::ErrorKind;

    /// Two items, an error that is told once, and the end.
    struct Failing(u8);

    impl Source for Failing {
        type Item = u8;

        async fn next(&mut self) -> Option<Result<u8>> {
            self.0 += 1;
            match self.0 {
                n @ 1..=2 => Some(Ok(n)),
                3 => Some(Err(Error::new(ErrorKind::Protocol, "on purpose"))),
                _ => None,
            }
        }
    }

    #[tokio::test]
    async fn an_error_behind_items_is_not_lost() {
        let mut pulled = Pulled::new(Failing(0));
        assert_eq!(pulled.next_batch(10).await.unwrap(), [1, 2]);
        assert_eq!(pulled.next_batch(10).await.unwrap_err().kind(), ErrorKind::Protocol);
        assert!(pulled.next_batch(10).await.unwrap().is_empty());
    }
}
