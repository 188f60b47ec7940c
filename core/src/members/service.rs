//! What members tell each other of certificates: those of sources that are not
//! connected are fetched, renewals and revocations are told to all who are, and
//! revocations are compared with whoever connects.

use super::{Members, Wanted, now};
use crate::{
    Error, ErrorKind, Event, Events, Namespace, PeerId, Result,
    admit::{
        self, Certificate, MAX_WANT, Revocation,
        wire::{Answer, Ask, MAX_MESSAGE},
    },
    event::EventBus,
    host::{Host, Stream},
    metrics::{ByLabel, Metrics, verdict},
    scope::Scope,
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, stream::FuturesUnordered};
use libp2p::StreamProtocol;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep_until, timeout},
};

/// How long a question and its answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Questions of others that are answered at a time, and those of one peer.
const SERVED: usize = 64;
const OF_PEER: usize = 4;
/// Questions that are under way at a time.
const ASKED: usize = 64;
/// Certificates that are waited for from one peer.
const WANTED_OF_PEER: usize = 2 * MAX_WANT;
/// The longest pause before it is looked whose certificate has ended: clocks are set.
const LOOK: Duration = Duration::from_secs(600);

/// What the service works with.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) host: Host,
    pub(crate) members: Members,
    pub(crate) events: EventBus,
    /// Told when who is a member may have changed, so that others are forgotten.
    pub(crate) sift: Arc<dyn Fn() + Send + Sync>,
    /// Told when there is something to keep.
    pub(crate) keep: Arc<dyn Fn(Vec<u8>) + Send + Sync>,
}
