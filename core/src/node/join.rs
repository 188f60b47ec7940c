//! Finds the first peers through discovery, looks again when they are lost, and
//! now and then for others of the same name that formed a cluster apart.

use super::pace::{Goal, KEPT, Pace, Standing, jitter};
use crate::{
    Event, Events, Namespace, PeerId, PeerInfo, Result,
    boot::{Boot, BootAddr, FindOptions, Finding, Found},
    cluster::Cluster,
    event::EventBus,
    host::Host,
    power::Profile,
    who::Who,
};
use futures::{StreamExt, stream::FuturesUnordered};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Pauses before a peer that was found and did not answer is tried again: a
/// search tells of it once, and it may be about to listen.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// How long a peer that was found is tried.
const PATIENCE: Duration = Duration::from_secs(8);
/// After this time a peer counts as one that may not answer, and another is
/// tried beside it.
const SLOW: Duration = Duration::from_millis(500);
/// A search that was begun so lately is in the network of now.
const FRESH: Duration = Duration::from_millis(500);
/// The most peers that are tried at a time. Many, because whoever answers for
/// peers that don't exist must not hold up a search for long.
const TRIES: usize = 32;

/// What a node that joins needs of its services.
trait Around {
    fn standing(&self) -> Standing;
    fn is_connected(&self, peer: &PeerId) -> bool;
    /// Whether the peer is in the view.
    fn knows(&self, peer: &PeerId) -> bool;
    fn find(&self, time: Duration) -> Finding;
    fn connect(&self, found: &Found) -> impl Future<Output = Result<()>>;
    fn disconnect(&self, peer: PeerId) -> impl Future<Output = ()>;
    /// Told when others are taken than before.
    fn taken(&self) -> watch::Receiver<u64>;
}

/// The services of a node.
pub(super) struct Services {
    pub(super) host: Host,
    pub(super) boot: Boot,
    pub(super) cluster: Cluster,
    pub(super) namespace: Namespace,
    pub(super) profile: Profile,
    pub(super) who: Who,
}

impl Around for Services {
    fn standing(&self) -> Standing {
        let (connected, view) = (self.host.connected().len(), self.cluster.view().len());
        Standing { connected, view, profile: self.profile }
    }

    fn is_connected(&self, peer: &PeerId) -> bool {
        self.host.is_connected(peer)
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.cluster.view().get(peer).is_some()
    }

    fn find(&self, time: Duration) -> Finding {
        self.boot.find_peers(&self.namespace, FindOptions::default().timeout(time))
    }

    async fn connect(&self, found: &Found) -> Result<()> {
        connect(&self.host, &found.source, &found.peer).await
    }

    fn taken(&self) -> watch::Receiver<u64> {
        self.who.changes()
    }

    async fn disconnect(&self, peer: PeerId) {
        self.host.disconnect(peer).await;
    }
}

/// Connects to a peer to which a source led. What a person configured is dialled
/// as it is, and what others answered with care.
pub(super) async fn connect(host: &Host, source: &str, peer: &PeerInfo) -> Result<()> {
    match source.parse() {
        Ok(BootAddr::Static { .. }) | Err(_) => host.connect(peer).await,
        Ok(_) => host.reach(peer).await,
    }
}

/// The peers with which a content node connected because it did not know them.
#[derive(Default)]
struct Strangers(Vec<PeerId>);

impl Strangers {
    /// Gives up those that are too many. Random ones: who makes up new peers for
    /// each search must not have all that are honest given up.
    async fn reduce(&mut self, around: &impl Around) {
        self.0.retain(|peer| around.is_connected(peer));
        while self.0.len() > KEPT {
            let peer = self.0.swap_remove(rand::random_range(..self.0.len()));
            around.disconnect(peer).await;
        }
    }
}

/// How a search or a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As it should.
    Over,
    /// The last peer was lost meanwhile.
    Alone,
    /// Without a peer, the node has got other addresses, or takes others than before.
    Moved,
    /// The node is closed.
    Closed,
}

/// What ends a pause before its time.
enum Change {
    Lost,
    Moved,
    Closed,
}

/// Runs as long as the node: anew after each pause.
pub(super) async fn run(services: Services, events: EventBus) {
    let life = services.host.life();
    loop {
        life.up().await;
        tokio::select! {
            () = life.down() => {}
            () = join(&services, events.subscribe()) => return,
        }
    }
}

async fn join(around: &impl Around, mut events: Events) {
    let mut pace = Pace::new(Instant::now(), &mut rand::rng());
    let mut strangers = Strangers::default();
    loop {
        let end = search(around, &mut events, &mut strangers).await;
        strangers.reduce(around).await;
        match end {
            End::Over => {}
            // A search that goes on tells of a peer once: it must start afresh.
            End::Alone => {
                let pause = pace.deserted(Instant::now(), &mut rand::rng());
                sleep(pause).await;
                continue;
            }
            End::Moved => {
                pace.moved();
                continue;
            }
            End::Closed => return,
        }
        pace.searched(around.standing(), Instant::now(), &mut rand::rng());
        match rest(around, &mut pace, &mut events).await {
            End::Closed => return,
            End::Moved => pace.moved(),
            End::Over | End::Alone => {}
        }
    }
}

/// One search, over when there are peers enough.
async fn search(around: &impl Around, events: &mut Events, strangers: &mut Strangers) -> End {
    let (begun_at, standing) = (Instant::now(), around.standing());
    let goal = Goal::of(standing);
    let mut found = Some(around.find(goal.time(&standing.profile)));
    let (mut tried, mut made) = (FuturesUnordered::new(), 0);
    // When those that are being tried were begun.
    let mut begun: Vec<Instant> = Vec::new();
    let (mut had_peers, mut taken) = (false, around.taken());
    loop {
        let standing = around.standing();
        had_peers |= standing.connected > 0 || made > 0;
        let missing = goal.missing(standing, made);
        if missing == 0 || (found.is_none() && tried.is_empty()) {
            return End::Over;
        }
        let hopeful = begun.iter().filter(|begun| begun.elapsed() < SLOW).count();
        let more = hopeful < missing && begun.len() < TRIES;
        let next = async {
            match &mut found {
                Some(found) if more => found.next().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            next = next => match next {
                Some(Ok(peer)) => {
                    let id = &peer.peer.id;
                    let strange = goal == Goal::Peers || !around.knows(id);
                    if strange && !around.is_connected(id) {
                        let now = Instant::now();
                        begun.push(now);
                        let id = *id;
                        tried.push(async move { (now, id, reach(around, peer).await) });
                    }
                }
                Some(Err(error)) => tracing::debug!(%error, "a boot address does not work"),
                None => found = None,
            },
            Some((at, id, reached)) = tried.next() => {
                made += usize::from(reached);
                if reached && goal == Goal::Strangers {
                    strangers.0.push(id);
                }
                if let Some(i) = begun.iter().position(|begun| *begun == at) {
                    begun.swap_remove(i);
                }
            }
            // One that is tried may have become slow.
            () = sleep(SLOW / 2), if hopeful > 0 && !more => {}
            // Who was found and not taken is not told of again.
            Ok(()) = taken.changed() => if around.standing().connected == 0 {
                return End::Moved;
            },
            event = events.next() => match event {
                Some(Event::Disconnected { .. } | Event::Dropped { .. })
                    if had_peers && around.standing().connected == 0 => return End::Alone,
                // A crawl is over in the old network, or too slow in its pauses.
                Some(Event::Listening { .. })
                    if begun_at.elapsed() > FRESH && around.standing().connected == 0 =>
                {
                    return End::Moved;
                }
                Some(_) => {}
                None => return End::Closed,
            },
        }
    }
}

/// Tries a peer, and tries it again a few times. Whether it is connected now.
async fn reach(around: &impl Around, found: Found) -> bool {
    let peer = &found.peer;
    let tries = retry(|| around.connect(&found));
    match timeout(PATIENCE, tries).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => {
            tracing::debug!(peer = %peer.id, %error, "a peer was found and does not answer");
        }
        Err(_) => tracing::debug!(peer = %peer.id, "a peer was found and does not answer in time"),
    }
    false
}

async fn retry<F: Future<Output = Result<()>>>(mut connect: impl FnMut() -> F) -> Result<()> {
    for pause in RETRIES {
        match connect().await {
            Ok(()) => return Ok(()),
            Err(error) => tracing::debug!(%error, "a peer that was found is tried again"),
        }
        sleep(jittered(pause)).await;
    }
    connect().await
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(jitter(&mut rand::rng()))
}

/// Waits for the time to look again.
async fn rest(around: &impl Around, pace: &mut Pace, events: &mut Events) -> End {
    let mut taken = around.taken();
    loop {
        let due = pace.due(around.standing());
        if due <= Instant::now() {
            return End::Over;
        }
        let changed = async {
            loop {
                match events.next().await {
                    Some(Event::Disconnected { .. } | Event::Dropped { .. }) => {
                        return Change::Lost;
                    }
                    Some(Event::Listening { .. }) => return Change::Moved,
                    Some(_) => {}
                    None => return Change::Closed,
                }
            }
        };
        tokio::select! {
            // The view may have grown since: what is due is asked again.
            () = sleep_until(due) => {}
            Ok(()) = taken.changed() => if around.standing().connected == 0 {
                return End::Moved;
            },
            change = changed => match (change, around.standing().connected) {
                (Change::Lost, 0) => {
                    let pause = pace.deserted(Instant::now(), &mut rand::rng());
                    sleep(pause).await;
                    return End::Over;
                }
                (Change::Lost, _) => pace.lost(Instant::now()),
                (Change::Moved, 0) => return End::Moved,
                (Change::Moved, _) => {}
                (Change::Closed, _) => return End::Closed,
            },
        }
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
