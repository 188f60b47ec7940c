//! The connection to the owner of a channel: makes the machine's calls.

use super::{
    links::Places,
    owner::{Ended, Sent, Value},
    party::{BUSY, CallId, Reply, Request},
    remote::{Call, Remote, busy},
    value::{Bytes, MAX_VALUE},
};
use crate::{
    Error, ErrorKind, Result,
    rpc::{self, Room},
    schema::csp_capnp::{Outcome, channels, lease, member},
};
use futures::{
    FutureExt, StreamExt,
    future::{LocalBoxFuture, ready},
    stream::FuturesUnordered,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The name of the capability.
pub(super) const NAME: &str = "chan";
/// How long it may take to open a channel.
const OPEN: Duration = Duration::from_secs(10);

/// How often it is looked whether anybody uses the channel.
const LOOK: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// The same when there is a better connection.
const STALE: Duration = Duration::from_secs(1);
/// Those who keep a channel here while nobody has a handle: those who know it by its
/// name, its clock, and two at the connection.
const KEEPERS: usize = 4;

/// Connects, and makes calls until the connection ends.
pub(super) async fn run(remote: Arc<Remote>) {
    if let Err(error) = connect(&remote).await {
        remote.not_connected(error);
    }
}

async fn connect(remote: &Arc<Remote>) -> Result<()> {
    let links = &remote.env().links;
    let over = links.link(remote.owner).await?;
    let this = remote.clone();
    let joined = Arc::new(std::sync::Mutex::new(None));
    let note = joined.clone();
    let (name, number) = (remote.name.clone(), remote.number);
    let (places, stale) = (over.places.clone(), rpc::Link::stale(&over));
    let work = over.channels.with_room(move |channels, room| async move {
        let opening = join(channels, &name, number);
        let Ok(opened) = timeout(OPEN, opening).await else {
            return Err(capnp::Error::disconnected("the channel is not opened".into()));
        };
        let (member, epoch, known) = opened?;
        let (link, calls) = this.connected(epoch, known);
        *note.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(link);
        let calling = Calling { remote: &this, link, member, places, room, stale };
        calling.make(calls).await
    });
    let ended = work.await;
    // A new one may do better.
    let broken = match &ended {
        Ok(why) => matches!(why, Over::GivenUp),
        Err(error) => error.kind() == ErrorKind::Unreachable,
    };
    if broken {
        links.forget(remote.owner, &over);
    }
    let link = *joined.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match (link, ended) {
        (Some(link), ended) => {
            remote.disconnected(link, ended.err());
            Ok(())
        }
        (None, ended) if has_no_such(&ended) => {
            let message = format!(
                "{} has no channel `{}`: check the name, or open it later",
                remote.owner, remote.name
            );
            Err(Error::new(ErrorKind::NotFound, message))
        }
        (None, ended) => ended.map(drop),
    }
}

/// Whether the owner has no such channel.
fn has_no_such<T>(ended: &Result<T>) -> bool {
    ended.as_ref().is_err_and(|error| error.message().contains("notFound"))
}

/// Why no more calls are made.
enum Over {
    /// Nobody has a handle of the channel, or the next call is better made over another
    /// connection; and nothing is under way.
    Unused,
    /// Others are made over another connection, or none.
    GivenUp,
}

async fn join(
    channels: channels::Client,
    name: &str,
    party: u64,
) -> capnp::Result<(member::Client, u64, bool)> {
    let mut request = channels.open_request();
    request.get().set_name(name);
    let channel = request.send().promise.await?.get()?.get_channel()?;
    let mut request = channel.join_request();
    request.get().set_party(party);
    let joined = request.send().promise.await?;
    let joined = joined.get()?;
    Ok((joined.get_member()?, joined.get_epoch(), joined.get_known()))
}

type Answer = (CallId, capnp::Result<Reply<Bytes>>);

/// A connection over which calls are made.
struct Calling<'a> {
    remote: &'a Arc<Remote>,
    link: u64,
    member: member::Client,
    places: Places,
    room: Room,
    /// Cancelled when there is a better one.
    stale: CancellationToken,
}

impl Calling<'_> {
    /// Makes calls while there are some to come. Sends wait until there is room for
    /// their values, and all others go before them: so both ends can always read.
    async fn make(self, mut calls: mpsc::UnboundedReceiver<Call>) -> capnp::Result<Over> {
        let Self { remote, link, room, stale, .. } = &self;
        let mut sends: VecDeque<(CallId, Request<Bytes>)> = VecDeque::new();
        let mut answers = FuturesUnordered::new();
        let mut told = stale.is_cancelled();
        loop {
            let next = sends.front().map_or(0, |(_, send)| size(send));
            tokio::select! {
                biased;
                call = calls.recv() => match call {
                    Some(send @ (_, Request::Send { .. })) => sends.push_back(send),
                    Some((id, request)) => {
                        if let Request::Withdraw { number } = request {
                            self.not_sent(&mut sends, number);
                        }
                        answers.push(self.ask(id, request));
                    }
                    None => return Ok(Over::GivenUp),
                },
                free = room.wait(next), if !sends.is_empty() => {
                    free?;
                    answers.extend(sends.pop_front().map(|(id, send)| self.ask(id, send)));
                }
                Some((id, answer)) = answers.next(), if !answers.is_empty() => {
                    if !remote.is_current(*link) {
                        return Ok(Over::GivenUp);
                    }
                    remote.reply(*link, id, answer?);
                }
                () = stale.cancelled(), if !told => told = true,
                () = sleep(if stale.is_cancelled() { STALE } else { LOOK }) => {
                    let kept = Arc::strong_count(remote) > KEEPERS && !stale.is_cancelled();
                    if !kept && remote.is_idle() {
                        return Ok(Over::Unused);
                    }
                }
            }
        }
    }

    /// A send that is withdrawn before it went out does not go out.
    fn not_sent(&self, sends: &mut VecDeque<(CallId, Request<Bytes>)>, withdrawn: u64) {
        let is = |request: &Request<Bytes>| matches!(request, Request::Send { number, .. } if *number == withdrawn);
        while let Some(at) = sends.iter().position(|(_, request)| is(request)) {
            if let Some((id, _)) = sends.remove(at) {
                self.remote.reply(self.link, id, Reply::Sent(Sent::Withdrawn));
            }
        }
    }

    /// Makes a call now, and gives what waits for its answer. What waits at the owner
    /// has a place of those that there are.
    fn ask(&self, id: CallId, request: Request<Bytes>) -> LocalBoxFuture<'static, Answer> {
        let busy = busy(&request);
        let place = busy.is_some().then(|| self.places.take());
        if let (Some(None), Some(busy)) = (&place, &busy) {
            return ready((id, Ok(busy.clone()))).boxed_local();
        }
        let (member, again) = (self.member.clone(), busy.is_none().then(|| request.clone()));
        let mut answer = call_out(&member, request);
        let answer = async move {
            loop {
                let answered = answer.await;
                match (&again, answered) {
                    // What frees something there is said until it is heard.
                    (Some(again), Err(error)) if error.kind == capnp::ErrorKind::Overloaded => {
                        sleep(BUSY).await;
                        answer = call_out(&member, again.clone());
                    }
                    (_, answered) => {
                        drop(place);
                        return (id, answered.or_else(|error| refused(error, busy)));
                    }
                }
            }
        };
        answer.boxed_local()
    }
}

/// Bytes of a value that is sent.
fn size(request: &Request<Bytes>) -> usize {
    if let Request::Send { value, .. } = request { value.size() } else { 0 }
}

/// An owner that has too much to do is asked for a value, or to take one, later; all
/// other errors end the connection.
fn refused(error: capnp::Error, busy: Option<Reply<Bytes>>) -> capnp::Result<Reply<Bytes>> {
    match (error.kind, busy) {
        (capnp::ErrorKind::Overloaded, Some(busy)) => Ok(busy),
        _ => Err(error),
    }
}

fn ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

/// Makes a call, and gives what waits for the answer.
fn call_out(
    member: &member::Client,
    request: Request<Bytes>,
) -> LocalBoxFuture<'static, capnp::Result<Reply<Bytes>>> {
    match request {
        Request::Lease { request: number, take, wait, settled } => {
            let mut request = member.lease_request();
            let mut params = request.get();
            params.set_request(number);
            params.set_take(take);
            params.set_wait_ms(ms(wait));
            params.set_settled(settled);
            let sent = request.send().promise;
            async move { leased(sent.await?.get()?.get_lease()?) }.boxed_local()
        }
        Request::Cancel { request: number } => {
            let mut request = member.cancel_request();
            request.get().set_request(number);
            let sent = request.send().promise;
            async move { sent.await.map(|_| Reply::Done) }.boxed_local()
        }
        Request::Confirm { lease } => {
            let mut request = member.confirm_request();
            request.get().set_lease(lease);
            let sent = request.send().promise;
            async move { Ok(Reply::Confirmed(sent.await?.get()?.get_ok())) }.boxed_local()
        }
        Request::GiveBack { lease } => {
            let mut request = member.give_back_request();
            request.get().set_lease(lease);
            let sent = request.send().promise;
            async move { sent.await.map(|_| Reply::Done) }.boxed_local()
        }
        Request::Renew { leases } => {
            let mut request = member.renew_request();
            let mut list = request.get().init_leases(leases.len() as u32);
            for (at, lease) in (0..).zip(&leases) {
                list.set(at, *lease);
            }
            let sent = request.send().promise;
            let lost = async move {
                let lost = sent.await?;
                Ok(Reply::Lost(lost.get()?.get_lost()?.iter().collect()))
            };
            lost.boxed_local()
        }
        Request::Send { number, settled, wait, value } => {
            let mut request = member.send_request();
            let mut params = request.get();
            params.set_number(number);
            params.set_settled(settled);
            params.set_wait_ms(ms(wait));
            params.set_value(value.as_slice());
            let sent = request.send().promise;
            async move { Ok(outcome(sent.await?.get()?.get_outcome()?)) }.boxed_local()
        }
        Request::Withdraw { number } => {
            let mut request = member.withdraw_request();
            request.get().set_number(number);
            let sent = request.send().promise;
            async move { Ok(outcome(sent.await?.get()?.get_outcome()?)) }.boxed_local()
        }
        Request::Close => {
            let sent = member.close_request().send().promise;
            let closed =
                async move { Ok(Reply::Closed { refused: sent.await?.get()?.get_refused() }) };
            closed.boxed_local()
        }
    }
}

pub(super) fn leased(lease: lease::Reader<'_>) -> capnp::Result<Reply<Bytes>> {
    Ok(match lease.which()? {
        lease::Nothing(()) => Reply::Ended(Ended::Nothing),
        lease::Closed(()) => Reply::Ended(Ended::Closed),
        lease::Busy(()) => Reply::Ended(Ended::Busy),
        lease::Value(value) => {
            let value = value?;
            let data = value.get_data()?;
            if data.len() > MAX_VALUE {
                return Err(capnp::Error::failed("a value is too large".into()));
            }
            let bytes = Bytes::new(data.to_vec());
            let bytes = bytes.map_err(|error| capnp::Error::failed(error.to_string()))?;
            Reply::Value { lease: value.get_lease(), value: bytes }
        }
    })
}

fn outcome(outcome: Outcome) -> Reply<Bytes> {
    match outcome {
        Outcome::Accepted => Reply::Sent(Sent::Accepted),
        Outcome::Withdrawn => Reply::Sent(Sent::Withdrawn),
        Outcome::Closed => Reply::Sent(Sent::Closed),
        Outcome::Busy => Reply::Sent(Sent::Busy),
        Outcome::Stale => Reply::Sent(Sent::Stale),
        Outcome::TooLarge => Reply::TooLarge,
    }
}
