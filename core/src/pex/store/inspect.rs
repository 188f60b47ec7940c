//! A look at a node's data from outside, as `casm doctor` takes it.

use super::{CLOCK, FILE, SEQ, VALUES, broken};
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
    let bytes = value(dir, SEQ)?.and_then(|bytes| bytes.try_into().ok());
    let nanos = bytes.map(u64::from_le_bytes);
    Ok(nanos.map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos)))
}

/// How the clock of the node with this data directory differed from those of its
/// peers, as its last run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockFound {
    /// When it was found, by the node's own clock.
    pub at: SystemTime,
    /// How far the clocks of the peers were ahead, in ms, as the median; negative
    /// if the node's own was ahead.
    pub offset_ms: i64,
    /// How many peers were compared with, one of each network.
    pub peers: u64,
}

/// How the clock differed from those of peers in the last run of the node with
/// this data directory; `None` if it did not at its end, as far as was found.
/// Nothing is
/// changed in the directory.
///
/// # Errors
/// As of [`last_seq`].
pub fn last_clock(dir: &Path) -> Result<Option<ClockFound>> {
    let bytes = value(dir, CLOCK)?.unwrap_or_default();
    let ([at, offset, peers], []) = bytes.as_chunks::<8>() else { return Ok(None) };
    let [at, offset, peers] = [at, offset, peers].map(|bytes| u64::from_le_bytes(*bytes));
    let (at, offset_ms) = (UNIX_EPOCH + Duration::from_nanos(at), offset.cast_signed());
    Ok(Some(ClockFound { at, offset_ms, peers }))
}

fn value(dir: &Path, key: &str) -> Result<Option<Vec<u8>>> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> Result<Option<Vec<u8>>, redb::Error> {
        let read = Database::builder().open_read_only(&path)?.begin_read()?;
        let values = match read.open_table(VALUES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        Ok(values.get(key)?.map(|value| value.value().to_vec()))
    };
    match read() {
        Ok(value) => Ok(value),
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
    use crate::metrics::ClockDiffers;
    use tokio::sync::watch;

    #[test]
    fn the_last_number_is_read_and_only_when_no_node_runs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_seq(dir.path()).unwrap(), None);
        let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
        assert_eq!(last_seq(dir.path()).unwrap_err().kind(), ErrorKind::Busy);
        drop(store);
        assert_eq!(last_seq(dir.path()).unwrap(), None);
        let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
        store.set(SEQ, &7_000_000_000_u64.to_le_bytes()).unwrap();
        drop(store);
        let expected = UNIX_EPOCH + Duration::from_secs(7);
        assert_eq!(last_seq(dir.path()).unwrap(), Some(expected));
    }

    #[tokio::test]
    async fn how_the_clock_differs_is_kept_while_it_does_and_until_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_clock(dir.path()).unwrap(), None);
        let differs = Some(ClockDiffers { offset_ms: -660_000, peers: 1 });
        for (said, left) in [(vec![differs], true), (vec![], false), (vec![differs, None], false)] {
            let (clock, store) = (
                watch::Sender::default(),
                Store::open(dir.path(), Default::default(), &Default::default()).unwrap(),
            );
            let keep = tokio::spawn(store.clone().keep_clock(clock.subscribe()));
            for said in said {
                clock.send_replace(said);
                let kept = |kept: Vec<u8>| kept.is_empty() == said.is_none();
                while !store.get(CLOCK).unwrap().is_some_and(kept) {
                    tokio::task::yield_now().await;
                }
            }
            drop(clock);
            keep.await.unwrap();
            drop(store);
            let found = last_clock(dir.path()).unwrap().map(|found| (found.offset_ms, found.peers));
            assert_eq!(found, left.then_some((-660_000, 1)));
        }
    }

    #[test]
    fn what_is_no_data_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), [7; 5000]).unwrap();
        assert_eq!(last_seq(dir.path()).unwrap_err().kind(), ErrorKind::Io);
    }
}
