//! What comes next on one of many channels: only those on which something comes
//! are looked at.

use futures::ready;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Waits for what comes on a topic's channel.
pub(super) struct Next<T>(Option<Waiting<T>>);

struct Waiting<T> {
    topic: Arc<str>,
    turn: u64,
    receiver: mpsc::Receiver<T>,
}

/// What came.
pub(super) struct Came<T> {
    pub(super) topic: Arc<str>,
    /// The so-manieth join of a topic.
    pub(super) turn: u64,
    pub(super) receiver: mpsc::Receiver<T>,
    /// None when nothing more will come.
    pub(super) item: Option<T>,
}

impl<T> Next<T> {
    pub(super) fn new(topic: Arc<str>, turn: u64, receiver: mpsc::Receiver<T>) -> Self {
        Self(Some(Waiting { topic, turn, receiver }))
    }
}

impl<T> Future for Next<T> {
    type Output = Came<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Came<T>> {
        let Some(waiting) = &mut self.0 else { return Poll::Pending };
        let item = ready!(waiting.receiver.poll_recv(cx));
        let Some(Waiting { topic, turn, receiver }) = self.0.take() else { return Poll::Pending };
        Poll::Ready(Came { topic, turn, receiver, item })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

    #[tokio::test]
    async fn of_many_channels_those_come_on_which_there_is_something() {
        let mut all = FuturesUnordered::new();
        let mut senders: Vec<_> = (0..100)
            .map(|n| {
                let (sender, receiver) = mpsc::channel(4);
                all.push(Next::new(format!("{n}").into(), n, receiver));
                sender
            })
            .collect();
        assert!(all.next().now_or_never().is_none());
        for n in [7, 7, 70] {
            senders[n].send(n).await.unwrap();
        }
        let mut got = vec![];
        while let Some(Some(Came { topic, turn, receiver, item })) = all.next().now_or_never() {
            assert_eq!((&*topic, Some(turn as usize)), (&*format!("{turn}"), item));
            got.push(turn);
            all.push(Next::new(topic, turn, receiver));
        }
        got.sort_unstable();
        assert_eq!(got, [7, 7, 70]);
        senders.clear();
        let ends: Vec<_> = all.collect().await;
        assert!(ends.len() == 100 && ends.iter().all(|came| came.item.is_none()));
    }
}
