//! Operations that wait, and how those who wait are told.

use super::{local::Event, party::Outcome, value::Bytes};
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};

/// What a branch of a select is told, with its number.
#[derive(Debug)]
pub(super) enum News {
    Local(Event),
    Remote(Outcome<Bytes>),
}

/// What came of an operation that waited.
pub(super) trait Came: Sized {
    fn into_news(self) -> News;
    fn from_news(news: News) -> Option<Self>;
}

impl Came for Event {
    fn into_news(self) -> News {
        News::Local(self)
    }

    fn from_news(news: News) -> Option<Self> {
        if let News::Local(event) = news { Some(event) } else { None }
    }
}

impl Came for Outcome<Bytes> {
    fn into_news(self) -> News {
        News::Remote(self)
    }

    fn from_news(news: News) -> Option<Self> {
        if let News::Remote(outcome) = news { Some(outcome) } else { None }
    }
}

/// How one who waits is told: alone, or as a branch of a select.
#[derive(Debug)]
pub(super) enum Waiter<E> {
    One(oneshot::Sender<E>),
    Branch(usize, mpsc::UnboundedSender<(usize, News)>),
}

impl<E: Came> Waiter<E> {
    /// Gives back what nobody waits for any more.
    pub(super) fn tell(self, came: E) -> Option<E> {
        match self {
            Self::One(waits) => waits.send(came).err(),
            Self::Branch(branch, waits) => {
                let missed = waits.send((branch, came.into_news())).err();
                missed.and_then(|missed| E::from_news(missed.0.1))
            }
        }
    }
}

/// Who waits for which operation.
pub(super) type Waiters<E> = HashMap<u64, Waiter<E>>;
