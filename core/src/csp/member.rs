//! A party of a channel of this node, over one connection.

use super::{
    local::{Event, Local},
    owner::{Conn, Ended, Given, Op, PartyId, Sent, Tried, Way},
    value::Bytes,
    waiting::Waiter,
};
use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Dropped, the party leaves.
pub(super) struct Member {
    local: Arc<Local>,
    conn: Conn,
    /// Receives that wait, by the numbers of their requests.
    requests: RefCell<HashMap<u64, Op>>,
}

impl Member {
    pub(super) fn join(local: &Arc<Local>, party: PartyId) -> Option<Self> {
        let conn = local.join(party)?;
        Some(Self { local: local.clone(), conn, requests: RefCell::default() })
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

    pub(super) async fn lease(
        &self,
        request: u64,
        way: Way,
        settled: u64,
        wait: Duration,
    ) -> Result<Given<Bytes>, Ended> {
        let (tell, event) = oneshot::channel();
        let waiter = || Waiter::One(tell);
        match self.local.lease(self.conn, way, settled, wait, waiter) {
            Tried::Done(done) => done,
            Tried::Waits(op) => {
                self.requests.borrow_mut().insert(request, op);
                let mut leasing = Leasing { member: self, request, op, event, over: false };
                let event = (&mut leasing.event).await;
                leasing.over = true;
                match event {
                    Ok(Event::Given(given)) => Ok(given),
                    Ok(Event::Ended(why)) => Err(why),
                    Ok(Event::Sent(_)) | Err(_) => Err(Ended::Nothing),
                }
            }
        }
    }

    /// Calls a receive off: it ends without a value, if it has not got one.
    pub(super) fn cancel(&self, request: u64) {
        if let Some(op) = self.requests.borrow().get(&request) {
            self.local.end_receive(*op);
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
        self.member.requests.borrow_mut().remove(&self.request);
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
