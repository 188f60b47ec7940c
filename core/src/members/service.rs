//! What members tell each other of certificates: those of sources that are not
//! connected are fetched, renewals and revocations are told to all who are, and
//! revocations are compared with whoever connects.

use super::{
    Members, Wanted,
    elsewhere::Elsewhere,
    held::HOLD,
    jobs::{Job, Jobs, News},
    pending::Pending,
    places::{Place, Places},
};
use crate::{
    ErrorKind, Event, Namespace, PeerId, Result,
    admit::{
        AdmitError,
        wire::{Answer, Ask, MAX_MESSAGE, unframe},
    },
    event::EventBus,
    host::{Host, Incoming, Stream},
    metrics::{ByLabel, Metrics},
    scope::Scope,
    trouble::Troubles,
};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, stream::FuturesUnordered};
use libp2p::StreamProtocol;
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

/// How long a question and its answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The least bytes of what is signed.
const SIGNED: usize = 150;
/// Questions that are under way at a time.
const ASKED: usize = 64;
/// When revocations are compared again after that has failed.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest pause before it is looked whose certificate has ended: clocks are set.
const LOOK: Duration = Duration::from_secs(600);
/// How soon after something has changed.
const SOON: Duration = Duration::from_secs(1);

/// What the service works with.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) host: Host,
    pub(crate) members: Members,
    pub(crate) events: EventBus,
    pub(crate) troubles: Troubles,
    /// Takes revocations that are to be kept.
    pub(crate) keep: watch::Sender<Vec<u8>>,
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
    let desk = Desk { around, protocol, counts };
    scope.spawn(desk.clone().serve(incoming));
    scope.spawn(desk.ask());
    Ok(())
}

/// Why a question came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("no stream was opened: {0:?}")]
    Open(ErrorKind),
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] AdmitError),
    #[error("it took too long")]
    Timeout,
}

impl Failed {
    const fn label(&self) -> &'static str {
        match self {
            Self::Open(_) => "not-opened",
            Self::Io(_) => "io",
            Self::Refused(error) => error.label(),
            Self::Timeout => "timeout",
        }
    }
}

/// A question that is over.
struct Asked {
    peer: PeerId,
    ask: Ask,
    /// Whether all revocations are being compared.
    compares: bool,
    answer: Option<Answer>,
}

/// What both directions need.
#[derive(Clone)]
struct Desk {
    around: Around,
    protocol: StreamProtocol,
    counts: ByLabel,
}

impl Desk {
    /// Answers what others ask.
    async fn serve(self, mut incoming: Incoming) {
        let (begun, places) = (Instant::now(), Places::default());
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                next = incoming.next() => {
                    let Some((peer, stream)) = next else { return };
                    match places.take(peer, begun.elapsed()) {
                        Some(place) => running.push(self.serve_one(peer, stream, place)),
                        None => self.count("refused-busy"),
                    }
                }
                Some(()) = running.next() => {}
            }
        }
    }

    async fn serve_one(&self, peer: PeerId, mut stream: Stream, place: Place<'_>) {
        let answered = timeout(LIMIT, async {
            let message = read(&mut stream).await?;
            // Each signature takes longer than all else of it.
            place.pay(message.len() / SIGNED);
            let ask = Ask::decode(&message)?;
            let (answer, news) = self.around.members.answer(&peer, ask);
            write(&mut stream, &answer.frame()).await?;
            Ok(news)
        });
        if let Some(news) = self.settle(peer, answered.await.unwrap_or(Err(Failed::Timeout))) {
            self.around.members.hand_on(news);
        }
    }

    /// Asks one question. Gives the answer.
    async fn ask_one(&self, peer: PeerId, ask: Ask, compares: bool) -> Asked {
        // Longer no message waits for it.
        let limit = if ask.want.is_empty() { LIMIT } else { HOLD };
        let answered = timeout(limit, async {
            let opened = self.around.host.open_stream(peer, self.protocol.clone()).await;
            let mut stream = opened.map_err(|error| Failed::Open(error.kind()))?;
            write(&mut stream, &ask.frame()).await?;
            Ok(Answer::decode(&read(&mut stream).await?)?)
        });
        let answer = self.settle(peer, answered.await.unwrap_or(Err(Failed::Timeout)));
        Asked { peer, ask, compares, answer }
    }

    fn settle<T>(&self, peer: PeerId, done: Result<T, Failed>) -> Option<T> {
        match done {
            Ok(done) => {
                self.count("done");
                Some(done)
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "an exchange of certificates came to nothing");
                self.count(error.label());
                None
            }
        }
    }

    fn count(&self, outcome: &'static str) {
        self.counts.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Asks and tells others, until the node closes.
    async fn ask(self) {
        let (members, host) = (&self.around.members, &self.around.host);
        let Some(mut asked) = members.asked() else { return };
        let (mut events, mut changes) = (self.around.events.subscribe(), members.changes());
        let (mut jobs, mut running) = (Jobs::default(), FuturesUnordered::new());
        let (mut look, mut again) = (Instant::now(), FuturesUnordered::new());
        let mut fewer = members.fewer().subscribe();
        let mut waiting: HashMap<PeerId, Vec<Arc<oneshot::Sender<()>>>> = HashMap::new();
        let (mut pending, mut elsewhere) = (Pending::default(), Elsewhere::default());
        self.meet_all(&mut jobs);
        loop {
            while running.len() < ASKED
                && let Some((peer, question)) = jobs.take()
            {
                let (ask, compares) = members.question(question);
                running.push(self.ask_one(peer, ask, compares));
            }
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Connected { peer }) => {
                        members.pin(peer);
                        // Both ends would say the same.
                        if host.id() < peer {
                            jobs.add(peer, Job::compare);
                        }
                    }
                    Some(Event::Disconnected { peer }) => {
                        members.unpin(&peer);
                        jobs.forget(&peer);
                        pending.forget(&peer);
                        waiting.remove(&peer);
                    }
                    // Somebody may have come or gone unnoticed.
                    Some(Event::Dropped { .. }) => self.meet_all(&mut jobs),
                    Some(_) => {}
                    None => return,
                },
                Some(Wanted { sources, from, asking }) = asked.recv() => {
                    let asking = asking.map(Arc::new);
                    // Meanwhile some may have come, or be on their way from others.
                    for source in sources.into_iter().filter(|source| members.lacks(source)) {
                        let asked = pending.of(&source).unwrap_or_else(|| {
                            if jobs.add(from, |job| job.want(source)) {
                                pending.ask(source, from);
                            }
                            from
                        });
                        if host.is_connected(&asked) && jobs.wants(&asked) {
                            waiting.entry(asked).or_default().extend(asking.clone());
                        }
                    }
                }
                news = members.told() => self.pass_on(&news, &mut jobs),
                Some(peer) = again.next() => if host.is_connected(&peer) {
                    jobs.add(peer, Job::compare);
                },
                Some(Asked { peer, ask, compares, answer }) = running.next() => {
                    if answer.is_none() && (compares || !ask.revocations.is_empty()) {
                        // It may not have been ready, and must hear of what is revoked.
                        again.push(sleep(AGAIN).map(move |()| peer).boxed());
                    }
                    pending.done(&peer, &ask.want);
                    // Who passes on what a source says, and not its certificate, is not the
                    // only one who has that.
                    let has = |source: &PeerId| {
                        let answer = answer.as_ref();
                        answer.is_some_and(|a| a.certificates.iter().any(|c| c.peer() == *source))
                    };
                    for source in ask.want.iter().filter(|source| !has(source)) {
                        for other in elsewhere.ask(*source, &peer, host.connected()) {
                            jobs.add(other, |job| job.want(*source));
                        }
                    }
                    if let Some(answer) = answer {
                        let (news, next) = members.heard(&peer, &ask, answer);
                        self.pass_on(&news, &mut jobs);
                        if let Some(next) = next.filter(|_| compares) {
                            jobs.add(peer, |job| job.go_on(next));
                        }
                    }
                    jobs.done(&peer);
                    jobs.tidy(&peer);
                    if !jobs.wants(&peer) {
                        waiting.remove(&peer);
                    }
                }
                Ok(()) = fewer.changed() => look = look.min(Instant::now() + SOON),
                Ok(()) = changes.changed() => look = look.min(Instant::now() + SOON),
                () = sleep_until(look) => look = Instant::now() + members.look(&self.around.troubles).min(LOOK),
            }
        }
    }

    /// Keeps the certificates of all who are connected, and compares with them.
    fn meet_all(&self, jobs: &mut Jobs) {
        for peer in self.around.host.connected() {
            self.around.members.pin(peer);
            jobs.add(peer, Job::compare);
        }
    }

    /// Has the others told of what is new.
    fn pass_on(&self, news: &News, jobs: &mut Jobs) {
        if news.is_empty() {
            return;
        }
        if !news.revoked.is_empty() {
            self.around.keep.send_replace(self.around.members.revoked());
        }
        for peer in self.around.host.connected() {
            if Some(peer) != news.from {
                jobs.add(peer, |job| job.tell(news));
            }
        }
    }
}

/// Reads a message with its length before it, after which the other end may write no
/// more.
async fn read(stream: &mut Stream) -> Result<Vec<u8>, Failed> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        if let Some((message, _)) = unframe(&bytes, MAX_MESSAGE)? {
            return Ok(message.to_vec());
        }
        match stream.read(&mut chunk).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

async fn write(stream: &mut Stream, frame: &[u8]) -> Result<(), Failed> {
    stream.write_all(frame).await?;
    stream.close().await?;
    Ok(())
}
