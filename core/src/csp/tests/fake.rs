//! Owners that are not ours, and do what ours never would.

use super::*;
use crate::{
    csp::link::NAME,
    rpc::Export,
    schema::{
        chan_capnp::{chan, closer, recver, send_closer, sender},
        csp_capnp::{channel, channels, member},
    },
};
use capnp::data;
use capnp_rpc::new_client;
use std::{
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::time::Instant;

/// What such an owner does.
#[derive(Clone, Default)]
struct Fake {
    /// So many calls that free something are refused, each time.
    refuses: usize,
    asked: Arc<AtomicUsize>,
    renewed: Arc<AtomicUsize>,
    leased: Arc<AtomicUsize>,
}

impl Fake {
    fn export(&self, place: &Place) -> Export {
        let fake = self.clone();
        let make = move |_| -> channels::Client { new_client(fake.clone()) };
        place.vat.vat.export(NAME, make).unwrap()
    }

    fn refused(&self) -> capnp::Result<()> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        match asked % (self.refuses + 1) {
            at if at == self.refuses => Ok(()),
            _ => Err(capnp::Error::overloaded("too much to do".into())),
        }
    }
}

impl channels::Server for Fake {
    async fn open(
        self: Rc<Self>,
        _: channels::OpenParams,
        mut results: channels::OpenResults,
    ) -> capnp::Result<()> {
        results.get().set_channel(new_client(Fake::clone(&self)));
        Ok(())
    }
}

impl closer::Server for Fake {}
impl sender::Server<data::Owned> for Fake {}
impl recver::Server<data::Owned> for Fake {}
impl send_closer::Server<data::Owned> for Fake {}
impl chan::Server<data::Owned> for Fake {}

impl channel::Server for Fake {
    async fn join(
        self: Rc<Self>,
        _: channel::JoinParams,
        mut results: channel::JoinResults,
    ) -> capnp::Result<()> {
        let mut results = results.get();
        results.set_epoch(7);
        results.set_known(true);
        results.set_member(new_client(Fake::clone(&self)));
        Ok(())
    }
}

impl member::Server for Fake {
    async fn lease(
        self: Rc<Self>,
        params: member::LeaseParams,
        mut results: member::LeaseResults,
    ) -> capnp::Result<()> {
        // Two jobs, and then nothing, at once.
        let number = self.leased.fetch_add(1, Ordering::SeqCst);
        if number < 2 && params.get()?.get_take() {
            let mut value = results.get().init_lease().init_value();
            value.set_lease(number as u64);
            value.set_data(b"a job");
        }
        Ok(())
    }

    async fn confirm(
        self: Rc<Self>,
        _: member::ConfirmParams,
        mut results: member::ConfirmResults,
    ) -> capnp::Result<()> {
        self.refused()?;
        results.get().set_ok(true);
        Ok(())
    }

    async fn cancel(
        self: Rc<Self>,
        _: member::CancelParams,
        _: member::CancelResults,
    ) -> capnp::Result<()> {
        Ok(())
    }

    async fn renew(
        self: Rc<Self>,
        _: member::RenewParams,
        _: member::RenewResults,
    ) -> capnp::Result<()> {
        self.refused()?;
        self.renewed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn one_that_refuses_a_renewal_or_a_confirmation_costs_no_job() {
    let (owner, worker) = (Place::start().await, Place::start().await);
    let fake = Fake { refuses: 2, ..Fake::default() };
    let _export = fake.export(&owner);
    let jobs = worker.open("jobs", &owner).await;
    let (first, second) = (within(jobs.take()).await.unwrap(), within(jobs.take()).await.unwrap());
    within(first.done()).await.unwrap();
    within(async {
        while fake.renewed.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(20 * MS).await;
        }
    })
    .await;
    assert!(!second.is_lost() && !worker.counted("job-lost"));
    within(second.done()).await.unwrap();
    worker.close().await;
    owner.close().await;
}

#[tokio::test]
async fn one_that_has_nothing_at_once_is_asked_now_and_then() {
    let (owner, other) = (Place::start().await, Place::start().await);
    let fake = Fake::default();
    let _export = fake.export(&owner);
    let channel = other.open("jobs", &owner).await;
    let begun = Instant::now();
    let error = within(channel.recv_timeout(1000 * MS)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let most = begun.elapsed().as_millis() / 50 + 2;
    let asked = fake.leased.load(Ordering::SeqCst);
    assert!((2..=most as usize).contains(&asked), "{asked} times");
    other.close().await;
    owner.close().await;
}
