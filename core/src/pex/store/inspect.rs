//! A look at a node's data from outside, as `casm doctor` takes it.

use super::{FILE, SEQ, VALUES, broken};
use crate::{Error, ErrorKind, Result};
use redb::{Database, ReadableDatabase, TableError};
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The last sequence number of the node with this data directory, as the time
/// that it stands for; `None` if there was none. Sequence numbers are taken from
/// the clock: others take what the node says for old as long as its clock is
/// behind that time. Nothing is changed in the directory.
///
/// # Errors
/// [`ErrorKind::Busy`] if a node has it open; [`ErrorKind::Io`] if the data
/// cannot be read.
pub fn last_seq(dir: &Path) -> Result<Option<SystemTime>> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> Result<Option<u64>, redb::Error> {
        let read = Database::builder().open_read_only(&path)?.begin_read()?;
        let values = match read.open_table(VALUES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        let bytes = values.get(SEQ)?.and_then(|value| value.value().try_into().ok());
        Ok(bytes.map(u64::from_le_bytes))
    };
    match read() {
        Ok(nanos) => Ok(nanos.map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos))),
        Err(redb::Error::DatabaseAlreadyOpen) => Err(Error::new(
            ErrorKind::Busy,
            format!("data: {} is in use by a node", path.display()),
        )),
        Err(error) => Err(broken(&path.display().to_string(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Store, *};

    #[test]
    fn the_last_number_is_read_and_only_when_no_node_runs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_seq(dir.path()).unwrap(), None);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(last_seq(dir.path()).unwrap_err().kind(), ErrorKind::Busy);
        drop(store);
        assert_eq!(last_seq(dir.path()).unwrap(), None);
        let store = Store::open(dir.path()).unwrap();
        store.set(SEQ, &7_000_000_000_u64.to_le_bytes()).unwrap();
        drop(store);
        let expected = UNIX_EPOCH + Duration::from_secs(7);
        assert_eq!(last_seq(dir.path()).unwrap(), Some(expected));
    }

    #[test]
    fn what_is_no_data_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), [7; 5000]).unwrap();
        assert_eq!(last_seq(dir.path()).unwrap_err().kind(), ErrorKind::Io);
    }
}
