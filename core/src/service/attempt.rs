//! One attempt at a member: how long it may take to be asked, and what it tells of the
//! member.

use super::{Services, choice::Said, client::Question};
use crate::PeerId;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The longest that a member may take to be asked while there are others.
const PATIENCE: Duration = Duration::from_secs(2);

/// For how long a member is tried to be reached while there are others: of the time
/// that is left a quarter, so that some is left for the last of many, too.
pub(super) fn patience(deadline: Option<Instant>) -> Duration {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()) / 4);
    left.unwrap_or(PATIENCE).min(PATIENCE)
}

/// A call of one member that is under way. Clones are the same.
#[derive(Clone)]
pub(super) struct Attempt {
    /// How long it may take until the request can be sent; none: as long as it takes.
    pub(super) patience: Option<Duration>,
    call: Arc<Call>,
}

struct Call {
    services: Services,
    question: Arc<Question>,
    peer: PeerId,
    number: u64,
}

impl Attempt {
    /// The first part of the answer has come.
    pub(super) fn first(&self) {
        let Call { services, question, peer, number } = &*self.call;
        services.choice().first(&question.name, peer, *number, services.0.epoch.elapsed());
    }
}

/// Takes note of what comes of an attempt; of nothing, if it is dropped.
pub(super) struct UnderWay {
    call: Arc<Call>,
    said: Said,
}

impl UnderWay {
    /// An attempt at a peer begins.
    pub(super) fn new(
        services: &Services,
        question: &Arc<Question>,
        peer: PeerId,
        patience: Option<Duration>,
    ) -> (Self, Attempt) {
        let now = services.0.epoch.elapsed();
        let number = services.choice().begin(&question.name, peer, now);
        let (services, question) = (services.clone(), question.clone());
        let call = Arc::new(Call { services, question, peer, number });
        (Self { call: call.clone(), said: Said::Nothing }, Attempt { patience, call })
    }

    /// This came of it.
    pub(super) fn end(mut self, said: Said) {
        self.said = said;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Call { services, question, peer, number } = &*self.call;
        let now = services.0.epoch.elapsed();
        services.choice().end(&question.name, peer, *number, self.said, now);
    }
}
