//! A party of a channel of this node, over one connection.

use super::{
    local::{Event, Local},
    owner::{Conn, Ended, Given, Op, PartyId, RATE, Sent, Tried, Value, Way},
    value::Bytes,
    waiting::Waiter,
};
use crate::rpc::{Kept, Room};
use futures::FutureExt;
use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

/// Dropped, the party leaves.
pub(super) struct Member {
    local: Arc<Local>,
    conn: Conn,
    room: Room,
    /// Receives that wait, by the numbers of their requests.
    requests: RefCell<HashMap<u64, Waits>>,
}

/// For what a receive waits.
enum Waits {
    Value(Op),
    /// Until there is room for one on the connection.
    Room(Rc<Notify>),
}

impl Member {
    /// A party comes. Says too whether it was known. None if there are too many.
    pub(super) fn join(local: &Arc<Local>, party: PartyId, room: &Room) -> Option<(Self, bool)> {
        let (conn, known) = local.join(party)?;
        let (local, room) = (local.clone(), room.clone());
        Some((Self { local, conn, room, requests: RefCell::default() }, known))
    }

    /// Fails if the party has come over another connection. That may have been
    /// one that it gave up before this: then it must come again.
    pub(super) fn check(&self) -> capnp::Result<()> {
        if self.local.is_current(self.conn) {
            return Ok(());
        }
        self.local.count("party-elsewhere");
        Err(capnp::Error::disconnected("the party has come over another connection".into()))
    }

    pub(super) fn local(&self) -> &Local {
        &self.local
    }

    /// Leases a value when there is one, and room for it on the connection. While
    /// there is none, it is for others.
    ///
    /// # Errors
    /// When the connection is ending.
    pub(super) async fn lease(
        &self,
        request: u64,
        way: Way,
        settled: u64,
        wait: Duration,
    ) -> capnp::Result<Result<Given<Bytes>, Ended>> {
        let until = Instant::now() + wait;
        let mut kept = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let given = match self.wait(request, (way, settled, left), &mut kept).await {
                Ok(given) => given,
                Err(why) => return Ok(Err(why)),
            };
            let size = given.value.size();
            let room = match kept.take() {
                Some(room) => Some(room),
                None => self.room.try_keep(size)?,
            };
            if let Some(room) = room {
                room.used(size);
                return Ok(Ok(given));
            }
            self.local.restore(given);
            match self.keep_room(request, size, until).await? {
                Some(room) => kept = Some(room),
                None => return Ok(Err(Ended::Nothing)),
            }
        }
    }

    /// Waits for a value. If there is none now, no room is kept for it.
    async fn wait(
        &self,
        request: u64,
        (way, settled, wait): (Way, u64, Duration),
        kept: &mut Option<Kept>,
    ) -> Result<Given<Bytes>, Ended> {
        let (tell, event) = oneshot::channel();
        let waiter = || Waiter::One(tell);
        let op = match self.local.lease(self.conn, way, settled, wait, waiter) {
            Tried::Done(done) => return done,
            Tried::Waits(op) => op,
        };
        self.requests.borrow_mut().insert(request, Waits::Value(op));
        let mut leasing = Leasing { member: self, request, op, event, over: false };
        let event = match (&mut leasing.event).now_or_never() {
            Some(event) => event,
            None => {
                drop(kept.take());
                (&mut leasing.event).await
            }
        };
        leasing.over = true;
        match event {
            Ok(Event::Given(given)) => Ok(given),
            Ok(Event::Ended(why)) => Err(why),
            Ok(Event::Sent(_)) | Err(_) => Err(Ended::Nothing),
        }
    }

    /// Waits for room. None if the time has passed, or it was called off.
    async fn keep_room(
        &self,
        request: u64,
        size: usize,
        until: Instant,
    ) -> capnp::Result<Option<Kept>> {
        let cancelled = Rc::new(Notify::new());
        self.requests.borrow_mut().insert(request, Waits::Room(cancelled.clone()));
        let _requested = Requested { member: self, request };
        tokio::select! {
            room = self.room.keep(size) => room.map(Some),
            () = sleep_until(until) => Ok(None),
            () = cancelled.notified() => Ok(None),
        }
    }

    /// A value is on its way to its receiver, whose time begins when it is written.
    pub(super) fn on_its_way(self: &Rc<Self>, given: &Given<Bytes>) {
        let (size, Some(lease)) = (given.value.size(), given.lease) else { return };
        // Of a small one, it has begun.
        if size < RATE {
            return;
        }
        let (member, written) = (Rc::downgrade(self), self.room.written(size));
        tokio::task::spawn_local(async move {
            if written.await.is_ok()
                && let Some(member) = member.upgrade()
            {
                member.local.written(member.conn, lease);
            }
        });
    }

    /// Calls a receive off: it ends without a value, if it has not got one.
    pub(super) fn cancel(&self, request: u64) {
        match self.requests.borrow().get(&request) {
            Some(Waits::Value(op)) => self.local.end_receive(*op),
            Some(Waits::Room(cancelled)) => cancelled.notify_one(),
            None => (),
        }
    }

    pub(super) async fn send(
        &self,
        number: u64,
        settled: u64,
        wait: Duration,
        value: Bytes,
    ) -> Sent {
        let (tell, event) = oneshot::channel();
        let waiter = || Waiter::One(tell);
        match self.local.send_numbered(self.conn, number, settled, wait, value, waiter) {
            Tried::Done(how) => how,
            Tried::Waits(op) => {
                let mut sending = Sending { member: self, op, over: false };
                let event = event.await;
                sending.over = true;
                match event {
                    Ok(Event::Sent(how)) => how,
                    _ => Sent::Withdrawn,
                }
            }
        }
    }

    pub(super) fn withdraw(&self, number: u64) -> Sent {
        self.local.withdraw(self.conn, number)
    }

    pub(super) fn confirm(&self, lease: u64) -> bool {
        self.local.confirm(self.conn, lease)
    }

    pub(super) fn give_back(&self, lease: u64) {
        self.local.give_back(self.conn, lease);
    }

    pub(super) fn renew(&self, leases: &[u64]) -> Vec<u64> {
        self.local.renew(self.conn, leases)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.local.leave(self.conn);
    }
}

/// The request of a receive that waits.
struct Requested<'a> {
    member: &'a Member,
    request: u64,
}

impl Drop for Requested<'_> {
    fn drop(&mut self) {
        self.member.requests.borrow_mut().remove(&self.request);
    }
}

/// A receive that waits. Dropped, it is called off, and what it got goes back.
struct Leasing<'a> {
    member: &'a Member,
    request: u64,
    op: Op,
    event: oneshot::Receiver<Event>,
    over: bool,
}

impl Drop for Leasing<'_> {
    fn drop(&mut self) {
        drop(Requested { member: self.member, request: self.request });
        if self.over || self.member.local.cancel_receive(self.op) {
            return;
        }
        self.event.close();
        if let Ok(Event::Given(given)) = self.event.try_recv() {
            self.member.local.restore(given);
        }
    }
}

/// A send that waits. Dropped, it is called off, and not withdrawn: when it goes with
/// its connection, the party sends the same number over the next.
struct Sending<'a> {
    member: &'a Member,
    op: Op,
    over: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.member.local.cancel_send(self.op);
        }
    }
}
