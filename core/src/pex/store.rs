//! What outlives a node: the peers of each namespace, and small values such as
//! the last own sequence number.
//!
//! One file, `casm.redb`, in the node's data directory. A write is on the disk
//! when it has returned. Without a directory nothing is kept: what a node knows
//! is in its views.

mod inspect;

pub use inspect::{ClockFound, last_clock, last_seq};

use crate::{
    Error, ErrorKind, Event, Events, Namespace, Result,
    record::{SignedRecord, unix_nanos},
};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Where the highest sequence number of the node's records is kept.
const SEQ: &str = "seq";
/// Where it is kept by how much the clock differed from those of peers, and when.
const CLOCK: &str = "clock";
const FILE: &str = "casm.redb";
/// Memory for what was read, in bytes: all that there is, and more.
const CACHE: usize = 1 << 20;
/// How far ahead of the clock a heartbeat may be.
const BELIEVED: Duration = Duration::from_secs(10 * 60);
/// By namespace: the records, each with its length and where it belongs.
const PEERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("peers");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

/// The peers of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) view: Vec<SignedRecord>,
    pub(crate) standby: Vec<SignedRecord>,
}

/// The store. Clones share it. Its calls block on the disk.
#[derive(Clone)]
pub(crate) struct Store(Option<Arc<Database>>);

impl Store {
    /// A store that keeps nothing.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Whether it keeps anything.
    pub(crate) const fn keeps(&self) -> bool {
        self.0.is_some()
    }

    /// The store of a directory, which is made if need be. A file that cannot
    /// be read is set aside, with a warning, and a new one begun.
    ///
    /// # Errors
    /// `Busy` if another node has it open; `Io` if the directory cannot be
    /// written to.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| {
            let message = format!(
                "data: the directory {} cannot be made ({e}): name one that can be written to",
                dir.display()
            );
            Error::new(ErrorKind::Io, message).with_source(e)
        })?;
        let path = dir.join(FILE);
        match open(&path) {
            Ok(store) => Ok(store),
            Err(redb::Error::DatabaseAlreadyOpen) => Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "data: {} is in use by another node: give each its own directory",
                    path.display()
                ),
            )),
            Err(error) if is_corrupt(&error) => {
                let aside = set_aside(&path)?;
                tracing::warn!(
                    file = %path.display(), %error, aside = %aside.display(),
                    "the node's data cannot be read: it is set aside, and a new file begun"
                );
                open(&path).map_err(|e| broken(&path.display().to_string(), e))
            }
            Err(error) => Err(broken(&path.display().to_string(), error)),
        }
    }

    /// Opens the store of a directory, if there is one, where that blocks
    /// nobody. Gives also the number that the node's first record must have at
    /// least, so that a clock that was set back since its last run doesn't make
    /// others take the record for old.
    pub(crate) async fn start(dir: Option<PathBuf>) -> Result<(Self, u64)> {
        let Some(dir) = dir else { return Ok((Self::none(), 0)) };
        on_disk(move || {
            let store = Self::open(&dir)?;
            let last = store.get(SEQ)?.and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
            let last = last.unwrap_or(0);
            // What was further ahead nobody has believed, or remembers.
            let ahead = last.checked_sub(unix_nanos());
            if let Some(ahead) = ahead.filter(|ahead| u128::from(*ahead) <= BELIEVED.as_nanos()) {
                tracing::warn!(
                    seconds = ahead / 1_000_000_000,
                    "the clock is behind this node's last sequence number: who saw its last \
                     heartbeat may not believe new ones until then; set the clock"
                );
            }
            Ok((store, last.saturating_add(1)))
        })
        .await
    }

    /// Keeps the sequence number of the node's record, and that of each which
    /// replaces it. It has the first one when it returns; the task that it
    /// gives back goes on.
    pub(crate) async fn keep_seq(
        self,
        mut record: watch::Receiver<SignedRecord>,
    ) -> Result<impl Future<Output = ()> + Send + 'static> {
        let keep = async move |seq: u64| {
            if !self.keeps() {
                return Ok(());
            }
            let store = self.clone();
            on_disk(move || store.set(SEQ, &seq.to_le_bytes())).await
        };
        let first = record.borrow_and_update().seq();
        keep(first).await?;
        Ok(async move {
            while record.changed().await.is_ok() {
                let seq = record.borrow_and_update().seq();
                if let Err(error) = keep(seq).await {
                    tracing::warn!(%error, "the sequence number could not be saved");
                }
            }
        })
    }

    /// Keeps it when the clock differs from those of peers, for who looks into
    /// the data later. What an earlier run has kept is over.
    pub(crate) async fn keep_clock(self, mut events: Events) {
        if !self.keeps() {
            return;
        }
        let keep = async |found: Vec<u8>| {
            let store = self.clone();
            if let Err(error) = on_disk(move || store.set(CLOCK, &found)).await {
                tracing::warn!(%error, "how the clock differs could not be saved");
            }
        };
        keep(Vec::new()).await;
        while let Some(event) = events.next().await {
            if let Event::ClockDiffers { offset_ms, peers } = event {
                let peers = u64::try_from(peers.len()).unwrap_or(u64::MAX);
                let found = [unix_nanos(), offset_ms.cast_unsigned(), peers];
                keep(found.iter().flat_map(|n| n.to_le_bytes()).collect()).await;
            }
        }
    }

    /// Replaces the peers of a namespace.
    pub(crate) fn save(&self, namespace: &Namespace, saved: &Saved) -> Result<()> {
        let bytes = encode(saved);
        self.write(PEERS, namespace.as_str(), &bytes)
    }

    /// The peers of a namespace. Records that are no longer good are left out.
    pub(crate) fn load(&self, namespace: &Namespace) -> Result<Saved> {
        let bytes = self.read(PEERS, namespace.as_str())?;
        Ok(bytes.map_or_else(Saved::default, |bytes| decode(&bytes)))
    }

    /// Keeps a value.
    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        self.write(VALUES, key, value)
    }

    /// A value that was kept.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(VALUES, key)
    }

    fn write(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
        key: &str,
        value: &[u8],
    ) -> Result<()> {
        let Some(database) = &self.0 else { return Ok(()) };
        let write = || -> Result<(), redb::Error> {
            let write = database.begin_write()?;
            write.open_table(table)?.insert(key, value)?;
            write.commit()?;
            Ok(())
        };
        write().map_err(|e| broken("a write", e))
    }

    fn read(&self, table: TableDefinition<'_, &str, &[u8]>, key: &str) -> Result<Option<Vec<u8>>> {
        let Some(database) = &self.0 else { return Ok(None) };
        let read = || -> Result<_, redb::Error> {
            let read = database.begin_read()?;
            Ok(read.open_table(table)?.get(key)?.map(|guard| guard.value().to_vec()))
        };
        read().map_err(|e| broken("a read", e))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// Opens a file and reads all of it: what is damaged shows now, not later.
fn open(path: &Path) -> Result<Store, redb::Error> {
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
    Ok(Store(Some(Arc::new(database))))
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

/// Runs what blocks on the disk where that disturbs nobody.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Error::closed("store")))
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
