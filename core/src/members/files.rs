//! The files of a node's certificate and of revocations: read again when they change.

use super::Members;
use crate::{
    Result,
    admit::{Certificate, Revocation},
    scope::Scope,
    trouble::Troubles,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::time::sleep;

/// What is followed.
pub(crate) struct Files {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) revoked: Option<PathBuf>,
}

/// By what it is seen that a file has changed.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Looks every so often whether a file has changed, until the scope ends: for the first
/// time soon, since it may have changed after it was read.
pub(crate) fn follow(
    files: Files,
    members: Members,
    every: Duration,
    troubles: Troubles,
    scope: &Scope,
) {
    let Files { certificate, revoked } = files;
    let watched: Vec<_> = [(certificate, true), (revoked, false)]
        .into_iter()
        .filter_map(|(file, own)| file.map(|file| Watched { file, last: None, own }))
        .collect();
    if !watched.is_empty() {
        let blocks = scope.clone();
        scope.spawn(watch(watched, members, every, troubles, blocks));
    }
}

struct Watched {
    file: PathBuf,
    last: Stamp,
    /// Whether it is this node's certificate.
    own: bool,
}

impl Watched {
    /// What the file is to users.
    fn subject(&self) -> String {
        let what = if self.own { "the certificate" } else { "the list of what is revoked" };
        format!("{what} in {}", self.file.display())
    }

    fn read(&mut self, members: &Members) -> Result<bool> {
        let now = stamp(&self.file);
        if now == self.last {
            return Ok(false);
        }
        // What is cut, as it is being written, is read again the next time; what is whole
        // and not accepted, when it changes.
        match self.own {
            true => {
                let certificate = Certificate::load(&self.file)?;
                self.last = now;
                members.renew(certificate)?;
            }
            false => {
                let revoked = Revocation::load(&self.file)?;
                self.last = now;
                members.revoke(revoked)?;
            }
        }
        Ok(true)
    }
}

async fn watch(
    mut watched: Vec<Watched>,
    members: Members,
    every: Duration,
    troubles: Troubles,
    scope: Scope,
) {
    loop {
        sleep(every).await;
        let of = members.clone();
        let read = scope.block(move || {
            let read: Vec<_> = watched.iter_mut().map(|file| file.read(&of)).collect();
            (watched, read)
        });
        let Some((back, read)) = read.await else { return };
        watched = back;
        for (file, read) in watched.iter().zip(read) {
            match read {
                Ok(true) => {
                    tracing::debug!("{} was read", file.subject());
                    troubles.works(&file.subject());
                }
                Ok(false) => {}
                Err(error) => troubles.fails(&file.subject(), "file", error),
            }
        }
    }
}
