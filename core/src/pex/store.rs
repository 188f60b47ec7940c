//! What outlives a node: the peers of each namespace, and small values such as
//! the last own sequence number.
//!
//! One file, `casm.redb`, in the node's data directory. A write is on the disk
//! when it has returned. Without a directory nothing is kept: what a node knows
//! is in its views.

mod inspect;

pub use inspect::{ClockFound, last_clock, last_seq};

use crate::{
    Error, ErrorKind, Namespace, Result,
    metrics::ClockDiffers,
    record::{SignedRecord, unix_nanos},
    scope::Scope,
    trouble::Troubles,
};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;
type Done<T> = Result<T, redb::Error>;

/// When what could not be saved is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Where the highest sequence number of the node's records is kept.
const SEQ: &str = "seq";
/// Where a number is kept that is higher than those of the node's heartbeats.
const BEAT: &str = "beat";
/// Where it is kept by how much the clock differed from those of peers, and when.
const CLOCK: &str = "clock";
/// Where it is kept whose certificates are revoked.
const REVOKED: &str = "revoked";
const FILE: &str = "casm.redb";
/// Memory for what was read, in bytes: all that there is, and more.
const CACHE: usize = 1 << 20;
/// Where a number is kept that is higher than every token of a semaphore.
const TOKEN: &str = "token";
/// How many tokens the semaphores made in one run may give.
const TOKENS: u64 = 1 << 40;

/// How far ahead of the clock a heartbeat may be.
const BELIEVED: Duration = Duration::from_secs(10 * 60);
/// By namespace: the records, each with its length and where it belongs.
const PEERS: Table<'_> = TableDefinition::new("peers");
const VALUES: Table<'_> = TableDefinition::new("values");

/// The peers of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) view: Vec<SignedRecord>,
    pub(crate) standby: Vec<SignedRecord>,
}

/// The store. Clones share it. Its calls block on the disk.
///
/// What failed is opened again at the next call: a full disk, or a directory
/// that was taken away, comes back.
#[derive(Clone)]
pub(crate) struct Store(Option<Arc<Opened>>);

struct Opened {
    path: PathBuf,
    /// Whose end waits for what is under way: then another node can open it.
    scope: Scope,
    troubles: Troubles,
    /// The store, as users read of it.
    subject: String,
    state: Mutex<State>,
}

struct State {
    /// None after a failure: nothing is taken after one until it is opened anew.
    database: Option<Database>,
    /// The values as they should be, for a file that is begun anew.
    values: BTreeMap<String, Vec<u8>>,
    /// It is another's to open.
    closed: bool,
}

impl Opened {
    fn with<T>(&self, what: &str, work: impl FnOnce(&Database) -> Done<T>) -> Result<T> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::closed("store"));
        }
        let result = self.attempt(&mut state, what, work);
        match &result {
            Ok(_) => self.troubles.works(&self.subject),
            Err(error) => {
                state.database = None;
                self.troubles.fails(&self.subject, "disk", error);
            }
        }
        result
    }

    fn attempt<T>(
        &self,
        state: &mut State,
        what: &str,
        work: impl FnOnce(&Database) -> Done<T>,
    ) -> Result<T> {
        if self.is_lost() {
            state.database = None;
        }
        let database = match &mut state.database {
            Some(database) => database,
            none => {
                let database = database(&self.path)?;
                for (key, value) in &state.values {
                    put(&database, VALUES, key, value).map_err(|e| broken("a write", e))?;
                }
                none.insert(database)
            }
        };
        work(database).map_err(|e| broken(what, e))
    }

    fn is_lost(&self) -> bool {
        !self.path.exists()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// A store that keeps nothing.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Whether it keeps anything.
    pub(crate) const fn keeps(&self) -> bool {
        self.0.is_some()
    }

    /// Whether its file is gone: what was saved is to be saved again.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|opened| opened.is_lost())
    }

    /// The store of a directory, which is made if need be. A file that cannot
    /// be read is set aside, with a warning, and a new one begun.
    ///
    /// # Errors
    /// `Busy` if another node has it open; `Io` if the directory cannot be
    /// written to.
    pub(crate) fn open(dir: &Path, troubles: Troubles, scope: &Scope) -> Result<Self> {
        let path = dir.join(FILE);
        let values = BTreeMap::new();
        let state = State { database: Some(database(&path)?), values, closed: false };
        let subject = format!("the data directory {}", dir.display());
        let (state, scope) = (Mutex::new(state), scope.clone());
        Ok(Self(Some(Arc::new(Opened { path, scope, troubles, subject, state }))))
    }

    /// Opens the store of a directory, if there is one, where that blocks
    /// nobody. Gives also the number that the node's first record must have at
    /// least, so that a clock that was set back since its last run doesn't make
    /// others take the record for old.
    pub(crate) async fn start(
        dir: Option<PathBuf>,
        troubles: Troubles,
        scope: &Scope,
    ) -> Result<(Self, u64)> {
        let Some(dir) = dir else { return Ok((Self::none(), 0)) };
        let of = scope.clone();
        let started = scope.block(move || {
            let store = Self::open(&dir, troubles, &of)?;
            let last = store.get(SEQ)?.and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
            let last = last.unwrap_or(0);
            // What was further ahead nobody has believed, or remembers.
            let ahead = last.checked_sub(unix_nanos());
            if let Some(ahead) = ahead.filter(|ahead| u128::from(*ahead) <= BELIEVED.as_nanos()) {
                tracing::warn!(
                    seconds = ahead / 1_000_000_000,
                    "the clock is behind this node's last run: numbers go on from there; set the \
                     clock, best by NTP"
                );
            }
            Ok((store, last.saturating_add(1)))
        });
        started.await.unwrap_or_else(|| Err(Error::closed("store")))
    }

    /// Lets another open it. What is asked of it from then on fails. The last writes go to
    /// the disk where that disturbs nobody.
    pub(crate) async fn close(&self) {
        let Some(opened) = self.0.clone() else { return };
        let scope = opened.scope.clone();
        // One that panics has closed it, or cannot.
        let _ = scope
            .block(move || {
                let mut state = opened.state();
                (state.database, state.closed) = (None, true);
            })
            .await;
    }

    /// Runs what blocks on the disk where that disturbs nobody. It is done also when
    /// nobody waits for it any more.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        let scope = self.0.as_ref().map_or_else(Scope::default, |opened| opened.scope.clone());
        let done = scope.block(move || {
            let result = work(&store);
            drop(store);
            result
        });
        done.await.unwrap_or_else(|| Err(Error::closed("store")))
    }

    /// Keeps the sequence number of the node's record, and that of each which
    /// replaces it. It has the first one when it returns; the task that it
    /// gives back goes on.
    pub(crate) async fn keep_seq(
        self,
        record: watch::Receiver<SignedRecord>,
    ) -> Result<impl Future<Output = ()> + Send + 'static> {
        self.keep(SEQ, record, SignedRecord::seq).await
    }

    async fn keep<T: Send + Sync + 'static>(
        self,
        key: &'static str,
        mut values: watch::Receiver<T>,
        number: fn(&T) -> u64,
    ) -> Result<impl Future<Output = ()> + Send + 'static> {
        let keep = async move |number: u64| {
            if !self.keeps() {
                return Ok(());
            }
            self.on_disk(move |store| store.set(key, &number.to_le_bytes())).await
        };
        let first = number(&values.borrow_and_update());
        keep(first).await?;
        Ok(async move {
            let mut kept = true;
            loop {
                tokio::select! {
                    changed = values.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(RETRY), if !kept => {}
                }
                let number = number(&values.borrow_and_update());
                // The store tells if not.
                kept = keep(number).await.is_ok();
            }
        })
    }

    /// What was kept of the numbers of the node's heartbeats; 0 if nothing was.
    ///
    /// # Errors
    /// `Io` if the data cannot be read.
    pub(crate) async fn last_beat(&self) -> Result<u64> {
        self.on_disk(|store| {
            let last = store.get(BEAT)?.and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
            Ok(last.unwrap_or(0))
        })
        .await
    }

    /// Keeps a number that is higher than those of the node's heartbeats, and each
    /// that replaces it, as [`keep_seq`](Self::keep_seq) does.
    pub(crate) async fn keep_beat(
        self,
        ahead: watch::Receiver<u64>,
    ) -> Result<impl Future<Output = ()> + Send + 'static> {
        self.keep(BEAT, ahead, |ahead| *ahead).await
    }

    /// A number that no semaphore of this node has given: the time in nanoseconds
    /// since 1970, or more if what was kept says so. It is kept that many may be
    /// given after it. And whether an earlier run may have given some, as far as is
    /// known.
    ///
    /// # Errors
    /// `Io` if the data cannot be used.
    pub(crate) async fn next_token(&self, time: u64) -> Result<(u64, bool)> {
        if !self.keeps() {
            return Ok((time, false));
        }
        self.on_disk(move |store| {
            let last = store.get(TOKEN)?.and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
            let next = last.unwrap_or(0).max(time);
            store.set(TOKEN, &next.saturating_add(TOKENS).to_le_bytes())?;
            Ok((next, last.is_some()))
        })
        .await
    }

    /// Keeps it while the clock is known to differ from those of peers, for who
    /// looks into the data later. What an earlier run has kept is over.
    pub(crate) async fn keep_clock(self, mut clock: watch::Receiver<Option<ClockDiffers>>) {
        if !self.keeps() {
            return;
        }
        let keep = async |found: Vec<u8>| {
            if let Err(error) = self.on_disk(move |store| store.set(CLOCK, &found)).await {
                tracing::warn!(%error, "how the clock differs could not be saved");
            }
        };
        loop {
            let found = *clock.borrow_and_update();
            let bytes = found.map(|ClockDiffers { offset_ms, peers }| {
                let peers = u64::try_from(peers).unwrap_or(u64::MAX);
                let found = [unix_nanos(), offset_ms.cast_unsigned(), peers];
                found.iter().flat_map(|n| n.to_le_bytes()).collect()
            });
            keep(bytes.unwrap_or_default()).await;
            if clock.changed().await.is_err() {
                return;
            }
        }
    }

    /// The revocations that were kept.
    pub(crate) async fn revoked(&self) -> Result<Option<Vec<u8>>> {
        match self.keeps() {
            true => self.on_disk(|store| store.get(REVOKED)).await,
            false => Ok(None),
        }
    }

    /// Keeps revocations, until nobody tells of them any more. What fails is tried
    /// again.
    pub(crate) async fn keep_revoked(self, mut revoked: watch::Receiver<Vec<u8>>) {
        while self.keeps() && revoked.changed().await.is_ok() {
            loop {
                let all = revoked.borrow_and_update().clone();
                if self.on_disk(move |store| store.set(REVOKED, &all)).await.is_ok() {
                    break;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Replaces the peers of a namespace.
    pub(crate) fn save(&self, namespace: &Namespace, saved: &Saved) -> Result<()> {
        let bytes = encode(saved);
        self.write(PEERS, namespace.as_str(), &bytes)
    }

    /// The peers of a namespace, as [`load`](Self::load) gives them, where that blocks
    /// nobody.
    pub(crate) async fn saved(&self, namespace: &Namespace) -> Result<Saved> {
        let namespace = namespace.clone();
        match self.keeps() {
            true => self.on_disk(move |store| store.load(&namespace)).await,
            false => Ok(Saved::default()),
        }
    }

    /// The peers of a namespace. Records that are no longer good are left out.
    pub(crate) fn load(&self, namespace: &Namespace) -> Result<Saved> {
        let bytes = self.read(PEERS, namespace.as_str())?;
        Ok(bytes.map_or_else(Saved::default, |bytes| decode(&bytes)))
    }

    /// Keeps a value.
    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        if let Some(opened) = &self.0 {
            opened.state().values.insert(key.into(), value.into());
        }
        self.write(VALUES, key, value)
    }

    /// A value that was kept.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(VALUES, key)
    }

    fn write(&self, table: Table<'_>, key: &str, value: &[u8]) -> Result<()> {
        let Some(opened) = &self.0 else { return Ok(()) };
        opened.with("a write", |database| put(database, table, key, value))
    }

    fn read(&self, table: Table<'_>, key: &str) -> Result<Option<Vec<u8>>> {
        let Some(opened) = &self.0 else { return Ok(None) };
        opened.with("a read", |database| {
            let read = database.begin_read()?;
            Ok(read.open_table(table)?.get(key)?.map(|guard| guard.value().to_vec()))
        })
    }
}

fn put(database: &Database, table: Table<'_>, key: &str, value: &[u8]) -> Done<()> {
    let write = database.begin_write()?;
    write.open_table(table)?.insert(key, value)?;
    write.commit()?;
    Ok(())
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// The database of a file, in a directory that is made if need be. A file that
/// cannot be read is set aside, with a warning, and a new one begun.
fn database(path: &Path) -> Result<Database> {
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir).map_err(|e| {
        let message = format!(
            "data: the directory {} cannot be made ({e}): name one that can be written to",
            dir.display()
        );
        Error::new(ErrorKind::Io, message).with_source(e)
    })?;
    let shown = path.display();
    match open(path) {
        Ok(database) => Ok(database),
        Err(redb::Error::DatabaseAlreadyOpen) => Err(Error::new(
            ErrorKind::Busy,
            format!("data: {shown} is in use by another node: give each its own directory"),
        )),
        Err(error) if is_corrupt(&error) => {
            let aside = set_aside(path)?;
            tracing::warn!(
                file = %shown, %error, aside = %aside.display(),
                "the node's data cannot be read: it is set aside, and a new file begun"
            );
            open(path).map_err(|e| broken(&shown.to_string(), e))
        }
        Err(error) => Err(broken(&shown.to_string(), error)),
    }
}

/// Opens a file and reads all of it: what is damaged shows now, not later.
fn open(path: &Path) -> Done<Database> {
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    // Tables exist from the start, so that reading never has to ask.
    let write = database.begin_write()?;
    write.open_table(PEERS)?;
    write.open_table(VALUES)?;
    write.commit()?;
    let read = database.begin_read()?;
    for table in [PEERS, VALUES] {
        use redb::ReadableTable;
        for row in read.open_table(table)?.iter()? {
            row?;
        }
    }
    drop(read);
    Ok(database)
}

fn is_corrupt(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => true,
        redb::Error::Io(e) => {
            matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

fn set_aside(path: &Path) -> Result<PathBuf> {
    for n in 1..1000 {
        let aside = path.with_extension(format!("redb.damaged-{n}"));
        if !aside.exists() {
            std::fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    let message = format!("data: too many damaged files beside {}: delete them", path.display());
    Err(Error::new(ErrorKind::Io, message))
}

fn broken(what: &str, error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    Error::new(ErrorKind::Io, format!("data: {what}: {error}")).with_source(error)
}

fn encode(saved: &Saved) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (place, records) in [(0u8, &saved.view), (1, &saved.standby)] {
        for record in records {
            let envelope = record.envelope();
            bytes.push(place);
            bytes.extend((envelope.len() as u16).to_le_bytes()); // at most SignedRecord::MAX_LEN
            bytes.extend(envelope);
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Saved {
    let mut saved = Saved::default();
    while let [place, a, b, rest @ ..] = bytes {
        let Some((envelope, rest)) = rest.split_at_checked(u16::from_le_bytes([*a, *b]).into())
        else {
            break;
        };
        bytes = rest;
        let records = if *place == 0 { &mut saved.view } else { &mut saved.standby };
        match SignedRecord::decode(envelope) {
            Ok(record) => records.push(record),
            Err(error) => tracing::warn!(%error, "a saved record is left out"),
        }
    }
    saved
}

#[cfg(test)]
mod tests;
