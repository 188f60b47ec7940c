//! Files that are read again when they change while the program runs.

use casm::{Error, ErrorKind, Result, follow::Seen};
use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{task::spawn_blocking, time::sleep};

/// How often is looked whether a file has changed.
const EVERY: Duration = Duration::from_secs(1);

/// A file, and what it is to who reads of it.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Such as `allow file`.
    pub what: &'static str,
    pub path: PathBuf,
    /// The most bytes that it may have.
    pub most: u64,
}

impl Followed {
    /// What is in the file now.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it can't be read, [`ErrorKind::Config`] if it is too long.
    /// Both name the path.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(|e| self.cannot(e))?;
        file.take(self.most + 1).read_to_end(&mut bytes).map_err(|e| self.cannot(e))?;
        if bytes.len() as u64 > self.most {
            let most = self.most;
            return Err(
                self.wrong(format_args!("it has more than {most} bytes, which is the most"))
            );
        }
        Ok(bytes)
    }

    /// An error that says what is wrong in the file.
    pub fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Config, format!("{} {}: {what}", self.what, self.path.display()))
    }

    fn cannot(&self, error: io::Error) -> Error {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; make it first, or correct the path",
            io::ErrorKind::PermissionDenied => "; check its owner and mode",
            _ => "",
        };
        let message =
            format!("cannot read the {} {}: {error}{hint}", self.what, self.path.display());
        Error::new(ErrorKind::Io, message).with_source(error)
    }

    /// Has `take` take what is in the file, now and whenever it changes, as long as the
    /// program runs. It says what it took. When the file can't be read, or `take`
    /// refuses it, what was taken before stays, with a warning.
    pub fn follow(self, take: impl Fn(&[u8]) -> Result<String> + Send + Sync + 'static) {
        let take = Arc::new(take);
        tokio::spawn(async move {
            let mut following = Following { file: self, seen: Seen::default(), said: None };
            loop {
                let take = take.clone();
                // A disk may take its time.
                let looked = spawn_blocking(move || {
                    following.look(&*take);
                    following
                });
                let Ok(next) = looked.await else { return };
                following = next;
                sleep(EVERY).await;
            }
        });
    }
}

/// A file as it was seen last.
struct Following {
    file: Followed,
    seen: Seen,
    /// What was said of it last, and whether that was a warning.
    said: Option<(bool, String)>,
}

impl Following {
    fn look(&mut self, take: &dyn Fn(&[u8]) -> Result<String>) {
        if !self.seen.is_due(&self.file.path) {
            return;
        }
        let first = self.said.is_none();
        let bytes = self.file.read();
        self.seen.read(bytes.is_ok());
        let taken = bytes.and_then(|bytes| take(&bytes));
        let said = match taken {
            Ok(took) => (false, took),
            Err(error) => (true, error.to_string()),
        };
        if self.said.as_ref() == Some(&said) {
            return;
        }
        let (what, path) = (self.file.what, self.file.path.display());
        match &said {
            (true, error) => tracing::warn!("{error}; what it said before holds"),
            // What a program was started with need not be told.
            (false, _) if first => {}
            (false, took) => tracing::info!(%path, "the {what} was read again: {took}"),
        }
        self.said = Some(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_file_is_taken_when_it_changes_and_the_last_good_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let file = Followed { what: "list", path: path.clone(), most: 8 };
        let mut following = Following { file: file.clone(), seen: Seen::default(), said: None };
        let taken = Mutex::new(Vec::new());
        let take = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            if text.starts_with('!') {
                return Err(file.wrong("it begins with !"));
            }
            taken.lock().unwrap().push(text.clone());
            Ok(text)
        };
        let mut look = || {
            following.look(&take);
            // When it is the same again.
            following.look(&take);
            let warned = following.said.clone().filter(|(warned, _)| *warned);
            (taken.lock().unwrap().clone(), warned.map(|(_, what)| what))
        };
        let warns = |said: (Vec<String>, Option<String>), of: &str| {
            assert!(said.1.as_ref().is_some_and(|what| what.contains(of)), "{said:?}");
            assert!(said.1.unwrap().contains("list"));
            said.0
        };
        assert!(warns(look(), "make it first").is_empty());
        std::fs::write(&path, "one").unwrap();
        assert_eq!(look(), (vec!["one".into()], None));
        assert_eq!(look().0.len(), 1, "nothing has changed");
        std::fs::write(&path, "two!").unwrap();
        assert_eq!(look(), (vec!["one".into(), "two!".into()], None));
        std::fs::write(&path, "!").unwrap();
        assert_eq!(warns(look(), "begins with !").len(), 2);
        std::fs::write(&path, "123456789").unwrap();
        assert_eq!(warns(look(), "more than 8 bytes").len(), 2);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(warns(look(), "make it first").len(), 2);
        // Another file of the same length is put in its place, as by `mv`.
        std::fs::write(&path, "two!").unwrap();
        assert_eq!(look(), (vec!["one".into(), "two!".into(), "two!".into()], None));
        let other = dir.path().join("other");
        std::fs::write(&other, "six?").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(look().0.last().unwrap(), "six?");
    }
}
