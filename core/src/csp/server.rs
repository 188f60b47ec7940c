//! Serves the channels and semaphores of this node to peers.

use super::{
    local::Local,
    member::Member,
    owner::{Ended, Given, PartyId, Sent, Way},
    service::Own,
    value::{Bytes, MAX_VALUE},
};
use crate::{
    rpc::Room,
    schema::{
        chan_capnp::{chan, closer, recver, send_closer, sender},
        csp_capnp::{Outcome, channel, channels, lease, member},
    },
};
use capnp::data;
use capnp_rpc::{new_client, new_client_from_rc};
use libp2p::PeerId;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// The longest that a call may wait here: less than the RPC system's own limit.
const MOST: Duration = Duration::from_secs(300);

/// The object of one connection.
pub(super) struct Server {
    pub(super) peer: PeerId,
    pub(super) own: Arc<Own>,
    pub(super) room: Room,
}

impl channels::Server for Server {
    async fn open(
        self: Rc<Self>,
        params: channels::OpenParams,
        mut results: channels::OpenResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str().unwrap_or_default();
        let Some(local) = self.own.channel(name) else {
            self.own.metrics.count("channel-unknown");
            return Err(not_found("channel"));
        };
        let (peer, room) = (self.peer, self.room.clone());
        let opened = Opened { local, peer, room, plain: RefCell::default() };
        results.get().set_channel(new_client(opened));
        Ok(())
    }

    async fn semaphore(
        self: Rc<Self>,
        params: channels::SemaphoreParams,
        mut results: channels::SemaphoreResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str().unwrap_or_default();
        let Some(semaphore) = self.own.semaphore(name) else {
            self.own.metrics.count("semaphore-unknown");
            return Err(not_found("semaphore"));
        };
        let served = super::semaphore::server::Served { semaphore, peer: self.peer };
        results.get().set_semaphore(new_client(served));
        Ok(())
    }
}

fn not_found(what: &str) -> capnp::Error {
    capnp::Error::failed(format!("notFound: no {what} has this name here"))
}

/// A channel that a peer has opened.
struct Opened {
    local: Arc<Local>,
    peer: PeerId,
    room: Room,
    /// For those who know the plain interface only.
    plain: RefCell<Option<Rc<Plain>>>,
}

/// What the plain interface does as a member.
struct Plain {
    member: Member,
    number: Cell<u64>,
}

impl Opened {
    /// The member that the plain calls of this peer are.
    fn plain(&self) -> capnp::Result<Rc<Plain>> {
        if let Some(plain) = &*self.plain.borrow() {
            return Ok(plain.clone());
        }
        let party = PartyId { peer: self.peer, number: rand::random() };
        let (member, _) = Member::join(&self.local, party, &self.room).ok_or_else(too_many)?;
        let plain = Rc::new(Plain { member, number: Cell::new(0) });
        *self.plain.borrow_mut() = Some(plain.clone());
        Ok(plain)
    }
}

fn too_many() -> capnp::Error {
    capnp::Error::overloaded("too many use this channel".into())
}

/// Closes the channel for a peer. An error if it may not, or it was closed.
fn close_for_other(local: &Local) -> capnp::Result<()> {
    if !local.close_by_others {
        local.count("close-refused");
        return Err(capnp::Error::failed("only its owner closes this channel".into()));
    }
    if !local.close() {
        return Err(capnp::Error::failed("already closed".into()));
    }
    Ok(())
}

impl closer::Server for Opened {
    async fn close(
        self: Rc<Self>,
        _: closer::CloseParams,
        _: closer::CloseResults,
    ) -> capnp::Result<()> {
        close_for_other(&self.local)
    }
}

impl sender::Server<data::Owned> for Opened {
    async fn send(
        self: Rc<Self>,
        params: sender::SendParams<data::Owned>,
        _: sender::SendResults<data::Owned>,
    ) -> capnp::Result<()> {
        let value = read_value(params.get()?.get_value()?)
            .ok_or_else(|| capnp::Error::failed("the value is too large".into()))?;
        // The parameters are not kept while the value waits.
        drop(params);
        let plain = self.plain()?;
        loop {
            let number = plain.number.get() + 1;
            plain.number.set(number);
            match plain.member.send(number, 0, MOST, value.clone()).await {
                Sent::Accepted => return Ok(()),
                Sent::Closed => return Err(capnp::Error::failed("closed".into())),
                Sent::Withdrawn => (),
                Sent::Busy | Sent::Stale => return Err(too_many()),
            }
        }
    }
}

impl recver::Server<data::Owned> for Opened {
    async fn recv(
        self: Rc<Self>,
        _: recver::RecvParams<data::Owned>,
        mut results: recver::RecvResults<data::Owned>,
    ) -> capnp::Result<()> {
        let plain = self.plain()?;
        loop {
            let number = plain.number.get() + 1;
            plain.number.set(number);
            match plain.member.lease(number, Way::Confirm, 0, MOST).await? {
                Ok(Given { value, lease, .. }) => {
                    // Nothing comes back from here on: at most once.
                    if plain.member.confirm(lease.unwrap_or_default()) {
                        results.get().set_value(value.as_slice())?;
                        return Ok(());
                    }
                }
                Err(Ended::Closed) => return Err(capnp::Error::failed("closed".into())),
                Err(Ended::Busy) => return Err(too_many()),
                Err(Ended::Nothing) => (),
            }
        }
    }
}

impl send_closer::Server<data::Owned> for Opened {
    async fn new_sender(
        self: Rc<Self>,
        _: send_closer::NewSenderParams<data::Owned>,
        mut results: send_closer::NewSenderResults<data::Owned>,
    ) -> capnp::Result<()> {
        results.get().set_sender(new_client_from_rc(self));
        Ok(())
    }

    async fn new_closer(
        self: Rc<Self>,
        _: send_closer::NewCloserParams<data::Owned>,
        mut results: send_closer::NewCloserResults<data::Owned>,
    ) -> capnp::Result<()> {
        results.get().set_closer(new_client_from_rc(self));
        Ok(())
    }
}

impl chan::Server<data::Owned> for Opened {
    async fn new_send_closer(
        self: Rc<Self>,
        _: chan::NewSendCloserParams<data::Owned>,
        mut results: chan::NewSendCloserResults<data::Owned>,
    ) -> capnp::Result<()> {
        results.get().set_send_closer(new_client_from_rc(self));
        Ok(())
    }

    async fn new_recver(
        self: Rc<Self>,
        _: chan::NewRecverParams<data::Owned>,
        mut results: chan::NewRecverResults<data::Owned>,
    ) -> capnp::Result<()> {
        results.get().set_recver(new_client_from_rc(self));
        Ok(())
    }
}

impl channel::Server for Opened {
    async fn join(
        self: Rc<Self>,
        params: channel::JoinParams,
        mut results: channel::JoinResults,
    ) -> capnp::Result<()> {
        let party = PartyId { peer: self.peer, number: params.get()?.get_party() };
        let (member, known) = Member::join(&self.local, party, &self.room).ok_or_else(too_many)?;
        let mut results = results.get();
        results.set_epoch(self.local.epoch);
        results.set_known(known);
        let mut info = results.reborrow().init_info();
        info.set_capacity(u32::try_from(self.local.capacity).unwrap_or(u32::MAX));
        info.set_max_value(MAX_VALUE as u32);
        results.set_member(new_client(member));
        Ok(())
    }
}

pub(super) fn read_value(data: &[u8]) -> Option<Bytes> {
    if data.len() > MAX_VALUE {
        return None;
    }
    Bytes::new(data.to_vec()).ok()
}

fn most(ms: u32) -> Duration {
    Duration::from_millis(ms.into()).min(MOST)
}

impl member::Server for Member {
    async fn lease(
        self: Rc<Self>,
        params: member::LeaseParams,
        mut results: member::LeaseResults,
    ) -> capnp::Result<()> {
        self.check()?;
        let (request, way, settled, wait) = {
            let params = params.get()?;
            let way = if params.get_take() { Way::Take } else { Way::Confirm };
            (params.get_request(), way, params.get_settled(), most(params.get_wait_ms()))
        };
        drop(params);
        let given = Member::lease(&self, request, way, settled, wait).await?;
        if let Ok(given) = &given {
            self.on_its_way(given);
        }
        let result: lease::Builder = results.get().init_lease();
        write_lease(given, result);
        Ok(())
    }

    async fn cancel(
        self: Rc<Self>,
        params: member::CancelParams,
        _: member::CancelResults,
    ) -> capnp::Result<()> {
        self.check()?;
        Member::cancel(&self, params.get()?.get_request());
        Ok(())
    }

    async fn confirm(
        self: Rc<Self>,
        params: member::ConfirmParams,
        mut results: member::ConfirmResults,
    ) -> capnp::Result<()> {
        self.check()?;
        let ours = Member::confirm(&self, params.get()?.get_lease());
        results.get().set_ok(ours);
        Ok(())
    }

    async fn give_back(
        self: Rc<Self>,
        params: member::GiveBackParams,
        _: member::GiveBackResults,
    ) -> capnp::Result<()> {
        self.check()?;
        Member::give_back(&self, params.get()?.get_lease());
        Ok(())
    }

    async fn renew(
        self: Rc<Self>,
        params: member::RenewParams,
        mut results: member::RenewResults,
    ) -> capnp::Result<()> {
        self.check()?;
        let leases: Vec<_> = params.get()?.get_leases()?.iter().collect();
        let lost = Member::renew(&self, &leases);
        let mut list = results.get().init_lost(lost.len() as u32);
        for (at, lease) in (0..).zip(&lost) {
            list.set(at, *lease);
        }
        Ok(())
    }

    async fn send(
        self: Rc<Self>,
        params: member::SendParams,
        mut results: member::SendResults,
    ) -> capnp::Result<()> {
        self.check()?;
        let (number, settled, wait, value) = {
            let params = params.get()?;
            let wait = most(params.get_wait_ms());
            (params.get_number(), params.get_settled(), wait, read_value(params.get_value()?))
        };
        // The parameters are not kept while the value waits.
        drop(params);
        let outcome = match value {
            Some(value) => outcome(Member::send(&self, number, settled, wait, value).await),
            None => Outcome::TooLarge,
        };
        results.get().set_outcome(outcome);
        Ok(())
    }

    async fn withdraw(
        self: Rc<Self>,
        params: member::WithdrawParams,
        mut results: member::WithdrawResults,
    ) -> capnp::Result<()> {
        self.check()?;
        let how = Member::withdraw(&self, params.get()?.get_number());
        results.get().set_outcome(outcome(how));
        Ok(())
    }

    async fn close(
        self: Rc<Self>,
        _: member::CloseParams,
        mut results: member::CloseResults,
    ) -> capnp::Result<()> {
        self.check()?;
        let local = self.local();
        if !local.close_by_others {
            local.count("close-refused");
        }
        results.get().set_refused(!local.close_by_others);
        if local.close_by_others && !local.close() {
            return Err(capnp::Error::failed("already closed".into()));
        }
        Ok(())
    }
}

fn outcome(how: Sent) -> Outcome {
    match how {
        Sent::Accepted => Outcome::Accepted,
        Sent::Withdrawn => Outcome::Withdrawn,
        Sent::Closed => Outcome::Closed,
        Sent::Busy => Outcome::Busy,
        Sent::Stale => Outcome::Stale,
    }
}

fn write_lease(given: Result<Given<Bytes>, Ended>, mut to: lease::Builder<'_>) {
    match given {
        Ok(Given { value, lease, .. }) => {
            let mut to = to.init_value();
            to.set_lease(lease.unwrap_or_default());
            to.set_data(value.as_slice());
        }
        Err(Ended::Nothing) => to.set_nothing(()),
        Err(Ended::Closed) => to.set_closed(()),
        Err(Ended::Busy) => to.set_busy(()),
    }
}
