//! Serves a semaphore to peers.

use super::local::{Event, Local, Started};
use super::owner::{Holder, TTL};
use crate::{
    csp::owner::{Op, PartyId},
    schema::csp_capnp::{grant, holder, semaphore},
};
use capnp_rpc::new_client;
use libp2p::PeerId;
use std::{rc::Rc, sync::Arc, time::Duration};

/// The longest that an acquire may wait in one call.
const MOST: Duration = Duration::from_secs(300);

/// A semaphore that a peer has opened.
pub(in crate::csp) struct Served {
    pub(in crate::csp) semaphore: Arc<Local>,
    pub(in crate::csp) peer: PeerId,
}

impl semaphore::Server for Served {
    async fn join(
        self: Rc<Self>,
        params: semaphore::JoinParams,
        mut results: semaphore::JoinResults,
    ) -> capnp::Result<()> {
        let party = PartyId { peer: self.peer, number: params.get()?.get_party() };
        let mut results = results.get();
        results.set_epoch(self.semaphore.epoch);
        results.set_permits(u32::try_from(self.semaphore.permits).unwrap_or(u32::MAX));
        results.set_holder(new_client(Joined { semaphore: self.semaphore.clone(), party }));
        Ok(())
    }
}

/// A party, over one connection.
struct Joined {
    semaphore: Arc<Local>,
    party: PartyId,
}

/// A call that waits. Dropped, as with its connection, it is called off, unless the
/// same was asked again meanwhile; a grant stays: its holder may come back for it.
struct Waits<'a> {
    semaphore: &'a Local,
    holder: Holder,
    op: Op,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.semaphore.call_off(&self.holder, self.op);
    }
}

impl holder::Server for Joined {
    async fn acquire(
        self: Rc<Self>,
        params: holder::AcquireParams,
        mut results: holder::AcquireResults,
    ) -> capnp::Result<()> {
        let (number, wait) = {
            let params = params.get()?;
            (params.get_number(), Duration::from_millis(params.get_wait_ms().into()).min(MOST))
        };
        drop(params);
        let holder = Holder::Remote(self.party, number);
        let until = self.semaphore.until(wait);
        let event = match self.semaphore.begin(holder, until) {
            Started::Granted(token) => Ok(Event::Granted(token)),
            Started::Closed => Ok(Event::Closed),
            Started::Busy => Err(()),
            Started::Waits(op, event) => {
                let _waits = Waits { semaphore: &self.semaphore, holder, op };
                Ok(event.await.unwrap_or(Event::Nothing))
            }
        };
        let mut grant: grant::Builder = results.get().init_grant();
        grant.set_ttl_ms(u32::try_from(TTL.as_millis()).unwrap_or(u32::MAX));
        match event {
            Ok(Event::Granted(token)) => grant.set_token(token),
            Ok(Event::Nothing) => grant.set_nothing(()),
            Ok(Event::Closed) => grant.set_closed(()),
            Err(()) => grant.set_busy(()),
        }
        Ok(())
    }

    async fn renew(
        self: Rc<Self>,
        params: holder::RenewParams,
        mut results: holder::RenewResults,
    ) -> capnp::Result<()> {
        let tokens: Vec<_> = params.get()?.get_tokens()?.iter().collect();
        let lost = self.semaphore.renew(self.party, &tokens);
        let mut list = results.get().init_lost(lost.len() as u32);
        for (at, token) in (0..).zip(&lost) {
            list.set(at, *token);
        }
        Ok(())
    }

    async fn give_back(
        self: Rc<Self>,
        params: holder::GiveBackParams,
        _: holder::GiveBackResults,
    ) -> capnp::Result<()> {
        self.semaphore.release(&Holder::Remote(self.party, params.get()?.get_number()));
        Ok(())
    }
}
