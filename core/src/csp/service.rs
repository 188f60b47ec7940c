//! The channels and semaphores of a node, its own and those of others that it
//! uses, by their names.

use super::{
    around::{Around, What},
    channel::Channel,
    link::NAME,
    links::{EXPORTED, Links},
    local::Local,
    metrics::CspMetrics,
    remote::{Env, Remote},
    semaphore::{self, Semaphore},
    server::Server,
};
use crate::{
    Error, ErrorKind, Result,
    metrics::Metrics,
    name::check_name,
    rpc::{Export, Vat},
    schema::csp_capnp::channels,
    scope::Scope,
};
use capnp_rpc::new_client;
use libp2p::PeerId;
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, time::Instant};

/// The most values that may wait in a channel.
pub const MAX_CAPACITY: usize = 1 << 20;
/// The most that may hold a semaphore at a time.
pub const MAX_PERMITS: usize = 1 << 20;
/// Channels and semaphores, here or elsewhere, of which nothing is left that matters are
/// forgotten when so many more have been made or opened.
const SWEEP: usize = 64;

/// How a channel of this node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelOptions {
    pub(super) capacity: usize,
    pub(super) close_by_others: bool,
}

impl ChannelOptions {
    /// A rendezvous: each value is handed from sender to receiver, and its sender
    /// waits for that; and only this node closes it.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values may wait for a receiver, 0 to 1,048,576, and of 64 MiB
    /// together at most (one may always wait). When it is full, senders wait.
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Whether any other node may close it too.
    #[must_use]
    pub fn close_by_others(mut self, may: bool) -> Self {
        self.close_by_others = may;
        self
    }
}

/// The channels and semaphores that are this node's own.
pub(super) struct Own {
    pub(super) metrics: CspMetrics,
    channels: Mutex<HashMap<String, Arc<Local>>>,
    semaphores: Mutex<HashMap<String, Arc<semaphore::Local>>>,
    /// The highest token of semaphores that are forgotten.
    tokens: AtomicU64,
}

impl Own {
    pub(super) fn channel(&self, name: &str) -> Option<Arc<Local>> {
        lock(&self.channels).get(name).cloned()
    }

    pub(super) fn semaphore(&self, name: &str) -> Option<Arc<semaphore::Local>> {
        lock(&self.semaphores).get(name).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All channels and semaphores. Clones share them.
#[derive(Clone)]
pub(crate) struct Csp(Arc<Inner>);

struct Inner {
    id: PeerId,
    env: Env,
    own: Arc<Own>,
    remotes: Mutex<HashMap<(PeerId, String), Arc<Remote>>>,
    /// From when there is something to be served.
    export: Mutex<Option<Export>>,
}

impl Csp {
    pub(crate) fn new(
        id: PeerId,
        vat: Vat,
        around: Arc<dyn Around>,
        metrics: &Metrics,
        scope: &Scope,
    ) -> Self {
        let metrics = CspMetrics::new(metrics);
        let own = Own {
            metrics: metrics.clone(),
            channels: Mutex::default(),
            semaphores: Mutex::default(),
            tokens: AtomicU64::default(),
        };
        let runtime = Handle::current();
        let scope = scope.child();
        let links = Links::new(vat.clone(), around.clone(), scope.clone(), runtime.clone());
        let (links, keepers) = (Arc::new(links), semaphore::Keepers::default());
        let env = Env { vat, around, links, keepers, metrics, scope, runtime };
        Self(Arc::new(Inner {
            id,
            env,
            own: Arc::new(own),
            remotes: Mutex::default(),
            export: Mutex::default(),
        }))
    }

    /// Gives back what is held of semaphores of other nodes, as the node closes: else
    /// nobody would get it for 12 s. Waits until that is heard, for a second at most.
    pub(crate) async fn give_back(&self) {
        self.0.env.keepers.end(Duration::from_secs(1)).await;
    }

    /// Serves what is here, from the first on.
    fn serve(&self) -> Result<()> {
        let mut export = lock(&self.0.export);
        if export.is_none() {
            let own = self.0.own.clone();
            let make = move |peer, room| -> channels::Client {
                new_client(Server { peer, own: own.clone(), room })
            };
            *export = Some(self.0.env.vat.export_with(NAME, EXPORTED, make)?);
        }
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        if self.0.env.scope.is_cancelled() { Err(Error::closed("node")) } else { Ok(()) }
    }

    /// A channel of this node: one that is here and open, or a new one.
    pub(crate) fn channel(&self, name: &str, options: ChannelOptions) -> Result<Channel> {
        check_name("channel", name)?;
        self.check_open()?;
        let ChannelOptions { capacity, close_by_others } = options;
        if capacity > MAX_CAPACITY {
            return Err(Error::config("capacity", capacity, "0 to 1,048,576 is"));
        }
        self.serve()?;
        let mut channels = lock(&self.0.own.channels);
        if let Some(here) = channels.get(name).filter(|here| !here.is_closed()) {
            if (here.capacity, here.close_by_others) == (capacity, close_by_others) {
                return Ok(Channel::local(self.0.id, here.clone()));
            }
            let message = format!(
                "the channel `{name}` is here already, with capacity {} and close_by_others {}: \
                 use these, or another name",
                here.capacity, here.close_by_others
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let before = channels.get(name).and_then(|closed| closed.take_offered());
        let offered = match before {
            Some(offered) => offered,
            None => self.0.env.around.offer(What::Channel, name)?,
        };
        if channels.len() % SWEEP == SWEEP - 1 {
            channels.retain(|_, channel| !channel.is_forgotten());
        }
        let env = &self.0.env;
        let local = Local::start(name.to_owned(), capacity, close_by_others, env, offered);
        channels.insert(name.to_owned(), local.clone());
        Ok(Channel::local(self.0.id, local))
    }

    /// Whose it is: who is said, or else the one in whose record it stands.
    fn owner(&self, what: What, name: &str, owner: Option<PeerId>) -> Result<PeerId> {
        if let Some(owner) = owner {
            return Ok(owner);
        }
        let (own, id) = (&self.0.own, self.0.id);
        let is_here = match what {
            What::Channel => own.channel(name).is_some_and(|here| !here.is_over()),
            What::Semaphore => own.semaphore(name).is_some_and(|here| !here.is_closed()),
        };
        // Of what is here the record may be late.
        let others = self.0.env.around.owners(what, name).into_iter().filter(|other| *other != id);
        let owners: BTreeSet<_> = others.chain(is_here.then_some(id)).collect();
        let mut all = owners.iter();
        match (all.next(), owners.len()) {
            (Some(owner), 1) => Ok(*owner),
            (None, _) => {
                let message = format!(
                    "no member has a {what} `{name}`: wait until the view has one, or say whose \
                     is meant"
                );
                Err(Error::new(ErrorKind::NotFound, message))
            }
            (_, number) => {
                const SHOWN: usize = 8;
                let some: Vec<_> = owners.iter().take(SHOWN).map(PeerId::to_string).collect();
                let more = if number > SHOWN { ", …" } else { "" };
                let message = format!(
                    "{number} members have a {what} `{name}`: say whose is meant, {}{more}",
                    some.join(", ")
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// A channel of another node, or of this one: of the one in whose record it
    /// stands if no owner is said.
    pub(crate) async fn open_channel(&self, name: &str, owner: Option<PeerId>) -> Result<Channel> {
        check_name("channel", name)?;
        self.check_open()?;
        let owner = self.owner(What::Channel, name, owner)?;
        if owner == self.0.id {
            let local = self.0.own.channel(name).ok_or_else(|| {
                let message = format!("this node has no channel `{name}`: make it first");
                Error::new(ErrorKind::NotFound, message)
            })?;
            return Ok(Channel::local(owner, local));
        }
        let remote = self.remote(name, owner);
        remote.open().await?;
        Ok(Channel::remote(remote))
    }

    fn remote(&self, name: &str, owner: PeerId) -> Arc<Remote> {
        let mut remotes = lock(&self.0.remotes);
        if remotes.len() % SWEEP == SWEEP - 1 {
            remotes.retain(|_, remote| Arc::strong_count(remote) > 2 || !remote.is_idle());
        }
        let key = (owner, name.to_owned());
        let start = || Remote::start(name.to_owned(), owner, self.0.env.clone());
        remotes.entry(key).or_insert_with(start).clone()
    }

    /// A semaphore of this node: one that is here and open, or a new one, whose
    /// tokens are above this, and that grants nothing before this time, or while what
    /// the last of its name has granted may be believed in.
    pub(crate) fn semaphore(
        &self,
        name: &str,
        permits: usize,
        (token, quiet): (u64, Option<Instant>),
    ) -> Result<Semaphore> {
        check_name("semaphore", name)?;
        self.check_open()?;
        if !(1..=MAX_PERMITS).contains(&permits) {
            return Err(Error::config("permits", permits, "1 to 1,048,576 is"));
        }
        self.serve()?;
        let mut semaphores = lock(&self.0.own.semaphores);
        if let Some(here) = semaphores.get(name).filter(|here| !here.is_closed()) {
            if here.permits == permits {
                return Ok(Semaphore::local(here.clone()));
            }
            let message = format!(
                "the semaphore `{name}` is here already, for {}: use that, or another name",
                here.permits
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let offered = self.0.env.around.offer(What::Semaphore, name)?;
        // One that was closed has given some.
        let tokens = &self.0.own.tokens;
        let last = semaphores.get(name).map_or(0, |closed| closed.token());
        let quiet = quiet.max(semaphores.get(name).and_then(|closed| closed.believed()));
        if semaphores.len() % SWEEP == SWEEP - 1 {
            semaphores.retain(|_, semaphore| {
                let over = semaphore.is_closed() && semaphore.believed().is_none();
                if over {
                    tokens.fetch_max(semaphore.token(), Ordering::Relaxed);
                }
                !over
            });
        }
        let first = (token.max(last).max(tokens.load(Ordering::Relaxed)), quiet);
        let (name, own, env) = (name.to_owned(), self.0.id, &self.0.env);
        let local = semaphore::Local::start(name.clone(), own, permits, first, env, offered);
        semaphores.insert(name, local.clone());
        Ok(Semaphore::local(local))
    }

    /// A semaphore of another node, or of this one, as a channel.
    pub(crate) async fn open_semaphore(
        &self,
        name: &str,
        owner: Option<PeerId>,
    ) -> Result<Semaphore> {
        check_name("semaphore", name)?;
        self.check_open()?;
        let owner = self.owner(What::Semaphore, name, owner)?;
        if owner == self.0.id {
            let local = self.0.own.semaphore(name).ok_or_else(|| {
                let message = format!("this node has no semaphore `{name}`: make it first");
                Error::new(ErrorKind::NotFound, message)
            })?;
            return Ok(Semaphore::local(local));
        }
        let remote = semaphore::Remote::new(name.to_owned(), owner, self.0.env.clone());
        remote.open().await?;
        Ok(Semaphore::remote(Arc::new(remote)))
    }
}

impl fmt::Debug for Csp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csp").field("id", &self.0.id).finish_non_exhaustive()
    }
}
