//! What outlives a node: the peers of each namespace, and small values such as
//! the last own sequence number.
//!
//! One file, `casm.redb`, in the node's data directory; in memory if it has
//! none. A write is on the disk when it has returned.

use crate::{
    Error, ErrorKind, Namespace, Result,
    record::{SignedRecord, unix_nanos},
};
use redb::{Database, ReadableDatabase, TableDefinition, backends::InMemoryBackend};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where the sequence number with which the node last started is kept.
const SEQ: &str = "seq";
const FILE: &str = "casm.redb";
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
pub(crate) struct Store(Arc<Database>);

impl Store {
    /// A store that is forgotten with the node.
    pub(crate) fn memory() -> Result<Self> {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .map_err(|e| broken("in memory", e))?;
        Self::prepare(database).map_err(|e| broken("in memory", e))
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

    /// Opens the store of a directory, or one in memory, where that blocks
    /// nobody. Warns if the clock was set back since the node last started:
    /// others would take what it says for old.
    pub(crate) async fn start(dir: Option<PathBuf>) -> Result<Self> {
        on_disk(move || {
            let store = dir.as_deref().map_or_else(Self::memory, Self::open)?;
            let now = unix_nanos();
            let last = store.get(SEQ)?.and_then(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
            if let Some(ahead) = last.and_then(|last| last.checked_sub(now)) {
                tracing::warn!(
                    seconds = ahead / 1_000_000_000,
                    "the clock is behind this node's last sequence number: others will take what \
                     it says for old until then; set the clock"
                );
            }
            store.set(SEQ, &now.max(last.unwrap_or(0)).to_le_bytes())?;
            Ok(store)
        })
        .await
    }

    fn prepare(database: Database) -> Result<Self, redb::Error> {
        // Tables exist from the start, so that reading never has to ask.
        let write = database.begin_write()?;
        write.open_table(PEERS)?;
        write.open_table(VALUES)?;
        write.commit()?;
        Ok(Self(Arc::new(database)))
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
        let write = || -> Result<(), redb::Error> {
            let write = self.0.begin_write()?;
            write.open_table(table)?.insert(key, value)?;
            write.commit()?;
            Ok(())
        };
        write().map_err(|e| broken("a write", e))
    }

    fn read(&self, table: TableDefinition<'_, &str, &[u8]>, key: &str) -> Result<Option<Vec<u8>>> {
        let read = || -> Result<_, redb::Error> {
            let read = self.0.begin_read()?;
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
    let store = Store::prepare(Database::create(path)?)?;
    let read = store.0.begin_read()?;
    for table in [PEERS, VALUES] {
        use redb::ReadableTable;
        for row in read.open_table(table)?.iter()? {
            row?;
        }
    }
    drop(read);
    Ok(store)
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
