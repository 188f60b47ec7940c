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

/// What a member has told that was new here.
#[derive(Debug)]
struct News {
    from: Option<PeerId>,
    renewed: Vec<Certificate>,
    revoked: Vec<Revocation>,
}

/// Starts it, until the scope ends.
///
/// # Errors
/// `Busy` if it runs already on this host.
pub(crate) fn start(
    around: Around,
    namespace: &Namespace,
    metrics: &Metrics,
    scope: &Scope,
) -> Result<()> {
    let protocol = namespace.own_protocol("admit");
    let incoming = around.host.accept(protocol.clone())?;
    let counts = ByLabel::default();
    metrics.register(
        "admit_exchanges",
        "Exchanges of certificates and revocations, by outcome",
        counts.clone(),
    );
    let (news, told) = mpsc::channel(NEWS);
    let desk = Desk { around, protocol, counts, news };
    scope.spawn(desk.clone().serve(incoming));
    scope.spawn(desk.ask(told));
    Ok(())
}

/// What both directions need.
#[derive(Clone)]
struct Desk {
    around: Around,
    protocol: StreamProtocol,
    counts: ByLabel,
    news: mpsc::Sender<News>,
}

impl Desk {
    /// Answers what others ask.
    async fn serve(self, mut incoming: Incoming) {
        let (places, mut running) = (Places::default(), FuturesUnordered::new());
        loop {
            tokio::select! {
                next = incoming.next() => {
                    let Some((peer, stream)) = next else { return };
                    match places.take(peer) {
                        Some(place) => running.push(self.serve_one(peer, stream, place)),
                        None => self.count("refused-busy"),
                    }
                }
                Some(()) = running.next() => {}
            }
        }
    }

    async fn serve_one(&self, peer: PeerId, mut stream: Stream, _place: Place) {
        let answered = timeout(LIMIT, async {
            let ask = Ask::decode(&read(&mut stream).await?)?;
            let (answer, news) = self.around.members.answer(peer, ask);
            write(&mut stream, &answer.encode()).await?;
            Ok::<_, Failed>(news)
        });
        match self.settle(peer, answered.await) {
            // Whoever takes them has ended with the node.
            Some(news) => drop(self.news.send(news).await),
            None => {}
        }
    }

    /// Asks one question. Gives the answer.
    async fn ask_one(&self, peer: PeerId, ask: Ask) -> Option<Answer> {
        let answered = timeout(LIMIT, async {
            let opened = self.around.host.open_stream(peer, self.protocol.clone()).await;
            let mut stream = opened.map_err(|error| Failed::Open(error.kind()))?;
            write(&mut stream, &ask.encode()).await?;
            Ok::<_, Failed>(Answer::decode(&read(&mut stream).await?)?)
        });
        self.settle(peer, answered.await)
    }

    /// Asks and tells others, until the node closes.
    async fn ask(self, mut told: mpsc::Receiver<News>) {
        let members = &self.around.members;
        let (mut asked, mut changes) = (members.asked(), members.changes());
        let mut events = self.around.events.subscribe();
        let (mut jobs, mut busy) = (Jobs::default(), HashSet::new());
        let mut running = FuturesUnordered::new();
        for peer in self.around.host.connected() {
            jobs.of(peer).compare = true;
        }
        loop {
            while running.len() < ASKED
                && let Some((peer, ask)) = jobs.next(&busy, members)
            {
                busy.insert(peer);
                running.push(async { (peer, self.ask_one(peer, ask).await) }.boxed());
            }
            let look = members.next_change(now()).map_or(LOOK, |at| LOOK.min(until(at)));
            tokio::select! {
                event = events.next() => match event {
                    // One end suffices, as both tell.
                    Some(Event::Connected { peer }) if self.around.host.id() < peer => {
                        jobs.of(peer).compare = true;
                    }
                    Some(Event::Disconnected { peer }) => jobs.forget(&peer),
                    Some(_) => {}
                    None => return,
                },
                Some(Wanted { source, from }) = asked.recv() => jobs.of(from).want(source),
                Some(news) = told.recv() => self.pass_on(&news, &mut jobs),
                Some((peer, answer)) = running.next(), if !running.is_empty() => {
                    busy.remove(&peer);
                    if let Some(answer) = answer {
                        let (news, more) = members.answered(peer, answer);
                        jobs.of(peer).add(more);
                        self.pass_on(&news, &mut jobs);
                    }
                }
                Ok(()) = changes.changed() => self.look().await,
                () = sleep(look) => self.look().await,
            }
        }
    }

    /// Has the others told of what is new.
    fn pass_on(&self, news: &News, jobs: &mut Jobs) {
        if news.is_empty() {
            return;
        }
        if !news.revoked.is_empty() {
            (self.around.keep)(self.around.members.revoked());
        }
        for peer in self.around.host.connected() {
            if Some(peer) != news.from {
                jobs.of(peer).tell(news);
            }
        }
    }

    /// Ends the connections of who is a member no more, and has it forgotten.
    async fn look(&self) {
        self.around.members.expire();
        (self.around.sift)();
        for peer in self.around.host.connected() {
            if let Err(refusal) = self.around.members.check(&peer) {
                tracing::info!(%peer, reason = refusal.label(), "a peer is a member no more");
                self.count(refusal.label());
                self.around.host.disconnect(peer).await;
            }
        }
    }
