//! What a handler is given, and what it gives.

use super::{registry::Held, wire};
use crate::{Error, ErrorKind, PeerId, Result};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Headers of a request or an answer: at most 16, whose keys and values have at
/// most 4 KiB.
pub type Headers = BTreeMap<String, String>;

/// A request, as its handler gets it.
///
/// Until it is dropped and the handler is done, it takes one of the
/// [`max_inflight`](super::ServeOptions::max_inflight) places of its service, and its
/// bytes count: also if nobody waits for the answer any more. So who puts requests
/// into a queue has at most so many there.
pub struct Request {
    pub(super) data: Vec<u8>,
    pub(super) headers: Headers,
    pub(super) peer: PeerId,
    pub(super) deadline: Option<Instant>,
    pub(super) cancel: CancellationToken,
    /// Until it is let go of.
    pub(super) held: Option<Arc<Held>>,
}

impl Request {
    /// What was asked, at most 1 MiB.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The same, taken out.
    pub fn take_data(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.data)
    }

    /// What came along with it.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Drops what was asked, and takes no place any more, as if this were dropped: for
    /// one that is answered, and kept.
    pub fn let_go(&mut self) {
        self.data = Vec::new();
        self.held = None;
    }

    /// Who asks: this node itself, too.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// How long the answer is still waited for; `None` if there is no limit.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Waits until nobody waits for the answer any more: the caller has gone, has
    /// called it off, or the time is over. The handler's future is dropped then;
    /// what it has started elsewhere can wait for this.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        self.cancel.clone().cancelled_owned()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("peer", &self.peer)
            .field("bytes", &self.data.len())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// What a handler answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The answer, at most 1 MiB.
    pub data: Vec<u8>,
    /// What comes along with it.
    pub headers: Headers,
}

/// What a call gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// Who answered: this node itself, too.
    pub peer: PeerId,
    /// The answer, at most 1 MiB.
    pub data: Vec<u8>,
    /// What comes along with it.
    pub headers: Headers,
}

impl Answer {
    pub(super) fn new(peer: PeerId, Reply { data, headers }: Reply) -> Self {
        Self { peer, data, headers }
    }

    /// The answer as text.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        text(&self.data)
    }
}

/// For a handler that answers with what another one did.
impl From<Answer> for Reply {
    fn from(Answer { data, headers, .. }: Answer) -> Self {
        Self { data, headers }
    }
}

fn text(data: &[u8]) -> Result<&str> {
    str::from_utf8(data).map_err(|e| {
        Error::new(ErrorKind::Invalid, format!("the answer is not UTF-8: {e}")).with_source(e)
    })
}

impl Reply {
    /// The answer as text.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        text(&self.data)
    }
}

macro_rules! reply_of {
    ($($from:ty),+) => {$(
        impl From<$from> for Reply {
            fn from(data: $from) -> Self {
                Self { data: data.into(), headers: Headers::new() }
            }
        }
    )+};
}
reply_of!(Vec<u8>, &[u8], String, &str);

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::default()
    }
}

/// Where the handler of a stream sends its parts.
#[derive(Clone, Debug)]
pub struct Parts(pub(super) mpsc::Sender<Vec<u8>>);

impl Parts {
    /// Sends a part, at most 64 KiB. Waits while the caller has not taken those
    /// before it.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`]; [`ErrorKind::Cancelled`] if nobody takes it any
    /// more.
    pub async fn send(&self, part: impl Into<Vec<u8>>) -> Result<()> {
        let part = part.into();
        wire::check_part(part.len())?;
        let gone = |_| Error::new(ErrorKind::Cancelled, "nobody takes the parts any more");
        self.0.send(part).await.map_err(gone)
    }
}
