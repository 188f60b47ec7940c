//! Waits for the first of several channels.

use super::{
    channel::{Channel, Kind},
    local::{Event, Local},
    owner::{Ended, Op, Sent, Tried, Way},
    parcel::Parcel,
    party::{Fault, Outcome},
    remote::Remote,
    ticket::Turn,
    value::Bytes,
    waiting::{News, Waiter},
};
use crate::{Error, ErrorKind, Result};
use rand::seq::SliceRandom;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// The most branches of a select.
pub const MAX_BRANCHES: usize = 1024;

/// One thing that a [`select`] may do.
#[must_use = "give it to `select`"]
#[derive(Debug)]
pub struct Branch {
    channel: Channel,
    sends: Option<Vec<u8>>,
}

impl Channel {
    /// To receive from this channel.
    pub fn receiving(&self) -> Branch {
        Branch { channel: self.clone(), sends: None }
    }

    /// To send this value to this channel, which must be this node's own.
    pub fn sending(&self, value: impl Into<Vec<u8>>) -> Branch {
        Branch { channel: self.clone(), sends: Some(value.into()) }
    }
}

/// Does one of these, the first that can be done, and says which: its number, and
/// the value if it received one. If several can be done, one is chosen at random. A
/// branch that was not chosen has had no effect. It receives from channels anywhere,
/// and sends to channels of this node.
///
/// Channels that are closed and empty are passed over while there are others.
/// Dropping the future calls it off, and loses no value.
///
/// # Errors
/// `Timeout`, after `timeout` if one is given; `Closed` if all channels are closed
/// and empty, or one to be sent to is; `Invalid` if there are no branches, more than
/// 1,024, or one sends to a channel elsewhere; `TooLarge`; `Busy` if too many wait at
/// a channel; `Unreachable` if the owner of one can't be reached.
pub async fn select(
    branches: impl IntoIterator<Item = Branch>,
    timeout: Option<Duration>,
) -> Result<(usize, Option<Vec<u8>>)> {
    let (at, parcel) = select_parcel(branches, timeout).await?;
    Ok((at, parcel.map(Parcel::into_vec)))
}

/// The same for one who may be called off before it sees the value.
///
/// # Errors
/// As of [`select`].
#[doc(hidden)]
pub async fn select_parcel(
    branches: impl IntoIterator<Item = Branch>,
    timeout: Option<Duration>,
) -> Result<(usize, Option<Parcel>)> {
    let branches: Vec<_> = branches.into_iter().collect();
    let order = {
        let mut order: Vec<usize> = (0..branches.len()).collect();
        order.shuffle(&mut rand::rng());
        order
    };
    run(branches, timeout, order).await
}

/// Tries the branches in this order.
async fn run(branches: Vec<Branch>, timeout: Option<Duration>, order: Vec<usize>) -> Result<Done> {
    if branches.is_empty() || branches.len() > MAX_BRANCHES {
        let message = format!("{} branches: give 1 to {MAX_BRANCHES}", branches.len());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut places = Vec::new();
    for (at, Branch { channel, sends }) in branches.into_iter().enumerate() {
        places.push(match (channel.0, sends) {
            (Kind::Local(_, local), None) => Place::Receive(local),
            (Kind::Local(_, local), Some(value)) => Place::Send(local, Some(Bytes::new(value)?)),
            (Kind::Remote(remote), None) => Place::Remote(remote),
            (Kind::Remote(remote), Some(_)) => {
                let message = format!(
                    "branch {at} sends to the channel `{}` of {}: a select sends to channels of \
                     its own node; receive there, or send without select",
                    remote.name, remote.owner
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        });
    }
    let (tell, told) = mpsc::unbounded_channel();
    let open = places.len();
    let waits = (0..places.len()).map(|_| None).collect();
    let mut selecting =
        Selecting { turn: Turn::shared(), places, waits, tell, told, open, ending: None };
    for at in order {
        if selecting.turn.is_done() || selecting.ending.is_some() {
            break;
        }
        if let Some(done) = selecting.start(at)? {
            return Ok(done);
        }
    }
    selecting.wait(deadline, timeout).await
}

/// Where a branch waits.
enum Place {
    Receive(Arc<Local>),
    Send(Arc<Local>, Option<Bytes>),
    Remote(Arc<Remote>),
}

/// A select that waits. Dropped, all its branches are called off.
struct Selecting {
    turn: Turn,
    places: Vec<Place>,
    waits: Vec<Option<Op>>,
    tell: mpsc::UnboundedSender<(usize, News)>,
    told: mpsc::UnboundedReceiver<(usize, News)>,
    /// Branches that are not closed.
    open: usize,
    /// How it ends, unless it is served in this moment.
    ending: Option<Error>,
}

type Done = (usize, Option<Parcel>);

impl Selecting {
    /// Starts a branch, and gives what it did if it could at once.
    fn start(&mut self, at: usize) -> Result<Option<Done>> {
        let (turn, tell) = (self.turn.clone(), self.tell.clone());
        match &mut self.places[at] {
            Place::Receive(local) => {
                let waiter = || Waiter::Branch(at, tell);
                match local.start_receive(Way::Plain, turn, waiter) {
                    Tried::Done(Ok(given)) => {
                        return Ok(Some((at, Some(Parcel::local(local.clone(), given)))));
                    }
                    Tried::Done(Err(why)) => return self.hear(at, News::Local(Event::Ended(why))),
                    Tried::Waits(op) => self.waits[at] = Some(op),
                }
            }
            Place::Send(local, value) => {
                let Some(value) = value.take() else { return Ok(None) };
                match local.start_send(value, turn, || Waiter::Branch(at, tell)) {
                    Tried::Done(how) => return self.hear(at, News::Local(Event::Sent(how))),
                    Tried::Waits(op) => self.waits[at] = Some(op),
                }
            }
            Place::Remote(remote) => {
                let op = remote.start_receive(false, turn, None, Waiter::Branch(at, tell));
                self.waits[at] = Some(op);
            }
        }
        Ok(None)
    }

    async fn wait(&mut self, deadline: Option<Instant>, timeout: Option<Duration>) -> Result<Done> {
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let mut late = std::pin::pin!(late);
        let mut is_late = false;
        loop {
            if let Some(error) = &self.ending
                && self.turn.leave()
            {
                return Err(error.clone());
            }
            tokio::select! {
                biased;
                told = self.told.recv() => {
                    let Some((at, news)) = told else { return Err(Error::closed("node")) };
                    self.waits[at] = None;
                    if let Some(done) = self.hear(at, news)? {
                        return Ok(done);
                    }
                }
                () = self.turn.told() => self.look(),
                () = &mut late, if !is_late => {
                    is_late = true;
                    let timeout = timeout.unwrap_or_default();
                    let message = format!("select: nothing could be done within {timeout:?}");
                    self.end(Error::new(ErrorKind::Timeout, message));
                    self.give_up_doubtful();
                }
                () = closed(&self.places) => return Err(Error::closed("node")),
            }
        }
    }

    /// Ends, as soon as it is not reserved by one that may yet serve it.
    fn end(&mut self, error: Error) {
        self.ending.get_or_insert(error);
        // What is on its way to a receiver is called back.
        self.call_sends_off();
    }

    /// A branch is told something.
    fn hear(&mut self, at: usize, news: News) -> Result<Option<Done>> {
        match (&news, &self.places[at]) {
            (News::Local(Event::Sent(Sent::Accepted)), _) => Ok(Some((at, None))),
            (News::Local(Event::Given(_)), Place::Receive(local)) => {
                let News::Local(Event::Given(given)) = news else { return Ok(None) };
                Ok(Some((at, Some(Parcel::local(local.clone(), given)))))
            }
            (News::Remote(Outcome::Received(_)), Place::Remote(remote)) => {
                let News::Remote(Outcome::Received(value)) = news else { return Ok(None) };
                Ok(Some((at, Some(Parcel::remote(remote.clone(), value)))))
            }
            (News::Local(Event::Ended(why)), Place::Receive(local)) => {
                let error = local.ended(*why);
                self.one_ended(*why == Ended::Closed, error);
                Ok(None)
            }
            (News::Local(Event::Sent(how)), Place::Send(local, _)) => {
                let error = match how {
                    Sent::Closed => local.closed(),
                    _ => local.ended(Ended::Busy),
                };
                self.end(error);
                Ok(None)
            }
            (News::Remote(Outcome::Failed(fault)), Place::Remote(remote)) => {
                let error = remote.error(*fault, "receive", None);
                // It has served the select, though not well.
                if *fault == Fault::Unknown {
                    return Err(error);
                }
                self.one_ended(*fault == Fault::Closed, error);
                Ok(None)
            }
            _ => Err(Error::new(ErrorKind::Internal, "a select is confused")),
        }
    }

    /// A branch ends without having been served.
    fn one_ended(&mut self, is_closed: bool, error: Error) {
        self.open = self.open.saturating_sub(1);
        if !is_closed || self.open == 0 {
            self.end(error);
        }
    }

    /// Looks everywhere again: it was reserved when it was asked for.
    fn look(&self) {
        for place in &self.places {
            match place {
                Place::Receive(local) | Place::Send(local, _) => local.look(),
                Place::Remote(remote) => remote.look(),
            }
        }
    }

    fn call_sends_off(&mut self) {
        for (place, waits) in self.places.iter().zip(&mut self.waits) {
            if let (Place::Send(local, _), Some(op)) = (place, *waits)
                && local.cancel_send(op)
            {
                *waits = None;
            }
        }
    }

    /// The time has passed, and a value elsewhere is being confirmed.
    fn give_up_doubtful(&mut self) {
        for (place, waits) in self.places.iter().zip(&self.waits) {
            if let (Place::Remote(remote), Some(op)) = (place, *waits) {
                remote.doubt(op);
            }
        }
    }
}

/// Waits until the node of a channel is closed: all are used from one.
async fn closed(places: &[Place]) {
    match places.first() {
        Some(Place::Receive(local) | Place::Send(local, _)) => local.node_closed().await,
        Some(Place::Remote(remote)) => remote.node_closed().await,
        None => std::future::pending().await,
    }
}

impl Drop for Selecting {
    fn drop(&mut self) {
        for (place, waits) in self.places.iter().zip(&self.waits) {
            let Some(op) = *waits else { continue };
            match place {
                Place::Receive(local) => drop(local.cancel_receive(op)),
                Place::Send(local, _) => drop(local.cancel_send(op)),
                Place::Remote(remote) => remote.cancel(op),
            }
        }
        self.told.close();
        while let Ok((at, news)) = self.told.try_recv() {
            match (news, &self.places[at]) {
                (News::Local(Event::Given(given)), Place::Receive(local)) => local.restore(given),
                (News::Remote(outcome), Place::Remote(remote)) => remote.restore(outcome),
                _ => (),
            }
        }
    }
}

impl fmt::Debug for Selecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selecting").field("turn", &self.turn).finish_non_exhaustive()
    }
}
