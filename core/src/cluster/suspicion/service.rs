//! Joins suspicions to their topic, and to the host: what is decided is with the
//! cluster's task, which has the table.

use super::{Action, Sign, Suspects};
use crate::{
    PeerInfo, Result,
    cluster::Cluster,
    host::{self, Host},
    pubsub::{Received, Topic, TopicEvent, signed::SignedMessage},
    scope::Scope,
};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::PeerId;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

/// How long a dial of who is suspected may take.
const DIAL: Duration = Duration::from_secs(1);
/// Such dials at a time, above which none is possible: more than are asked for, since
/// those of what is found out anew may still be under way.
const DIALS: usize = 64;
/// How often is looked whether a neighbour has answered that was asked.
const LOOK: Duration = Duration::from_millis(100);

/// Signs a message of this node's on the topic, with the next number.
pub(crate) type SignSuspects = Box<dyn Fn(&[u8]) -> Result<SignedMessage> + Send + Sync>;

/// Starts it on its topic, until the scope ends.
pub(crate) fn start(host: Host, cluster: Cluster, topic: Topic, sign: SignSuspects, scope: &Scope) {
    let Some(actions) = cluster.actions() else { return };
    let signs = host.neighbours();
    let service = Service { host, cluster, topic, sign, asking: None };
    scope.spawn(service.run(signs, actions));
}

struct Service {
    host: Host,
    cluster: Cluster,
    topic: Topic,
    sign: SignSuspects,
    /// Since when an answer of a neighbour is waited for, and when to look again.
    asking: Option<(Instant, Instant)>,
}

impl Service {
    async fn run(
        mut self,
        mut signs: mpsc::Receiver<(PeerId, host::Sign)>,
        mut actions: mpsc::Receiver<Action>,
    ) {
        let mut dials: FuturesUnordered<BoxFuture<'static, (PeerId, bool)>> =
            FuturesUnordered::new();
        loop {
            let look = self.asking.map(|(_, look)| look);
            let done = tokio::select! {
                event = self.topic.next() => match event {
                    Some(TopicEvent::Received(received)) => self.hear(received).await,
                    Some(TopicEvent::Subscribed { .. }) => Ok(()),
                    None => return,
                },
                Some((peer, sign)) = signs.recv() => self.cluster.noticed(peer, sign.into()).await,
                Some((peer, reached)) = dials.next() => {
                    self.cluster.noticed(peer, Sign::Dialled(reached)).await
                }
                Some(action) = actions.recv() => match action {
                    Action::Dial(peer) if dials.len() < DIALS => {
                        dials.push(Box::pin(dial(self.host.clone(), self.cluster.clone(), peer)));
                        Ok(())
                    }
                    Action::Dial(peer) => self.cluster.noticed(peer, Sign::Dialled(false)).await,
                    Action::Say(suspects) => {
                        self.say(&suspects).await;
                        Ok(())
                    }
                    Action::Ask(since) => {
                        self.asking = Some((self.cluster.instant(since), Instant::now() + LOOK));
                        self.host.ask_neighbours().await;
                        Ok(())
                    }
                    // The task does that itself.
                    Action::Remove(..) => Ok(()),
                },
                () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {
                    self.look().await
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    async fn hear(&self, received: Received) -> Result<()> {
        let ticket = received.ticket();
        let message = received.message;
        let (source, data) = (message.source(), message.data().to_vec());
        let verdict = self.cluster.suspects((source, message.seq()), data).await?;
        tracing::debug!(%source, ?verdict, "somebody is suspected");
        self.topic.report(ticket, verdict).await;
        Ok(())
    }

    async fn say(&self, suspects: &Suspects) {
        match (self.sign)(&suspects.encode()) {
            // If nobody is there to hear it, nobody takes it.
            Ok(message) => drop(self.topic.publish(message).await),
            Err(error) => tracing::error!(%error, "suspicions are not signed"),
        }
    }

    /// Whether a neighbour has answered since.
    async fn look(&mut self) -> Result<()> {
        let Some((since, look)) = &mut self.asking else { return Ok(()) };
        *look = Instant::now() + LOOK;
        let Some(sent) = self.host.answered_since(*since) else { return Ok(()) };
        self.asking = None;
        self.cluster.neighbour_answered(sent).await
    }
}

/// Whether a peer can be reached now.
async fn dial(host: Host, cluster: Cluster, peer: PeerId) -> (PeerId, bool) {
    let known = cluster.view().get(&peer).map(|record| record.info());
    let info = known.unwrap_or_else(|| PeerInfo { id: peer, addrs: Vec::new() });
    let reached = timeout(DIAL, host.probe(&info)).await;
    (peer, matches!(reached, Ok(Ok(()))))
}

impl From<host::Sign> for Sign {
    fn from(sign: host::Sign) -> Self {
        match sign {
            host::Sign::Here => Self::Here,
            host::Sign::Late => Self::Late,
            host::Sign::Silent => Self::Silent,
            host::Sign::Answers => Self::Answers,
            host::Sign::Broken => Self::Broken,
            host::Sign::Left => Self::Left,
            host::Sign::Closed => Self::Closed,
        }
    }
}
