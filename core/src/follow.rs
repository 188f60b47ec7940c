//! When a file that is followed is to be read again.

use std::{
    fs::{self, Metadata},
    path::Path,
    time::SystemTime,
};

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Another file may be put in its place.
    inode: u64,
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(file);
        #[cfg(not(unix))]
        let inode = 0;
        Self { len: file.len(), modified: file.modified().ok(), inode }
    }
}

/// A file as it was seen; `None` inside where there was none.
#[derive(Debug, Default)]
pub struct Seen {
    read: Option<Option<Stamp>>,
    /// At the last look.
    met: Option<Option<Stamp>>,
}

impl Seen {
    /// Looks at a file. Whether it is to be read now: it is another than the one that was
    /// read, and the same as at the last look, if there was one. (One that is still
    /// written is not read.)
    pub fn is_due(&mut self, path: &Path) -> bool {
        let stamp = fs::metadata(path).ok().map(|file| Stamp::of(&file));
        let last = self.met.replace(stamp);
        self.read != Some(stamp) && last.is_none_or(|last| last == stamp)
    }

    /// It was read, as it was at the last look, whatever came of that: it is read again
    /// when it changes. One that can't be read may be readable the next time, and look the
    /// same.
    pub fn read(&mut self, could_be: bool) {
        self.read = self.met.filter(|_| could_be);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_when_it_has_settled_and_again_when_another_is_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut seen) = (dir.path().join("file"), Seen::default());
        assert!(seen.is_due(&path), "that there is none is told at once");
        seen.read(false);
        assert!(seen.is_due(&path), "and again, as long as it is so");
        fs::write(&path, "a").unwrap();
        assert!(!seen.is_due(&path), "it may still be written");
        fs::write(&path, "ab").unwrap();
        assert!(!seen.is_due(&path));
        assert!(seen.is_due(&path));
        seen.read(true);
        assert!(!seen.is_due(&path));
        let other = dir.path().join("other");
        fs::write(&other, "cd").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!seen.is_due(&path));
        assert!(seen.is_due(&path));
    }
}
