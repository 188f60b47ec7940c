//! Acquires a semaphore of another node. Each acquire is a party of its own, kept
//! by a task until its lease is given back or lost.

use super::{
    failed,
    owner::{PACE, TTL},
    too_late,
};
use crate::{
    Error, ErrorKind, PeerId, Result,
    csp::{links::Link, party::GRACE, remote::Env},
    schema::csp_capnp::{channels, grant, holder},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// For how long an owner that can't be reached is tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// After which time it is tried again, or asked again if it was busy.
const AGAIN: Duration = Duration::from_millis(300);
/// How long the owner may let one acquire wait in one call.
const WAIT: Duration = Duration::from_secs(60);
/// When it is asked again before that, so that the acquire keeps its place.
const ASK_AGAIN: Duration = Duration::from_secs(50);
/// How long it is not asked again that had nothing too early.
const EARLY: Duration = Duration::from_millis(50);
/// How much longer an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The number of the one acquire of each party.
const NUMBER: u64 = 1;

/// Those who keep leases of semaphores of other nodes.
#[derive(Clone, Default)]
pub(in crate::csp) struct Keepers {
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Keepers {
    /// All leases are given back, and none is to be had any more. Waits until their
    /// owners have heard of that, so long at most.
    pub(in crate::csp) async fn end(&self, most: Duration) {
        self.ending.cancel();
        self.tasks.close();
        let _ = timeout(most, self.tasks.wait()).await;
    }
}

/// A semaphore of another node.
pub(in crate::csp) struct Remote {
    pub(in crate::csp) name: String,
    pub(in crate::csp) owner: PeerId,
    env: Env,
}

impl Remote {
    pub(in crate::csp) fn new(name: String, owner: PeerId, env: Env) -> Self {
        Self { name, owner, env }
    }

    async fn link(&self) -> Result<Link> {
        self.env.links.link(self.owner).await
    }

    /// A connection did not do; another may.
    fn forget(&self, link: &Link) {
        self.env.links.forget(self.owner, link);
    }

    /// Opens the semaphore, to see that it is there.
    pub(in crate::csp) async fn open(&self) -> Result<()> {
        let name = self.name.clone();
        let link = self.link().await?;
        let opened = link.channels.with(async move |channels: channels::Client| {
            let mut request = channels.semaphore_request();
            request.get().set_name(&name[..]);
            request.send().promise.await?.get()?.get_semaphore().map(drop)
        });
        match timeout(ANSWER, opened).await {
            Ok(opened) => opened.map_err(|error| self.not_found(error)),
            Err(_) => {
                self.forget(&link);
                Err(failed(ErrorKind::Unreachable, &self.name, "its owner does not answer"))
            }
        }
    }

    fn not_found(&self, error: Error) -> Error {
        if !error.message().contains("notFound") {
            return error;
        }
        let message = format!(
            "{} has no semaphore `{}`: check the name, or open it later",
            self.owner, self.name
        );
        Error::new(ErrorKind::NotFound, message)
    }

    pub(super) async fn acquire(self: &Arc<Self>, timeout: Option<Duration>) -> Result<Held> {
        let (tell, acquired) = oneshot::channel();
        let keepers = &self.env.keepers;
        let end = keepers.ending.child_token();
        // Given up, it is released too.
        let guard = end.clone().drop_guard();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let ended = end.clone();
        let keeper = Keeper { remote: self.clone(), party: rand::random(), deadline, end };
        {
            let _context = self.env.runtime.enter();
            self.env.scope.spawn(keepers.tasks.track_future(keeper.run(tell)));
        }
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline + GRACE).await,
                None => std::future::pending().await,
            }
        };
        let acquired = tokio::select! {
            acquired = acquired => acquired,
            () = late => return Err(too_late(&self.name, timeout)),
        };
        match acquired {
            Ok(Ok((token, lease))) => Ok(Held { token, lease, ended, _release: guard }),
            Ok(Err(error)) if error.kind() == ErrorKind::Timeout => {
                Err(too_late(&self.name, timeout))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::closed("node")),
        }
    }
}

/// What is known of a lease at its holder.
#[derive(Clone)]
struct LeaseState {
    until: watch::Receiver<Option<Instant>>,
}

/// What is held elsewhere.
pub(super) struct Held {
    pub(super) token: u64,
    lease: LeaseState,
    /// It is given back, since the node closes.
    ended: CancellationToken,
    _release: tokio_util::sync::DropGuard,
}

impl Held {
    pub(super) fn is_lost(&self) -> bool {
        // The keeper may be late to say so.
        let until = *self.lease.until.borrow();
        until.is_none_or(|until| Instant::now() >= until)
            || self.ended.is_cancelled()
            || self.lease.until.has_changed().is_err()
    }

    pub(super) async fn lost(&self) {
        let mut lease = self.lease.until.clone();
        loop {
            let Some(until) = *lease.borrow_and_update() else { return };
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.ended.cancelled() => return,
                changed = lease.changed() => if changed.is_err() { return },
            }
        }
    }
}

type Tell = oneshot::Sender<Result<(u64, LeaseState)>>;

/// Keeps one lease, from its acquire to its end.
struct Keeper {
    remote: Arc<Remote>,
    party: u64,
    deadline: Option<Instant>,
    end: CancellationToken,
}

/// What the task on the vat's thread tells, and what it is told by being dropped.
enum News {
    /// Asked for at this time, and granted.
    Granted(u64, Instant),
    /// The renewal that was asked for at this time.
    Renewed(Instant),
    Lost,
    Refused(ErrorKind, &'static str),
}

/// Why a session has ended.
enum Broken {
    /// The owner says no.
    Refused(Error),
    /// The connection did not do; another may.
    Link(Error),
}

impl Keeper {
    async fn run(self, tell: Tell) {
        let mut tell = Some(tell);
        let mut held: Option<(u64, watch::Sender<Option<Instant>>)> = None;
        let since = Instant::now();
        loop {
            let until = held.as_ref().map(|(_, until)| *until.borrow());
            // Nobody wants it any more, or it is over. What is held is given back
            // over another connection if the last one did not do.
            if (self.end.is_cancelled() && held.is_none()) || until.is_some_and(is_over) {
                break;
            }
            let (refused, error) = match self.session(&mut tell, &mut held).await {
                Ok(()) => break,
                Err(Broken::Refused(error)) => (true, error),
                Err(Broken::Link(error)) => {
                    let error = match self.remote.not_found(error) {
                        // That of the acquire has not passed.
                        error if error.kind() == ErrorKind::Timeout => {
                            Error::new(ErrorKind::Unreachable, error.message())
                        }
                        error => error,
                    };
                    (matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Paused), error)
                }
            };
            if let Some(waits) = tell.take() {
                let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if refused || late || since.elapsed() >= PATIENCE {
                    let _ = waits.send(Err(error));
                    return;
                }
                tell = Some(waits);
            }
            let was = self.end.is_cancelled();
            tokio::select! {
                () = sleep(AGAIN) => (),
                () = self.end.cancelled(), if !was => (),
            }
        }
        if let Some((_, until)) = held {
            until.send_replace(None);
        }
    }

    /// What happens over one connection. An error: it has ended.
    async fn session(
        &self,
        tell: &mut Option<Tell>,
        held: &mut Option<(u64, watch::Sender<Option<Instant>>)>,
    ) -> Result<(), Broken> {
        let link = tokio::select! {
            link = self.remote.link() => link.map_err(Broken::Link)?,
            () = self.end.cancelled(), if held.is_none() => return Ok(()),
        };
        let (news, mut heard) = mpsc::channel(4);
        let name = self.remote.name.clone();
        let (party, deadline, end) = (self.party, self.deadline, self.end.clone());
        let waits = held.is_none();
        let mut work =
            std::pin::pin!(link.channels.with(move |channels: channels::Client| async move {
                keep(channels, name, party, deadline.filter(|_| waits), news, end).await
            }));
        let mut ended = None;
        loop {
            let next = tokio::select! {
                biased;
                next = heard.recv() => next,
                result = &mut work, if ended.is_none() => {
                    ended = Some(result);
                    continue;
                }
            };
            let Some(next) = next else {
                let ended = ended.unwrap_or_else(|| Err(Error::closed("node")));
                if ended.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unreachable) {
                    self.remote.forget(&link);
                }
                return ended.map_err(Broken::Link);
            };
            match next {
                News::Granted(token, asked) => match held {
                    // The same grant over another connection.
                    Some((own, until)) if *own == token => {
                        until.send_replace(Some(asked + TTL));
                    }
                    // Another one: ours is lost, and this one not wanted.
                    Some((_, until)) => {
                        until.send_replace(None);
                        self.end.cancel();
                    }
                    None => {
                        let (until, lease) = watch::channel(Some(asked + TTL));
                        *held = Some((token, until));
                        let granted = (token, LeaseState { until: lease });
                        let told = tell.take().map(|tell| tell.send(Ok(granted)));
                        if told.is_none_or(|told| told.is_err()) {
                            self.end.cancel();
                        }
                    }
                },
                News::Renewed(asked) => {
                    if let Some((_, until)) = held {
                        until.send_replace(Some(asked + TTL));
                    }
                }
                News::Lost => return Ok(()),
                News::Refused(kind, why) => {
                    return Err(Broken::Refused(failed(kind, &self.remote.name, why)));
                }
            }
        }
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_none_or(|until| Instant::now() >= until)
}

fn silent() -> capnp::Error {
    capnp::Error::disconnected("the owner does not answer".into())
}

/// Acquires, renews, and releases: on the vat's thread.
async fn keep(
    channels: channels::Client,
    name: String,
    party: u64,
    deadline: Option<Instant>,
    news: mpsc::Sender<News>,
    end: CancellationToken,
) -> capnp::Result<()> {
    let holder = timeout(ANSWER, join(channels, &name, party)).await.map_err(|_| silent())??;
    let acquired = tokio::select! {
        acquired = acquire(&holder, deadline, &news) => acquired?,
        () = end.cancelled() => None,
    };
    let Some((token, asked)) = acquired else {
        return release(&holder).await;
    };
    let _ = news.send(News::Granted(token, asked)).await;
    let mut next = asked + PACE;
    loop {
        tokio::select! {
            () = sleep_until(next) => (),
            () = end.cancelled() => return release(&holder).await,
        }
        let asked = Instant::now();
        next = asked + PACE;
        let mut request = holder.renew_request();
        request.get().init_tokens(1).set(0, token);
        let renewed = timeout(ANSWER, request.send().promise).await.map_err(|_| silent())??;
        let lost = !renewed.get()?.get_lost()?.is_empty();
        let _ = news.send(if lost { News::Lost } else { News::Renewed(asked) }).await;
        if lost {
            return Ok(());
        }
    }
}

async fn join(channels: channels::Client, name: &str, party: u64) -> capnp::Result<holder::Client> {
    let mut request = channels.semaphore_request();
    request.get().set_name(name);
    let semaphore = request.send().promise.await?.get()?.get_semaphore()?;
    let mut request = semaphore.join_request();
    request.get().set_party(party);
    request.send().promise.await?.get()?.get_holder()
}

/// The token, and when it was asked for. None if it was refused, which is told.
async fn acquire(
    holder: &holder::Client,
    deadline: Option<Instant>,
    news: &mpsc::Sender<News>,
) -> capnp::Result<Option<(u64, Instant)>> {
    let mut last = None;
    loop {
        let asked = Instant::now();
        let left = deadline.map_or(WAIT, |deadline| deadline.saturating_duration_since(asked));
        let wait = left.min(WAIT);
        let mut request = holder.acquire_request();
        request.get().set_number(NUMBER);
        request.get().set_wait_ms(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
        let mut answer = Box::pin(timeout(wait + ANSWER, request.send().promise));
        // It was asked again before this one is called off.
        drop(last.take());
        let answer = if wait < WAIT {
            answer.await
        } else {
            match timeout(ASK_AGAIN, &mut answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    last = Some(answer);
                    continue;
                }
            }
        };
        let answer = answer.map_err(|_| silent())??;
        let grant: grant::Reader<'_> = answer.get()?.get_grant()?;
        // Else one that answers at once would be asked at once.
        let early = asked + wait.min(ASK_AGAIN);
        let pause = || sleep_until((Instant::now() + EARLY).min(early));
        let refused = match grant.which()? {
            grant::Token(token) => {
                // One that waited is counted from its next renewal at the latest.
                let waited = asked.elapsed() >= PACE;
                let asked = if waited { renew_now(holder, token).await? } else { Some(asked) };
                match asked {
                    Some(asked) => return Ok(Some((token, asked))),
                    None => {
                        sleep(EARLY).await;
                        continue;
                    }
                }
            }
            grant::Nothing(()) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                pause().await;
                continue;
            }
            grant::Nothing(()) => News::Refused(ErrorKind::Timeout, "none was free"),
            grant::Closed(()) => News::Refused(ErrorKind::Closed, "it is closed"),
            grant::Busy(()) => News::Refused(ErrorKind::Busy, "too many wait at its owner"),
        };
        let _ = news.send(refused).await;
        return Ok(None);
    }
}

/// Renews, and gives when that was asked for; none if the grant is lost.
async fn renew_now(holder: &holder::Client, token: u64) -> capnp::Result<Option<Instant>> {
    let asked = Instant::now();
    let mut request = holder.renew_request();
    request.get().init_tokens(1).set(0, token);
    let renewed = timeout(ANSWER, request.send().promise).await.map_err(|_| silent())??;
    Ok(renewed.get()?.get_lost()?.is_empty().then_some(asked))
}

async fn release(holder: &holder::Client) -> capnp::Result<()> {
    loop {
        let mut request = holder.give_back_request();
        request.get().set_number(NUMBER);
        let released = timeout(ANSWER, request.send().promise).await;
        match released.map_err(|_| silent())? {
            // What frees something there is said until it is heard.
            Err(error) if error.kind == capnp::ErrorKind::Overloaded => sleep(EARLY).await,
            released => return released.map(drop),
        }
    }
}
