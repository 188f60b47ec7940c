//! The files of a node's certificate and of revocations: read again when they change.

use super::Members;
use crate::{
    ErrorKind, Result,
    admit::{Certificate, Revocation},
    follow::Seen,
    scope::Scope,
    trouble::Troubles,
};
use std::{path::PathBuf, time::Duration};
use tokio::time::sleep;

/// What is followed.
pub(crate) struct Files {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) revoked: Option<PathBuf>,
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
        .filter_map(|(file, own)| file.map(|file| Watched { file, seen: Seen::default(), own }))
        .collect();
    if !watched.is_empty() {
        let blocks = scope.clone();
        scope.spawn(watch(watched, members, every, troubles, blocks));
    }
}

struct Watched {
    file: PathBuf,
    seen: Seen,
    /// Whether it is this node's certificate.
    own: bool,
}

impl Watched {
    /// What the file is to users.
    fn subject(&self) -> String {
        let what = if self.own { "the certificate" } else { "the list of what is revoked" };
        format!("{what} in {}", self.file.display())
    }

    /// Reads the file if it has changed. Whether it has.
    fn read(&mut self, members: &Members) -> Result<bool> {
        if !self.seen.is_due(&self.file) {
            return Ok(false);
        }
        let taken = match self.own {
            true => Certificate::load(&self.file).and_then(|own| members.renew(own)),
            false => Revocation::load(&self.file).and_then(|r| members.revoke(r).map(drop)),
        };
        let unread = taken.as_ref().is_err_and(|error| error.kind() == ErrorKind::Io);
        self.seen.read(!unread);
        taken.map(|()| true)
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
